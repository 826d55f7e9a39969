"""M3–M7: E f, E f², Var f, E f', E f'² and E ln f' of an activation function f at one Gaussian X ~ N(mean, std²).

Closed forms as they stand in the paper's notation cancel (at mean −20, std 1e-6 the variance of M4 has no digit
left), and there the variance is the claim (M7). What runs here are sums of positive terms, accurate everywhere.

* `floating_point`: `gaussian_moments`, for numpy and torch: start here.
* `evaluation`: arrays of one shape, in chunks; limits at std = 0 and mean = ±inf.
* `closed_forms/`: which activations have closed forms (M2), and these.
* `quadrature/`: all others, by Taylor model or Gauss–Legendre panels, with their errors.
* `torch_gradients`: first and second derivatives of tensors, from identities.
* `certified`, `certified_balls`: as many digits as are asked for, every one proved (Arb), by two routes.
* `command`, `typed_numbers`, `verification`, `report`, `figure`: `python -m elutheory.moments`.
"""

from elutheory.moments.certified import certified_moments as certified_moments
from elutheory.moments.floating_point import GaussianMoments as GaussianMoments
from elutheory.moments.floating_point import gaussian_moments as gaussian_moments
