"""Fisher matrices against brute force, against finite differences of the divergence, and statements F2, F3, B4."""

import numpy as np
import pytest
import torch
from torch import nn

from elutheory.errors import InputError
from elutheory.fisher import UnitFisher, unit_fisher
from elutheory.scores import LayerScores, layer_scores

EXACTLY = {"rtol": 1e-11, "atol": 1e-13}


def network(bias: bool = True) -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(4, 5), nn.ELU(), nn.Linear(5, 3, bias=bias), nn.Tanh(), nn.Linear(3, 3)).double()


def data(examples: int = 40) -> torch.Tensor:
    return 0.5 + torch.randn(examples, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def random_scores(examples: int = 50, fan_in: int = 6, units: int = 3, classes: int = 4, seed: int = 0) -> LayerScores:
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.randn(examples, classes, generator=generator, dtype=torch.float64).softmax(1)
    deltas = torch.randn(examples, classes, units, generator=generator, dtype=torch.float64)
    incoming = 1 + torch.randn(examples, fan_in, generator=generator, dtype=torch.float64)
    return LayerScores(incoming, deltas, probabilities)


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
        squared = scores.squared_deltas()[:, unit].numpy()
        covariance = [np.cov(squared, column, ddof=0)[0, 1] for column in scores.incoming.T.numpy()]
        expected = fisher.mean_under_p.numpy() + np.array(covariance) / squared.mean()
        np.testing.assert_allclose(m[unit].numpy(), expected, rtol=1e-12)


def test_covariance_keeps_its_digits_far_from_the_origin() -> None:
    scores = random_scores()
    near, far = (
        UnitFisher.from_scores(scores),
        UnitFisher.from_scores(LayerScores(scores.incoming + 2.0**20, scores.deltas, scores.probabilities)),
    )  # reference: a covariance does not move with the origin; adding 2^20 costs the activations about 2^-33
    torch.testing.assert_close(far.covariance_under_q, near.covariance_under_q, rtol=1e-8, atol=1e-8)
    m = far.mean_under_q
    subtracted = far.A / far.c[:, None, None] - m[:, :, None] * m[:, None, :]
    assert (subtracted - near.covariance_under_q).abs().max() > 1e-5


def test_centring_decouples_bias_and_weights() -> None:
    scores = random_scores(units=1)
    gradient = torch.randn(1, 7, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    mean = UnitFisher.from_scores(scores).mean_under_q[0]
    centred = UnitFisher.from_scores(LayerScores(scores.incoming - mean, scores.deltas, scores.probabilities))
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
    incoming[:, 2] = 0.0
    deltas[:, :, 1] = 0.0
    fisher = UnitFisher.from_scores(LayerScores(incoming, deltas, scores.probabilities))
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
    single = LayerScores(scores.incoming.float(), scores.deltas.float(), scores.probabilities.float())
    assert UnitFisher.from_scores(single).rank_threshold == 7 * 2.0**-23
    assert UnitFisher.from_scores(single).matrix.dtype == torch.float32


def test_refusals() -> None:
    model, inputs = network(bias=False), data()
    with pytest.raises(InputError, match="kind 'empirical' is not available; the only kind is 'exact'"):
        unit_fisher(model, inputs, "2", kind="empirical")
    with pytest.raises(
        InputError, match="likelihood 'gaussian' is not available; the only likelihood is 'categorical'"
    ):
        unit_fisher(model, inputs, "2", likelihood="gaussian")
    fisher = unit_fisher(model, inputs, "2")
    for block in (lambda: fisher.b, lambda: fisher.c, lambda: fisher.damped(0.1)):
        with pytest.raises(InputError, match="has no bias"):
            block()
    with pytest.raises(InputError, match=r"shape \(3, 6\); \(3, 5\)"):
        fisher.natural_gradient(torch.ones(3, 6, dtype=torch.float64))
    for damping in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="a finite number, zero or larger, is needed"):
            fisher.natural_gradient(torch.ones(3, 5, dtype=torch.float64), damping)


def test_scores_and_fisher_agree_on_the_layer() -> None:
    model, inputs = network(), data()
    fisher = unit_fisher(model, inputs, "2")
    torch.testing.assert_close(fisher.mean_under_p, model[:2](inputs).mean(0).detach())
    torch.testing.assert_close(fisher.matrix, UnitFisher.from_scores(layer_scores(model, inputs, "2")).matrix)
