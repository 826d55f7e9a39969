"""Moments at points, each verified: closed forms derived on the spot, values against certified enclosures."""

import math
import sys
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from flint import arb, fmpq

from elutheory.activations.activation_function import Activation, activation_names
from elutheory.activations.evaluation import constant_value
from elutheory.derivations.moments.moments_of_activations import MomentFormulas, activation_moments
from elutheory.derivations.proof.steps import UndecidedError
from elutheory.errors import InputError
from elutheory.moments.certified import CertifiedMoment, certified_moments, closed_forms, precision
from elutheory.moments.floating_point import gaussian_moments
from elutheory.moments.typed_numbers import Number

DIGITS_OF_CHECK = 25  # eight more than a float64 has, so that the enclosures' own widths decide nothing
ROUNDING = Fraction(1, 2**52)  # the distance from 1 to the next float64
SMALLEST_NORMAL = sys.float_info.min  # below it a float64 has fewer digits
SYMBOLS = {
    "mean": "E f",
    "second_moment": "E f²",
    "variance": "Var f",
    "slope_mean": "E f'",
    "slope_second_moment": "E f'²",
    "log_slope_mean": "E ln f'",
}
# What `elutheory.moments` promises, relative, beside the effect of rounding mean and std.
PROMISED = dict.fromkeys(SYMBOLS, 1e-13) | {"variance": 1e-12}


@dataclass(frozen=True)
class Row:
    """One point: values by the floating-point formulas, and certified digits if asked for."""

    mean: Number
    std: Number
    values: dict[str, float]
    certified: tuple[CertifiedMoment, ...] | None


def measured_rows(
    function: Activation, means: list[Number], stds: list[Number], digits: int | None
) -> tuple[list[Row], str]:
    """A row for every mean and std, certified digits if asked for, and the method of `gaussian_moments`."""
    grid = [(mean, std) for mean in means for std in stds]
    moments = gaussian_moments(
        function, np.array([mean.value for mean, _ in grid]), np.array([std.value for _, std in grid])
    )
    columns = {name: np.asarray(getattr(moments, name)) for name in SYMBOLS}
    rows = []
    for index, (mean, std) in enumerate(grid):
        certified = None
        if digits is not None:
            certified = _certified(function, mean.exact, std.exact, digits)
        values = {name: float(column[index]) for name, column in columns.items()}
        rows.append(Row(mean, std, values, certified))
    return rows, moments.method


def _certified(
    function: Activation, mean: Fraction | None, std: Fraction | None, digits: int
) -> tuple[CertifiedMoment, ...]:
    if mean is None or std is None:
        raise InputError("certified digits need a finite mean and std.")
    return certified_moments(
        function, fmpq(mean.numerator, mean.denominator), fmpq(std.numerator, std.denominator), digits
    )


@dataclass(frozen=True)
class Proof:
    """What was verified: the steps of the derivation, and each value against its certified enclosure."""

    formulas: MomentFormulas | None  # None outside the class of M2
    steps: int
    deviations: dict[str, float]  # of the values from the certified ones, relative
    confirmed: bool | None  # closed form and integral overlap; None if there is only one route
    passed: bool
    undecided: tuple[str, ...] = ()  # what could be neither proved nor refuted, a sentence each

    @property
    def outcome(self) -> str:
        """One of three words: passed, failed, not decided."""
        return "failed" if not self.passed else "not decided" if self.undecided else "passed"

    @staticmethod
    def of(function: Activation, row: Row | None) -> "Proof":
        """Verify the closed forms and, if there is just one point with std above 0, the values there."""
        formulas = closed_forms(function)
        steps, undecided = 0, ()
        if formulas is not None:
            try:
                steps = len(activation_moments(function).verify())
            except UndecidedError as reason:
                undecided = (f"{reason}.",)
        has_route = formulas is not None or function.name in activation_names()
        if row is None or not has_route or not (math.isfinite(row.mean.value) and 0 < row.std.value < math.inf):
            return Proof(formulas, steps, {}, None, True, undecided)
        mean, std = Fraction(row.mean.value), Fraction(row.std.value)
        try:
            exact = _certified(function, mean, std, DIGITS_OF_CHECK)
        except InputError as reason:  # Arb cannot have that many digits here: no fault of the values
            return Proof(formulas, steps, {}, None, True, (*undecided, f"the values: {reason}"))
        deviations = {
            moment.name: _relative_deviation(moment.value, row.values[moment.name], row.values["second_moment"])
            for moment in exact
            if moment.value is not None
        }
        passed = all(deviation <= PROMISED[name] for name, deviation in deviations.items())
        if not passed:
            rounding = _effect_of_rounding(function, mean, std, exact)
            passed = all(deviation <= PROMISED[name] + rounding[name] for name, deviation in deviations.items())
        routes = [moment.confirmed for moment in exact if moment.confirmed is not None]
        confirmed = all(routes) if routes else None
        return Proof(formulas, steps, deviations, confirmed, passed and confirmed is not False, undecided)


def _effect_of_rounding(
    function: Activation, mean: Fraction, std: Fraction, exact: tuple[CertifiedMoment, ...]
) -> dict[str, float]:
    """Relative change of every moment by four roundings of std, and of the mean's distance from the nearest kink.

    Mean and std are exact as they are given. What is rounded are quotients such as (mean − kink)/std; the difference
    itself is exact close to a kink, where it decides all.
    """
    origins = [Fraction(0), *(Fraction(constant_value(point)) for point in function.breakpoints)]
    moved = ROUNDING * min(abs(mean - origin) for origin in origins)
    nearby = (
        _certified(function, mean + moved, std, DIGITS_OF_CHECK),
        _certified(function, mean, std * (1 + ROUNDING), DIGITS_OF_CHECK),
    )
    return {
        moment.name: 4 * sum(_relative_deviation(moment.value, other[index].value, math.inf) for other in nearby)
        for index, moment in enumerate(exact)
        if moment.value is not None
    }


def _relative_deviation(exact: Any, value: Any, second_moment: float) -> float:
    """Relative to the exact value; to the root-mean-square of f where that is zero, as E tanh is at mean 0."""
    with precision(DIGITS_OF_CHECK):
        difference = abs(arb(value) - exact)
        if exact.contains(0):
            return float(abs(value)) / math.sqrt(second_moment) if second_moment > 0 else 0.0
        if abs(exact) > arb(sys.float_info.max):
            return 0.0 if arb(value) == arb(exact.sgn()) * arb("inf") else math.inf
        if abs(exact) < arb(SMALLEST_NORMAL):
            return 0.0 if difference < arb(SMALLEST_NORMAL) else math.inf
        return float((difference / abs(exact)).upper())
