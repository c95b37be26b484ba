"""What is done differently for each host."""
