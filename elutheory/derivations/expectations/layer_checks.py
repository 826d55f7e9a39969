"""The quantities of P1-P3 for an activation, each by its own quadrature of the definition, in double precision."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
import sympy
from scipy.special import ndtri

from elutheory.activations.activation_function import Activation, activation
from elutheory.derivations.expectations.layer_notation import (
    bias_variance,
    c,
    input_value_slope_mean,
    mean_share,
    median_over_units,
    overlap_slope,
    overlap_slope_at_q,
    q,
    second_moment_slope,
    slope_product,
    unit_mean_average,
    unit_mean_square,
    unit_mean_variance,
    value_product,
    weight_variance,
    within_unit_variance,
)
from elutheory.derivations.proof.notation import alpha, slope_second_moment, unit_mean, unit_second_moment
from elutheory.derivations.proof.steps import Check, CheckError, sides

_FARTHEST = 11.0  # phi(11) < 1e-26
_PANELS = 14
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_CENTRAL_DIFFERENCE = (4 / 5, -1 / 5, 4 / 105, -1 / 280)  # eighth order
_EXTRAPOLATIONS = 8
_UNITS = 401  # odd: the middle one is the median

Function = Callable[[Any], Any]


def _rule(lower: Any, upper: Any) -> tuple[Any, Any]:
    """Nodes and weights of a composite rule on [lower, upper]; arrays of ends give rows of nodes."""
    lower, upper = np.asarray(lower, float)[..., None, None], np.asarray(upper, float)[..., None, None]
    step = (upper - lower) / _PANELS
    middle = lower + step * (np.arange(_PANELS)[:, None] + 0.5)
    nodes, weights = middle + step / 2 * _NODES, step / 2 * _WEIGHTS + 0 * middle
    return nodes.reshape(*nodes.shape[:-2], -1), weights.reshape(*weights.shape[:-2], -1)


def _standard_mean(function: Function, kinks: Any) -> Any:
    """`E function(Z)`, Z ~ N(0, 1), one integral for each row of `kinks`, split there."""
    kinks = np.sort(np.clip(np.asarray(kinks, float), -_FARTHEST, _FARTHEST), axis=-1)
    ends = np.concatenate(
        [np.full((*kinks.shape[:-1], 1), -_FARTHEST), kinks, np.full((*kinks.shape[:-1], 1), _FARTHEST)], axis=-1
    )
    total = 0.0
    for index in range(ends.shape[-1] - 1):
        nodes, weights = _rule(ends[..., index], ends[..., index + 1])
        density = np.exp(-(nodes**2) / 2) / np.sqrt(2 * np.pi)
        total = total + np.sum(weights * density * function(nodes), axis=-1)
    return total


@dataclass(frozen=True)
class Signal:
    """An activation and the net inputs that it meets: second moment q, overlap c."""

    name: str
    q: float
    c: float
    weight_variance: float
    bias_variance: float

    @cached_property
    def _activation(self) -> Activation:
        return activation(self.name)

    @cached_property
    def _kinks(self) -> Any:
        return np.array([float(kink) for kink in self._activation.breakpoints])

    def moment(self, integrand: Function, q: float | None = None) -> float:
        """`E integrand(X)`, X ~ N(0, q)."""
        std = np.sqrt(self.q if q is None else q)
        return float(_standard_mean(lambda z: integrand(std * z), self._kinks / std))

    def pair_mean(self, function: Function, c: float | None = None) -> float:
        """`E function(U) function(V)`: V given U is `N(c U/q, q − c²/q)`."""
        c = self.c if c is None else c
        spread = np.sqrt(self.q - c**2 / self.q)

        def given(u: Any) -> Any:
            mean = (c / self.q * u)[..., None]
            return function(u) * _standard_mean(lambda z: function(mean + spread * z), (self._kinks - mean) / spread)

        return self.moment(given)

    def unit_mean(self, y: Any, function: Function | None = None) -> Any:
        """`M = E[f(sqrt(c) y + sqrt(q − c) Z)]` for every unit y."""
        mean, spread = np.sqrt(self.c) * np.asarray(y, float)[..., None], np.sqrt(self.q - self.c)
        function = function or self._activation
        return _standard_mean(lambda z: function(mean + spread * z), (self._kinks - mean) / spread)

    def over_units(self, integrand: Function) -> float:
        """`E integrand(Y)`, Y ~ N(0, 1)."""
        return float(_standard_mean(integrand, np.empty(0)))

    @cached_property
    def median(self) -> float:
        """The middle one of the unit means at equally likely units, sorted."""
        return float(np.median(self.unit_mean(ndtri((np.arange(_UNITS) + 0.5) / _UNITS))))

    def mean_square_difference(self, c: float) -> float:
        """`E (f(U) − f(V))² / 2` by `U, V = S ± T`, S ~ N(0, (q+c)/2) and T ~ N(0, (q−c)/2) independent."""
        f, half_sum, half_difference = self._activation, np.sqrt((self.q + c) / 2), np.sqrt((self.q - c) / 2)

        def given(z: Any) -> Any:
            t = half_difference * z[..., None]
            kinks = np.concatenate([self._kinks - t, self._kinks + t], axis=-1) / half_sum
            return _standard_mean(lambda s: (f(half_sum * s + t) - f(half_sum * s - t)) ** 2 / 2, kinks)

        return float(_standard_mean(given, np.zeros(1)))

    @cached_property
    def slope_at_q(self) -> float:
        """`lim (E f² − E f(U)f(V)) / (q − c)` for c -> q, extrapolated in powers of sqrt(q − c)."""
        gaps = [self.q / 64 / 4**k for k in range(_EXTRAPOLATIONS)]
        values = [self.mean_square_difference(self.q - gap) / gap for gap in gaps]
        for order in range(1, _EXTRAPOLATIONS):
            values = [(2**order * values[k + 1] - values[k]) / (2**order - 1) for k in range(len(values) - 1)]
        return values[0]

    @cached_property
    def numbers(self) -> dict[sympy.Basic, Callable[[], float]]:
        """What every symbol stands for, computed when asked for."""
        f, slope = self._activation, self._activation.derivative

        def squared(x: Any) -> Any:
            return f(x) ** 2

        def difference(map_of: Callable[[float], float], at: float) -> float:
            step = at / 40
            pairs = enumerate(_CENTRAL_DIFFERENCE, start=1)
            return sum(weight * (map_of(at + k * step) - map_of(at - k * step)) for k, weight in pairs) / step

        def average() -> float:
            return self.over_units(self.unit_mean)

        return {
            alpha: lambda: 1.0,  # the ELU's
            q: lambda: self.q,
            c: lambda: self.c,
            weight_variance: lambda: self.weight_variance,
            bias_variance: lambda: self.bias_variance,
            unit_mean: lambda: self.moment(f),
            unit_second_moment: lambda: self.moment(squared),
            slope_second_moment: lambda: self.moment(lambda x: slope(x) ** 2),
            input_value_slope_mean: lambda: self.moment(lambda x: x * f(x) * slope(x)),
            value_product: lambda: self.pair_mean(f),
            slope_product: lambda: self.pair_mean(slope),
            unit_mean_average: average,
            median_over_units: lambda: self.median,
            unit_mean_square: lambda: self.over_units(lambda y: self.unit_mean(y) ** 2),
            unit_mean_variance: lambda: self.over_units(lambda y: (self.unit_mean(y) - average()) ** 2),
            within_unit_variance: lambda: self.over_units(
                lambda y: self.unit_mean(y, squared) - self.unit_mean(y) ** 2
            ),
            mean_share: lambda: (
                self.over_units(lambda y: self.unit_mean(y) ** 2)
                / self.over_units(lambda y: self.unit_mean(y, squared))
            ),
            overlap_slope: lambda: self.weight_variance * difference(lambda at: self.pair_mean(f, at), self.c),
            overlap_slope_at_q: lambda: self.weight_variance * self.slope_at_q,
            second_moment_slope: lambda: self.weight_variance * difference(lambda at: self.moment(squared, at), self.q),
        }

    def __str__(self) -> str:
        return f"{self.name}, q = {self.q}, c = {self.c}"


SIGNALS = (
    Signal("elu", 1.5, 0.625, 1.25, 0.01),
    Signal("relu", 1.25, 0.5, 2.0, 0.05),
    Signal("tanh", 0.75, 0.375, 1.5, 0.02),
)


@cache
def _number(signal: Signal, symbol: sympy.Basic) -> float:
    return signal.numbers[symbol]()


def _match(signals: tuple[Signal, ...], digits: int, statement: sympy.Basic) -> None:
    both = sides(statement)
    for signal in signals:
        symbols = statement.free_symbols
        if missing := symbols - signal.numbers.keys():
            raise CheckError(f"{missing} in {statement} has no value")
        values = {symbol: sympy.Float(_number(signal, symbol), 17) for symbol in symbols}
        left, right = (side.xreplace(values).evalf(17) for side in both)
        if not (left.is_real and right.is_real and abs(left - right) <= sympy.Float(10) ** -digits * (1 + abs(right))):
            raise CheckError(f"the two sides of {statement} are {left} and {right} for {signal}")


def quadrature_check(digits: int, only: str = "") -> Check:
    """Both sides for ELU (alpha = 1), ReLU and tanh, or one of them, from quadratures of their own, to 10^−digits."""
    signals = tuple(signal for signal in SIGNALS if only in ("", signal.name))
    names = ", ".join({"elu": "ELU", "relu": "ReLU"}.get(signal.name, signal.name) for signal in signals)
    return Check(f"{names} (quadrature, {digits} digits)", partial(_match, signals, digits))
