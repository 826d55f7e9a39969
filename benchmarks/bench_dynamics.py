"""Predicted training beside the matrix products it consists of, an epoch of the network, and neural-tangents.

`OMP_NUM_THREADS=1 pytest benchmarks -o addopts= -s -k dynamics`; with `NEURAL_TANGENTS_PYTHON` (see
`bench_propagation_peers`) beside its `predict.gradient_descent_mse` and the fastest way to its empirical kernel.
"""

import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import elutheory as et
from benchmarks.interleaved_times import best_times

INPUTS, CLASSES, STEPS = 2000, 10, 100
"""Of the steps' cost a hundred say as much as a thousand."""
OVERHEAD = 1.3
KERNEL_INPUTS, FEATURES, DEPTH, BATCH = 1000, 784, 8, 64
WIDTHS = (128, 512)
ROUNDS = 5
PEER_INPUTS, PEER_WIDTH = 100, 128
VARIABLE = "NEURAL_TANGENTS_PYTHON"

PEER = """
import importlib.metadata, json, sys, time
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import neural_tangents as nt
from neural_tangents import stax

task = json.load(sys.stdin)
kernel, targets, inputs = (jnp.array(task[name]) for name in ("kernel", "targets", "inputs"))
times = jnp.array(task["times"])

def timed(function):
    jax.block_until_ready(function())
    found = []
    for _ in range(task["rounds"]):
        start = time.perf_counter()
        result = jax.block_until_ready(function())
        found.append(time.perf_counter() - start)
    return min(found), result

def trained():
    predict = nt.predict.gradient_descent_mse(kernel, targets, diag_reg=0.0)
    return predict(times, jnp.zeros_like(targets))

hidden = [stax.Dense(task["width"], 1.25, 0.1, parameterization="standard"), stax.ElementwiseNumerical(jax.nn.elu, 9)]
last = stax.Dense(targets.shape[1], 1.25, 0.1, parameterization="standard")
init, apply, _ = stax.serial(*hidden * task["depth"], last)
_, parameters = init(jax.random.PRNGKey(0), inputs.shape)
seconds, found = timed(trained)
results = {"version": importlib.metadata.version("neural-tangents"), "mse": seconds}
ways = nt.NtkImplementation
seconds = []
for name in ("JACOBIAN_CONTRACTION", "NTK_VECTOR_PRODUCTS", "STRUCTURED_DERIVATIVES"):
    empirical = jax.jit(nt.empirical_ntk_fn(apply, trace_axes=(-1,), vmap_axes=0, implementation=ways[name]))
    seconds.append(timed(lambda: empirical(inputs, None, parameters))[0])
results["empirical"] = min(seconds)
json.dump(results, sys.stdout)
"""


def kernel_of(inputs: np.ndarray, width: int) -> et.TrainingKernel:
    features = inputs.shape[1]
    gram = inputs @ inputs.T / features
    return et.training_kernel("elu", gram, depth=DEPTH, width=width, features=features, weight_variance=2.0)


def network(width: int, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in, units in zip((FEATURES, *[width] * DEPTH), (*[width] * DEPTH, CLASSES), strict=True):
        layers += [nn.Linear(fan_in, units, dtype=dtype), nn.ELU()]
    return nn.Sequential(*layers[:-1])


def images(count: int) -> np.ndarray:
    """Of unequal norms, as images are, and with a mean."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((count, FEATURES)) + rng.standard_normal(FEATURES)
    return inputs * np.exp(0.2 * rng.standard_normal((count, 1)))


@pytest.mark.parametrize("draws", [1, 8])
def test_dynamics_steps_beside_their_matrix_products(draws: int) -> None:
    rng = np.random.default_rng(1)
    units = rng.standard_normal((INPUTS, 50))
    theta = et.training_kernel("relu", units @ units.T / 50, depth=1, width=9, features=50, weight_variance=2.0)
    labels, columns = rng.integers(0, CLASSES, INPUTS), rng.standard_normal((draws * CLASSES, INPUTS))

    def steps(count: int) -> Callable[[], object]:
        return lambda: et.predict_training(theta, labels, learning_rate=1e-3, steps=count, draws=draws)

    def products() -> None:
        for _ in range(STEPS):
            columns @ theta.matrix

    one, all_steps, floor = best_times(steps(1), steps(STEPS + 1), products, rounds=ROUNDS)
    ours = all_steps - one
    print(f"\n{STEPS} steps of {draws} functions: {1e3 * ours:.0f} ms, {ours / floor:.2f} times the matrix products")
    assert ours / floor <= OVERHEAD


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("width", WIDTHS)
def test_dynamics_kernel_beside_an_epoch(width: int) -> None:
    """Wanted: 1. The kernel takes as long for every width; the epoch does not."""
    inputs = images(KERNEL_INPUTS)
    model = network(width)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    pixels, labels = torch.tensor(inputs, dtype=torch.float32), torch.arange(KERNEL_INPUTS) % CLASSES

    def epoch() -> None:
        for batch in torch.arange(KERNEL_INPUTS).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(pixels[batch]), labels[batch]).backward()
            optimizer.step()

    ours, training = best_times(lambda: kernel_of(inputs, width), epoch, rounds=ROUNDS)
    print(f"\nkernel of {KERNEL_INPUTS} inputs: {1e3 * ours:.0f} ms, {ours / training:.1f} epochs at width {width}")


def test_dynamics_beside_neural_tangents() -> None:
    python = os.environ.get(VARIABLE)
    inputs = images(PEER_INPUTS)
    theta, model = kernel_of(inputs, PEER_WIDTH), network(PEER_WIDTH, torch.float64)
    targets, pixels = np.eye(CLASSES)[np.arange(PEER_INPUTS) % CLASSES], torch.tensor(inputs)
    mse, empirical = best_times(
        lambda: et.predict_training(theta, targets, learning_rate=1e-6, steps=STEPS, loss="squared_error", draws=1),
        lambda: et.empirical_training_kernel(model, pixels),
        rounds=ROUNDS,
    )
    theirs: dict[str, Any] = {}
    if python:
        task = {
            "kernel": theta.matrix.tolist(),
            "targets": targets.tolist(),
            "inputs": inputs.tolist(),
            "times": list(range(STEPS)),
            "rounds": ROUNDS,
            "width": PEER_WIDTH,
            "depth": DEPTH,
        }
        ran = subprocess.run(  # noqa: S603  the interpreter is the user's own
            [python, "-c", PEER], input=json.dumps(task), capture_output=True, text=True, timeout=300
        )
        assert ran.returncode == 0, ran.stderr
        theirs = json.loads(ran.stdout)
    for what, ours, peer in (
        (f"squared error of {PEER_INPUTS} inputs at {STEPS} steps", mse, theirs.get("mse")),
        (
            f"kernel of a network, {DEPTH} layers of {PEER_WIDTH}, {PEER_INPUTS} inputs",
            empirical,
            theirs.get("empirical"),
        ),
    ):
        print(f"\n{what}: {1e3 * ours:.1f} ms, neural-tangents {f'{1e3 * peer:.1f} ms' if peer else 'not installed'}")
    if not python:
        pytest.skip(f"{VARIABLE} names no interpreter with neural-tangents: no comparison with it")
    assert mse < theirs["mse"]
    assert empirical < theirs["empirical"]
