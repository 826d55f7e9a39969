"""Theorems 1 and 2 against a direct solve, unit by unit: what a layer's table row says (B1-B3, arXiv 1511.07289)."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from elutheory.errors import InputError
from elutheory.fisher.correction import bias_shift_correction, dot
from elutheory.fisher.scores import LayerScores
from elutheory.fisher.unit_fisher_matrix import UnitFisher

Solution = Literal["direct", "on the range", "damped", "dead", "bias dependent"]


@dataclass(frozen=True)
class UnitRecord:
    """One unit's numbers. None where there is no such number (a dead unit, or one that was not solved).

    - `solution`: "direct" (F solved as it is), "on the range" (F singular: incoming activations projected on the range
      of A, where F is regular; the solution is the pseudo-inverse's), "damped" (F + λI), and, not solved because
      Theorem 1 does not apply, "dead" (F = 0) and "bias dependent" (F singular even there: s infinite);
    - `rank` and `condition_number` (of F, on its range) or those of F + λI;
    - `mean_under_q`: mean over the incoming units of E_q[a];
    - `s_times_c`, `k`, `shift_without`, `shift_with`: see `BiasShiftCorrection`; with damping c is c + λ;
    - `cosine`: between the gradient and the unit natural gradient;
    - `solution_deviation`: |Δ_direct − Δ_Theorem1| / |Δ_direct|, Δ = (Δw0, Δw);
    - `shift_deviation`: |E_p[a]·Δw + Δw0 of the direct solve − shift of Theorem 2|, relative to the size of the terms
      summed, sum_i |E_p[a_i] Δw_i| + |Δw0|: the shift itself may cancel to nothing;
    - `s_deviation`: |s_L1 − s_B1| / s_B1, s_L1 = 1/(c − b·A⁻¹b) (L1) and s_B1 by Theorem 1;
    - `bound`: `deviation_bound(condition_number)`; `share_of_bound`: largest deviation over it; `passed`: all below.
    """

    unit: int
    solution: Solution
    rank: int
    condition_number: float | None
    mean_under_q: float | None
    s_times_c: float | None = None
    k: float | None = None
    shift_without: float | None = None
    shift_with: float | None = None
    cosine: float | None = None
    solution_deviation: float | None = None
    shift_deviation: float | None = None
    s_deviation: float | None = None
    bound: float | None = None
    share_of_bound: float | None = None
    passed: bool | None = None


@dataclass(frozen=True)
class LayerRecord:
    """One layer's numbers: medians over the units that have them (None: none has), counts, and the largest deviations.

    - `mean_under_p`: mean over the incoming units of E_p[a]; `mean_share`: |E_p a|² / E_p|a|², in [0, 1] (P2b);
    - `singular_units`: units whose F (or F + λI) has rank below `coordinates` = fan_in + 1; `unsolved_units`: those
      among them that were not solved; `solutions`: number of units by `UnitRecord.solution`;
    - `largest_deviation`: of the three kinds; `share_of_bound`: the largest of a unit;
    - `passed`: at least one unit was solved and every solved unit's deviations are below its bound.
    """

    layer: str
    units: int
    fan_in: int
    damping: float | None
    mean_under_p: float
    mean_share: float | None
    mean_under_q: float | None
    s_times_c: float | None
    k: float | None
    shift_without: float | None
    shift_with: float | None
    cosine: float | None
    rank_smallest: int
    rank_largest: int
    condition_number_median: float | None
    condition_number_largest: float | None
    singular_units: int
    unsolved_units: int
    solutions: dict[Solution, int]
    solution_deviation: float | None
    shift_deviation: float | None
    s_deviation: float | None
    largest_deviation: float | None
    share_of_bound: float | None
    passed: bool
    unit_records: tuple[UnitRecord, ...]

    @property
    def coordinates(self) -> int:
        """Side of F: fan_in + 1."""
        return self.fan_in + 1


def deviation_bound(condition_number: float) -> float:
    """1e-8 · max(1, condition_number / 1e6): flat, and 45 rounding units × the condition number beyond 1e6."""
    return 1e-8 * max(1.0, condition_number / 1e6)


def layer_record(
    scores: LayerScores, gradient: Float[Tensor, "units coordinates"], layer: str, damping: float | None = None
) -> LayerRecord:
    """Theorems 1 and 2 against direct solves, for every unit of a layer and a gradient, the bias coordinate first.

    `damping` None: F is solved directly where regular, else on its range; 0: directly or not at all; positive: F + λI
    for every unit. Raises InputError for scores that are not float64, a layer without bias and a damping (0 included)
    that leaves F + λI singular.
    """
    if scores.incoming.dtype != torch.float64:
        raise InputError(f"the scores are {scores.incoming.dtype}; deviations near 1e-8 need float64.")
    F = UnitFisher.from_scores(scores)
    if damping is not None:
        F.refuse_singular(damping)
    records = tuple(_unit_record(scores.unit(unit), gradient[unit, None], unit, damping) for unit in range(len(F.c)))
    solved = [record for record in records if record.passed is not None]
    deviations = {
        name: _largest(getattr(record, name) for record in records)
        for name in ("solution_deviation", "shift_deviation", "s_deviation")
    }
    medians = {
        name: _median(getattr(record, name) for record in records)
        for name in ("mean_under_q", "s_times_c", "k", "shift_without", "shift_with", "cosine")
    }
    second_moment = scores.incoming.square().sum(-1).mean()
    return LayerRecord(
        layer=layer,
        units=len(records),
        fan_in=len(F.mean_under_p),
        damping=damping,
        mean_under_p=F.mean_under_p.mean().item(),
        mean_share=(F.mean_under_p.square().sum() / second_moment).item() if second_moment > 0 else None,
        rank_smallest=min(record.rank for record in records),
        rank_largest=max(record.rank for record in records),
        condition_number_median=_median(record.condition_number for record in records),
        condition_number_largest=_largest(record.condition_number for record in records),
        singular_units=sum(record.rank < F.matrix.shape[-1] for record in records),
        unsolved_units=len(records) - len(solved),
        solutions={name: count for name in _SOLUTIONS if (count := sum(r.solution == name for r in records))},
        largest_deviation=_largest(deviations.values()),
        share_of_bound=_largest(record.share_of_bound for record in solved),
        passed=bool(solved) and all(record.passed for record in solved),
        unit_records=records,
        **deviations,
        **medians,
    )


_SOLUTIONS: tuple[Solution, ...] = ("direct", "on the range", "damped", "dead", "bias dependent")


def _unit_record(scores: LayerScores, gradient: Tensor, unit: int, damping: float | None) -> UnitRecord:
    full = UnitFisher.from_scores(scores)
    F = full.damped(damping or 0.0)
    rank = F.rank[0]
    described = {
        "unit": unit,
        "rank": rank,
        "condition_number": (F.eigenvalues[0, -1] / F.eigenvalues[0, -rank]).item() if rank else None,
        "mean_under_q": full.mean_under_q.mean().item() if full.c > 0 else None,
    }
    if rank == F.matrix.shape[-1]:
        solution: Solution = "damped" if damping else "direct"
        basis = None
        g = gradient
    elif rank == 0:
        return UnitRecord(solution="dead", **described)
    else:
        solution = "on the range"
        basis = _range_of_A(F)
        # From the projected activations, not from the projected matrices: small eigenvalues keep all their digits.
        F = UnitFisher.from_scores(scores.project(basis))
        g = torch.cat([gradient[:, :1], gradient[:, 1:] @ basis], dim=1)
        if F.rank[0] < F.matrix.shape[-1]:
            return UnitRecord(solution="bias dependent", **described)

    theorem = bias_shift_correction(F, g)
    direct = F.natural_gradient(g)[0]
    solution_deviation = _relative((direct - torch.cat([theorem.delta_w0, theorem.delta_w[0]])).norm(), direct.norm())
    terms = torch.cat([direct[:1], F.mean_under_p * direct[1:]])
    shift_deviation = _relative((terms.sum() - theorem.shift_with[0]).abs(), terms.abs().sum())
    s = 1 / (F.c - dot(F.b, torch.linalg.solve(F.A, F.b)))
    s_deviation = _relative((s - theorem.s).abs(), theorem.s)
    bound = deviation_bound(described["condition_number"])
    deviations = (solution_deviation, shift_deviation, s_deviation)

    natural = direct if basis is None else torch.cat([direct[:1], basis @ direct[1:]])
    norms = natural.norm() * gradient.norm()
    return UnitRecord(
        solution=solution,
        **described,
        s_times_c=(theorem.s * F.c).item(),
        k=theorem.k.item(),
        shift_without=theorem.shift_without.item(),
        shift_with=theorem.shift_with.item(),
        cosine=(dot(gradient, natural[None]) / norms).item() if norms > 0 else None,
        solution_deviation=solution_deviation,
        shift_deviation=shift_deviation,
        s_deviation=s_deviation,
        bound=bound,
        share_of_bound=max(deviations) / bound,
        passed=all(deviation < bound for deviation in deviations),
    )


def _range_of_A(F: UnitFisher) -> Float[Tensor, "fan_in rank"]:
    """Orthonormal basis of the directions in which A exceeds the rank threshold times F's largest eigenvalue."""
    eigenvalues, eigenvectors = torch.linalg.eigh(F.A[0])
    return eigenvectors[:, eigenvalues > F.rank_threshold * F.eigenvalues[0, -1]]


def _relative(deviation: Tensor, size: Tensor) -> float:
    """deviation / size; 0 if both are 0 (a unit whose gradient vanishes)."""
    return 0.0 if deviation == 0 else (deviation / size).item()


def _median(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return median(present) if present else None


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
