"""Which layer feeds an activation module, told by the tensor, and hooks that always go."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.hooks import RemovableHandle

from elutheory.errors import InputError
from elutheory.models.hooks import hooked
from elutheory.models.layers import layers_of
from elutheory.models.observers import Call, Observer, observed_modules, observing, observing_modules
from elutheory.models.unit_axes import Source


class OutOfOrder(nn.Module):
    """Activation modules in another order than they run, one shared, one in place, one behind a batch norm, and a
    layer that has none because a sum comes between."""

    def __init__(self) -> None:
        super().__init__()
        self.rectifier, self.exponential = nn.ReLU(inplace=True), nn.ELU(0.5)
        self.a, self.b, self.c, self.d = (nn.Linear(5, 5) for _ in range(4))
        self.norm, self.last = nn.BatchNorm1d(5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.exponential(self.a(x))
        x = self.rectifier(self.norm(self.b(x)))
        x = self.exponential(self.c(x))
        return self.last(self.rectifier(self.d(x) + x))


def hooks_of(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def calls_of(model: nn.Module, inputs: Tensor) -> list[Call]:
    """The calls of activations, output by output."""
    calls: list[Call] = []
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv1d)}
    activations = [module for module in model.modules() if isinstance(module, nn.ReLU | nn.ELU)]
    with hooked(Observer(layers, calls.append).hooks(model, activations, inputs=False)):
        model(inputs)
    assert hooks_of(model) == 0
    return calls


def test_the_feeding_layer_is_told_by_the_tensor() -> None:
    model = OutOfOrder().eval()
    calls = calls_of(model, torch.randn(4, 5))
    assert [call.module for call in calls] == [model.exponential, model.rectifier, model.exponential, model.rectifier]
    sources = [call.source for call in calls]
    assert sources == [Source("a", -1), Source("b", -1), Source("c", -1), Source("d", -1)]
    assert [call.direct for call in calls] == [True, True, True, False]  # the last receives a sum


def test_units_lie_along_the_axis_of_the_feeding_layer() -> None:
    model = nn.Sequential(nn.Conv1d(2, 6, 1), nn.BatchNorm1d(6), nn.ELU(), nn.Linear(7, 6), nn.Dropout(0.5), nn.ReLU())
    for inputs in (torch.randn(4, 2, 7), torch.randn(3, 2, 7)):
        assert [call.source for call in calls_of(model, inputs)] == [Source("0", -2), Source("3", -1)]


def test_only_layers_given_can_feed() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ELU(), nn.Linear(3, 3), nn.ELU())
    calls: list[Call] = []
    with hooked(Observer({"2": model[2]}, calls.append).hooks(model, [model[1], model[3]], inputs=True)):
        model(torch.zeros(2, 3))
    assert [(call.of, call.source) for call in calls] == [
        ("input", Source("", -1)),  # the function is seen, its module is not among them
        ("output", Source("", -1)),
        ("input", Source("2", -1)),
        ("output", Source("2", -1)),
    ]


def test_passes_repeated_in_a_backward_pass_are_not_told_of() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ELU())
    calls: list[Call] = []
    with hooked(Observer({"0": model[0]}, calls.append).hooks(model, [model[1]], inputs=False)):
        checkpoint(model, torch.zeros(2, 3), use_reentrant=False).sum().backward()
    assert len(calls) == 1


def test_a_module_under_two_names_is_told_of_once() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ELU())
    model.again = model[1]
    found = []
    observed = observed_modules(model, ["1", "again"])
    with observing_modules(model, observed, lambda *told: found.append(told[0].name), inputs=False):
        model[1](model[0](torch.zeros(2, 3)))
    assert found == ["again"]


def test_hooks_go_where_registering_one_fails() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ELU())

    def handles() -> Iterator[RemovableHandle]:
        yield model[0].register_forward_hook(lambda *_: None)
        raise KeyError

    with pytest.raises(KeyError), hooked(handles()):
        pass
    assert hooks_of(model) == 0


def test_values_that_are_no_real_numbers_are_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 3, dtype=torch.complex64))
    with (
        pytest.raises(
            InputError, match="the output of module '0' is no tensor of real numbers; leave it out of layers"
        ),
        observing_modules(model, {"0": model[0]}, lambda *_: None, inputs=False),
    ):
        model(torch.zeros(2, 3, dtype=torch.complex64))
    assert hooks_of(model) == 0


# --- records of activation functions ----------------------------------------------------------------------------------


def test_records_are_of_the_pass_asked_for() -> None:
    model = OutOfOrder().double().eval()
    model.norm.running_mean += 0.7
    inputs = torch.randn(30, 5, dtype=torch.float64)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    with observing(model, {name: layers_of(model)[name] for name in layers}) as observer:
        model(inputs[:10])
        observer.watch_next()
        model(inputs[10:])
        model(inputs[:10])
    assert hooks_of(model) == 0
    functions = {name: str(record.function) for name, record in observer.records.items()}
    assert functions == {"a": "elu(alpha=0.5)", "b": "relu", "c": "elu(alpha=0.5)"}
    with torch.no_grad():
        nets = model.norm(model.b(model.exponential(model.a(inputs[10:]))))
    record = observer.records["b"]
    assert record.nets.count == record.outputs.count == 20
    torch.testing.assert_close(record.nets.mean, nets.mean(0), rtol=1e-12, atol=1e-15)  # before the change in place
    torch.testing.assert_close(record.outputs.variance, nets.relu().var(0, correction=0), rtol=1e-12, atol=1e-15)


def test_a_pass_that_fails_is_over() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ELU(), nn.Linear(3, 2))
    with observing(model, layers_of(model)) as observer:
        observer.watch_next()
        with pytest.raises(RuntimeError):
            model(torch.zeros(2, 9))
        model(torch.zeros(2, 3))
    assert observer.records == {}


def test_the_first_function_of_a_layer_is_its_own() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.flat, self.first, self.second = nn.Conv1d(2, 3, 1), nn.Flatten(), nn.Tanh(), nn.ReLU()

        def forward(self, inputs: Tensor) -> Tensor:
            net = self.layer(inputs)
            return self.flat(net).sum(1) + self.first(net).sum((1, 2)) + self.second(net).sum((1, 2))

    model, inputs = Branches(), torch.randn(5, 2, 4)
    with observing(model, layers_of(model)) as observer:
        observer.watch_next()
        model(inputs)
    record = observer.records["layer"]
    assert record.module is model.first
    torch.testing.assert_close(record.outputs.mean, model.layer(inputs).tanh().mean((0, 2)).double().detach())
