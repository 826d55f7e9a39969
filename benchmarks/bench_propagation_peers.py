"""Kernel and tangent kernel of a deep ELU net: google/neural-tangents beside elutheory, in one run.

neural-tangents pins its own jax, so it lives in an environment of its own:
`python -m venv PEER && PEER/bin/pip install jax==0.4.30 jaxlib==0.4.30 neural-tangents==0.6.5`. Run as
`NEURAL_TANGENTS_PYTHON=PEER/bin/python OMP_NUM_THREADS=1 pytest benchmarks -o addopts= -s`; without the variable the
comparison is skipped and says so. Both sides may use all cores. The errors are those against 30 certified digits
(`propagation_reference.json`, written by the script of that name).
"""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyses.report.benchmark_record import cores
from elutheory.gram import TangentKernel, propagate_gram, tangent_kernel

REFERENCE = Path(__file__).with_name("propagation_reference.json")
WEIGHT_STD, BIAS_STD = 1.25, 0.1
DEGREES = (25, 50)
ERROR_LIMIT = 1e-12
ROUNDS = 5
VARIABLE = "NEURAL_TANGENTS_PYTHON"

# Its own documented way to any activation; float64; the compiled kernel, as it is used in earnest.
PEER = """
import importlib.metadata, json, sys, time, warnings
import jax
jax.config.update("jax_enable_x64", True)
warnings.simplefilter("ignore")
import numpy as np
from neural_tangents import stax

task = json.load(sys.stdin)
left, right = np.array(task["left"]), np.array(task["right"])

def dense(width):
    return stax.Dense(width, task["weight_std"], task["bias_std"])

def timed(function):
    start = time.perf_counter()
    kernels = jax.block_until_ready(function())
    return time.perf_counter() - start, kernels

results = {"version": importlib.metadata.version("neural-tangents")}
for degree in task["degrees"]:
    hidden = [dense(512), stax.ElementwiseNumerical(jax.nn.elu, degree)] * task["depth"]
    kernel_fn = stax.serial(*hidden, dense(1))[2]

    def kernels(x, y):
        found = kernel_fn(x, y, ("nngp", "ntk"))
        return found.nngp, found.ntk

    kernels(left, right)
    compiled = jax.jit(kernels)
    first, _ = timed(lambda: compiled(left, right))
    rounds = [timed(lambda: compiled(left, right)) for _ in range(task["rounds"])]
    results[degree] = {
        "first": first,
        "compiled": min(seconds for seconds, _ in rounds),
        "plain": min(timed(lambda: kernels(left, right))[0] for _ in range(2)),
        "kernel": np.asarray(rounds[0][1][0]).tolist(),
        "tangent": np.asarray(rounds[0][1][1]).tolist(),
    }
json.dump(results, sys.stdout)
"""


@dataclass(frozen=True, eq=False)
class Reference:
    """Inputs, exact in float64 like their inner products, and the certified kernels of the read-out."""

    depth: int
    left: np.ndarray
    right: np.ndarray
    kernel: np.ndarray
    tangent: np.ndarray
    scale: np.ndarray

    @property
    def gram(self) -> np.ndarray:
        return self.left @ self.right.T / self.left.shape[1]

    @property
    def second_moments(self) -> tuple[np.ndarray, np.ndarray]:
        left, right = ((x * x).mean(1) for x in (self.left, self.right))
        return left, right

    def errors(self, kernel: Any, tangent: Any) -> tuple[float, float]:
        """The largest of the kernel over √(K(x,x) K(y,y)) and of the tangent kernel, relative."""
        return (
            float((np.abs(np.asarray(kernel) - self.kernel) / self.scale).max()),
            float((np.abs(np.asarray(tangent) - self.tangent) / np.abs(self.tangent)).max()),
        )


@cache
def reference() -> Reference:
    content = json.loads(REFERENCE.read_text())

    def array(name: str) -> np.ndarray:
        return np.array(content[name], dtype=float)

    scale = np.sqrt(np.outer(array("left_second_moments"), array("right_second_moments")))
    inputs, kernels = (array("left"), array("right")), (array("kernel"), array("tangent_kernel"))
    return Reference(content["depth"], *inputs, *kernels, scale)


def ours(net: Reference) -> tuple[float, float, tuple[float, float]]:
    """Seconds of kernel and tangent kernel, of the first call and the best; errors."""
    arguments = ("elu", net.gram, net.depth, WEIGHT_STD**2, BIAS_STD**2)

    def timed() -> tuple[float, TangentKernel]:
        start = time.perf_counter()
        found = tangent_kernel(*arguments, second_moments=net.second_moments)
        return time.perf_counter() - start, found

    first, found = timed()
    return first, min(timed()[0] for _ in range(ROUNDS)), net.errors(found.gram, found.matrix)


def keep(
    compare: Callable[..., None], net: Reference, degree: int, best: float, errors: tuple[float, float], **fields: Any
) -> None:
    """For the record."""
    compare(
        name="tangent_kernel",
        what=f"tangent kernel of an ELU net: depth {net.depth}, {' × '.join(map(str, net.gram.shape))} inputs",
        peer=f"neural-tangents, degree {degree}",
        seconds=best,
        error=errors[1],
        threads=cores(),
        **fields,
    )


def test_error_against_certified_digits(capsys: pytest.CaptureFixture[str]) -> None:
    net = reference()
    first, best, errors = ours(net)
    gram = propagate_gram(
        "elu", net.gram, net.depth + 1, WEIGHT_STD**2, BIAS_STD**2, second_moments=net.second_moments
    ).gram
    error = float((np.abs(gram - net.kernel) / net.scale).max())
    with capsys.disabled():
        print(
            f"\nelutheory, depth {net.depth}, {net.gram.shape} pairs: {best:.2f} s, first call {first:.2f} s; "
            f"errors {errors[0]:.1e} (kernel; {error:.1e} from propagate_gram), {errors[1]:.1e} (tangent kernel)"
        )
    assert max(*errors, error) <= ERROR_LIMIT


def test_deep_elu_net_beside_neural_tangents(capsys: pytest.CaptureFixture[str], compare: Callable[..., None]) -> None:
    net = reference()
    if not os.environ.get(VARIABLE):
        _, best, errors = ours(net)
        for degree in DEGREES:
            keep(compare, net, degree, best, errors, peer_seconds=None)
        pytest.skip(f"{VARIABLE} names no interpreter with neural-tangents: no comparison with it")
    task = {
        "left": net.left.tolist(),
        "right": net.right.tolist(),
        "depth": net.depth,
        "degrees": DEGREES,
        "weight_std": WEIGHT_STD,
        "bias_std": BIAS_STD,
        "rounds": ROUNDS,
    }
    peer = subprocess.run(  # noqa: S603  the interpreter is the user's own
        [os.environ[VARIABLE], "-c", PEER], input=json.dumps(task), capture_output=True, text=True, timeout=300
    )
    assert peer.returncode == 0, peer.stderr
    theirs = json.loads(peer.stdout)
    first, best, errors = ours(net)
    table = [
        f"\ndepth {net.depth}, {net.gram.shape} pairs: seconds for both kernels; errors of kernel and tangent kernel",
        f"{'':28}   best   first   uncompiled   errors",
    ]
    for degree in DEGREES:
        found = theirs[str(degree)]
        kernel, tangent = net.errors(found["kernel"], found["tangent"])
        version, seconds = theirs["version"], found["compiled"]
        keep(compare, net, degree, best, errors, peer_version=version, peer_seconds=seconds, peer_error=tangent)
        table.append(
            f"neural-tangents, degree {degree}   {found['compiled']:.3f}   {found['first']:.2f}    {found['plain']:.2f}"
            f"         {kernel:.1e}  {tangent:.1e}"
        )
    table.append(f"{'elutheory':26}   {best:.3f}   {first:.2f}                {errors[0]:.1e}  {errors[1]:.1e}")
    with capsys.disabled():
        print("\n".join(table))
    assert max(errors) <= ERROR_LIMIT
    assert best < theirs[str(DEGREES[0])]["compiled"]
