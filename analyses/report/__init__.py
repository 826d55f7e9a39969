"""What follows from all records."""
