"""The moments of an activation function at one Gaussian variable."""

from elutheory.moments.certified import certified_moments as certified_moments
from elutheory.moments.floating_point import GaussianMoments as GaussianMoments
from elutheory.moments.floating_point import gaussian_moments as gaussian_moments
