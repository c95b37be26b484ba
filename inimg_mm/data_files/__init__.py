"""Files of data: reading them, and what they can have wrong."""
