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
from elutheory.fisher.scores import Kind, LayerScores, WeightSharing, outputs_of, pull_back, refusal_of_calls
from elutheory.models.captures import Capture, is_captured
from elutheory.models.hooks import hooked, on_calls
from elutheory.models.layers import BATCH_NORM, WeightLayer


@dataclass(frozen=True)
class ScoreChoices:
    """Which scores are gathered; see `LayerScores`. `deltas` False: the incoming activations alone."""

    kind: Kind
    likelihood: Likelihood
    samples: int
    weight_sharing: WeightSharing
    deltas: bool = True


@dataclass(eq=False)
class _Pass:
    """One forward pass: `gradients` of the training loss by call, for kind "empirical", and else `deltas`."""

    examples: int
    captures: dict[str, Capture]
    deltas: dict[str, Float[Tensor, "columns examples positions units"]] = field(default_factory=dict)
    gradients: dict[str, dict[int, Tensor]] = field(default_factory=dict)


class TrainingScores:
    """Gathers the scores of `layers` in every forward pass of `model` in training mode with gradients enabled.

    Kinds "exact" and "monte_carlo" pull their columns back through the pass's graph as soon as the model returns; it
    is left whole for the loop's own backward pass. "empirical" listens to that backward pass instead. What was gathered
    is kept, in the size of the activations, until `clear`.

    - `due`: whether passes are gathered;
    - `refused`: layers whose scores turned out not to be available, with the reason; they are gathered no more.
    """

    def __init__(
        self, model: nn.Module, layers: dict[str, WeightLayer], choices: ScoreChoices, generator: torch.Generator
    ) -> None:
        self.due = True
        self.refused: dict[str, str] = {}
        self._layers = dict(layers)
        self._choices = choices
        self._generator = generator
        self._checked: set[str] = set()
        self._calls: dict[str, list[tuple[Tensor, Tensor]]] | None = None
        self._passes: list[_Pass] = []
        placed = ExitStack()
        placed.enter_context(hooked(_hooks(weakref.ref(self), model, layers)))
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
            incoming = capture.activations()
            choices = self._choices
            if choices.deltas and choices.kind == "empirical":
                deltas = _deltas_of_gradients(capture, one.gradients.get(name, {}), examples)
            else:
                units = capture.layer.weight.shape[0]
                deltas = one.deltas.get(name, incoming.new_empty(0, *incoming.shape[::2], units))
            yield LayerScores(incoming, deltas, True, choices.kind, choices.likelihood, choices.weight_sharing)

    def clear(self) -> None:
        """Forgets what was gathered."""
        self._passes = []

    def _complete_passes(self) -> list[_Pass]:
        if self._choices.kind != "empirical" or not self._choices.deltas:
            return self._passes
        return [one for one in self._passes if any(one.gradients.values())]

    # ------------------------------------------------------------------------------------------- called by the hooks

    def start(self, model: nn.Module) -> None:
        """Before a forward pass: from here on calls are noted, if the pass counts."""
        counts = self.due and model.training and torch.is_grad_enabled() and not is_captured(model)
        self._calls = {} if counts else None

    def note(self, name: str, incoming: Tensor, net: Tensor) -> Tensor | None:
        """One call of a layer: its net input if the call is noted, else None."""
        if self._calls is None or name in self.refused or not self._layers[name].weight.requires_grad:
            return None
        self._calls.setdefault(name, []).append((incoming.detach(), net))
        return net

    def finish(self, model: nn.Module, returned: Any) -> None:
        """After a forward pass: checks what the model returned and its layers' calls, and gathers their scores."""
        calls, self._calls = self._calls, None  # closed first: a checkpointed model calls its layers again from here
        if not calls:
            return
        outputs = outputs_of(returned)
        self._choices.likelihood.check_outputs(outputs.detach())
        if self._choices.deltas and self._choices.kind == "exact":
            _refuse_batch_statistics(model)
        captures = {}
        for name, noted in calls.items():
            capture = Capture.of_calls(self._layers[name], noted)
            why = _refusal_without_gradients(name, capture) or refusal_of_calls(name, capture, len(outputs))
            if why is None and name not in self._checked:
                why = _refusal_of_gradient(name, capture, outputs)
                self._checked.add(name)
            if why is None:
                captures[name] = capture
            else:
                self.refused[name] = why
        self._gather(captures, outputs)

    def _gather(self, captures: dict[str, Capture], outputs: Tensor) -> None:
        kept = {name: replace(capture, nets=()) for name, capture in captures.items()}  # the graph is not kept
        one = _Pass(len(outputs), kept)
        if self._choices.deltas and captures:
            if self._choices.kind == "empirical":
                _listen(captures, one)
            else:
                unsummed = self._choices.weight_sharing == "positionwise"
                one.deltas = _deltas(captures, outputs, self._columns(outputs.detach()), unsummed)
        self._passes.append(one)

    def _columns(self, outputs: Tensor) -> Iterator[Tensor]:
        likelihood, samples = self._choices.likelihood, self._choices.samples
        if self._choices.kind == "exact":
            return likelihood.score_factors(outputs)
        return likelihood.drawn_scores(outputs, samples, self._generator)


def _hooks(
    own: "weakref.ref[TrainingScores]", model: nn.Module, layers: dict[str, WeightLayer]
) -> Iterator[RemovableHandle]:
    """The hooks know the gatherer weakly, so that it goes when its optimizer does."""

    def before(module: nn.Module, _arguments: tuple[Any, ...]) -> None:
        if (gatherer := own()) is not None:
            gatherer.start(module)

    def after(module: nn.Module, _arguments: tuple[Any, ...], returned: Any) -> None:
        if (gatherer := own()) is not None:
            gatherer.finish(module, returned)

    def note(name: str, incoming: Tensor, output: Tensor) -> Tensor | None:
        gatherer = own()
        return None if gatherer is None else gatherer.note(name, incoming, output)

    for name, layer in layers.items():
        yield on_calls(layer, partial(note, name))
    yield model.register_forward_pre_hook(before)
    yield model.register_forward_hook(after)


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
    whole, *pulled = torch.autograd.grad(
        outputs,
        [weight, *capture.nets],
        cotangent.reshape(outputs.shape),
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )
    deltas = torch.cat([capture.by_position(gradient) for gradient in pulled], dim=1)[None]
    scores = LayerScores(capture.activations(), deltas, kind="empirical")
    summed = -len(outputs) * scores.gradient()[:, 1:].reshape(weight.shape)
    tolerance = torch.finfo(weight.dtype).eps ** 0.5 * deltas.abs().sum() * scores.incoming.abs().max()
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
            delta = torch.cat(parts, dim=1)
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
    for call, incoming in enumerate(capture.incoming):
        if call in gradients:
            parts.append(capture.by_position(gradients[call]))
        else:
            one = replace(capture, incoming=(incoming,)).activations()
            parts.append(one.new_zeros(len(one), one.shape[2], capture.layer.weight.shape[0]))
    return -examples * torch.cat(parts, dim=1)[None]
