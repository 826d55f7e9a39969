"""Fixed points of P1, in q and in the correlation, with their stability; the line of criticality."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy
import pandas
from scipy.optimize import brentq, minimize_scalar

from elutheory.activations.activation_function import as_activation
from elutheory.activations.kinks import refuse_discontinuous
from elutheory.errors import InputError
from elutheory.moments.floating_point import gaussian_moments
from elutheory.numerics.arguments import finite_number, real_number
from elutheory.propagation.initialisations import critical_variances
from elutheory.propagation.layer_map import depth_scale, pair_moments, second_moment_slope, single_moments

if TYPE_CHECKING:
    import pandas

    from elutheory.activations.activation_function import Activation

_POINTS_PER_DECADE = 32
_UNDECIDED = 2e-14  # of q: the map's distance from the diagonal is rounding
_MARGINAL = 1e-9
_SMALLEST = 1e-300


@dataclass(frozen=True, eq=False)
class FixedPoints:
    """`table` has a row for every pair of a fixed point q of P1 and a fixed point of the correlation map at that q.

    - `q`, `q_slope` = dq'/dq there, `q_stability`: stable (slope < 1), unstable, or marginal (to 1e-9), and
      `q_depth_scale` = −1/ln|slope|, inf if marginal;
    - `correlation` in [0, 1], `c` = correlation × q, `correlation_slope` = σ_w² E f'(U)f'(V), `correlation_stability`
      and `depth_scale` = −1/ln slope. 1 is always a fixed point, its slope is chi. The map has non-negative Taylor
      coefficients (K4), is therefore convex on [0, 1], and has one more fixed point there if chi > 1, none if chi < 1;
    - `chi` = σ_w² E f'(√q Z)² (P3) and `gradient_depth_scale` = −1/ln chi.

    `every_q_is_fixed`: the map is the identity on the whole range (ReLU at weight_variance 2); the rows are those of
    the range's geometric centre. At q = 0 the columns are limits, and the correlation's are nan.

    >>> import elutheory as et
    >>> found = et.fixed_points("relu", weight_variance=2.0)
    >>> found.every_q_is_fixed
    True
    """

    activation: "Activation"
    weight_variance: float
    bias_variance: float
    every_q_is_fixed: bool
    table: "pandas.DataFrame"


@dataclass(frozen=True, eq=False)
class CriticalityLine:
    """`table` has a row for every q: `weight_variance` = 1/E f'(√q Z)² and `bias_variance` = q − σ_w² E f(√q Z)².

    There q is a fixed point of P1 with chi = 1: the line between order and chaos. `possible` is False where the bias
    variance would be negative: no initialisation is critical at that q. bias_variance is accurate to 1e-14 q.

    >>> import elutheory as et
    >>> line = et.criticality_line("relu", [1.0])
    >>> line.table[["weight_variance", "bias_variance"]].round(12).values.tolist()
    [[2.0, 0.0]]
    """

    activation: "Activation"
    table: "pandas.DataFrame"


def fixed_points(
    activation: "Activation | str",
    weight_variance: Any,
    bias_variance: Any = 0.0,
    *,
    q_range: Any = (1e-12, 1e12),
) -> FixedPoints:
    """All fixed points q of P1 in `q_range` (with 0, if it is one) and those of the correlation map at each.

    The range is scanned at 32 points a decade of q for changes of sign of q' − q, and for places where q' − q only
    touches 0; each is refined to rounding. Raises InputError: arguments outside their domain, f discontinuous, moments
    that cannot be integrated somewhere on the range.

    >>> import elutheory as et
    >>> found = et.fixed_points("tanh", weight_variance=0.5)
    >>> found.table[["q", "q_stability"]].values.tolist()
    [[0.0, 'stable']]
    """
    f = as_activation(activation)
    f.refuse_symbolic()
    refuse_discontinuous(f)
    weight_variance = real_number("weight_variance", weight_variance, positive=True)
    bias_variance = real_number("bias_variance", bias_variance)
    low, high = _range(q_range)
    points, every = _fixed_variances(f, weight_variance, bias_variance, low, high)
    rows = [row for q in points for row in _rows(f, weight_variance, bias_variance, q)]
    table = pandas.DataFrame(rows, columns=list(_COLUMNS))
    return FixedPoints(f, weight_variance, bias_variance, every, table)


def criticality_line(activation: "Activation | str", second_moments: Any) -> CriticalityLine:
    """(σ_w², σ_b²) that make each q of `second_moments` (numbers > 0) a fixed point with chi = 1.

    Raises InputError: not finite numbers > 0, f discontinuous, a slope that is almost surely 0.

    >>> import elutheory as et
    >>> line = et.criticality_line("tanh", [0.01, 1.0]).table
    >>> line["weight_variance"].round(4).tolist()
    [1.0197, 2.1533]
    """
    f = as_activation(activation)
    f.refuse_symbolic()
    refuse_discontinuous(f)
    rows = []
    for value in numpy.atleast_1d(numpy.asarray(second_moments)).reshape(-1).tolist():
        q = real_number("second_moments", value, positive=True)
        moments = single_moments(f, q)
        if moments.slope_second_moment == 0:
            raise InputError(f"{f} is not critical at q = {q:g}: its slope is almost surely 0.")
        weight, bias = critical_variances(q, moments.second_moment, moments.slope_second_moment)
        rows.append({"q": q, "weight_variance": weight, "bias_variance": bias, "possible": bias >= 0})
    return CriticalityLine(f, pandas.DataFrame(rows, columns=["q", "weight_variance", "bias_variance", "possible"]))


def _range(q_range: Any) -> tuple[float, float]:
    if not isinstance(q_range, Sequence) or len(q_range) != 2:
        raise InputError(f"q_range must be two numbers, 0 < lowest < highest, not {q_range!r}.")
    low, high = (finite_number("q_range", value) for value in q_range)
    if not 1e-100 <= low < high <= 1e100:
        raise InputError(f"q_range must be two numbers, 1e-100 <= lowest < highest <= 1e100, not {q_range!r}.")
    return low, high


# --- q --------------------------------------------------------------------------------------------------------------


def _fixed_variances(
    f: "Activation", weight_variance: float, bias_variance: float, low: float, high: float
) -> tuple[list[float], bool]:
    """The fixed points, increasing; and whether all q are fixed (then one, the centre)."""

    def excess(logarithm: Any) -> Any:
        """(q' − q)/q at ln q."""
        q = numpy.exp(logarithm)
        return (weight_variance * gaussian_moments(f, 0.0, numpy.sqrt(q)).second_moment + bias_variance) / q - 1.0

    decades = math.log10(high / low)
    grid = numpy.linspace(math.log(low), math.log(high), max(8, math.ceil(decades * _POINTS_PER_DECADE)) + 1)
    values = excess(grid)
    if (abs(values) <= _UNDECIDED).all():
        return [math.exp(0.5 * (grid[0] + grid[-1]))], True
    found = {0.0} if bias_variance == 0 and float(f(0.0)) == 0 else set()
    decided = numpy.flatnonzero(abs(values) > _UNDECIDED)
    for left, right in pairwise(decided.tolist()):
        if values[left] * values[right] < 0:
            found.add(_root(excess, float(grid[left]), float(grid[right])))
    for index in range(1, len(grid) - 1):
        found |= _touching(excess, grid[index - 1 : index + 2], values[index - 1 : index + 2])
    return sorted(_distinct(found)), False


def _root(excess: Any, left: float, right: float) -> float:
    return math.exp(_zero(lambda x: float(excess(x)), left, right))


def _zero(function: Callable[[float], float], left: float, right: float) -> float:
    """Where the function changes sign, to rounding."""
    return float(brentq(function, left, right, xtol=1e-300, rtol=8.9e-16))  # pyright: ignore


def _touching(excess: Any, ends: Any, values: Any) -> set[float]:
    """Two roots, or one double root, between three grid points of one sign, the middle nearest to 0."""
    sign = math.copysign(1.0, values[1])
    same = (sign * values > _UNDECIDED).all()
    if not same or not (abs(values[1]) <= abs(values[0]) and abs(values[1]) <= abs(values[2])):
        return set()
    best = minimize_scalar(
        lambda x: sign * float(excess(x)), bounds=(ends[0], ends[2]), method="bounded", options={"xatol": 1e-9}
    )
    at, least = float(best.x), float(best.fun)
    if least > _UNDECIDED:
        return set()
    if least >= -_UNDECIDED:
        return {math.exp(at)}
    return {_root(excess, ends[0], at), _root(excess, at, ends[2])}


def _distinct(points: set[float]) -> list[float]:
    distinct: list[float] = []
    for point in sorted(points):
        if not distinct or point > distinct[-1] * (1 + 1e-10):
            distinct.append(point)
    return distinct


# --- correlations ---------------------------------------------------------------------------------------------------

_COLUMNS = (
    "q",
    "q_slope",
    "q_stability",
    "q_depth_scale",
    "correlation",
    "c",
    "correlation_slope",
    "correlation_stability",
    "depth_scale",
    "chi",
    "gradient_depth_scale",
)


def _rows(f: "Activation", weight_variance: float, bias_variance: float, q: float) -> list[dict[str, Any]]:
    single = single_moments(f, q)
    chi = weight_variance * single.slope_second_moment
    slope = weight_variance * second_moment_slope(f, q if q > 0 else _SMALLEST)
    common = {
        "q": q,
        "q_slope": slope,
        "q_stability": _stability(slope),
        "q_depth_scale": math.inf if _stability(slope) == "marginal" else depth_scale(abs(slope)),
        "chi": chi,
        "gradient_depth_scale": depth_scale(chi),
    }

    def row(correlation: float, c: float, correlation_slope: float) -> dict[str, Any]:
        return common | {
            "correlation": correlation,
            "c": c,
            "correlation_slope": correlation_slope,
            "correlation_stability": _stability(correlation_slope),
            "depth_scale": depth_scale(correlation_slope),
        }

    if q == 0:
        return [
            common
            | dict.fromkeys(("correlation", "c", "correlation_slope", "depth_scale"), math.nan)
            | {"correlation_stability": ""}
        ]
    rows = [row(1.0, q, chi)]
    orthogonal = weight_variance * single.mean**2 + bias_variance
    if orthogonal <= _UNDECIDED**2 * q:  # an odd f without bias: 0 is fixed
        rows.insert(0, row(0.0, 0.0, weight_variance * pair_moments(f, q, q, 0.0).slope_product))
    elif chi > 1 + _MARGINAL:
        v = _lower_fixed_point(f, weight_variance, q, chi)
        rows.insert(0, row((q - v) / q, q - v, weight_variance * pair_moments(f, q, v, q - v).slope_product))
    return rows


def _lower_fixed_point(f: "Activation", weight_variance: float, q: float, chi: float) -> float:
    """v = q − c of the fixed point below correlation 1 that there is for chi > 1, to relative accuracy."""

    def growth(angle: float) -> float:
        """v'/v − 1: chi − 1 > 0 at angle 0, negative at the right angle, falling in between by convexity."""
        v = 2.0 * q * math.sin(0.5 * angle) ** 2
        moments = pair_moments(f, q, v, q * math.cos(angle))
        return weight_variance * moments.half_squared_difference / v - 1.0

    low, high = 0.25 * math.pi, 0.5 * math.pi
    while growth(low) <= 0:
        low, high = 0.25 * low, low
        if low < 1e-12:
            raise InputError(f"{f} at q = {q:g} has chi = {chi!r}, too near 1 to find the correlation it is fixed at.")
    angle = _zero(growth, low, high)
    return 2.0 * q * math.sin(0.5 * angle) ** 2


def _stability(slope: float) -> str:
    size = abs(slope)
    return "marginal" if abs(size - 1) <= _MARGINAL else "stable" if size < 1 else "unstable"
