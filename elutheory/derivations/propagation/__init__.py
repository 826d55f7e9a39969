"""P: signals and gradients in deep random networks."""
