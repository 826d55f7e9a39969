"""Exact rational functions over Q in named quantities, kept in lowest terms."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from flint import Ordering, fmpq, fmpq_mpoly_ctx

from elutheory.derivations.proof.derivation import CheckError

LARGEST_NUMBER_OF_QUANTITIES = 64


@cache
def _context() -> Any:
    names = tuple(f"q{index}" for index in range(LARGEST_NUMBER_OF_QUANTITIES))
    return fmpq_mpoly_ctx.get(names, Ordering.degrevlex)


@dataclass(frozen=True)
class RationalFunction:
    """`numerator / denominator`, two polynomials without common factor; the denominator's leading coefficient is 1."""

    numerator: Any
    denominator: Any

    @staticmethod
    def constant(numerator: int, denominator: int = 1) -> "RationalFunction":
        context = _context()
        return RationalFunction(context.constant(fmpq(numerator, denominator)), context.constant(fmpq(1)))

    @staticmethod
    def quantity(index: int) -> "RationalFunction":
        """The quantity with this index (0 ... LARGEST_NUMBER_OF_QUANTITIES - 1)."""
        return RationalFunction(_context().gens()[index], _context().constant(fmpq(1)))

    @property
    def is_zero(self) -> bool:
        return self.numerator == 0

    def has_nonnegative_coefficients(self) -> bool:
        """Sufficient for being >= 0 wherever all quantities are: no negative coefficient above or below the bar."""
        return all(value >= 0 for part in (self.numerator, self.denominator) for value in part.coeffs())

    def indices(self) -> set[int]:
        """The quantities that occur."""
        used: set[int] = set()
        for part in (self.numerator, self.denominator):
            used.update(index for index, degree in enumerate(part.degrees()) if degree > 0)
        return used

    def __add__(self, other: "RationalFunction") -> "RationalFunction":
        if self.denominator == other.denominator:
            return _lowest_terms(self.numerator + other.numerator, self.denominator)
        return _lowest_terms(
            self.numerator * other.denominator + other.numerator * self.denominator,
            self.denominator * other.denominator,
        )

    def __neg__(self) -> "RationalFunction":
        return RationalFunction(-self.numerator, self.denominator)

    def __sub__(self, other: "RationalFunction") -> "RationalFunction":
        return self + (-other)

    def __mul__(self, other: "RationalFunction") -> "RationalFunction":
        return _lowest_terms(self.numerator * other.numerator, self.denominator * other.denominator)

    def inverse(self) -> "RationalFunction":
        if self.is_zero:
            raise CheckError("a division by zero")
        return _lowest_terms(self.denominator, self.numerator)


def _lowest_terms(numerator: Any, denominator: Any) -> RationalFunction:
    common = numerator.gcd(denominator)
    if common != 1:
        numerator, denominator = numerator / common, denominator / common
    leading = denominator.leading_coefficient()
    if leading != 1:
        numerator, denominator = numerator / leading, denominator / leading
    return RationalFunction(numerator, denominator)
