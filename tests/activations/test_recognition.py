"""Which activation function a module applies, and which modules count as one."""

import pytest
import torch
from torch import Tensor, nn

from elutheory.activations import activation, activation_names
from elutheory.activations.recognition import ACTIVATIONS, is_activation, recognised_activation
from elutheory.activations.torch_module import ActivationModule
from elutheory.statistics import layer_statistics


class NamedElsewhere(nn.Module):
    """Another library's module for GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.gelu(x)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (nn.ELU(1.5), "elu(alpha=1.5)"),
        (nn.CELU(2.0), "celu(alpha=2.0)"),
        (nn.LeakyReLU(0.2), "leaky_relu(negative_slope=0.2)"),
        (nn.SELU(), "selu"),
        (nn.SiLU(), "silu"),
        (nn.Softplus(), "softplus"),
        (nn.Hardtanh(), "hard_tanh"),
        (nn.ReLU6(), "relu6"),
        (nn.Sigmoid(), "logistic"),
        (NamedElsewhere(), "gelu"),
        (activation("shifted_relu").torch_module(), "shifted_relu"),
        (nn.Softplus(beta=2.0), None),
        (nn.Hardtanh(-2.0, 2.0), None),
        (nn.ELU(-1.0), None),
        (nn.GELU(approximate="tanh"), "gelu_tanh"),
        (nn.Mish(), "mish"),
        (nn.Hardsigmoid(), "hard_sigmoid"),
        (nn.Hardswish(), "hard_swish"),
        (nn.PReLU(init=-0.5), "prelu(negative_slope=-0.5)"),
        (nn.PReLU(num_parameters=3), None),
        (activation("squared_relu").torch_module(), "squared_relu"),
        (nn.Softmax(dim=0), None),
        (nn.Flatten(), None),
    ],
)
def test_recognised_activations(module: nn.Module, name: str | None) -> None:
    found = recognised_activation(module)
    assert (None if found is None else str(found)) == name


class FunctionElsewhere(nn.Module):
    """Another library's module for any function of the registry."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.function = activation(name)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def test_every_name_of_the_registry_is_found_by_its_values() -> None:
    found = {name: recognised_activation(FunctionElsewhere(name)) for name in activation_names()}
    same = {"celu": "elu", "identity": None, "prelu": None}  # the last: at the default slope, which no other has
    assert {name: None if one is None else one.name for name, one in found.items()} == {n: n for n in found} | same


class Squared(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values * values


class OwnELU(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return torch.where(values > 0, values, torch.expm1(values))


@pytest.mark.parametrize("module", [OwnELU(), ActivationModule(torch.sin), nn.PReLU(), nn.Softplus(beta=2.0)])
def test_modules_that_count_as_activations(module: nn.Module) -> None:
    assert is_activation(module)


class WithParameter(OwnELU):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


class Noisy(nn.Module):
    """Like ReLU but for noise: on the points in reverse it does something else."""

    def forward(self, values: Tensor) -> Tensor:
        return values.relu() + torch.rand_like(values)


class Fails(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "module",
    [
        Squared(),
        WithParameter(),
        Noisy(),
        Fails(),
        nn.Dropout(0.0),
        nn.Softmax(-1),
        nn.Sequential(nn.ELU()),
        nn.Flatten(),
    ],
)
def test_modules_that_do_not_count_as_activations(module: nn.Module) -> None:
    state = torch.random.get_rng_state()
    assert not is_activation(module)
    assert torch.equal(state, torch.random.get_rng_state())


def test_activation_modules_are_those_of_torch() -> None:
    """A new torch's new elementwise activation has to be added, or named here as none of one unit alone."""
    elsewhere = {"MultiheadAttention", "Softmax", "Softmax2d", "LogSoftmax", "Softmin"}  # of several units
    public = {name for name in dir(nn.modules.activation) if isinstance(getattr(nn, name, None), type)}
    modules = {name for name in public if getattr(nn, name).__module__ == nn.modules.activation.__name__}
    assert modules - elsewhere == {kind.__name__ for kind in ACTIVATIONS} - {"ActivationModule"}


def test_statistics_are_of_the_modules_that_count() -> None:
    """And of the product of an activation with itself, which the square computes in its forward."""
    model = nn.Sequential(
        nn.Linear(4, 4), OwnELU(), Squared(), nn.Dropout(0.0), ActivationModule(torch.sin), nn.Softmax(-1)
    )
    assert layer_statistics(model, torch.zeros(3, 4)).layers == ["1", "2.elu(x)·elu(x)", "4"]
