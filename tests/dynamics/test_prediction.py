"""T2–T4: predicted losses against plain SGD of the model that the kernel is of, expectations against exact sums."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import elutheory as et
from analyses.networks.training import batch_order
from elutheory.dynamics.finite_networks import finite_network
from elutheory.dynamics.gradient_descent.initial_functions import covariance_root

INPUTS, CLASSES, PARAMETERS = 12, 3, 7
LABELS = np.array([0, 1, 2, 0, 1, 2, 2, 1, 0, 0, 1, 2])


def kernel_of(units: np.ndarray, covariance: np.ndarray | None = None) -> et.TrainingKernel:
    """The kernel of linear models units @ W: Θ is units @ unitsᵀ, and exact for every number of steps."""
    gram = np.eye(len(units))
    theta = et.training_kernel("elu", gram, depth=1, width=5, features=3, weight_variance=1.5)
    covariance = theta.output_covariance if covariance is None else covariance
    return replace(theta, matrix=units @ units.T, output_covariance=covariance)


def random_units(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((INPUTS, PARAMETERS))


def descended(
    units: np.ndarray, start: np.ndarray, targets: Any, loss: str, chosen: np.ndarray, steps: int, **options: Any
) -> tuple[list[float], list[float], np.ndarray]:
    """Losses of trained and other inputs by torch.optim.SGD on the weights of start + units @ W."""
    features, offset = torch.tensor(units), torch.tensor(start)
    weights = torch.zeros(units.shape[1], start.shape[1], dtype=torch.float64, requires_grad=True)
    batch_size, seed = options.pop("batch_size", None), options.pop("batch_seed", 0)
    optimizer = torch.optim.SGD([weights], **options)
    targets = torch.as_tensor(targets)
    rest = np.setdiff1d(np.arange(len(units)), chosen)

    def value(index: Any) -> torch.Tensor:
        outputs = offset[index] + features[index] @ weights
        if loss == "cross_entropy":
            return nn.functional.cross_entropy(outputs, targets[index])
        return (outputs - targets[index]).square().sum(1).mean() / 2

    batches: list[Any] = []
    epoch = 0
    while len(batches) < steps:
        order = chosen[batch_order(seed, epoch, len(chosen)).numpy()] if batch_size else chosen
        batches += np.split(order, range(batch_size or len(order), len(order), batch_size or len(order)))
        epoch += 1
    losses, others = [], []
    for step in range(steps + 1):
        with torch.no_grad():
            losses.append(float(value(chosen)))
            others.append(float(value(rest)) if len(rest) else math.nan)
        if step < steps:
            optimizer.zero_grad()
            value(batches[step]).backward()
            optimizer.step()
    return losses, others, (offset + features @ weights).detach().numpy()


@pytest.mark.parametrize("options", [{}, {"momentum": 0.8}, {"batch_size": 4, "batch_seed": 5, "momentum": 0.5}])
@pytest.mark.parametrize("chosen", [np.arange(INPUTS), np.array([7, 0, 1, 2, 4, 9, 11, 5, 3])], ids=["all", "some"])
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_every_function_follows_sgd_of_the_linear_model(loss, options, chosen, library) -> None:
    units, steps = random_units(), 30
    theta = kernel_of(units)
    if library == "torch":
        theta = replace(theta, matrix=torch.tensor(theta.matrix))
    d = et.predict_training(
        theta, LABELS, learning_rate=0.05, steps=steps, loss=loss, trained=chosen, draws=3, seed=2, **options
    )
    targets = LABELS if loss == "cross_entropy" else np.eye(CLASSES)[LABELS]
    root, normal = (
        covariance_root(theta.output_covariance),
        np.random.default_rng(2).standard_normal((3, CLASSES, INPUTS)),
    )
    others = []
    for number in range(3):
        start = (normal[number] @ root.T).T
        losses, other, outputs = descended(units, start, targets, loss, chosen, steps, lr=0.05, **options)
        assert d.losses[number] == pytest.approx(losses, rel=1e-11)
        assert np.asarray(d.outputs[number]) == pytest.approx(outputs, abs=1e-10)
        others.append(other)
    if len(chosen) < INPUTS:
        exact = loss == "squared_error" and "batch_size" not in options
        assert exact or d.table["test_loss"].to_numpy() == pytest.approx(np.median(others, axis=0), rel=1e-11)
    assert ("test_loss" in d.table) == (len(chosen) < INPUTS)
    assert type(d.outputs).__module__.startswith(library) or d.method.startswith("expected")


@pytest.mark.parametrize("momentum", [0.0, 0.7])
@pytest.mark.parametrize("chosen", [np.arange(INPUTS), np.array([7, 0, 1, 2, 4, 9, 11])], ids=["all", "some"])
def test_the_expected_loss_of_squared_error_is_exact(momentum: float, chosen: np.ndarray) -> None:
    """Second moments of all outputs, moved by the whole matrix of a step: nothing of the modes."""
    units, rng = random_units(1), np.random.default_rng(3)
    root = rng.standard_normal((INPUTS, INPUTS))
    theta = kernel_of(units, root @ root.T)
    targets, steps, rate = rng.standard_normal((INPUTS, CLASSES)), 40, 0.04
    d = et.predict_training(
        theta, targets, learning_rate=rate, steps=steps, loss="squared_error", momentum=momentum, trained=chosen
    )
    identity, zero = np.eye(INPUTS), np.zeros((INPUTS, INPUTS))
    columns = zero.copy()
    columns[:, chosen] = theta.matrix[:, chosen] / len(chosen)
    step = np.block([[identity - rate * columns, -rate * momentum * identity], [columns, momentum * identity]])
    moved = np.vstack([identity, zero])
    others = np.setdiff1d(np.arange(INPUTS), chosen)
    for row in d.table.to_dict("records"):
        residual = moved[:INPUTS]
        second = CLASSES * residual @ theta.output_covariance @ residual.T + residual @ targets @ targets.T @ residual.T
        assert row["loss"] == pytest.approx(np.diag(second)[chosen].mean() / 2, rel=1e-10)
        if len(others):
            assert row["test_loss"] == pytest.approx(np.diag(second)[others].mean() / 2, rel=1e-10)
        moved = step @ moved
    assert "accuracy" not in d.table


def test_modes_and_the_largest_stable_rate() -> None:
    units = random_units(4)
    theta = kernel_of(units)
    d = et.predict_training(theta, LABELS, learning_rate=0.01, steps=5, loss="squared_error", draws=4)
    values, vectors = np.linalg.eigh(theta.matrix / INPUTS)
    one_hot = np.eye(CLASSES)[LABELS]
    assert d.modes["eigenvalue"].to_numpy() == pytest.approx(values[::-1], abs=1e-13)
    leading = slice(0, PARAMETERS)  # of equal eigenvalues, the zeros, vectors are not unique
    assert d.modes["target"].to_numpy()[leading] == pytest.approx((((vectors.T @ one_hot) ** 2).sum(1))[::-1][leading])
    assert d.modes["rate"].to_numpy() == pytest.approx(0.01 * values[::-1], abs=1e-14)
    assert d.modes["share"].sum() == pytest.approx(1)
    assert d.modes["constant"].sum() == pytest.approx(1)
    assert d.largest_stable_rate == pytest.approx(2 / values[-1])
    for factor, falls in ((0.999, True), (1.001, False)):
        for momentum in (0.0, 0.6):
            rate = factor * 2 * (1 + momentum) / values[-1]
            long = et.predict_training(
                theta,
                LABELS,
                learning_rate=rate,
                steps=4000,
                loss="squared_error",
                momentum=momentum,
                draws=1,
                record_every=1000,
            )
            assert (long.table["loss"].iloc[-1] < long.table["loss"].iloc[2] * (1 + 1e-9)) == falls
            assert long.largest_stable_rate == pytest.approx(rate / factor)


def test_steps_to_a_loss_and_records() -> None:
    theta = kernel_of(random_units(5))
    every = et.predict_training(theta, LABELS, learning_rate=0.1, steps=50)
    some = et.predict_training(theta, LABELS, learning_rate=0.1, steps=50, record_every=7)
    assert some.table["step"].tolist() == [0, 7, 14, 21, 28, 35, 42, 49, 50]
    both = every.table[every.table["step"].isin(some.table["step"])]
    assert some.table.to_numpy() == pytest.approx(both.to_numpy(), rel=1e-13)
    level = float(every.table["loss"].iloc[20])
    assert every.steps_to(level) == 20
    assert some.steps_to(level) == 21
    assert every.steps_to(0.0) == math.inf
    bands = every.table
    assert (bands["loss_low"] <= bands["loss"]).all()
    assert (bands["loss"] <= bands["loss_high"]).all()
    more = et.predict_training(theta, LABELS, learning_rate=0.1, steps=50, draws=9)
    assert more.losses[:8] == pytest.approx(every.losses, rel=1e-12)


def test_inputs_that_are_alike_have_outputs_that_are() -> None:
    covariance = np.array([[2.0, 2.0, 0.5], [2.0, 2.0, 0.5], [0.5, 0.5, 1.0]])
    root = covariance_root(covariance)
    assert root.shape == (3, 2)
    assert root @ root.T == pytest.approx(covariance)


# --- T2 and T6: finite networks ---------------------------------------------------------------------------------------


def small_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.ELU(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, CLASSES)).double()


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # of torch itself, by jvp
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"batch_size": 5, "batch_seed": 3, "momentum": 0.5}])
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_the_linearised_network_is_trained_as_predicted(loss: str, options: dict[str, Any]) -> None:
    """Plain autograd through torch.func.jvp of the network at its first parameters, all outputs coupled."""
    model = small_network()
    inputs = torch.randn(INPUTS, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    chosen, steps, rate = np.array([7, 0, 1, 2, 4, 9, 11, 5, 3]), 40, 0.2
    theta = et.empirical_training_kernel(model, inputs, blocks=True)
    d = et.predict_training(theta, LABELS, learning_rate=rate, steps=steps, loss=loss, trained=chosen, **options)
    start = {name: p.detach() for name, p in model.named_parameters()}
    change = {name: torch.zeros_like(p, requires_grad=True) for name, p in start.items()}
    optimizer = torch.optim.SGD(change.values(), rate, momentum=options.get("momentum", 0.0))
    labels = torch.tensor(LABELS)
    one_hot = nn.functional.one_hot(labels, CLASSES).double()

    def value(index: Any) -> torch.Tensor:
        part = inputs[index]
        primal, moved = torch.func.jvp(lambda p: torch.func.functional_call(model, p, (part,)), (start,), (change,))
        if loss == "cross_entropy":
            return nn.functional.cross_entropy(primal + moved, labels[index])
        return (primal + moved - one_hot[index]).square().sum(1).mean() / 2

    size = options.get("batch_size", len(chosen))
    orders = [batch_order(3, epoch, len(chosen)).numpy() for epoch in range(steps)]
    batches = [chosen[part] for order in orders for part in np.split(order, range(size, len(chosen), size))]
    rest = np.setdiff1d(np.arange(INPUTS), chosen)
    for step in range(steps + 1):
        assert d.table["loss"][step] == pytest.approx(value(chosen).item(), rel=1e-10)
        assert d.table["test_loss"][step] == pytest.approx(value(rest).item(), rel=1e-10)
        optimizer.zero_grad()
        value(batches[step % len(batches)] if "batch_size" in options else chosen).backward()
        optimizer.step()
    assert d.method == "one initial function, step by step"


def test_a_measured_kernel_without_blocks_trains_every_output_by_itself() -> None:
    inputs = torch.randn(INPUTS, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    theta = et.empirical_training_kernel(small_network(), inputs)
    for loss in ("cross_entropy", "squared_error"):
        found = et.predict_training(theta, LABELS, learning_rate=0.2, steps=20, loss=loss)
        alone = torch.einsum("ij,cd->icjd", theta.matrix, torch.eye(CLASSES, dtype=torch.float64))
        same = et.predict_training(replace(theta, blocks=alone), LABELS, learning_rate=0.2, steps=20, loss=loss)
        assert found.table["loss"].to_numpy() == pytest.approx(same.table["loss"].to_numpy(), rel=1e-11)
        assert found.outputs.numpy() == pytest.approx(same.outputs.numpy(), rel=1e-10)
    with pytest.raises(et.InputError, match="finite_networks are drawn for"):
        et.predict_training(theta, LABELS, learning_rate=0.2, steps=2, finite_networks=1)
    with pytest.raises(et.InputError, match="targets have 4 classes, the model 3 outputs"):
        et.predict_training(theta, LABELS, learning_rate=0.2, steps=2, classes=4)


@pytest.mark.parametrize("moved", [None, {}, {"dose": -1.0, "inputs": False}])
def test_finite_networks_have_the_kernels_of_torch_models_in_the_mean(moved: dict[str, Any] | None) -> None:
    """Their mean kernel and mean squared outputs are those of T1 and P4, their blocks symmetric and positive."""
    inputs = np.random.default_rng(0).standard_normal((4, 6))
    gram, widths = inputs @ inputs.T / 6, (60, 50)
    variances = {"weight_variance": 1.6, "bias_variance": 0.1}
    theta = et.training_kernel("elu", gram, depth=2, width=widths, features=6, **variances)
    theta = theta if moved is None else theta.centred([0, 1, 3], **moved)
    drawn = [finite_network(theta, 2, (0, seed)) for seed in range(100)]
    blocks = np.stack([one.blocks for one in drawn])
    outputs = np.stack([one.outputs for one in drawn])
    for c, d in ((0, 0), (1, 1), (0, 1)):
        mean, error = blocks[:, c, :, d].mean(0), blocks[:, c, :, d].std(0) / np.sqrt(100)
        bias = 0.1 * np.abs(theta.matrix).max()  # of order 1/width: T6
        assert (np.abs(mean - theta.matrix * (c == d)) <= 4 * error + bias).all()
    second = np.einsum("kci,kcj->kij", outputs, outputs) / 2
    assert (np.abs(second.mean(0) - theta.output_covariance) <= 4 * second.std(0) / np.sqrt(100)).all()
    flat = drawn[0].blocks.reshape(8, 8)
    assert flat == pytest.approx(flat.T)
    assert np.linalg.eigvalsh(flat).min() >= -1e-10 * flat.max()


def test_finite_networks_stand_beside_the_prediction() -> None:
    inputs = np.random.default_rng(0).standard_normal((INPUTS, 6))
    gram = inputs @ inputs.T / 6
    theta = et.training_kernel("elu", gram, depth=2, width=400, features=6, weight_variance=1.6)
    d = et.predict_training(theta, LABELS, learning_rate=0.01, steps=30, draws=200, finite_networks=12, seed=4)
    assert d.finite_losses is not None
    assert d.finite_losses.shape == (12, 31)
    assert {"finite_loss", "finite_loss_low", "finite_loss_high", "finite_accuracy"} <= set(d.table)
    ratio = d.table["finite_loss"] / d.table["loss"]
    assert ratio.iloc[:15].between(0.6, 1.6).all()
    assert d.depth_over_width == pytest.approx(2 / 400)
    with pytest.raises(et.InputError, match=r"takes 3\.0 GiB"):
        finite_network(theta, 1667, (0,))


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"theta": np.eye(INPUTS)}, "theta must be of training_kernel"),
        ({"loss": "hinge"}, "cross_entropy and squared_error are available"),
        ({"weight_decay": 0.1}, "weight_decay must be 0"),
        ({"momentum": 1.0}, "momentum must be below 1"),
        ({"learning_rate": -1.0}, "learning_rate must be"),
        ({"steps": 0}, "steps must be an integer >= 1"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        ({"draws": 0}, "draws must be an integer >= 1"),
        ({"seed": -1}, "seed must be an integer >= 0"),
        ({"targets": LABELS[:-1]}, r"targets have shape \(11,\) for 12 inputs"),
        ({"targets": LABELS - 1}, "classes from 0 to 1, not -1 to 1"),
        ({"classes": 2}, "classes from 0 to 1, not 0 to 2"),
        ({"targets": LABELS.astype(float)}, "cross_entropy takes integer classes"),
        ({"targets": np.ones((INPUTS, 2))}, "must be a distribution"),
        ({"targets": np.full((INPUTS, 2), np.nan)}, "finite floats"),
        ({"targets": np.full((INPUTS, 2), 0.5), "classes": 2}, "classes is for integer targets"),
        ({"trained": [0, 0]}, "each once"),
        ({"trained": [INPUTS]}, "trained must be indices"),
        ({"trained": []}, "at least one"),
    ],
)
def test_bad_arguments_are_refused(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"theta": kernel_of(random_units()), "targets": LABELS, "learning_rate": 0.1, "steps": 2}
    with pytest.raises(et.InputError, match=message):
        et.predict_training(**{**given, **change})
