"""The footprint: work against plain arithmetic that counts itself, and torch's counts; verdicts on made-up tables."""

import io
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pandas
import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from analyses.experiments import footprint
from analyses.experiments.footprint import draw
from analyses.experiments.footprint.batch_statistics import batch_dependence, one_example, unit_means
from analyses.experiments.footprint.measurement import cells, counts, measure
from analyses.experiments.footprint.networks import ARCHITECTURES, VARIANTS, Architecture, hidden_layers
from analyses.experiments.footprint.operation_counts import PARTS, Work, layer_work, network_work, update_work
from analyses.experiments.footprint.settings import COLUMNS, FIVE_PER_CENT, PRESETS, Config
from analyses.experiments.footprint.torch_counts import OperandBytes, torch_counts
from analyses.experiments.footprint.verdicts import break_even, claims, decisions, ratios, summary
from analyses.networks.architectures import (
    CIFAR_11_STACKS,
    LEARNING_BEHAVIOUR,
    convolutional,
    fully_connected,
    initialise,
)
from analyses.networks.step_times import interleaved_seconds, layer_seconds, step_seconds, torch_threads
from elutheory.errors import InputError
from elutheory.output.figures import figure_bytes
from tests.analyses.experiments.saved_records import rendered_alike

WIDTHS = (16, 6, 6, 5, 10)
STACKS = (((1, 4, 3),), ((1, 5, 2),), ((1, 6, 1),), ((1, 10, 1),))  # of 4 × 4, 2 × 2, 1, 1 pixels
SMALL = {
    "fully_connected": Architecture(
        "E2", lambda name, batch_norm: fully_connected(WIDTHS, name, batch_norm=batch_norm), (4, 4), momentum=False
    ),
    "convolutional": Architecture(
        "E4",
        lambda name, batch_norm: convolutional(STACKS, (0.0, 0.2, 0.0, 0.0), name, batch_norm=batch_norm),
        (3, 4, 4),
        momentum=True,
    ),
}
QUICK = Config(batch_size=8, convolutional_batch_size=4, repetitions=3, shortest=0.0, measured=12, seeds=3)


@pytest.fixture(scope="module")
def table() -> Iterator[pandas.DataFrame]:
    with pytest.MonkeyPatch.context() as patch:
        for name, architecture in SMALL.items():
            patch.setitem(ARCHITECTURES, name, architecture)
        yield measure(QUICK)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- operations, by arithmetic that counts itself ---------------------------------------------------------------------


class Counted:
    """A number that counts what is done with it."""

    done: ClassVar[Counter[str]] = Counter()

    def __init__(self, value: float) -> None:
        self.value = value

    def _result(self, value: float, kind: str = "operations") -> "Counted":
        Counted.done[kind] += 1
        return Counted(value)

    def __add__(self, other: Any) -> "Counted":
        return self._result(self.value + plain(other))

    def __sub__(self, other: Any) -> "Counted":
        return self._result(self.value - plain(other))

    def __mul__(self, other: Any) -> "Counted":
        return self._result(self.value * plain(other))

    def __truediv__(self, other: Any) -> "Counted":
        return self._result(self.value / plain(other))

    def __gt__(self, other: Any) -> bool:
        return self._result(float(self.value > plain(other))).value > 0

    def sqrt(self) -> "Counted":
        return self._result(math.sqrt(self.value))

    def exp(self) -> "Counted":
        return self._result(math.exp(self.value), "exponentials")


def plain(number: Any) -> float:
    return number.value if isinstance(number, Counted) else number


def total(numbers: Sequence[Counted]) -> Counted:
    result = Counted(0.0)
    for number in numbers:
        result = result + number
    return result


def counted(tensor: Tensor) -> Any:
    return np.vectorize(Counted, otypes=[object])(tensor.detach().numpy())


def values(numbers: Any) -> Tensor:
    return torch.tensor(np.vectorize(plain, otypes=[float])(numbers))


def taken() -> tuple[int, int]:
    """Operations and exponentials since the last call."""
    found = Counted.done["operations"], Counted.done["exponentials"]
    Counted.done.clear()
    return found


def of(work: Work) -> tuple[int, int]:
    return work.operations, work.exponentials


def torch_gradients(layer: nn.Module, inputs: Tensor, gradient: Tensor) -> tuple[Tensor, list[Tensor]]:
    inputs = inputs.clone().requires_grad_()
    outputs = layer(inputs)
    return outputs, list(torch.autograd.grad(outputs, [inputs, *layer.parameters()], gradient))


def test_operations_of_linear_layers() -> None:
    layer, inputs, gradient = nn.Linear(3, 2, dtype=torch.float64), normal(4, 3), normal(4, 2, seed=1)
    outputs, (expected, weights, biases) = torch_gradients(layer, inputs, gradient)
    work = layer_work(layer, inputs.shape, outputs.shape)
    x, w, b, g = (counted(found) for found in (inputs, layer.weight, layer.bias, gradient))
    taken()
    found = [[total(x[i] * w[j]) + b[j] for j in range(2)] for i in range(4)]
    assert of(work["forward"]) == of(work["evaluation"]) == taken() == (2 * 3 * 8 + 8, 0)
    torch.testing.assert_close(values(found), outputs.detach())
    found = [[total(g[:, j] * x[:, k]) for k in range(3)] for j in range(2)], [total(g[:, j]) for j in range(2)]
    assert of(layer_work(layer, inputs.shape, outputs.shape, first=True)["backward"]) == taken() == (2 * 3 * 8 + 8, 0)
    torch.testing.assert_close([values(each) for each in found], [weights, biases])
    found = [[total(g[i] * w[:, k]) for k in range(3)] for i in range(4)]
    assert work["backward"].operations == 56 + taken()[0]
    torch.testing.assert_close(values(found), expected)


def test_operations_of_activations() -> None:
    inputs, gradient, alpha = normal(5, 2), normal(5, 2, seed=1), 1.7
    x, g = counted(inputs).ravel(), counted(gradient).ravel()
    elu, relu = nn.ELU(alpha), nn.ReLU()

    def curve(number: Counted) -> Counted:
        positive, negative = number > 0, (number.exp() - 1) * alpha
        return number if positive else negative

    def slope(number: Counted, incoming: Counted) -> Counted:
        positive, negative = number > 0, number.exp() * alpha * incoming
        return incoming if positive else negative

    for layer, forward, backward in (
        (elu, curve, slope),
        (
            relu,
            lambda number: number if number > 0 else Counted(0.0),
            lambda number, incoming: incoming if number > 0 else Counted(0.0),
        ),
    ):
        outputs, (expected,) = torch_gradients(layer, inputs, gradient)
        work = layer_work(layer, inputs.shape, outputs.shape)
        taken()
        found = [forward(number) for number in x]
        assert of(work["forward"]) == of(work["evaluation"]) == taken()
        torch.testing.assert_close(values(found), outputs.detach().flatten())
        found = [backward(number, incoming) for number, incoming in zip(x, g, strict=True)]
        assert of(work["backward"]) == taken()
        torch.testing.assert_close(values(found), expected.flatten())


def test_operations_of_batch_normalisation() -> None:
    examples, units = 7, 3
    layer = nn.BatchNorm1d(units, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(normal(units, seed=2))
        layer.bias.copy_(normal(units, seed=3))
    inputs, gradient = 2 + 3 * normal(examples, units), normal(examples, units, seed=1)
    x, g, gamma, beta = (counted(found) for found in (inputs, gradient, layer.weight, layer.bias))
    running_mean, running_variance = counted(layer.running_mean), counted(layer.running_var)
    outputs, gradients = torch_gradients(layer, inputs, gradient)
    work = layer_work(layer, inputs.shape, outputs.shape)
    momentum, unbiased = 0.1, examples / (examples - 1)
    found, saved, running = [], [], []
    taken()
    for j in range(units):
        mean = total(x[:, j]) / examples
        centred = [number - mean for number in x[:, j]]
        variance = total([number * number for number in centred]) / examples
        inverse = Counted(1.0) / (variance + layer.eps).sqrt()
        scale = gamma[j] * inverse
        shift = beta[j] - mean * scale
        found.append([number * scale + shift for number in x[:, j]])
        running.append(running_mean[j] * (1 - momentum) + mean * momentum)
        running.append(running_variance[j] * (1 - momentum) + variance * unbiased * momentum)
        saved.append((mean, inverse))
    assert of(work["forward"]) == taken() == (6 * 21 + 15 * 3, 0)
    torch.testing.assert_close(values(found).T, outputs.detach())
    torch.testing.assert_close(values(running[::2]), layer.running_mean)
    torch.testing.assert_close(values(running[1::2]), layer.running_var)
    found = []
    for j, (mean, inverse) in enumerate(saved):
        summed = total(g[:, j])
        along = total([one * (number - mean) for one, number in zip(g[:, j], x[:, j], strict=True)])
        of_gamma, share = along * inverse, along * inverse * inverse / examples
        average, scale = summed / examples, gamma[j] * inverse
        of_inputs = [
            (one - average - (number - mean) * share) * scale for one, number in zip(g[:, j], x[:, j], strict=True)
        ]
        found.append([*of_inputs, of_gamma, summed])
    assert of(work["backward"]) == taken() == (9 * 21 + 6 * 3, 0)
    torch.testing.assert_close(values(found).T, torch.cat([gradients[0], *(each[None] for each in gradients[1:])]))
    layer.eval()
    means, variances = counted(layer.running_mean), counted(layer.running_var)
    found = []
    taken()
    for j in range(units):
        scale = gamma[j] * (Counted(1.0) / (variances[j] + layer.eps).sqrt())
        shift = beta[j] - means[j] * scale
        found.append([number * scale + shift for number in x[:, j]])
    assert of(work["evaluation"]) == taken()
    torch.testing.assert_close(values(found).T, layer(inputs).detach())


@pytest.mark.parametrize("momentum", [True, False])
def test_operations_of_an_update(momentum: bool) -> None:
    # torch.optim.SGD, its second step: the first one has no momentum yet
    rate, kept, penalty = 0.1, 0.9 * momentum, 0.01 * momentum
    parameter = normal(6).requires_grad_()
    optimiser = torch.optim.SGD([parameter], lr=rate, momentum=kept, weight_decay=penalty)
    parameter.grad = normal(6, seed=1)
    optimiser.step()
    weights, gradients = counted(parameter), counted(normal(6, seed=2))
    buffers = counted(optimiser.state[parameter]["momentum_buffer"]) if momentum else None
    parameter.grad = normal(6, seed=2)
    optimiser.step()
    taken()
    if buffers is not None:
        gradients = buffers * kept + (gradients + weights * penalty)
    found = weights - gradients * rate
    assert of(update_work(6, momentum=momentum)) == taken()
    torch.testing.assert_close(values(found), parameter.detach())
    read_and_written = 5 if momentum else 3  # weights, gradients, momenta in; weights, momenta out
    assert update_work(6, momentum=momentum).bytes == 4 * 6 * read_and_written


# --- by hand, layer after layer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "shape", "forward", "backward", "evaluation"),
    [
        # inputs 12, weights 6, outputs 8, biases 2
        (nn.Linear(3, 2), (4, 3), (56, 112), (104, 248), (56, 112)),
        (nn.Linear(3, 2, bias=False), (4, 3), (48, 104), (96, 208), (48, 104)),
        # inputs 32, weights 54, outputs 48, biases 3; fan-in 18
        (nn.Conv2d(2, 3, 3, padding=1), (1, 2, 4, 4), (1776, 548), (3504, 1276), (1776, 548)),
        (nn.ReLU(), (4, 3), (12, 96), (12, 144), (12, 96)),
        (nn.ELU(), (4, 3), (36, 96), (36, 144), (36, 96)),
        # 12 numbers in 3 units: read twice, written, 8 numbers a unit; backward: both read twice, written, 5 a unit
        (nn.BatchNorm1d(3), (4, 3), (117, 240), (126, 300), (42, 144)),
        (nn.BatchNorm2d(3), (2, 3, 2, 1), (117, 240), (126, 300), (42, 144)),
        # 12 windows of 4, whose places are 8 bytes each
        (nn.MaxPool2d(2), (1, 3, 4, 4), (36, 336), (12, 336), (36, 336)),
        (nn.Dropout(0.5), (4, 3), (24, 108), (24, 108), (0, 0)),
        (nn.AdaptiveAvgPool2d(1), (1, 3, 4, 4), (51, 204), (3, 204), (51, 204)),
        (nn.ZeroPad2d(1), (1, 1, 2, 2), (0, 80), (0, 80), (0, 80)),
        (nn.Flatten(), (2, 3, 2, 2), (0, 0), (0, 0), (0, 0)),
    ],
)
def test_work_by_hand(
    layer: nn.Module,
    shape: tuple[int, ...],
    forward: tuple[int, int],
    backward: tuple[int, int],
    evaluation: tuple[int, int],
) -> None:
    """(operations, bytes) of each part."""
    inputs = torch.zeros(shape)
    work = layer_work(layer, inputs.shape, layer(inputs).shape)
    found = [(work[part].operations, work[part].bytes) for part in PARTS]
    assert found == [forward, backward, evaluation]
    assert any(work[part].exponentials for part in PARTS) == isinstance(layer, nn.ELU)


def test_first_layers_need_no_gradient_of_their_inputs() -> None:
    shapes = torch.Size((4, 3)), torch.Size((4, 2))
    assert layer_work(nn.Linear(3, 2), *shapes, first=True)["backward"] == Work(56, 0, 144)


def test_unknown_layers_are_refused() -> None:
    with pytest.raises(InputError, match="the work of a layer GELU is not known"):
        layer_work(nn.GELU(), torch.Size((4, 3)), torch.Size((4, 3)))


# --- beside torch's counts --------------------------------------------------------------------------------------------


def products(network: nn.Sequential, shape: Sequence[int]) -> dict[str, int]:
    """Operations of all products by the formulas, without the biases' n each way."""
    found = Counter()
    held = torch.empty(*shape, device="meta")
    for layer, work in network_work(network, torch.Size(shape)):
        held = layer(held)
        if isinstance(layer, nn.Linear | nn.Conv2d):
            for part in ("forward", "backward"):
                found[part] += work[part].operations - held.numel()
    return dict(found)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("name", "shape"), [("fully_connected", (64, 784)), ("convolutional", (4, 3, 32, 32))])
def test_products_are_those_that_torch_counts(name: str, shape: tuple[int, ...], variant: str) -> None:
    network = ARCHITECTURES[name].shapes(variant)
    assert products(network, shape) == torch_counts(network, torch.empty(*shape, device="meta")).operations


def test_shapes_alone_count_as_numbers_do() -> None:
    network, inputs = SMALL["convolutional"].network("elu_batch_norm", 0), torch.randn(6, 3, 4, 4)
    with FlopCounterMode(display=False) as counter:
        network(inputs).sum().backward()
    meta = SMALL["convolutional"].shapes("elu_batch_norm")
    assert counter.get_total_flops() == sum(products(meta, (6, 3, 4, 4)).values())
    on_meta = torch_counts(meta, inputs.to("meta"))
    assert torch_counts(network, inputs).operations == on_meta.operations
    assert sum(on_meta.operations.values()) == counter.get_total_flops()


def test_products_are_those_that_the_profiler_counts() -> None:
    # it knows conv2d, addmm and mm: all products of forward, those of linear layers in backward
    network = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(3, 4, 2),
        nn.Flatten(),
        nn.Linear(36, 5),
        nn.ELU(),
        nn.Linear(5, 2),
    )
    inputs = torch.randn(6, 2, 4, 4)
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as of_forward:
        outputs = network(inputs)
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as of_backward:
        outputs.sum().backward()
    profiles = [
        {event.key: event.flops for event in profiled.key_averages() if event.flops}
        for profiled in (of_forward, of_backward)
    ]
    work = list(network_work(network.to("meta"), inputs.shape))
    sizes = {0: 6 * 3 * 16, 2: 6 * 4 * 9, 4: 6 * 5, 6: 6 * 2}
    forward = {place: work[place][1]["forward"].operations - size for place, size in sizes.items()}
    backward = {place: work[place][1]["backward"].operations - size for place, size in sizes.items()}
    assert profiles[0] == {"aten::conv2d": forward[0] + forward[2], "aten::addmm": forward[4] + forward[6]}
    assert profiles[1] == {"aten::mm": backward[4] + backward[6]}


@pytest.mark.parametrize("build", [nn.ReLU, nn.ELU, lambda: nn.Linear(3, 2), lambda: nn.Linear(3, 2, bias=False)])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_bytes_are_those_of_torchs_operands(build: Callable[[], nn.Module], device: str) -> None:
    layer = build().to(device)
    inputs = torch.zeros(4, 3, device=device, requires_grad=True)
    work = layer_work(layer, inputs.shape, layer(inputs).shape)
    assert torch_counts(layer, inputs).bytes == {part: work[part].bytes for part in ("forward", "backward")}


def test_operand_bytes_of_single_kernels() -> None:
    x, y = torch.ones(10), torch.ones(10)
    for run, expected in (
        (lambda: x + y, 120),
        (lambda: x * x, 80),  # one operand, read once
        (lambda: x.view(2, 5).t()[1:], 0),
        (lambda: torch.empty(100), 0),
        (lambda: x.double(), 40 + 80),
        (lambda: x.add_(y), 120),
    ):
        with OperandBytes() as moved:
            run()
        assert moved.bytes == expected


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("hidden", "expected"),
    [
        ([nn.ReLU()], 80 + 48),  # the network's inputs, and outputs of the ReLU
        ([nn.ELU()], 80 + 48 + 48),  # net inputs and outputs
        ([nn.BatchNorm1d(3), nn.ReLU()], 80 + 48 + 24 + 48),  # with mean and 1/std of the batch
        ([nn.BatchNorm1d(3), nn.ELU()], 80 + 48 + 24 + 48 + 48),
    ],
)
def test_bytes_kept_for_backward(hidden: list[nn.Module], expected: int, device: str) -> None:
    network = nn.Sequential(nn.Linear(5, 3), *hidden, nn.Linear(3, 2)).to(device)
    assert torch_counts(network, torch.zeros(4, 5, device=device)).kept_bytes == expected


def test_counts_of_the_papers_networks() -> None:
    widths = LEARNING_BEHAVIOUR
    convolutions = [(count, units) for stack in CIFAR_11_STACKS for count, units, _ in stack][:-1]
    units = {
        "fully_connected": list(widths[1:-1]),
        "convolutional": [units for count, units in convolutions for _ in range(count)],
    }
    assert [len(found) for found in units.values()] == [8, 10]
    shapes = {"fully_connected": (4, 784), "convolutional": (2, 3, 32, 32)}
    for name, of_hidden in units.items():
        rows = counts(ARCHITECTURES[name], shapes[name])
        held = {
            quantity: rows[rows["quantity"] == quantity].set_index("variant")["value"]
            for quantity in ("parameters", "buffers")
        }
        for activation in ("relu", "elu"):
            added = held["parameters"][f"{activation}_batch_norm"] - held["parameters"][activation]
            assert added == 2 * sum(of_hidden)  # scale and shift
            assert held["buffers"][activation] == 0
            running = 2 * sum(of_hidden) + len(of_hidden)  # mean, variance; batches so far
            assert held["buffers"][f"{activation}_batch_norm"] == running
        if name == "fully_connected":
            expected = sum((fan_in + 1) * wide for fan_in, wide in pairwise(widths))
            assert held["parameters"]["relu"] == expected
        alone = rows[(rows["layer"] > 0) & (rows["quantity"] == "exponentials") & (rows["part"] == "forward")]
        together = (alone["value"] * alone["layers"]).groupby(alone["variant"]).sum()
        whole = rows[rows["layer"].isna() & (rows["quantity"] == "exponentials") & (rows["part"] == "forward")]
        assert together.to_dict() == whole.set_index("variant")["value"].to_dict()
        assert together["relu"] == together["relu_batch_norm"] == 0 < together["elu"]


def test_hidden_layers_of_one_shape_stand_together() -> None:
    for variant, (_, batch_norm) in VARIANTS.items():
        found = hidden_layers(SMALL["fully_connected"].shapes(variant), (4, 16))
        stride = 3 if batch_norm else 2
        assert [(each.number, each.layers, tuple(each.shape)) for each in found] == [(1, 2, (4, 6)), (3, 1, (4, 5))]
        assert [each.place for each in found] == [slice(1, stride), slice(2 * stride + 1, 3 * stride)]
        found = hidden_layers(SMALL["convolutional"].shapes(variant), (2, 3, 4, 4))
        assert [tuple(each.shape) for each in found] == [(2, 4, 4, 4), (2, 5, 2, 2), (2, 6, 1, 1)]


# --- batches ----------------------------------------------------------------------------------------------------------


def test_batch_normalisation_refuses_one_example() -> None:
    for name, refusing in (("fully_connected", [1, 3]), ("convolutional", [3])):  # the third has one pixel
        architecture = SMALL[name]
        rows = one_example(architecture, architecture.images("digits", 1)[0])
        for variant, (_, batch_norm) in VARIANTS.items():
            of_variant = rows[rows["variant"] == variant]
            whole, layers = of_variant[of_variant["layer"].isna()], of_variant[of_variant["layer"] > 0]
            assert whole["value"].tolist() == [0.0 if batch_norm else 1.0]
            assert ("Expected more than 1 value per channel" in whole["reason"].iloc[0]) == batch_norm
            assert layers.loc[layers["value"] == 0, "layer"].tolist() == (refusing if batch_norm else [])


def test_evaluation_takes_one_example() -> None:
    architecture = SMALL["convolutional"]
    images = architecture.images("digits", 3)
    for variant in VARIANTS:
        network = architecture.network(variant, 0).eval()
        torch.testing.assert_close(network(images[:1]), network(images)[:1])


@pytest.mark.parametrize("name", SMALL)
def test_an_example_depends_on_its_batch_by_normalisation_in_training_alone(name: str) -> None:
    rows = batch_dependence(SMALL[name], SMALL[name].images("digits", 8))
    found = rows.set_index(["variant", "part"])["value"]
    for variant, (_, batch_norm) in VARIANTS.items():
        assert found[variant, "evaluation"] == 0
        assert (found[variant, "forward"] > 0.01) == batch_norm
        assert batch_norm or found[variant, "forward"] == 0


def outputs_of_activations(network: nn.Sequential, images: Tensor) -> list[Tensor]:
    """In training mode, without dropout."""
    outputs: list[Tensor] = []
    for layer in network:
        if isinstance(layer, nn.ReLU | nn.ELU):
            layer.register_forward_hook(lambda _module, _inputs, found: outputs.append(found.detach()))
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    network(images)
    return outputs


def test_unit_means_by_hooks() -> None:
    architecture, seed = SMALL["convolutional"], 1
    images = architecture.images("digits", 9)
    rows = unit_means(architecture, images, 2)
    for variant, (activation, batch_norm) in VARIANTS.items():
        outputs = outputs_of_activations(architecture.network(variant, seed), images)
        means = [found.mean((0, 2, 3)) for found in outputs]
        second = [found.square().mean((0, 2, 3)) for found in outputs]
        shares = [float(mean.square().sum() / each.sum()) for mean, each in zip(means, second, strict=True)]
        assert len(outputs) == 3
        found = rows[(rows["variant"] == variant) & (rows["seed"] == seed)].set_index("quantity")["value"]
        assert found["unit_mean_median"] == pytest.approx(sorted(torch.cat(means).tolist())[7], abs=1e-6)  # of 15
        assert found["mean_share"] == pytest.approx(np.mean(shares), abs=1e-6)
        predicted = rows[(rows["variant"] == variant) & (rows["quantity"] == "predicted_mean")]["value"].tolist()
        # E max(X, 0) = φ(0), and for ELU E(e^X − 1; X < 0) = √e Φ(−1) − 1/2 beside it
        relu = 1 / math.sqrt(2 * math.pi)
        elu = relu + math.exp(0.5) * 0.5 * math.erfc(1 / math.sqrt(2)) - 0.5
        assert predicted == ([pytest.approx({"relu": relu, "elu": elu}[activation])] if batch_norm else [])


def test_images_have_the_networks_sizes() -> None:
    flat = ARCHITECTURES["fully_connected"].images("digits", 5)
    colour = ARCHITECTURES["convolutional"].images("digits", 5)
    assert (flat.shape, colour.shape) == ((5, 784), (5, 3, 32, 32))
    for images in (flat, colour):
        assert images.mean().item() == pytest.approx(0, abs=1e-6)
        assert images.std().item() == pytest.approx(1, abs=1e-3)
    assert (colour[:, :1] == colour).all()


def test_variants_of_one_seed_share_their_weights() -> None:
    for architecture in SMALL.values():
        weights = [
            [layer.weight for layer in architecture.network(variant, 4) if isinstance(layer, nn.Linear | nn.Conv2d)]
            for variant in VARIANTS
        ]
        assert all(torch.equal(*pair) for others in weights[1:] for pair in zip(weights[0], others, strict=True))


# --- times ------------------------------------------------------------------------------------------------------------


def test_candidates_take_turns_in_changing_order() -> None:
    called: list[tuple[str, int]] = []

    def candidate(name: str, second: float) -> Any:
        def timed(calls: int) -> dict[str, float]:
            called.append((name, calls))
            return {"forward": second * calls, "backward": 2 * second * calls}

        return timed

    timed = {"quick": candidate("quick", 0.001), "slow": candidate("slow", 0.01), "other": candidate("other", 0.02)}
    rows = interleaved_seconds(timed, repetitions=8, shortest=0.0135)
    warm, turns = called[:6], [called[start : start + 3] for start in range(6, len(called), 3)]
    assert {calls for _, calls in warm} == {1}
    assert len(turns) == 8
    assert {calls for turn in turns for _, calls in turn} == {5}  # of 0.003 s each
    orders = [tuple(name for name, _ in turn) for turn in turns]
    assert all(sorted(order) == sorted(timed) for order in orders)
    assert len(set(orders)) > 2
    found = rows.set_index(["variant", "part", "seed"])["value"]
    assert len(found) == 3 * 2 * 8
    assert found["slow", "backward", 7] == pytest.approx(0.02)
    again = interleaved_seconds(timed, repetitions=8, shortest=0.0135)
    assert again.equals(rows)
    assert called[len(called) // 2 :] == called[: len(called) // 2]


def test_timed_steps_are_training_steps() -> None:
    inputs, targets = torch.randn(6, 16), torch.arange(6)
    networks = [fully_connected(WIDTHS, "elu", batch_norm=True) for _ in range(2)]
    optimisers = [torch.optim.SGD(initialise(network, 0).parameters(), lr=0.1) for network in networks]
    modes: list[bool] = []
    networks[0].register_forward_hook(lambda module, _inputs, _outputs: modes.append(module.training))
    seconds = step_seconds(networks[0], optimisers[0], inputs, targets)(3)
    assert sorted(seconds) == ["backward", "evaluation", "forward", "update"]
    assert min(seconds.values()) > 0
    assert modes == [True] * 3 + [False] * 3
    for _ in range(3):
        optimisers[1].zero_grad()
        nn.functional.cross_entropy(networks[1](inputs), targets).backward()
        optimisers[1].step()
    for own, expected in zip(networks[0].state_dict().values(), networks[1].state_dict().values(), strict=True):
        torch.testing.assert_close(own, expected)


def test_timed_layers_are_called_as_often_in_every_part() -> None:
    layer = nn.Sequential(nn.BatchNorm1d(3), nn.ELU())
    calls: Counter[str] = Counter()
    layer.register_forward_hook(lambda module, _inputs, _outputs: calls.update([str(module.training)]))
    layer[1].register_full_backward_hook(lambda *_: calls.update(["backward"]))
    seconds = layer_seconds(layer, torch.randn(5, 3))(4)
    assert sorted(seconds) == ["backward", "evaluation", "forward"]
    assert min(seconds.values()) > 0
    assert calls == {"True": 4, "False": 4, "backward": 4}
    assert all(parameter.grad is None for parameter in layer.parameters())


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(RuntimeError, match="stopped"), torch_threads(before + 1):
        raise RuntimeError("stopped")
    assert torch.get_num_threads() == before


# --- verdicts ---------------------------------------------------------------------------------------------------------

MADE_UP: dict[str, dict[str, float]] = {
    # of ReLU, ELU, ReLU + batch norm, ELU + batch norm
    "seconds": dict(zip(VARIANTS, (1.0, 1.03, 1.2, 1.3), strict=True)),
    "layer_seconds": dict(zip(VARIANTS, (0.1, 0.2, 0.4, 0.5), strict=True)),
    "unit_mean_median": dict(zip(VARIANTS, (0.4, -0.1, 0.4, 0.1), strict=True)),
    "mean_share": dict(zip(VARIANTS, (0.5, 0.2, 0.4, 0.1), strict=True)),
    "operations": dict(zip(VARIANTS, (100.0, 110.0, 140.0, 150.0), strict=True)),
    "exponentials": dict(zip(VARIANTS, (0.0, 10.0, 0.0, 10.0), strict=True)),
    "bytes": dict(zip(VARIANTS, (100.0, 100.0, 140.0, 140.0), strict=True)),
    "kept_bytes": dict(zip(VARIANTS, (100.0, 110.0, 120.0, 130.0), strict=True)),
    "parameters": dict(zip(VARIANTS, (50.0, 50.0, 60.0, 60.0), strict=True)),
    "buffers": dict(zip(VARIANTS, (0.0, 0.0, 6.0, 6.0), strict=True)),
}


def made_up(changes: dict[str, dict[str, float]] | None = None, seeds: int = 14) -> pandas.DataFrame:
    """One network of MADE_UP with these changes, a tenth of a percent apart from seed to seed.

    Times are a third forward, two thirds backward, the hidden layers' of one row that stands for five of them.
    """
    numbers = {quantity: found | (changes or {}).get(quantity, {}) for quantity, found in MADE_UP.items()}
    rows: list[dict[str, Any]] = []
    for variant in VARIANTS:
        for seed in range(seeds):
            size = 1 + 1e-3 * seed * (1 if VARIANTS[variant][0] == "elu" else -1)
            for share, part in ((1 / 3, "forward"), (2 / 3, "backward"), (1 / 3, "evaluation")):
                whole, alone = (numbers[name][variant] * share * size for name in ("seconds", "layer_seconds"))
                row = {"quantity": "seconds", "variant": variant, "part": part, "seed": seed}
                rows += [row | {"value": whole}, row | {"value": alone / 5, "layer": 1, "layers": 5}]
            for quantity in ("unit_mean_median", "mean_share"):
                value = numbers[quantity][variant] * size
                rows.append({"quantity": quantity, "variant": variant, "seed": seed, "value": value})
        for quantity in ("operations", "exponentials", "bytes"):
            row = {"quantity": quantity, "variant": variant, "part": "backward"}
            rows += [
                row | {"value": numbers[quantity][variant]},
                row | {"value": numbers[quantity][variant] / 10, "layer": 1, "layers": 5},
            ]
        for quantity in ("kept_bytes", "parameters", "buffers"):
            rows.append({"quantity": quantity, "variant": variant, "value": numbers[quantity][variant]})
    found = pandas.DataFrame(rows).assign(network="fully_connected").reindex(columns=list(COLUMNS))
    return found.fillna({"layer": 0, "layers": 1})


def verdicts_of(changes: dict[str, dict[str, float]] | None = None, seeds: int = 14) -> dict[str, str]:
    decided = decisions(made_up(changes, seeds))
    return {found.claim.identifier.removesuffix(": E2"): found.verdict for found in decided}


def test_verdicts_one_way() -> None:
    found = verdicts_of({"seconds": {"elu": 1.01}})
    against = {"operations, exp 21"}
    assert {name for name, verdict in found.items() if verdict == "does not hold"} == against
    assert {verdict for name, verdict in found.items() if name not in against} == {"holds"}
    assert len(found) == 7 + 4


def test_verdicts_the_other_way() -> None:
    relu, norm = "relu", "relu_batch_norm"
    found = verdicts_of(
        {
            "seconds": {norm: 0.9, relu: 0.95},
            "layer_seconds": {norm: 0.15},
            "unit_mean_median": {relu: 0.05, norm: -0.05},
            "mean_share": {relu: 0.1, norm: 0.1},
            "operations": {norm: 105.0},
            "bytes": {norm: 100.0},  # as many are not fewer
            "kept_bytes": {norm: 90.0},
        }
    )
    assert set(found.values()) == {"does not hold"}


def test_five_per_cent_is_decided_at_five_per_cent() -> None:
    assert verdicts_of({"seconds": {"elu": 1.04}})["five per cent"] == "undecided"  # 1.04 to 1.07 over the seeds
    assert verdicts_of({"seconds": {"elu": 1.01}})["five per cent"] == "holds"
    assert verdicts_of({"seconds": {"elu": 1.07}})["five per cent"] == "does not hold"
    (decision,) = (
        found
        for found in decisions(made_up({"seconds": {"elu": 1.01}}))
        if found.claim.identifier == "five per cent: E2"
    )
    expected = [math.log(1.01 * (1 + 1e-3 * seed) / (1 - 1e-3 * seed)) for seed in range(14)]
    assert decision.effect == pytest.approx(np.mean(expected), abs=1e-4)
    assert decision.low < decision.effect < decision.high < FIVE_PER_CENT == pytest.approx(math.log(1.05))


def test_few_repetitions_cannot_decide() -> None:
    found = verdicts_of(seeds=5)
    counted_ones = {"operations, exp 1", "operations, exp 21", "bytes", "kept bytes"}
    assert {verdict for name, verdict in found.items() if name not in counted_ones} == {"cannot be decided"}
    assert found["bytes"] == "holds"


def test_presets_can_decide() -> None:
    for preset in PRESETS.values():
        assert 2.0 ** (1 - min(preset.repetitions, preset.seeds)) <= 0.05 / len(claims(preset.networks))
        assert len(cells(preset)) == 1


def test_ratios_and_break_even() -> None:
    rows = made_up(seeds=9)
    found = ratios(rows).set_index(["scope", "what", "variant"])
    assert found.loc[("step", "operations, exp 21", "elu"), "ratio"] == pytest.approx((110 + 210) / 100)
    assert found.loc[("layers", "operations, exp 1", "elu"), "ratio"] == pytest.approx(1.2)
    assert found.loc[("step", "parameters, state", "relu_batch_norm"), "ratio"] == pytest.approx(66 / 50)
    one: Any = found.loc[("layers", "time, training", "elu")]
    expected = [0.2 * (1 + 1e-3 * seed) / (0.1 * (1 - 1e-3 * seed)) for seed in range(9)]
    assert one["ratio"] == pytest.approx(np.median(expected), rel=1e-3)
    assert min(expected) <= one["low"] < one["ratio"] < one["high"] <= max(expected)
    assert (found.xs("relu", level="variant")[["ratio", "low", "high"]] == 1).all(axis=None)
    assert break_even(rows) == pytest.approx((140 - 110) / 10)


# --- from the configuration to the figure -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"networks": ()}, "networks are none; give each once, and one at least"),
        ({"networks": ("convolutional",) * 2}, "networks are convolutional, convolutional; give each once"),
        ({"networks": ("recurrent",)}, "there is no network recurrent; there are fully_connected, convolutional"),
        ({"batch_size": 1}, "batch_size is 1; give 2 or more"),
        ({"convolutional_batch_size": 0}, "convolutional_batch_size is 0"),
        ({"measured": 1}, "measured is 1"),
        ({"repetitions": 0}, "repetitions is 0; give 1 or more"),
        ({"seeds": 0}, "seeds is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"shortest": -1.0}, "shortest is -1.0; a finite number"),
        ({"shortest": math.nan}, "shortest is nan"),
        ({"shortest": math.inf}, "shortest is inf"),
    ],
)
def test_bad_configurations_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cells(replace(QUICK, **changes))


@pytest.mark.parametrize("changes", [{"batch_size": 624}, {"measured": 1248}])
def test_more_images_than_there_are_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(InputError, match="digits has 1247 training images; batches of"):
        measure(replace(QUICK, networks=("fully_connected",), **changes))


def test_table(table: pandas.DataFrame) -> None:
    assert list(table.columns) == list(COLUMNS)
    assert set(table["network"]) == set(SMALL)
    seconds = table[table["quantity"] == "seconds"]
    assert (seconds["value"] > 0).all()
    parts = {"forward", "backward", "update", "evaluation"}
    for (name, layer), rows in seconds.groupby(["network", "layer"]):
        assert len(rows) == 4 * QUICK.repetitions * len(rows["part"].unique())
        assert set(rows["part"]) == (parts if layer == 0 else parts - {"update"})
        assert rows["batch_size"].unique().tolist() == [8 if name == "fully_connected" else 4]
    assert table.loc[table["network"] == "fully_connected", "layer"].unique().tolist() == [0, 1, 3]
    assert table["data"].unique().tolist() == ["digits"]


def test_measuring_leaves_torchs_random_numbers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, architecture in SMALL.items():
        monkeypatch.setitem(ARCHITECTURES, name, architecture)
    before = torch.get_rng_state()
    again = measure(QUICK)
    assert torch.equal(torch.get_rng_state(), before)
    exact = again[again["quantity"] != "seconds"].reset_index(drop=True)
    repeated = measure(replace(QUICK, repetitions=1))
    pandas.testing.assert_frame_equal(exact, repeated[repeated["quantity"] != "seconds"].reset_index(drop=True))


def test_summary_and_figure_need_the_saved_table_alone(table: pandas.DataFrame) -> None:
    saved: Any = pandas.read_csv(io.StringIO(table.to_csv(index=False)))
    said = summary(saved)
    assert said == summary(table)
    assert "3 turns on cpu, threads: 1; mean activations over 12 images of digits, 3 seeds" in said
    assert "a step on one example, ELU: taken; 0 of 3 hidden layers refuse it" in said
    assert "a step on one example, ReLU + batch norm: refused" in said
    assert "1 of 3 hidden layers refuse it" in said
    assert "cannot be decided with 3 seeds" in said
    assert "p = nan" not in said
    assert len(rendered_alike(draw(saved), draw(table))) < 300_000


def test_figure_of_one_network(table: pandas.DataFrame) -> None:
    alone: Any = table[table["network"] == "convolutional"]
    figure = draw(alone)
    assert len(figure.axes) == 1
    assert "(a) convolutional, batches of 4" in figure.axes[0].get_title()
    assert figure_bytes(figure, "png")


def test_analysis_is_listed() -> None:
    from analyses.framework.catalogue import catalogue

    assert catalogue()["footprint"] == (footprint.__doc__ or "").partition("\n")[0]
