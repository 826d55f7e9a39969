"""Unit natural gradient as a torch optimizer, and the centring that does part of its work (sections F and B)."""

import warnings
from collections.abc import Callable
from typing import Any, Literal, cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from elutheory.errors import InputError
from elutheory.fisher.factors import add_scores_to, group_of_units
from elutheory.fisher.likelihoods import Likelihood, as_likelihood
from elutheory.fisher.outer_products import chunks_of_units, mirror
from elutheory.fisher.scores import Kind, LayerScores, WeightSharing
from elutheory.fisher.solves import cholesky_solution, solve_on_range, solve_positive_definite
from elutheory.fisher.training_scores import ScoreChoices, TrainingScores
from elutheory.fisher.unit_fisher_matrix import RANK_THRESHOLD
from elutheory.models.batch_layout import BatchLayout, Mask, Output
from elutheory.models.layers import KINDS_OF_LAYER, WeightLayer, check_observable, refusal_of_layer
from elutheory.numerics.arguments import check_damping, check_number, check_whole

MOSTLY = 0.5
"""Above this share of uncovered numbers the optimizer warns that it is plain SGD for the most part.

Below, the layers that a step is about are covered: embeddings and normalisations alone are what is left out. Guarded by
`test_a_model_that_is_mostly_uncovered_is_told_once`.
"""

_CHUNK_BYTES = 2**25  # of the matrices of as many units as are solved at a time


class UnitNaturalGradient(torch.optim.Optimizer):
    """Descent along the unit natural gradient (F + λI)⁻¹(g0, g) of every `Linear` and `Conv1d/2d/3d` (F1, B1).

    In an ordinary loop, without closure: `zero_grad()`, forward, `loss.backward()`, `step()`. The loss must be the mean
    over examples of −ln p(target | outputs) under `likelihood`; one κ times as large takes steps κ times as large, for
    kind "empirical" 1/κ times. Every forward pass in training mode with gradients enabled since the last step counts
    towards F, so gradients may be accumulated; passes in eval mode or under `no_grad` do not count.

    - `lr`: the step is −lr × direction; uncovered parameters take plain SGD steps with lr × `sgd_lr_ratio`. Each block
      is solved as if it moved alone, so the effects of units that move alike add up: lr of order 1/units is a start;
    - `max_kl`: all directions but the uncovered ones are shortened together, so that ½ lr² Σ dᵀ(F + λI)d, in nats an
      example the divergence that the step makes if no units move alike, is at most this; None: never;
    - `kind`, `likelihood`, `samples`, `weight_sharing`: as in `unit_fisher`. "exact" costs a backward pass per class
      at each update, "monte_carlo" (labels drawn from a generator seeded with `seed`) one per sample, "empirical" none;
    - `decay`: F ← decay F + (1 − decay) F_batch, started at 0 and divided by 1 − decayᵏ after k updates (Adam's rule);
    - `damping`: λ, or, `relative`, what λ is as a multiple of the unit's mean diagonal of F. A matrix that Cholesky
      finds singular is solved on its eigenvectors by the rule of `solve_positive_definite`; with damping 0 eigenvalues
      up to RANK_THRESHOLD (or coordinates × the rounding unit) × the largest are left out. A dead unit stays;
    - `momentum`: v ← momentum v + direction, and v is the direction taken;
    - `weight_decay`: decoupled, parameter ← (1 − lr weight_decay) parameter, for all parameters, before the step;
    - `update_interval`: F is updated at every so many steps, the first included. A lagging F is a poor guide early in
      training: with an interval above 1 take a smaller `max_kl`;
    - `centred`: no matrix, but the SGD step for incoming activations a − m with the bias re-expressed (B4):
      Δw = −lr (g − m g0), Δw0 = −lr g0 − m·Δw. m is the running mean under p (True or "p") or, for each unit, under
      q = delta² p (F2, "q"; by position where weights are shared). Then `damping` is not used;
    - `max_bytes`: a layer whose matrices need more memory than this is left uncovered;
    - `mask`, `batch_axis`, `class_axis`, `output`: which positions count (by default those of a keyword argument
      `attention_mask`), and where examples, classes and outputs are, as in `unit_fisher`. A key or a callable is given
      the model's keyword arguments, or its first argument where there are none.

    `uncovered`: parameter name → why it takes plain SGD (the first step warns if most do). Layers that share weights,
    are frozen, or use them without being called are found out at the first step. A frozen bias is left out of F, which
    then is that of the weights. Dropout's scores are those of the masks drawn. Batch normalisation in training mode
    couples examples: the score of an example is then the derivative of the whole batch's log-density, an approximation;
    kind "exact" refuses it.

    `state_dict` holds F, momentum, counters and the generator: loaded into a fresh optimizer of the same model it goes
    on with the same bits. `close()`, or leaving the optimizer as a context manager, removes its hooks; so does deleting
    it. One process only. Raises InputError for options out of range, and at `step` if no forward pass counted that
    should have.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float | int,
        likelihood: Likelihood | str = "categorical",
        kind: str = "monte_carlo",
        *,
        samples: int = 1,
        weight_sharing: str = "exact",
        decay: float | int = 0.95,
        damping: float | int = 1e-2,
        relative: bool = True,
        momentum: float | int = 0.0,
        weight_decay: float | int = 0.0,
        update_interval: int = 1,
        centred: str | bool = False,
        max_kl: float | int | None = 1e-3,
        sgd_lr_ratio: float | int = 1.0,
        max_bytes: int = 2**30,
        seed: int = 0,
        mask: Mask = None,
        batch_axis: int = 0,
        class_axis: int | None = None,
        output: Output = None,
    ) -> None:
        chosen = as_likelihood(likelihood)
        layout = BatchLayout(batch_axis, class_axis, output, mask)
        if isinstance(mask, Tensor):
            raise InputError("mask is a tensor; of an optimizer, name a key of the model's inputs, or give a callable.")
        check_number("lr", lr)
        check_number("decay", decay, below=1.0)
        check_number("momentum", momentum, below=1.0)
        check_number("weight_decay", weight_decay)
        check_number("sgd_lr_ratio", sgd_lr_ratio)
        if max_kl is not None:
            check_number("max_kl", max_kl)
        check_damping(float(damping))
        check_whole("samples", samples)
        check_whole("update_interval", update_interval)
        if kind not in get_args(Kind):
            raise InputError(f"kind {kind!r} is not available; 'exact', 'monte_carlo' and 'empirical' are.")
        if weight_sharing not in get_args(WeightSharing):
            raise InputError(f"weight_sharing {weight_sharing!r} is not available; 'exact' and 'positionwise' are.")
        if centred not in ("p", "q", True, False):
            raise InputError(f"centred is {centred!r}; False, 'p' (or True) and 'q' are available.")
        check_observable(model)
        self.centred: Literal["p", "q"] | None = "p" if centred is True else cast(Any, centred or None)
        self.kind, self.likelihood = kind, chosen
        self.relative, self.update_interval = relative, update_interval
        self.uncovered: dict[str, str] = {}
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._layers: dict[str, WeightLayer] = {}
        self._choose_layers(model, max_bytes)
        self._generator = torch.Generator().manual_seed(seed)
        self._complete = self._warned = False
        defaults = {
            "lr": lr,
            "sgd_lr_ratio": sgd_lr_ratio,
            "decay": decay,
            "damping": damping,
            "max_kl": max_kl,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "steps": 0,
        }
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not parameters:
            raise InputError("the model has no parameters to train; every one is frozen or there is none.")
        super().__init__(parameters, defaults)
        self._complete = True
        choices = ScoreChoices(
            cast(Kind, kind),
            chosen,
            samples,
            cast(WeightSharing, weight_sharing),
            deltas=self.centred != "p",
            layout=layout,
        )
        self._gatherer = TrainingScores(model, self._layers, choices, self._generator)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Not available after construction: raises InputError."""
        if self._complete:
            raise InputError("the parameters are those of the model; make a new optimizer after changing it.")
        super().add_param_group(param_group)

    def close(self) -> None:
        """Removes the hooks from the model; no step can follow that needs a new forward pass."""
        self._gatherer.close()

    def __enter__(self) -> "UnitNaturalGradient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step from the parameters' `.grad`; returns what `closure`, if given, returned."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        group = self.param_groups[0]
        if _processes() > 1:
            raise InputError("the optimizer runs in one process; its estimates would differ between several.")
        if group["steps"] % self.update_interval == 0:
            self._update(group["decay"])
        directions = self._directions(group["damping"])
        self._warn_of_uncovered(group["params"])
        moving = [parameter for parameter in group["params"] if parameter.grad is not None]
        share = self._share_of_step(moving, directions, group)
        for parameter in moving:
            direction = directions.get(id(parameter))
            if direction is None:
                self._move(parameter, parameter.grad, group, group["lr"] * group["sgd_lr_ratio"])
            else:
                self._move(parameter, direction if share is None else share * direction, group, group["lr"])
        group["steps"] += 1
        self._gatherer.due = group["steps"] % self.update_interval == 0
        return result

    def _warn_of_uncovered(self, parameters: list[Tensor]) -> None:
        """Once, if most of what is trained takes plain SGD steps."""
        if self._warned:
            return
        self._warned = True
        sizes = {self._names[id(parameter)]: parameter.numel() for parameter in parameters}
        uncovered = sum(size for name, size in sizes.items() if name in self.uncovered)
        share = uncovered / sum(sizes.values())
        if share > MOSTLY:
            largest = max((name for name in self.uncovered if name in sizes), key=lambda name: sizes[name])
            warnings.warn(
                f"{share:.0%} of the numbers that are trained take plain SGD steps, not those of the unit natural "
                f"gradient (see uncovered); the largest of them, {largest!r}: {self.uncovered[largest]}",
                UserWarning,
                stacklevel=4,
            )

    def state_dict(self) -> dict[str, Any]:
        """As torch's optimizers', with the running estimates, the counters and the generator's state."""
        state = super().state_dict()
        state["param_groups"][0]["generator"] = self._generator.get_state()
        state["param_groups"][0]["uncovered"] = dict(self.uncovered)
        state["param_groups"][0]["estimate"] = self._estimate
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Raises InputError for the state of another model or of another kind of estimate."""
        group = state_dict["param_groups"][0]
        if group.get("estimate") != self._estimate or len(group["params"]) != len(self.param_groups[0]["params"]):
            raise InputError(
                "the state is not that of a UnitNaturalGradient of the same model, kind, likelihood and centring."
            )
        for name, why in group["uncovered"].items():
            layer = name.rpartition(".")[0]
            if layer in self._layers:
                self._uncover(layer, why)
        super().load_state_dict(state_dict)
        group = self.param_groups[0]
        for key in ("estimate", "uncovered"):
            group.pop(key)
        self._generator.set_state(group.pop("generator").cpu())
        self._gatherer.clear()
        self._gatherer.due = group["steps"] % self.update_interval == 0

    @property
    def _estimate(self) -> str:
        return f"{self.kind}, {self.likelihood.name}, centred: {self.centred}"

    # ------------------------------------------------------------------------------------------------------- layers

    def _choose_layers(self, model: nn.Module, max_bytes: int) -> None:
        for name, module in model.named_modules():
            if not isinstance(module, KINDS_OF_LAYER):
                continue
            why = _refusal(model, name, module) or self._refusal_of_size(name, module, max_bytes)
            if why is None:
                self._layers[name] = module
            else:
                self._list(module, why)
        covered = {id(parameter) for layer in self._layers.values() for parameter in layer.parameters(recurse=False)}
        for path, module in model.named_modules():
            for key, parameter in module.named_parameters(recurse=False):
                name = self._names[id(parameter)]
                if id(parameter) not in covered and parameter.requires_grad:
                    described = f"{key} of a {type(module).__name__} ({path or 'the model itself'}), no layer's weight"
                    self.uncovered.setdefault(name, f"{described}: only Linear and Conv1d/2d/3d have unit blocks.")

    def _refusal_of_size(self, name: str, layer: WeightLayer, max_bytes: int) -> str | None:
        coordinates = layer.weight[0].numel() + 1
        needed = len(layer.weight) * coordinates**2 * layer.weight.element_size()
        if self.centred is not None:
            return None if _has_bias(layer) else f"layer {name!r} has no bias to train, which centring re-expresses."
        if needed > max_bytes:
            return f"layer {name!r} needs {needed:,} bytes for its matrices; max_bytes is {max_bytes:,}."
        return None

    def _list(self, layer: nn.Module, why: str) -> None:
        for parameter in layer.parameters(recurse=False):
            if parameter.requires_grad:
                self.uncovered[self._names[id(parameter)]] = why

    def _uncover(self, name: str, why: str) -> None:
        layer = self._layers.pop(name)
        self._list(layer, why)
        self._gatherer.refused.setdefault(name, why)
        for key in ("fisher", "mean", "delta_squares", "estimate_weight"):
            self.state[layer.weight].pop(key, None)

    # ---------------------------------------------------------------------------------------------------- estimates

    def _update(self, decay: float) -> None:
        gatherer = self._gatherer
        for name in [name for name in self._layers if name in gatherer.refused]:
            self._uncover(name, gatherer.refused[name])
        examples = gatherer.examples
        if not examples and self._layers:
            raise InputError(
                "no forward pass counted since the last step; run the model itself, in training mode with gradients "
                "enabled" + (", and its backward pass." if self.kind == "empirical" else ".")
            )
        for name, layer in self._layers.items():
            ran = False
            for scores in gatherer.scores(name):
                if not ran:
                    self._fade(layer, decay, scores)
                    ran = True
                self._add(layer, scores, (1 - decay) / examples)
        gatherer.clear()

    def _fade(self, layer: WeightLayer, decay: float, scores: LayerScores) -> None:
        state = self.state[layer.weight]
        if "estimate_weight" not in state:
            _, groups, _, fan_in = scores.incoming.shape
            units, new = scores.deltas.shape[-1], scores.incoming.new_zeros
            state["estimate_weight"] = 0.0
            if self.centred is None:
                state["fisher"] = new(units, fan_in + 1, fan_in + 1)
            elif self.centred == "p":
                state["mean"] = new(groups, fan_in)
            else:
                state["mean"], state["delta_squares"] = new(units, fan_in), new(units)
        state["estimate_weight"] = decay * state["estimate_weight"] + (1 - decay)
        for key in ("fisher", "mean", "delta_squares"):
            if key in state:
                state[key].mul_(decay)

    def _add(self, layer: WeightLayer, scores: LayerScores, share: float) -> None:
        state = self.state[layer.weight]
        if self.centred is None:
            groups, fan_in = scores.incoming.shape[1::2]
            add_scores_to(state["fisher"], scores, scores.incoming.new_zeros(groups, fan_in), share)
        elif self.centred == "p":
            points = scores.points()
            state["mean"] += share * scores.examples / len(points) * points.sum(0)
        else:
            weights = scores.squared_deltas().unflatten(-1, (-1, scores.units_per_group))
            state["mean"] += share * torch.einsum("npgu,ngpi->gui", weights, scores.incoming).flatten(0, 1)
            state["delta_squares"] += share * weights.sum((0, 1)).flatten()

    # ------------------------------------------------------------------------------------------------------- steps

    def _directions(self, damping: float) -> dict[int, Tensor]:
        """Directions of the parameters covered, by identity. A device is waited for once, not for every layer."""
        directions: dict[int, Tensor] = {}
        failures: dict[str, list[Tensor]] = {}
        for name in list(self._layers):
            directions |= self._layer_directions(name, damping, failures.setdefault(name, []))
        flags = [torch.cat(of_layer).any() for of_layer in failures.values() if of_layer]
        failed = iter(torch.stack(flags).tolist() if flags else [])
        for name, of_layer in failures.items():
            if of_layer and next(failed):
                directions |= self._layer_directions(name, damping, None)
        return directions

    def _layer_directions(self, name: str, damping: float, failures: list[Tensor] | None) -> dict[int, Tensor]:
        """Directions of the layer's weight and bias by identity; none if it has no gradient. `failures`: see _solve."""
        layer = self._layers[name]
        weight, bias = layer.weight, layer.bias if _has_bias(layer) else None
        if weight.grad is None:
            return {}
        if "estimate_weight" not in self.state[weight]:
            self._uncover(name, f"layer {name!r} gets a gradient without its module being called.")
            return {}
        gradient = weight.grad.flatten(1)
        if bias is not None:
            bias_gradient = gradient.new_zeros(len(gradient)) if bias.grad is None else bias.grad
            gradient = torch.cat([bias_gradient[:, None], gradient], dim=1)
        direction = (
            self._solve(self.state[weight], gradient, damping, bias is not None, failures)
            if self.centred is None
            else self._centre(self.state[weight], gradient)
        )
        if bias is None:
            return {id(weight): direction.view_as(weight)}
        return {id(bias): direction[:, 0], id(weight): direction[:, 1:].reshape(weight.shape)}

    def _solve(
        self,
        state: dict[str, Any],
        gradient: Float[Tensor, "units coordinates"],
        damping: float,
        has_bias: bool,
        failures: list[Tensor] | None,
    ) -> Float[Tensor, "units coordinates"]:
        """(F + λI)⁻¹ gradient, 0 for dead units. Whose Cholesky factorisation broke down is added to `failures`; None:
        such units are solved by their eigendecompositions, for which a device is waited for."""
        fisher = state["fisher"]
        mirror(fisher)
        direction = torch.empty_like(gradient)
        threshold = max(RANK_THRESHOLD, gradient.shape[1] * torch.finfo(fisher.dtype).eps)
        for units in chunks_of_units(fisher, _CHUNK_BYTES):
            matrix = fisher[units] / state["estimate_weight"]
            matrix = matrix if has_bias else matrix[:, 1:, 1:]
            diagonal = matrix.diagonal(dim1=-2, dim2=-1).mean(1)
            alive = diagonal > 0
            if damping == 0.0:
                solved = solve_on_range(matrix, gradient[units], threshold)
            else:
                more = damping * (diagonal if self.relative else torch.ones_like(diagonal))
                matrix.diagonal(dim1=-2, dim2=-1).add_(torch.where(alive, more, 1.0)[:, None])
                if failures is None:
                    solved = solve_positive_definite(matrix, gradient[units])
                else:
                    solved, failed = cholesky_solution(matrix, gradient[units])
                    failures.append(failed)
            direction[units] = torch.where(alive[:, None], solved, 0.0)
        return direction

    def _centre(
        self, state: dict[str, Any], gradient: Float[Tensor, "units coordinates"]
    ) -> Float[Tensor, "units coordinates"]:
        """(g0 − m·d, d) with d = g − m g0."""
        if self.centred == "p":
            of_groups = state["mean"] / state["estimate_weight"]
            mean = of_groups[group_of_units(len(gradient), len(of_groups), gradient.device)]
        else:
            squares = state["delta_squares"][:, None]
            mean = torch.where(squares > 0, state["mean"] / squares, 0.0)
        weights = gradient[:, 1:] - mean * gradient[:, :1]
        return torch.cat([gradient[:, :1] - (mean * weights).sum(1, keepdim=True), weights], dim=1)

    def _share_of_step(
        self, moving: list[Tensor], directions: dict[int, Tensor], group: dict[str, Any]
    ) -> Tensor | None:
        """What the directions are multiplied with for the sake of `max_kl`; None: nothing."""
        if group["max_kl"] is None or self.centred is not None or not directions:
            return None
        products = [
            (cast(Tensor, parameter.grad) * directions[id(parameter)]).sum()
            for parameter in moving
            if id(parameter) in directions
        ]
        divergence = 0.5 * group["lr"] ** 2 * torch.stack(products).sum()
        return (group["max_kl"] / divergence).sqrt().clamp(max=1.0)

    def _move(self, parameter: Tensor, direction: Tensor, group: dict[str, Any], rate: float) -> None:
        if group["weight_decay"]:
            parameter.mul_(1 - rate * group["weight_decay"])
        if group["momentum"]:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            direction = state["momentum_buffer"].mul_(group["momentum"]).add_(direction)
        parameter.add_(direction, alpha=-rate)


def _processes() -> int:
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _refusal(model: nn.Module, name: str, layer: WeightLayer) -> str | None:
    if not layer.weight.requires_grad:
        return f"layer {name!r} has a frozen weight."
    return refusal_of_layer(model, name, layer)


def _has_bias(layer: WeightLayer) -> bool:
    return layer.bias is not None and layer.bias.requires_grad
