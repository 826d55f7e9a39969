"""K1–K3: E f(U)f(V), E f'(U)f'(V) and Cov(f(U), f(V)) of an activation function at two correlated Gaussian variables.

One integral over U of f(U) times the conditional mean of f(V), which is a closed form for the activations of M2; for
two half-lines with both means at their kink the arc-cosine formula; for ELU, CELU and SELU at moderate standard
deviations, and for GELU and erf, bivariate normal probabilities; for the latter with centred means the arc-sine.
Polynomials, exponentials, waves, Gaussian bumps, their products and sums have Gaussian integrals. For other analytic
functions Mehler's series (K4), or trapezoidal rules where it is too long; for all others one integral inside the other.

* `dual_kernels`: `dual_kernel`, `dual_kernel_derivative`, `dual_covariance`: start here.
* `pairs`: what describes a pair, checked, and turned into means, standard deviations and an angle.
* `expectations`: the identities that avoid cancellation, and which rule is for which pair.
* `panels`: where the panels of the one-dimensional rule end: where the integrand is, and where it bends.
* `rises`: how much f and its conditional mean rise, without cancellation.
* `quadrature`: the sums over the panels, with the conditional mean in closed form or nested.
* `arc_cosine`: the closed form of two half-lines.
* `exponential_half_lines`: that of a straight and an exponential one, ELU's, where it loses few digits.
* `arc_sine`: that of GELU, erf and their like, for means at the centre.
* `error_function_pairs`: off the centre, with the same probabilities as ELU's.
* `sinusoids`: that of sin and cos.
* `packet_pairs`: that of polynomials, exponentials, Gaussian bumps, waves, their products and sums.
* `analytic`: a folder of its own, for analytic f without a closed form.
* `torch_gradients`: first derivatives of tensors, from Price's theorem.
"""

from elutheory.kernels.dual_kernels import DualKernel as DualKernel
from elutheory.kernels.dual_kernels import dual_covariance as dual_covariance
from elutheory.kernels.dual_kernels import dual_kernel as dual_kernel
from elutheory.kernels.dual_kernels import dual_kernel_derivative as dual_kernel_derivative
