"""The analyses, one module or folder each."""
