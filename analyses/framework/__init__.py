"""How an analysis runs, is kept and decided."""
