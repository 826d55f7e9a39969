"""Theorems 1 and 2, derived, checked and measured on handwritten digits."""
