"""What commands and results share."""
