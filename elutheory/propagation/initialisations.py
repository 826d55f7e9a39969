"""Named initialisations (weight_variance, bias_variance): He's 2, LeCun's 1, and an activation's own."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from elutheory.activations.activation_function import as_activation
from elutheory.errors import InputError
from elutheory.numerics.arguments import real_number
from elutheory.propagation.layer_map import single_moments

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

INITIALISATIONS = ("he", "lecun", "variance_preserving", "critical")
_ROUNDING = 1e-14


@dataclass(frozen=True)
class Initialisation:
    """weight_variance = fan_in × Var(weight), and the variance of the biases.

    >>> import elutheory as et
    >>> et.initialisation("he", "relu")
    Initialisation(name='he', weight_variance=2.0, bias_variance=0.0)
    """

    name: str
    weight_variance: float
    bias_variance: float


def initialisation(name: str, activation: "Activation | str", second_moment: Any = 1.0) -> Initialisation:
    """The initialisation `name` for an activation whose net inputs are to have the second moment q = `second_moment`.

    - `he`: (2, 0), whatever the activation (He et al., arXiv 1502.01852);
    - `lecun`: (1, 0), whatever the activation (SELU's, arXiv 1706.02515);
    - `variance_preserving`: σ_w² = q/E f(√q Z)², σ_b² = 0: P1 keeps q;
    - `critical`: σ_w² = 1/E f'(√q Z)², σ_b² = q − σ_w² E f(√q Z)²: P1 keeps q, and chi = 1 (P3). relu: (2, 0).

    Raises InputError: an unknown name; second_moment not a finite number > 0; f zero almost surely; `critical` where
    σ_b² would be negative.

    >>> import elutheory as et
    >>> start = et.initialisation("critical", "elu")
    >>> round(start.weight_variance, 6), round(start.bias_variance, 6)
    (1.496777, 0.03466)
    """
    f = as_activation(activation)
    f.refuse_symbolic()
    if name not in INITIALISATIONS:
        raise InputError(f"unknown initialisation {name!r}; known are {', '.join(INITIALISATIONS)}.")
    q = real_number("second_moment", second_moment, positive=True)
    if name in ("he", "lecun"):
        return Initialisation(name, 2.0 if name == "he" else 1.0, 0.0)
    moments = single_moments(f, q)
    if moments.second_moment == 0 or moments.slope_second_moment == 0:
        raise InputError(f"{f} has no {name} initialisation at q = {q:g}: its value or its slope is almost surely 0.")
    if name == "variance_preserving":
        return Initialisation(name, q / moments.second_moment, 0.0)
    weight_variance, bias_variance = critical_variances(q, moments.second_moment, moments.slope_second_moment)
    if bias_variance < 0:
        raise InputError(
            f"{f} is not critical at q = {q:g} for any bias variance: it would be {bias_variance:.3g}; "
            "variance_preserving keeps q, with a chi other than 1."
        )
    return Initialisation(name, weight_variance, bias_variance)


def critical_variances(q: float, second_moment: float, slope_second_moment: float) -> tuple[float, float]:
    """(σ_w², σ_b²) that make q a fixed point with chi = 1; σ_b² may be negative, and is 0 within rounding of 0."""
    weight_variance = 1.0 / slope_second_moment
    bias_variance = q - weight_variance * second_moment
    return weight_variance, 0.0 if abs(bias_variance) <= _ROUNDING * q else bias_variance
