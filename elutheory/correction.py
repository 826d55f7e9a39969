"""B1-B3 (Theorems 1 and 2 of arXiv 1511.07289) evaluated on measured Fisher matrices."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from elutheory.fisher import UnitFisher


@dataclass(frozen=True, eq=False)
class BiasShiftCorrection:
    """What the unit natural gradient does to every unit's mean net input, by the theorems' formulas.

    - `s` (units,): bias entry of F⁻¹ (B1, Theorem 1 of arXiv 1511.07289);
    - `k` (units,): multiplicative correction of the bias, −k E_q[a] being the additive one (B3, Theorem 2);
    - `shift_without` (units,): E_p[a]·A⁻¹g + g0/c, the bias shift without the coupling b (B2), net-input units;
    - `shift_with` (units,): the bias shift of the unit natural gradient (B3);
    - `delta_w` (units, fan_in), `delta_w0` (units,): the unit natural gradient F⁻¹(g, g0) (B1).
    """

    s: Float[Tensor, " units"]
    k: Float[Tensor, " units"]
    shift_without: Float[Tensor, " units"]
    shift_with: Float[Tensor, " units"]
    delta_w: Float[Tensor, "units fan_in"]
    delta_w0: Float[Tensor, " units"]


def bias_shift_correction(
    F: UnitFisher, gradient: Float[Tensor, "units coordinates"], damping: float = 0.0
) -> BiasShiftCorrection:
    """B1–B3 (Theorems 1 and 2, arXiv 1511.07289) for every unit, from A⁻¹ and Var_q(a)⁻¹; F itself is not solved.

    `gradient` (units, fan_in + 1): (g0, g), the bias first. With damping λ the blocks are those of F + λI, for which
    both theorems hold (`UnitFisher.damped`). The shifts are those of adding F⁻¹(g, g0); descent subtracts it. Raises
    InputError for a layer without bias, a wrong shape, or a singular F + λI.
    """
    F.check_shape(gradient)
    F.refuse_singular(damping)
    F = F.damped(damping)
    b, c = F.b, F.c
    g0, g = gradient[:, 0], gradient[:, 1:]
    m_p, m_q = F.mean_under_p.expand_as(F.mean_under_q), F.mean_under_q
    variance_inverse_mean = _solve_positive_definite(F.covariance_under_q, m_q)
    A_inverse_g = _solve_positive_definite(F.A, g)

    s = bias_entry_of_inverse(c, m_q, variance_inverse_mean)
    delta_w0 = s * (g0 - dot(b, A_inverse_g))
    delta_w = _solve_positive_definite(F.A, g - delta_w0[:, None] * b)
    k = multiplicative_correction(m_p, m_q, variance_inverse_mean)
    shift_without = dot(m_p, A_inverse_g) + g0 / c
    shift_with = dot(m_p - k[:, None] * m_q, A_inverse_g) + k * g0 / c
    return BiasShiftCorrection(s, k, shift_without, shift_with, delta_w, delta_w0)


def bias_entry_of_inverse(
    c: Float[Tensor, " units"],
    mean_under_q: Float[Tensor, "units fan_in"],
    variance_inverse_mean: Float[Tensor, "units fan_in"],
) -> Float[Tensor, " units"]:
    """s = c⁻¹ (1 + E_q[a]·Var_q(a)⁻¹ E_q[a]) (B1, Theorem 1 of arXiv 1511.07289); the last argument is Var_q⁻¹ E_q."""
    return (1 + dot(mean_under_q, variance_inverse_mean)) / c


def multiplicative_correction(
    mean_under_p: Float[Tensor, "units fan_in"],
    mean_under_q: Float[Tensor, "units fan_in"],
    variance_inverse_mean: Float[Tensor, "units fan_in"],
) -> Float[Tensor, " units"]:
    """k = 1 + (E_q[a] − E_p[a])·Var_q(a)⁻¹ E_q[a] (B3, Theorem 2 of arXiv 1511.07289); last argument as above."""
    return 1 + dot(mean_under_q - mean_under_p, variance_inverse_mean)


def dot(left: Float[Tensor, "units n"], right: Float[Tensor, "units n"]) -> Float[Tensor, " units"]:
    return (left * right).sum(1)


def _solve_positive_definite(
    matrix: Float[Tensor, "units n n"], right: Float[Tensor, "units n"]
) -> Float[Tensor, "units n"]:
    """matrix⁻¹ right by Cholesky, after scaling to a unit diagonal (near the best condition scaling can reach)."""
    scale = matrix.diagonal(dim1=-2, dim2=-1).rsqrt()
    factor = torch.linalg.cholesky(scale[:, :, None] * matrix * scale[:, None, :])
    return scale * torch.cholesky_solve((scale * right)[:, :, None], factor)[:, :, 0]
