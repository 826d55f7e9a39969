"""Expectations of Gaussian variables: integrals, normal forms, numerical checks."""
