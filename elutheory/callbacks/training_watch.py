"""Watching a loop of one's own: when to measure, what that took, and the state to resume from."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pandas
import torch
from torch import Tensor, distributed, nn

from elutheory.callbacks.measured_layers import COLUMNS, MeasuredLayer, measured_layer, weights_by_unit
from elutheory.callbacks.records import Records
from elutheory.errors import InputError
from elutheory.fisher.likelihoods import Likelihood, as_likelihood
from elutheory.fisher.scores import Kind, LayerScores, ModelScores, model_scores
from elutheory.models.batch_layout import Mask, Output, labels_in
from elutheory.models.data import rows_of
from elutheory.models.layers import UnitWeights, find_layer, layer_names
from elutheory.numerics.arguments import check_damping, check_whole, real_number

SHARE = 0.05
"""Of the training time, that measuring takes at most by default; see `test_measuring_keeps_to_its_share`."""

MOST_COLUMNS, SAMPLES = 10, 4
"""Fisher matrices are exact for so many outputs, else of so many labels drawn per example: at most ten backward passes.

`test_numbers_are_those_of_a_diagnosis` has the former, `test_many_classes_are_sampled` the latter."""


class TrainingWatch:
    """Measures, every n updates, what the update did in every layer (F, B, P2b, arXiv 1511.07289), in a loop of one's
    own:

        watch = TrainingWatch(model, "run.parquet")
        for inputs, targets in loader:
            ...
            optimizer.step()
            watch.step(inputs, targets)

    - `record`: where the numbers go: the path of a .parquet or .csv file, a TensorBoard `SummaryWriter` (scalars, and
      histograms over the units), a function of (numbers by name, step), or several of these; `table` has them as well;
    - `every`: n; None: as often as measuring takes at most `share` of the time that passes between calls. The first
      update is measured in any case, so a training shorter than twenty measurements spends more;
    - `examples`: of the batch, so many are measured with; `units`: per layer for `s_times_c` and `cosine`, drawn with
      `seed`; `damping`: as in `diagnose`; `layers`: names, None: all;
    - `likelihood`: of the labels; without targets, or a batch's own `labels`, labels are drawn from the model;
    - `mask`, `batch_axis`, `class_axis`, `output`: as in `diagnose`.

    The model is measured in evaluation mode, whose batch statistics are the running ones, and is left as it was: modes,
    gradients and random numbers. Between two measurements a copy of the weights is held for one update. With several
    processes the first one measures, on its own part of the batch; models with sharded parameters are refused.
    `state_dict` and `load_state_dict` resume: a file keeps its rows up to the step of the state. Raises InputError for
    bad options, and where `step` measures for whatever `model_scores` refuses.

    >>> import torch
    >>> from elutheory.callbacks import TrainingWatch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.Linear(4, 2))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> watch = TrainingWatch(model, every=2)
    >>> for _ in range(4):
    ...     x = torch.randn(20, 3)
    ...     torch.nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long()).backward()
    ...     optimizer.step()
    ...     _ = watch.step(x, (x[:, 0] > 0).long())
    ...
    >>> watch.table["step"].tolist(), watch.table["layer"].tolist()
    ([2, 2, 4, 4], ['0', '2', '0', '2'])
    """

    def __init__(
        self,
        model: nn.Module,
        record: Any = None,
        *,
        every: int | None = None,
        share: float = SHARE,
        examples: int = 64,
        units: int = 8,
        layers: Sequence[str] | None = None,
        likelihood: Likelihood | str = "categorical",
        damping: float = 1e-2,
        seed: int = 0,
        mask: Mask = None,
        batch_axis: int = 0,
        class_axis: int | None = None,
        output: Output = None,
    ) -> None:
        if every is not None:
            check_whole("every", every)
        check_whole("examples", examples)
        check_whole("units", units)
        check_damping(damping)
        if damping == 0:
            raise InputError("damping is 0; a number above zero is needed, as Fisher matrices of samples are singular.")
        if not 0 < real_number("share", share) <= 1:
            raise InputError(f"share is {share}; a share of the training time, above 0 and at most 1, is needed.")
        self.model = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
        _refuse_sharded(self.model)
        self._names = layer_names(self.model) if layers is None else list(layers)
        self._layers: dict[str, UnitWeights] = {name: find_layer(self.model, name) for name in self._names}
        self._every, self._share = every, share
        self._examples, self._units, self._damping = examples, units, damping
        self._likelihood = as_likelihood(likelihood)
        self._read = {"mask": mask, "batch_axis": batch_axis, "class_axis": class_axis, "output": output}
        self._axis = batch_axis
        self._generator = torch.Generator().manual_seed(seed)
        self._records = Records(record)
        self._begun = False
        self._rows: list[Mapping[str, Any]] = []
        self._steps = 0
        self._spent = self._trained = self._cost = 0.0
        self._last = time.perf_counter()
        self._before: dict[str, Tensor] | None = None
        self.uncovered: dict[str, str] = {}
        self._copy_if_due()

    @property
    def steps(self) -> int:
        """Updates told of so far."""
        return self._steps

    @property
    def seconds(self) -> tuple[float, float]:
        """What measuring took, and what passed between the calls."""
        return self._spent, self._trained

    @property
    def table(self) -> pandas.DataFrame:
        """One row per measurement and layer, since the watch was made; `elutheory.callbacks.measured_layers.COLUMNS`
        describes the columns."""
        return pandas.DataFrame(self._rows, columns=[*COLUMNS])

    def begin(self) -> None:
        """Training begins now, with the weights as they are; needed where these changed since the watch was made."""
        self._copy_if_due()
        self._last = time.perf_counter()

    def step(self, inputs: Any, targets: Any = None, epoch: int | None = None) -> list[MeasuredLayer] | None:
        """An update was made by this batch; gives what was measured, None if it was not the time to."""
        begin = time.perf_counter()
        if not self._begun and _is_first_process():
            self._records.begin(self._steps)
        self._begun = True
        self._trained += begin - self._last
        self._steps += 1
        found = None
        if self._before is not None:
            found = self._measure(self._before, inputs, targets, epoch)
            self._records.write(found, self._steps)
            self._rows += [layer.row for layer in found]
            self._cost = time.perf_counter() - begin
        told = time.perf_counter()
        self._spent += told - begin
        self._copy_if_due()
        self._last = time.perf_counter()
        self._spent += self._last - told
        return found

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on from here, numbers and names only, the table's rows among them."""
        generator = self._generator.get_state()
        return {
            "steps": self._steps,
            "spent": self._spent,
            "trained": self._trained,
            "cost": self._cost,
            "generator": generator,
            "rows": [dict(row) for row in self._rows],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state, with the model's weights as they are now: load those first.

        Raises InputError for anything that `state_dict` did not give.
        """
        try:
            self._steps = int(state["steps"])
            self._spent, self._trained, self._cost = (float(state[name]) for name in ("spent", "trained", "cost"))
            self._generator.set_state(state["generator"])
            rows = [dict(row) for row in state.get("rows", self._rows)]
            self._rows = [row for row in rows if row["step"] <= self._steps]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError("the state is none that TrainingWatch.state_dict gave.") from error
        self._begun, self._last = False, time.perf_counter()
        self._copy_if_due()

    # ------------------------------------------------------------------------------------------------------- internals

    def _is_due_next(self) -> bool:
        """Whether the next update is to be measured, for which the weights before it are needed."""
        if not _is_first_process():
            return False
        if self._every is not None:
            return (self._steps + 1) % self._every == 0
        return self._spent + self._cost <= self._share * self._trained or not self._steps

    def _copy_if_due(self) -> None:
        self._before = None
        if self._is_due_next():
            found = {name: weights_by_unit(layer) for name, layer in self._layers.items()}
            self._before = {name: weights.clone() for name, weights in found.items() if weights is not None}

    def _measure(
        self, before: Mapping[str, Tensor], inputs: Any, targets: Any, epoch: int | None
    ) -> list[MeasuredLayer]:
        part = slice(self._examples)
        inputs, targets = rows_of(inputs, part, self._axis), rows_of(targets, part, self._axis)
        has_labels = targets is not None or labels_in(inputs) is not None
        with _in_evaluation_mode(self.model), torch.enable_grad():
            loss = self._scores(inputs, targets, "empirical" if has_labels else "monte_carlo")
            exact = loss.outputs[0].numel() <= MOST_COLUMNS and self._likelihood.has_factors
            fisher = self._scores(inputs, targets, "exact" if exact else "monte_carlo", SAMPLES)
        self.uncovered = {**loss.refused, **fisher.refused}
        found = []
        for name, scores in loss.layers.items():
            if name not in fisher.layers:
                continue
            layer = measured_layer(
                fisher.layers[name],
                _as_empirical(scores),
                self._change(name, before),
                self._drawn(scores.deltas.shape[-1]),
                self._damping,
            )
            layer.row.update(step=self._steps, epoch=epoch, layer=name)
            found.append(layer)
        if not found:
            raise InputError(next(iter(self.uncovered.values()), "no layer ran."))
        return found

    def _scores(self, inputs: Any, targets: Any, kind: Kind, samples: int = 1) -> ModelScores:
        return model_scores(
            self.model,
            inputs,
            self._names,
            kind,
            self._likelihood,
            targets=targets,
            samples=samples,
            generator=self._generator,
            **self._read,
        )

    def _change(self, name: str, before: Mapping[str, Tensor]) -> Tensor | None:
        after = weights_by_unit(self._layers[name]) if name in before else None
        return None if after is None else after - before[name]

    def _drawn(self, units: int) -> list[int]:
        return torch.randperm(units, generator=self._generator)[: self._units].sort().values.tolist()


def _as_empirical(scores: LayerScores) -> LayerScores:
    """Drawn labels stand for targets."""
    return LayerScores(**{**vars(scores), "kind": "empirical"})


def _is_first_process() -> bool:
    return not (distributed.is_available() and distributed.is_initialized() and distributed.get_rank() > 0)


def _refuse_sharded(model: nn.Module) -> None:
    kinds = {type(one).__name__ for one in (*model.modules(), *model.parameters())}
    if kinds & {"FullyShardedDataParallel", "DTensor", "FSDPModule"} or any("FSDP" in kind for kind in kinds):
        raise InputError(
            "the model's parameters are sharded over processes; a model that each process holds is needed."
        )


@contextmanager
def _in_evaluation_mode(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training
