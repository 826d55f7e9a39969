"""The unit Fisher matrices of a layer (F1, F2 of arXiv 1511.07289), accumulated over batches and processes."""

import html
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, distributed, nn

from elutheory.errors import InputError
from elutheory.fisher.factors import (
    SummedScores,
    UnitFactors,
    WeightedActivations,
    add_scores_to,
    factors_of,
    group_of_units,
    number_of_factors,
    placed,
    with_bias,
)
from elutheory.fisher.likelihoods import Likelihood, described_likelihood, likelihood_described
from elutheory.fisher.outer_products import chunks_of_units, mirror
from elutheory.fisher.scores import Kind, LayerScores, Units, WeightSharing, chosen_units, layer_scores
from elutheory.fisher.solves import (
    eigenvalues_of,
    in_float64,
    refuse_nonfinite,
    solve_damped_gram,
    solve_on_range,
    solve_positive_definite,
)
from elutheory.fisher.unit_table import figure_of_units, table_of_units
from elutheory.models.batch_layout import Mask, Output, with_mask, without_mask
from elutheory.models.data import (
    BATCH_SIZE,
    array_as_tensor,
    batches_of,
    check_inputs,
    number_of_batches,
    tensors_of,
)
from elutheory.numerics.arguments import check_damping
from elutheory.numerics.memory import check_fits
from elutheory.output.checksums import EMPTY, is_unchanged, with_checksum
from elutheory.output.files import check_output, write_whole
from elutheory.output.progress import tracked

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

RANK_THRESHOLD = 1e-10
"""Eigenvalues up to this share of the largest count as zero.

That is six digits above double precision's rounding, which leaves a zero eigenvalue at about 1e-16 of the largest, and
far enough below what is solved on the range: a unit with an eigenvalue at the threshold keeps six digits of its step.
Guarded by `test_definition_in_both_forms` and `test_singular_matrices`.
"""


ROUNDING = 16
"""Or up to so many times the rounding unit of the scores' dtype, and one more per 512 vectors, if that is more.

F is summed in that dtype and its eigenvalues are taken in float64, so that a zero eigenvalue is left at what the sum
rounds: measured in float32 at 0.3 to 2 rounding units of the largest for 6 to 784 coordinates and up to 4,000 examples,
at 76 for 60,000 in 120 batches of 6 coordinates. Guarded by `test_float32_is_refused_only_where_it_is_singular`.
"""


RESIDUAL = 1e-5
"""A step x is handed out if |g − (F + λI)x| is within this share of |g|; at RANK_THRESHOLD rounding leaves 1e-6."""


CANCELLED = 4 / 3
"""A bias score that is summed over positions to this power of the rounding unit of the sum of squares is no score.

Its size is then the power 2/3, 4e-11 in float64 and 2e-5 in float32, of the sizes summed: what rounding leaves of a sum
that is zero, also where the summands lost some digits themselves, while sums of that many random signs would need more
than 1e9 positions. Guarded by `test_no_mean_where_the_bias_scores_cancel`.
"""


OFFSET = 4.0
"""Activations whose mean is further from zero than this many standard deviations are summed about their mean.

Up to there the second moment is at most 17 times the variance, so that a variance by subtraction loses little more than
one digit; beyond, two more per factor of ten in the mean. Guarded by
`test_covariance_keeps_its_digits_far_from_the_origin`.
"""


_FORMAT = "elutheory.unit_fisher.2"
_TENSORS = ("_reference", "_offsets", "_summed_sizes", "_total", "damping", "words")
_TENSORS += ("_weights_under_q", "_offsets_under_q")
_NUMBERS = ("kind", "weight_sharing", "has_bias", "units", "examples", "_batch_axis", "_rounding", "_points", "_scale")
_NUMBERS += ("_mirrored",)
_CHUNK_BYTES = 2**25  # of the matrices or vectors of as many units as are worked on at a time
_UNDAMPED = ("first_row", "eigenvalues", "mean_diagonal")  # derived parts that are kept without damping


Form = Literal["matrix", "factors"]
Singular = Literal["refuse", "range"]


class UnitFisher:
    """Fisher matrices of a layer's units, F = E[delta² (1,a)(1,a)ᵀ] with blocks A, b, c (F1, arXiv 1511.07289).

    - `matrix` (units, fan_in + 1, fan_in + 1): the bias coordinate first (index 0), as in the paper; for a layer
      without bias (units, fan_in, fan_in). For weights shared over positions: of the summed score, or position by
      position, as `weight_sharing` says;
    - `mean_under_p` (fan_in,), a grouped convolution's (units, fan_in): E_p[a], over inputs and positions;
    - `mean_under_q` (units, fan_in): E_q[a] = b/c under q = delta² p / E_p[delta²] (F2), q's points being examples and
      positions, so that it is a mean of activations also where scores are summed over positions (`weight_sharing`
      "exact"), and b/c is none; NaN for units that are dead;
    - `covariance_under_q` (units, fan_in, fan_in): Var_q(a) = A/c − E_q[a] E_q[a]ᵀ; NaN for the units that
      `undefined_under_q` names, with the reason: dead ones, and all where scores are summed over positions;
    - `coupling_ratio` (units, fan_in): b/c, whatever it is the ratio of: what Theorems 1 and 2 call E_q[a];
    - `dead` (units,): units whose delta is zero at every example: F = 0;
    - `form`: "factors" while a unit has fewer vectors to sum over than coordinates (one per example, or one per example
      and column where scores are summed over positions), else "matrix". Properties and solves have the same values in
      both; with factors they are solved in the space of the vectors (Woodbury), and no matrix is formed unless asked
      for;
    - `kind`, `likelihood`, `weight_sharing`: as given to `unit_fisher`; `examples`: how many it is the mean over;
    - `words`: of an embedding, the words that occurred, ascending: the coordinates are theirs, in this order, as F is 0
      for all others. None for other layers;
    - `layer`: the layer's name in its model; None where it is not known.

    `update`, `add_scores`, `merge` and `all_reduce` change the object in place and return it; tensors handed out
    before keep their values. In the dtype and on the device of the scores. The sum is kept about a fixed reference, the
    first batch's mean where that is more than OFFSET standard deviations from zero, and elsewhere zero, so that Var_q
    keeps its digits far from the origin.

    >>> import elutheory as et
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.Linear(4, 2))
    >>> x = torch.randn(50, 3)
    >>> F = et.unit_fisher(model, x[:25], layer="0").update(x[25:])
    >>> F.examples, F.natural_gradient(torch.ones(4, 4), damping=1e-2, relative=True).shape
    (50, torch.Size([4, 4]))
    """

    def __init__(
        self, scores: LayerScores, scores_of: Callable[[Any, Any], LayerScores] | None = None, batch_axis: int = 0
    ) -> None:
        """From a first batch; `scores_of` (inputs, targets) makes the scores of the batches given to `update`, whose
        `batch_axis` counts the examples."""
        self.kind: Kind = scores.kind
        self.likelihood: Likelihood | str = scores.likelihood
        self.weight_sharing: WeightSharing = scores.weight_sharing
        self.has_bias: bool = scores.has_bias
        self.layer: str | None = scores.layer
        self.units: int = scores.deltas.shape[-1]
        self.examples: int = 0
        self.damping: Float[Tensor, " units"] | None = None
        self._scores_of = scores_of
        self._batch_axis = batch_axis
        self._reference = _reference(scores)
        self.words: Int[Tensor, " fan_in"] | None = scores.words
        self._offsets = torch.zeros_like(self._reference)  # sum of a − reference
        self._rounding: float = torch.finfo(self._reference.dtype).eps
        self._summed_sizes = self._reference.new_zeros(self.units)  # of the bias scores, squared: see CANCELLED
        self._points = 0  # examples × positions
        self._weights_under_q: Tensor | None = None  # Σ delta² over examples and positions, where scores are summed
        self._offsets_under_q: Tensor | None = None  # Σ delta² (a − reference)
        self._factors: UnitFactors | None = None
        self._total: Tensor = self._reference.new_empty(0)  # or scale × sum of outer products of (1, a − reference)
        self._scale = 1.0
        self._mirrored = False
        self._handed_out = False
        self._known: dict[str, Any] = {}
        self.add_scores(scores)

    @classmethod
    def from_scores(cls, scores: LayerScores) -> "UnitFisher":
        """F1 and F2 from per-example activations and deltas of one batch; `add_scores` takes further ones."""
        return cls(scores)

    # ------------------------------------------------------------------------------------------------ accumulation

    def update(self, inputs: Any, targets: Tensor | None = None) -> "UnitFisher":
        """Adds the examples of one batch, of a tuple (inputs, targets) or of an iterable of batches; in place.

        Raises InputError for a Fisher matrix made by `from_scores` (which has no model) or `damped`, and for whatever
        `layer_scores` refuses.
        """
        if self._scores_of is None:
            raise InputError("this Fisher matrix was made from scores, without a model; use add_scores or merge.")
        for batch, batch_targets in batches_of(inputs, targets, axis=self._batch_axis):
            self.add_scores(self._scores_of(batch, batch_targets))
        return self

    def add_scores(self, scores: LayerScores) -> "UnitFisher":
        """Adds the examples of a batch of scores of the same layer; in place. Raises InputError for another layer's."""
        self._check_layer(scores.layer)
        if self.words is not None and scores.words is not None:
            together = self.with_words(scores.words)
            if len(together) > len(scores.words):
                index = torch.searchsorted(together, scores.words)
                scores = replace(scores, incoming=placed(scores.incoming, index, len(together)), words=together)
        units, (groups, fan_in) = scores.deltas.shape[-1], scores.incoming.shape[1::2]
        self._check_same(
            (units, groups, fan_in, scores.has_bias, scores.kind, scores.likelihood, scores.weight_sharing),
            scores.incoming.dtype,
        )
        summed = scores.weight_sharing == "exact" and scores.deltas.shape[2] > 1
        if summed or self._weights_under_q is not None:
            self._refuse_damped()
            self._add_under_q(_batch_sums_under_q(scores, self._reference))
        self._change()
        factors = self._factors.count if self._factors else 0
        if not self._total.numel() and factors + number_of_factors(scores) < self.shape[1]:
            new = factors_of(scores)
            self._factors = self._factors.extended(new) if self._factors else new
        else:
            add_scores_to(self._as_matrix(), scores, self._reference, self._scale)
        points = scores.points()
        if summed:
            sizes = sum(column.abs().sum(1).square().sum(0) for column in scores.deltas)
            self._summed_sizes = self._summed_sizes + sizes
        self._offsets = self._offsets + (points - self._reference).sum(0)
        self._points += len(points)
        self.examples += scores.examples
        return self

    def merge(self, other: "UnitFisher") -> "UnitFisher":
        """Adds the other's examples; in place, the other is left as it is.

        Raises InputError unless both are of the same layer (where its name is known), units, fan-in, kind, likelihood,
        weight sharing and dtype.
        """
        self._check_layer(other.layer)
        if self.words is not None and other.words is not None:
            together = self.with_words(other.words.to(self._reference.device)).to(other._reference.device)
            if len(together) > len(other.words):
                whole = object.__new__(UnitFisher)
                whole.__dict__.update(other.__dict__)
                whole.with_words(together)
                other = whole
        self._check_same(other._geometry, other._reference.dtype)
        other._refuse_damped()
        self._refuse_damped()
        device = self._reference.device
        offset = other._reference.to(device) - self._reference
        if self._weights_under_q is not None or other._weights_under_q is not None:
            weights, offsets = (part.to(device) for part in other._sums_under_q())
            self._add_under_q((weights, offsets + weights[:, None] * self._by_unit(offset)))
        self._change()
        if other._factors is not None:
            factors = other._factors.to(device)
            if self._factors is not None and self._factors.count + factors.count < self.shape[1]:
                self._factors = self._factors.extended(factors)
            else:
                factors.add_to(self._as_matrix(), self._reference, self._scale)
        else:
            total = self._as_matrix()
            for units in chunks_of_units(total, _CHUNK_BYTES):
                chunk = other._total[units].to(device) * (self._scale / other._scale)
                if not other._mirrored:
                    mirror(chunk)
                total[units] += _moved_origin(chunk, self._by_unit(offset)[units])
        self._summed_sizes = self._summed_sizes + other._summed_sizes.to(device)
        self._offsets = self._offsets + other._offsets.to(device) + other._points * offset
        self._points += other._points
        self.examples += other.examples
        return self

    def with_words(self, words: Int[Tensor, " words"]) -> Int[Tensor, " fan_in"]:
        """Makes room for further words of an embedding, of which F is 0; in place. Returns all of them, in order."""
        known = self.words
        if known is None:
            raise InputError("these are scores of an embedding, and those before were not.")
        together = torch.cat([known, words]).unique()
        if len(together) > len(known):
            self._change()
            index, fan_in = torch.searchsorted(together, known), len(together)
            self._reference = placed(self._reference, index, fan_in)
            self._offsets = placed(self._offsets, index, fan_in)
            if self._offsets_under_q is not None:
                self._offsets_under_q = placed(self._offsets_under_q, index, fan_in)
            self._factors = None if self._factors is None else self._factors.placed(index, fan_in)
            if self._total.numel():
                self._check_memory(fan_in + 1)
                rows = placed(self._total, with_bias(index), fan_in + 1)
                self._total = placed(rows.mT, with_bias(index), fan_in + 1).mT.contiguous()
            self.words = together
        return together

    def all_reduce(self, group: Any = None) -> "UnitFisher":
        """Merges the Fisher matrices of all processes of a `torch.distributed` group; in place, equal in all of them.

        Raises InputError in every process unless those of all are of the same layer, kind, likelihood, weight sharing
        and dtype.
        """
        self._refuse_damped()
        if self.words is not None:
            words: list[Any] = [None] * distributed.get_world_size(group)
            distributed.all_gather_object(words, self.words.cpu(), group=group)
            self.with_words(torch.cat(words).to(self.words.device))
        count = self._factors.count if self._factors else None
        summed = self._weights_under_q is not None
        own = (self._geometry, self._reference.dtype, self.examples, self._points, count, self._reference.cpu(), summed)
        own += (self.layer,)
        every: list[Any] = [None] * distributed.get_world_size(group)
        distributed.all_gather_object(every, own, group=group)
        for geometry, dtype, *_, layer in every:
            self._check_layer(layer)
            self._check_same(geometry, dtype)
        reference = every[0][5].to(self._reference.device)
        offset = self._reference - reference
        if any(record[6] for record in every):
            weights, offsets = self._sums_under_q()
            sums = weights.clone(), offsets + weights[:, None] * self._by_unit(offset)
            for part in sums:
                distributed.all_reduce(part, group=group)
            self._weights_under_q, self._offsets_under_q = sums
        self._change()
        counts = [record[4] for record in every]
        together = None not in counts and sum(counts) < self.shape[1]
        if self._factors is not None and together:
            gathered: list[Any] = [None] * len(every)
            distributed.all_gather_object(gathered, self._factors.to(torch.device("cpu")), group=group)
            factors = gathered[0]
            for further in gathered[1:]:
                factors = factors.extended(further)
            self._factors = factors.to(self._reference.device)
        else:
            total = self._as_matrix()
            self._complete()
            for units in chunks_of_units(total, _CHUNK_BYTES):
                chunk = _moved_origin(total[units] / self._scale, self._by_unit(offset)[units]).contiguous()
                distributed.all_reduce(chunk, group=group)
                total[units] = chunk
            self._scale = 1.0
        offsets = self._offsets + self._points * offset
        distributed.all_reduce(offsets, group=group)
        self._summed_sizes = self._summed_sizes.clone()
        distributed.all_reduce(self._summed_sizes, group=group)
        self._reference, self._offsets = reference, offsets
        self.examples = sum(record[2] for record in every)
        self._points = sum(record[3] for record in every)
        return self

    # ------------------------------------------------------------------------------------------------------- files

    def save(self, path: Path | str) -> None:
        """Writes a safetensors file, whole or not at all."""
        check_output(Path(path))
        write_whole(Path(path), self.to_bytes())

    @classmethod
    def load(cls, path: Path | str) -> "UnitFisher":
        """What `save` wrote, on the CPU; it has no model, so that `update` is refused and `add_scores` is not.

        A likelihood of your own is there by its name. Raises InputError for a file that is missing, corrupt or of
        another kind.
        """
        if not Path(path).is_file():
            raise InputError(f"there is no file {path}; name a file that UnitFisher.save wrote.")
        try:
            return cls.from_bytes(Path(path).read_bytes())
        except InputError as error:
            raise InputError(f"{path} cannot be read: {error}") from None

    def to_bytes(self) -> bytes:
        """The safetensors file."""
        self._complete()
        parts = {name: getattr(self, name) for name in _TENSORS if getattr(self, name) is not None}
        if self._factors is not None:
            parts |= {f"factors.{name}": value for name, value in vars(self._factors).items()}
        described = {name: getattr(self, name) for name in _NUMBERS} | {
            "likelihood": described_likelihood(self.likelihood),
            "layer": self.layer,
        }
        tensors = {name: part.detach().cpu().contiguous() for name, part in parts.items()}
        return with_checksum(save(tensors, {_FORMAT: json.dumps(described), "sha256": EMPTY}))

    @classmethod
    def from_bytes(cls, content: bytes) -> "UnitFisher":
        """The inverse of `to_bytes`. Raises InputError for anything else."""
        if not is_unchanged(content):
            raise InputError("it is no file that UnitFisher.save wrote, or not a whole one: its checksum differs.")
        try:
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            described = json.loads(header["__metadata__"][_FORMAT])
            parts = load(content)
            fisher = object.__new__(cls)
            fisher.__dict__.update({name: parts.get(name) for name in _TENSORS})
            fisher.__dict__.update({name: described[name] for name in _NUMBERS})
            fisher.layer = described.get("layer")  # files of earlier versions do not say it
            fisher.likelihood = likelihood_described(described["likelihood"])
            factors = {name.partition(".")[2]: part for name, part in parts.items() if name.startswith("factors.")}
            kinds = {("activations", "weights"): WeightedActivations, ("scores",): SummedScores}
            fisher._factors = kinds[tuple(sorted(factors))](**factors) if factors else None
            fisher._scores_of, fisher._known, fisher._handed_out = None, {}, False
            if fisher._reference.ndim != 2 or len(fisher._summed_sizes) != fisher.units:
                raise ValueError("shapes")
        except (ValueError, KeyError, TypeError, AttributeError, SafetensorError, RuntimeError) as error:
            raise InputError("it is no file that UnitFisher.save wrote, or not a whole one.") from error
        return fisher

    def __getstate__(self) -> dict[str, Any]:
        """Without the model, which a pickled matrix leaves behind, and without what can be derived again."""
        return vars(self) | {"_scores_of": None, "_known": {}}

    def __repr__(self) -> str:
        likelihood = self.likelihood if isinstance(self.likelihood, str) else self.likelihood.name
        units, coordinates = self.shape
        marks = " without a bias" * (not self.has_bias) + ", damped" * (self.damping is not None)
        return (
            f"UnitFisher({units:,} units × {coordinates:,} coordinates{marks}, "
            f"{self.kind}, {likelihood}, weight sharing {self.weight_sharing}, over {self.examples:,} examples, form "
            f"{self.form}, {self._reference.dtype} on {self._reference.device})"
        )

    @property
    def table(self) -> "pandas.DataFrame":
        """One row per unit; `elutheory.fisher.unit_table.COLUMNS` describes the columns."""
        return table_of_units(self)

    def plot(self) -> "Figure":
        """A matplotlib figure by unit: trace, top eigenvalue's share, means of the incoming activations, rank."""
        return figure_of_units(self)

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{self.table.to_html(index=False, float_format='{:.3g}'.format)}"

    # ------------------------------------------------------------------------------------------- the matrix's parts

    @property
    def form(self) -> Form:
        """Whether the matrices are kept as such or as the vectors they are sums over: see the class."""
        return "matrix" if self._factors is None else "factors"

    @property
    def shape(self) -> tuple[int, int]:
        """(units, coordinates): the shape of a gradient."""
        return self.units, self._coordinates - (not self.has_bias)

    @property
    def matrix(self) -> Float[Tensor, "units coordinates coordinates"]:
        """F of every unit. Formed when asked for if `form` is "factors", damped or summed about a mean: see the class.

        Without such a reason it is the accumulator itself, with no further memory until the next update copies it.
        """
        if self._factors is None and self.damping is None and not self._reference.any():
            self._normalise()
            self._handed_out = True
            return self._total if self.has_bias else self._total[:, 1:, 1:]
        if "matrix" not in self._known:
            self._check_memory(self.shape[1])
            matrix = self._reference.new_empty(*self.shape, self.shape[1])
            for units in chunks_of_units(matrix, _CHUNK_BYTES):
                matrix[units] = self.matrix_of(units)
            self._known["matrix"] = matrix
        return self._known["matrix"]

    def matrix_of(self, units: slice) -> Float[Tensor, "units coordinates coordinates"]:
        """F of some units, a copy: without the memory for all."""
        matrix = self._undamped_of(units)
        if self.damping is not None:
            matrix.diagonal(dim1=-2, dim2=-1).add_(self.damping[units, None])
        return matrix

    @property
    def mean_under_p(self) -> Float[Tensor, "*units fan_in"]:
        """E_p[a], over inputs and positions: (fan_in,), a grouped convolution's (units, fan_in)."""
        mean = self._reference + self._offsets / self._points
        return mean[0] if len(mean) == 1 else self._by_unit(mean)

    @property
    def mean_under_q(self) -> Float[Tensor, "units fan_in"]:
        """E_q[a] (F2); NaN for a dead unit. Damped b/(c + λ), 0 for a dead unit, unless scores are summed over
        positions, whose mean has no damping in it."""
        if self._weights_under_q is None or self._offsets_under_q is None:
            return self.coupling_ratio
        mean = self._by_unit(self._reference) + self._offsets_under_q / self._weights_under_q[:, None]
        return mean if self.damping is None else torch.where(self._weights_under_q[:, None] == 0, 0.0, mean)

    @property
    def coupling_ratio(self) -> Float[Tensor, "units fan_in"]:
        """b/c, damped b/(c + λ), 0 for a dead unit; NaN where c is 0, or rounding noise (CANCELLED).

        What Theorems 1 and 2 call E_q[a]. Where scores are summed over positions it is no mean of activations, and may
        be of any size.
        """
        row = self._first_row
        if self.damping is None:
            ratio = self._by_unit(self._reference) + row[:, 1:] / row[:, :1]
            return torch.where(self._cancelled[:, None], math.nan, ratio)
        c = row[:, :1] + self.damping[:, None]
        return torch.where(c > 0, (row[:, 1:] + row[:, :1] * self._by_unit(self._reference)) / c, 0.0)

    @property
    def dead(self) -> Bool[Tensor, " units"]:
        """Units whose delta is zero at every example, so that F without damping is zero."""
        return self._undamped_mean_diagonal == 0

    @property
    def undefined_under_q(self) -> dict[int, str]:
        """The units that have no Var_q(a), and, if they are dead, no E_q[a], by number, with the reason in one
        sentence."""
        none = self._first_row[:, 0] == 0 if self._weights_under_q is None else self._weights_under_q == 0
        reasons: dict[int, str] = {}
        if self._weights_under_q is not None:
            reasons = dict.fromkeys(
                range(self.units),
                "scores are summed over positions, so that A/c − (b/c)(b/c)ᵀ is no covariance of activations; "
                'weight_sharing="positionwise" has one.',
            )
        if self.damping is None:
            dead = "c = 0: the unit is dead, its delta is zero at every example."
            reasons |= dict.fromkeys(none.nonzero()[:, 0].tolist(), dead)
        return dict(sorted(reasons.items()))

    @property
    def covariance_under_q(self) -> Float[Tensor, "units fan_in fan_in"]:
        """Var_q(a) = A/c − E_q[a] E_q[a]ᵀ, damped (A + λI)/(c + λ) − …; NaN for a dead unit, damped I.

        NaN where scores are summed over positions.
        """
        if "covariance_under_q" not in self._known:
            fan_in = self._reference.shape[-1]
            covariance = self._reference.new_empty(self.units, fan_in, fan_in)
            for units in chunks_of_units(covariance, _CHUNK_BYTES):
                covariance[units] = self.covariance_under_q_of(units)
            self._known["covariance_under_q"] = covariance
        return self._known["covariance_under_q"]

    def covariance_under_q_of(self, units: slice) -> Float[Tensor, "units fan_in fan_in"]:
        """Var_q(a) of some units: without the memory for all."""
        covariance = self.complement_of(units)
        return covariance if self._weights_under_q is None else torch.full_like(covariance, math.nan)

    def complement_of(self, units: slice) -> Float[Tensor, "units fan_in fan_in"]:
        """(A − b bᵀ/c)/c of some units, damped (A + λI − b bᵀ/(c + λ))/(c + λ): c⁻¹ times the Schur complement of c.

        What Theorems 1 and 2 call Var_q(a); it is that where scores are not summed over positions.
        """
        centred = self._about(units, None)
        c = centred[:, :1, 0]
        mean = centred[:, 1:, 0] / c
        covariance = centred[:, 1:, 1:] / c[:, :, None] - mean[:, :, None] * mean[:, None, :]
        if self.damping is None:
            return torch.where(self._cancelled[units, None, None], math.nan, covariance)
        # Every term is positive semi-definite: no cancellation.
        damping = self.damping[units, None, None]
        c = c[:, :, None]
        mean = self._by_unit(self._reference)[units] + mean
        covariance = c / (c + damping) * covariance
        covariance += c * damping / (c + damping).square() * mean[:, :, None] * mean[:, None, :]
        covariance = torch.where(c > 0, covariance, 0.0)
        covariance.diagonal(dim1=-2, dim2=-1).add_(damping[:, :, 0] / (c + damping)[:, :, 0])
        return covariance

    @property
    def A(self) -> Float[Tensor, "units fan_in fan_in"]:
        """E[delta² a aᵀ] (F1)."""
        return self.matrix[:, 1:, 1:] if self.has_bias else self.matrix

    @property
    def b(self) -> Float[Tensor, "units fan_in"]:
        """E[delta² a] (F1). Raises InputError for a layer without bias."""
        self.require_bias()
        row = self._first_row
        return row[:, 1:] + row[:, :1] * self._by_unit(self._reference)

    @property
    def c(self) -> Float[Tensor, " units"]:
        """E[delta²] (F1), damped c + λ. Raises InputError for a layer without bias."""
        self.require_bias()
        c = self._first_row[:, 0]
        return c if self.damping is None else c + self.damping

    @property
    def mean_diagonal(self) -> Float[Tensor, " units"]:
        """tr F / coordinates of every unit: what a relative damping is a multiple of."""
        return self._undamped_mean_diagonal + (0.0 if self.damping is None else self.damping)

    @property
    def eigenvalues(self) -> Float[Tensor, "units coordinates"]:
        """Eigenvalues of every unit's F, ascending, taken in float64; of factors the Gram matrix's, and zeros."""
        return self._eigenvalues.to(self._reference)

    @property
    def _eigenvalues(self) -> Float[Tensor, "units coordinates"]:
        undamped = self._undamped_eigenvalues
        return undamped if self.damping is None else undamped + self.damping[:, None].to(undamped)

    @property
    def rank_threshold(self) -> float:
        """Eigenvalues up to this share of the largest count as zero: RANK_THRESHOLD or, if larger, what rounding in the
        scores' dtype leaves of zero (ROUNDING)."""
        vectors = self._points if self.weight_sharing == "positionwise" else self.examples
        return max(RANK_THRESHOLD, (ROUNDING + vectors // 512) * self._rounding)

    @property
    def rank(self) -> list[int]:
        """Number of non-zero eigenvalues of every unit's F, by the rule of `rank_threshold`."""
        return (self._eigenvalues > self.rank_threshold * self._eigenvalues[:, -1:]).sum(1).tolist()

    # ----------------------------------------------------------------------------------------------------- solving

    def damped(self, damping: float, *, relative: bool = False) -> "UnitFisher":
        """F + λI as a unit Fisher matrix: blocks A + λI, b, c + λ, with E_q[a] = b/(c + λ) and
        Var_q(a) = (A + λI)/(c + λ) − E_q[a] E_q[a]ᵀ, for which Theorems 1 and 2 hold as they stand.

        λ = `damping`, or, relative, `damping` × the unit's `mean_diagonal`. A dead unit gets E_q[a] = 0 and
        Var_q(a) = I (relative: λ = 0 too, and Var_q(a) NaN). Takes no further examples. Raises InputError unless
        `damping` is finite and not negative, and for a layer without bias.
        """
        check_damping(damping)
        if damping == 0.0:
            return self
        self.require_bias()
        self._normalise()
        self._handed_out = True
        damped = object.__new__(UnitFisher)
        damped.__dict__.update(self.__dict__)
        more = self._damping_by_unit(damping, relative)
        damped.damping = more if self.damping is None else self.damping + more
        damped._known = {name: value for name, value in self._known.items() if name in _UNDAMPED}
        return damped

    def of_units(self, units: Units) -> "UnitFisher":
        """The Fisher matrices of some units alone: a slice, or numbers in any order. Later examples do not reach it.

        Raises InputError for numbers that are no units, and for none.
        """
        self._normalise()
        self._handed_out = True
        return self._of_units(chosen_units(units, self.units, self._reference.device))

    def with_virtual_bias(self) -> "UnitFisher":
        """For a layer without bias: F with the coordinate of one that is 0, whose score is delta; else this one.

        It has blocks b and c, and Theorems 1 and 2 hold for it. Where batch normalisation follows the layer its shift
        plays that part, up to the scale. Later examples do not reach it.
        """
        return self if self.has_bias else self._with_bias(True)

    def without_bias(self) -> "UnitFisher":
        """F of the weights alone. Later examples do not reach it."""
        return self._with_bias(False) if self.has_bias else self

    def _with_bias(self, has_bias: bool) -> "UnitFisher":
        """The accumulator has the bias coordinate in any case."""
        self._refuse_damped()
        part = self.of_units(slice(None))
        part.has_bias, part._known, part._scores_of = has_bias, {}, None
        return part

    def natural_gradient(
        self,
        gradient: Float[Tensor, "units coordinates"],
        damping: float = 0.0,
        *,
        relative: bool = False,
        singular: Singular = "refuse",
        units: Units | None = None,
    ) -> Float[Tensor, "chosen coordinates"]:
        """(F + λI)⁻¹ gradient, in the gradient's dtype and the layout of `matrix`, bias first.

        λ = `damping`, or, relative, `damping` × the unit's `mean_diagonal`. `units`: only their rows, in their order;
        the gradient has a row for every unit of this object nonetheless. By Cholesky in float64, whatever the dtype of
        F, and checked by the residual: |gradient − (F + λI) step| is within RESIDUAL of |gradient|. A float32 F is
        itself rounded, which moves the step by about 1e-7 × the condition number of F + λI.

        Dead units without damping (F + λI = 0) get a row of NaN. Units whose F + λI is singular by the rule of
        `rank_threshold`: `singular` "refuse" raises InputError, with a damping that is enough; "range" gives them the
        pseudo-inverse by eigendecomposition, with the eigenvalues that the rule counts as zero left out, and dead
        units a step of 0. Raises InputError for NaN and infinity, too.
        """
        self.check_shape(gradient)
        if singular not in ("refuse", "range"):
            raise InputError(f"singular is {singular!r}; 'refuse' and 'range' are available.")
        if units is not None:
            index = chosen_units(units, self.units, self._reference.device)
            return self.of_units(units).natural_gradient(gradient[index], damping, relative=relative, singular=singular)
        check_damping(damping)
        refuse_nonfinite(torch.cat([gradient, self._undamped_mean_diagonal[:, None].to(gradient)], dim=1))
        self._normalise()
        total = self._total_damping(damping, relative)
        null = self.dead & (total == 0)
        regular = self._regular(total, null)
        if singular == "refuse":
            self._refuse(regular | null, total, damping, relative, ", or singular='range'")
        step = torch.full_like(gradient, math.nan if singular == "refuse" else 0.0)
        for chunk in self.unit_chunks():
            live = torch.arange(self.units, device=null.device)[chunk][~null[chunk]]
            if len(live):
                part = self._of_units(chunk if len(live) == len(null[chunk]) else live).in_float64()
                right, damped = in_float64(gradient[live]), in_float64(total[live])
                step[live] = part._solve(right, damped, regular[live].to(right.device), live).to(step)
        return step

    def refuse_singular(self, damping: float = 0.0, *, relative: bool = False) -> None:
        """Raise InputError if any unit's F + λI is singular by the rule of `rank_threshold`, or λ is negative.

        Dead units without damping are not refused: their numbers are NaN.
        """
        check_damping(damping)
        total = self._total_damping(damping, relative)
        null = self.dead & (total == 0)
        self._refuse(self._regular(total, null) | null, total, damping, relative, "")

    def _refuse(self, regular: Tensor, total: Tensor, damping: float, relative: bool, otherwise: str) -> None:
        if regular.all():
            return
        singular = (~regular).nonzero()[:, 0]
        eigenvalues, threshold = self._undamped_eigenvalues[singular], self.rank_threshold
        enough = (threshold * eigenvalues[:, -1] - eigenvalues[:, 0]) / (1 - threshold)
        enough = enough - (0.0 if self.damping is None else self.damping[singular].to(enough))
        if relative:
            enough = enough / self.mean_diagonal[singular].to(enough)
        first = int(singular[0])
        raise InputError(
            f"the Fisher matrix with damping {damping:g} is singular for {len(singular)} of {len(regular)} units "
            f"(first: unit {first}, rank {self.of_units([first]).rank[0]} of {self.shape[1]}); "
            f"give a larger damping (from {1.1 * float(enough.max()):.1e}{', relative,' * relative} on it is enough)"
            f"{otherwise}, leave those units out by of_units, or project the activations on their range."
        )

    def product(self, vectors: Float[Tensor, "units coordinates"]) -> Float[Tensor, "units coordinates"]:
        """(F + λI) times a vector of every unit, λ this one's own damping."""
        if self._factors is None:
            product = torch.einsum("uij,uj->ui", self._undamped_of(slice(None)), vectors)
        else:
            rows = self._rows(self._factors)
            product = torch.einsum("umi,um->ui", rows, torch.einsum("umi,ui->um", rows, vectors))
        return product if self.damping is None else product + self.damping[:, None] * vectors

    def check_shape(self, gradient: Tensor) -> None:
        """Raise InputError unless `gradient` has one row per unit and one column per coordinate."""
        if gradient.shape != self.shape:
            raise InputError(
                f"the gradient has shape {tuple(gradient.shape)}; {self.shape}, one row per unit with "
                "the bias first, is needed."
            )

    def require_bias(self) -> None:
        """Raise InputError for a layer without bias."""
        if not self.has_bias:
            raise InputError(
                "the layer has no bias, so its Fisher matrix has no blocks b and c; with_virtual_bias() adds one of 0."
            )

    def rows_of(self, units: slice) -> Float[Tensor, "units vectors coordinates"] | None:
        """Vectors v of some units with F = sum v vᵀ, undamped, the bias coordinate first; None for form "matrix"."""
        return None if self._factors is None else self._factors.rows(units) * self.examples**-0.5

    def unit_chunks(self) -> Iterator[slice]:
        """Slices of the units, of which every solve takes one at a time: bounded memory."""
        side = self.shape[1] if self._factors is None else max(1, self._factors.count)
        size = max(1, _CHUNK_BYTES // (side * self.shape[1] * self._reference.element_size()))
        return (slice(start, min(start + size, self.units)) for start in range(0, self.units, size))

    # ---------------------------------------------------------------------------------------------------- internals

    def _of_units(self, units: slice | Tensor) -> "UnitFisher":
        """Some units of an accumulator that is normalised, sharing its memory where they are a slice."""
        part = object.__new__(UnitFisher)
        part.__dict__.update(self.__dict__)
        if len(self._reference) > 1:  # groups of a convolution: every unit is one of its own
            part._reference, part._offsets = (
                self._by_unit(values)[units] for values in (self._reference, self._offsets)
            )
        part._factors = None if self._factors is None else self._factors.of_units(units)
        part._total = self._total[units] if self._total.numel() else self._total
        part._summed_sizes = self._summed_sizes[units]
        if self._weights_under_q is not None and self._offsets_under_q is not None:
            part._weights_under_q, part._offsets_under_q = self._weights_under_q[units], self._offsets_under_q[units]
        part.damping = None if self.damping is None else self.damping[units]
        part.units = len(part._summed_sizes)
        part._known = {name: value[units] for name, value in self._known.items() if name in _UNDAMPED}
        scores_of = self._scores_of
        if scores_of is not None:
            part._scores_of = lambda inputs, targets: scores_of(inputs, targets).of_units(units)
        return part

    def in_float64(self) -> "UnitFisher":
        """The same matrices in float64."""
        if self._reference.dtype == torch.float64:
            return self
        part = object.__new__(UnitFisher)
        part.__dict__.update(self.__dict__)
        part._reference, part._offsets = in_float64(self._reference), in_float64(self._offsets)
        part._factors = None if self._factors is None else _precise(self._factors)
        part._total, part._summed_sizes = in_float64(self._total), in_float64(self._summed_sizes)
        if self._weights_under_q is not None and self._offsets_under_q is not None:
            part._weights_under_q = in_float64(self._weights_under_q)
            part._offsets_under_q = in_float64(self._offsets_under_q)
        part.damping = None if self.damping is None else in_float64(self.damping)
        part._known = {}
        return part

    def _sums_under_q(self) -> tuple[Float[Tensor, " units"], Float[Tensor, "units fan_in"]]:
        """Σ delta² and Σ delta² (a − reference) so far; those of F as long as no scores were summed over positions."""
        if self._weights_under_q is not None and self._offsets_under_q is not None:
            return self._weights_under_q, self._offsets_under_q
        row = self._first_row * self.examples
        return row[:, 0], row[:, 1:]

    def _add_under_q(self, sums: tuple[Tensor, Tensor]) -> None:
        if self._weights_under_q is None and not self.examples:
            self._weights_under_q, self._offsets_under_q = sums
            return
        weights, offsets = self._sums_under_q()
        self._weights_under_q, self._offsets_under_q = weights + sums[0], offsets + sums[1]

    @property
    def _cancelled(self) -> Bool[Tensor, " units"]:
        """Whether the bias scores cancel over the positions: see CANCELLED."""
        sizes = self._summed_sizes / self.examples
        return self._first_row[:, 0] < self._rounding**CANCELLED * sizes

    @property
    def _coordinates(self) -> int:
        """Side of the accumulator: fan_in + 1, with or without bias."""
        return self._reference.shape[-1] + 1

    @property
    def _geometry(self) -> tuple[Any, ...]:
        groups, fan_in = self._reference.shape
        return self.units, groups, fan_in, self.has_bias, self.kind, self.likelihood, self.weight_sharing

    def _check_same(self, geometry: tuple[Any, ...], dtype: torch.dtype) -> None:
        names = ("units", "groups", "fan_in", "has_bias", "kind", "likelihood", "weight_sharing", "dtype")
        for name, own, others in zip(names, (*self._geometry, self._reference.dtype), (*geometry, dtype), strict=True):
            if own != others:
                raise InputError(f"{name} is {own!r} here and {others!r} there; both must be the same.")

    def _check_layer(self, other: str | None) -> None:
        """Layers of one shape are told apart by their names."""
        if self.layer is not None and other is not None and self.layer != other:
            raise InputError(f"layer is {self.layer!r} here and {other!r} there; both must be the same.")

    def _refuse_damped(self) -> None:
        if self.damping is not None:
            raise InputError("a damped Fisher matrix takes no further examples; update the undamped one.")

    def _change(self) -> None:
        """Before a change: tensors handed out keep their values, what was derived from the old ones is forgotten."""
        self._refuse_damped()
        self._known = {}
        if self._handed_out:
            self._total = self._total.clone()
        self._handed_out = False

    def _as_matrix(self) -> Tensor:
        """The accumulator, about to be added to above its diagonal; factors are summed into it first."""
        if not self._total.numel():
            self._check_memory(self._coordinates)
            self._total = self._reference.new_zeros(self.units, self._coordinates, self._coordinates)
            if self._factors is not None:
                self._factors.add_to(self._total, self._reference, self._scale)
                self._factors = None
        self._mirrored = False
        return self._total

    def _check_memory(self, coordinates: int) -> None:
        check_fits(
            f"the Fisher matrices of {self.units:,} units with {coordinates:,} coordinates",
            self.units * coordinates**2 * self._reference.element_size(),
            self._reference.device,
            self.units,
            "those of {fitting} units would fit (units=)",
            "and so would those of fewer examples than coordinates",
        )

    def _complete(self) -> None:
        if self._factors is None and not self._mirrored:
            mirror(self._total)
            self._mirrored = True

    def _normalise(self) -> None:
        """Make the accumulator the mean over examples, in place."""
        self._complete()
        if self._factors is None and self._scale != 1.0 / self.examples:
            self._total *= 1.0 / (self._scale * self.examples)
            self._scale = 1.0 / self.examples

    def _kept(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]

    def _by_unit(self, values: Float[Tensor, "groups n"]) -> Float[Tensor, "units n"]:
        return values[group_of_units(self.units, len(values), values.device)]

    @property
    def _first_row(self) -> Float[Tensor, "units coordinates"]:
        """(c, E[delta² (a − reference)]) of every unit, undamped."""
        return self._kept("first_row", self._make_first_row)

    def _make_first_row(self) -> Tensor:
        if self._factors is None:
            return self._total[:, 0] / (self._scale * self.examples)
        row = self._factors.first_row() / self.examples
        row[:, 1:] -= row[:, :1] * self._by_unit(self._reference)
        return row

    def _about(self, units: slice, origin: Float[Tensor, "groups fan_in"] | None) -> Tensor:
        """E[delta² (1, a − origin)(1, a − origin)ᵀ] of some units, undamped; None: about the reference."""
        if self._factors is not None:
            rows = self._factors.rows(units) * self.examples**-0.5
            if origin is None:
                rows[:, :, 1:] -= rows[:, :, :1] * self._by_unit(self._reference)[units, None]
            return rows.mT @ rows
        self._complete()
        chunk = self._total[units] / (self._scale * self.examples)
        return chunk if origin is None else _moved_origin(chunk, self._by_unit(self._reference - origin)[units])

    def _undamped_of(self, units: slice) -> Tensor:
        """F of some units without damping, to be changed at will."""
        matrix = self._about(units, torch.zeros_like(self._reference))
        return matrix if self.has_bias else matrix[:, 1:, 1:]

    def _in_chunks(self, function: Callable[[slice], Tensor]) -> Tensor:
        return torch.cat([function(units) for units in self.unit_chunks()])

    @property
    def _undamped_mean_diagonal(self) -> Float[Tensor, " units"]:
        return self._kept("mean_diagonal", lambda: self._in_chunks(self._mean_diagonal_of))

    def _mean_diagonal_of(self, units: slice) -> Float[Tensor, " units"]:
        if self._factors is not None:
            rows = self._factors.rows(units)[:, :, 0 if self.has_bias else 1 :]
            return rows.square().sum((1, 2)) / (self.examples * self.shape[1])
        return self._undamped_of(units).diagonal(dim1=-2, dim2=-1).mean(1)

    def _eigenvalues_of(self, units: slice) -> Float[Tensor, "units coordinates"]:
        if self._factors is None:
            return eigenvalues_of(in_float64(self._undamped_of(units)))
        gram = _precise(self._factors.of_units(units)).gram(slice(None), self.has_bias)
        nonzero = eigenvalues_of(gram / self.examples)
        padding = nonzero.new_zeros(len(nonzero), max(0, self.shape[1] - nonzero.shape[1]))
        # A layer without bias can have as many vectors as coordinates: then none is padded.
        return torch.cat([padding, nonzero[:, max(0, nonzero.shape[1] - self.shape[1]) :]], dim=1)

    def _damping_by_unit(self, damping: float, relative: bool) -> Float[Tensor, " units"]:
        if relative:
            return damping * self.mean_diagonal
        return self._reference.new_full((self.units,), damping)

    def _total_damping(self, damping: float, relative: bool) -> Float[Tensor, " units"]:
        more = self._damping_by_unit(damping, relative)
        return more if self.damping is None else self.damping + more

    @property
    def _undamped_eigenvalues(self) -> Float[Tensor, "units coordinates"]:
        return self._kept("eigenvalues", lambda: self._in_chunks(self._eigenvalues_of))

    def _regular(self, damping: Float[Tensor, " units"], null: Bool[Tensor, " units"]) -> Bool[Tensor, " units"]:
        """Whether every unit's F + λI is regular by the rule of `rank_threshold`; λ includes this one's own damping.

        The largest eigenvalue is at most the trace: enough damping needs no eigenvalue, and neither does a null matrix.
        """
        threshold = self.rank_threshold
        if "eigenvalues" not in self._known:
            enough = damping > threshold * (self._undamped_mean_diagonal * self.shape[1] + damping)
            if (enough | null).all():
                return enough
        undamped, damping = self._undamped_eigenvalues, damping.to(self._undamped_eigenvalues)
        return (undamped[:, 0] + damping > threshold * (undamped[:, -1] + damping)).to(null.device)

    def _solve(self, gradient: Tensor, damping: Tensor, regular: Tensor, numbers: Tensor) -> Tensor:
        """The step of some units, whose `numbers` a refusal names; refined once where the residual asks for it."""
        of = damping, regular
        solve = self._matrix_solver(*of) if self._factors is None else self._factor_solver(self._factors, *of)
        step = solve(gradient)
        size = gradient.norm(dim=1)
        share = self._residual(gradient, step, damping).norm(dim=1) / size
        if not (share <= RESIDUAL)[regular & (size > 0)].all():
            step = step + torch.where(regular[:, None], solve(self._residual(gradient, step, damping)), 0.0)
            share = self._residual(gradient, step, damping).norm(dim=1) / size
        large = regular & (size > 0) & ~(share <= RESIDUAL)
        if large.any():
            first = int(numbers[large.to(numbers.device)][0])
            raise InputError(
                f"the Fisher matrix of {int(large.sum())} units (first: unit {first}) is too near to singular: the "
                f"residual of what is found is {float(share[large].max()):.1e} of the gradient; give a larger damping, "
                "or leave those units out by of_units."
            )
        return step

    def _residual(self, gradient: Tensor, step: Tensor, damping: Tensor) -> Float[Tensor, "units coordinates"]:
        own = 0.0 if self.damping is None else self.damping[:, None]  # part of `damping`, too
        return gradient - self.product(step) - (damping[:, None] - own) * step

    def _rows(self, factors: UnitFactors) -> Float[Tensor, "units vectors coordinates"]:
        """Vectors whose outer products sum up to F, without the bias coordinate where the layer has no bias."""
        return factors.rows(slice(None))[:, :, 0 if self.has_bias else 1 :] * self.examples**-0.5

    def _matrix_solver(self, damping: Tensor, regular: Tensor) -> Callable[[Tensor], Tensor]:
        matrix = self._undamped_of(slice(None))

        def solve(gradient: Tensor) -> Tensor:
            step = torch.empty_like(gradient)
            if not regular.all():
                some = ~regular
                step[some] = solve_on_range(matrix[some], gradient[some], self.rank_threshold, damping[some])
            if regular.any():
                damped = matrix[regular]
                damped.diagonal(dim1=-2, dim2=-1).add_(damping[regular, None])
                step[regular] = solve_positive_definite(damped, gradient[regular])
            return step

        return solve

    def _factor_solver(self, factors: UnitFactors, damping: Tensor, regular: Tensor) -> Callable[[Tensor], Tensor]:
        """Woodbury's identity; for the singular ones Vᵀ(VVᵀ)⁺(VVᵀ + λI)⁺Vg, which stays on the range of Vᵀ."""
        rows = self._rows(factors)
        gram = factors.gram(slice(None), self.has_bias) / self.examples

        def solve(gradient: Tensor) -> Tensor:
            step = torch.empty_like(gradient)
            if not regular.all():
                some = ~regular
                inner = torch.einsum("umi,ui->um", rows[some], gradient[some])
                inside = solve_on_range(gram[some], inner, self.rank_threshold)
                inside = solve_on_range(gram[some], inside, self.rank_threshold, damping[some])
                step[some] = torch.einsum("umi,um->ui", rows[some], inside)
            if regular.any():
                step[regular] = solve_damped_gram(rows[regular], gram[regular], damping[regular], gradient[regular])
            return step

        return solve


def unit_fisher(
    model: nn.Module,
    inputs: Tensor | Mapping[str, Any] | tuple[Any, Any] | Iterable[Any],
    layer: str,
    kind: Kind = "exact",
    likelihood: Likelihood | str = "categorical",
    *,
    targets: Any = None,
    samples: int = 1,
    generator: torch.Generator | None = None,
    weight_sharing: WeightSharing = "exact",
    batch_size: int = BATCH_SIZE,
    mask: Mask = None,
    batch_axis: int = 0,
    class_axis: int | None = None,
    output: Output = None,
    units: Units | None = None,
    progress: bool | None = None,
) -> UnitFisher:
    """Unit Fisher matrices of the layer named `layer` (F1, arXiv 1511.07289).

    Layers are those of `elutheory.models.layers.layers_of`: by module name whatever multiplies one weight with
    activations (`Linear`, convolutions and transposed ones, `Bilinear`, `Embedding`, transformers' `Conv1D`,
    subclasses), `attention.q`, `lstm.ih_l0` and their like where a module has several, and a parameter's own name.

    - `inputs`: the data p: a tensor (examples, ...) or numpy array, a mapping of such (the model's keyword arguments),
      a tuple (inputs, targets), or an iterable of batches. All but the last are run in batches of `batch_size`. What is
      on another device than the model is moved there; tensors of a mapping whose length is not that of the first are
      shared by all examples;
    - `kind`: "exact" (the expectation over labels taken analytically under the model's own predictive distribution),
      "monte_carlo" (the mean over `samples` labels drawn from it, with `generator`), "empirical" (the data's own
      `targets`: not the Fisher matrix);
    - `likelihood`: "categorical", "bernoulli" or a likelihood object such as `Gaussian(variance)`;
    - `weight_sharing`: "exact" (an example's score is the sum over its positions) or "positionwise".

    - `mask`, `batch_axis`, `class_axis`, `output`: which positions count, and where examples, classes and outputs are,
      as in `model_scores`; a tensor `mask` is of all the data;
    - `units`: those whose matrices are wanted, a slice or numbers; None: all. Memory and time are theirs alone;
    - `progress`: a bar with the time left, from two seconds on; None: where standard error is a terminal.

    Memory: the result and a batch's backward passes. Raises InputError for whatever `layer_scores` refuses.

    >>> import elutheory as et
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.Linear(4, 2))
    >>> x = torch.randn(50, 3)
    >>> F = et.unit_fisher(model, x, layer="0")
    >>> F.matrix.shape, F.mean_under_q.shape
    (torch.Size([4, 4, 4]), torch.Size([4, 3]))
    """

    def scores_of(batch: Any, batch_targets: Any) -> LayerScores:
        check_inputs(batch)
        batch_targets, batch_mask = without_mask(batch_targets, None if isinstance(mask, Tensor) else mask)
        found = layer_scores(
            model,
            batch,
            layer,
            kind,
            likelihood,
            targets=batch_targets,
            samples=samples,
            generator=generator,
            weight_sharing=weight_sharing,
            mask=batch_mask,
            batch_axis=batch_axis,
            class_axis=class_axis,
            output=output,
        )
        return found if units is None else found.of_units(units)

    targets, mask = array_as_tensor(targets, model), array_as_tensor(mask, model)
    inputs, labels = with_mask(tensors_of(inputs, model), targets, mask)
    count = number_of_batches(inputs, batch_size, batch_axis)
    batches = tracked(batches_of(inputs, labels, batch_size, batch_axis), count, "unit Fisher matrices", progress)
    fisher = UnitFisher(scores_of(*next(batches)), scores_of, batch_axis)
    for batch in batches:
        fisher.add_scores(scores_of(*batch))
    return fisher


def _precise(factors: UnitFactors) -> UnitFactors:
    """In float64, where a device that lacks it does not hold them."""
    device = in_float64(factors.rows(slice(0, 1))[:, :0]).device
    return factors.to(device).to(torch.float64)


def _reference(scores: LayerScores) -> Float[Tensor, "groups fan_in"]:
    points = scores.points()
    mean = points.mean(0)
    variance = (points - mean).square().mean(0)
    return torch.where(mean.square() > OFFSET**2 * variance, mean, 0.0)


def _batch_sums_under_q(
    scores: LayerScores, reference: Float[Tensor, "groups fan_in"]
) -> tuple[Float[Tensor, " units"], Float[Tensor, "units fan_in"]]:
    """Σ delta² and Σ delta² (a − reference) over a batch's examples and positions."""
    weights = scores.deltas[0].square()
    for column in scores.deltas[1:]:  # one at a time: memory for one column's squares, not for all
        weights.addcmul_(column, column)
    by_group = weights.unflatten(-1, (scores.incoming.shape[1], -1))
    offsets = torch.einsum("npgu,ngpi->gui", by_group, scores.incoming - reference[:, None]).flatten(0, 1)
    return weights.sum((0, 1)), offsets


def _moved_origin(total: Tensor, offset: Float[Tensor, "units fan_in"]) -> Tensor:
    """Outer products of (1, a) changed into those of (1, a + offset), in place."""
    if offset.any():
        total[:, 1:, :] += offset[:, :, None] * total[:, :1, :]
        total[:, :, 1:] += total[:, :, :1] * offset[:, None, :]
    return total
