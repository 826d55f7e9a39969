"""Statistics of any torch model's activations, unit by unit and layer by layer, streamed over the data (P2, P2b)."""

import html
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas
import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, distributed, nn

from elutheory.activations.recognition import flat_values
from elutheory.errors import InputError
from elutheory.models.batch_layout import BatchLayout, Mask, with_mask, without_mask
from elutheory.models.data import (
    BATCH_SIZE,
    batches_of,
    check_inputs,
    number_of_batches,
    on_device_of,
    run_on,
    tensors_of,
)
from elutheory.models.observers import Observed, Of, UnitAxis, observed_modules, observing_modules
from elutheory.models.refusals import check_observable, check_parameters
from elutheory.models.unit_axes import Source
from elutheory.numerics.running_moments import Scratch, UnitSums
from elutheory.output.checksums import EMPTY, is_unchanged, with_checksum
from elutheory.output.files import check_output, write_whole
from elutheory.output.progress import tracked
from elutheory.statistics.quantiles import UnitQuantiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEMORY = 2**28
"""Bytes of activations that are kept for exact quantiles; beyond, all layers' values go to sketches."""

COLUMNS = {
    "layer": "the module's name, of a function that of the module that calls it, as block.relu(); where several layers "
    "feed it, name@layer that feeds it",
    "of": "output: what the module returns; input: what it receives, an activation function's pre-activation",
    "kind": "the module's class, the function's name, or that of a gated unit, as SwiGLU",
    "fed_by": "the layer whose output the module receives, alone or in a sum; empty if none is known",
    "units": "units: channels of a convolution, else entries of the last axis",
    "calls": "calls of the module that the statistics are over",
    "count": "points per unit; a point is an example at one position (of an image, of a sequence), in one call",
    "mean": "mean over the units of the unit's mean over the points",
    "unit_mean_median": "median over the units of the unit's mean (P2)",
    "unit_mean_std": "standard deviation over the units of the unit's mean",
    "variance": "mean over the units of the unit's variance over the points (divided by count)",
    "second_moment": "q: mean over units and points of a²",
    "overlap": "c: mean over the units and over pairs of different points of a·a'",
    "mean_share": "|E a|² / E|a|², between 0 and 1 (P2b)",
    "minimum": "smallest value; needs extremes",
    "maximum": "largest value; needs extremes",
    "share_nonpositive": "share of the values that are ≤ 0; needs extremes",
    "never_positive_share": "share of the units that were > 0 at no point; needs extremes",
    "dead_share": "share of the units whose activation function had slope 0 at every point; NaN if no slope is known",
    "nonfinite_units": "units that were NaN or infinite at some point; then their mean and the layer's are so too",
    "quantile_method": "exact, sketch (KLL), or empty if no quantiles were asked for",
    "quantile_rank_error": "a quantile's true rank is within this of the one asked for, with 99 % confidence",
}
"""Columns of the table, and for every quantile asked for one more, as `quantile_0.5`: the mean over units of theirs."""


NOTHING_SEEN = (
    "no call of an observed module was seen, nor of a function such as torch.relu; run the model on at least one "
    "batch, or name the modules whose outputs are wanted by layers=[...]."
)


class Site(NamedTuple):
    """Where values are observed: a module, the layer that feeds it, its output or its input, and its units."""

    module: str
    fed_by: str
    of: Of
    units: int


@dataclass(frozen=True, eq=False)
class UnitStatistics:
    """One layer's statistics by unit, float64, on the activations' device; None: not asked for.

    - `count`: points, the same for every unit; `variance`: divided by count;
    - `share_nonpositive`: share of the values ≤ 0; `never_positive`: the unit was > 0 at no point;
    - `dead`: the activation function's slope was 0 at every point; None too for what is no activation module with known
      slopes;
    - `nonfinite`: it was NaN or infinite at some point, and mean, variance and quantiles are no numbers;
    - `quantiles`: (probabilities, units).

    >>> import elutheory as et
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU())
    >>> units = et.layer_statistics(model, torch.tensor([[-1.0, 1.0], [-2.0, 3.0]])).units("1")
    >>> units.never_positive, units.maximum
    (tensor([ True, False]), tensor([0., 3.], dtype=torch.float64))
    """

    count: int
    mean: Float[Tensor, " units"]
    variance: Float[Tensor, " units"]
    nonfinite: Bool[Tensor, " units"]
    minimum: Float[Tensor, " units"] | None
    maximum: Float[Tensor, " units"] | None
    share_nonpositive: Float[Tensor, " units"] | None
    never_positive: Bool[Tensor, " units"] | None
    dead: Bool[Tensor, " units"] | None
    quantiles: Float[Tensor, "probabilities units"] | None


class LayerStatistics:
    """Statistics of a model's activations over all points seen so far; see `layer_statistics` and `observe_layers`.

    - `table`: one row per layer, in the order in which they were first called; `COLUMNS` describes the columns;
    - `unit_table`: one row per layer and unit; `units(layer)`: what it says of one layer, as tensors
      (`UnitStatistics`);
    - `uncovered`: activation functions that modules call and that are in no row, by name, with the reason.

    A module that several layers feed has a row for each of them; other repeated calls are pooled (`calls`). `merge` and
    `all_reduce` change the object in place and return it.

    >>> import elutheory as et
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
    >>> first, second = (et.layer_statistics(model, torch.randn(10, 2)) for _ in range(2))
    >>> int(first.merge(second).table["count"].iloc[0])
    20
    """

    def __init__(self, *, extremes: bool = True, quantiles: Sequence[float] = (), memory: int = MEMORY) -> None:
        self.extremes = extremes
        self.quantiles = _probabilities(quantiles)
        self.memory = memory
        self.uncovered: dict[str, str] = {}
        self._layers: dict[Site, _Layer] = {}
        self._kept = 0
        self._scratch = Scratch()

    # ------------------------------------------------------------------------------------------------ accumulation

    def add(
        self,
        module: str,
        kind: str,
        fed_by: str,
        of: Of,
        values: Tensor,
        axis: int,
        flat: tuple[float, ...] | None = None,
    ) -> None:
        """What one call of a module returned or received; `axis` is that of the units; `flat`: see `flat_values`."""
        site = Site(module, fed_by, of, values.shape[axis])
        layer = self._layers.get(site)
        if layer is None:
            layer = self._layers[site] = _Layer(kind, UnitSums(self.extremes, self._scratch), UnitQuantiles())
        layer.calls += 1
        layer.sums.add(values, axis, flat)
        if self.quantiles:
            self._kept -= layer.quantiles.nbytes
            layer.quantiles.add(values, axis)
            self._kept += layer.quantiles.nbytes
            self._keep_within_memory()

    def _keep_within_memory(self) -> None:
        if self._kept > self.memory or any(layer.quantiles.method == "sketch" for layer in self._layers.values()):
            for layer in self._layers.values():
                layer.quantiles.to_sketches()
            self._kept = 0

    def merge(self, other: "LayerStatistics") -> "LayerStatistics":
        """Adds the other's points; in place, the other is left as it is.

        Raises InputError unless both measure the same, with the same units in every layer.
        """
        own = (self.extremes, self.quantiles)
        if own != (other.extremes, other.quantiles):
            raise InputError(
                f"extremes and quantiles are {own} here and {(other.extremes, other.quantiles)} there; both must be "
                "the same."
            )
        widths = {site[:3]: site.units for site in self._layers}
        for site in other._layers:
            if site not in self._layers and site[:3] in widths:
                raise InputError(
                    f"layer {site.module!r} has {widths[site[:3]]} units here and {site.units} there; statistics of "
                    "the same model are needed."
                )
        for site, theirs in other._layers.items():
            ours = self._layers.setdefault(site, _Layer(theirs.kind, UnitSums(self.extremes), UnitQuantiles()))
            ours.calls += theirs.calls
            ours.sums.merge(theirs.sums)
            ours.quantiles.merge(theirs.quantiles)
        self.uncovered |= other.uncovered
        self._kept = sum(layer.quantiles.nbytes for layer in self._layers.values())
        self._keep_within_memory()
        return self

    def all_reduce(self, group: Any = None) -> "LayerStatistics":
        """Merges the statistics of all processes of a `torch.distributed` group; in place, equal in all of them.

        Raises InputError in every process unless all measure the same.
        """
        every: list[Any] = [None] * distributed.get_world_size(group)
        distributed.all_gather_object(every, self.to_bytes(), group=group)
        merged = LayerStatistics.from_bytes(every[0])
        for part in every[1:]:
            merged.merge(LayerStatistics.from_bytes(part))
        self._layers, self._kept, self.uncovered = merged._layers, merged._kept, merged.uncovered
        return self

    # --------------------------------------------------------------------------------------------------- what is found

    @property
    def layers(self) -> list[str]:
        """The layers' names, in the table's order; those of inputs too."""
        return list(dict.fromkeys(self._names().values()))

    def units(self, layer: str, of: Of = "output") -> UnitStatistics:
        """A layer's statistics by unit. Raises InputError for an unknown layer."""
        for site, name in self._names().items():
            if name == layer and site.of == of:
                return self._of_units(self._layers[site])
        raise InputError(f"no {of} of a layer {layer!r} was seen; the layers are {', '.join(map(repr, self.layers))}.")

    @property
    def table(self) -> pandas.DataFrame:
        """One row per layer; the columns are described in COLUMNS. Raises InputError if no call was seen."""
        if not self._layers:
            raise InputError(NOTHING_SEEN)
        rows = [self._row(site, name) for site, name in self._names().items()]
        return pandas.DataFrame(rows, columns=[*COLUMNS, *map(_quantile_column, self.quantiles)])

    @property
    def unit_table(self) -> pandas.DataFrame:
        """One row per layer and unit: layer, of, unit, count and the fields of `UnitStatistics`."""
        if not self._layers:
            raise InputError(NOTHING_SEEN)
        parts = []
        for site, name in self._names().items():
            found = self._of_units(self._layers[site])
            part: dict[str, Any] = {"layer": name, "of": site.of, "unit": range(site.units), "count": found.count}
            for column in _UNIT_COLUMNS:
                values = getattr(found, column)
                if values is not None:
                    part[column] = values.cpu().numpy()
            if found.quantiles is not None:
                for probability, values in zip(self.quantiles, found.quantiles, strict=True):
                    part[_quantile_column(probability)] = values.cpu().numpy()
            parts.append(pandas.DataFrame(part))
        return pandas.concat(parts, ignore_index=True)

    def _names(self) -> dict[Site, str]:
        """A module's name, with the layer that feeds it (and the units) where that is needed to tell sites apart."""
        sites: dict[tuple[str, Of], list[Site]] = {}
        for site in self._layers:
            sites.setdefault((site.module, site.of), []).append(site)
        names = {}
        for site in self._layers:
            alike = sites[site.module, site.of]
            name = site.module
            if len({other.fed_by for other in alike}) > 1 and site.fed_by:
                name += f"@{site.fed_by}"
            if sum(other.fed_by == site.fed_by for other in alike) > 1:
                name += f"/{site.units}"
            names[site] = name
        return names

    def _of_units(self, layer: "_Layer") -> UnitStatistics:
        parts, count = layer.sums.parts(), layer.sums.count
        return UnitStatistics(
            count=count,
            mean=parts["mean"],
            variance=parts["squares"] / count,
            nonfinite=~parts["mean"].isfinite(),
            minimum=parts.get("minimum"),
            maximum=parts.get("maximum"),
            share_nonpositive=parts["nonpositive"] / count if self.extremes else None,
            never_positive=parts["maximum"] <= 0 if self.extremes else None,
            dead=parts["flat"] == count if "flat" in parts else None,
            quantiles=self._quantiles_of(layer, parts["mean"]) if self.quantiles else None,
        )

    def _quantiles_of(self, layer: "_Layer", mean: Tensor) -> Tensor:
        """NaN for units that were not finite at some point: sketches do not tell."""
        return layer.quantiles.at(self.quantiles).to(mean.device).masked_fill(~mean.isfinite(), math.nan)

    def _row(self, site: Site, name: str) -> dict[str, Any]:
        layer = self._layers[site]
        found = self._of_units(layer)
        mean, variance, count = found.mean.cpu(), found.variance.cpu(), found.count
        squared, spread = float(mean.square().mean()), float(variance.mean())
        second_moment = squared + spread
        row = {
            "layer": name,
            "of": site.of,
            "kind": layer.kind,
            "fed_by": site.fed_by,
            "units": site.units,
            "calls": layer.calls,
            "count": count,
            "mean": float(mean.mean()),
            "unit_mean_median": float(mean.quantile(0.5)),
            "unit_mean_std": float(mean.std(correction=0)),
            "variance": spread,
            "second_moment": second_moment,
            "overlap": squared - spread / (count - 1) if count > 1 else math.nan,
            "mean_share": squared / second_moment if second_moment else math.nan,
            "minimum": math.nan if found.minimum is None else float(found.minimum.min()),
            "maximum": math.nan if found.maximum is None else float(found.maximum.max()),
            "share_nonpositive": _mean(found.share_nonpositive),
            "never_positive_share": _mean(found.never_positive),
            "dead_share": _mean(found.dead),
            "nonfinite_units": int(found.nonfinite.sum()),
            "quantile_method": layer.quantiles.method if self.quantiles else "",
            "quantile_rank_error": layer.quantiles.rank_error if self.quantiles else math.nan,
        }
        if found.quantiles is not None:
            row |= {
                _quantile_column(p): _mean(values) for p, values in zip(self.quantiles, found.quantiles, strict=True)
            }
        return row

    # ---------------------------------------------------------------------------------------------------------- files

    def save(self, path: Path | str) -> None:
        """Writes a safetensors file, whole or not at all."""
        check_output(Path(path))
        write_whole(Path(path), self.to_bytes())

    @classmethod
    def load(cls, path: Path | str) -> "LayerStatistics":
        """What `save` wrote. Raises InputError for a file that is missing, corrupt or of another kind."""
        if not Path(path).is_file():
            raise InputError(f"there is no file {path}; name a file that LayerStatistics.save wrote.")
        try:
            return cls.from_bytes(Path(path).read_bytes())
        except InputError as error:
            raise InputError(f"{path} cannot be read: {error}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        return LayerStatistics.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        counts = sorted({layer.sums.count for layer in self._layers.values()})
        points = f"{counts[0]:,} to {counts[-1]:,}" if len(counts) > 1 else f"{counts[0]:,}" if counts else "no"
        return f"LayerStatistics({len(self._layers)} layers, {points} points; .table has one row per layer)"

    def __str__(self) -> str:
        if not self._layers:
            return repr(self)
        shown = ["layer", "kind", "units", "count", "mean", "unit_mean_std", "variance", "mean_share", "dead_share"]
        missing = "".join(f"\nnot covered: {name}: {reason}" for name, reason in self.uncovered.items())
        return f"{self!r}\n{self.table[shown].to_string(index=False)}{missing}"

    def _repr_html_(self) -> str:
        if not self._layers:
            return f"<p>{html.escape(repr(self))}</p>"
        missing = "".join(f"<li>{html.escape(f'{name}: {why}')}</li>" for name, why in self.uncovered.items())
        table = self.table.to_html(index=False, float_format="{:.3g}".format)
        return f"<p>{html.escape(repr(self))}</p>{table}" + (
            f"<p>Not covered:</p><ul>{missing}</ul>" if missing else ""
        )

    def plot(self) -> "Figure":
        """A matplotlib figure by layer: means of the units, variance, share of the mean, dead units."""
        from elutheory.statistics.figure import figure_of  # noqa: PLC0415  (matplotlib, only where a figure is drawn)

        table = self.table
        return figure_of(table, names_of_rows(table))

    def to_bytes(self) -> bytes:
        """The safetensors file."""
        tensors, layers = {}, []
        for index, (site, layer) in enumerate(self._layers.items()):
            parts = layer.sums.parts() | (layer.quantiles.parts() if self.quantiles else {})
            tensors |= {f"{index}.{name}": part.detach().cpu().contiguous() for name, part in parts.items()}
            layers.append([*site, layer.kind, layer.calls, layer.sums.count])
        options = {"extremes": self.extremes, "quantiles": self.quantiles, "memory": self.memory}
        described = json.dumps({"options": options, "layers": layers, "uncovered": self.uncovered})
        return with_checksum(save(tensors, {_FORMAT: described, "sha256": EMPTY}))

    @classmethod
    def from_bytes(cls, content: bytes) -> "LayerStatistics":
        """The inverse of `to_bytes`. Raises InputError for anything else."""
        if not is_unchanged(content):
            raise InputError("it holds no layer statistics, or not whole ones: its checksum differs.")
        try:
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            described = json.loads(header["__metadata__"][_FORMAT])
            tensors = load(content)
            statistics = cls(**described["options"])
            statistics.uncovered = dict(described.get("uncovered", {}))
            for index, (*site, kind, calls, count) in enumerate(described["layers"]):
                parts = {name.partition(".")[2]: part for name, part in tensors.items() if name.startswith(f"{index}.")}
                statistics._layers[Site(*site)] = _restored(Site(*site), kind, calls, count, parts)
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OverflowError, UnicodeError) as error:
            raise InputError("it holds no layer statistics, or not whole ones.") from error
        statistics._kept = sum(layer.quantiles.nbytes for layer in statistics._layers.values())
        return statistics


_FORMAT = "elutheory.layer_statistics.2"
"""Names the files' format, not a module: it stays as it is while the format does."""


@dataclass(eq=False)
class _Layer:
    kind: str
    sums: UnitSums
    quantiles: UnitQuantiles
    calls: int = 0


def layer_statistics(
    model: nn.Module,
    data: Any,
    *,
    layers: Sequence[str] | None = None,
    pre_activations: bool = False,
    extremes: bool = True,
    quantiles: Sequence[float] = (),
    memory: int = MEMORY,
    batch_size: int = BATCH_SIZE,
    unit_axis: UnitAxis = None,
    mask: Mask = None,
    batch_axis: int = 0,
    progress: bool | None = None,
) -> LayerStatistics:
    """Statistics of every activation function's outputs over the data, by unit and by layer, in one pass.

    Activation functions are modules, or functions that a module calls (`F.relu`, `torch.tanh`, `x.relu()`, …), which
    have the name of that module with the function's, as `block.relu()`. Products with their values are rows too, under
    the name of the gated unit (`SwiGLU()`).

    - `data`: a tensor (examples, ...), a mapping of such (the model's keyword arguments), a tuple (inputs, targets), or
      an iterable of batches of these; moved to the model's device, without gradients;
    - `layers`: names of other modules whose outputs are wanted; None: all activation functions (modules of `torch.nn`,
      of this package, and of other libraries that act like a known one, and functions);
    - `pre_activations`: also what these modules receive (rows with `of` "input");
    - `extremes`: minimum, maximum, share ≤ 0, units never positive and dead ones; False saves a third of the time;
    - `quantiles`: probabilities, 0.5 the median; exact while all values fit into `memory` bytes, beyond by KLL
      sketches of SKETCH_SIZE on the host; the result says which;
    - `progress`: a bar with the time left, from two seconds on; None: where standard error is a terminal.

    The model runs in evaluation mode, and its mode is restored: neither dropout nor batch statistics. To observe
    training mode, use `observe_layers`. Raises InputError for models in which no activation is seen, units of a
    module whose axis is not known, and bad data.

    >>> import elutheory as et
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU())
    >>> statistics = et.layer_statistics(model, torch.tensor([[-1.0, 1.0], [1.0, 3.0]]))
    >>> statistics.units("1").mean
    tensor([0.5000, 2.0000], dtype=torch.float64)
    """
    current: Any = None
    if any(parameter.is_meta for parameter in model.parameters()):
        check_parameters(model)
    with (
        observe_layers(
            model,
            layers=layers,
            pre_activations=pre_activations,
            extremes=extremes,
            quantiles=quantiles,
            memory=memory,
            unit_axis=unit_axis,
            mask=(lambda _inputs: current) if isinstance(mask, Tensor) else mask,
            batch_axis=batch_axis,
        ) as statistics,
        _evaluating(model),
        torch.no_grad(),
    ):
        data, targets = with_mask(tensors_of(data, model), None, mask)
        batches = batches_of(data, targets, batch_size, batch_axis)
        for inputs, labels in tracked(
            batches, number_of_batches(data, batch_size, batch_axis), "layer statistics", progress
        ):
            check_inputs(inputs)
            current = without_mask(labels, None)[1]
            run_on(model, on_device_of(model, inputs))
    if not statistics.layers:
        reasons = " ".join(statistics.uncovered.values())
        raise InputError(reasons or NOTHING_SEEN)
    return statistics


@contextmanager
def observe_layers(
    model: nn.Module,
    *,
    layers: Sequence[str] | None = None,
    pre_activations: bool = False,
    extremes: bool = False,
    quantiles: Sequence[float] = (),
    memory: int = MEMORY,
    unit_axis: UnitAxis = None,
    mask: Mask = None,
    batch_axis: int = 0,
) -> Iterator[LayerStatistics]:
    """Statistics of every activation function's outputs while the model runs in the caller's own loop:

        with et.observe_layers(model) as statistics:
            for x, y in loader:
                model(x)
        statistics.table

    The model and its mode are left as they are; the hooks go when the block ends, in whatever way. Without `extremes`
    and `quantiles` a forward pass takes at most 10 % longer (see benchmarks/bench_layer_statistics.py), and on an
    accelerator nothing waits for it. The other options are those of `layer_statistics`. As a Lightning callback:

        class Activations(lightning.Callback):
            def on_validation_start(self, trainer, module):
                self.stack = contextlib.ExitStack()
                self.statistics = self.stack.enter_context(et.observe_layers(module))
            def on_validation_end(self, trainer, module):
                self.stack.close()

    (with `on_exception` doing the same as `on_validation_end`). Forward passes that a checkpointed model repeats in its
    backward pass are not counted. Raises InputError for models in which hooks see nothing.

    >>> import elutheory as et
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
    >>> with et.observe_layers(model) as statistics:
    ...     for batch in torch.randn(4, 10, 2):
    ...         _ = model(batch)
    ...
    >>> statistics.units("1").count
    40
    """
    check_observable(model)
    layout = BatchLayout(batch_axis, mask=mask)
    statistics = LayerStatistics(extremes=extremes, quantiles=quantiles, memory=memory)
    observed = observed_modules(model, layers)
    flat: dict[nn.Module, tuple[float, ...] | None] = {}

    def receive(site: Observed, of: Of, values: Tensor, source: Source) -> None:
        if extremes and site.module not in flat:
            flat[site.module] = flat_values(site.module)
        of_outputs = flat[site.module] if extremes and of == "output" else None
        statistics.add(site.name, site.kind, source.layer, of, values, source.axis, of_outputs)

    def left_out(name: str, reason: str) -> None:
        statistics.uncovered.setdefault(name, reason)

    functions = left_out if layers is None else None
    with observing_modules(model, observed, receive, pre_activations, unit_axis, layout, functions):
        yield statistics


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training


def _probabilities(quantiles: Sequence[float]) -> tuple[float, ...]:
    for probability in quantiles:
        if isinstance(probability, bool) or not isinstance(probability, int | float) or not 0 <= probability <= 1:
            raise InputError(f"a quantile's probability is {probability!r}; a number between 0 and 1 is needed.")
    return tuple(map(float, quantiles))


def names_of_rows(table: pandas.DataFrame) -> list[str]:
    """The layers' names, with what they are of where that is not the output."""
    return [name if of == "output" else f"{name} ({of})" for name, of in zip(table["layer"], table["of"], strict=True)]


def _quantile_column(probability: float) -> str:
    return f"quantile_{probability:g}"


def _mean(values: Tensor | None) -> float:
    return math.nan if values is None else float(values.double().mean())


def _restored(site: Site, kind: str, calls: int, count: int, parts: dict[str, Tensor]) -> _Layer:
    sums = {name: parts.pop(name) for name in tuple(parts) if name in _SUMS}
    if not {"mean", "squares"} <= sums.keys() or {part.shape for part in sums.values()} != {(site.units,)}:
        raise ValueError("sums")
    quantiles = UnitQuantiles.from_parts(parts) if parts else UnitQuantiles()
    return _Layer(kind, UnitSums.from_parts(count, sums), quantiles, calls)


_SUMS = ("mean", "squares", "minimum", "maximum", "nonpositive", "flat")
_UNIT_COLUMNS = ("mean", "variance", "minimum", "maximum", "share_nonpositive", "never_positive", "dead", "nonfinite")
