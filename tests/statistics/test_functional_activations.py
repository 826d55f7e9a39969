"""Activation functions that a model calls without a module, gated units, and what is left out."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as f

import elutheory as et
from elutheory.errors import InputError
from elutheory.statistics import LayerStatistics

Function = Callable[[Tensor], Tensor]

FUNCTIONS: dict[str, tuple[Function, str, nn.Module]] = {
    "F.relu": (f.relu, "relu", nn.ReLU()),
    "F.relu in place": (lambda x: f.relu(x, inplace=True), "relu", nn.ReLU()),
    "torch.relu_": (torch.relu_, "relu", nn.ReLU()),
    "x.relu()": (lambda x: x.relu(), "relu", nn.ReLU()),
    "x.clamp(min=0)": (lambda x: x.clamp(min=0), "clamp", nn.ReLU()),
    "torch.clamp(x, 0, 6)": (lambda x: torch.clamp(x, 0, 6), "clamp", nn.ReLU6()),
    "torch.tanh": (torch.tanh, "tanh", nn.Tanh()),
    "x.sigmoid_()": (lambda x: x.sigmoid_(), "sigmoid", nn.Sigmoid()),
    "torch.special.expit": (torch.special.expit, "special_expit", nn.Sigmoid()),
    "F.elu(alpha)": (lambda x: f.elu(x, 0.5), "elu", nn.ELU(0.5)),
    "F.elu(alpha=)": (lambda x: f.elu(input=x, alpha=0.25), "elu", nn.ELU(0.25)),
    "F.gelu": (f.gelu, "gelu", nn.GELU()),
    "F.gelu(tanh)": (lambda x: f.gelu(x, approximate="tanh"), "gelu", nn.GELU("tanh")),
    "F.silu": (f.silu, "silu", nn.SiLU()),
    "F.mish": (f.mish, "mish", nn.Mish()),
    "F.hardswish": (f.hardswish, "hardswish", nn.Hardswish()),
    "F.selu": (f.selu, "selu", nn.SELU()),
    "F.leaky_relu": (lambda x: f.leaky_relu(x, 0.2), "leaky_relu", nn.LeakyReLU(0.2)),
    "F.hardtanh": (lambda x: f.hardtanh(x, -0.5, 0.5), "hardtanh", nn.Hardtanh(-0.5, 0.5)),
    "F.softplus": (f.softplus, "softplus", nn.Softplus()),
}


class Calling(nn.Module):
    """A layer and a function, called without a module; or with one."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(4, 6), nn.Linear(6, 3)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.layer(x)))


def made(function: Function) -> Calling:
    torch.manual_seed(0)
    return Calling(function).double().eval()


X = torch.randn(70, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("case", FUNCTIONS)
def test_a_function_is_seen_as_its_module_is(case: str) -> None:
    function, name, module = FUNCTIONS[case]
    found, expected = made(function), made(module)
    called, observed = (et.layer_statistics(model, X, pre_activations=True) for model in (found, expected))
    assert called.layers == [f"{name}()"]
    assert called.table["fed_by"].tolist() == ["layer", "layer"]
    columns = list(called.table.columns[4:])
    assert called.table[columns].equals(observed.table[columns])


@pytest.mark.parametrize("case", ["F.relu in place", "F.gelu(tanh)", "x.clamp(min=0)"])
def test_a_diagnosis_names_the_function(case: str) -> None:
    function, _, module = FUNCTIONS[case]
    found, expected = (et.diagnose(made(one), X, units=2).table for one in (function, module))
    assert found.equals(expected)
    assert found["activation"].notna().tolist() == [True, False]


class Mixed(nn.Module):
    """One module beside functions, one of them of a weight without a module."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.last = (nn.Linear(5, 5) for _ in range(4))
        self.act, self.extra, self.shift = nn.ReLU(), nn.Parameter(torch.randn(5, 5)), nn.Parameter(torch.zeros(5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.a(x))
        x = f.relu(self.b(x))
        x = f.relu(self.c(x))
        return self.last(f.relu(x @ self.extra + self.shift))


def test_no_layer_is_passed_over_beside_a_module() -> None:
    model, inputs = Mixed().eval(), torch.randn(30, 5)
    statistics = et.layer_statistics(model, inputs)
    assert statistics.layers == ["act", "relu()@b", "relu()@c", "relu()@extra"]
    assert statistics.uncovered == {}
    table = et.diagnose(model, inputs, units=2).table.set_index("layer")
    assert table["activation"].dropna().to_dict() == dict.fromkeys(["a", "b", "c", "extra"], "relu")
    weight = torch.relu(torch.relu(model.c(torch.relu(model.b(torch.relu(model.a(inputs)))))) @ model.extra)
    assert table.loc["extra", "outgoing_mean"] == pytest.approx(float(weight.mean().detach()), rel=1e-5)


def test_functions_have_the_name_of_the_module_that_calls_them() -> None:
    encoder = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True)
    model = nn.Sequential(nn.Linear(5, 8), encoder, nn.Linear(8, 3)).eval()
    statistics = et.layer_statistics(model, torch.randn(6, 4, 5))
    assert statistics.layers == ["1.gelu()"]
    assert statistics.table["fed_by"].tolist() == ["1.linear1"]


def test_functions_of_no_known_layer_are_numbered() -> None:
    class Raw(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(x).exp().cumprod(1).tanh() - 1

    statistics = et.layer_statistics(Raw(), torch.rand(9, 4))
    assert statistics.layers == ["tanh()", "tanh()#2"]


def test_calls_whose_units_are_not_known_are_named() -> None:
    class Attentive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(x @ x.mT) @ torch.relu(self.layer(x))

    model, inputs = Attentive(), torch.randn(5, 3, 4)
    statistics = et.layer_statistics(model, inputs)
    assert statistics.layers == ["relu()"]
    assert "which axis of the output" in statistics.uncovered["sigmoid()"]
    assert "not covered: sigmoid()" in str(statistics)
    assert LayerStatistics.from_bytes(statistics.to_bytes()).uncovered == statistics.uncovered
    assert et.layer_statistics(model, inputs, unit_axis={"sigmoid()": 2}).layers == ["sigmoid()", "relu()"]
    with pytest.raises(InputError, match="unit_axis names 'nothing'"):
        et.layer_statistics(model, inputs, unit_axis={"nothing": 2})


class Gated(nn.Module):
    def __init__(self, unit: Callable[[Tensor, Tensor], Tensor], fused: bool = False) -> None:
        super().__init__()
        self.gate, self.up, self.both, self.down = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(4, 12), nn.Linear(6, 3)
        self.unit, self.fused = unit, fused

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.both(x).chunk(2, -1) if self.fused else (self.gate(x), self.up(x))
        return self.down(self.unit(gate, up))


GATES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "SwiGLU": lambda gate, up: f.silu(gate) * up,
    "GEGLU": lambda gate, up: up * f.gelu(gate, approximate="tanh"),
    "ReGLU": lambda gate, up: torch.mul(f.relu(gate), up),
    "GLU": lambda gate, up: up * torch.sigmoid(gate),
    "GTU": lambda gate, up: torch.tanh(up) * torch.sigmoid(gate),
    "elu gate": lambda gate, up: up.clone().mul_(f.elu(gate)),
}


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("fused", [False, True])
def test_gated_units_have_their_name(name: str, fused: bool) -> None:
    model = Gated(GATES[name], fused).double().eval()
    statistics = et.layer_statistics(model, X)
    row = statistics.table.set_index("kind").loc[name]
    assert row["layer"] == f"{name}()"
    assert row["fed_by"] in (("both",) if fused else ("up", "gate"))
    received: list[Tensor] = []
    handle = model.down.register_forward_pre_hook(lambda _, inputs: received.append(inputs[0].detach()))
    model(X)
    handle.remove()
    assert row["mean"] == pytest.approx(float(received[0].mean()), rel=1e-12)
    table = et.diagnose(model, X, units=2).table.set_index("layer")
    named = table["activation"].fillna("")
    assert all(name in named[layer] for layer in (("both",) if fused else ("gate", "up")))
    assert named["down"] == ""


def test_torch_glu_is_a_gated_unit() -> None:
    class Fused(Gated):
        def forward(self, x: Tensor) -> Tensor:
            return self.down(f.glu(self.both(x), -1))

    table = et.diagnose(Fused(torch.mul).eval().double(), X, units=2).table
    assert table.set_index("layer").loc["both", "activation"] == "GLU"


def test_a_function_of_its_own_factor_is_no_gate() -> None:
    """x·sigmoid(1.7 x): neither a gate nor the logistic function."""
    model = made(lambda x: x * torch.sigmoid(1.702 * x))
    assert et.layer_statistics(model, X).layers == ["sigmoid()", "x·logistic(x)"]
    for function in (lambda x: x * torch.sigmoid(x), lambda x: torch.sigmoid(x) * x):
        assert et.diagnose(made(function), X, units=2).table["activation"].iloc[0] == "x·logistic(x)"


@pytest.mark.parametrize("square", [lambda x: x * x, lambda x: x**2, torch.square, lambda x: x.pow(2)])
def test_a_squared_function_is_no_gate(square: Function) -> None:
    model = made(lambda x: square(f.relu(x)))
    statistics = et.layer_statistics(model, X)
    assert statistics.layers == ["relu()", "relu(x)·relu(x)"]
    assert et.diagnose(model, X, units=2).table["activation"].iloc[0] == "relu(x)·relu(x)"


def test_a_prelu_has_its_slope_per_channel() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 3, 2), nn.PReLU(3), nn.Flatten(), nn.Linear(9, 4), nn.PReLU()).double().eval()
    slopes = torch.tensor([0.0, 0.3, -0.5], dtype=torch.float64)
    with torch.no_grad():
        model[1].weight.copy_(slopes)
    inputs = torch.randn(400, 2, 4, dtype=torch.float64)
    row = et.diagnose(model, inputs, units=2).table.iloc[0]
    assert row["activation"] == "prelu(negative_slope=-0.5 to 0.3 by unit)"
    nets = model[0](inputs).transpose(0, 1).flatten(1).detach()
    functions = [et.activation("prelu", negative_slope=float(slope)) for slope in slopes]
    expected = [
        et.gaussian_moments(function, float(net.mean()), float(net.std(correction=0))).mean
        for function, net in zip(functions, nets, strict=True)
    ]
    assert row["outgoing_mean_gaussian"] == pytest.approx(sum(expected) / 3, rel=1e-12)
    measured = torch.stack([function(net).mean() for function, net in zip(functions, nets, strict=True)])
    assert row["outgoing_mean"] == pytest.approx(float(measured.mean()), rel=1e-12)


@pytest.mark.parametrize(("slopes", "dead"), [([0.0, 0.0], 0.5), ([0.2, -0.1], 0.0), ([0.0, 0.2], None)])
def test_dead_units_of_a_prelu(slopes: list[float], dead: float | None) -> None:
    prelu = nn.PReLU(2)
    with torch.no_grad():
        prelu.weight.copy_(torch.tensor(slopes))
    model = nn.Sequential(nn.Identity(), prelu)
    share = et.layer_statistics(model, torch.tensor([[-1.0, 1.0], [-2.0, 3.0]])).table["dead_share"].iloc[0]
    assert share == pytest.approx(dead) if dead is not None else share != share
