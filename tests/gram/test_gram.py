"""P4, P5: Gram matrices and tangent kernels through the layers, on every route.

References: recursions in Arb balls (kept in `layer_records`) and mpmath, the dual kernel of every pair applied layer by
layer, and random finite networks, whose tolerance follows from the spread over networks.
"""

from itertools import pairwise
from typing import Any

import mpmath
import numpy
import pytest
import torch

from elutheory.activations import Activation
from elutheory.errors import InputError
from elutheory.gram import interpolation, layer_by_layer, propagate_gram, tangent_kernel
from elutheory.gram.arguments import SAME_CORRELATION
from elutheory.gram.equal_norms import ONE_MAP
from elutheory.gram.layer_by_layer import DIRECT, LAYER_BY_LAYER
from elutheory.kernels import dual_kernel, dual_kernel_derivative
from elutheory.kernels.expectations import centred_pair_expectation
from elutheory.moments import gaussian_moments
from elutheory.propagation import propagate
from tests.references.layer_records import GRAM_DEPTH, GRAM_VARIANCES, cases, gram_layers


def inputs(count: int, *, equal_norms: bool, seed: int = 0, dimension: int = 12) -> Any:
    """Random points of second moments 1 or from 0.3 to 2.5."""
    rng = numpy.random.default_rng(seed)
    points = rng.standard_normal((count, dimension))
    points *= numpy.sqrt(dimension) / numpy.linalg.norm(points, axis=1, keepdims=True)
    return points if equal_norms else points * numpy.sqrt(rng.uniform(0.3, 2.5, (count, 1)))


def gram_of(points: Any, others: Any = None) -> Any:
    gram = points @ (points if others is None else others).T / points.shape[1]
    return gram if others is not None else 0.5 * (gram + gram.T)


def pairwise_layers(
    name: str, gram: Any, depth: int, weight_variance: float, bias_variance: float = 0.0, residual: bool = False
) -> tuple[Any, Any]:
    """Net inputs' second moments and the tangent kernel of the hidden layer `depth`, by `elutheory.kernels`."""
    gram = weight_variance * gram + bias_variance
    tangent = gram
    for _ in range(depth - 1):
        q = numpy.diag(gram)
        arguments = (name, q[:, None], q[None, :], gram)
        block = weight_variance * dual_kernel(*arguments).value + bias_variance
        slopes = weight_variance * dual_kernel_derivative(*arguments).value
        tangent = block + slopes * tangent + (tangent if residual else 0.0)
        gram = block + (gram if residual else 0.0)
    return gram, tangent


def deviation(found: Any, expected: Any) -> float:
    """The largest, relative to the root of the diagonal entries' product."""
    root = numpy.sqrt(numpy.diag(expected))
    return float(numpy.max(abs(found - expected) / numpy.outer(root, root)))


# --- against many digits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("entries", "exact"), cases("gram layers"))
def test_twenty_elu_layers_against_certified_balls(entries: tuple[float, float, float], exact: list[Any]) -> None:
    """Pair and tangent kernel from balls of 18 digits: equal norms by one map, unequal ones pair by pair."""
    u, v, c = entries
    gram = numpy.array([[u, c], [c, v]])
    for layer in (1, 2, 7, GRAM_DEPTH):
        found = propagate_gram("elu", gram, layer, *GRAM_VARIANCES).gram
        u, v, c, _ = exact[layer - 1]
        for value, wanted in zip(found[[0, 1, 0], [0, 1, 1]], (u, v, c), strict=True):
            assert abs(value - wanted) / numpy.sqrt(u * v) < 1e-13
    found = tangent_kernel("elu", gram, GRAM_DEPTH, *GRAM_VARIANCES)
    u, v, c, tangent = exact[GRAM_DEPTH]
    assert abs(found.matrix[0, 1] - tangent) / tangent < 1e-12
    assert abs(found.gram[0, 1] - c) / numpy.sqrt(u * v) < 1e-13


@pytest.mark.exhaustive
@pytest.mark.parametrize(("entries", "exact"), cases("gram layers"))
def test_the_records_of_gram_layers(entries: tuple[float, float, float], exact: list[Any]) -> None:
    """The balls, computed again."""
    assert gram_layers(*entries) == exact


@pytest.mark.parametrize("depth", [60, pytest.param(1000, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("norms", [(1.0, 1.0), (0.4, 1.7)])
def test_many_relu_layers_do_not_drift(norms: tuple[float, float], depth: int) -> None:
    """The arc-cosine recursion (Cho and Saul 2009) at 40 digits; allowed are a few roundings per layer."""
    u, v = norms
    c = -0.6 if norms == (1.0, 1.0) else 0.3
    gram, allowed = numpy.array([[u, c], [c, v]]), 1e-15 * depth
    found, kernel = (through("relu", gram, depth, 1.96, 0.01) for through in (propagate_gram, tangent_kernel))
    with mpmath.workdps(40):
        w, b = mpmath.mpf(1.96), mpmath.mpf(0.01)
        p, q, c = (w * mpmath.mpf(value) + b for value in (gram[0, 0], gram[1, 1], gram[0, 1]))
        tangent = c
        for layer in range(depth):
            if layer == depth - 1:
                assert abs(found.gram[0, 1] - c) < allowed * mpmath.sqrt(p * q)
                assert abs(found.gram[1, 1] - q) < allowed * q
            root = mpmath.sqrt(p * q)
            angle = mpmath.acos(c / root)
            c = w * root * (mpmath.sin(angle) + (mpmath.pi - angle) * mpmath.cos(angle)) / (2 * mpmath.pi) + b
            tangent = c + w * (mpmath.pi - angle) / (2 * mpmath.pi) * tangent
            p, q = w * p / 2 + b, w * q / 2 + b
        # Unequal norms, layer by layer: the correlation reaches 1, and its rounding moves the angle by 1e-8.
        assert abs(kernel.matrix[0, 1] - tangent) < (10 * allowed if norms == (1.0, 1.0) else 1e-6) * tangent


@pytest.mark.parametrize("name", ["elu", "relu", "tanh"])
def test_a_pair_agrees_with_the_propagation_of_q_and_c(name: str) -> None:
    """`propagate` is tested against references of many digits; it shares no interpolant with this route."""
    gram = numpy.array([[1.0, 0.4], [0.4, 1.0]])
    depth = 8 if name == "tanh" else 30
    table = propagate(name, depth, 1.2, 0.1, 1.0, 0.4).table
    for layer in (1, 2, depth):
        found = propagate_gram(name, gram, layer, 1.2, 0.1).gram
        assert found[0, 0] == pytest.approx(table["q"][layer - 1], rel=1e-12)
        assert found[0, 1] == pytest.approx(table["c"][layer - 1], rel=1e-12)


# --- the routes agree -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "equal_norms", "count", "method"),
    [
        ("elu", True, 40, ONE_MAP),
        ("relu", True, 40, ONE_MAP),
        ("shifted_relu", True, 40, ONE_MAP),
        ("relu6", True, 12, ONE_MAP),
        ("hard_tanh", True, 12, ONE_MAP),
        ("tanh", True, 6, ONE_MAP),
        ("gelu", True, 6, ONE_MAP),
        ("elu", False, 220, LAYER_BY_LAYER),
        ("relu", False, 220, LAYER_BY_LAYER),
        ("selu", False, 220, LAYER_BY_LAYER),
        ("elu", False, 5, DIRECT),
        ("shifted_relu", False, 20, DIRECT),
        ("hard_tanh", False, 12, DIRECT),
        ("gelu", False, 5, DIRECT),
        ("tanh", False, 5, DIRECT),
    ],
)
def test_every_route_agrees_with_the_dual_kernel_of_every_pair(
    name: str, equal_norms: bool, count: int, method: str
) -> None:
    """Kinks at zero and off it, none; the reference takes nothing from the interpolants."""
    gram = gram_of(inputs(count, equal_norms=equal_norms))
    few = min(count, 12)
    found, kernel = propagate_gram(name, gram, 3, 1.5, 0.1), tangent_kernel(name, gram, 2, 1.5, 0.1)
    expected, tangent = pairwise_layers(name, gram[:few, :few], 3, 1.5, 0.1)
    assert deviation(found.gram[:few, :few], expected) < 5e-14
    assert deviation(kernel.matrix[:few, :few], tangent) < 5e-14
    assert deviation(kernel.gram, found.gram) < 5e-14
    assert (found.method, kernel.method) == (method, method)
    assert 0 <= found.error < 3e-13
    assert (found.error == 0) == (method == DIRECT)


@pytest.mark.parametrize("name", ["elu", "relu"])
def test_three_routes_for_equal_norms(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One map, interpolants in both norms as well, and pair by pair; six layers with the tangent kernel."""
    gram = gram_of(inputs(120, equal_norms=True))

    def run() -> tuple[Any, Any]:
        return propagate_gram(name, gram, 6, 1.5, 0.1), tangent_kernel(name, gram, 5, 1.5, 0.1)

    found = [run()]
    monkeypatch.setattr(layer_by_layer, "all_layers_at_once", lambda *_: False)
    found.append(run())
    monkeypatch.setattr(layer_by_layer, "kernel_interpolant", lambda *_: None)
    found.append(run())
    assert [net.method for net, _ in found] == [ONE_MAP, LAYER_BY_LAYER, DIRECT]
    for net, kernel in found[:2]:
        assert deviation(net.gram, found[2][0].gram) < 1e-13
        assert deviation(kernel.matrix, found[2][1].matrix) < 1e-12


def test_equal_norms_to_rounding_and_no_close_pairs() -> None:
    """Four inputs far apart whose norms differ by rounding: the diagonal lies outside the interpolant's interval."""
    gram = numpy.eye(4) + 0.1 * (1 - numpy.eye(4))
    norms = 1.0 + 2.0**-52 * numpy.array([12.0, 0.0, 3.0, 15.0])
    gram = gram * numpy.sqrt(numpy.outer(norms, norms))
    gram[2, 3] = gram[3, 2] = 1.0
    found, kernel = propagate_gram("relu", gram, 5, 1.5, 0.1), tangent_kernel("relu", gram, 4, 1.5, 0.1)
    expected, tangent = pairwise_layers("relu", gram, 5, 1.5, 0.1)
    assert found.method == kernel.method == ONE_MAP
    assert deviation(found.gram, expected) < 1e-13
    apart = numpy.ones((4, 4), dtype=bool)
    apart[2, 3] = apart[3, 2] = False
    assert (abs(kernel.matrix - tangent)[apart] < 1e-13 * tangent.max()).all()


@pytest.mark.parametrize("inputs", [2, 5, 400])
@pytest.mark.parametrize("overlap", [0.69, 0.1, 0.0, -0.2])
def test_equal_norms_and_equal_overlaps(inputs: int, overlap: float) -> None:
    """All angles are one, up to rounding; against the dual kernel of that pair, for many norms."""
    for norm in numpy.random.default_rng(inputs).uniform(0.5, 3.0, 20 if inputs < 10 else 2):
        share = max(overlap, -1 / (inputs - 1))
        gram = norm * ((1 - share) * numpy.eye(inputs) + share)
        found = propagate_gram("relu", gram, 2, 1.3, 0.05)
        of_pair = [float(1.3 * entry + 0.05) for entry in (gram[0, 0], gram[0, 0], gram[0, 1])]
        expected = 1.3 * float(dual_kernel("relu", *of_pair).value) + 0.05
        assert abs(found.gram[~numpy.eye(inputs, dtype=bool)] - expected).max() < 1e-13 * of_pair[0], norm


def test_norms_that_become_equal_change_the_route() -> None:
    """tanh with large biases forgets the inputs' norms; the result says both methods."""
    gram = gram_of(inputs(4, equal_norms=False))
    found = propagate_gram("hard_tanh", gram, 20, 0.05, 0.5)
    assert found.method == f"{DIRECT}; {ONE_MAP}"
    expected, _ = pairwise_layers("hard_tanh", gram, 20, 0.05, 0.5)
    assert deviation(found.gram, expected) < 1e-13


def test_a_wrong_interpolant_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A series that is off by 1e-11 in one coefficient is not used; the result then comes from every pair."""
    gram = gram_of(inputs(240, equal_norms=False))
    right = propagate_gram("elu", gram, 2, 1.5)
    assert right.method == LAYER_BY_LAYER
    chopped = interpolation._chopped

    def wrong(table: Any) -> Any:
        table = chopped(table)
        table[0, 0, 1] += 1e-11
        return table

    monkeypatch.setattr(interpolation, "_chopped", wrong)
    found = propagate_gram("elu", gram, 2, 1.5)
    assert (found.method, found.error) == (DIRECT, 0.0)
    assert deviation(found.gram, right.gram) < 1e-13


def test_a_wrong_map_of_the_angle_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A jump of 1e-9 that no series resolves: neither interpolant passes, and `method` says so."""
    gram = gram_of(inputs(10, equal_norms=True))
    for module in ("equal_norms", "interpolation"):
        monkeypatch.setattr(
            f"elutheory.gram.{module}.centred_pair_expectation",
            lambda *arguments: centred_pair_expectation(*arguments) * (1.0 + 1e-9 * (arguments[4] > 0.123)),
        )
    found = propagate_gram("elu", gram, 2, 1.37, 0.11)
    assert found.method == DIRECT
    assert deviation(found.gram, pairwise_layers("elu", gram, 2, 1.37, 0.11)[0]) < 1e-14


# --- special pairs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "equal_norms"), [("elu", True), ("elu", False), ("hard_tanh", False), ("tanh", True)])
def test_duplicates_opposites_and_zero_inputs(name: str, equal_norms: bool) -> None:
    points = inputs(8, equal_norms=equal_norms)
    points[1], points[2] = points[0], -points[0]
    if not equal_norms:
        points[3] = 0.0
        points[4] = 2.0 * points[0]
    gram = gram_of(points)
    found = propagate_gram(name, gram, 3, 1.5).gram
    kernel = tangent_kernel(name, gram, 2, 1.5).matrix
    expected, tangent = pairwise_layers(name, gram, 3, 1.5)
    root = numpy.sqrt(numpy.diag(expected))
    scale = numpy.outer(root, root)
    assert (abs(found - expected) <= 5e-14 * scale).all()
    # E f'f' of nearly parallel inputs has the slope of an angle, which rounding of the correlation moves by 1e-8.
    assert deviation(kernel[numpy.ix_([5, 6, 7], [5, 6, 7])], tangent[numpy.ix_([5, 6, 7], [5, 6, 7])]) < 5e-14
    assert (abs(kernel - tangent)[scale > 0] <= 1e-7 * scale[scale > 0]).all()
    if not equal_norms:
        assert (found[3] == 0).all()
    if equal_norms:
        assert found[0, 1] == found[0, 0] == found[1, 1]


@pytest.mark.parametrize("name", ["elu", "relu", "tanh"])
@pytest.mark.parametrize("equal_norms", [True, False])
def test_symmetric_positive_and_with_the_moments_on_the_diagonal(name: str, equal_norms: bool) -> None:
    gram = gram_of(inputs(30 if name == "tanh" and equal_norms else 8, equal_norms=equal_norms, dimension=3))
    for residual in (False, True):
        found = propagate_gram(name, gram, 2, 1.5, 0.1, residual=residual)
        kernel = tangent_kernel(name, gram, 1, 1.5, 0.1, residual=residual)
        first = 1.5 * numpy.diag(gram) + 0.1
        if equal_norms:
            first = numpy.full_like(first, first[0])  # norms that differ by rounding are taken as one
        moments = gaussian_moments(name, numpy.zeros_like(first), numpy.sqrt(first))
        diagonal = 1.5 * moments.second_moment + 0.1
        numpy.testing.assert_allclose(numpy.diag(found.gram), diagonal + residual * first, rtol=4e-16)
        assert (found.second_moments[0] == numpy.diag(found.gram)).all()
        slopes = 1.5 * moments.slope_second_moment
        numpy.testing.assert_allclose(numpy.diag(kernel.matrix), diagonal + slopes * first, rtol=1e-14)
        for matrix in (found.gram, kernel.matrix):
            assert (matrix == matrix.T).all()
            values = numpy.linalg.eigvalsh(matrix)
            assert values[0] > -1e-13 * values[-1]


def test_one_input_and_one_layer() -> None:
    found = propagate_gram("elu", numpy.array([[0.8]]), 2, 1.5, 0.1)
    expected = 1.5 * gaussian_moments("elu", 0.0, numpy.sqrt(1.5 * 0.8 + 0.1)).second_moment + 0.1
    assert found.gram[0, 0] == pytest.approx(expected, rel=1e-15)
    gram = gram_of(inputs(3, equal_norms=False))
    first = propagate_gram("elu", gram, 1, 1.5, 0.1)
    numpy.testing.assert_allclose(first.gram, 1.5 * gram + 0.1, rtol=1e-15)
    assert (first.method, first.error) == ("no activation", 0.0)


def test_the_activations_gram_matrix() -> None:
    """E f f of the layer: what the next layer multiplies by σ_w²; with batch normalisation as well."""
    gram = gram_of(inputs(9, equal_norms=False))
    for batch_norm in (False, True):
        found = propagate_gram("elu", gram, 3, 1.5, 0.1, batch_norm=batch_norm).activation_gram
        following = propagate_gram("elu", gram, 4, 1.5, 0.1, batch_norm=batch_norm).gram
        assert deviation(1.5 * found + 0.1, following) < 1e-13
    found = propagate_gram(
        "elu", gram[:4, 4:], 3, 1.5, 0.1, second_moments=(numpy.diag(gram)[:4], numpy.diag(gram)[4:])
    )
    whole = propagate_gram("elu", gram, 3, 1.5, 0.1).activation_gram
    numpy.testing.assert_allclose(found.activation_gram, whole[:4, 4:], rtol=1e-12)


@pytest.mark.parametrize("equal_norms", [True, False])
def test_rectangles_are_parts_of_squares(equal_norms: bool) -> None:
    points = inputs(60, equal_norms=equal_norms)
    left, right = points[:25], points[20:]
    moments = tuple((side**2).mean(1) for side in (left, right))
    whole = gram_of(points)
    for function, attribute in ((propagate_gram, "gram"), (tangent_kernel, "matrix")):
        part = function("elu", gram_of(left, right), 4, 1.5, 0.1, second_moments=moments)
        square = getattr(function("elu", whole, 4, 1.5, 0.1), attribute)
        assert getattr(part, attribute).shape == (25, 40)
        # Shared inputs: the angle of a product that is not exactly the norm, in E f'f', is 1e-8 at most.
        expected, found = square[:25, 20:], getattr(part, attribute)
        apart = whole[:25, 20:] < SAME_CORRELATION * numpy.sqrt(numpy.outer(*moments)) * (1 - 1e-9)
        assert apart.sum() == 25 * 40 - 5
        numpy.testing.assert_allclose(found[apart], expected[apart], rtol=0, atol=2e-13 * abs(square).max())


def test_residual_layers_against_the_recursion() -> None:
    for equal_norms, count in ((True, 12), (False, 50)):
        gram = gram_of(inputs(count, equal_norms=equal_norms))
        found = propagate_gram("elu", gram, 4, 0.8, 0.05, residual=True)
        expected, tangent = pairwise_layers("elu", gram[:12, :12], 4, 0.8, 0.05, residual=True)
        assert deviation(found.gram[:12, :12], expected) < 5e-14
        # The read-out is no residual layer: Θ_5 = K_5 + σ_w² E f'f' Θ_4 with K_5 = σ_w² E f f + σ_b².
        kernel = tangent_kernel("elu", gram, 4, 0.8, 0.05, residual=True).matrix[:12, :12]
        q = numpy.diag(expected)
        arguments = ("elu", q[:, None], q[None, :], expected)
        slopes = dual_kernel_derivative(*arguments).value
        read_out = 0.8 * dual_kernel(*arguments).value + 0.05 + 0.8 * slopes * tangent
        assert deviation(kernel, read_out) < 5e-14


# --- number types and torch -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("equal_norms", [True, False])
def test_torch_and_float32(equal_norms: bool) -> None:
    gram = gram_of(inputs(50, equal_norms=equal_norms))
    for function, attribute in ((propagate_gram, "gram"), (tangent_kernel, "matrix")):
        expected = getattr(function("elu", gram, 3, 1.5, 0.1), attribute)
        same = getattr(function("elu", torch.tensor(gram), 3, 1.5, 0.1), attribute)
        assert same.dtype == torch.float64
        assert deviation(same.numpy(), expected) < 1e-13
        single = getattr(function("elu", gram.astype(numpy.float32), 3, 1.5, 0.1), attribute)
        assert single.dtype == numpy.float32
        tensor = getattr(function("elu", torch.tensor(gram, dtype=torch.float32), 3, 1.5, 0.1), attribute)
        assert tensor.dtype == torch.float32
        # float32's rounding of gram, magnified by the condition of E f'f' next to correlation 1 at most.
        assert deviation(single, expected) < 1e-5
        assert deviation(tensor.numpy(), expected) < 1e-5
    whole = propagate_gram("elu", numpy.array([[2, 1], [1, 2]]), 2, 1.0).gram
    assert (whole == propagate_gram("elu", numpy.array([[2.0, 1.0], [1.0, 2.0]]), 2, 1.0).gram).all()


def test_derivatives() -> None:
    """Against difference quotients; of the values, which agree with those without derivatives."""
    gram = torch.tensor(gram_of(inputs(3, equal_norms=False)), requires_grad=True)

    def symmetric(matrix: Any) -> Any:
        return 0.5 * (matrix + matrix.T)

    def check(function: Any, depth: int, attribute: str, **options: bool) -> None:
        """Along a random direction, not entry by entry."""
        called = lambda g: getattr(function("elu", symmetric(g), depth, 1.5, 0.1, **options), attribute)  # noqa: E731
        assert torch.autograd.gradcheck(called, gram, fast_mode=True)

    check(propagate_gram, 3, "gram")
    check(tangent_kernel, 1, "matrix")
    check(propagate_gram, 2, "gram", batch_norm=True, residual=True)
    for options in ({}, {"residual": True}, {"batch_norm": True}):
        found = propagate_gram("elu", gram, 3, 1.5, 0.1, **options)
        plain = propagate_gram("elu", gram.detach(), 3, 1.5, 0.1, **options)
        assert found.method == "dual kernel of every pair, differentiable"
        assert deviation(found.gram.detach().numpy(), plain.gram.numpy()) < 1e-13
    kernel = tangent_kernel("elu", gram, 3, 1.5, 0.1, residual=True).matrix.detach().numpy()
    assert deviation(kernel, tangent_kernel("elu", gram.detach(), 3, 1.5, 0.1, residual=True).matrix.numpy()) < 1e-13


# --- against finite networks ------------------------------------------------------------------------------------------

FUNCTIONS = {"elu": torch.nn.functional.elu, "relu": torch.relu, "tanh": torch.tanh}


def finite_gram(name: str, points: Any, width: int, seed: int, *, batch_norm: bool, residual: bool) -> Any:
    """Second moments over the units of the third layer's net inputs: σ_w² = 1.5, σ_b² = 0.1."""
    rng = numpy.random.default_rng(seed)
    f = FUNCTIONS[name]

    def layer(values: Any) -> Any:
        weight = rng.standard_normal((values.shape[1], width)) * numpy.sqrt(1.5 / values.shape[1])
        return values @ weight + rng.standard_normal(width) * numpy.sqrt(0.1)

    net = layer(points)
    for _ in range(2):
        seen = (net - net.mean(0)) / net.std(0) if batch_norm else net
        block = layer(f(torch.tensor(seen)).numpy())
        net = net + block if residual else block
    return net @ net.T / width


@pytest.mark.parametrize(("batch_norm", "residual"), [(False, False), (False, True), (True, False), (True, True)])
def test_against_the_second_moments_of_finite_networks(batch_norm: bool, residual: bool) -> None:
    """48 networks of width 512: the mean within 4.5 standard errors and what is of order 1/width, entry by entry.

    Batch normalisation by the mean variance over units is an approximation of relative order 1/(effective rank of the
    data); 64 inputs in 64 dimensions have 32.
    """
    count = 64 if batch_norm else 6
    points = inputs(count, equal_norms=False, seed=3, dimension=64)
    predicted = propagate_gram("elu", gram_of(points), 3, 1.5, 0.1, batch_norm=batch_norm, residual=residual).gram
    runs = 48
    measured = numpy.array(
        [finite_gram("elu", points, 512, seed, batch_norm=batch_norm, residual=residual) for seed in range(runs)]
    )
    root = numpy.sqrt(numpy.diag(predicted))
    scale = numpy.outer(root, root)
    error = (measured.mean(0) - predicted) / scale
    noise = measured.std(0, ddof=1) / scale / numpy.sqrt(runs)
    allowed = 4.5 * noise + 2 / 512 + (0.3 / 32 if batch_norm else 0.0)
    assert (abs(error) < allowed).all()
    assert allowed.max() < 0.12
    wrong = propagate_gram("elu", gram_of(points), 3, 1.7, 0.1, batch_norm=batch_norm, residual=residual).gram
    assert (abs(measured.mean(0) - wrong) > allowed * scale).any()


@pytest.mark.parametrize("name", ["elu", "relu", "tanh"])
def test_the_tangent_kernel_of_wide_networks_by_automatic_differentiation(name: str) -> None:
    """The mean over 40 networks of width 256, two hidden layers: within 4.5 standard errors and 4/width."""
    points = inputs(4, equal_norms=False, seed=5)
    weight_std, bias_std, width = numpy.sqrt(1.5), numpy.sqrt(0.1), 256
    kernels = []
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        sizes = [12, width, width, 1]
        parameters = []
        for fan_in, fan_out in pairwise(sizes):
            parameters.append(torch.randn(fan_in, fan_out, generator=generator, dtype=torch.float64))
            parameters.append(torch.randn(fan_out, generator=generator, dtype=torch.float64))
        for parameter in parameters:
            parameter.requires_grad_(True)
        values = torch.tensor(points)
        for index in range(3):
            weight, bias = parameters[2 * index : 2 * index + 2]
            values = FUNCTIONS[name](values) if index else values
            values = values @ weight * (weight_std / len(weight) ** 0.5) + bias_std * bias
        rows = [
            torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, parameters, retain_graph=True)])
            for value in values[:, 0]
        ]
        jacobian = torch.stack(rows)
        kernels.append((jacobian @ jacobian.T).numpy())
    measured = numpy.array(kernels)
    predicted = tangent_kernel(name, gram_of(points), 2, 1.5, 0.1).matrix
    scale = predicted.max()
    noise = measured.std(0, ddof=1) / numpy.sqrt(len(measured))
    assert (abs(measured.mean(0) - predicted) < 4.5 * noise + 4 / width * scale).all()
    assert (4.5 * noise).max() < 0.2 * scale
    wrong = tangent_kernel(name, gram_of(points), 3, 1.5, 0.1).matrix
    assert (abs(measured.mean(0) - wrong) > 4.5 * noise + 4 / width * scale).any()


# --- what is refused --------------------------------------------------------------------------------------------------

SQUARE = numpy.array([[1.0, 0.3], [0.3, 1.0]])


@pytest.mark.parametrize(
    ("gram", "options", "sentence"),
    [
        (SQUARE.tolist(), {}, "gram must be a numpy array or torch tensor of real numbers, not list"),
        (SQUARE + 0j, {}, "real numbers, not an array of complex128"),
        (SQUARE.astype(numpy.float16), {}, "gram must be float32, float64 or integers, not float16"),
        (torch.tensor(SQUARE).bool(), {}, "gram must be float32, float64 or integers, not torch.bool"),
        (SQUARE[0], {}, r"gram must be a matrix, not of shape \(2,\)"),
        (SQUARE[:0], {}, r"gram must hold at least one pair of inputs, not shape \(0, 2\)"),
        (SQUARE[:1], {}, r"gram of shape \(1, 2\) is not square; give second_moments"),
        (SQUARE, {"second_moments": numpy.ones(2)}, r"second_moments must be a pair \(left, right\)"),
        (SQUARE, {"second_moments": (numpy.ones(2), numpy.ones(3))}, r"second_moments of shapes \(2,\) and \(3,\)"),
        (numpy.diag([1.0, -1.0]), {}, "the second moment of input 1 must be finite and >= 0, not -1"),
        (numpy.array([[1.0, numpy.nan], [0.3, 1.0]]), {}, r"gram must be finite; entry \(0, 1\) is nan"),
        (numpy.array([[1.0, 0.3], [0.3, numpy.inf]]), {}, r"gram must be finite; entry \(1, 1\) is inf"),
        (numpy.array([[1.0, 0.3], [0.4, 1.0]]), {}, r"gram must be symmetric; entry \(0, 1\) is 0.3"),
        (numpy.array([[1.0, 1.3], [1.3, 1.0]]), {}, r"\|gram\| must be at most .*; entry \(0, 1\) is 1.3"),
        (numpy.array([[0.0, 0.1], [0.1, 1.0]]), {}, r"\|gram\| must be at most .*; entry \(0, 1\) is 0.1"),
        (SQUARE, {"depth": 0}, "depth must be an integer >= 1, not 0"),
        (SQUARE, {"depth": 2.5}, "depth must be an integer >= 1, not 2.5"),
        (SQUARE, {"weight_variance": -1.0}, "weight_variance must be a finite number >= 0, not -1.0"),
        (SQUARE, {"bias_variance": numpy.nan}, "bias_variance must be a finite number >= 0, not nan"),
        (SQUARE, {"depth": 6, "weight_variance": 1e100}, "exceed float64's range within this depth"),
        (SQUARE * [[1, 1.1], [1.1, 1.2]], {"depth": 6, "weight_variance": 1e100}, "exceed float64's range"),
    ],
)
def test_arguments_that_are_refused(gram: Any, options: dict[str, Any], sentence: str) -> None:
    arguments = {"depth": 3, "weight_variance": 1.5, "bias_variance": 0.1} | options
    for function in (propagate_gram, tangent_kernel):
        with pytest.raises(InputError, match=sentence):
            function("relu", gram, **arguments)


def test_what_only_one_of_the_two_refuses() -> None:
    moments = (numpy.ones(2), numpy.ones(2))
    with pytest.raises(InputError, match="batch_norm needs the square Gram matrix of the whole batch"):
        propagate_gram("elu", SQUARE, 3, 1.5, second_moments=moments, batch_norm=True)
    with pytest.raises(InputError, match="batch normalisation needs inputs that differ"):
        propagate_gram("elu", numpy.ones((2, 2)), 3, 1.5, batch_norm=True)
    with pytest.raises(InputError, match="second_moments must not require gradients"):
        propagate_gram(
            "elu", torch.tensor(SQUARE), 3, 1.5, second_moments=(torch.ones(2, requires_grad=True), torch.ones(2))
        )
    jump = Activation.from_text("where(x > 0, x + 1, x)")
    with pytest.raises(InputError, match="jumps: its derivative has no second moment"):
        tangent_kernel(jump, SQUARE, 3, 1.5)
    assert propagate_gram(jump, SQUARE, 2, 1.5).method == DIRECT


def test_steep_pairs_with_and_without_gradients() -> None:
    """Norms over five decades, neighbours at an angle of 1e-9: symmetric to the bit, and one result by both routes."""
    rng = numpy.random.default_rng(0)
    data = rng.standard_normal((6, 5)) * 10 ** rng.uniform(-2, 3, (6, 1))
    data = numpy.concatenate([data, data[:2] * (1 + 1e-9 * rng.standard_normal((2, 5)))])
    gram = data @ data.T / 5
    want = propagate_gram("elu", gram, 3, 1.5, 0.1).gram
    found = propagate_gram("elu", torch.tensor(gram, requires_grad=True), 3, 1.5, 0.1).gram.detach().numpy()
    assert (found == found.T).all()
    root = numpy.sqrt(numpy.diag(want))
    assert numpy.all(numpy.abs(found - want) <= 1e-12 * root[:, None] * root)
