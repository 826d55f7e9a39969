"""B1-B3 (Theorems 1 and 2 of arXiv 1511.07289) evaluated on measured Fisher matrices."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from elutheory.fisher.solves import in_float64, solve_damped_rows, solve_positive_definite
from elutheory.fisher.unit_fisher_matrix import UnitFisher

NEGLIGIBLE_SHARE = 1e-14
"""What dead units are damped with, relative to the least damped live unit; every unit gets it.

It moves the results of the live units by at most its own size (1e-12 would move them by 1e-12), which is what rounding
does to them; only where it underflows, below 1e-300, are dead units singular again. Guarded by
`test_dead_units_change_nothing_for_the_others`.
"""

Solve = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class BiasShiftCorrection:
    """What the unit natural gradient does to every unit's mean net input, by the theorems' formulas.

    - `s` (units,): bias entry of F⁻¹ (B1, Theorem 1 of arXiv 1511.07289);
    - `k` (units,): multiplicative correction of the bias, −k E_q[a] being the additive one (B3, Theorem 2);
    - `shift_without` (units,): E_p[a]·A⁻¹g + g0/c, the bias shift without the coupling b (B2), net-input units;
    - `shift_with` (units,): the bias shift of the unit natural gradient (B3);
    - `delta_w` (units, fan_in), `delta_w0` (units,): the unit natural gradient F⁻¹(g, g0) (B1).

    >>> import elutheory as et
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.Linear(4, 2))
    >>> x = torch.randn(50, 3)
    >>> F, gradient = et.unit_fisher(model, x, layer="0"), torch.ones(4, 4)
    >>> correction = et.bias_shift_correction(F, gradient, damping=0.1)
    >>> torch.allclose(correction.delta_w0, F.natural_gradient(gradient, damping=0.1)[:, 0], rtol=1e-4)
    True
    """

    s: Float[Tensor, " units"]
    k: Float[Tensor, " units"]
    shift_without: Float[Tensor, " units"]
    shift_with: Float[Tensor, " units"]
    delta_w: Float[Tensor, "units fan_in"]
    delta_w0: Float[Tensor, " units"]


def bias_shift_correction(
    F: UnitFisher, gradient: Float[Tensor, "units coordinates"], damping: float = 0.0, *, relative: bool = False
) -> BiasShiftCorrection:
    """B1–B3 (Theorems 1 and 2, arXiv 1511.07289) for every unit, from A⁻¹ and Var_q(a)⁻¹; F itself is not solved.

    `gradient` (units, fan_in + 1): (g0, g), the bias first. With damping λ = `damping`, or, relative, `damping` × the
    unit's mean diagonal, the blocks are those of F + λI, for which both theorems hold (`UnitFisher.damped`). The shifts
    are those of adding F⁻¹(g, g0); descent subtracts it. From the matrices or, for form "factors", in the small space
    of the factors; in float64 and in chunks of units. Dead units without damping get NaN. Raises InputError for a layer
    without bias, a wrong shape, or a singular F + λI.

    >>> import elutheory as et
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.Linear(4, 2))
    >>> x = torch.randn(50, 3)
    >>> F = et.unit_fisher(model, x, layer="0")
    >>> correction = et.bias_shift_correction(F, torch.ones(4, 4), damping=1e-2, relative=True)
    >>> correction.k.shape, correction.delta_w.shape
    (torch.Size([4]), torch.Size([4, 3]))
    """
    F.check_shape(gradient)
    F.refuse_singular(damping, relative=relative)
    F = F.damped(damping, relative=relative)
    live = F.mean_diagonal > 0
    found = gradient.new_full((4, F.units), math.nan), gradient.new_full(F.shape, math.nan)
    for chunk in F.unit_chunks():
        units = torch.arange(F.units, device=live.device)[chunk][live[chunk]]
        if len(units):
            part = F.of_units(units.tolist()).in_float64()
            numbers, step = _corrections(part, in_float64(gradient[units]))
            found[0][:, units], found[1][units] = numbers.to(gradient), step.to(gradient)
    (s, k, without, coupled), step = found
    return BiasShiftCorrection(s, k, without, coupled, step[:, 1:], step[:, 0])


def damped_for_every_unit(F: UnitFisher, damping: float) -> UnitFisher:
    """F + λI, λ being `damping` × the unit's mean diagonal, such that dead units (c = 0), too, can be solved.

    Their own λ is 0, so that they remain singular, which refuses the whole layer: all units get NEGLIGIBLE_SHARE of the
    smallest λ of a live unit more. At least one unit must be alive, and `damping` above zero.
    """
    diagonal = F.mean_diagonal
    negligible = NEGLIGIBLE_SHARE * damping * float(diagonal[diagonal > 0].min())
    return F.damped(damping, relative=True).damped(negligible)


def uncoupled_natural_gradient(
    F: UnitFisher, gradient: Float[Tensor, "units coordinates"]
) -> Float[Tensor, "units coordinates"]:
    """(g0/c, A⁻¹g): the natural gradient without the coupling b of bias and weights (B2), the bias first.

    In chunks of units. A and c are those of a damped F where F is; they must not be singular.
    """
    weights = [_weight_solver(F, units, F.rows_of(units))(gradient[units, 1:]) for units in F.unit_chunks()]
    return torch.cat([gradient[:, :1] / F.c[:, None], torch.cat(weights)], dim=1)


def _corrections(
    F: UnitFisher, gradient: Float[Tensor, "units coordinates"]
) -> tuple[Float[Tensor, "4 units"], Float[Tensor, "units coordinates"]]:
    """s, k, shift without and with the coupling; and the natural gradient, the bias first."""
    every = slice(None)
    g0, g = gradient[:, 0], gradient[:, 1:]
    b, c, m_q = F.b, F.c, F.coupling_ratio
    m_p = F.mean_under_p.expand_as(m_q)
    rows = F.rows_of(every)
    solve_A = _weight_solver(F, every, rows)
    variance_inverse_mean = _variance_solver(F, every, rows, c, m_q)(m_q)
    A_inverse_g = solve_A(g)

    s = bias_entry_of_inverse(c, m_q, variance_inverse_mean)
    delta_w0 = s * (g0 - dot(b, A_inverse_g))
    delta_w = solve_A(g - delta_w0[:, None] * b)
    k = multiplicative_correction(m_p, m_q, variance_inverse_mean)
    shift_without = dot(m_p, A_inverse_g) + g0 / c
    shift_with = dot(m_p - k[:, None] * m_q, A_inverse_g) + k * g0 / c
    return torch.stack([s, k, shift_without, shift_with]), torch.cat([delta_w0[:, None], delta_w], dim=1)


def _weight_solver(F: UnitFisher, units: slice, rows: Tensor | None) -> Solve:
    """right ↦ A⁻¹ right for some units; `rows` are the vectors that their F is the sum of, if it is kept as such."""
    if rows is None or F.damping is None:
        return partial(solve_positive_definite, F.matrix_of(units)[:, 1:, 1:])
    return partial(solve_damped_rows, rows[:, :, 1:], F.damping[units])


def _variance_solver(F: UnitFisher, units: slice, rows: Tensor | None, c: Tensor, m_q: Tensor) -> Solve:
    """right ↦ Var_q(a)⁻¹ right for some units; `rows` as for `_weight_solver`."""
    if rows is None or F.damping is None:
        return partial(solve_positive_definite, F.complement_of(units))
    damping = F.damping[units]
    undamped = c - damping
    # With m = b/(c + λ) and μ = b/c: Var_q = [sum (v − v0 μ)(v − v0 μ)ᵀ + λ I + (λ (c + λ)/c) m mᵀ] / (c + λ).
    alive = (undamped > 0)[:, None]
    undamped_mean = torch.where(alive, m_q * (c / undamped)[:, None], 0.0)
    further = torch.where(alive, (damping * c / undamped).sqrt()[:, None] * m_q, 0.0)
    centred = torch.cat([rows[:, :, 1:] - rows[:, :, :1] * undamped_mean[:, None], further[:, None]], dim=1)
    return lambda right: c[:, None] * solve_damped_rows(centred, damping, right)


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
    """left · right of every unit."""
    return (left * right).sum(1)
