"""Tools of the numerical layer that know nothing of activation functions."""
