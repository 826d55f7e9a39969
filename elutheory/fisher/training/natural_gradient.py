"""Unit natural gradient as a torch optimizer, and the centring that does part of its work (sections F and B)."""

import warnings
from collections.abc import Callable
from typing import Any, Literal, cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from elutheory.errors import InputError
from elutheory.fisher.factors import group_of_units
from elutheory.fisher.likelihoods import Likelihood, as_likelihood
from elutheory.fisher.scores import Kind, LayerScores, WeightSharing
from elutheory.fisher.training.limited_step import Step, take_limited
from elutheory.fisher.training.low_precision import LOW_PRECISION, without_autocast, working_dtype
from elutheory.fisher.training.running_fisher import (
    RUNNING_KEYS,
    Damping,
    InverseFisher,
    RunningFisher,
    make_room,
    running_fisher,
)
from elutheory.fisher.training.step_divergence import divergence_of_step
from elutheory.fisher.training.training_scores import ScoreChoices, TrainingScores
from elutheory.models.batch_layout import BatchLayout, Mask, Output
from elutheory.models.layers import KINDS_OF_LAYER, WeightLayer
from elutheory.models.refusals import check_observable, check_parameters, refusal_of_layer
from elutheory.numerics.arguments import check_damping, check_number, check_whole

UNTOLD = 0.2
"""Above this share of numbers that take plain SGD steps the optimizer warns of it.

Normalisations and position embeddings stay below it in networks as they are built; attention that uses its weights
without calling a layer (a third of a Transformer's) is above it. Guarded by
`test_a_model_that_is_partly_uncovered_is_told_once`.
"""

DEFAULT_ROW = 1 / 3
"""Squared length of a row of weights as torch draws them, uniform in ±1/√fan_in: the least that a layer's own scale is
taken for, so that layers that start at zero can move. Guarded by `test_no_layer_moves_by_more_than_its_own_scale`.
"""


class UnitNaturalGradient(torch.optim.Optimizer):
    """Descent along the unit natural gradient (F + λI)⁻¹(g0, g) of every `Linear` and `Conv1d/2d/3d` (F1, B1).

    In an ordinary loop, without closure: `zero_grad()`, forward, `loss.backward()`, `step()`. The loss must be the mean
    over examples of −ln p(target | outputs) under `likelihood`; one κ times as large takes steps κ times as large, for
    kind "empirical" 1/κ times, unless the attribute `loss_scale` is set to κ. Every forward pass in training mode with
    gradients enabled since the last step counts towards F, so gradients may be accumulated; passes in eval mode or
    under `no_grad` do not count. Under `torch.autocast`, and for models of 16 bits, F is summed and solved in float32.
    `torch.amp.GradScaler` steps it as it does torch's own optimizers.

    - `lr`: the step is −lr × direction; uncovered parameters take plain SGD steps with lr × `sgd_lr_ratio`. Each block
      is solved as if it moved alone, so the effects of units that move alike add up: lr of order 1/units is a start;
    - `max_kl`: the limit of a step, momentum, weight decay and uncovered parameters included, in nats per example:
      it is shortened until the Kullback–Leibler divergence between the model's predictions before and after it is at
      most this, and so is ½ lr² Σ dᵀ(F + λI)d, what it would be if no units moved alike. No layer then moves by more
      than its own scale. The divergence is measured on the batch: the forward passes that `backward` went through are
      run again, with the same random numbers and without gradients, once a step or more. None: never;
    - `kind`, `likelihood`, `samples`, `weight_sharing`: as in `unit_fisher`. "exact" costs a backward pass per class
      at each update, "monte_carlo" (labels drawn from a generator seeded with `seed`) one per sample, "empirical" none;
    - `decay`: F ← decay F + (1 − decay) F_batch, started at 0 and divided by 1 − decayᵏ after k updates (Adam's rule);
    - `window`: a wide layer, with more coordinates than `window` updates have vectors per unit (examples; where weights
      are shared, examples × samples or classes), keeps these vectors instead of matrices, at a fraction of time and
      memory, and forgets earlier updates. None: no layer does;
    - `damping`: λ, or, `relative`, what λ is as a multiple of the unit's mean diagonal of F, but at least 2 max_kl over
      the layer's squared scale, the larger of its weights' sum of squares and units/3: an update of the layer of that
      length counts as max_kl even where predictions do not depend on it. A matrix that Cholesky
      finds singular is solved on its eigenvectors, those with eigenvalues up to coordinates × the rounding unit × the
      largest left out; with damping 0 those up to RANK_THRESHOLD × it as well. A dead unit stays. Rounding makes about
      coordinates × the rounding unit / damping of a step: in float32, of 785 coordinates, half a per cent at 1e-2;
    - `momentum`: v ← momentum v + direction, and v, as far as it is taken, is the step;
    - `weight_decay`: decoupled, lr × weight_decay × parameter is taken off all parameters;
    - `update_interval`: F is updated and factorised at every so many steps, the first included. A lagging F is a poor
      guide early in training: with an interval above 1 take a smaller `max_kl`;
    - `centred`: no matrix, but the SGD step for incoming activations a − m with the bias re-expressed (B4):
      Δw = −lr (g − m g0), Δw0 = −lr g0 − m·Δw. m is the running mean under p (True or "p") or, for each unit, under
      q = delta² p (F2, "q"; by position where weights are shared). Then `damping` is not used;
    - `max_bytes`: a layer whose matrices or vectors need more memory than this is left uncovered;
    - `mask`, `batch_axis`, `class_axis`, `output`: which positions count (by default those of a keyword argument
      `attention_mask`), and where examples, classes and outputs are, as in `unit_fisher`. A key or a callable is given
      the model's keyword arguments, or its first argument where there are none.

    `uncovered`: parameter name → why it takes plain SGD (the first step warns if more than UNTOLD do). Layers that
    share weights, are frozen, or use them without being called are found out at the first step. A frozen bias is left
    out of F, which then is that of the weights. Dropout's scores are those of the masks drawn. Batch normalisation in
    training mode couples examples: the score of an example is then the derivative of the whole batch's log-density, an
    approximation; kind "exact" refuses it.

    `state_dict` holds F, momentum, counters and the generator: loaded into a fresh optimizer of the same model it goes
    on with the same bits. `close()`, or leaving the optimizer as a context manager, removes its hooks; so does deleting
    it. One process only. Raises InputError for options out of range, and at `step` if no forward pass counted that
    should have, if the step is not finite, or if the model's predictions are random in a way that cannot be repeated.

    >>> import elutheory as et
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.Linear(4, 2))
    >>> x = torch.randn(50, 3)
    >>> y = (x[:, 0] > 0).long()
    >>> optimizer = et.UnitNaturalGradient(model, lr=0.1)
    >>> losses = []
    >>> for _ in range(20):
    ...     optimizer.zero_grad()
    ...     loss = torch.nn.functional.cross_entropy(model(x), y)
    ...     loss.backward()
    ...     _ = optimizer.step()
    ...     losses.append(loss.item())
    ...
    >>> losses[-1] < losses[0]
    True
    """

    _step_supports_amp_scaling = True  # torch's GradScaler then leaves unscaling to `step`, and tells it the scale

    def __init__(
        self,
        model: nn.Module | Any,
        lr: float | int = 0.01,
        likelihood: Likelihood | str = "categorical",
        kind: str = "monte_carlo",
        *,
        samples: int = 1,
        weight_sharing: str = "exact",
        decay: float | int = 0.95,
        window: int | None = 1,
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
        if not isinstance(model, nn.Module):
            raise InputError(
                f"model is a {type(model).__name__}; the model itself is needed, as in UnitNaturalGradient(model, "
                "lr=0.01), not its parameters: scores are gathered in its forward passes."
            )
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
        if window is not None:
            check_whole("window", window)
        if kind not in get_args(Kind):
            raise InputError(f"kind {kind!r} is not available; 'exact', 'monte_carlo' and 'empirical' are.")
        if weight_sharing not in get_args(WeightSharing):
            raise InputError(f"weight_sharing {weight_sharing!r} is not available; 'exact' and 'positionwise' are.")
        if centred not in ("p", "q", True, False):
            raise InputError(f"centred is {centred!r}; False, 'p' (or True) and 'q' are available.")
        check_observable(model)
        check_parameters(model)
        self.centred: Literal["p", "q"] | None = "p" if centred is True else cast(Any, centred or None)
        self.kind, self.likelihood = kind, chosen
        self.relative, self.update_interval = relative, update_interval
        self.window, self.max_bytes = window, max_bytes
        self.loss_scale: float | None = None
        self.uncovered: dict[str, str] = {}
        self._model = model
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._layers: dict[str, WeightLayer] = {}
        self._inverses: dict[str, InverseFisher] = {}
        self._choose_layers(model)
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
            "divergence_ratio": 1.0,  # of the last step's measured divergence to the one expected of its blocks alone
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
        self._gatherer.noting = max_kl is not None

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
        if self._is_skipped(group["params"]):
            self._gatherer.clear()
            self._gatherer.forget()
            return result
        with without_autocast(group["params"][0].device):
            if group["steps"] % self.update_interval == 0:
                self._update(group["decay"])
            self._take_step(group)
        group["steps"] += 1
        self._gatherer.forget()
        self._gatherer.due = group["steps"] % self.update_interval == 0
        self._gatherer.noting = group["max_kl"] is not None
        return result

    def _is_skipped(self, parameters: list[Tensor]) -> bool:
        """Gradients that a GradScaler has scaled are unscaled; whether it has found one that is not finite."""
        scale, self._gatherer.loss_scale = getattr(self, "grad_scale", None), self.loss_scale or 1.0
        if not hasattr(self, "found_inf"):
            return False
        if scale is None:
            if self.kind == "empirical" and self.loss_scale is None:
                raise InputError(
                    "the gradients were unscaled before the step, so that the scale of those which kind 'empirical' "
                    "has heard is not known; set the optimizer's loss_scale = scaler.get_scale() before it."
                )
        else:
            self._gatherer.loss_scale = self._gatherer.loss_scale * scale
        if cast(Any, self).found_inf > 0:
            return True
        for parameter in parameters:
            if scale is not None and parameter.grad is not None:
                parameter.grad.div_(scale.to(parameter.device))
        return False

    def _take_step(self, group: dict[str, Any]) -> None:
        directions, failed = self._directions(group)
        self._warn_of_uncovered(group["params"])
        moving = [parameter for parameter in group["params"] if parameter.grad is not None]
        if group["max_kl"] is None:
            directions |= self._sure_directions(group, failed, _read(list(failed.values())))
            velocities, changes = self._changes(moving, directions, group)
            for parameter, change in zip(moving, changes, strict=True):
                parameter.add_(change)
            self._keep_velocities(moving, velocities, 1.0)
            return
        passes = self._gatherer.noted
        if moving and not passes:
            raise self._no_pass()
        while moving:
            velocities, changes = self._changes(moving, directions, group)
            taken = take_limited(
                Step.of(moving, changes),
                self._expected_divergences(moving, directions, group),
                group["max_kl"],
                group["divergence_ratio"],
                lambda: divergence_of_step(self._model, passes, self.likelihood),
                list(failed.values()),
            )
            if not taken.failed:
                group["divergence_ratio"] = taken.ratio
                self._keep_velocities(moving, velocities, taken.share)
                return
            directions |= self._sure_directions(group, failed, taken.failed)
            failed = {}

    def _changes(
        self, moving: list[Tensor], directions: dict[int, Tensor], group: dict[str, Any]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Velocities of the parameters, and what a whole step changes them by."""
        velocities, changes = [], []
        for parameter in moving:
            covered = id(parameter) in directions
            rate = group["lr"] * (1.0 if covered else group["sgd_lr_ratio"])
            velocity = directions[id(parameter)] if covered else cast(Tensor, parameter.grad)
            if group["momentum"] and "momentum_buffer" in self.state[parameter]:
                velocity = group["momentum"] * self.state[parameter]["momentum_buffer"] + velocity
            velocities.append(velocity)
            decayed = velocity + group["weight_decay"] * parameter if group["weight_decay"] else velocity
            changes.append(-rate * decayed)
        return velocities, changes

    def _keep_velocities(self, moving: list[Tensor], velocities: list[Tensor], share: float) -> None:
        if self.param_groups[0]["momentum"]:
            for parameter, velocity in zip(moving, velocities, strict=True):
                self.state[parameter]["momentum_buffer"] = share * velocity

    def _expected_divergences(
        self, moving: list[Tensor], directions: dict[int, Tensor], group: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """½ lr² Σ dᵀ(F + λI)d of the covered blocks, and with ½ rate² |g|² of the others added; float64 if possible."""
        device, pairs = moving[0].device, {True: [], False: []}
        for parameter in moving:
            gradient = cast(Tensor, parameter.grad).to(working_dtype(parameter.dtype))
            covered = id(parameter) in directions
            direction = directions[id(parameter)] if covered else group["sgd_lr_ratio"] ** 2 * gradient
            pairs[covered].append((gradient.flatten().to(device), direction.flatten().to(device)))
        dtype = torch.float32 if device.type == "mps" else torch.float64
        none = torch.zeros((), dtype=dtype, device=device)
        covered, others = (
            torch.dot(*(torch.cat(parts) for parts in zip(*found, strict=True))).to(dtype) if found else none
            for found in pairs.values()
        )
        half = 0.5 * group["lr"] ** 2
        binding = torch.zeros_like(covered) if self.centred is not None else half * covered
        return binding, half * (covered + others)

    def _warn_of_uncovered(self, parameters: list[Tensor]) -> None:
        """Once, if much of what is trained takes plain SGD steps."""
        if self._warned:
            return
        self._warned = True
        sizes = {self._names[id(parameter)]: parameter.numel() for parameter in parameters}
        uncovered = sum(size for name, size in sizes.items() if name in self.uncovered)
        share = uncovered / sum(sizes.values())
        if share > UNTOLD:
            largest = max((name for name in self.uncovered if name in sizes), key=lambda name: sizes[name])
            warnings.warn(
                f"{share:.0%} of the numbers that are trained take plain SGD steps, not those of the unit natural "
                f"gradient (see uncovered); the largest of them, {largest!r}: {self.uncovered[largest]}",
                UserWarning,
                stacklevel=6,  # the loop's line, below torch's two wrappers
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
        for index, saved in state_dict["state"].items():  # torch has cast them to the parameters' dtype
            parameter = group["params"][index]
            tensors = {key: value for key, value in saved.items() if isinstance(value, Tensor)}
            self.state[parameter] |= {key: value.to(parameter.device, copy=True) for key, value in tensors.items()}
        self._inverses = {}
        for key in ("estimate", "uncovered"):
            group.pop(key)
        self._generator.set_state(group.pop("generator").cpu())
        self._gatherer.clear()
        self._gatherer.forget()
        self._gatherer.due = group["steps"] % self.update_interval == 0

    @property
    def _estimate(self) -> str:
        return f"{self.kind}, {self.likelihood.name}, centred: {self.centred}"

    # ------------------------------------------------------------------------------------------------------- layers

    def _choose_layers(self, model: nn.Module) -> None:
        for name, module in model.named_modules():
            if not isinstance(module, KINDS_OF_LAYER):
                continue
            why = _refusal(model, name, module)
            if why is None and self.centred is not None and not _has_bias(module):
                why = f"layer {name!r} has no bias to train, which centring re-expresses."
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

    def _list(self, layer: nn.Module, why: str) -> None:
        for parameter in layer.parameters(recurse=False):
            if parameter.requires_grad:
                self.uncovered[self._names[id(parameter)]] = why

    def _uncover(self, name: str, why: str) -> None:
        layer = self._layers.pop(name)
        self._list(layer, why)
        self._gatherer.refused.setdefault(name, why)
        self._inverses.pop(name, None)
        for key in (*RUNNING_KEYS, "mean", "delta_squares", "estimate_weight"):
            self.state[layer.weight].pop(key, None)

    # ---------------------------------------------------------------------------------------------------- estimates

    def fisher(self, layer: str) -> Float[Tensor, "units coordinates coordinates"]:
        """The running Fisher matrices of a layer, a copy; the bias coordinate first, as `UnitFisher.matrix`.

        Raises InputError for a layer that is not covered, before the first step, and with centring, which has none.
        """
        found = running_fisher(self.state[self._layers[layer].weight]) if layer in self._layers else None
        if found is None:
            covered = ", ".join(map(repr, self._layers)) or "none"
            raise InputError(
                f"there are no Fisher matrices of a layer {layer!r}; the layers covered are {covered}, and they have "
                "theirs from the first step on, unless it is centred."
            )
        return found.matrix(_has_bias(self._layers[layer]))

    def _no_pass(self) -> InputError:
        return InputError(
            "no forward pass counted since the last step; run the model itself, in training mode with gradients "
            "enabled" + (", and its backward pass." if self.kind == "empirical" else ".")
        )

    def _update(self, decay: float) -> None:
        gatherer = self._gatherer
        for name in [name for name in self._layers if name in gatherer.refused]:
            self._uncover(name, gatherer.refused[name])
        examples = gatherer.examples
        if not examples and self._layers:
            raise self._no_pass()
        for name, layer in list(self._layers.items()):
            state, ran = self.state[layer.weight], False
            for scores in gatherer.scores(name):
                if not ran:
                    why = self._begin_update(state, decay, scores)
                    if why is not None:
                        self._uncover(name, f"layer {name!r} {why}")
                        break
                    ran = True
                self._add(state, scores, (1 - decay) / examples)
        self._inverses = {}
        gatherer.clear()

    def _begin_update(self, state: dict[str, Any], decay: float, scores: LayerScores) -> str | None:
        """Before a layer's first scores of an update are added; or why it is not covered."""
        if self.centred is None:
            copies = 1 if self.update_interval == 1 else 2
            why = make_room(state, scores, self._gatherer.passes, self.window, self.max_bytes, copies)
            if why is not None:
                return why
            cast(RunningFisher, running_fisher(state)).begin_update(decay)
            return None
        if "estimate_weight" not in state:
            _, groups, _, fan_in = scores.incoming.shape
            units, new = scores.deltas.shape[-1], scores.incoming.new_zeros
            state["estimate_weight"] = 0.0
            if self.centred == "p":
                state["mean"] = new(groups, fan_in)
            else:
                state["mean"], state["delta_squares"] = new(units, fan_in), new(units)
        state["estimate_weight"] = decay * state["estimate_weight"] + (1 - decay)
        for key in ("mean", "delta_squares"):
            if key in state:
                state[key].mul_(decay)
        return None

    def _add(self, state: dict[str, Any], scores: LayerScores, share: float) -> None:
        if self.centred is None:
            cast(RunningFisher, running_fisher(state)).add(scores, share)
        elif self.centred == "p":
            points = scores.points()
            state["mean"] += share * scores.examples / len(points) * points.sum(0)
        else:
            weights = scores.squared_deltas().unflatten(-1, (-1, scores.units_per_group))
            state["mean"] += share * torch.einsum("npgu,ngpi->gui", weights, scores.incoming).flatten(0, 1)
            state["delta_squares"] += share * weights.sum((0, 1)).flatten()

    # ------------------------------------------------------------------------------------------------------- steps

    def _directions(self, group: dict[str, Any]) -> tuple[dict[int, Tensor], dict[str, Tensor]]:
        """Directions of the parameters covered, by identity; by layer, whether Cholesky's factorisation broke down."""
        directions: dict[int, Tensor] = {}
        failed: dict[str, Tensor] = {}
        for name in list(self._layers):
            directions |= self._layer_directions(name, group)
            if name in self._inverses and self._inverses[name].failed:
                failed[name] = torch.cat(self._inverses[name].failed).any()
        return directions, failed

    def _sure_directions(
        self, group: dict[str, Any], failed: dict[str, Tensor], found: list[bool]
    ) -> dict[int, Tensor]:
        """Those of the layers whose factorisation broke down, solved on eigenvectors where it did."""
        directions: dict[int, Tensor] = {}
        for name, broken in zip(failed, found, strict=True):
            if broken:
                directions |= self._layer_directions(name, group, surely=True)
        return directions

    def _layer_directions(self, name: str, group: dict[str, Any], surely: bool = False) -> dict[int, Tensor]:
        """Directions of the layer's weight and bias by identity; none if it has no gradient."""
        layer = self._layers[name]
        weight, bias = layer.weight, layer.bias if _has_bias(layer) else None
        if weight.grad is None:
            self._inverses.pop(name, None)
            return {}
        state = self.state[weight]
        if "estimate_weight" not in state:
            self._uncover(name, f"layer {name!r} gets a gradient without its module being called.")
            return {}
        gradient = weight.grad.flatten(1).to(working_dtype(weight.dtype))
        if bias is not None:
            bias_gradient = gradient.new_zeros(len(gradient)) if bias.grad is None else bias.grad.to(gradient.dtype)
            gradient = torch.cat([bias_gradient[:, None], gradient], dim=1)
        if self.centred is None:
            direction = self._inverse(name, group).solve(gradient, surely)
        else:
            direction = self._centre(state, gradient)
        if bias is None:
            return {id(weight): direction.view_as(weight)}
        return {id(bias): direction[:, 0], id(weight): direction[:, 1:].view(weight.shape)}

    def _inverse(self, name: str, group: dict[str, Any]) -> InverseFisher:
        """(F + λI)⁻¹ of a layer: the one that was kept, while F and the damping are as they were."""
        layer = self._layers[name]
        kept, has_bias = self._inverses.get(name), _has_bias(layer)
        if kept is not None and (kept.damping.value, kept.has_bias) == (group["damping"], has_bias):
            return kept
        floor: Tensor | None = None
        if self.relative and group["damping"] and group["max_kl"] is not None:
            weight = layer.weight.to(working_dtype(layer.weight.dtype))
            floor = 2 * group["max_kl"] / weight.square().sum().clamp(min=DEFAULT_ROW * len(weight))
        found = cast(RunningFisher, running_fisher(self.state[layer.weight]))
        damping = Damping(group["damping"], self.relative, floor)
        self._inverses[name] = InverseFisher(found, damping, has_bias, self.update_interval > 1)
        return self._inverses[name]

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


def _processes() -> int:
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _refusal(model: nn.Module, name: str, layer: WeightLayer) -> str | None:
    if not layer.weight.requires_grad:
        return f"layer {name!r} has a frozen weight."
    return refusal_of_layer(model, name, layer, (torch.float32, torch.float64, *LOW_PRECISION))


def _has_bias(layer: WeightLayer) -> bool:
    return layer.bias is not None and layer.bias.requires_grad


def _read(flags: list[Tensor]) -> list[bool]:
    """Truth values, for which a device is waited for once."""
    return torch.stack([flag.to(flags[0].device) for flag in flags]).tolist() if flags else []
