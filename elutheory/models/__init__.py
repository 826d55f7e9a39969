"""What hooks learn from a torch model."""
