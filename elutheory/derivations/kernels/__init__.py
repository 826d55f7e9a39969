"""K: expectations of two correlated Gaussian variables."""
