"""Devices and dtypes without a GPU: every entry point on a simulated accelerator, and under the other default dtype."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

import elutheory as et
from tests.devices.entry_points import ENTRY_POINTS, OPTIMIZERS, WITHOUT_TENSORS, Place, differences, trained
from tests.devices.simulated_accelerator import SimulatedAccelerator, WrongDeviceError, simulation_process

CPU = torch.device("cpu")
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def simulated() -> Iterator[Run]:
    """Runs a function of this module in a process that has the simulated device."""
    with simulation_process() as run:
        yield run


# --- the entry points -----------------------------------------------------------------------------------------------


def test_every_public_name_has_a_case() -> None:
    covered = {name for case in ENTRY_POINTS.values() for name in case.names}
    assert covered.isdisjoint(WITHOUT_TENSORS)
    assert covered | {*WITHOUT_TENSORS, "__version__"} == {*et.__all__}


def differences_on_the_accelerator(name: str) -> list[str]:
    """To the CPU's results; for a case that never waits, the waits, too."""
    case = ENTRY_POINTS[name]
    expected = case.run(Place(CPU, torch.float64))
    with SimulatedAccelerator() as accelerator:
        place = Place(accelerator.device, torch.float64)
        found = case.run(place)
        waits = [] if case.waits else [*accelerator.reads]
        return differences(found, expected, case.results_of(place), 1e-11) + waits


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_stays_on_the_device(name: str, simulated: Run) -> None:
    """Device, dtype, shape and values of every result, nothing mixed with what is on the CPU."""
    assert simulated(differences_on_the_accelerator, name) == []


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_keeps_the_dtype_whatever_the_default(name: str, dtype: torch.dtype, default_dtype: Run) -> None:
    case, place = ENTRY_POINTS[name], Place(CPU, dtype)
    default_dtype(dtype)
    expected = case.run(place)
    default_dtype(torch.float64 if dtype == torch.float32 else torch.float32)
    assert differences(case.run(place), expected, case.results_of(place), 0.0) == []


@pytest.fixture
def default_dtype() -> Iterator[Run]:
    """Sets the default dtype until the test is over."""
    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


def differences_without_values(name: str) -> list[str]:
    """To the CPU's results in device, dtype and shape, of tensors that have no values."""
    expected = ENTRY_POINTS[name].run(Place(CPU, torch.float64))
    with FakeTensorMode():
        place = Place(torch.device("simulated", 0), torch.float64)
        found = ENTRY_POINTS[name].run(place)
    return [
        key
        for key, want in expected.items()
        if isinstance(want, Tensor)
        and (found[key].device, found[key].dtype, found[key].shape) != (place.device, want.dtype, want.shape)
    ]


@pytest.mark.parametrize("name", [name for name, case in ENTRY_POINTS.items() if not case.waits])
def test_needs_no_value(name: str, simulated: Run) -> None:
    """torch's own FakeTensorMode has no values: it refuses whatever makes the host wait, and tensors mixed."""
    assert simulated(differences_without_values, name) == []


def data_on_the_host_differ() -> list[str]:
    """From what a model on the device finds on data that are there, too: loaders give what is on the CPU."""
    cpu = Place(CPU, torch.float64)
    inputs, targets = cpu.normal(20, 5), cpu.labels(20, 3)
    with SimulatedAccelerator() as accelerator:
        place = Place(accelerator.device, torch.float64)
        model, moved = place.perceptron(), (place.normal(20, 5), place.labels(20, 3))
        differing = []
        for name, run in {
            "unit_fisher": lambda data: et.unit_fisher(model, data, "0", "empirical").matrix.cpu(),
            "diagnose": lambda data: et.diagnose(model, data).table.select_dtypes("number").fillna(0).to_numpy(),
            "layer_statistics": lambda data: et.layer_statistics(model, data).table["mean"].to_numpy(),
        }.items():
            here, there = run([(inputs, targets)]), run([moved])
            if abs(here - there).max() > 1e-9:
                differing.append(name)
        return differing


def test_a_loader_on_the_host_serves_a_model_on_the_device(simulated: Run) -> None:
    assert simulated(data_on_the_host_differ) == []


# --- where the host waits for the device ----------------------------------------------------------------------------


def waits_of_a_step(options: dict[str, Any]) -> list[str]:
    """In the third training step, when all layers are known."""
    with SimulatedAccelerator() as accelerator:
        steps = trained(Place(accelerator.device, torch.float64), options)
        next(steps), next(steps)
        accelerator.reads.clear()
        next(steps)
        return [*accelerator.reads]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_step_waits_at_most_thrice(name: str, simulated: Run) -> None:
    """For finite outputs, for the divergence together with whether Cholesky's factorisations broke down, and to draw on
    the generator's device.

    Without damping every layer's eigendecomposition waits as well: there are three.
    """
    allowed = {"monte carlo": 3, "undamped": 5}.get(name, 2)
    assert len(simulated(waits_of_a_step, OPTIMIZERS[name])) == allowed


def waits_of_an_update(kind: str, examples: int) -> list[str]:
    """In adding a batch to a Fisher matrix of form "matrix"."""
    with SimulatedAccelerator() as accelerator:
        place = Place(accelerator.device, torch.float64)
        inputs, targets = place.normal(examples, 5), place.labels(examples, 3)
        fisher = et.unit_fisher(place.perceptron(), inputs, "2", kind, targets=targets, samples=5)
        accelerator.reads.clear()
        fisher.update(inputs, targets)
        return [*accelerator.reads]


@pytest.mark.parametrize("examples", [3, 20])
@pytest.mark.parametrize(("kind", "allowed"), [("exact", 3), ("monte_carlo", 3), ("empirical", 4)])
def test_a_fisher_update_waits_for_its_checks_alone(kind: str, allowed: int, examples: int, simulated: Run) -> None:
    """Finite inputs, finite outputs, examples independent, targets in range: none a column, sample or layer."""
    assert len(simulated(waits_of_an_update, kind, examples)) == allowed


def test_a_broken_factorisation_is_found_after_all_layers() -> None:
    """F = 4 · 1 1ᵀ has no Cholesky factor: the step is that of F⁺, Σ g / (4 n²) in every one of n coordinates."""
    model = Place(CPU, torch.float64).perceptron()
    optimizer = et.UnitNaturalGradient(model, 1.0, damping=1e-30, update_interval=9, max_kl=None, kind="empirical")
    inputs, targets = Place(CPU, torch.float64).normal(30, 5), Place(CPU, torch.float64).labels(30, 3)
    model.train()

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

    step()
    (first, *_), layer = optimizer.param_groups[0]["params"], model[0]
    optimizer.state[first]["fisher"].fill_(4.0)
    optimizer.state[first]["estimate_weight"] = 1.0
    optimizer.load_state_dict(optimizer.state_dict())  # which forgets the factorisation
    before = layer.weight.detach().clone(), layer.bias.detach().clone()
    step()
    expected = (layer.weight.grad.sum(1) + layer.bias.grad) / (4 * 6**2)
    torch.testing.assert_close(before[1] - layer.bias.detach(), expected)
    torch.testing.assert_close(before[0] - layer.weight.detach(), expected[:, None].expand(-1, 5))


# --- the simulations themselves -------------------------------------------------------------------------------------


def zeros_without_device(x: Tensor) -> Tensor:
    return torch.zeros(len(x), dtype=x.dtype)


def zeros_without_dtype(x: Tensor) -> Tensor:
    return torch.zeros(len(x), device=x.device)


def zeros_without_device_inside(x: Tensor) -> Tensor:
    return x + torch.zeros(len(x), dtype=x.dtype)


def swallowed(x: Tensor) -> Tensor:
    try:
        return zeros_without_device_inside(x)
    except RuntimeError:
        return x


def drawn_by_the_host(x: Tensor) -> Tensor:
    return torch.rand(len(x), dtype=x.dtype, device=x.device, generator=torch.Generator())


def converted_to_numpy(x: Tensor) -> Tensor:
    return torch.as_tensor(x.numpy(), device=x.device)


def rows_on_the_host(x: Tensor) -> Tensor:  # FakeTensorMode lets it pass, CUDA does not
    return torch.zeros(5, dtype=x.dtype)[(0 * x).long()].to(x.device)


BROKEN = {
    zeros_without_device: "is torch.float64 (5,) on cpu",
    zeros_without_dtype: "is torch.float32 (5,) on simulated:0",
    zeros_without_device_inside: "different devices",
    swallowed: "different devices",
    rows_on_the_host: "different devices",
    drawn_by_the_host: "generator",
    converted_to_numpy: "numpy",
}


def complaint(broken: Callable[[Tensor], Tensor]) -> str:
    """What the simulation says of a function."""
    try:
        with SimulatedAccelerator() as accelerator:
            place = Place(accelerator.device, torch.float64)
            found = {"result": broken(place.normal(5))}
            return "; ".join(differences(found, {"result": torch.zeros(5, dtype=place.dtype)}, place, 10.0))
    except (WrongDeviceError, TypeError, RuntimeError) as error:
        return str(error)


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_functions_are_caught(broken: Callable[[Tensor], Tensor], simulated: Run) -> None:
    assert BROKEN[broken] in simulated(complaint, broken)


def test_a_default_dtype_is_caught() -> None:
    """On the CPU, too: float32 is torch's default."""
    place = Place(CPU, torch.float64)
    found, expected = zeros_without_dtype(place.normal(5)), zeros_without_device(place.normal(5))
    assert differences({"a": found}, {"a": expected}, place, 0.0) == [
        "a is torch.float32 (5,) on cpu, not torch.float64 (5,) on cpu"
    ]


# What torch allows and refuses: x and m a vector and a matrix on the device, h, k and n a vector, indices and a number
# that are not.
OPERATIONS: dict[str, Callable[..., Any]] = {
    "sum": lambda x, m, h, k, n: x + h,
    "sum with a number": lambda x, m, h, k, n: x + n,
    "number first": lambda x, m, h, k, n: n * x,
    "in place": lambda x, m, h, k, n: x.mul_(h),
    "in place on the host": lambda x, m, h, k, n: h.mul_(x),
    "in place by a number": lambda x, m, h, k, n: x.div_(n),
    "product": lambda x, m, h, k, n: m @ h,
    "product on the device": lambda x, m, h, k, n: m @ x,
    "concatenation": lambda x, m, h, k, n: torch.cat([x, h]),
    "choice": lambda x, m, h, k, n: torch.where(x > 0, x, h),
    "choice of numbers": lambda x, m, h, k, n: torch.where(x > 0, x, n),
    "rows": lambda x, m, h, k, n: m[k],
    "copy": lambda x, m, h, k, n: x.copy_(h),
    "copy into a part": lambda x, m, h, k, n: m[0].copy_(h),
    "rows set": lambda x, m, h, k, n: m.index_put_((k,), h),
    "moved": lambda x, m, h, k, n: x + h.to(x.device),
    "moved back": lambda x, m, h, k, n: x.cpu() + h,
    "like": lambda x, m, h, k, n: x + torch.ones_like(x) + x.new_zeros(3),
    "distance": lambda x, m, h, k, n: nn.functional.mse_loss(x, h),
    "sorted into": lambda x, m, h, k, n: torch.searchsorted(x, h),
    "gathered": lambda x, m, h, k, n: x.gather(0, k),
}


def refused(operation: str, mode: str) -> str:
    """Whether `mode` refuses it, and else where the result is."""
    context = SimulatedAccelerator() if mode == "simulated" else FakeTensorMode()
    try:
        with context:
            place = Place(torch.device("simulated", 0), torch.float64)
            host = Place(CPU, torch.float64)
            arguments = place.normal(3), place.normal(3, 3), host.normal(3), torch.tensor([0, 2, 1]), host.normal()
            return str(OPERATIONS[operation](*arguments).device)
    except RuntimeError:
        return "refused"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_simulation_has_the_rules_of_torch(operation: str, simulated: Run) -> None:
    """Those of FakeTensorMode."""
    assert simulated(refused, operation, "simulated") == simulated(refused, operation, "fake")


def reads_of_each_kind() -> list[str]:
    """What must be read on the host; before it what need not."""
    with SimulatedAccelerator() as accelerator:
        x = Place(accelerator.device, torch.float64).normal(4)
        (x.exp() + 1.0).sum()
        assert not accelerator.reads
        float(x.sum()), x[x > 0], x.nonzero(), x.tolist(), bool((x > 0).any()), torch.equal(x, x)
        return [read.split(".")[1] for read in accelerator.reads]


def test_reads_are_noted(simulated: Run) -> None:
    want = ["_local_scalar_dense", "index", "nonzero", "_to_copy", "_local_scalar_dense", "equal"]
    assert simulated(reads_of_each_kind) == want
