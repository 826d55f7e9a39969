"""M2: the activation functions whose Gaussian moments are closed forms here, each a class that answers for itself.

Every piecewise (polynomial × exponential) function has such moments; as they stand they lose all digits to
cancellation (M3 and M4 at mean −20, std 1e-6 have none left), so each form has its own arrangement of positive terms.

* `form`: the questions that every form answers, the abstract `ClosedForm` and `PiecewiseForm`; start here.
* `piecewise_linear`: `Line` and `Kink` (ReLU, leaky and shifted ReLU, |x|), and what they share with
* `ramp`: `Ramp` (hard tanh, ReLU6).
* `exponential_linear`: `ExponentialLinear` (ELU, CELU, SELU).
* `error_function`: `ErrorFunction` (GELU, erf, the normal distribution function and lines times it).
* `sinusoid`: `Sinusoid` (sin, cos).
* `packets`: polynomials times exponentials, waves and Gaussian bumps, and sums of these; what says how many digits it
  has lost, and is not for all means and standard deviations; `packet_moments`: their moments.
* `recognition`: which form an activation has, by its pieces and not by its name.
"""

from elutheory.moments.closed_forms.form import Bend as Bend
from elutheory.moments.closed_forms.form import ClosedForm as ClosedForm
from elutheory.moments.closed_forms.form import PiecewiseForm as PiecewiseForm
from elutheory.moments.closed_forms.recognition import closed_form as closed_form
from elutheory.moments.closed_forms.recognition import piecewise_form as piecewise_form
