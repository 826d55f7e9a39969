"""Fisher matrices against brute force, against finite differences of the divergence, and statements F2, F3, B4."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from elutheory.errors import InputError
from elutheory.fisher import Gaussian, LayerScores, UnitFisher, layer_scores, unit_fisher
from tests.references.plain_fisher import plain_fisher, plain_scores

EXACTLY = {"rtol": 1e-11, "atol": 1e-13}


def network(bias: bool = True) -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(4, 5), nn.ELU(), nn.Linear(5, 3, bias=bias), nn.Tanh(), nn.Linear(3, 3)).double()


def data(examples: int = 40) -> torch.Tensor:
    return 0.5 + torch.randn(examples, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def random_scores(
    examples: int = 50,
    fan_in: int = 6,
    units: int = 3,
    columns: int = 4,
    seed: int = 0,
    groups: int = 1,
    positions: int = 1,
    **others,
) -> LayerScores:
    generator = torch.Generator().manual_seed(seed)
    deltas = torch.randn(columns, examples, positions, units, generator=generator, dtype=torch.float64)
    incoming = 1 + torch.randn(examples, groups, positions, fan_in, generator=generator, dtype=torch.float64)
    return LayerScores(incoming, deltas, **others)


def dense(scores: LayerScores) -> torch.Tensor:
    """Reference: F by its definition, every score vector formed, one sum in numpy."""
    deltas, incoming = scores.deltas.numpy(), scores.incoming.numpy()
    if scores.has_bias:
        incoming = np.concatenate([np.ones_like(incoming[..., :1]), incoming], axis=-1)
    matrices = []
    for unit in range(deltas.shape[-1]):
        group = unit * incoming.shape[1] // deltas.shape[-1]
        by_position = deltas[..., unit, None] * incoming[:, group]
        vectors = by_position if scores.weight_sharing == "positionwise" else by_position.sum(2, keepdims=True)
        vectors = vectors.reshape(-1, vectors.shape[-1])
        matrices.append(vectors.T @ vectors / len(incoming))
    return torch.tensor(np.array(matrices))


def split(scores: LayerScores, *places: int) -> list[LayerScores]:
    pieces = zip(scores.incoming.tensor_split(places), scores.deltas.tensor_split(places, dim=1), strict=True)
    return [replace(scores, incoming=incoming, deltas=deltas) for incoming, deltas in pieces]


def assert_same(left: UnitFisher, right: UnitFisher, rtol: float = 1e-11) -> None:
    assert (left.examples, left.form, left.shape, left.rank) == (right.examples, right.form, right.shape, right.rank)
    for name in ("matrix", "mean_under_p", "mean_under_q", "coupling_ratio", "covariance_under_q"):
        torch.testing.assert_close(getattr(left, name), getattr(right, name), rtol=rtol, atol=rtol, equal_nan=True)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layer", ["0", "2"])
def test_matrix_is_the_mean_outer_product_of_scores(layer: str, bias: bool) -> None:
    model, inputs = network(bias), data()
    linear = model.get_submodule(layer)
    parameters = [linear.weight] if linear.bias is None else [linear.bias, linear.weight]
    expected = 0.0
    for example in inputs:  # reference: E_x E_{y ~ model} of the outer product, one example and label at a time
        for label in range(3):
            log_probability = model(example[None]).log_softmax(1)[0, label]
            gradients = torch.autograd.grad(log_probability, parameters)
            score = torch.cat([gradient.reshape(len(linear.weight), -1) for gradient in gradients], dim=1)
            expected = expected + log_probability.exp().detach() * score[:, :, None] * score[:, None, :] / len(inputs)
    fisher = unit_fisher(model, inputs, layer)
    torch.testing.assert_close(fisher.matrix, expected, **EXACTLY)
    assert fisher.has_bias == (linear.bias is not None)


def test_matrix_is_the_curvature_of_the_divergence() -> None:
    # Reference: E_x KL(p(y|x; w) || p(y|x; w + v)) = vᵀFv / 2 + O(v³), by central second differences.
    model, inputs, step = network(), data(), 1e-3
    linear, unit = model[2], 1
    with torch.no_grad():
        before = model(inputs).log_softmax(1)
    start = torch.cat([linear.bias.detach()[unit, None], linear.weight.detach()[unit]])

    def divergence(move: torch.Tensor) -> float:
        with torch.no_grad():
            linear.bias[unit], linear.weight[unit] = start[0] + move[0], start[1:] + move[1:]
            after = model(inputs).log_softmax(1)
            linear.bias[unit], linear.weight[unit] = start[0], start[1:]
        return (before.exp() * (before - after)).sum(1).mean().item()

    directions = step * torch.eye(6, dtype=torch.float64)
    expected = torch.tensor(
        [
            [
                (divergence(u + v) - divergence(u - v) - divergence(v - u) + divergence(-u - v)) / (4 * step**2)
                for v in directions
            ]
            for u in directions
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(unit_fisher(model, inputs, "2").matrix[unit], expected, rtol=1e-5, atol=1e-6)


def test_blocks_are_moments_under_q() -> None:
    scores = random_scores()
    fisher = UnitFisher.from_scores(scores)
    m, c = fisher.mean_under_q, fisher.c
    torch.testing.assert_close(fisher.b, c[:, None] * m, **EXACTLY)  # F2
    second_moment = fisher.covariance_under_q + m[:, :, None] * m[:, None, :]
    torch.testing.assert_close(fisher.A, c[:, None, None] * second_moment, **EXACTLY)
    for unit in range(3):
        # F3 with numpy's covariance: offset plus information gain.
        squared = scores.squared_deltas()[:, 0, unit].numpy()
        covariance = [np.cov(squared, column, ddof=0)[0, 1] for column in scores.incoming[:, 0, 0].T.numpy()]
        expected = fisher.mean_under_p.numpy() + np.array(covariance) / squared.mean()
        np.testing.assert_allclose(m[unit].numpy(), expected, rtol=1e-12)


def test_covariance_keeps_its_digits_far_from_the_origin() -> None:
    scores = random_scores()
    near, far = (
        UnitFisher.from_scores(scores),
        UnitFisher.from_scores(replace(scores, incoming=scores.incoming + 2.0**20)),
    )  # reference: a covariance does not move with the origin; adding 2^20 costs the activations about 2^-33
    torch.testing.assert_close(far.covariance_under_q, near.covariance_under_q, rtol=1e-8, atol=1e-8)
    m = far.mean_under_q
    subtracted = far.A / far.c[:, None, None] - m[:, :, None] * m[:, None, :]
    assert (subtracted - near.covariance_under_q).abs().max() > 1e-5


def test_centring_decouples_bias_and_weights() -> None:
    scores = random_scores(units=1)
    gradient = torch.randn(1, 7, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    mean = UnitFisher.from_scores(scores).mean_under_q[0]
    centred = UnitFisher.from_scores(replace(scores, incoming=scores.incoming - mean))
    assert centred.b.abs().max() < 1e-14  # B4
    step = centred.natural_gradient(gradient)
    torch.testing.assert_close(step[:, 0], gradient[:, 0] / centred.c, **EXACTLY)
    torch.testing.assert_close(step[:, 1:], torch.linalg.solve(centred.A, gradient[:, 1:]), **EXACTLY)


@pytest.mark.parametrize("damping", [0.0, 0.3])
@pytest.mark.parametrize("bias", [True, False])
def test_natural_gradient_solves_with_the_damped_matrix(damping: float, bias: bool) -> None:
    fisher = unit_fisher(network(bias), data(), "2")
    gradient = torch.randn(fisher.matrix.shape[:2], generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    expected = [  # reference: LAPACK through numpy, without scaling
        np.linalg.solve(matrix + damping * np.eye(len(matrix)), g)
        for matrix, g in zip(fisher.matrix.numpy(), gradient.numpy(), strict=True)
    ]
    np.testing.assert_allclose(fisher.natural_gradient(gradient, damping).numpy(), expected, rtol=1e-9)


def test_damped_blocks() -> None:
    fisher = UnitFisher.from_scores(random_scores())
    damped = fisher.damped(0.25)
    m = fisher.b / (fisher.c + 0.25)[:, None]
    identity = torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(damped.matrix, fisher.matrix + 0.25 * torch.eye(7, dtype=torch.float64))
    torch.testing.assert_close(damped.mean_under_q, m)
    by_definition = (fisher.A + 0.25 * identity) / (fisher.c + 0.25)[:, None, None] - m[:, :, None] * m[:, None, :]
    torch.testing.assert_close(damped.covariance_under_q, by_definition, **EXACTLY)
    assert fisher.damped(0.0) is fisher


def test_singular_matrices() -> None:
    scores = random_scores()
    incoming, deltas = scores.incoming.clone(), scores.deltas.clone()
    incoming[..., 2] = 0.0
    deltas[..., 1] = 0.0
    fisher = UnitFisher.from_scores(replace(scores, incoming=incoming, deltas=deltas))
    assert fisher.rank == [6, 0, 6]
    assert fisher.mean_under_q[1].isnan().all()
    gradient = torch.ones(3, 7, dtype=torch.float64)
    for damping in (0.0, 1e-13):
        with pytest.raises(InputError, match=r"singular for [23] of 3 units \(first: unit 0, rank 6 of 7\)"):
            fisher.natural_gradient(gradient, damping)
    torch.testing.assert_close(fisher.natural_gradient(gradient, 0.5)[1], gradient[1] / 0.5)
    damped = fisher.damped(0.5)
    assert (damped.mean_under_q[1] == 0).all()
    torch.testing.assert_close(damped.covariance_under_q[1], torch.eye(6, dtype=torch.float64))


def test_rank_threshold_follows_the_dtype() -> None:
    scores = random_scores()
    assert UnitFisher.from_scores(scores).rank_threshold == 1e-10
    single = replace(scores, incoming=scores.incoming.float(), deltas=scores.deltas.float())
    assert UnitFisher.from_scores(single).rank_threshold == 16 * 2.0**-23
    assert UnitFisher.from_scores(single).matrix.dtype == torch.float32


def test_refusals() -> None:
    model, inputs = network(bias=False), data()
    with pytest.raises(InputError, match="kind 'empirical' takes the scores at the data's labels; give targets"):
        unit_fisher(model, inputs, "2", kind="empirical")
    fisher = unit_fisher(model, inputs, "2")
    for block in (lambda: fisher.b, lambda: fisher.c, lambda: fisher.damped(0.1)):
        with pytest.raises(InputError, match="has no bias"):
            block()
    with pytest.raises(InputError, match=r"shape \(3, 6\); \(3, 5\)"):
        fisher.natural_gradient(torch.ones(3, 6, dtype=torch.float64))
    for damping in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="a finite number, zero or larger, is needed"):
            fisher.natural_gradient(torch.ones(3, 5, dtype=torch.float64), damping)


@pytest.mark.parametrize("layer", ["0", "2"])
def test_agrees_with_the_plain_route(layer: str) -> None:
    model, inputs = network(), data()
    fisher, plain = unit_fisher(model, inputs, layer), plain_fisher(model, inputs, layer)
    for name in ("matrix", "mean_under_p", "mean_under_q", "covariance_under_q"):
        torch.testing.assert_close(getattr(fisher, name), getattr(plain, name), **EXACTLY)
    assert (fisher.kind, fisher.examples, fisher.form) == ("exact", 40, "matrix")
    assert (fisher.likelihood.name, fisher.weight_sharing) == ("categorical", "exact")


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("sharing", ["exact", "positionwise"])
@pytest.mark.parametrize(("groups", "positions"), [(1, 1), (1, 3), (2, 1), (2, 3)])
@pytest.mark.parametrize("examples", [1, 2, 30])
def test_definition_in_both_forms(examples: int, groups: int, positions: int, sharing: str, has_bias: bool) -> None:
    scores = random_scores(
        examples, 40, 4, 2, groups=groups, positions=positions, weight_sharing=sharing, has_bias=has_bias
    )
    fisher, expected = UnitFisher.from_scores(scores), dense(scores)
    vectors = examples * positions if sharing == "positionwise" or positions == 1 else examples * 2
    assert fisher.form == ("factors" if vectors < fisher.shape[1] else "matrix")
    assert fisher.shape == (4, 40 + has_bias)
    torch.testing.assert_close(fisher.matrix, expected, **EXACTLY)
    torch.testing.assert_close(fisher.eigenvalues, torch.linalg.eigvalsh(expected), rtol=1e-10, atol=1e-10)
    assert fisher.rank == [min(vectors, 40 + has_bias)] * 4
    torch.testing.assert_close(fisher.mean_diagonal, expected.diagonal(dim1=1, dim2=2).mean(1), **EXACTLY)
    mean = scores.incoming.mean((0, 2))
    torch.testing.assert_close(fisher.mean_under_p, mean[0] if groups == 1 else mean.repeat_interleave(2, 0))
    with_bias = dense(replace(scores, has_bias=True))
    m = with_bias[:, 1:, 0] / with_bias[:, :1, 0]
    torch.testing.assert_close(fisher.coupling_ratio, m, **EXACTLY)
    by_position = dense(replace(scores, has_bias=True, weight_sharing="positionwise"))
    torch.testing.assert_close(fisher.mean_under_q, by_position[:, 1:, 0] / by_position[:, :1, 0], **EXACTLY)
    covariance = with_bias[:, 1:, 1:] / with_bias[:, :1, :1] - m[:, :, None] * m[:, None, :]
    torch.testing.assert_close(fisher.complement_of(slice(None)), covariance, **EXACTLY)
    summed = sharing == "exact" and positions > 1
    torch.testing.assert_close(
        fisher.covariance_under_q, covariance * (torch.nan if summed else 1.0), equal_nan=True, **EXACTLY
    )
    gradient = torch.randn(fisher.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    for relative, scale in ((False, torch.ones(4, dtype=torch.float64)), (True, fisher.mean_diagonal)):
        damped = expected + 0.1 * scale[:, None, None] * torch.eye(fisher.shape[1], dtype=torch.float64)
        step = fisher.natural_gradient(gradient, 0.1, relative=relative)
        torch.testing.assert_close(step, torch.linalg.solve(damped, gradient), rtol=1e-10, atol=1e-10)
    pseudo = torch.einsum("uij,uj->ui", torch.linalg.pinv(expected, rtol=1e-10, hermitian=True), gradient)
    on_range = fisher.natural_gradient(gradient, singular="range")
    torch.testing.assert_close(on_range, pseudo, rtol=1e-8, atol=1e-8)
    damped_on_range = fisher.natural_gradient(gradient, 1e-13, singular="range")
    torch.testing.assert_close(damped_on_range, pseudo, rtol=1e-8, atol=1e-8)


def test_form_follows_the_number_of_vectors() -> None:
    scores = random_scores(12, fan_in=9)
    few, enough, all_together = (UnitFisher.from_scores(split(scores, count)[0]) for count in (9, 10, 12))
    assert (few.form, enough.form) == ("factors", "matrix")
    assert few.add_scores(split(scores, 9)[1]).form == "matrix"
    assert_same(few, all_together)
    assert_same(UnitFisher.from_scores(split(scores, 4)[0]).add_scores(split(scores, 4, 9)[1]), unmerged(scores, 9))
    with pytest.raises(InputError, match=r"singular for 3 of 3 units \(first: unit 0, rank 9 of 10\)"):
        unmerged(scores, 9).natural_gradient(torch.ones(3, 10, dtype=torch.float64))
    # Positions in some batches only: vectors of both kinds.
    mixed = [random_scores(3, 30, positions=positions, seed=positions) for positions in (1, 4, 1)]
    expected = sum(map(dense, mixed)) / 3
    fisher = UnitFisher.from_scores(mixed[0]).add_scores(mixed[1]).add_scores(mixed[2])
    assert fisher.form == "factors"
    torch.testing.assert_close(fisher.matrix, expected, **EXACTLY)
    points = torch.cat([scores.incoming.flatten(0, 2) for scores in mixed])
    torch.testing.assert_close(fisher.mean_under_p, points.mean(0))


def unmerged(scores: LayerScores, examples: int) -> UnitFisher:
    return UnitFisher.from_scores(split(scores, examples)[0])


def test_layers_of_one_shape_do_not_merge() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
    first, second = (unit_fisher(model, torch.randn(20, 4), layer=name) for name in ("0", "2"))
    for add in (lambda: first.merge(second), lambda: first.add_scores(layer_scores(model, torch.randn(5, 4), "2"))):
        with pytest.raises(InputError, match=r"layer is '0' here and '2' there; both must be the same\."):
            add()
    loaded = UnitFisher.from_bytes(second.to_bytes())
    assert loaded.layer == "2"
    assert loaded.merge(second).examples == 40


@pytest.mark.parametrize("examples", [8, 40])
@pytest.mark.parametrize("positions", [1, 3])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_split_batches_merge_in_any_order(examples: int, positions: int, order: tuple[int, ...]) -> None:
    scores = random_scores(examples, 36, 4, 1, positions=positions, groups=2)
    scores = replace(scores, incoming=scores.incoming * torch.linspace(0.01, 30, 36, dtype=torch.float64))
    scores.incoming[..., ::3] += torch.arange(examples, dtype=torch.float64)[:, None, None, None] // 8 + 50
    parts = split(scores, 3, 6) if examples == 8 else split(scores, 2, 3)
    whole, merged = UnitFisher.from_scores(scores), UnitFisher.from_scores(parts[order[0]])
    for place in order[1:]:
        other = UnitFisher.from_scores(parts[place])
        before = other.matrix.clone()
        merged.merge(other)
        torch.testing.assert_close(other.matrix, before, rtol=0, atol=0)
    assert_same(merged, whole)
    torch.testing.assert_close(whole.matrix, dense(scores), **EXACTLY)
    added = UnitFisher.from_scores(parts[order[0]])
    for place in order[1:]:
        added.add_scores(parts[place])
    assert_same(added, whole)


def test_covariance_keeps_its_digits_through_merges_far_from_the_origin() -> None:
    scores = random_scores(60)
    shifted = replace(scores, incoming=scores.incoming + 2.0**20)
    near = UnitFisher.from_scores(scores)
    first, second, third = map(UnitFisher.from_scores, split(shifted, 20, 40))
    far = first.merge(second.merge(third))
    torch.testing.assert_close(far.covariance_under_q, near.covariance_under_q, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(far.matrix, dense(shifted), rtol=1e-12, atol=0)


def test_duplicated_data_and_permuted_units_and_labels() -> None:
    model, inputs = network(), data()
    fisher = unit_fisher(model, inputs, "2")
    twice = unit_fisher(model, inputs.repeat(2, 1), "2")
    torch.testing.assert_close(twice.matrix, fisher.matrix, **EXACTLY)
    assert twice.examples == 80
    order = torch.tensor([2, 0, 1])
    permuted = network()
    with torch.no_grad():
        permuted[2].weight.copy_(model[2].weight[order])
        permuted[2].bias.copy_(model[2].bias[order])
        permuted[4].weight.copy_(model[4].weight[[1, 2, 0]][:, order])
        permuted[4].bias.copy_(model[4].bias[[1, 2, 0]])
    torch.testing.assert_close(unit_fisher(permuted, inputs, "2").matrix, fisher.matrix[order], **EXACTLY)


def test_one_layer_gaussian_model() -> None:
    # By hand: the score is residual · (1, a)/variance, and E residual² = variance.
    model, inputs = nn.Sequential(nn.Linear(4, 3)).double(), data()
    points = torch.cat([torch.ones(40, 1, dtype=torch.float64), inputs], dim=1)
    expected = (points.T @ points / 40 / 2.5).expand(3, 5, 5)
    torch.testing.assert_close(unit_fisher(model, inputs, "0", likelihood=Gaussian(2.5)).matrix, expected, **EXACTLY)
    one = unit_fisher(model, inputs[:1], "0", likelihood=Gaussian(2.5))
    torch.testing.assert_close(one.matrix[1], points[0, :, None] * points[0] / 2.5, **EXACTLY)
    assert (one.form, one.rank) == ("factors", [1, 1, 1])


def test_variance_enters_as_its_inverse_in_exact_and_monte_carlo() -> None:
    model, inputs = network(), data()
    for kind in ("exact", "monte_carlo"):
        first, second = (
            unit_fisher(model, inputs, "2", kind, Gaussian(variance), generator=torch.Generator().manual_seed(3)).matrix
            for variance in (1.0, 4.0)
        )
        torch.testing.assert_close(first, 4.0 * second, **EXACTLY)


@pytest.mark.parametrize("samples", [1, 200])
def test_monte_carlo_is_the_exact_matrix_within_its_sampling_error(samples: int) -> None:
    model, inputs = network(), data(400)
    plain = plain_scores(model, inputs, "2")
    points = torch.cat([torch.ones(400, 1, dtype=torch.float64), plain.incoming], dim=1)
    outer = points[:, :, None] * points[:, None, :]
    squared, p = plain.deltas.square(), plain.probabilities
    variance = torch.einsum("nyu,ny->nu", squared.square(), p) - torch.einsum("nyu,ny->nu", squared, p).square()
    error = (torch.einsum("nu,nij->uij", variance, outer.square()) / samples).sqrt() / 400
    drawn = unit_fisher(model, inputs, "2", "monte_carlo", samples=samples, generator=torch.Generator().manual_seed(8))
    exact = unit_fisher(model, inputs, "2")
    z = (drawn.matrix - exact.matrix) / error
    assert z.abs().max() < 5  # 63 distinct entries, correlated
    assert 0.2 < z.square().mean() < 3
    assert (drawn.kind, drawn.examples) == ("monte_carlo", 400)


def test_divergence_is_half_the_quadratic_form() -> None:
    model, inputs, unit = network(), data(), 2
    fisher = unit_fisher(model, inputs, "2")
    direction = torch.randn(6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    before = model(inputs).log_softmax(1).detach()
    start = model[2].weight.detach().clone(), model[2].bias.detach().clone()
    differences = []
    for size in (1e-1, 1e-2, 1e-3):
        with torch.no_grad():
            model[2].weight.copy_(start[0])
            model[2].bias.copy_(start[1])
            model[2].weight[unit] += size * direction[1:]
            model[2].bias[unit] += size * direction[0]
            after = model(inputs).log_softmax(1)
        divergence = (before.exp() * (before - after)).sum(1).mean()
        differences.append((divergence / (0.5 * size**2 * direction @ fisher.matrix[unit] @ direction) - 1).abs())
    assert differences[0] > 3 * differences[1] > 9 * differences[2]  # first order in the size of the step
    assert differences[2] < 2e-3


class MeanOverTokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layer, self.head = nn.Linear(3, 4).double(), nn.Linear(4, 3).double()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(nn.functional.elu(self.layer(tokens)).mean(1))


class Convolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layer = nn.Conv2d(4, 6, (2, 3), stride=2, padding=1, groups=2).double()
        self.head = nn.Linear(6, 3).double()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(nn.functional.elu(self.layer(images)).mean((2, 3)))


@pytest.mark.parametrize(("make", "shape"), [(MeanOverTokens, (6, 3)), (Convolution, (4, 5, 5))])
def test_shared_weights_sum_scores_over_positions(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    model = make()
    inputs = 0.5 + torch.randn(30, *shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = 0.0
    for example in inputs:  # reference: as above, one example and label at a time
        log_probabilities = model(example[None]).log_softmax(1)[0]
        for log_probability in log_probabilities:
            of_weight, of_bias = torch.autograd.grad(
                log_probability, [model.layer.weight, model.layer.bias], retain_graph=True
            )
            score = torch.cat([of_bias[:, None], of_weight.flatten(1)], dim=1)
            expected = expected + log_probability.exp().detach() * score[:, :, None] * score[:, None, :] / len(inputs)
    fisher = unit_fisher(model, inputs, "layer")
    torch.testing.assert_close(fisher.matrix, expected, **EXACTLY)
    positionwise = unit_fisher(model, inputs, "layer", weight_sharing="positionwise")
    assert (fisher.weight_sharing, positionwise.weight_sharing) == ("exact", "positionwise")
    assert (positionwise.matrix - expected).norm() > 0.3 * expected.norm()


def test_data_in_every_shape() -> None:
    model, inputs = network(), data()
    targets = torch.randint(3, (40,), generator=torch.Generator().manual_seed(6))
    whole = unit_fisher(model, inputs, "2", "empirical", targets=targets, batch_size=40)
    loader = [[inputs[:7], targets[:7]], [inputs[7:], targets[7:]]]
    for given in (
        unit_fisher(model, (inputs, targets), "2", "empirical", batch_size=11),
        unit_fisher(model, loader, "2", "empirical"),
        unit_fisher(model, iter([(inputs, targets)]), "2", "empirical"),
        unit_fisher(model, (inputs[:9], targets[:9]), "2", "empirical").update(inputs[9:], targets[9:]),
        unit_fisher(model, {"input": inputs}, "2", "empirical", targets=targets, batch_size=13),
        unit_fisher(model, loader[0][0], "2", "empirical", targets=targets[:7]).update(loader[1:]),
    ):
        assert_same(given, whole)
    with pytest.raises(InputError, match="targets are given twice"):
        unit_fisher(model, (inputs, targets), "2", "empirical", targets=targets)
    with pytest.raises(InputError, match="the data have no batch"):
        unit_fisher(model, [], "2")
    with pytest.raises(InputError, match="a batch has 3 parts"):
        unit_fisher(model, [(inputs, targets, targets)], "2")
    with pytest.raises(InputError, match=r"targets have shape \(39,\) for 40 examples"):
        unit_fisher(model, (inputs, targets[1:]), "2", "empirical")
    with pytest.raises(InputError, match="batch_size is 0"):
        unit_fisher(model, inputs, "2", batch_size=0)
    with pytest.raises(InputError, match="targets apart from the inputs"):
        unit_fisher(model, loader, "2", "empirical", targets=targets)


def test_tensors_handed_out_keep_their_values() -> None:
    first, second = split(random_scores(), 25)
    fisher = UnitFisher.from_scores(first)
    damped, matrix = fisher.damped(0.1), fisher.matrix
    kept, kept_damped = matrix.clone(), damped.matrix.clone()
    fisher.add_scores(second)
    assert (fisher.matrix != kept).any()
    torch.testing.assert_close(matrix, kept, rtol=0, atol=0)
    fresh = UnitFisher.from_scores(first).damped(0.1)
    for part in ("matrix", "c", "b", "mean_under_q", "covariance_under_q", "eigenvalues"):
        torch.testing.assert_close(getattr(damped, part), getattr(fresh, part), **EXACTLY)
    torch.testing.assert_close(kept_damped, fresh.matrix, rtol=0, atol=0)
    with pytest.raises(InputError, match="a damped Fisher matrix takes no further examples"):
        damped.add_scores(second)
    with pytest.raises(InputError, match="a damped Fisher matrix takes no further examples"):
        fisher.merge(damped)


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        ({"units": 4}, "units is 3 here and 4 there"),
        ({"fan_in": 5}, "fan_in is 6 here and 5 there"),
        ({"has_bias": False}, "has_bias is True here and False there"),
        ({"kind": "empirical"}, "kind is 'exact' here and 'empirical' there"),
        ({"likelihood": "bernoulli"}, "likelihood is 'categorical' here and 'bernoulli' there"),
        ({"weight_sharing": "positionwise"}, "weight_sharing is 'exact' here and 'positionwise' there"),
    ],
)
def test_only_the_same_layer_and_kind_merge(others: dict, sentence: str) -> None:
    fisher, other = UnitFisher.from_scores(random_scores()), random_scores(**others)
    with pytest.raises(InputError, match=sentence):
        fisher.merge(UnitFisher.from_scores(other))
    with pytest.raises(InputError, match=sentence):
        fisher.add_scores(other)
    scores = random_scores()
    single = replace(scores, incoming=scores.incoming.float(), deltas=scores.deltas.float())
    with pytest.raises(InputError, match=r"dtype is torch\.float64 here and torch\.float32 there"):
        fisher.add_scores(single)
    with pytest.raises(InputError, match="made from scores, without a model"):
        fisher.update(data())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("examples", [3, 40])
def test_dtype_is_the_models(dtype: torch.dtype, examples: int) -> None:
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if dtype == torch.float64 else torch.float64)
    try:
        fisher = unit_fisher(network().to(dtype), data(examples).to(dtype), "2")
        gradient = torch.ones(3, 6, dtype=dtype)
        results = [fisher.matrix, fisher.mean_under_p, fisher.covariance_under_q, fisher.eigenvalues, fisher.b]
        results += [fisher.natural_gradient(gradient, 0.1, singular="range"), fisher.damped(0.1).covariance_under_q]
    finally:
        torch.set_default_dtype(default)
    assert {result.dtype for result in results} == {dtype}
