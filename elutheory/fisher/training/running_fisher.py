"""A layer's Fisher matrices during training: fading means, and solves with them whose factorisations are kept.

What is fading lies in a dictionary, the optimizer's state of the layer's weight, so that it is saved with it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from elutheory.fisher.factors import (
    SummedScores,
    UnitFactors,
    WeightedActivations,
    add_scores_to,
    factors_of,
    number_of_factors,
)
from elutheory.fisher.outer_products import chunks_of_units, mirror
from elutheory.fisher.scores import LayerScores
from elutheory.fisher.training.conjugate_gradients import conjugate_gradients
from elutheory.fisher.training.factorisations import (
    Cholesky,
    Factorisation,
    Inverse,
    cholesky,
    cholesky_or_spectral,
    spectral,
)
from elutheory.fisher.unit_fisher_matrix import RANK_THRESHOLD

RUNNING_KEYS = ("fisher", "activations", "weights", "scores", "updates", "window")
"""Of what a state holds, with "estimate_weight": the sum of what the updates count."""

_ITERATED = 128
"""From so many shared vectors on what is solved once is solved by conjugate gradients, on a CPU.

Measured for 64 units in float32 on a core that was busy: 0.3 ms an iteration of 128 vectors, of which a step takes 25
to 70, and 0.6 ms of 256; inner products and factorisations take 20 and 90 ms. Guarded by
`test_many_vectors_are_solved_by_conjugate_gradients_as_by_cholesky`.
"""

_CHUNK_BYTES = 2**25  # of the matrices of as many units as are factorised at a time
_CACHED_BYTES = 2**22  # the same on a CPU, so that a processor's cache holds them: a third faster for 64 of 256²


@dataclass(frozen=True, eq=False)
class Damping:
    """λ = `value`, or, `relative`, `value` × the mean diagonal of the unit's F; at least `floor`."""

    value: float
    relative: bool
    floor: Tensor | None = None

    def of(self, mean_diagonal: Float[Tensor, " units"]) -> Float[Tensor, " units"]:
        """λ of units with such mean diagonals."""
        scaled = self.value * (mean_diagonal if self.relative else torch.ones_like(mean_diagonal))
        return scaled if self.floor is None else scaled.maximum(self.floor)


class RunningFisher(ABC):
    """F = Σ_k decay^(age of update k) F_k / Σ_k decay^(age of update k), of every unit; a bias coordinate stands first,
    whether or not the layer has a bias."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state

    @abstractmethod
    def begin_update(self, decay: float) -> None:
        """Before an update: what there is counts `decay` times as much, the update 1 − decay."""

    @abstractmethod
    def add(self, scores: LayerScores, share: float) -> None:
        """Adds `share` × the sum of outer products of some of an update's scores."""

    @property
    @abstractmethod
    def units(self) -> int:
        """The number of units."""

    @abstractmethod
    def chunks(self) -> Iterator[slice]:
        """Slices of the units, to be factorised one after another."""

    @abstractmethod
    def square(self, units: slice, has_bias: bool) -> Float[Tensor, "units n n"]:
        """What is factorised, on and above the diagonals: a copy, with the trace of F."""

    @abstractmethod
    def coordinates(self, has_bias: bool) -> int:
        """The number of coordinates of a unit."""

    @abstractmethod
    def inwards(self, gradient: Float[Tensor, "units coordinates"], has_bias: bool) -> Float[Tensor, "units n"]:
        """A gradient in the space of what is factorised."""

    @abstractmethod
    def outwards(
        self,
        solution: Float[Tensor, "units n"],
        gradient: Tensor,
        damping: Float[Tensor, " units"] | None,
        has_bias: bool,
    ) -> Float[Tensor, "units coordinates"]:
        """(F + λI)⁻¹ gradient from the solution with what is factorised, 0 for units whose λ is infinite; `damping`
        None: F⁺ gradient from that with its pseudo-inverse, for vectors taken twice."""

    @abstractmethod
    def matrix(self, has_bias: bool) -> Float[Tensor, "units coordinates coordinates"]:
        """F of every unit, a copy."""

    @property
    def _weight(self) -> float:
        return self._state["estimate_weight"]


def _chunk_bytes(held: Tensor) -> int:
    return _CACHED_BYTES if held.device.type == "cpu" else _CHUNK_BYTES


class RunningMatrices(RunningFisher):
    """F itself, on and above the diagonals."""

    def begin_update(self, decay: float) -> None:
        """Scales the matrices in place."""
        self._state["fisher"].mul_(decay)
        self._state["estimate_weight"] = decay * self._weight + (1 - decay)

    def add(self, scores: LayerScores, share: float) -> None:
        """By matrix products for many units at once."""
        groups, fan_in = scores.incoming.shape[1::2]
        add_scores_to(self._state["fisher"], scores, scores.incoming.new_zeros(groups, fan_in), share)

    @property
    def units(self) -> int:
        """The number of units."""
        return len(self._state["fisher"])

    def chunks(self) -> Iterator[slice]:
        """Of bounded memory."""
        return chunks_of_units(self._state["fisher"], _chunk_bytes(self._state["fisher"]))

    def square(self, units: slice, has_bias: bool) -> Float[Tensor, "units n n"]:
        """F."""
        matrix = self._state["fisher"][units] / self._weight
        return matrix if has_bias else matrix[:, 1:, 1:]

    def coordinates(self, has_bias: bool) -> int:
        """The side of F."""
        return self._state["fisher"].shape[-1] - (not has_bias)

    def inwards(self, gradient: Float[Tensor, "units coordinates"], has_bias: bool) -> Float[Tensor, "units n"]:
        """The gradient."""
        return gradient

    def outwards(
        self,
        solution: Float[Tensor, "units n"],
        gradient: Tensor,
        damping: Float[Tensor, " units"] | None,
        has_bias: bool,
    ) -> Float[Tensor, "units coordinates"]:
        """The solution."""
        return solution if damping is None else torch.where(damping[:, None].isinf(), 0.0, solution)

    def matrix(self, has_bias: bool) -> Float[Tensor, "units coordinates coordinates"]:
        """F of every unit, a copy."""
        matrix = self.square(slice(None), has_bias)
        mirror(matrix)
        return matrix


class RunningVectors(RunningFisher):
    """The vectors v of the last updates, F = Σ v vᵀ; solves are in their space, by Woodbury's identity.

    `updates`: for each of these updates how many of the vectors are its own, and what it counts.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        super().__init__(state)
        self._of_one_group: dict[bool, _SharedVectors] = {}  # with and without a bias, while the vectors stay

    def begin_update(self, decay: float) -> None:
        """Forgets all updates but the last window − 1, and scales these one's vectors."""
        self._of_one_group = {}
        state, window = self._state, self._state["window"]
        kept = state["updates"][len(state["updates"]) - window + 1 :] if window > 1 else []
        dropped = sum(count for count, _ in state["updates"]) - sum(count for count, _ in kept)
        state["updates"] = [*([count, decay * share] for count, share in kept), [0, 1 - decay]]
        for key in ("activations", "weights", "scores"):
            if key in state:
                state[key] = state[key][dropped:]
        if "weights" in state:
            state["weights"] = decay * state["weights"]
        elif "scores" in state:
            state["scores"] = math.sqrt(decay) * state["scores"]
        state["estimate_weight"] = sum(share for _, share in state["updates"])

    def add(self, scores: LayerScores, share: float) -> None:
        """Appends the vectors of some of the update's scores."""
        state, new = self._state, factors_of(scores)
        state["updates"][-1][0] += new.count
        if isinstance(new, WeightedActivations):
            scaled: UnitFactors = WeightedActivations(new.activations, share * new.weights)
        else:
            scaled = SummedScores(math.sqrt(share) * new.rows(slice(None)).transpose(0, 1))
        self._keep(self._vectors.extended(scaled) if {"weights", "scores"} & state.keys() else scaled)

    def _keep(self, vectors: UnitFactors) -> None:
        self._of_one_group = {}
        for key in ("activations", "weights", "scores"):
            self._state.pop(key, None)
        if isinstance(vectors, WeightedActivations):
            self._state |= {"activations": vectors.activations, "weights": vectors.weights}
        elif isinstance(vectors, SummedScores):
            self._state["scores"] = vectors.scores

    @property
    def _vectors(self) -> UnitFactors:
        if "scores" in self._state:
            return SummedScores(self._state["scores"])
        return WeightedActivations(self._state["activations"], self._state["weights"])

    def shared(self, has_bias: bool) -> "_SharedVectors | None":
        """The vectors, if all units have the same ones but for a factor."""
        if "weights" not in self._state or self._state["activations"].shape[1] > 1:
            return None
        if has_bias not in self._of_one_group:
            points = self._state["activations"][:, 0]
            points = torch.cat([points.new_ones(len(points), 1), points], dim=1) if has_bias else points
            roots = (self._state["weights"].T / self._weight).sqrt()
            self._of_one_group[has_bias] = _SharedVectors(points, roots)
        return self._of_one_group[has_bias]

    @property
    def units(self) -> int:
        """The number of units."""
        return self._state["scores" if "scores" in self._state else "weights"].shape[1]

    def chunks(self) -> Iterator[slice]:
        """Of bounded memory."""
        count = self._vectors.count
        held = self._state["scores" if "scores" in self._state else "weights"]
        size = max(1, _chunk_bytes(held) // max(1, count**2 * held.element_size()))
        return (slice(start, min(start + size, self.units)) for start in range(0, self.units, size))

    def square(self, units: slice, has_bias: bool) -> Float[Tensor, "units n n"]:
        """The vectors' inner products."""
        if (shared := self.shared(has_bias)) is not None:
            return shared.gram(units)
        return self._vectors.gram(units, has_bias).div_(self._weight)

    def coordinates(self, has_bias: bool) -> int:
        """The vectors' length."""
        held = self._state["scores"].shape[-1] if "scores" in self._state else self._state["activations"].shape[-1] + 1
        return held - (not has_bias)

    def inwards(self, gradient: Float[Tensor, "units coordinates"], has_bias: bool) -> Float[Tensor, "units n"]:
        """Inner products with the vectors, V g."""
        if (shared := self.shared(has_bias)) is not None:
            return shared.inner_products(gradient)
        return self._vectors.inner_products(gradient, has_bias) * self._weight**-0.5

    def outwards(
        self,
        solution: Float[Tensor, "units n"],
        gradient: Tensor,
        damping: Float[Tensor, " units"] | None,
        has_bias: bool,
    ) -> Float[Tensor, "units coordinates"]:
        """(g − Vᵀ solution)/λ, undamped Vᵀ solution."""
        if (shared := self.shared(has_bias)) is not None and damping is not None:
            return shared.remainder(solution, gradient).div_(damping[:, None])
        combined = self._vectors.combination(solution * self._weight**-0.5, has_bias)
        return combined if damping is None else combined.sub_(gradient).div_(-damping[:, None])

    def matrix(self, has_bias: bool) -> Float[Tensor, "units coordinates coordinates"]:
        """F of every unit, a copy."""
        rows = self._vectors.rows(slice(None))[:, :, 0 if has_bias else 1 :]
        return rows.mT @ rows / self._weight


@dataclass(frozen=True, eq=False)
class _SharedVectors:
    """Vectors roots[u, m] points[m] of every unit u: all units have the same points, a coordinate 1 among them if they
    have a bias. What is done once for all units is kept."""

    points: Float[Tensor, "vectors n"]
    roots: Float[Tensor, "units vectors"]

    @cached_property
    def _products(self) -> Float[Tensor, "vectors vectors"]:
        return self.points @ self.points.T

    def gram(self, units: slice) -> Float[Tensor, "units vectors vectors"]:
        """Inner products of some units' vectors."""
        roots = self.roots[units]
        return (roots[:, :, None] * self._products).mul_(roots[:, None, :])

    def squares(self) -> Float[Tensor, " units"]:
        """The vectors' squared lengths, summed: the trace of F."""
        return self.roots.square() @ self._products.diagonal()

    def damped_product(
        self, weights: Float[Tensor, "units vectors"], damping: Float[Tensor, " units"]
    ) -> Float[Tensor, "units vectors"]:
        """Their inner products with λ on the diagonals, times `weights`."""
        return torch.addcmul(damping[:, None] * weights, (weights * self.roots) @ self._products, self.roots)

    def inner_products(self, gradient: Float[Tensor, "units n"]) -> Float[Tensor, "units vectors"]:
        """Those with every unit's row."""
        return (gradient @ self.points.T).mul_(self.roots)

    def remainder(self, weights: Float[Tensor, "units vectors"], gradient: Tensor) -> Float[Tensor, "units n"]:
        """gradient − Σ_m weights[u, m] roots[u, m] points[m]."""
        return torch.addmm(gradient, weights * self.roots, self.points, alpha=-1)


def running_fisher(state: dict[str, Any]) -> RunningFisher | None:
    """What a state holds; None: nothing."""
    if "fisher" in state:
        return RunningMatrices(state)
    return RunningVectors(state) if "updates" in state else None


def make_room(
    state: dict[str, Any], scores: LayerScores, passes: int, window: int | None, max_bytes: int, copies: int
) -> str | None:
    """Before an update: starts a running mean, of vectors if those of `window` updates are fewer than coordinates, and
    turns vectors into matrices once an update has more of them; or why there is no room.

    The first of an update's `passes` has the `scores`. `copies`: how often matrices or inner products are held.
    """
    if "fisher" in state:
        return None
    units, coordinates = scores.deltas.shape[-1], scores.incoming.shape[-1] + 1
    vectors = math.inf if window is None else number_of_factors(scores) * passes * window
    size = scores.incoming.element_size()
    if vectors < coordinates:
        held = coordinates + units if _is_shared(scores) else units * coordinates
        needed, what = size * (vectors * held + (copies - 1) * units * vectors**2), f"{vectors} vectors a unit"
    else:
        needed, what = size * copies * units * coordinates**2, "matrices"
    if needed > max_bytes:
        return f"needs {needed:,} bytes for its {what}; max_bytes is {max_bytes:,}."
    if "updates" not in state:
        state |= {"updates": [], "window": window, "estimate_weight": 0.0}
    if vectors >= coordinates:
        before = RunningVectors(state) if state["updates"] else None
        fisher = scores.incoming.new_zeros(units, coordinates, coordinates)
        state["fisher"] = fisher if before is None else before.matrix(has_bias=True) * state["estimate_weight"]
        for key in ("activations", "weights", "scores", "updates", "window"):
            state.pop(key, None)
    return None


def _is_shared(scores: LayerScores) -> bool:
    """Whether all units of a group have the same vectors but for a factor."""
    return scores.weight_sharing == "positionwise" or scores.deltas.shape[2] == 1


class InverseFisher:
    """(F + λI)⁻¹ of a running mean as it is now, factorised when first needed, chunk by chunk of the units.

    - `keep`: whether the factorisations are kept for further solves;
    - `failed`: of the last solve, for the chunks that it factorised by Cholesky: which units are not solved.
    """

    def __init__(self, fisher: RunningFisher, damping: Damping, has_bias: bool, keep: bool) -> None:
        self.damping, self.has_bias = damping, has_bias
        self.failed: list[Bool[Tensor, " units"]] = []
        self._fisher = fisher
        self._keep = keep
        self._kept: dict[int, tuple[Factorisation, Tensor]] = {}

    def solve(self, gradient: Float[Tensor, "units coordinates"], surely: bool = False) -> Tensor:
        """(F + λI)⁻¹ gradient, 0 for dead units; with λ = 0 on the range of F.

        `surely`: those whose Cholesky factorisation breaks down by eigenvectors, for which a device is waited for.
        """
        if surely:
            self._kept = {}
        self.failed = []
        if not (surely or self._keep) and (found := self._iterated(gradient)) is not None:
            return found
        right = self._fisher.inwards(gradient, self.has_bias)
        parts = []
        for units in self._fisher.chunks():
            factorisation, damping = self._factorised(units, surely)
            solution = factorisation.solve(right[units])
            if self.damping.value == 0.0 and isinstance(self._fisher, RunningVectors):
                solution = factorisation.solve(solution)
            parts.append((solution, damping))
        solutions, dampings = parts[0] if len(parts) == 1 else map(torch.cat, zip(*parts, strict=True))
        return self._fisher.outwards(
            solutions, gradient, None if self.damping.value == 0.0 else dampings, self.has_bias
        )

    def _iterated(self, gradient: Float[Tensor, "units coordinates"]) -> Tensor | None:
        """The solution without a factorisation, where that is the quicker way and leads there; else None."""
        shared = self._fisher.shared(self.has_bias) if isinstance(self._fisher, RunningVectors) else None
        if shared is None or not self.damping.value or gradient.device.type != "cpu":
            return None
        vectors = len(shared.points)
        if vectors < _ITERATED:
            return None
        mean_diagonal = shared.squares() / self._fisher.coordinates(self.has_bias)
        damping, alive = self.damping.of(mean_diagonal), mean_diagonal > 0
        shifts = torch.where(alive, damping, 1.0)
        right = shared.inner_products(gradient)
        found = conjugate_gradients(lambda weights: shared.damped_product(weights, shifts), right, vectors // 2)
        if found is None:
            return None
        return self._fisher.outwards(found, gradient, torch.where(alive, damping, math.inf), self.has_bias)

    def _factorised(self, units: slice, surely: bool) -> tuple[Factorisation, Tensor]:
        """Of some units, with their λ, infinite for dead units."""
        if units.start in self._kept:
            return self._kept[units.start]
        square = self._fisher.square(units, self.has_bias)
        coordinates = self._fisher.coordinates(self.has_bias)
        mean_diagonal = square.diagonal(dim1=-2, dim2=-1).sum(1) / coordinates
        alive = mean_diagonal > 0
        if self.damping.value == 0.0:
            threshold = max(RANK_THRESHOLD, coordinates * torch.finfo(square.dtype).eps)
            factorisation: Factorisation = spectral(square, threshold)
            damping = torch.zeros_like(mean_diagonal)
        else:
            damping = self.damping.of(mean_diagonal)
            square.diagonal(dim1=-2, dim2=-1).add_(torch.where(alive, damping, 1.0)[:, None])
            factorisation = cholesky_or_spectral(square) if surely else cholesky(square)
            if isinstance(factorisation, Cholesky):
                self.failed.append(factorisation.failed)
                if self._keep and square.device.type != "cpu":  # there solves with a factor take as long as products
                    factorisation = Inverse.of(factorisation)
            damping = torch.where(alive, damping, math.inf)
        if self._keep:
            self._kept[units.start] = factorisation, damping
        return factorisation, damping
