"""A proof as data, and how it is written."""
