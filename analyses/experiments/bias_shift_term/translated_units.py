"""A layer's units with their incoming activations translated, a_t = a − (1 − t) E_q[a], so that E_q[a_t] = t E_q[a].

The bias weight is re-expressed, so the network's function stays the same (B4); Var_q and E_p − E_q do too. t = 1 is the
unit as it is, t = 0 the centred one. Coordinates are those in which Var_q(a) is the identity, on its range: there

    F_t = c [[1, t mᵀ], [t m, I + t² m mᵀ]],   m = E_q[a],

and with the gradient (g0, g) about E_q[a], σ = |m|², h = m·g, d = (m − E_p[a])·m, F_t⁻¹ by B1 and the block-diagonal
A⁻¹, 1/c by Sherman and Morrison, the unit natural gradient less the block-diagonal gradient is

    bias:    −t h / c
    weights: −t (g0 − t h) m / (c (1 + t² σ))
    shift of the mean net input (B2, B3): t (d g0 − h − t (σ g0 + d h)) / (c (1 + t² σ)).

So only the bias' part is proportional to t throughout; the rest is as long as t² σ ≪ 1 (and t h ≪ g0).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from elutheory.fisher import LayerScores
from elutheory.fisher.unit_fisher_matrix import RANK_THRESHOLD

PARTS = ("shift", "bias", "weights", "gradient", "incoming")
"""What "the bias-shift term" can be: see `Difference`."""


@dataclass(frozen=True, eq=False)
class Difference:
    """Unit natural gradient less block-diagonal gradient at one t, by direct solves, all times c.

    - `natural`, `blockwise` (units, rank + 1): F_t⁻¹(g0, g) and (g0/c, A⁻¹g), the bias first;
    - `parts` (units,) by name: "shift", the change of the mean net input E_p[a]·Δw + Δw0 (Theorem 2); "bias", of Δw0;
      "weights", |·| of Δw in the metric Var_q; "gradient", |Δw0 b| (over c), what Theorem 1 takes from g; "incoming",
      |k E_q[a]|, what Theorem 2 takes from E_p[a].
    """

    natural: Float[Tensor, "units coordinates"]
    blockwise: Float[Tensor, "units coordinates"]
    parts: dict[str, Float[Tensor, " units"]]


@dataclass(frozen=True, eq=False)
class TranslatedUnits:
    """The units of a layer whose c is not zero, in coordinates in which Var_q(a) is the identity, the origin at E_q[a].

    - `moments` (units, n + 1, n + 1): E_q[(1, z)(1, z)ᵀ] of the examples; 1 on the diagonal where Var_q has no range;
    - `mean_under_q`, `mean_under_p` (units, n): E_q[a], E_p[a] in these coordinates, from the activations' own origin;
    - `gradient` (units, n + 1): (g0, g − E_q[a] g0);
    - `whitening` (units, n, n): z = (a − E_q[a]) @ whitening; `raw_mean`, `raw_gradient`: in activations' coordinates;
    - `second_moment` (units,): E_q|a|²; `rank` (units,): of Var_q(a); `dead`: number of units left out.
    """

    moments: Float[Tensor, "units coordinates coordinates"]
    mean_under_q: Float[Tensor, "units n"]
    mean_under_p: Float[Tensor, "units n"]
    gradient: Float[Tensor, "units coordinates"]
    whitening: Float[Tensor, "units n n"]
    raw_mean: Float[Tensor, "units n"]
    raw_gradient: Float[Tensor, "units coordinates"]
    second_moment: Float[Tensor, " units"]
    rank: Tensor
    dead: int

    @property
    def strength(self) -> Float[Tensor, " units"]:
        """E_q[a]·Var_q(a)⁻¹ E_q[a] = σ."""
        return self.mean_under_q.square().sum(1)

    @property
    def length(self) -> Float[Tensor, " units"]:
        """Of c times the unit natural gradient in the metric F/c, the same at every t: (E_q effect²)^½."""
        return self.gradient.norm(dim=1)

    def length_of(self, step: Float[Tensor, "units coordinates"], t: float) -> Float[Tensor, " units"]:
        """Of a step (Δw0, Δw) of the unit translated to t, in the metric F/c: (E_q(Δw·a_t + Δw0)²)^½."""
        shift = step[:, 0] + t * (self.mean_under_q * step[:, 1:]).sum(1)
        return (shift.square() + step[:, 1:].square().sum(1)).sqrt()

    def difference(self, t: float) -> Difference:
        """By direct solves with F_t and its block A."""
        m, (g0, g) = t * self.mean_under_q, (self.gradient[:, :1], self.gradient[:, 1:])
        fisher = _translated(self.moments, m)
        right = torch.cat([g0, g + m * g0], dim=1)
        unit_bias = torch.zeros_like(right)
        unit_bias[:, 0] = 1
        natural, column = torch.linalg.solve(fisher, torch.stack([right, unit_bias], dim=2)).unbind(2)
        weights = torch.linalg.solve(fisher[:, 1:, 1:], right[:, 1:])
        blockwise = torch.cat([g0, weights], dim=1)
        means = torch.cat([torch.ones_like(g0), self.mean_under_p - self.mean_under_q + m], dim=1)
        step = natural - blockwise
        k = (means * column).sum(1)
        parts = {
            "shift": (means * step).sum(1),
            "bias": step[:, 0],
            "weights": step[:, 1:].norm(dim=1),
            "gradient": natural[:, 0].abs() * m.norm(dim=1),
            "incoming": k.abs() * m.norm(dim=1),
        }
        return Difference(natural, blockwise, parts)

    def predicted_step(self, t: float) -> Float[Tensor, "units coordinates"]:
        """`natural` − `blockwise` by the closed forms, bias first."""
        g0, _, h, sigma, _ = self._scalars
        bias = -t * h
        weights = (-t * (g0 - t * h) / (1 + t**2 * sigma))[:, None] * self.mean_under_q
        return torch.cat([bias[:, None], weights], dim=1)

    def predicted_shift(self, t: float) -> Float[Tensor, " units"]:
        """The part "shift" by its closed form (Theorem 2)."""
        first, second, sigma = self._shift_coefficients
        return t * (first - t * second) / (1 + t**2 * sigma)

    def predicted_shift_exponent(self, t: float) -> Float[Tensor, " units"]:
        """d ln|shift| / d ln t by the closed form; t > 0."""
        first, second, sigma = self._shift_coefficients
        return 1 - t * second / (first - t * second) - 2 * t**2 * sigma / (1 + t**2 * sigma)

    def cosine(self, natural: Float[Tensor, "units coordinates"], t: float) -> Float[Tensor, " units"]:
        """Between gradient and unit natural gradient at t, as vectors of bias and weights."""
        raw = torch.cat([natural[:, :1], torch.einsum("uij,uj->ui", self.whitening, natural[:, 1:])], dim=1)
        gradient = self.raw_gradient.clone()
        gradient[:, 1:] -= (1 - t) * self.raw_mean * gradient[:, :1]
        return nn.functional.cosine_similarity(gradient, raw, dim=1, eps=0.0)

    def condition_number(self, t: float) -> Float[Tensor, " units"]:
        """Of F_t in these coordinates, from t² σ: its eigenvalues are 1, λ and 1/λ with λ + 1/λ = 2 + t² σ."""
        half = 1 + t**2 * self.strength / 2
        return (half + (half.square() - 1).sqrt()).square()

    @property
    def _scalars(self) -> tuple[Tensor, ...]:
        """g0, g, h, σ, d."""
        g0, g = self.gradient[:, 0], self.gradient[:, 1:]
        m = self.mean_under_q
        return g0, g, (m * g).sum(1), self.strength, ((m - self.mean_under_p) * m).sum(1)

    @property
    def _shift_coefficients(self) -> tuple[Tensor, Tensor, Tensor]:
        g0, _, h, sigma, d = self._scalars
        return d * g0 - h, sigma * g0 + d * h, sigma


def translated_units(at_model: LayerScores, at_targets: LayerScores, damping: float = 0.0) -> TranslatedUnits:
    """From scores of kinds "exact" and "empirical" of a `Linear` layer over the same examples, float64.

    `damping` × the mean variance tr Var_q(a)/n of the unit is added to Var_q(a), as independent noise in the incoming
    activations would: both theorems and the translation hold as they stand. Without it, directions whose variance is
    at most RANK_THRESHOLD times the largest are left out.
    """
    alive = at_model.squared_deltas().sum((0, 1)) > 0
    delta_squared = at_model.squared_deltas()[:, 0, alive]
    a = at_model.incoming[:, 0, 0]
    q = (delta_squared / delta_squared.sum(0)).mT  # (units, examples)
    mean = q @ a
    rows = q.sqrt()[:, :, None] * (a - mean[:, None])
    variances, directions = torch.linalg.eigh(rows.mT @ rows)
    noise = damping * variances.mean(1, keepdim=True)
    second_moment = q @ a.square().sum(1)
    rounding = RANK_THRESHOLD**2 * second_moment[:, None]  # of a unit with one active example
    kept = variances + noise > torch.maximum(RANK_THRESHOLD * (variances[:, -1:] + noise), rounding)

    def moments_with(whitening: Tensor) -> Tensor:
        vectors = torch.cat([q.sqrt()[:, :, None], rows @ whitening], dim=2)
        moments = vectors.mT @ vectors
        moments[:, 1:, 1:] += noise[:, :, None] * whitening.mT @ whitening + torch.diag_embed((~kept).double())
        return moments

    whitening = directions * torch.where(kept, variances + noise, torch.inf).rsqrt()[:, None]
    # Small eigenvalues have few digits; those of the whitened activations' covariance, near 1, have all.
    factor = torch.linalg.cholesky(moments_with(whitening)[:, 1:, 1:])
    whitening = torch.linalg.solve_triangular(factor.mT, whitening, upper=True, left=False)
    raw = at_targets.gradient()[alive]
    centred = raw[:, 1:] - mean * raw[:, :1]

    def whitened(vectors: Tensor) -> Tensor:
        return torch.einsum("ui,uij->uj", vectors, whitening)

    return TranslatedUnits(
        moments=moments_with(whitening),
        mean_under_q=whitened(mean),
        mean_under_p=whitened(a.mean(0).expand_as(mean)),
        gradient=torch.cat([raw[:, :1], whitened(centred)], dim=1),
        whitening=whitening,
        raw_mean=mean,
        raw_gradient=raw,
        second_moment=second_moment,
        rank=kept.sum(1),
        dead=int((~alive).sum()),
    )


def _translated(
    moments: Float[Tensor, "units coordinates coordinates"], mean: Float[Tensor, "units n"]
) -> Float[Tensor, "units coordinates coordinates"]:
    """E_q[(1, z + mean)(1, z + mean)ᵀ]."""
    moved = moments.clone()
    moved[:, 1:, :] += mean[:, :, None] * moved[:, :1, :]
    moved[:, :, 1:] += moved[:, :, :1] * mean[:, None, :]
    return moved
