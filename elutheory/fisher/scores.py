"""Per-example activations and score factors of a torch model's layers: what unit Fisher matrices are made of."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from elutheory.errors import InputError
from elutheory.fisher.likelihoods import Likelihood, as_likelihood
from elutheory.models.captures import Capture, capturing
from elutheory.models.data import check_inputs, rows_of, run_on
from elutheory.models.layers import (
    WeightLayer,
    check_model,
    find_layer,
    layer_names,
    own_parameters,
    refusal_of_layer,
)
from elutheory.numerics.arguments import check_whole

Kind = Literal["exact", "monte_carlo", "empirical"]
WeightSharing = Literal["exact", "positionwise"]


@dataclass(frozen=True, eq=False)
class LayerScores:
    """What a layer's unit Fisher matrices over one batch are made of (section F, arXiv 1511.07289).

    With s[c, n, u] = Σ_position deltas[c, n, position, u] · (1, incoming[n, group of u, position]) the Fisher matrix of
    unit u is F_u = Σ_{c, n} s sᵀ / examples (`weight_sharing` "exact"); "positionwise" leaves out the sum in s and
    sums the outer products over positions instead. Without bias the coordinate 1 is left out.

    - `incoming` (examples, groups, positions, fan_in): activations a of the layer below. A `Linear` has one group and
      as many positions as its input has entries along its middle axes; a convolution one position per patch, fan_in in
      the order of `weight.flatten(1)`; a layer called several times has the positions of all calls, call after call;
    - `deltas` (columns, examples, positions, units): the columns v_c of a factor of the likelihood's Fisher
      information, pulled back to the layer's net input: v_cᵀ d outputs / d net. `kind` "exact": E_y[score scoreᵀ] =
      Σ_c v_c v_cᵀ over the model's own labels; "monte_carlo": k sampled scores, each over √k; "empirical": one column,
      the score at the targets, which does not make a Fisher matrix;
    - `has_bias`: whether the layer has biases. Unit u belongs to group u // (units / groups).
    """

    incoming: Float[Tensor, "examples groups positions fan_in"]
    deltas: Float[Tensor, "columns examples positions units"]
    has_bias: bool = True
    kind: Kind = "exact"
    likelihood: Likelihood | str = "categorical"
    weight_sharing: WeightSharing = "exact"

    @property
    def examples(self) -> int:
        """The number of examples."""
        return self.incoming.shape[0]

    @property
    def units_per_group(self) -> int:
        """Units u with the same incoming activations: units / groups."""
        return self.deltas.shape[-1] // self.incoming.shape[1]

    def squared_deltas(self) -> Float[Tensor, "examples positions units"]:
        """Σ_c delta_c²; for kind "exact" E_y[delta²] over the model's own labels, analytically (F1)."""
        return self.deltas.square().sum(0)

    def gradient(self) -> Float[Tensor, "units coordinates"]:
        """Gradient of the mean negative log-density −E_p[ln p(target | x)], per unit; the bias coordinate first.

        Raises InputError unless `kind` is "empirical".
        """
        if self.kind != "empirical":
            raise InputError(f"scores of kind {self.kind!r} have no targets; kind 'empirical' has the loss's gradient.")
        deltas = self.deltas.unflatten(-1, (self.incoming.shape[1], self.units_per_group))
        weights = -torch.einsum("cnpgu,ngpi->gui", deltas, self.incoming).flatten(0, 1) / self.examples
        if not self.has_bias:
            return weights
        return torch.cat([-self.deltas.sum((0, 1, 2))[:, None] / self.examples, weights], dim=1)

    def project(self, basis: Float[Tensor, "fan_in rank"]) -> "LayerScores":
        """These scores with the incoming activations in the coordinates `incoming @ basis` (orthonormal columns)."""
        return replace(self, incoming=self.incoming @ basis)

    def unit(self, index: int) -> "LayerScores":
        """The scores of one unit alone: `deltas` (columns, examples, positions, 1), its own group's activations."""
        group = index // self.units_per_group
        return replace(self, incoming=self.incoming[:, group, None], deltas=self.deltas[..., index, None])


@dataclass(frozen=True, eq=False)
class ModelScores:
    """Scores of several layers from one forward pass.

    - `layers`: scores by layer name; `refused`: for every other layer asked for, the reason in one sentence;
    - `outputs` (examples, ...): what the model returned.
    """

    layers: dict[str, LayerScores]
    refused: dict[str, str]
    outputs: Float[Tensor, "examples *positions classes"]


def layer_scores(
    model: nn.Module,
    inputs: Tensor | Mapping[str, Any],
    layer: str,
    kind: str = "exact",
    likelihood: Likelihood | str = "categorical",
    *,
    targets: Tensor | None = None,
    samples: int = 1,
    generator: torch.Generator | None = None,
    weight_sharing: str = "exact",
) -> LayerScores:
    """Scores of the `Linear` or `Conv1d/2d/3d` layer named `layer`, over one batch; see `model_scores`.

    Raises InputError for whatever `model_scores` refuses, and for the layer's own refusal.
    """
    scores = model_scores(
        model,
        inputs,
        [layer],
        kind,
        likelihood,
        targets=targets,
        samples=samples,
        generator=generator,
        weight_sharing=weight_sharing,
    )
    if layer in scores.refused:
        raise InputError(scores.refused[layer])
    return scores.layers[layer]


def model_scores(
    model: nn.Module,
    inputs: Tensor | Mapping[str, Any],
    layers: Sequence[str] | None = None,
    kind: str = "exact",
    likelihood: Likelihood | str = "categorical",
    *,
    targets: Tensor | None = None,
    samples: int = 1,
    generator: torch.Generator | None = None,
    weight_sharing: str = "exact",
) -> ModelScores:
    """Scores of several layers (default: every `Linear` and `Conv1d/2d/3d`), over one batch and one forward pass.

    - `inputs`: a tensor (examples, ...), or a mapping of them, passed as `model(**inputs)`. The model returns outputs
      (examples, classes) or (examples, positions, classes), or an object with such `logits`;
    - `kind`: see `LayerScores`; `targets` for "empirical" (otherwise not looked at), `samples` and `generator` for
      "monte_carlo";
    - `likelihood`: "categorical", "bernoulli", or a likelihood object such as `Gaussian(variance)`.

    One backward pass per column. Everything keeps the model's dtype and device; no parameter's `.grad` is touched,
    `requires_grad` is as before, frozen parameters included. Every example must be computed by itself: the model may
    draw no random numbers, and the first example is run alone and must get the outputs it gets within the batch.
    Layers refused (`ModelScores.refused`): never executed, weights used without calling the module or tied to another
    module's, parametrised, a forward pass of their own, examples not on the first axis, dtypes other than float32 and
    float64, no influence on the outputs. Raises InputError for everything else that is wrong with the model, the
    inputs, the outputs or the targets, and if no layer is left to run the model for.
    """
    chosen = as_likelihood(likelihood)
    _check_choices(kind, weight_sharing, targets, samples)
    names = layer_names(model) if layers is None else list(dict.fromkeys(layers))
    modules = {name: find_layer(model, name) for name in names}
    check_model(model)
    refused = {name: why for name, module in modules.items() if (why := refusal_of_layer(model, name, module))}
    open_to_capture = {name: cast(WeightLayer, module) for name, module in modules.items() if name not in refused}
    if not open_to_capture:
        raise InputError(next(iter(refused.values()), "the model has no Linear or convolution layers."))
    examples = _check_inputs(inputs, open_to_capture)

    with torch.inference_mode(False), torch.enable_grad(), capturing(model, open_to_capture) as recorder:
        inputs = _outside_inference_mode(inputs)
        state = _random_state(inputs)
        outputs, captures = recorder.record(lambda: _outputs(model, inputs))
        if not torch.equal(state, _random_state(inputs)):
            raise InputError(f"{_COUPLED}; the model draws random numbers in its forward pass, so call model.eval().")
        chosen.check_outputs(outputs)
        if len(outputs) != examples:
            raise InputError(f"the model returned {len(outputs)} rows of outputs for {examples} examples.")
        alone, captures_alone = recorder.record(lambda: _outputs_alone(model, inputs))
        _check_independent_examples(outputs, alone)
        refused |= _refused_calls(captures_alone, 1) | _refused_calls(captures, examples)
        refused |= _refused_flow(captures_alone, alone)
        captures = {name: capture for name, capture in captures.items() if name not in refused}
        columns = _columns(chosen, outputs.detach(), kind, targets, samples, generator)
        deltas = _deltas(captures, outputs, columns)
    scores = {
        name: LayerScores(
            capture.activations(),
            deltas[name],
            capture.layer.bias is not None,
            cast(Kind, kind),
            chosen,
            cast(WeightSharing, weight_sharing),
        )
        for name, capture in captures.items()
    }
    return ModelScores(scores, {name: refused[name] for name in names if name in refused}, outputs.detach())


def _check_choices(kind: str, weight_sharing: str, targets: Tensor | None, samples: int) -> None:
    if kind not in get_args(Kind):
        raise InputError(f"kind {kind!r} is not available; 'exact', 'monte_carlo' and 'empirical' are.")
    if weight_sharing not in get_args(WeightSharing):
        raise InputError(f"weight_sharing {weight_sharing!r} is not available; 'exact' and 'positionwise' are.")
    if kind == "empirical" and targets is None:
        raise InputError("kind 'empirical' takes the scores at the data's labels; give targets.")
    check_whole("samples", samples)


def _check_inputs(inputs: Tensor | Mapping[str, Any], layers: Mapping[str, nn.Module]) -> int:
    """The number of examples. Raises InputError for inputs that a layer of such weights cannot be studied on."""
    check_inputs(inputs)
    if isinstance(inputs, Mapping):
        tensors = {f"inputs[{key!r}]": value for key, value in inputs.items() if isinstance(value, Tensor)}
    else:
        tensors = {"inputs": inputs}
    dtypes = {cast(Tensor, layer.weight).dtype for layer in layers.values()}
    for name, tensor in tensors.items():
        if tensor.ndim == 0 or tensor.numel() == 0:
            raise InputError(f"{name} have shape {tuple(tensor.shape)}; at least one example is needed.")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"{name} contain NaN or infinity; every number must be finite.")
        if tensor.is_floating_point() and dtypes and tensor.dtype not in dtypes:
            weights = " and ".join(sorted(map(str, dtypes)))
            raise InputError(f"{name} are {tensor.dtype} but the layers' weights {weights}; convert one of them.")
    lengths = {len(tensor) for tensor in tensors.values()}
    if len(lengths) != 1:
        raise InputError(
            f"inputs have {sorted(lengths)} examples; tensors with the same number of examples are needed."
        )
    return lengths.pop()


def _outside_inference_mode(inputs: Tensor | Mapping[str, Any]) -> Tensor | Mapping[str, Any]:
    """The inputs, copied where they were made in inference mode: gradients cannot pass what saves such tensors."""

    def usable(value: Any) -> Any:
        return value.clone() if isinstance(value, Tensor) and value.is_inference() else value

    return {key: usable(value) for key, value in inputs.items()} if isinstance(inputs, Mapping) else usable(inputs)


def _random_state(inputs: Tensor | Mapping[str, Any]) -> Tensor:
    """The state of torch's random numbers on the inputs' device."""
    tensors = inputs.values() if isinstance(inputs, Mapping) else [inputs]
    device = next(tensor.device for tensor in tensors if isinstance(tensor, Tensor))
    if device.type == "cpu":
        return torch.random.get_rng_state()
    return torch.get_device_module(device).get_rng_state(device)


def _outputs(model: nn.Module, inputs: Tensor | Mapping[str, Any]) -> Tensor:
    return outputs_of(run_on(model, inputs))


def outputs_of(returned: Any) -> Tensor:
    """The tensor of outputs in what a model returned: that itself, or its `logits`. Raises InputError for all else."""
    outputs = returned if isinstance(returned, Tensor) else getattr(returned, "logits", None)
    if not isinstance(outputs, Tensor):
        kind = type(returned).__name__
        raise InputError(f"the model returned a {kind}; a tensor of outputs, or an object with such logits, is needed.")
    return outputs


def _outputs_alone(model: nn.Module, inputs: Tensor | Mapping[str, Any]) -> Tensor:
    """The first example's outputs without the rest of the batch."""
    try:
        return _outputs(model, rows_of(inputs, slice(1)))
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{_COUPLED}; run on the first one alone the model fails: {error}") from error


_COUPLED = "every example must be computed by itself, not randomly and not depending on its batch"


def _check_independent_examples(outputs: Tensor, alone: Tensor) -> None:
    """Raise InputError unless the first example alone gets the outputs it gets within the batch, up to rounding."""
    if alone.shape[1:] != outputs.shape[1:] or len(alone) != 1:
        raise InputError(
            f"{_COUPLED}; the model's outputs have shape {tuple(outputs.shape)} for the batch and "
            f"{tuple(alone.shape)} for its first example alone."
        )
    difference, scale = torch.stack([(outputs[0] - alone[0]).abs().max(), outputs[0].abs().max()]).tolist()
    if not difference <= torch.finfo(outputs.dtype).eps ** 0.5 * scale:
        raise InputError(
            f"{_COUPLED}; the first example's outputs, of size {scale:.3g}, change by {difference:.3g} when it is run "
            "alone (dropout, batch statistics, attention across the batch, or a batch axis that is not the first)."
        )


def refusal_of_calls(name: str, capture: Capture, examples: int) -> str | None:
    """Why a layer's calls have no scores: examples not on the first axis, or not the weights' dtype; else None."""
    linear = isinstance(capture.layer, nn.Linear)
    axes = 2 if linear else capture.layer.weight.ndim
    for incoming, net in zip(capture.incoming, capture.nets, strict=True):
        if incoming.is_nested or incoming.layout != torch.strided:
            return f"layer {name!r} receives a nested or sparse tensor; a dense one is needed."
        if len(incoming) != examples or (incoming.ndim < axes if linear else incoming.ndim != axes):
            return (
                f"layer {name!r} receives activations of shape {tuple(incoming.shape)} for {examples} example"
                f"{'s' * (examples > 1)}; the examples must be the first of {axes}{' or more' * linear} axes."
            )
        if net.dtype != capture.layer.weight.dtype:
            return (
                f"layer {name!r} has weights of {capture.layer.weight.dtype} but returned {net.dtype}; leave the "
                "autocast context."
            )
    return None


def _refused_calls(captures: Mapping[str, Capture], examples: int) -> dict[str, str]:
    """Layers that were never executed, and those of `refusal_of_calls`."""
    refused = {}
    for name, capture in captures.items():
        if not capture.nets:
            refused[name] = f"layer {name!r} is never executed in a forward pass; name a layer that is."
        elif (why := refusal_of_calls(name, capture, examples)) is not None:
            refused[name] = why
    return refused


def _refused_flow(captures: Mapping[str, Capture], outputs: Tensor) -> dict[str, str]:
    """Layers that ran without influence on the outputs, or whose weights act on them by another way than a call."""
    own = {name: own_parameters(capture.layer) for name, capture in captures.items()}
    sources = [source for name, capture in captures.items() for source in (*own[name].values(), *capture.nets)]
    gradients: Sequence[Tensor | None] = (
        torch.autograd.grad(outputs.sum(), sources, retain_graph=True, allow_unused=True)
        if outputs.requires_grad
        else [None] * len(sources)
    )
    reached = iter(gradient is not None for gradient in gradients)
    refused = {}
    for name, capture in captures.items():
        hidden = [key for key in list(own[name]) if next(reached)]
        influences = [next(reached) for _ in capture.nets]
        if hidden:
            refused[name] = (
                f"layer {name!r} has its {' and '.join(hidden)} used without the module being called, as "
                "nn.MultiheadAttention does with its out_proj; such scores are not available."
            )
        elif capture.nets and not any(influences):
            refused[name] = (
                f"the outputs do not depend on layer {name!r} (it has no influence, or runs under no_grad or detach); "
                "name a layer they depend on."
            )
    return refused


def _columns(
    likelihood: Likelihood,
    outputs: Tensor,
    kind: str,
    targets: Tensor | None,
    samples: int,
    generator: torch.Generator | None,
) -> tuple[int, Iterator[Tensor]]:
    """The number of columns in output space, and the columns, each of the outputs' shape."""
    if kind == "exact":
        return outputs[0].numel(), likelihood.score_factors(outputs)
    if kind == "monte_carlo":
        return samples, likelihood.drawn_scores(outputs, samples, generator)
    return 1, iter([likelihood.score(outputs, cast(Tensor, targets))])


def pull_back(
    captures: Mapping[str, Capture], outputs: Tensor, columns: Iterable[Tensor], count: int | None = None
) -> Iterator[dict[str, list[Float[Tensor, "examples positions units"]]]]:
    """One backward pass per column: vᵀ d outputs / d net for every call of every layer.

    The graph goes with the last of `count` columns; None: it stays, for a backward pass that follows.
    """
    nets = [net for capture in captures.values() for net in capture.nets]
    for number, column in enumerate(columns, start=1):
        keep = count is None or number < count
        pulled = iter(
            torch.autograd.grad(outputs, nets, column, retain_graph=keep, allow_unused=True, materialize_grads=True)
        )
        yield {name: [capture.by_position(next(pulled)) for _ in capture.nets] for name, capture in captures.items()}


def _deltas(
    captures: Mapping[str, Capture], outputs: Tensor, columns: tuple[int, Iterator[Tensor]]
) -> dict[str, Float[Tensor, "columns examples positions units"]]:
    """All columns pulled back, every layer's in one tensor."""
    if not captures:
        return {}
    count, cotangents = columns
    deltas: dict[str, Tensor] = {}
    for name, capture in captures.items():
        shapes = [capture.by_position(net).shape for net in capture.nets]
        positions = sum(shape[1] for shape in shapes)
        deltas[name] = capture.nets[0].new_empty(count, len(outputs), positions, shapes[0][2])
    for column, pulled in enumerate(pull_back(captures, outputs, cotangents, count)):
        for name, parts in pulled.items():
            torch.cat(parts, dim=1, out=deltas[name][column])
    return deltas
