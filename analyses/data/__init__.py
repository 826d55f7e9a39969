"""Data sets of images, from files."""
