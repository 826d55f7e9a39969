"""Scores of a model's layers, gathered by hooks while an ordinary training loop runs the model."""

import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from elutheory.errors import InputError
from elutheory.fisher.likelihoods import Likelihood
from elutheory.fisher.scores import (
    Kind,
    LayerScores,
    WeightSharing,
    masks_of_layers,
    pull_back,
    refusal_of_calls,
    refuse_probabilities,
    refusing_reentrant_checkpoints,
)
from elutheory.fisher.training.low_precision import LOW_PRECISION, without_autocast, working_dtype
from elutheory.fisher.training.step_divergence import Circumstances, NotedPass
from elutheory.models.batch_layout import (
    BatchLayout,
    axis_of_classes,
    canonical,
    mask_of_positions,
)
from elutheory.models.captures import Capture, is_captured
from elutheory.models.data import rows_of
from elutheory.models.hooks import hooked, on_calls
from elutheory.models.layers import BATCH_NORM, WeightLayer
from elutheory.models.unit_axes import UnitAxes, layer_hooks


@dataclass(frozen=True)
class ScoreChoices:
    """Which scores are gathered; see `LayerScores`. `deltas` False: the incoming activations alone."""

    kind: Kind
    likelihood: Likelihood
    samples: int
    weight_sharing: WeightSharing
    deltas: bool = True
    layout: BatchLayout = field(default_factory=BatchLayout)


@dataclass(eq=False)
class _Pass:
    """One forward pass: `gradients` of the training loss by call, for kind "empirical", and else `deltas`."""

    examples: int
    captures: dict[str, Capture]
    masks: dict[str, Tensor | None]
    deltas: dict[str, Float[Tensor, "columns examples positions units"]] = field(default_factory=dict)
    gradients: dict[str, dict[int, Tensor]] = field(default_factory=dict)


class TrainingScores:
    """Gathers the scores of `layers` in every forward pass of `model` in training mode with gradients enabled.

    Kinds "exact" and "monte_carlo" pull their columns back through the pass's graph as soon as the model returns; it
    is left whole for the loop's own backward pass. "empirical" listens to that backward pass instead. What was gathered
    is kept, in the size of the activations, until `clear`.

    - `due`: whether passes' scores are gathered;
    - `noting`: whether passes are noted, to be run again; `noted`: those since `forget`;
    - `loss_scale`: what the loss was multiplied with, by which the gradients heard by "empirical" are divided;
    - `refused`: layers whose scores turned out not to be available, with the reason; they are gathered no more.
    """

    def __init__(
        self, model: nn.Module, layers: dict[str, WeightLayer], choices: ScoreChoices, generator: torch.Generator
    ) -> None:
        self.due = True
        self.noting = False
        self.noted: list[NotedPass] = []
        self.loss_scale: Tensor | float = 1.0
        self.refused: dict[str, str] = {}
        self._layers = dict(layers)
        self._choices = choices
        self._generator = generator
        self._parameters = list(model.parameters())
        self._checked: set[str] = set()
        self._calls: dict[str, list[tuple[Tensor, Tensor]]] | None = None
        self._inputs: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
        self._circumstances: Circumstances | None = None
        self._class_axis: dict[int, int] = {}  # by the number of the outputs' axes
        self._axes = UnitAxes()
        self._passes: list[_Pass] = []
        placed, self._following, self._noting_calls = ExitStack(), ExitStack(), ExitStack()
        placed.enter_context(hooked(_first_hook(weakref.ref(self), model)))
        placed.enter_context(self._following)
        placed.enter_context(self._noting_calls)
        self._following.enter_context(hooked(self.axis_hooks(model)))
        placed.enter_context(hooked(_last_hook(weakref.ref(self), model)))
        self.close = weakref.finalize(self, placed.close)

    @property
    def examples(self) -> int:
        """Examples of the passes gathered; for "empirical" of those whose backward pass was run."""
        return sum(one.examples for one in self._complete_passes())

    def scores(self, name: str) -> Iterator[LayerScores]:
        """A layer's scores, pass by pass; without those in which it did not run."""
        examples = self.examples
        for one in self._complete_passes():
            capture = one.captures.get(name)
            if capture is None:
                continue
            incoming = capture.activations().to(working_dtype(capture.layer.weight.dtype))
            choices = self._choices
            if choices.deltas and choices.kind == "empirical":
                deltas = _deltas_of_gradients(capture, one.gradients.get(name, {}), examples).to(incoming.dtype)
                deltas /= self.loss_scale
            else:
                units = capture.layer.weight.shape[0]
                deltas = one.deltas.get(name, incoming.new_empty(0, *incoming.shape[::2], units))
            yield LayerScores(
                incoming, deltas, True, choices.kind, choices.likelihood, choices.weight_sharing, one.masks[name]
            )

    @property
    def passes(self) -> int:
        """The number of passes gathered."""
        return len(self._complete_passes())

    def clear(self) -> None:
        """Forgets the scores that were gathered."""
        self._passes = []

    def forget(self) -> None:
        """Forgets the passes that were noted."""
        self.noted = []

    def _complete_passes(self) -> list[_Pass]:
        if self._choices.kind != "empirical" or not self._choices.deltas:
            return self._passes
        return [one for one in self._passes if any(one.gradients.values())]

    def axis_hooks(self, model: nn.Module) -> Iterator[RemovableHandle]:
        """Hooks that follow the axis of the classes to the outputs, as long as it is not known."""
        yield from self._axes.hooks(model)
        yield from layer_hooks(self._axes, dict(model.named_modules()))

    # ------------------------------------------------------------------------------------------- called by the hooks

    def start(self, model: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """Before a forward pass: from here on calls are noted, if the pass counts."""
        counts = model.training and torch.is_grad_enabled() and not is_captured(model)
        self._calls = {} if counts and self.due else None
        self._noting_calls.close()
        if self._calls is not None:  # hooks on every layer would take a tenth of a small network's forward pass
            self._noting_calls.enter_context(hooked(_hooks_of_calls(weakref.ref(self), self._layers)))
        self._circumstances = Circumstances.now(self._devices()) if counts and self.noting else None
        counts = self._calls is not None or self._circumstances is not None
        self._inputs = (arguments, keywords) if counts else ((), {})
        self._axes.enabled = counts and not self._class_axis

    def _devices(self) -> set[torch.device]:
        return {torch.device("cpu"), *(parameter.device for parameter in self._parameters)}

    def note(self, name: str, incoming: Tensor, net: Tensor) -> Tensor | None:
        """One call of a layer: its net input if the call is noted, else None."""
        if self._calls is None or name in self.refused or not self._layers[name].weight.requires_grad:
            return None
        incoming = incoming.detach()
        if incoming.is_floating_point() and not incoming.is_nested:
            incoming = incoming.to(net.dtype)  # as autocast does, too
        self._calls.setdefault(name, []).append((incoming, net))
        return net

    def finish(self, model: nn.Module, returned: Any) -> None:
        """After a forward pass: checks what the model returned and its layers' calls, and gathers their scores."""
        calls, self._calls = self._calls, None  # closed first: a checkpointed model calls its layers again from here
        self._noting_calls.close()
        circumstances, self._circumstances = self._circumstances, None
        inputs, self._inputs = self._inputs, ((), {})
        if not calls and circumstances is None:
            return
        layout = self._choices.layout
        found = layout.selected(returned)
        example_axis = layout.batch_axis if found.ndim > layout.batch_axis + 1 else 0
        place = self._place_of_classes(model, inputs, found, example_axis)
        outputs = _canonical(found, example_axis, place)
        given = inputs[1] or (inputs[0][0] if inputs[0] else None)
        masks = layout.masks(given)
        positions = [n for axis, n in enumerate(found.shape) if axis not in (example_axis, place % found.ndim)]
        counting = mask_of_positions(masks, tuple(positions) if found.ndim > 2 else ())
        if isinstance(counting, str):
            raise InputError(f"the model's output {counting}; give mask= (False: all of them count).")
        if circumstances is not None:
            before = outputs.detach()
            read = partial(_read, layout, example_axis, place)
            one = NotedPass(inputs[0], inputs[1], circumstances, before, before._version, read, counting)
            self.noted.append(one)
        if calls:
            with without_autocast(outputs.device):
                self._gather_calls(model, calls, outputs, masks, counting)
        if circumstances is not None and found.requires_grad:
            found.register_hook(self.noted[-1].reached)

    def _place_of_classes(
        self, model: nn.Module, inputs: tuple[tuple[Any, ...], dict[str, Any]], found: Tensor, example_axis: int
    ) -> int:
        """The axis of the outputs' classes, checked where it is not known yet."""
        layout, likelihood = self._choices.layout, self._choices.likelihood
        if found.ndim not in self._class_axis:
            place = layout.class_axis
            if place is None and (found.ndim < 2 or not likelihood.labels_are_classes):
                place = -1
            elif place is None:
                source = self._axes.source(found)
                place = axis_of_classes(found.shape, None, None if source is None else source.axis, example_axis)
            if found.ndim > 2:
                _check_examples(model, *inputs, found, layout, example_axis)
            refuse_probabilities(likelihood, found, canonical(found, example_axis, place) if found.ndim > 1 else found)
            self._class_axis[found.ndim] = place
            self._following.close()  # as long as the outputs keep their number of axes
        return self._class_axis[found.ndim]

    def _gather_calls(
        self,
        model: nn.Module,
        calls: dict[str, list[tuple[Tensor, Tensor]]],
        outputs: Tensor,
        masks: list[Tensor],
        counting: Tensor | None,
    ) -> None:
        self._choices.likelihood.check_outputs(outputs.detach())
        if self._choices.deltas and self._choices.kind == "exact":
            _refuse_batch_statistics(model)
        captures, of_layers = {}, {}
        for name, noted in calls.items():
            capture = Capture.of_calls(self._layers[name], noted)
            axes = tuple(
                _batch_axis(incoming, self._choices.layout.batch_axis, len(outputs)) for incoming in capture.incoming
            )
            capture = replace(capture, batch_axes=axes)
            why = _refusal_without_gradients(name, capture) or refusal_of_calls(
                name, capture, len(outputs), LOW_PRECISION
            )
            if why is None and name not in self._checked:
                why = _refusal_of_gradient(name, capture, outputs)
                self._checked.add(name)
            if why is None:
                known, refused = masks_of_layers({name: capture}, masks)
                of_layers |= known
                why = refused.get(name)
            if why is None:
                captures[name] = capture
            else:
                self.refused[name] = why
        self._gather(captures, of_layers, outputs, counting)

    def _gather(
        self,
        captures: dict[str, Capture],
        masks: dict[str, Tensor | None],
        outputs: Tensor,
        counting: Tensor | None,
    ) -> None:
        kept = {name: capture.without_nets() for name, capture in captures.items()}  # the graph is not kept
        one = _Pass(len(outputs), kept, masks)
        if self._choices.deltas and captures:
            if self._choices.kind == "empirical":
                _listen(captures, one)
            else:
                unsummed = self._choices.weight_sharing == "positionwise"
                columns = self._columns(outputs.detach().to(working_dtype(outputs.dtype)))
                if counting is not None:
                    weights = counting.to(outputs.device, outputs.dtype)[..., None]
                    columns = (column * weights for column in columns)
                columns = (column.to(outputs.dtype) for column in columns)
                one.deltas = _deltas(captures, outputs, columns, unsummed)
        self._passes.append(one)

    def _columns(self, outputs: Tensor) -> Iterator[Tensor]:
        likelihood, samples = self._choices.likelihood, self._choices.samples
        if self._choices.kind == "exact":
            return likelihood.score_factors(outputs)
        return likelihood.drawn_scores(outputs, samples, self._generator)


def _first_hook(own: "weakref.ref[TrainingScores]", model: nn.Module) -> Iterator[RemovableHandle]:
    """The hooks know the gatherer weakly, so that it goes when its optimizer does."""

    def before(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if (gatherer := own()) is not None:
            gatherer.start(module, arguments, keywords)

    yield model.register_forward_pre_hook(before, with_kwargs=True)


def _hooks_of_calls(own: "weakref.ref[TrainingScores]", layers: dict[str, WeightLayer]) -> Iterator[RemovableHandle]:
    """Those on the layers, in place during passes whose scores are gathered."""

    def note(name: str, incoming: Tensor, output: Tensor) -> Tensor | None:
        gatherer = own()
        return None if gatherer is None else gatherer.note(name, incoming, output)

    for name, layer in layers.items():
        yield on_calls(layer, partial(note, name))


def _last_hook(own: "weakref.ref[TrainingScores]", model: nn.Module) -> Iterator[RemovableHandle]:
    """After those that follow axes, what they found is used."""

    def after(module: nn.Module, _arguments: tuple[Any, ...], returned: Any) -> None:
        if (gatherer := own()) is not None:
            gatherer.finish(module, returned)

    yield model.register_forward_hook(after)


def _canonical(found: Tensor, example_axis: int, place: int) -> Tensor:
    return canonical(found if found.ndim > 1 else found[:, None], example_axis, place)


def _read(layout: BatchLayout, example_axis: int, place: int, returned: Any) -> Tensor:
    return _canonical(layout.selected(returned), example_axis, place)


def _batch_axis(incoming: Tensor, axis: int, examples: int) -> int:
    """The layout's axis where it counts the examples and is not that of the units; else the first."""
    return axis if incoming.ndim > axis + 1 and incoming.shape[axis] == examples else 0


@torch.no_grad()
def _check_examples(
    model: nn.Module,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    outputs: Tensor,
    layout: BatchLayout,
    axis: int,
) -> None:
    """Raise InputError unless the last example gets the outputs alone that it gets within the batch, in eval mode."""
    examples = outputs.shape[axis]
    if examples < 2:
        return
    last = slice(examples - 1, examples)
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.random.fork_rng():
            whole = layout.selected(model(*arguments, **keywords))
            rows = [rows_of(argument, last, layout.batch_axis) for argument in arguments]
            alone = layout.selected(model(*rows, **rows_of(keywords, last, layout.batch_axis)))
    finally:
        for module, training in modes:
            module.training = training
    within, alone = whole.select(axis, examples - 1), alone.select(axis, 0)
    close = within.shape == alone.shape
    if not close or (within - alone).abs().max() > torch.finfo(whole.dtype).eps ** 0.5 * within.abs().max():
        raise InputError(
            f"the outputs of the last of {examples} examples change when it is run alone; examples along another axis "
            f"than {layout.batch_axis} need batch_axis=."
        )


def _refuse_batch_statistics(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, BATCH_NORM) and module.training:
            raise InputError(
                f"{type(module).__name__} {name!r} in training mode couples the examples of a batch, for which kind "
                "'exact' is not available; choose kind 'monte_carlo' or put that module into eval mode."
            )


def _refusal_without_gradients(name: str, capture: Capture) -> str | None:
    if all(net.requires_grad for net in capture.nets):
        return None
    return f"layer {name!r} runs without gradients (under no_grad, or reentrant checkpointing)."


def _refusal_of_gradient(name: str, capture: Capture, outputs: Tensor) -> str | None:
    """Whether the calls noted make up the weight's whole gradient, for one cotangent of the outputs."""
    weight = capture.layer.weight
    cotangent = torch.linspace(-1.0, 1.0, outputs.numel(), dtype=outputs.dtype, device=outputs.device)
    with refusing_reentrant_checkpoints():
        whole, *pulled = torch.autograd.grad(
            outputs,
            [weight, *capture.nets],
            cotangent.reshape(outputs.shape),
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
    deltas = torch.cat([capture.by_position(gradient, call) for call, gradient in enumerate(pulled)], dim=1)[None]
    dtype, low = working_dtype(weight.dtype), capture.nets[0].dtype in LOW_PRECISION
    scores = LayerScores(capture.activations().to(dtype), deltas.to(dtype), kind="empirical")
    summed = -len(outputs) * scores.gradient()[:, 1:].reshape(weight.shape)
    rounding = 4 * torch.finfo(capture.nets[0].dtype).eps if low else torch.finfo(weight.dtype).eps ** 0.5
    tolerance = rounding * scores.deltas.abs().sum() * scores.incoming.abs().max()
    if (whole - summed).abs().max() <= tolerance:
        return None
    return f"layer {name!r} has its weight used without the module being called, or in another module as well."


def _deltas(
    captures: dict[str, Capture], outputs: Tensor, columns: Iterator[Tensor], unsummed: bool
) -> dict[str, Float[Tensor, "columns examples positions units"]]:
    """All columns pulled back. Without a sum over positions they become one, √Σ_c delta_c², of the same F."""
    columns_of: dict[str, list[Tensor]] = {name: [] for name in captures}
    for pulled in pull_back(captures, outputs, columns):
        for name, parts in pulled.items():
            delta = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
            delta = delta.to(working_dtype(captures[name].layer.weight.dtype))
            if not (unsummed or delta.shape[1] == 1):
                columns_of[name].append(delta)
            elif columns_of[name]:
                columns_of[name][0].addcmul_(delta, delta)
            else:
                columns_of[name].append(delta.square())
    return {
        name: torch.stack(found).sqrt_() if unsummed or found[0].shape[1] == 1 else torch.stack(found)
        for name, found in columns_of.items()
    }


def _listen(captures: dict[str, Capture], one: _Pass) -> None:
    """Notes the gradients of the loop's own loss with respect to the calls' nets; several losses add up."""

    def hook(found: dict[int, Tensor], call: int) -> Any:
        def note(gradient: Tensor) -> None:
            found[call] = found[call] + gradient.detach() if call in found else gradient.detach()

        return note

    for name, capture in captures.items():
        found = one.gradients.setdefault(name, {})
        for call, net in enumerate(capture.nets):
            net.register_hook(hook(found, call))


def _deltas_of_gradients(
    capture: Capture, gradients: dict[int, Tensor], examples: int
) -> Float[Tensor, "one examples positions units"]:
    """delta = d ln p(target) / d net = −examples × the mean loss's gradient; 0 for a call that got none."""
    parts = []
    for call in range(len(capture.calls)):
        if call in gradients:
            parts.append(capture.by_position(gradients[call], call))
        else:
            one = capture.of_call(call).activations()
            parts.append(one.new_zeros(len(one), one.shape[2], capture.layer.weight.shape[0]))
    return -examples * torch.cat(parts, dim=1)[None]
