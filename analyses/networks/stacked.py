"""Networks under training: many of one shape at once by SGD, or each with an optimizer of its own."""

import copy
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_map

from elutheory.errors import InputError

if TYPE_CHECKING:
    from lightning.fabric import Fabric

Loss = Callable[[Tensor, Tensor], Tensor]
"""Mean over examples of the loss of (outputs, targets)."""
_VIEWS = (
    torch.ops.aten.detach.default,
    torch.ops.aten.expand.default,
    torch.ops.aten.permute.default,
    torch.ops.aten.view.default,
    torch.ops.aten._unsafe_view.default,
)
"""What may only rename a tensor; each costs microseconds of every replay of a traced program."""

TRACED_FROM = 100
"""The step of a batch's shape from which on it is replayed: writing it down takes as long as some thousand small steps
gain, or some hundred of the sizes of the records (test_stacked.py: both give the same bits)."""


class Networks(ABC):
    """Networks that are trained side by side; tensors of all of them have the networks as first dimension."""

    learning_rates: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.learning_rates)

    @abstractmethod
    def step(self, inputs: Tensor, targets: Tensor, share: float = 1.0, rate_factor: float = 1.0) -> Tensor:
        """One update of each network on its own batch, (networks, examples, …); returns the losses before it.

        With several processes the examples are this process' `share` of the batch; gradients and losses are summed.
        """

    @abstractmethod
    def map(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(network, *arguments)` for each network in evaluation mode, without gradients; its tensors stacked.

        `function` calls the network (or its parts) on tensors and returns tensors in any nest of dictionaries, lists
        and tuples; arguments are the same for all. `networks.map(hidden_activations, inputs)` is a list of (networks,
        examples, units).
        """

    @abstractmethod
    def parameters(self) -> dict[str, Tensor]:
        """By name, (networks, …): the tensors that are trained, or copies of them; to read."""

    @abstractmethod
    def discard(self, network: int) -> None:
        """Give a diverged network up: its parameters become NaN, steps leave them so."""

    @abstractmethod
    def network(self, index: int) -> nn.Module:
        """One of them, a copy in evaluation mode."""

    @abstractmethod
    def state(self) -> Any:
        """Parameters, buffers and the optimizers' memory."""

    @abstractmethod
    def load(self, state: Any) -> None:
        """Go on from a `state`."""


class StackedNetworks(Networks):
    """Networks of one shape, trained at once by SGD as in torch.optim.SGD, with a learning rate each.

    The parameters are stacked (`torch.func.stack_module_state`), and `vmap` runs one network's code on all of them. The
    operations of this pass, of its gradient and of the update are written down once per batch's shape (`make_fx`), when
    there have been `TRACED_FROM` steps of it, and then replayed: batching and differentiating them at every step costs
    a tenth of it. A parameter is updated as soon as its gradient is there, while both are in the cache.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        learning_rates: Sequence[float],
        loss: Loss,
        fabric: "Fabric",
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        stacked, self._buffers = stack_module_state(list(networks))
        self._parameters = {name: tensor.detach() for name, tensor in stacked.items()}
        self._blank = _blank(networks[0])
        self._template = _stackable(copy.deepcopy(self._blank))
        self._momenta = (
            {name: torch.zeros_like(tensor) for name, tensor in self._parameters.items()} if momentum else {}
        )
        self._loss, self._fabric, self._momentum, self._weight_decay = loss, fabric, momentum, weight_decay
        self.learning_rates = tuple(learning_rates)
        dtype = next(iter(self._parameters.values())).dtype
        self._rates = torch.tensor(self.learning_rates, dtype=dtype, device=fabric.device)
        self._traced: dict[Any, Callable[..., Any]] = {}
        self._steps: Counter[Any] = Counter()

    @torch.no_grad()
    def step(self, inputs: Tensor, targets: Tensor, share: float = 1.0, rate_factor: float = 1.0) -> Tensor:
        """One update of all networks at once; see `Networks.step`."""
        held, factors = (self._parameters, self._momenta, self._buffers), self._rates * -rate_factor
        losses, gradients = self._program(held, factors, inputs, targets)(held, factors, inputs, targets)
        if self._fabric.world_size > 1:
            for name, gradient in gradients.items():
                gradient = self._fabric.all_reduce(share * gradient, reduce_op="sum")
                self._update(self._parameters[name], self._momenta.get(name), gradient, factors)
            losses: Any = self._fabric.all_reduce(share * losses, reduce_op="sum")
        return losses

    def _program(self, held: Any, factors: Tensor, *batch: Tensor) -> Callable[..., Any]:
        """`_pass`, or its plain tensor operations once there have been enough steps with a batch of this shape."""
        shapes = tuple((tensor.shape, tensor.dtype) for tensor in batch)
        self._steps[shapes] += 1
        if self._steps[shapes] <= TRACED_FROM:
            return self._pass
        if shapes not in self._traced:
            devices = [self._fabric.device] if self._fabric.device.type == "cuda" else []
            # Tracing runs the operations once: on copies of what they change, without drawing random numbers.
            copies = tree_map(torch.clone, held)
            with torch.random.fork_rng(devices):
                self._traced[shapes] = without_idle_views(make_fx(self._pass)(copies, factors, *batch))
        return self._traced[shapes]

    def _pass(self, held: Any, factors: Tensor, *batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses; updates the parameters, or, with several processes, returns their gradients."""
        self._template.train()
        parameters, momenta, buffers = held
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in parameters.items()}

        def loss_of_one(leaves: Any, buffers: Any, inputs: Tensor, targets: Tensor) -> Tensor:
            return self._loss(functional_call(self._template, (leaves, buffers), (inputs,)), targets)

        alone = self._fabric.world_size == 1
        with torch.enable_grad(), self._fabric.autocast():
            losses = vmap(loss_of_one, randomness="different")(leaves, buffers, *batch)
            for name, leaf in leaves.items() if alone else ():
                leaf.register_hook(
                    lambda gradient, name=name: self._update(parameters[name], momenta.get(name), gradient, factors)
                )
            gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
        return losses.detach(), {} if alone else dict(zip(leaves, gradients, strict=True))

    def _update(self, parameter: Tensor, momentum: Tensor | None, gradient: Any, factors: Tensor) -> None:
        if self._weight_decay:
            gradient = gradient.add(parameter, alpha=self._weight_decay)
        if momentum is not None:
            gradient = momentum.mul_(self._momentum).add_(gradient)
        parameter.addcmul_(gradient, factors.view(-1, *[1] * (parameter.ndim - 1)))

    @torch.no_grad()
    def map(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """One pass of `vmap` over all networks; see `Networks.map`."""
        called = _Called(self._template.eval())

        def of_one(parameters: Any, buffers: Any) -> Any:
            state = {f"network.{name}": tensor for name, tensor in {**parameters, **buffers}.items()}
            return functional_call(called, state, (function, arguments))

        with self._fabric.autocast():
            return vmap(of_one)(self._parameters, self._buffers)

    def parameters(self) -> dict[str, Tensor]:
        """The trained tensors themselves, stacked: to read."""
        return dict(self._parameters)

    @torch.no_grad()
    def discard(self, network: int) -> None:
        """The network's part of every parameter becomes NaN, which updates keep."""
        for parameter in self._parameters.values():
            parameter[network] = torch.nan

    def network(self, index: int) -> nn.Module:
        """A copy of one network, in evaluation mode."""
        network = copy.deepcopy(self._blank).to_empty(device=self._fabric.device)
        network.load_state_dict({name: held[index] for name, held in {**self._parameters, **self._buffers}.items()})
        return network

    def state(self) -> Any:
        """The stacked tensors by kind: parameters, buffers, momenta."""
        return {"parameters": self._parameters, "buffers": self._buffers, "momenta": self._momenta}

    @torch.no_grad()
    def load(self, state: Any) -> None:
        """Copy the stacked tensors of a `state` into those held."""
        held = {"parameters": self._parameters, "buffers": self._buffers, "momenta": self._momenta}
        for kind, tensors in held.items():
            for name, tensor in tensors.items():
                tensor.copy_(state[kind][name])


class _Called(nn.Module):
    """A function of a network as a module, so that `functional_call` lends the network its parameters."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        return function(self.network, *arguments)


def _blank(network: nn.Module) -> nn.Module:
    """A copy without storage, in evaluation mode."""
    return copy.deepcopy(network).to("meta").eval()


def without_idle_views(traced: fx.GraphModule) -> fx.GraphModule:
    """The program of `make_fx`, in place, without the views that have their source's shape and strides.

    It is to be run without gradients: a `detach` does nothing there.
    """
    for node in traced.graph.nodes:
        if node.target in _VIEWS:
            (source,) = node.all_input_nodes
            before, after = source.meta["val"], node.meta["val"]
            if (before.shape, before.stride()) == (after.shape, after.stride()):
                node.replace_all_uses_with(source)
                traced.graph.erase_node(node)
    traced.recompile()
    return traced


def _stackable(network: nn.Module) -> nn.Module:
    """The network with its linear layers, in place, computed by `_Affine` while training; the numbers stay the same."""
    for module in network.modules():
        if type(module) is nn.Linear and module.bias is not None:
            module.__class__ = _StackableLinear
    return network


class _StackableLinear(nn.Linear):
    """`nn.Linear` which `vmap` turns into one batched product per pass, forward and backward."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.ndim == 2 and not torch.is_autocast_enabled(input.device.type):
            return _Affine.apply(input, self.weight, self.bias)  # pyright: ignore[reportReturnType]
        return super().forward(input)


class _Affine(torch.autograd.Function):
    """x Wᵀ + b of inputs (examples, fan_in); with a leading dimension of all three, of many networks."""

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return torch.matmul(inputs, weight.mT).add_(bias.unsqueeze(-2))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, Tensor, Tensor]:
        (outputs,) = gradients
        inputs, weight = ctx.saved_tensors
        inner = torch.matmul(outputs, weight) if ctx.needs_input_grad[0] else None
        return inner, torch.matmul(outputs.mT, inputs), outputs.sum(-2)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *operands: Tensor) -> tuple[Any, int]:
        stacked = [
            operand.expand(info.batch_size, *operand.shape) if dim is None else operand.movedim(dim, 0)
            for operand, dim in zip(operands, in_dims, strict=True)
        ]
        return _Affine.apply(*stacked), 0


MakeOptimizer = Callable[[nn.Module, float], torch.optim.Optimizer]
"""Optimizer of a network with this learning rate."""


class SeparateNetworks(Networks):
    """Networks with an optimizer each, one after the other in every step."""

    def __init__(
        self,
        networks: Sequence[nn.Module],
        learning_rates: Sequence[float],
        loss: Loss,
        fabric: "Fabric",
        make_optimizer: MakeOptimizer,
    ) -> None:
        self._blank = _blank(networks[0])  # before the optimizers add hooks
        self._networks, self._loss, self._fabric = list(networks), loss, fabric
        self.learning_rates = tuple(learning_rates)
        self.optimizers = [
            make_optimizer(network, rate) for network, rate in zip(networks, learning_rates, strict=True)
        ]
        self._group_rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        self._discarded: set[int] = set()

    def step(self, inputs: Tensor, targets: Tensor, share: float = 1.0, rate_factor: float = 1.0) -> Tensor:
        """One update of each network in turn, by its own optimizer; see `Networks.step`."""
        steps = range(len(self))
        return torch.stack([self._step_of(index, inputs[index], targets[index], share, rate_factor) for index in steps])

    def _step_of(self, index: int, inputs: Tensor, targets: Tensor, share: float, rate_factor: float) -> Tensor:
        network, optimizer = self._networks[index].train(), self.optimizers[index]
        if index in self._discarded:
            return inputs.new_full((), torch.nan)
        for group, rate in zip(optimizer.param_groups, self._group_rates[index], strict=True):
            group["lr"] = rate * rate_factor
        optimizer.zero_grad()
        try:
            loss = self._gradient(network, inputs, targets, share)
            if loss.isfinite():
                optimizer.step()
        except (InputError, RuntimeError):  # from an optimizer that solves equations, of NaN
            if self._is_finite(network, inputs):
                raise
            loss = inputs.new_full((), torch.nan)
        if not loss.isfinite():
            self.discard(index)
        return loss

    def _gradient(self, network: nn.Module, inputs: Tensor, targets: Tensor, share: float) -> Tensor:
        with self._fabric.autocast():
            loss = self._loss(network(inputs), targets)
        (loss if share == 1.0 else share * loss).backward()
        if self._fabric.world_size == 1:
            return loss.detach()
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter.grad.copy_(self._fabric.all_reduce(parameter.grad, reduce_op="sum"))  # pyright: ignore[reportArgumentType]
        return self._fabric.all_reduce(share * loss.detach(), reduce_op="sum")  # pyright: ignore[reportReturnType]

    @torch.no_grad()
    def _is_finite(self, network: nn.Module, inputs: Tensor) -> bool:
        """Whether the outputs, and the gradients so far, are."""
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        return all(bool(tensor.isfinite().all()) for tensor in (network.eval()(inputs), *gradients))

    def adjust(self, change: Callable[[nn.Module], None]) -> None:
        """`change(network)` of each network, in place: of its settings, not of its parameters."""
        for network in self._networks:
            change(network)

    @torch.no_grad()
    def map(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """One network after the other; see `Networks.map`."""
        with self._fabric.autocast():
            results = [function(network.eval(), *arguments) for network in self._networks]
        return tree_map(lambda *tensors: torch.stack(tensors), results[0], *results[1:])

    def parameters(self) -> dict[str, Tensor]:
        """Copies of the trained tensors, stacked."""
        named = [dict(network.named_parameters()) for network in self._networks]
        return {name: torch.stack([held[name].detach() for held in named]) for name in named[0]}

    @torch.no_grad()
    def discard(self, network: int) -> None:
        """The network's parameters become NaN, and it takes no more steps."""
        self._discarded.add(network)
        for parameter in self._networks[network].parameters():
            parameter.fill_(torch.nan)

    def network(self, index: int) -> nn.Module:
        """A copy of one network, in evaluation mode, without its optimizer's hooks."""
        network = copy.deepcopy(self._blank).to_empty(device=self._fabric.device)
        network.load_state_dict(self._networks[index].state_dict())
        return network

    def state(self) -> Any:
        """The networks' and the optimizers' state dictionaries, and which networks were discarded."""
        return {
            "networks": [network.state_dict() for network in self._networks],
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "discarded": sorted(self._discarded),
        }

    def load(self, state: Any) -> None:
        """Load the state dictionaries of a `state` into the networks and optimizers held."""
        for network, held in zip(self._networks, state["networks"], strict=True):
            network.load_state_dict(held)
        for optimizer, held in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(held)
        self._discarded = set(state["discarded"])
