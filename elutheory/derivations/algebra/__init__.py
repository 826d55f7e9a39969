"""Decision procedures for statements on matrices, sums and resolvents."""
