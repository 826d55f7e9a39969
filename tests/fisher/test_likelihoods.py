"""Likelihoods against torch.distributions, autograd, and sums over every label."""

import math

import pytest
import torch
from torch import Tensor

from elutheory.errors import InputError
from elutheory.fisher import Bernoulli, Categorical, Gaussian, Likelihood
from elutheory.fisher.likelihoods import as_likelihood

EXACTLY = {"rtol": 1e-13, "atol": 1e-14}
LIKELIHOODS = [Categorical(), Bernoulli(), Gaussian(0.3)]
SHAPES = [(4, 3), (4, 2, 3)]


def outputs(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distribution(likelihood: Likelihood, logits: Tensor) -> torch.distributions.Distribution:
    if isinstance(likelihood, Categorical):
        return torch.distributions.Categorical(logits=logits)
    if isinstance(likelihood, Bernoulli):
        return torch.distributions.Bernoulli(logits=logits)
    assert isinstance(likelihood, Gaussian)
    return torch.distributions.Normal(logits, math.sqrt(likelihood.variance))


def information(likelihood: Likelihood, logits: Tensor) -> Tensor:
    """E_y[score scoreᵀ] at one position by hand: -E_y of the Hessian of ln p, the same for every y."""
    if isinstance(likelihood, Categorical):
        p = logits.softmax(-1)
        return torch.diag(p) - torch.outer(p, p)
    if isinstance(likelihood, Bernoulli):
        return torch.diag(logits.sigmoid() * (1 - logits.sigmoid()))
    assert isinstance(likelihood, Gaussian)
    return torch.eye(len(logits), dtype=logits.dtype) / likelihood.variance


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda likelihood: likelihood.name)
def test_log_density_and_score(likelihood: Likelihood, shape: tuple[int, ...]) -> None:
    logits = outputs(shape).requires_grad_()
    reference = distribution(likelihood, logits)
    targets = reference.sample()
    expected = reference.log_prob(targets).reshape(4, -1).sum(1)
    actual = likelihood.log_density(logits, targets)
    torch.testing.assert_close(actual, expected, **EXACTLY)
    (gradient,) = torch.autograd.grad(expected.sum(), logits)
    torch.testing.assert_close(likelihood.score(logits.detach(), targets), gradient, **EXACTLY)
    torch.testing.assert_close(torch.autograd.grad(actual.sum(), logits)[0], gradient, **EXACTLY)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda likelihood: likelihood.name)
def test_factors_make_the_fisher_information(likelihood: Likelihood, shape: tuple[int, ...]) -> None:
    logits = outputs(shape)
    columns = torch.stack(list(likelihood.score_factors(logits)))
    assert columns.shape == (logits[0].numel(), *shape)
    flat = columns.flatten(2)  # (columns, examples, positions × classes)
    for n, rows in enumerate(logits.reshape(4, -1, 3)):
        expected = torch.block_diag(*[information(likelihood, row) for row in rows])  # positions are independent
        torch.testing.assert_close(flat[:, n].T @ flat[:, n], expected, **EXACTLY)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda likelihood: likelihood.name)
def test_samples_have_scores_of_zero_mean_and_the_fisher_information(
    likelihood: Likelihood, shape: tuple[int, ...]
) -> None:
    logits, samples = outputs(shape), 20_000
    drawn = likelihood.sample(logits, samples, torch.Generator().manual_seed(7))
    assert drawn.shape[0] == samples
    # Every draw of every example as an example of its own: one call.
    repeated = logits.expand(samples, *shape).flatten(0, 1)
    scores = likelihood.score(repeated, drawn.flatten(0, 1)).reshape(samples, 4, -1, 3)
    products = scores[..., :, None] * scores[..., None, :]
    expected_products = torch.stack([information(likelihood, row) for row in logits.reshape(-1, 3)])
    for values, expected in [
        (scores, torch.zeros_like(scores[0])),
        (products, expected_products.reshape_as(products[0])),
    ]:
        error = values.std(0) / math.sqrt(samples)
        # Five standard errors of a mean over 20,000 draws, at most 144 of them: one failure in ten thousand seeds.
        assert ((values.mean(0) - expected).abs() <= 5 * error + 1e-15).all()


def test_samples_repeat_with_the_generator() -> None:
    for likelihood in LIKELIHOODS:
        first, second = (likelihood.sample(outputs((4, 3)), 3, torch.Generator().manual_seed(5)) for _ in range(2))
        assert torch.equal(first, second)


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda likelihood: likelihood.name)
def test_dtype_is_the_outputs(likelihood: Likelihood) -> None:
    for dtype in (torch.float32, torch.float64):  # one of them is not the default dtype
        logits = outputs((4, 3)).to(dtype)
        drawn = likelihood.sample(logits, 2, torch.Generator().manual_seed(0))
        assert drawn.dtype == (torch.int64 if isinstance(likelihood, Categorical) else dtype)
        assert likelihood.score(logits, drawn[0]).dtype == likelihood.log_density(logits, drawn[0]).dtype == dtype
        assert {column.dtype for column in likelihood.score_factors(logits)} == {dtype}


def test_extreme_outputs_stay_finite() -> None:
    logits = torch.tensor([[800.0, -800.0, 0.0]], dtype=torch.float64)
    for likelihood in (Categorical(), Bernoulli()):
        assert all(column.isfinite().all() for column in likelihood.score_factors(logits))
    # e^-40 is far below the rounding unit next to 1; 1 - p would be 0.
    logits = torch.tensor([[40.0]], dtype=torch.float64)
    (column,) = Bernoulli().score_factors(logits)
    assert column.item() == pytest.approx(math.exp(-20), rel=1e-12)
    assert Bernoulli().score(logits, torch.ones(1, 1)).item() == pytest.approx(math.exp(-40), rel=1e-12)


def test_names() -> None:
    assert as_likelihood("categorical") == Categorical()
    assert as_likelihood("bernoulli") == Bernoulli()
    assert as_likelihood("gaussian") == Gaussian(1.0)
    assert as_likelihood(Gaussian(2.0)) == Gaussian(2.0)
    assert Gaussian(0.25).name == "gaussian with variance 0.25"
    with pytest.raises(InputError, match=r"likelihood 'poisson' is not available; 'categorical', 'bernoulli'"):
        as_likelihood("poisson")
    for other in (None, ["gaussian"], 3):
        with pytest.raises(InputError, match=r"is not available; .* instances of a Likelihood of your own are"):
            as_likelihood(other)  # pyright: ignore
    with pytest.raises(InputError, match=r"likelihood is the class Gaussian; an instance of it is needed"):
        as_likelihood(Gaussian)  # pyright: ignore


@pytest.mark.parametrize("variance", [0.0, -1.0, math.nan, math.inf])
def test_variance_outside_its_domain(variance: float) -> None:
    with pytest.raises(InputError, match=rf"variance is {variance}; a positive finite number is needed"):
        Gaussian(variance)


REFUSED_TARGETS = {
    "shape": (Categorical(), torch.zeros(3, dtype=torch.int64), r"targets have shape \(3,\); \(4,\) is needed"),
    "dtype": (Categorical(), torch.zeros(4, dtype=torch.float64), "targets are torch.float64; .* needs integers"),
    "range": (Categorical(), torch.tensor([0, 1, 2, 3]), "targets run from 0 to 3; they must lie in 0 to 2"),
    "padding": (Categorical(), torch.tensor([0, 1, 2, -100]), "targets run from -100 to 2"),
    "bernoulli shape": (Bernoulli(), torch.zeros(4), r"targets have shape \(4,\); \(4, 3\) is needed"),
    "beyond 1": (Bernoulli(), torch.full((4, 3), 1.5), "must all lie in 0 to 1"),
    "negative": (Categorical(), torch.tensor([[-0.5, 1.0, 0.5]] * 4), "none may be negative"),
    "no probabilities": (Categorical(), torch.full((4, 3), 0.5), "must sum to 1"),
    "complex": (Gaussian(), torch.zeros(4, 3, dtype=torch.complex64), "must be real numbers"),
    "NaN": (Gaussian(), torch.full((4, 3), math.nan, dtype=torch.float64), "targets contain NaN or infinity"),
}


@pytest.mark.parametrize("case", REFUSED_TARGETS)
def test_targets_are_checked(case: str) -> None:
    likelihood, targets, message = REFUSED_TARGETS[case]
    for method in (likelihood.score, likelihood.log_density):
        with pytest.raises(InputError, match=message):
            method(outputs((4, 3)), targets)


@pytest.mark.parametrize(
    ("likelihood", "shape", "message"),
    [
        (Categorical(), (4, 1), r"outputs of shape \(4, 1\); .* with 2 or more classes is needed for a categorical"),
        (Bernoulli(), (4,), r"outputs of shape \(4,\); .* with 1 or more classes is needed for a bernoulli"),
        (Gaussian(), (4, 3, 2, 2), r"outputs of shape \(4, 3, 2, 2\); \(examples, classes\) or \(examples, positions"),
        (Gaussian(), (4, 0), r"outputs of shape \(4, 0\)"),
    ],
)
def test_outputs_are_checked(likelihood: Likelihood, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        likelihood.check_outputs(outputs(shape))
    likelihood.check_outputs(outputs((4, 2)))
    with pytest.raises(InputError, match="outputs contain NaN or infinity"):
        likelihood.check_outputs(outputs((4, 2)) * math.inf)
