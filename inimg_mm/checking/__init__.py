"""Find the faults of a config before a training does."""
