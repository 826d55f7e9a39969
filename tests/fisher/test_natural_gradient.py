"""The optimizer's steps against matrices formed plainly, and against SGD on explicitly centred models."""

import gc
import io
import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from elutheory.errors import InputError
from elutheory.fisher import Gaussian, UnitNaturalGradient, unit_fisher
from elutheory.fisher.training.limited_step import AIM
from tests.references.plain_fisher import plain_fisher

RATE, DAMPING = 0.3, 0.05
unlimited = partial(UnitNaturalGradient, max_kl=None)


def network(seed: int = 0, hidden: int = 4) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, hidden), nn.ELU(inplace=True), nn.Linear(hidden, 3)).double()


def convolutional() -> nn.Sequential:
    torch.manual_seed(4)
    convolution = nn.Conv1d(2, 4, 3, stride=2, padding=1, groups=2)
    return nn.Sequential(convolution, nn.ELU(inplace=True), nn.Flatten(), nn.Linear(16, 3, bias=False)).double()


class Twice(nn.Module):
    """A layer used twice, on sequences, and a head on the mean over positions."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.shared, self.head = nn.Linear(5, 5).double(), nn.Linear(5, 3).double()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.shared(nn.functional.elu(self.shared(inputs))).mean(1))


def batch(examples: int = 40, shape: tuple[int, ...] = (5,), seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = 0.5 + torch.randn(examples, *shape, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(3, (examples,), generator=generator)


def descend(optimizer: torch.optim.Optimizer, model: nn.Module, inputs: Tensor, targets: Tensor) -> None:
    optimizer.zero_grad()
    cross_entropy(model(inputs), targets).backward()
    optimizer.step()


def gradient_of(model: nn.Module, layer: str, inputs: Tensor, targets: Tensor) -> Tensor:
    """(g0, g) of every unit, from the model's own backward pass."""
    module = model.get_submodule(layer)
    parameters = [getattr(module, key) for key in ("bias", "weight") if getattr(module, key) is not None]
    taken = torch.autograd.grad(cross_entropy(model(inputs), targets), parameters)
    return torch.cat([part.flatten(1) if part.ndim > 1 else part[:, None] for part in taken], dim=1)


def coordinates(model: nn.Module, layer: str) -> Tensor:
    module = model.get_submodule(layer)
    weight = module.weight.detach().flatten(1).clone()
    return weight if module.bias is None else torch.cat([module.bias.detach()[:, None], weight], dim=1)


def assert_close(actual: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


# ------------------------------------------------------------------------------------------------ the step itself


@pytest.mark.parametrize("relative", [True, False])
def test_a_step_is_the_inverse_of_the_plain_matrix_times_the_gradient(relative: bool) -> None:
    model, data = network(), batch()
    expected = {}
    for layer in ("0", "2"):
        matrix = plain_fisher(model, data[0], layer).matrix.detach()
        size = matrix.diagonal(dim1=1, dim2=2).mean(1) if relative else torch.ones(len(matrix), dtype=torch.float64)
        damped = matrix + DAMPING * size[:, None, None] * torch.eye(matrix.shape[-1], dtype=torch.float64)
        step = torch.linalg.inv(damped) @ gradient_of(model, layer, *data)[:, :, None]
        expected[layer] = coordinates(model, layer) - RATE * step[:, :, 0]
    with unlimited(model, RATE, kind="exact", damping=DAMPING, relative=relative) as optimizer:
        descend(optimizer, model, *data)
    assert optimizer.uncovered == {}
    for layer, parameters in expected.items():
        assert_close(coordinates(model, layer), parameters)


MODELS: list[tuple[Callable[[], nn.Module], tuple[int, ...], tuple[str, ...]]] = [
    (convolutional, (2, 8), ("0", "3")),
    (Twice, (4, 5), ("shared", "head")),
]


@pytest.mark.parametrize(("make", "shape", "layers"), MODELS)
@pytest.mark.parametrize("kind", ["exact", "monte_carlo", "empirical"])
@pytest.mark.parametrize("weight_sharing", ["exact", "positionwise"])
def test_every_kind_of_layer_and_estimate_agrees_with_unit_fisher(
    make: Callable[[], nn.Module], shape: tuple[int, ...], layers: tuple[str, ...], kind: Any, weight_sharing: Any
) -> None:
    """Monte Carlo: of the same labels, drawn by a generator with the same seed."""
    model, data = make(), batch(shape=shape)
    expected = {}
    for layer in layers:
        fisher = unit_fisher(
            model,
            data[0],
            layer,
            kind,
            targets=data[1],
            samples=2,
            generator=torch.Generator().manual_seed(7),
            weight_sharing=weight_sharing,
        )
        step = fisher.natural_gradient(gradient_of(model, layer, *data), DAMPING, relative=True)
        expected[layer] = coordinates(model, layer) - RATE * step
    optimizer = unlimited(model, RATE, kind=kind, samples=2, weight_sharing=weight_sharing, damping=DAMPING, seed=7)
    descend(optimizer, model, *data)
    assert optimizer.uncovered == {}
    for layer, parameters in expected.items():
        assert_close(coordinates(model, layer), parameters)


def test_labels_at_every_position_and_other_likelihoods() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    inputs, _ = batch(shape=(3, 5))
    targets = torch.randint(2, (40, 3, 2)).double()

    def loss() -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(model(inputs), targets, reduction="sum") / 40

    weight_gradient = torch.autograd.grad(loss(), [model[0].bias, model[0].weight])
    gradient = torch.cat([weight_gradient[0][:, None], weight_gradient[1]], dim=1)
    fisher = unit_fisher(model, inputs, "0", "exact", "bernoulli")
    expected = coordinates(model, "0") - RATE * fisher.natural_gradient(gradient, DAMPING, relative=True)
    optimizer = unlimited(model, RATE, "bernoulli", "exact", damping=DAMPING)
    loss().backward()
    optimizer.step()
    assert_close(coordinates(model, "0"), expected)


@pytest.mark.parametrize("duplicated", [False, True])
def test_linear_gaussian_model_is_solved_in_one_step(duplicated: bool) -> None:
    """lr 1, no damping: least squares by QR; with a feature given twice F is singular and the fit is the same."""
    inputs, _ = batch()
    inputs = torch.cat([inputs, inputs[:, :1]], dim=1) if duplicated else inputs
    targets = torch.randn(40, 2, dtype=torch.float64)
    design = torch.cat([torch.ones(40, 1, dtype=torch.float64), inputs[:, :5]], dim=1)
    fitted = design @ torch.linalg.lstsq(design, targets).solution
    model = nn.Linear(inputs.shape[1], 2).double()
    optimizer = unlimited(model, 1.0, "gaussian", "exact", damping=0.0)
    (0.5 * (model(inputs) - targets).square().sum(1)).mean().backward()
    optimizer.step()
    assert_close(model(inputs).detach(), fitted, 1e-9)


@pytest.mark.parametrize(("max_kl", "shortened"), [(0.02, True), (1e3, False)])
def test_a_step_is_shortened_to_the_divergence_allowed(max_kl: float, shortened: bool) -> None:
    """One layer, Gaussian, several units: KL = mean of ½ |change of the outputs|² / variance, and F without damping."""
    inputs, _ = batch()
    targets = torch.randn(40, 2, dtype=torch.float64)
    moves = []
    for limit in (max_kl, None):
        torch.manual_seed(0)
        model = nn.Linear(5, 2).double()
        before = model(inputs).detach()
        optimizer = UnitNaturalGradient(model, RATE, Gaussian(0.5), "exact", damping=0.0, max_kl=limit)
        ((model(inputs) - targets).square().sum(1) / (2 * 0.5)).mean().backward()
        optimizer.step()
        moves.append(model(inputs).detach() - before)
    divergence = (0.5 * moves[0].square().sum(1) / 0.5).mean()
    expected = torch.tensor(AIM * max_kl, dtype=torch.float64) if shortened else (moves[1].square().sum(1)).mean()
    assert_close(divergence, expected)
    assert_close(moves[0] / moves[0].norm(), moves[1] / moves[1].norm())


def test_float32_with_the_defaults_learns_random_labels() -> None:
    """Of which only the limit is wider, as there are few steps; without it this rate leaves the range of float32."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(128, 20), torch.randint(10, (128,))
    model = nn.Sequential(nn.Linear(20, 64), nn.ELU(), nn.Linear(64, 64), nn.ELU(), nn.Linear(64, 10))
    optimizer = UnitNaturalGradient(model, 0.03, max_kl=0.1)
    for _ in range(20):
        descend(optimizer, model, inputs, targets)
    assert optimizer.state[model[2].weight]["fisher"].dtype == torch.float32
    assert cross_entropy(model(inputs), targets) < 0.5


def test_a_dead_unit_stays_and_the_others_move() -> None:
    model, data = network(), batch()
    with torch.no_grad():
        model[2].weight[:, 1] = 0.0
    before = coordinates(model, "0")
    with unlimited(model, RATE, kind="exact") as optimizer:
        descend(optimizer, model, *data)
    moved = (coordinates(model, "0") - before).abs().amax(1)
    assert moved[1] == 0
    assert (moved[[0, 2, 3]] > 1e-3).all()


# --------------------------------------------------------------------------------------------- the running estimate


def test_running_estimate_fades_with_bias_correction() -> None:
    model = network()
    optimizer = unlimited(model, 0.0, kind="exact", decay=0.8, update_interval=2)
    batches = [batch(20, seed=seed) for seed in range(5)]
    for data in batches:
        descend(optimizer, model, *data)
    used = [unit_fisher(model.eval(), inputs, "0").matrix for inputs, _ in batches[::2]]
    state = optimizer.state[model[0].weight]
    assert_close(
        torch.tensor(state["estimate_weight"], dtype=torch.float64), torch.tensor(1 - 0.8**3, dtype=torch.float64)
    )
    expected = sum(0.2 * 0.8 ** (2 - index) * matrix for index, matrix in enumerate(used)) / (1 - 0.8**3)
    assert_close(optimizer.fisher("0"), expected, 1e-12)


@pytest.mark.parametrize("kind", ["exact", "empirical"])
@pytest.mark.parametrize("centred", [False, "p", "q"])
def test_accumulated_gradients_are_one_batch(kind: Any, centred: Any) -> None:
    inputs, targets = batch()
    whole, parts = network(), network()
    descend(unlimited(whole, RATE, kind=kind, centred=centred), whole, inputs, targets)
    optimizer = unlimited(parts, RATE, kind=kind, centred=centred)
    for part in (slice(0, 10), slice(10, 40)):
        (cross_entropy(parts(inputs[part]), targets[part], reduction="sum") / 40).backward()
    optimizer.step()
    for layer in ("0", "2"):
        assert_close(coordinates(parts, layer), coordinates(whole, layer))


def test_evaluation_between_steps_does_not_count() -> None:
    data = batch()
    plain, watched = network(), network()
    for model in (plain, watched):
        optimizer = unlimited(model, RATE)
        for _ in range(3):
            optimizer.zero_grad()
            cross_entropy(model(data[0]), data[1]).backward()
            if model is watched:
                model.eval()(batch(seed=2)[0])
                with torch.no_grad():
                    model.train()(batch(seed=3)[0])
            optimizer.step()
    assert torch.equal(coordinates(plain, "0"), coordinates(watched, "0"))


@pytest.mark.parametrize("layer", ["0", "2"])
def test_fisher_matrices_taken_between_steps_do_not_count(layer: str) -> None:
    data = batch()
    plain, watched = network(), network()
    for model in (plain, watched):
        optimizer = unlimited(model, RATE, kind="exact")
        for _ in range(2):
            if model is watched:
                unit_fisher(model, batch(seed=2)[0], layer)
            descend(optimizer, model, *data)
        assert optimizer.uncovered == {}
    assert torch.equal(coordinates(plain, layer), coordinates(watched, layer))


def test_a_layer_frozen_for_a_while_is_taken_up_again() -> None:
    model, data = network(), batch()
    optimizer = unlimited(model, RATE / 8, kind="exact")
    before = coordinates(model, "0")
    model[0].requires_grad_(False)
    descend(optimizer, model, *data)
    assert torch.equal(coordinates(model, "0"), before)
    model[0].requires_grad_(True)
    fisher = unit_fisher(model, data[0], "0")
    step = fisher.natural_gradient(gradient_of(model, "0", *data), 1e-2, relative=True)
    descend(optimizer, model, *data)
    assert_close(coordinates(model, "0"), before - RATE / 8 * step)
    assert optimizer.uncovered == {}


def test_checkpointed_layers_take_the_same_step() -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, inputs: Tensor) -> Tensor:
            return checkpoint(self.inner, inputs, use_reentrant=False)

    plain, model = network(), Checkpointed()
    for one in (plain, model):
        optimizer = unlimited(one, RATE, kind="exact")
        descend(optimizer, one, *batch())
        assert optimizer.uncovered == {}
    assert_close(coordinates(model.inner, "0"), coordinates(plain, "0"), 1e-14)


def test_dropout_counts_with_the_masks_drawn() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mask = torch.ones(())

        def forward(self, activations: Tensor) -> Tensor:
            return activations * self.mask

    inputs, targets = batch()
    layers = network()
    model = nn.Sequential(layers[0], nn.Dropout(0.5), layers[2])
    fixed = deepcopy(model)
    fixed[1] = masked = Masked()
    optimizer = unlimited(model, RATE, kind="exact", damping=DAMPING)
    model[1].register_forward_hook(lambda _module, arguments, output: setattr(masked, "mask", output / arguments[0]))
    descend(optimizer, model, inputs, targets)
    masked.mask = masked.mask.detach()
    matrix = plain_fisher(fixed, inputs, "2").matrix.detach()
    size = DAMPING * matrix.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    damped = matrix + size * torch.eye(5, dtype=torch.float64)
    step = torch.linalg.solve(damped, gradient_of(fixed, "2", inputs, targets))
    assert_close(coordinates(model, "2"), coordinates(fixed, "2") - RATE * step)


def test_batch_normalisation_in_training_mode() -> None:
    """Refused by kind "exact"; else trained, its own parameters by plain SGD."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ELU(inplace=True), nn.Linear(4, 3)).double()
    with unlimited(model, RATE, kind="exact"), pytest.raises(InputError, match=r"couples the examples"):
        model(batch()[0])
    optimizer = unlimited(model, RATE)
    assert set(optimizer.uncovered) == {"1.weight", "1.bias"}
    losses = []
    for _ in range(30):
        losses.append(cross_entropy(model(batch()[0]), batch()[1]).item())
        descend(optimizer, model, *batch())
    assert losses[-1] < losses[0] - 0.2


# --------------------------------------------------------------------------------------------------------- centring


class Centred(nn.Module):
    """w·(a − m) + w0' for every unit: B4's parametrisation, m (units, fan_in)."""

    def __init__(self, layer: nn.Linear, means: Tensor) -> None:
        super().__init__()
        self.means = means
        self.weight = nn.Parameter(layer.weight.detach().clone())
        self.bias = nn.Parameter(layer.bias.detach() + (layer.weight.detach() * means).sum(1))

    def forward(self, activations: Tensor) -> Tensor:
        return ((activations[:, None] - self.means) * self.weight).sum(2) + self.bias


@pytest.mark.parametrize("centred", [True, "p", "q"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_centring_is_sgd_on_the_reparametrised_model(centred: Any, momentum: float) -> None:
    """Of a linear model, whose m does not change over the steps (under q: one step)."""
    inputs, targets = batch()
    model = network()
    fishers = {layer: unit_fisher(model, inputs, layer) for layer in ("0", "2")}
    means = {
        layer: fisher.mean_under_q if centred == "q" else fisher.mean_under_p.expand(fisher.units, -1)
        for layer, fisher in fishers.items()
    }
    explicit = nn.Sequential(Centred(model[0], means["0"]), nn.ELU(), Centred(model[2], means["2"]))
    descend(torch.optim.SGD(explicit.parameters(), RATE, momentum=momentum), explicit, inputs, targets)
    optimizer = unlimited(model, RATE, kind="exact", centred=centred, momentum=momentum)
    descend(optimizer, model, inputs, targets)
    for index, layer in ((0, "0"), (2, "2")):
        own = explicit[index]
        assert isinstance(own, Centred)
        bias = own.bias.detach() - (own.weight.detach() * own.means).sum(1)
        expected = torch.cat([bias[:, None], own.weight.detach()], dim=1)
        assert_close(coordinates(model, layer), expected, 1e-12)


# ------------------------------------------------------------------------------------------- parameters not covered


class Awkward(nn.Module):
    """Attention's out_proj (weight used without a call), a parameter of its own, a frozen and a functional layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.scale = nn.Parameter(torch.ones(4))
        self.frozen, self.tied, self.called, self.unused = (nn.Linear(4, 4) for _ in range(4))
        self.frozen.weight.requires_grad_(False)
        self.head = nn.Linear(4, 3)
        self.double()

    def forward(self, inputs: Tensor) -> Tensor:
        attended = self.attention(inputs, inputs, inputs, need_weights=False)[0] * self.scale
        doubled = self.tied(self.frozen(attended)) + nn.functional.linear(attended, self.tied.weight)
        return self.head(self.called(doubled).mean(1))


@pytest.mark.filterwarnings("ignore:.*take plain SGD steps:UserWarning")
def test_what_is_not_covered_takes_plain_sgd_and_is_listed() -> None:
    inputs, targets = batch(shape=(3, 4))
    model = Awkward()
    before = deepcopy(model)
    optimizer = unlimited(model, RATE, kind="exact", sgd_lr_ratio=0.5)
    descend(optimizer, model, inputs, targets)
    listed = {
        "attention.in_proj_weight": "only Linear and Conv",
        "attention.in_proj_bias": "only Linear and Conv",
        "attention.out_proj.weight": "without its module being called",
        "attention.out_proj.bias": "without its module being called",
        "scale": "only Linear and Conv",
        "frozen.bias": "frozen weight",
        "tied.weight": "used without the module being called",
        "tied.bias": "used without the module being called",
    }
    assert set(optimizer.uncovered) == set(listed)
    assert all(why in optimizer.uncovered[name] for name, why in listed.items())
    descend(torch.optim.SGD([p for p in before.parameters() if p.requires_grad], RATE / 2), before, inputs, targets)
    plain, moved = dict(before.named_parameters()), dict(model.named_parameters())
    for name in moved:
        if name in listed or name.startswith(("frozen", "unused")):
            assert_close(moved[name].detach(), plain[name].detach(), 1e-14)
        else:
            assert (moved[name] - plain[name]).abs().max() > 1e-3


def test_layers_that_are_too_large_or_cannot_be_centred_are_listed() -> None:
    for interval, bytes_needed in ((1, 8 * 4 * 6**2), (2, 2 * 8 * 4 * 6**2)):
        for max_bytes in (bytes_needed - 1, bytes_needed):
            model = network()
            optimizer = unlimited(model, RATE, max_bytes=max_bytes, update_interval=interval)
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                descend(optimizer, model, *batch())
            if max_bytes == bytes_needed:
                assert optimizer.uncovered == {}
            else:
                assert set(optimizer.uncovered) == {"0.weight", "0.bias"}
                assert f"needs {bytes_needed:,} bytes for its matrices" in optimizer.uncovered["0.weight"]
    assert "no bias" in unlimited(convolutional(), RATE, centred="p").uncovered["3.weight"]


def test_a_frozen_bias_leaves_the_weights_matrix() -> None:
    model, data = network(), batch()
    model[0].bias.requires_grad_(False)
    matrix = plain_fisher(model, data[0], "0").matrix.detach()[:, 1:, 1:]
    damped = matrix + DAMPING * torch.eye(5, dtype=torch.float64)
    step = torch.linalg.solve(damped, torch.autograd.grad(cross_entropy(model(data[0]), data[1]), model[0].weight)[0])
    before = coordinates(model, "0")
    with unlimited(model, RATE, kind="exact", damping=DAMPING, relative=False) as optimizer:
        descend(optimizer, model, *data)
    after = coordinates(model, "0")
    assert torch.equal(after[:, 0], before[:, 0])
    assert_close(after[:, 1:], before[:, 1:] - RATE * step)


def test_momentum_and_decoupled_weight_decay() -> None:
    """Two steps with the same gradient g of a one-layer Gaussian model: v1 = F⁻¹g, v2 = 0.9 v1 + F⁻¹g."""
    inputs, _ = batch()
    model = nn.Linear(5, 2).double()
    start = coordinates(model, "")
    matrix = unit_fisher(model, inputs, "", "exact", "gaussian").matrix
    gradient = torch.randn(2, 6, dtype=torch.float64)
    first = torch.linalg.solve(matrix + DAMPING * torch.eye(6, dtype=torch.float64), gradient)
    optimizer = unlimited(
        model, RATE, "gaussian", "exact", damping=DAMPING, relative=False, momentum=0.9, weight_decay=0.1
    )
    expected = start
    for velocity in (first, 1.9 * first):
        model(inputs)
        model.bias.grad, model.weight.grad = gradient[:, 0].clone(), gradient[:, 1:].clone()
        optimizer.step()
        expected = (1 - RATE * 0.1) * expected - RATE * velocity
    assert_close(coordinates(model, ""), expected)


# ---------------------------------------------------------------------------------------------------- state and hooks


@pytest.mark.parametrize("centred", [False, "p", "q"])
def test_saved_state_goes_on_with_the_same_bits(centred: Any) -> None:
    def start() -> tuple[nn.Module, UnitNaturalGradient]:
        model = network()
        return model, unlimited(model, RATE, centred=centred, momentum=0.5, update_interval=2)

    model, optimizer = start()
    for seed in range(3):
        descend(optimizer, model, *batch(seed=seed))
    saved = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict()], saved)
    saved.seek(0)
    fresh_model, fresh = start()
    parameters, state = torch.load(saved, weights_only=True)
    fresh_model.load_state_dict(parameters)
    fresh.load_state_dict(state)
    for seed in range(3, 7):
        for one, its in ((optimizer, model), (fresh, fresh_model)):
            descend(one, its, *batch(seed=seed))
    for own, other in zip(model.parameters(), fresh_model.parameters(), strict=True):
        assert torch.equal(own, other)


def test_state_of_something_else_is_refused() -> None:
    state = unlimited(network(), RATE).state_dict()
    for other in (
        unlimited(network(), RATE, kind="exact"),
        unlimited(network(), RATE, centred="q"),
        unlimited(convolutional(), RATE),
    ):
        with pytest.raises(InputError, match="not that of a UnitNaturalGradient of the same"):
            other.load_state_dict(state)
    with pytest.raises(InputError, match="not that of a UnitNaturalGradient"):
        unlimited(network(), RATE).load_state_dict(torch.optim.SGD(network().parameters(), 1).state_dict())


class Table(nn.Module):
    """A table of vectors, which has no unit blocks, before two layers."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.table, self.layers = nn.Embedding(rows, 5, dtype=torch.float64), network()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(self.table(inputs))


@pytest.mark.parametrize(("rows", "told"), [(12, r"61%"), (3, r"28%"), (1, None)])
def test_a_model_that_is_partly_uncovered_is_told_once(rows: int, told: str | None) -> None:
    torch.manual_seed(0)
    model, (_, targets) = Table(rows), batch()
    optimizer = UnitNaturalGradient(model, lr=1e-3)
    for expected in (told, None):  # a second warning would be an error
        loss = cross_entropy(model(torch.arange(40) % rows), targets)
        loss.backward()
        if expected is None:
            optimizer.step()
        else:
            with pytest.warns(
                UserWarning, match=rf"{told} of the numbers that are trained .*'table.weight': weight of"
            ):
                optimizer.step()
    optimizer.close()


def test_hooks_go_with_the_optimizer() -> None:
    model = network()

    def hooks() -> int:
        return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())

    placed = 2 + 2 * 4 + 2  # around the model; the axes of units around four modules, noted behind two layers
    optimizer = unlimited(model, RATE)
    assert hooks() == placed
    optimizer.close()
    assert hooks() == 0
    with unlimited(model, RATE):
        assert hooks() == placed
    assert hooks() == 0
    optimizer = unlimited(model, RATE)
    model(batch()[0])
    assert hooks() == 2  # once the axes are known; those on the layers are there while the model runs
    with pytest.raises(RuntimeError):
        model(batch()[0][:, :1])
    model(batch()[0])
    assert hooks() == 2
    del optimizer
    gc.collect()
    assert hooks() == 0


def test_learning_rate_schedulers_and_closures_work() -> None:
    model, data = network(), batch()
    optimizer = unlimited(model, RATE / 8)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(model(data[0]), data[1])
        loss.backward()
        return loss

    losses = []
    for _ in range(4):
        losses.append(float(optimizer.step(closure).detach()))
        scheduler.step()
    assert scheduler.get_last_lr() == [RATE / 128]
    assert losses == sorted(losses, reverse=True)


# ------------------------------------------------------------------------------------------------------------ errors

BAD: list[tuple[dict[str, Any], str]] = [
    ({"lr": -1.0}, "lr is -1.0"),
    ({"lr": float("nan")}, "lr is nan"),
    ({"kind": "true"}, "kind 'true' is not available"),
    ({"likelihood": "poisson"}, "likelihood 'poisson' is not available"),
    ({"decay": 1.0}, "decay is 1.0; a finite number, from 0 to below 1, is needed"),
    ({"damping": -0.1}, "damping is -0.1"),
    ({"momentum": 1.0}, "momentum is 1.0"),
    ({"weight_decay": float("inf")}, "weight_decay is inf"),
    ({"update_interval": 0}, "update_interval is 0"),
    ({"samples": 0}, "samples is 0"),
    ({"weight_sharing": "summed"}, "weight_sharing 'summed' is not available"),
    ({"centred": "mean"}, "centred is 'mean'"),
    ({"max_kl": -1.0}, "max_kl is -1.0"),
    ({"sgd_lr_ratio": -1}, "sgd_lr_ratio is -1"),
    ({"window": 0}, "window is 0"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        unlimited(network(), **{"lr": RATE, **options})


def test_bad_use() -> None:
    model, data = network(), batch()
    optimizer = unlimited(model, RATE)
    cross_entropy(model.eval()(data[0]), data[1]).backward()
    with pytest.raises(InputError, match="no forward pass counted since the last step"):
        optimizer.step()
    with pytest.raises(InputError, match="make a new optimizer"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    empirical = unlimited(model.train(), RATE, kind="empirical")
    model(data[0])
    with pytest.raises(InputError, match="and its backward pass"):
        empirical.step()
    for parameters in (model.parameters(), list(model.parameters()), [{"params": model.parameters(), "lr": 0.1}]):
        with pytest.raises(
            InputError, match=r"the model itself is needed, as in UnitNaturalGradient\(model, lr=0.01\)"
        ):
            UnitNaturalGradient(parameters)
    with pytest.raises(InputError, match="no parameters to train"):
        unlimited(nn.Sequential(nn.ELU()), RATE)

    class Dictionary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, inputs: Tensor) -> dict[str, Tensor]:
            return {"outputs": self.inner(inputs)}

    odd = Dictionary()
    with unlimited(odd, RATE), pytest.raises(InputError, match="the model returned a dict"):
        odd(data[0])
