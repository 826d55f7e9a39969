"""A torch layer's per-example incoming activations and deltas, by plain autograd."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from elutheory.errors import InputError

_RANDOM_OR_BATCH_DEPENDENT = (
    nn.modules.dropout._DropoutNd,
    nn.modules.batchnorm._BatchNorm,
    nn.RReLU,
)


@dataclass(frozen=True, eq=False)
class LayerScores:
    """What the score of every weight of a fully connected layer is made of, under a categorical likelihood.

    The score of unit u's weights for input x and label y is `deltas[x, y, u] · incoming[x]`, that of its bias
    `deltas[x, y, u]` (section F, arXiv 1511.07289).

    - `incoming` (inputs, fan_in): activations a of the layer below;
    - `deltas` (inputs, classes, units): d ln p(y | x) / d net, in nats per unit of net input;
    - `probabilities` (inputs, classes): p(y | x);
    - `has_bias`: whether the layer has biases.
    """

    incoming: Float[Tensor, "inputs fan_in"]
    deltas: Float[Tensor, "inputs classes units"]
    probabilities: Float[Tensor, "inputs classes"]
    has_bias: bool = True

    def squared_deltas(self) -> Float[Tensor, "inputs units"]:
        """E_y[delta²] over the model's own labels, analytically: sum_y p(y | x) delta_y² (F1, kind "exact")."""
        return torch.einsum("nyu,ny->nu", self.deltas.square(), self.probabilities)

    def gradient(self, labels: Int[Tensor, " inputs"]) -> Float[Tensor, "units coordinates"]:
        """Gradient of the mean cross-entropy −E_p[ln p(label | x)], per unit; the bias coordinate first (index 0).

        `labels`: integers in [0, classes). Raises InputError for labels outside.
        """
        classes = self.probabilities.shape[1]
        if labels.min() < 0 or labels.max() >= classes:
            raise InputError(f"labels run from {labels.min()} to {labels.max()}; they must lie in 0 to {classes - 1}.")
        deltas = self.deltas[torch.arange(len(labels), device=labels.device), labels]
        weights = -deltas.T @ self.incoming / len(labels)
        return torch.cat([-deltas.mean(0)[:, None], weights], dim=1) if self.has_bias else weights

    def project(self, basis: Float[Tensor, "fan_in rank"]) -> "LayerScores":
        """The same scores with the incoming activations in the coordinates `incoming @ basis` (orthonormal columns)."""
        return LayerScores(self.incoming @ basis, self.deltas, self.probabilities, self.has_bias)

    def unit(self, index: int) -> "LayerScores":
        """The scores of one unit alone: `deltas` (inputs, classes, 1)."""
        return LayerScores(self.incoming, self.deltas[:, :, index, None], self.probabilities, self.has_bias)


def layer_scores(model: nn.Module, inputs: Tensor, layer: str) -> LayerScores:
    """Scores of the fully connected layer named `layer`, for logits `model(inputs)` of a categorical likelihood.

    `inputs` (inputs, ...): floating point; examples must not influence one another. Everything keeps the model's dtype
    and device; no parameter's `.grad` or `requires_grad` is touched. Raises InputError if `layer` is not a
    `torch.nn.Linear` that runs exactly once on (inputs, fan_in), if the model is in training mode with dropout or batch
    normalisation, for inputs that are empty, not floating-point or not finite, and for logits that are not finite or
    not (inputs, classes).
    """
    linear = _find_linear(model, layer)
    _check_deterministic(model)
    _check_inputs(inputs)
    calls: list[tuple[Tensor, Tensor]] = []

    def record(_module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        net = output.detach().requires_grad_()
        calls.append((arguments[0].detach(), net))
        return net.clone()  # a copy, so that an in-place activation function may follow

    with torch.inference_mode(False), torch.enable_grad(), linear.register_forward_hook(record):
        logits = model(inputs)
        if len(calls) != 1:
            raise InputError(f"layer {layer!r} ran {len(calls)} times in one forward pass; it must run exactly once.")
        incoming, net = calls[0]
        if incoming.ndim != 2 or len(incoming) != len(inputs):
            raise InputError(
                f"layer {layer!r} receives activations of shape {tuple(incoming.shape)}; "
                f"one row an example is needed: ({len(inputs)}, {linear.in_features})."
            )
        _check_logits(logits, len(inputs))
        log_probabilities = logits.log_softmax(dim=1)
        if not _depends_on(logits, net):
            raise InputError(f"the logits do not depend on layer {layer!r}; name a layer they depend on.")
        deltas = [
            torch.autograd.grad(log_probability.sum(), net, retain_graph=True)[0]
            for log_probability in log_probabilities.unbind(dim=1)
        ]
    probabilities = log_probabilities.detach().exp()
    return LayerScores(incoming, torch.stack(deltas, dim=1), probabilities, linear.bias is not None)


def _find_linear(model: nn.Module, layer: str) -> nn.Linear:
    modules = dict(model.named_modules())
    names = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    allowed = f"the fully connected layers are {', '.join(map(repr, names)) or 'none'}"
    if layer not in modules:
        raise InputError(f"the model has no layer {layer!r}; {allowed}.")
    module = modules[layer]
    if not isinstance(module, nn.Linear):
        raise InputError(f"layer {layer!r} is a {type(module).__name__}, not a torch.nn.Linear; {allowed}.")
    return module


def _check_deterministic(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if module.training and isinstance(module, _RANDOM_OR_BATCH_DEPENDENT):
            raise InputError(
                f"{type(module).__name__} {name!r} is in training mode, where the output for an example is random or "
                "depends on its batch; call model.eval() first."
            )


def _check_inputs(inputs: Tensor) -> None:
    if inputs.ndim < 2 or inputs.numel() == 0:
        raise InputError(f"inputs have shape {tuple(inputs.shape)}; at least one row of at least one number is needed.")
    if not inputs.is_floating_point():
        raise InputError(f"inputs are {inputs.dtype}; a floating-point dtype is needed.")
    if not inputs.isfinite().all():
        raise InputError("inputs contain NaN or infinity; every number must be finite.")


def _check_logits(logits: Tensor, examples: int) -> None:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != examples or logits.shape[1] < 2:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"the model returned {found}; logits ({examples}, classes) of two or more classes are needed.")
    if not logits.isfinite().all():
        raise InputError("the model's logits contain NaN or infinity; its parameters must give finite ones.")


def _depends_on(logits: Tensor, net: Tensor) -> bool:
    if not logits.requires_grad:
        return False
    return torch.autograd.grad(logits.sum(), net, retain_graph=True, allow_unused=True)[0] is not None
