"""L, F, B: lemmas, Fisher information, the unit natural gradient."""
