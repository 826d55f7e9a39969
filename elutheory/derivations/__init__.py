"""What is proved: derivations whose every step carries its own machine check."""
