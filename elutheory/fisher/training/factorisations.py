"""Factorisations of many positive semi-definite matrices at once, kept to be solved with again and again."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from elutheory.fisher.outer_products import mirror


class Factorisation(ABC):
    """Matrices of some units, as factors of theirs."""

    @abstractmethod
    def solve(self, right: Float[Tensor, "units n"]) -> Float[Tensor, "units n"]:
        """matrix⁻¹ right of every unit."""


@dataclass(frozen=True, eq=False)
class Cholesky(Factorisation):
    """matrix = RᵀR with R upper triangular; `failed`: the units for which there is no such factor."""

    factor: Float[Tensor, "units n n"]
    failed: Bool[Tensor, " units"]

    def solve(self, right: Float[Tensor, "units n"]) -> Float[Tensor, "units n"]:
        """R⁻¹ R⁻ᵀ right."""
        inner = torch.linalg.solve_triangular(self.factor.mT, right[:, :, None], upper=False)
        return torch.linalg.solve_triangular(self.factor, inner, upper=True)[:, :, 0]


@dataclass(frozen=True, eq=False)
class Inverse(Factorisation):
    """The inverses themselves: a matrix product solves many times over."""

    inverses: Float[Tensor, "units n n"]

    @classmethod
    def of(cls, factors: Cholesky) -> "Inverse":
        """R⁻¹ R⁻ᵀ; the identity for units without a factor, whom LAPACK's routine would refuse.

        That routine, on a CPU twice as fast, would have an accelerator waited for.
        """
        identity = torch.eye(factors.factor.shape[-1], dtype=factors.factor.dtype, device=factors.factor.device)
        factor = torch.where(factors.failed[:, None, None], identity, factors.factor)
        if factor.device.type == "cpu":
            return cls(torch.cholesky_inverse(factor, upper=True).mT)  # symmetric, and so with its rows in memory
        inverted = torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=True)
        return cls(inverted @ inverted.mT)

    def solve(self, right: Float[Tensor, "units n"]) -> Float[Tensor, "units n"]:
        """The product, from the left: on a CPU twice as fast as from the right."""
        return torch.bmm(right[:, None, :], self.inverses)[:, 0]


@dataclass(frozen=True, eq=False)
class Spectral(Factorisation):
    """Pseudo-inverses: eigenvectors, and the inverses of their eigenvalues, 0 for those that count as zero."""

    eigenvectors: Float[Tensor, "units n n"]
    inverses: Float[Tensor, "units n"]

    def solve(self, right: Float[Tensor, "units n"]) -> Float[Tensor, "units n"]:
        """The pseudo-inverse times right."""
        inner = torch.einsum("uji,uj->ui", self.eigenvectors, right)
        return torch.einsum("uij,uj->ui", self.eigenvectors, self.inverses * inner)


@dataclass(frozen=True, eq=False)
class _Replaced(Factorisation):
    """The one, and the other for some of its units."""

    whole: Factorisation
    units: Int[Tensor, " some"]
    others: Factorisation

    def solve(self, right: Float[Tensor, "units n"]) -> Float[Tensor, "units n"]:
        """By either."""
        solution = self.whole.solve(right)
        solution[self.units] = self.others.solve(right[self.units])
        return solution


def cholesky(matrix: Float[Tensor, "units n n"]) -> Cholesky:
    """From what is on and above the diagonals. An accelerator is not waited for."""
    factor, failed = torch.linalg.cholesky_ex(matrix, upper=True)
    return Cholesky(factor, failed != 0)


def spectral(matrix: Float[Tensor, "units n n"], threshold: float) -> Spectral:
    """Eigenvalues up to threshold × the largest count as zero; from what is on and above the diagonals."""
    mirror(matrix)
    eigenvalues, eigenvectors = torch.linalg.eigh(matrix)
    return Spectral(eigenvectors, torch.where(eigenvalues > threshold * eigenvalues[:, -1:], 1 / eigenvalues, 0.0))


def cholesky_or_spectral(matrix: Float[Tensor, "units n n"]) -> Factorisation:
    """By Cholesky, and for the units that are singular to rounding by eigenvectors; an accelerator is waited for.

    Eigenvalues up to n × the dtype's rounding unit × the largest count as zero.
    """
    found = cholesky(matrix)
    singular = found.failed.nonzero()[:, 0]
    if not len(singular):
        return found
    return _Replaced(found, singular, spectral(matrix[singular], matrix.shape[-1] * torch.finfo(matrix.dtype).eps))
