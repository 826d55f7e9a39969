"""M: the moments of one Gaussian variable."""
