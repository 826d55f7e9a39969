"""Gaussian moments without a closed form, each with a true error, in float64 on the host.

* `integrals`: the six moments of arrays, by the first of the three methods below that is right; start here.
* `taylor_model`: where f is smooth over the reach of X: from `taylor_series` at the mean, no integral taken.
* `trapezoidal`: one transition in reach of X: few nodes, whole batches at once.
* `panels`: elsewhere Gauss–Legendre panels that close in on where f changes fast, which `features` finds.
* `log_slope`: ln f' of an activation, without underflow.
* `derivatives`: derivatives of the moments by the mean, over the same panels.
"""

from elutheory.moments.quadrature.integrals import Integrals as Integrals
from elutheory.moments.quadrature.integrals import derivative_by_quadrature as derivative_by_quadrature
from elutheory.moments.quadrature.integrals import integrals as integrals
