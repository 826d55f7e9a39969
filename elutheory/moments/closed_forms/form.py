"""What every closed form answers (M2): its moments and their derivatives; one of pieces, how it bends and its values.

A new form is one class in a file of its own and one recogniser in `recognition`; nothing else asks which form it is.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float

from elutheory.numerics.arrays import Array, library
from elutheory.numerics.normal_tails import normal_density

HIGHEST_ORDER = 4
"""Of `ClosedForm.derivative`."""

SMALLEST_STD = 1e-300
"""Conditional standard deviations are raised to this: 0/0 at a kink that holds a constant becomes 0."""


@dataclass(frozen=True)
class Bend:
    """A kink at x = `at`, where f = `value`; f' just below and above it, and `jump`, their difference, well rounded."""

    at: float
    value: float
    lower_slope: float
    upper_slope: float
    jump: float

    def reflected(self) -> "Bend":
        """That of x ↦ f(−x)."""
        return Bend(-self.at, self.value, -self.upper_slope, -self.lower_slope, self.jump)


class ClosedForm(ABC):
    """An activation function f whose Gaussian moments have closed forms; its subclasses are abstract or final.

    Arrays are numpy or torch, float32 or float64, and what comes out is of the kind that went in. X ~ N(mean, std²);
    the moments are, in this order, E f, E f², Var f, E f', E f'², E ln f'.
    """

    @abstractmethod
    def moments(
        self, mean: Float[Array, " points"], std: Float[Array, " points"]
    ) -> tuple[Float[Array, " points"], ...]:
        """The six moments, for finite `mean` and `std` > 0."""

    @abstractmethod
    def derivative(
        self, quantity: str, order: int, mean: Float[Array, " points"], std: Float[Array, " points"]
    ) -> Float[Array, " points"]:
        """The derivative of the `order`-th order, 1 to 4, of the moment called `quantity` by the mean.

        ∂_mean E g = E g' and, the heat equation, ∂_std E g = std ∂²_mean E g: with orders up to 4 every first and
        second derivative by (mean, std) is at hand. The point masses of f'' and (f'²)' at the bends are included.
        """


class PiecewiseForm(ClosedForm):
    """An f of pieces that are straight lines or exponentials: K1–K3 are one integral with its conditional mean."""

    @property
    @abstractmethod
    def bends(self) -> tuple[Bend, ...]:
        """Where f' jumps, from left to right: there the rules' panels end, and f'' has point masses."""

    @property
    @abstractmethod
    def tilt(self) -> float:
        """The k >= 0 of the e^{k x} in f, 0 without one: it moves the mass of an integrand by k std² (M1)."""

    @property
    @abstractmethod
    def is_piecewise_linear(self) -> bool:
        """Whether f' is constant between the bends, so that it may vanish on a whole half line."""

    @abstractmethod
    def value(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """f(x)."""

    @abstractmethod
    def slope(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """f'(x); at a bend anything between the slopes on its two sides."""

    @abstractmethod
    def conditional_slope(
        self, mean: Float[Array, "pairs panels nodes"], std: Float[Array, "pairs 1 1"]
    ) -> Float[Array, "pairs panels nodes"]:
        """E f'(mean + std Z), the inner integral of K1–K3: positive terms for increasing f.

        `mean` rises along the nodes, or falls; `std` >= 0. Where that is 0 the result is f' beside a bend, and at one
        of no use.
        """

    @abstractmethod
    def conditional_curvature(
        self, mean: Float[Array, "pairs panels nodes"], std: Float[Array, "pairs 1 1"]
    ) -> Float[Array, "pairs panels nodes"]:
        """E f''(mean + std Z), point masses included; `std` as for `conditional_slope`."""


def point_masses(bends: tuple[Bend, ...], mean: Any, std: Any) -> Any:
    """What the jumps of f' contribute to E f''(mean + std Z): each times the density at its bend."""
    spread = library(mean).clip(std, SMALLEST_STD, None)
    total = 0.0 * mean
    for bend in bends:
        if bend.jump:
            total = total + bend.jump * (normal_density((mean - bend.at) / spread) / spread)
    return total
