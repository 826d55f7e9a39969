"""The optimizer in 16 bits: autocast, models of 16 bits, scaled gradients."""

import io
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from elutheory.errors import InputError
from elutheory.fisher import UnitNaturalGradient

LOW = (torch.bfloat16, torch.float16)
ROUNDING = {torch.bfloat16: 2e-2, torch.float16: 3e-3}


def perceptron() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ELU(), nn.Linear(8, 3))


def convolution() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(5, 8, 1), nn.ELU(inplace=True), nn.Flatten(), nn.Linear(8, 3, bias=False))


def twice() -> nn.Module:
    torch.manual_seed(0)
    shared = nn.Linear(5, 5)
    return nn.Sequential(shared, nn.ELU(), shared, nn.Linear(5, 3))


def batch(shape: tuple[int, ...] = (5,)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return 0.5 + torch.randn(40, *shape, generator=generator), torch.randint(3, (40,), generator=generator)


CASES = [(perceptron, (5,)), (convolution, (5, 1)), (twice, (5,))]


def trained(model: nn.Module, data: tuple[Tensor, Tensor], dtype: torch.dtype | None, **options: Any) -> Any:
    """The optimizer after two steps, under autocast if a dtype is given."""
    optimizer = UnitNaturalGradient(model, 0.1, max_kl=0.01, **options)
    for _ in range(2):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
            loss = cross_entropy(model(data[0]), data[1])
        loss.backward()
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("kind", ["exact", "monte_carlo", "empirical"])
@pytest.mark.parametrize("dtype", LOW)
@pytest.mark.parametrize(("make", "shape"), CASES)
def test_autocast_makes_the_same_matrices_to_its_rounding(
    make: Any, shape: tuple[int, ...], dtype: torch.dtype, kind: str
) -> None:
    data = batch(shape)
    plain, low = trained(make(), data, None, kind=kind), trained(make(), data, dtype, kind=kind)
    assert low.uncovered == {}
    for name in ("0", "3" if make is not perceptron else "2"):
        expected, found = plain.fisher(name), low.fisher(name)
        assert found.dtype == torch.float32
        if kind != "monte_carlo":  # whose labels are drawn from probabilities that are rounded
            assert (found - expected).abs().max() <= ROUNDING[dtype] * expected.abs().max()


def test_the_step_may_be_taken_inside_of_the_context() -> None:
    found = []
    for inside in (True, False):
        model, (inputs, targets) = perceptron(), batch()
        optimizer = UnitNaturalGradient(model, 3.0, kind="exact", max_kl=1e-3)
        with torch.autocast("cpu", torch.bfloat16):
            before = model(inputs)
            loss = cross_entropy(before, targets)
            if inside:
                loss.backward()
                optimizer.step()
        if not inside:
            loss.backward()
            optimizer.step()
        with torch.autocast("cpu", torch.bfloat16):
            after = model(inputs)
        logarithms = before.double().log_softmax(1)
        found.append((logarithms.exp() * (logarithms - after.double().log_softmax(1))).sum(1).mean().item())
        assert optimizer.fisher("0").dtype == torch.float32
    assert found[0] == found[1]
    assert 2e-4 < found[0] <= 1e-3


def test_a_model_of_16_bits_has_matrices_of_32_and_goes_on_from_its_state() -> None:
    inputs, targets = batch()
    data = inputs.bfloat16(), targets
    plain = trained(perceptron().bfloat16().float(), (data[0].float(), targets), None, kind="exact")
    model = perceptron().bfloat16()
    optimizer = trained(model, data, None, kind="exact", momentum=0.5)
    assert optimizer.uncovered == {}
    fisher = optimizer.fisher("0")
    assert fisher.dtype == torch.float32
    assert (fisher - plain.fisher("0")).abs().max() <= 0.05 * fisher.abs().max()
    saved = io.BytesIO()
    torch.save(optimizer.state_dict(), saved)
    saved.seek(0)
    copy = deepcopy(model)
    for module in copy.modules():
        module._forward_hooks.clear(), module._forward_pre_hooks.clear()
    other = UnitNaturalGradient(copy, 0.1, max_kl=0.01, kind="exact", momentum=0.5)
    other.load_state_dict(torch.load(saved, weights_only=True))
    assert torch.equal(other.fisher("0"), fisher)
    for one, its in ((optimizer, model), (other, copy)):
        one.zero_grad()
        cross_entropy(its(data[0]), targets).backward()
        one.step()
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), copy.parameters(), strict=True))


# --- scaled gradients -------------------------------------------------------------------------------------------------


def scaled_step(optimizer: Any, model: nn.Module, scaler: Any, unscaled: bool = False, factor: float = 1.0) -> None:
    inputs, targets = batch()
    optimizer.zero_grad()
    scaler.scale(factor * cross_entropy(model(inputs), targets)).backward()
    if unscaled:
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()


@pytest.mark.parametrize("kind", ["exact", "monte_carlo", "empirical"])
def test_a_scaled_loss_takes_the_step_of_the_loss(kind: str) -> None:
    models = []
    for enabled in (True, False):
        model = perceptron()
        optimizer = UnitNaturalGradient(model, 0.01, kind=kind, max_kl=None)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=1, enabled=enabled)
        for _ in range(3):
            scaled_step(optimizer, model, scaler)
        models.append((model, optimizer.fisher("0")))
    torch.testing.assert_close(models[0][1], models[1][1])
    for pair in zip(models[0][0].parameters(), models[1][0].parameters(), strict=True):
        torch.testing.assert_close(*pair)


def test_gradients_unscaled_before_need_their_scale() -> None:
    model = perceptron()
    optimizer = UnitNaturalGradient(model, 0.01, kind="empirical")
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    with pytest.raises(InputError, match=r"set the optimizer's loss_scale = scaler.get_scale\(\) before"):
        scaled_step(optimizer, model, scaler, unscaled=True)
    plain, unscaled = perceptron(), perceptron()
    for one in (plain, unscaled):
        optimizer = UnitNaturalGradient(one, 0.01, kind="empirical")
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
        optimizer.loss_scale = 2.0**16 if one is unscaled else None
        scaled_step(optimizer, one, scaler, unscaled=one is unscaled)
    for pair in zip(plain.parameters(), unscaled.parameters(), strict=True):
        torch.testing.assert_close(*pair)


@pytest.mark.parametrize("kind", ["monte_carlo", "empirical"])
def test_a_step_with_infinite_gradients_is_left_out_with_its_batch(kind: str) -> None:
    model = perceptron()
    optimizer = UnitNaturalGradient(model, 0.01, kind=kind)
    before = deepcopy(dict(model.named_parameters()))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    scaled_step(optimizer, model, scaler, factor=1e38)
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    assert scaler.get_scale() == 2.0**15
    scaled_step(optimizer, model, scaler)
    assert optimizer.fisher("0").isfinite().all()
    assert not torch.equal(before["0.weight"], model[0].weight)
