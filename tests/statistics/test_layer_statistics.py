"""Streamed statistics against numpy on all activations together, for drawn nets, splits and kinds of layers."""

import importlib
import inspect
import json
import math
import pickle
import pydoc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import elutheory
import elutheory.numerics.running_moments
from elutheory.errors import InputError
from elutheory.statistics import LayerStatistics, layer_statistics, observe_layers
from elutheory.statistics.quantiles import UnitQuantiles
from elutheory.statistics.unit_statistics import COLUMNS

FLOAT32 = {"rtol": 1e-5, "atol": 1e-7}
EXACTLY = {"rtol": 1e-12, "atol": 1e-14}


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(1)
    inner = nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True))
    return nn.Sequential(nn.Linear(4, 6), nn.ELU(), inner, nn.Linear(5, 3)).to(dtype)


def inputs(examples: int = 90) -> Tensor:
    return torch.randn(examples, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def collected(model: nn.Module, module: nn.Module, batches: list[Tensor], axis: int = -1) -> np.ndarray:
    """Reference: every output of the module, (points, units), by a hook that copies them."""
    found = []
    handle = module.register_forward_hook(lambda _m, _a, output: found.append(output.detach().double().clone()))
    with torch.no_grad():
        for batch in batches:
            model(batch)
    handle.remove()
    return np.concatenate([values.movedim(axis, -1).flatten(0, -2).numpy() for values in found])


def assert_same_as(statistics: LayerStatistics, layer: str, points: np.ndarray, tolerance: dict[str, float]) -> None:
    found = statistics.units(layer)
    assert found.count == len(points)
    np.testing.assert_allclose(found.mean, points.mean(0), **tolerance)
    np.testing.assert_allclose(found.variance, points.var(0), **tolerance)
    if found.minimum is not None:
        np.testing.assert_array_equal(found.minimum, points.min(0))
        np.testing.assert_array_equal(found.maximum, points.max(0))
        np.testing.assert_allclose(found.share_nonpositive, (points <= 0).mean(0), rtol=1e-15)
        np.testing.assert_array_equal(found.never_positive, ~(points > 0).any(0))


# --- against all activations together --------------------------------------------------------------------------------


@given(
    widths=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    kind=st.sampled_from([nn.ELU, nn.ReLU, nn.Tanh, nn.GELU]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 2**31),
)
def test_any_net_and_any_batches(
    widths: list[int], sizes: list[int], kind: type[nn.Module], dtype: torch.dtype, seed: int
) -> None:
    torch.manual_seed(seed)
    layers = [
        layer
        for fan_in, width in zip([3, *widths], widths, strict=False)
        for layer in (nn.Linear(fan_in, width), kind())
    ]
    model = nn.Sequential(*layers).to(dtype)
    batches = [3 * torch.randn(size, 3, dtype=dtype) for size in sizes]
    statistics = layer_statistics(model, batches, quantiles=(0.0, 0.5, 0.9))
    tolerance = EXACTLY if dtype == torch.float64 else FLOAT32
    for name in statistics.layers:
        points = collected(model, model[int(name)], batches)
        assert_same_as(statistics, name, points, tolerance)
        np.testing.assert_allclose(
            statistics.units(name).quantiles, np.quantile(points, [0.0, 0.5, 0.9], axis=0), rtol=1e-12, atol=1e-15
        )
    assert (statistics.table["calls"] == len(sizes)).all()


def test_one_row_a_layer_by_its_definitions() -> None:
    model, data = network(), inputs()
    statistics = layer_statistics(model, data, quantiles=(0.5,), batch_size=17)
    row = statistics.table.set_index("layer").loc["2.1"]
    a = collected(model, model[2], [data])
    mean = a.mean(0)
    pairs = [a[i] @ a[j] / a.shape[1] for i in range(len(a)) for j in range(len(a)) if i != j]
    expected = {
        "units": 5,
        "calls": math.ceil(90 / 17),
        "count": 90,
        "mean": a.mean(),
        "unit_mean_median": np.median(mean),
        "unit_mean_std": mean.std(),
        "variance": a.var(0).mean(),
        "second_moment": (a**2).mean(),
        "overlap": np.mean(pairs),
        "mean_share": (mean**2).sum() / (a**2).sum(1).mean(),
        "minimum": a.min(),
        "maximum": a.max(),
        "share_nonpositive": (a <= 0).mean(),
        "never_positive_share": (a <= 0).all(0).mean(),
        "dead_share": (a == 0).all(0).mean(),
        "nonfinite_units": 0,
        "quantile_rank_error": 0,
        "quantile_0.5": np.median(a, axis=0).mean(),
    }
    for column, value in expected.items():
        assert row[column] == pytest.approx(value, rel=1e-12), column
    assert (row["of"], row["kind"], row["fed_by"], row["quantile_method"]) == ("output", "ReLU", "2.0", "exact")
    assert set(statistics.table.columns) == {*COLUMNS, "quantile_0.5"}
    units = statistics.unit_table.set_index(["layer", "of", "unit"])
    assert units.loc[("2.1", "output", 3), "mean"] == pytest.approx(mean[3], rel=1e-12)
    assert len(units) == 6 + 5


def test_pre_activations_before_they_change_in_place() -> None:
    model, data = network(), inputs()
    statistics = layer_statistics(model, data, pre_activations=True)
    nets = model[2][0](model[1](model[0](data))).detach().numpy()
    np.testing.assert_allclose(statistics.units("2.1", of="input").mean, nets.mean(0), **EXACTLY)
    np.testing.assert_allclose(statistics.units("2.1").mean, nets.clip(min=0).mean(0), **EXACTLY)
    named = layer_statistics(model, data, layers=["2.0", "3"])
    np.testing.assert_allclose(named.units("3").mean, model(data).detach().numpy().mean(0), **EXACTLY)
    # The hook sees the tensor that the in-place ReLU changes afterwards, and has read it before.
    np.testing.assert_allclose(named.units("2.0").mean, nets.mean(0), **EXACTLY)


@pytest.mark.parametrize(
    ("module", "dead", "never_positive"),
    [
        (nn.ReLU(), [0, 1, 1, 0], [0, 1, 1, 0]),
        (nn.ReLU6(), [0, 1, 1, 1], [0, 1, 1, 0]),
        (nn.Hardtanh(), [1, 1, 0, 1], [0, 1, 1, 0]),
        (nn.Hardswish(), [0, 1, 0, 0], [0, 1, 1, 0]),
        (nn.ELU(), [0, 0, 0, 0], [0, 1, 1, 0]),
        (nn.GELU(), [0, 0, 0, 0], [0, 1, 1, 0]),
        (nn.Tanh(), [0, 0, 0, 0], [0, 1, 1, 0]),
        (nn.LeakyReLU(0.0), [0, 1, 1, 0], [0, 1, 1, 0]),
        (nn.RReLU(), None, [0, 1, 1, 0]),
        (elutheory.Activation.from_text("where(x > -2, x, -2)").torch_module(), [0, 1, 0, 0], [0, 1, 1, 0]),
        (elutheory.activation("shifted_relu").torch_module(), [0, 1, 0, 0], [0, 1, 1, 0]),
    ],
    ids=lambda value: str(value) if isinstance(value, nn.Module) else "",
)
def test_dead_units_have_a_slope_of_zero_at_every_point(
    module: nn.Module, dead: list[int] | None, never_positive: list[int]
) -> None:
    """Units with net inputs of both signs, far below 0, near −0.3, and far above 0; slopes by autograd."""
    model = nn.Sequential(nn.Linear(1, 4), module).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [1.0], [0.1], [1.0]]))
        model[0].bias.copy_(torch.tensor([0.0, -10.0, -1.0, 8.0]))
    data = torch.tensor([[-1.0], [2.0], [3.0], [5.0]], dtype=torch.float64)
    statistics = layer_statistics(model, data, batch_size=3)
    found = statistics.units("1")
    assert found.never_positive.tolist() == [bool(value) for value in never_positive]
    assert statistics.table["never_positive_share"].item() == pytest.approx(sum(never_positive) / 4)
    if dead is None:
        assert found.dead is None
        assert math.isnan(statistics.table["dead_share"].item())
        return
    nets = model[0](data).detach().requires_grad_()
    (slopes,) = torch.autograd.grad(module(nets).sum(), nets)
    assert found.dead.tolist() == (slopes == 0).all(0).tolist() == [bool(value) for value in dead]
    assert statistics.table["dead_share"].item() == pytest.approx(sum(dead) / 4)
    twice = LayerStatistics.from_bytes(statistics.to_bytes()).merge(statistics)
    assert torch.equal(twice.units("1").dead, found.dead)


class Rearranged(nn.Module):
    """What comes between a layer and its activation module in models that people write."""

    def __init__(self, between: Any, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.between, self.act, self.further = layer, between, nn.ReLU(), nn.Conv2d(5, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.between(self, self.layer(x)))


BETWEEN = {
    "pool": (lambda m, x: nn.functional.max_pool2d(x, 2), 1),
    "pool module": (lambda m, x: nn.AdaptiveAvgPool2d(3)(x), 1),
    "pad": (lambda m, x: nn.functional.pad(x, (0, 2, 1, 0)), 1),
    "crop": (lambda m, x: x[:, :, 1:, :-2], 1),
    "channels last": (lambda m, x: x.permute(0, 2, 3, 1), -1),
    "layer norm": (lambda m, x: nn.functional.layer_norm(x.permute(0, 2, 3, 1), (5,)).permute(0, 3, 1, 2), 1),
    "group norm": (lambda m, x: nn.GroupNorm(1, 5)(x), 1),
    "flat positions": (lambda m, x: x.flatten(2), 1),
    "sequence": (lambda m, x: x.flatten(2).transpose(1, 2), -1),
    "sequence first": (lambda m, x: x.view(7, 5, -1).movedim(-1, 0), -1),
    "residual sum": (lambda m, x: m.further(x) + x, 1),
    "gate": (lambda m, x: x * torch.sigmoid(m.further(x)), 1),
    "concatenation": (lambda m, x: torch.cat([x, m.further(x)], 1), 1),
    "resized": (lambda m, x: nn.functional.interpolate(x, scale_factor=2), 1),
    "einsum and a norm": (lambda m, x: nn.BatchNorm2d(5).eval()(torch.einsum("nchw->nchw", x)), 1),
    "multiplied": (lambda m, x: x.flatten(2) @ torch.ones(36, 4), -1),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_units_are_followed_from_the_layer_that_feeds_the_module(name: str) -> None:
    between, axis = BETWEEN[name]
    model, data = Rearranged(between, nn.Conv2d(2, 5, 1)), torch.randn(7, 2, 6, 6)
    with torch.no_grad():
        model.layer.bias[1] = -100
    statistics = layer_statistics(model, data, pre_activations=True)
    points = collected(model, model.act, [data], axis=axis)
    assert_same_as(statistics, "act", points, FLOAT32)
    np.testing.assert_array_equal(statistics.units("act").dead, (points == 0).all(0))


UNKNOWN = {
    "no layer": lambda m, x: m.act(x),
    "einsum": lambda m, x: m.act(torch.einsum("nchw->nhwc", m.layer(x))),
    "heads": lambda m, x: m.act(m.layer(x).view(7, 1, 5, 36).reshape(7, 6, 30)),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_units_that_cannot_be_known_are_asked_for(name: str) -> None:
    model, data = Rearranged(None, nn.Conv2d(2, 5, 1)), torch.randn(7, 2, 6, 6)
    model.forward = lambda x: UNKNOWN[name](model, x)
    with pytest.raises(InputError, match=r"which axis of the output of module 'act'.* give unit_axis="):
        layer_statistics(model, data)
    for axis in (1, {"act": 1}):
        assert_same_as(
            layer_statistics(model, data, unit_axis=axis), "act", collected(model, model.act, [data], axis=1), FLOAT32
        )
    with pytest.raises(InputError, match="unit_axis of module 'act' is 4"):
        layer_statistics(model, data, unit_axis=4)
    with pytest.raises(InputError, match="unit_axis names 'layer', which is not observed"):
        layer_statistics(model, data, unit_axis={"layer": 1})


def test_nested_tensors_of_the_fast_path_of_transformers() -> None:
    encoder = nn.TransformerEncoderLayer(8, 2, 16, activation=nn.GELU(), batch_first=True)
    model = nn.TransformerEncoder(encoder, 2).eval()
    padding = torch.zeros(5, 7, dtype=torch.bool)
    padding[1:, 4:] = True
    data = {"src": torch.randn(5, 7, 8), "src_key_padding_mask": padding}
    assert layer_statistics(model, data).table[["fed_by", "units", "count"]].to_numpy().tolist() == [
        ["layers.0.linear1", 16, 35],
        ["layers.1.linear1", 16, 35],
    ]


# --- accuracy ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.ELU()).to(dtype)
    data = (torch.randn(3000, 8, generator=torch.Generator().manual_seed(4)) + 2).to(dtype)
    statistics = layer_statistics(model, data, quantiles=(0.5,))
    assert_same_as(statistics, "0", model(data).double().numpy(), FLOAT32)


def test_autocast() -> None:
    model, data = network(torch.float32), inputs().float()
    with torch.autocast("cpu", dtype=torch.bfloat16), observe_layers(model, layers=["0"]) as statistics:
        model(data)
        outputs = model[0](data)
    assert outputs.dtype == torch.bfloat16
    assert statistics.units("0").count == 180
    np.testing.assert_allclose(statistics.units("0").mean, outputs.double().mean(0).detach(), **FLOAT32)


def test_values_that_are_not_finite_are_told() -> None:
    model = nn.Sequential(nn.ReLU()).double()
    data = inputs().clone()
    data[3, 1], data[50, 2] = math.nan, math.inf
    statistics = layer_statistics(model, data, quantiles=(0.5,), batch_size=20)
    found = statistics.units("0")
    assert found.nonfinite.tolist() == [False, True, True, False]
    assert found.mean.isfinite().tolist() == [True, False, False, True]
    assert found.variance.isfinite().tolist() == [True, False, False, True]
    assert not found.dead.any()
    assert statistics.table["nonfinite_units"].item() == 2
    assert math.isnan(statistics.table["mean"].item())
    assert found.quantiles.isnan().tolist() == [[False, True, True, False]]
    sketched = layer_statistics(model, data, quantiles=(0.5,), memory=1).units("0")
    assert sketched.quantiles.isnan().tolist() == [[False, True, True, False]]


# --- kinds of models --------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    """conv–norm–act, conv–norm, sum, the same act again."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)])
        self.act = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.act(self.norms[0](self.first(images)))
        return self.act(self.norms[1](self.second(hidden)) + images)


def test_residual_convolutions_with_one_shared_activation() -> None:
    model = Residual().double().train()
    images = torch.randn(6, 3, 5, 4, dtype=torch.float64)
    with torch.no_grad(), observe_layers(model, extremes=True) as statistics:
        outputs = model(images).clone()
        normalised = nn.functional.batch_norm(model.first(images), None, None, training=True)
    hidden = normalised.relu().movedim(1, -1).flatten(0, -2).numpy()
    assert statistics.layers == ["act@first", "act@second"]
    assert statistics.table["fed_by"].tolist() == ["first", "second"]
    assert_same_as(statistics, "act@first", hidden, {"rtol": 1e-10, "atol": 1e-12})
    assert_same_as(statistics, "act@second", outputs.movedim(1, -1).flatten(0, -2).numpy(), EXACTLY)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.from_input, self.from_hidden, self.act = nn.Linear(2, 4), nn.Linear(4, 4), nn.Tanh()

    def forward(self, sequence: Tensor) -> Tensor:
        hidden = sequence.new_zeros(len(sequence), 4)
        for step in sequence.unbind(1):
            hidden = self.act(self.from_input(step) + self.from_hidden(hidden))
        return hidden


def test_repeated_calls_of_a_recurrent_net_are_pooled() -> None:
    model, data = Recurrent().double(), torch.randn(7, 9, 2, dtype=torch.float64)
    statistics = layer_statistics(model, data)
    assert_same_as(statistics, "act", collected(model, model.act, [data]), EXACTLY)
    assert statistics.table[["layer", "calls", "count"]].to_numpy().tolist() == [["act", 9, 63]]


@pytest.mark.parametrize("training", [True, False])
def test_transformer(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = nn.TransformerEncoderLayer(8, 2, 16, activation=nn.GELU(), batch_first=True, dtype=torch.float64)
    model = nn.TransformerEncoder(encoder, 2).train(training)
    data = torch.randn(5, 7, 8, dtype=torch.float64)
    statistics = layer_statistics(model, data)
    assert model.training is training
    model.eval()
    monkeypatch.setattr(torch.backends.mha, "get_fastpath_enabled", lambda: False)  # it rounds otherwise
    for number, name in enumerate(statistics.layers):
        assert name == f"layers.{number}.activation"
        assert_same_as(statistics, name, collected(model, model.layers[number].activation, [data]), EXACTLY)
    assert statistics.table["units"].tolist() == [16, 16]
    assert statistics.table["count"].tolist() == [35, 35]


class Sequences(nn.Module):
    """A 1-D convolution, units on axis 1, and a Linear, units on the last axis, before activations of three axes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear, self.act, self.other = nn.Conv1d(2, 6, 1), nn.Linear(6, 6), nn.ELU(), nn.ELU()

    def forward(self, sequence: Tensor) -> Tensor:
        return self.other(self.linear(self.act(self.conv(sequence)).mT))


def test_units_lie_where_the_layer_before_puts_them() -> None:
    model, data = Sequences().double(), torch.randn(4, 2, 6, dtype=torch.float64)
    statistics = layer_statistics(model, data)
    assert_same_as(statistics, "act", collected(model, model.act, [data], axis=1), EXACTLY)
    assert_same_as(statistics, "other", collected(model, model.other, [data], axis=-1), EXACTLY)
    unbatched = layer_statistics(model, [data[0]])
    np.testing.assert_allclose(unbatched.units("act").mean, model.act(model.conv(data[0])).mean(1).detach(), **EXACTLY)


def test_tuple_outputs_and_mappings() -> None:
    model = nn.LSTM(3, 5, batch_first=True).double()
    data = torch.randn(8, 4, 3, dtype=torch.float64)
    statistics = layer_statistics(model, {"input": data}, layers=[""])
    assert_same_as(statistics, "", model(data)[0].detach().flatten(0, 1).numpy(), EXACTLY)


def test_checkpointed_passes_count_once() -> None:
    from torch.utils.checkpoint import checkpoint

    model, data = network(), inputs()
    whole = nn.Sequential(model)
    whole.forward = lambda values: checkpoint(model, values, use_reentrant=False)
    with observe_layers(whole) as statistics:
        whole(data).sum().backward()
    assert statistics.units("0.1").count == 90


# --- the caller's own loop --------------------------------------------------------------------------------------------


def hooks_of(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_in_a_training_loop_nothing_changes() -> None:
    def train(observe: bool) -> tuple[list[Tensor], Any]:
        model = network().train()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        with observe_layers(model, extremes=observe, quantiles=(0.5,) if observe else ()) as statistics:
            if not observe:
                for module in model.modules():
                    module._forward_hooks.clear()
            for batch in inputs().split(30):
                optimiser.zero_grad()
                model(batch).square().mean().backward()
                optimiser.step()
        assert model.training
        assert hooks_of(model) == 0
        assert torch._C._len_torch_function_stack() == 0  # nor is any function of torch followed any longer
        return [parameter.detach() for parameter in model.parameters()], statistics

    observed, statistics = train(True)
    plain, _ = train(False)
    assert all(torch.equal(one, other) for one, other in zip(observed, plain, strict=True))
    assert not any(
        getattr(statistics.units(name), field).requires_grad
        for name in statistics.layers
        for field in ("mean", "variance")
    )


def test_hooks_go_when_model_or_loop_fail() -> None:
    model = network()
    with pytest.raises(RuntimeError, match="shapes"), observe_layers(model, pre_activations=True):
        model(torch.zeros(2, 9, dtype=torch.float64))
    assert hooks_of(model) == 0
    seen = []

    def interrupted_loop() -> None:
        with observe_layers(model) as statistics:
            seen.append(statistics)
            model(inputs())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_loop()
    assert hooks_of(model) == 0
    assert seen[0].units("1").count == 90
    model.train()
    with pytest.raises(InputError, match=r"the model fails on inputs \(2, 9\) of torch.float64: RuntimeError: mat1"):
        layer_statistics(model, torch.zeros(2, 9, dtype=torch.float64))
    assert model.training
    assert hooks_of(model) == 0


def test_inference_mode_and_after() -> None:
    model = network()
    with observe_layers(model, extremes=True) as statistics:
        with torch.inference_mode():
            model(inputs(40))
        model(inputs(50))
    points = collected(model, model[1], [inputs(40), inputs(50)])
    assert_same_as(statistics, "1", points, EXACTLY)


class HostCopies(TorchDispatchMode):
    """Raises where a tensor's value would be waited for."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            raise RuntimeError(f"{function} waits for the device")
        result = function(*args, **(kwargs or {}))
        sources = [argument for argument in args if isinstance(argument, Tensor)]
        to_host = isinstance(result, Tensor) and result.device.type == "cpu"
        if to_host and any(source.device.type != "cpu" for source in sources):
            raise RuntimeError(f"{function} copies to the host")
        return result


def test_no_batch_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device, which has no values to wait for, and under a mode that names whatever would."""
    monkeypatch.setattr(elutheory.numerics.running_moments, "FOLD_AFTER", 4)
    with torch.device("meta"):
        model = nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ELU(), nn.Flatten(), nn.Linear(48, 5), nn.ReLU()
        )
        data = torch.empty(4, 2, 6, 6)
    with (
        observe_layers(model, extremes=True, pre_activations=True, quantiles=(0.5,), memory=2**40) as statistics,
        HostCopies(),
    ):
        for _ in range(2 * elutheory.numerics.running_moments.FOLD_AFTER + 1):
            model(data)
    assert [statistics.units(name).count for name in statistics.layers] == [9 * 4 * 16, 9 * 4]


@pytest.mark.parametrize(
    "wait", [lambda values: values.sum().item(), lambda values: bool((values > 0).any()), Tensor.cpu]
)
def test_waiting_for_the_device_is_caught(wait: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: with one line more in the sums it does."""
    sums = elutheory.numerics.running_moments._sums

    def waiting_sums(values: Tensor, *others: Any) -> Any:
        wait(values)
        return sums(values, *others)

    monkeypatch.setattr(elutheory.numerics.running_moments, "_sums", waiting_sums)
    with torch.device("meta"):
        model, data = nn.Sequential(nn.ELU()), torch.empty(4, 2)
    with pytest.raises((RuntimeError, NotImplementedError), match=r"waits|meta"), observe_layers(model), HostCopies():
        model(data)


# --- quantiles --------------------------------------------------------------------------------------------------------


def test_sketches_beyond_the_memory() -> None:
    """Rank errors of 3 layers' units at three ranks: at 99 % confidence each, ten standard errors of their share."""
    torch.manual_seed(6)
    model = nn.Sequential(nn.Linear(4, 30), nn.ELU()).double()
    data = torch.randn(20_000, 4, dtype=torch.float64)
    ranks = (0.1, 0.5, 0.9)
    sketched = layer_statistics(model, data, quantiles=ranks, memory=10_000)
    exact = layer_statistics(model, data, quantiles=ranks)
    assert (sketched.table["quantile_method"].item(), exact.table["quantile_method"].item()) == ("sketch", "exact")
    bound = sketched.table["quantile_rank_error"].item()
    assert 0 < bound < 0.01
    points = collected(model, model[1], [data])
    found = sketched.units("1").quantiles.numpy()
    errors = np.array([abs((points <= found[index]).mean(0) - rank) for index, rank in enumerate(ranks)])
    assert (errors > bound).mean() < 0.01 + 10 * math.sqrt(0.01 / errors.size)
    assert errors.max() > 0
    np.testing.assert_allclose(sketched.units("1").mean, exact.units("1").mean, **EXACTLY)


def test_sketches_merge_with_kept_values() -> None:
    values = torch.randn(20_000, 2)
    for first, second in [(False, True), (True, False), (True, True)]:
        parts = []
        for half, sketch in zip(values.split(10_000), (first, second), strict=True):
            part = UnitQuantiles()
            part.add(half, -1)
            if sketch:
                part.to_sketches()
            parts.append(part)
        parts[0].merge(parts[1])
        assert parts[0].method == "sketch"
        assert parts[0]._sketches.get_n().tolist() == [20_000, 20_000]
        found = parts[0].at((0.5,))[0].numpy()
        assert abs((values.numpy() <= found).mean(0) - 0.5).max() < 4 * parts[0].rank_error


# --- merging and files ------------------------------------------------------------------------------------------------


@given(first=st.integers(1, 89), extremes=st.booleans())
def test_two_halves_equal_the_whole(first: int, extremes: bool) -> None:
    model, data = network(), inputs()
    options: dict[str, Any] = {"extremes": extremes, "quantiles": (0.25, 0.5), "batch_size": 13}
    whole = layer_statistics(model, data, **options)
    one, other = (layer_statistics(model, part, **options) for part in (data[:first], data[first:]))
    backwards = LayerStatistics.from_bytes(other.to_bytes()).merge(one)
    one.merge(other)
    for merged in (one, backwards):
        left, right = merged.unit_table, whole.unit_table
        assert (left["count"] == right["count"]).all()
        for column in right.columns[4:]:
            np.testing.assert_allclose(left[column].astype(float), right[column].astype(float), **EXACTLY)


def all_statistics() -> Iterator[LayerStatistics]:
    for options in ({}, {"extremes": False}, {"quantiles": (0.5,)}, {"quantiles": (0.5,), "memory": 1}):
        yield layer_statistics(network(), inputs(), pre_activations=True, **options)


def test_files_hold_everything(tmp_path: Path) -> None:
    for statistics in all_statistics():
        statistics.save(tmp_path / "statistics.safetensors")
        loaded = LayerStatistics.load(tmp_path / "statistics.safetensors")
        assert loaded.table.equals(statistics.table)
        assert loaded.unit_table.equals(statistics.unit_table)
        assert loaded.merge(statistics).table["count"].tolist() == [180] * 4


def test_the_files_name_their_format() -> None:
    """Files that were written before a module moved are read after it."""
    content = layer_statistics(network(), inputs()).to_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert {*header["__metadata__"]} == {"elutheory.layer_statistics.2", "sha256"}


@pytest.mark.parametrize("name", ["layer_statistics", "observe_layers"])
def test_public_functions_are_functions_whatever_was_imported(name: str) -> None:
    importlib.import_module("elutheory.statistics.unit_statistics")
    function = getattr(elutheory, name)
    assert inspect.isfunction(function)
    assert "activation function's outputs" in pydoc.render_doc(function)
    assert pickle.loads(pickle.dumps(function)) is function  # noqa: S301


def test_other_files_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "statistics.safetensors"
    with pytest.raises(InputError, match="there is no file"):
        LayerStatistics.load(path)
    for statistics in all_statistics():
        content = statistics.to_bytes()
        for broken in (b"", b"text", content[:-1], content[: len(content) // 2], content + b"x", b"\xff" * 100):
            path.write_bytes(broken)
            with pytest.raises(InputError, match="cannot be read: it holds no layer statistics"):
                LayerStatistics.load(path)
    save_file({"inputs": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="holds no layer statistics"):
        LayerStatistics.load(path)


def test_merging_different_measurements_is_refused() -> None:
    one = layer_statistics(network(), inputs())
    with pytest.raises(InputError, match="extremes and quantiles are"):
        one.merge(layer_statistics(network(), inputs(), extremes=False))
    wider = nn.Sequential(nn.Linear(4, 9), nn.ELU()).double()
    with pytest.raises(InputError, match="layer '1' has 6 units here and 9 there"):
        one.merge(layer_statistics(wider, inputs()))
    assert one.units("1").count == 90


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_model_without_activation_functions_is_refused() -> None:
    message = "no call of an observed module was seen, nor of a function such as torch.relu"
    with pytest.raises(InputError, match=message):
        layer_statistics(nn.Sequential(nn.Linear(4, 3)).double(), inputs())
    with observe_layers(nn.Linear(4, 3).double()) as statistics:
        pass
    with pytest.raises(InputError, match=message):
        _ = statistics.table


def test_bad_input_is_refused() -> None:
    model = network()
    for options, message in [
        ({"layers": ["9"]}, "the model has no module '9'"),
        ({"layers": []}, "layers is empty"),
        ({"quantiles": (1.5,)}, "between 0 and 1"),
        ({"batch_size": 0}, "batch_size is 0"),
    ]:
        with pytest.raises(InputError, match=message):
            layer_statistics(model, inputs(), **options)
    with pytest.raises(InputError, match="at least one is needed"):
        layer_statistics(model, [])
    with pytest.raises(InputError, match="no output of a layer 'x' was seen; the layers are '1'"):
        layer_statistics(model, inputs()).units("x")
    with observe_layers(model) as statistics:
        pass
    with pytest.raises(InputError, match="no call of an observed module was seen"):
        _ = statistics.table
    with pytest.raises(InputError, match=r"torch.func"), observe_layers(model):
        torch.vmap(model)(inputs())
