"""Solves with unit Fisher matrices that are float32, nearly singular, dead, or too much for LAPACK's first routine."""

import re
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.linalg import LinAlgError  # pyright: ignore[reportAttributeAccessIssue]

import elutheory as et
from elutheory.errors import InputError
from elutheory.fisher import LayerScores, UnitFisher, bias_shift_correction


def scores(
    rank: int | None = None, examples: int = 300, fan_in: int = 60, seed: int = 0, units: int = 3
) -> LayerScores:
    """Activations around 1 of one unit's spread; with a `rank`, on a subspace of so many dimensions."""
    generator = torch.Generator().manual_seed(seed)
    incoming = 1 + torch.randn(examples, 1, 1, fan_in, generator=generator, dtype=torch.float64)
    if rank is not None:
        incoming = incoming @ torch.randn(fan_in, rank, generator=generator, dtype=torch.float64)
        incoming = incoming @ torch.randn(rank, fan_in, generator=generator, dtype=torch.float64)
        incoming = incoming / incoming.std()
    return LayerScores(incoming, torch.randn(2, examples, 1, units, generator=generator, dtype=torch.float64))


def single(exact: LayerScores) -> LayerScores:
    return replace(exact, incoming=exact.incoming.float(), deltas=exact.deltas.float())


def gradient(fisher: UnitFisher, seed: int = 1) -> Tensor:
    return torch.randn(fisher.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def errors(found: Tensor, expected: Tensor) -> Tensor:
    return (found.double() - expected).norm(dim=1) / expected.norm(dim=1)


def test_a_float32_model_solves_as_the_readme_says() -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(300, 4), nn.ELU(), nn.Linear(4, 10)), torch.rand(700, 300)
    fisher = et.unit_fisher(model, inputs, "0")
    g = torch.randn(fisher.shape)
    step = fisher.natural_gradient(g, damping=3e-3, relative=True)
    precise = et.unit_fisher(model.double(), inputs.double(), "0")
    damped = precise.matrix + 3e-3 * precise.mean_diagonal[:, None, None] * torch.eye(301, dtype=torch.float64)
    assert float(torch.linalg.cond(damped).max()) > 3e4  # what refused every unit as long as float32 solved it
    assert step.dtype == torch.float32
    assert float(errors(step, torch.linalg.solve(damped, g.double())).max()) < 1e-3
    correction = bias_shift_correction(fisher, g, 3e-3, relative=True)
    expected = bias_shift_correction(precise, g.double(), 3e-3, relative=True)
    torch.testing.assert_close(correction.s.double(), expected.s, rtol=1e-3, atol=0)
    torch.testing.assert_close(correction.delta_w0.double(), expected.delta_w0, rtol=1e-2, atol=0)


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("rank", [7, 30, 55])
def test_float32_is_refused_only_where_it_is_singular(rank: int, size: float) -> None:
    exact = scores(rank)
    exact = replace(exact, deltas=exact.deltas * size)
    fisher = UnitFisher.from_scores(single(exact))
    assert fisher.rank == [rank + 1] * 3
    with pytest.raises(InputError, match="singular for 3 of 3 units"):
        fisher.natural_gradient(gradient(fisher))
    regular = scores(fan_in=30)
    scale = torch.logspace(0, -2.2, 30, dtype=torch.float64)
    regular = replace(regular, incoming=regular.incoming * scale, deltas=regular.deltas * size)
    precise, rounded = UnitFisher.from_scores(regular), UnitFisher.from_scores(single(regular))
    assert 1e5 < float(torch.linalg.cond(precise.matrix).min()) < 1e6  # beyond 30 roundings, and yet to be solved
    expected = torch.linalg.solve(precise.matrix, gradient(precise))
    assert float(errors(rounded.natural_gradient(gradient(precise)), expected).max()) < 0.05


@pytest.mark.parametrize("form", ["matrix", "factors"])
@pytest.mark.parametrize("relative", [False, True])
def test_the_damping_advised_is_enough(form: str, relative: bool) -> None:
    fisher = UnitFisher.from_scores(scores(20, 300 if form == "matrix" else 40))
    assert fisher.form == form
    for damping in (0.0, 1e-14):
        with pytest.raises(InputError, match="singular for 3 of 3 units") as refused:
            fisher.natural_gradient(gradient(fisher), damping, relative=relative)
        advised = float(re.findall(r"from ([0-9.e+-]+)", str(refused.value))[0])
        assert fisher.natural_gradient(gradient(fisher), advised, relative=relative).isfinite().all()
        assert advised < 1e-5


def test_dead_units_have_a_marked_row() -> None:
    exact = scores()
    deltas = exact.deltas.clone()
    deltas[..., 1] = 0.0
    fisher = UnitFisher.from_scores(replace(exact, deltas=deltas))
    g, whole = gradient(fisher), UnitFisher.from_scores(exact)
    assert fisher.dead.tolist() == [False, True, False]
    assert list(fisher.undefined_under_q) == [1]
    assert fisher.undefined_under_q[1].startswith("c = 0: the unit is dead")
    for damping in (0.0, 1e-2):
        step = fisher.natural_gradient(g, damping, relative=True)
        assert step[1].isnan().all()
        torch.testing.assert_close(step[[0, 2]], whole.natural_gradient(g, damping, relative=True)[[0, 2]])
        correction = bias_shift_correction(fisher, g, damping, relative=True)
        for name, value in vars(correction).items():
            assert value[1].isnan().all(), name
            torch.testing.assert_close(
                value[[0, 2]], getattr(bias_shift_correction(whole, g, damping, relative=True), name)[[0, 2]]
            )
    assert (fisher.natural_gradient(g, singular="range")[1] == 0).all()
    torch.testing.assert_close(fisher.natural_gradient(g, 0.5)[1], g[1] / 0.5)  # λI alone


@pytest.mark.parametrize("examples", [20, 300])
@pytest.mark.parametrize("groups", [1, 3])
def test_units_are_selected(examples: int, groups: int) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv1d(3 * 12, 6, 3, groups=groups, bias=groups == 1), nn.ELU(), nn.Flatten())
    model.append(nn.Linear(6 * 4, 3)).double()
    inputs = torch.randn(examples, 36, 6, dtype=torch.float64)
    whole = et.unit_fisher(model, inputs, "0", batch_size=250)
    g = gradient(whole)
    for units in ([4, 1], slice(1, 6, 2), range(2), [0]):
        part = et.unit_fisher(model, inputs, "0", batch_size=250, units=units)
        index = [*range(6)][units] if isinstance(units, slice) else [*units]
        for of in (part, whole.of_units(units)):
            torch.testing.assert_close(of.matrix, whole.matrix[index])
            torch.testing.assert_close(of.mean_under_q, whole.mean_under_q[index])
        step = whole.natural_gradient(g, 0.1, relative=True)[index]
        torch.testing.assert_close(whole.natural_gradient(g, 0.1, relative=True, units=units), step)
        torch.testing.assert_close(part.natural_gradient(g[index], 0.1, relative=True), step)
        kept = part.matrix.clone()
        torch.testing.assert_close(part.update(inputs[:7]).matrix, whole.of_units(units).update(inputs[:7]).matrix)
        assert not torch.equal(part.matrix, kept)
    torch.testing.assert_close(whole.matrix, et.unit_fisher(model, inputs, "0", batch_size=250).matrix)
    for wrong, sentence in (
        ([6], "units has 6; the layer's units are 0 to 5"),
        ([], "at least one"),
        ([True], "whole"),
    ):
        with pytest.raises(InputError, match=sentence):
            whole.natural_gradient(g, units=wrong)


def test_what_lapack_does_not_diagonalise_is_done_by_another_routine(monkeypatch: pytest.MonkeyPatch) -> None:
    singular = scores(20)
    expected = UnitFisher.from_scores(singular).natural_gradient(
        gradient(UnitFisher.from_scores(singular)), singular="range"
    )

    def fails(*_: object) -> None:
        raise LinAlgError("linalg.eigh: (Batch element 0): The algorithm failed to converge")

    monkeypatch.setattr(torch.linalg, "eigh", fails)
    monkeypatch.setattr(torch.linalg, "eigvalsh", fails)
    fisher = UnitFisher.from_scores(singular)
    torch.testing.assert_close(fisher.natural_gradient(gradient(fisher), singular="range"), expected)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e200])
def test_numbers_that_are_none_are_told(number: float) -> None:
    exact = scores()
    deltas = exact.deltas.clone()
    deltas[0, 0, 0, 2] = number
    fisher = UnitFisher.from_scores(replace(exact, deltas=deltas))
    with pytest.raises(InputError, match=r"of 1 units \(first: 2\) contain NaN or infinity"):
        fisher.natural_gradient(gradient(fisher), 0.1, relative=True)


# --- E_q[a] where scores are summed over positions ------------------------------------------------------------------


class Keys(nn.Module):
    """Attention: softmax does not change if all keys move together."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.head = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        weights = (self.query(x) @ self.key(x).mT).softmax(-1)
        return self.head((weights @ self.value(x)).mean(1))


def normalised(norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv1d(2, 4, 3), norm, nn.ELU(), nn.Flatten(), nn.Linear(4 * 5, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("make", "layer", "shape"),
    [
        (Keys, "key", (7, 4)),
        (lambda: normalised(nn.GroupNorm(4, 4)), "0", (2, 7)),
        (lambda: normalised(nn.InstanceNorm1d(4)), "0", (2, 7)),
    ],
)
def test_no_mean_where_the_bias_scores_cancel(make, layer: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    model, inputs = make().to(dtype), torch.rand(12, *shape, dtype=dtype)
    fisher = et.unit_fisher(model, inputs, layer)
    merged = et.unit_fisher(model, inputs[:5], layer).merge(et.unit_fisher(model, inputs[5:], layer))
    mean = et.unit_fisher(model, inputs, layer, weight_sharing="positionwise").mean_under_q
    for found in (fisher, merged):
        assert found.coupling_ratio.isnan().all()
        assert found.covariance_under_q.isnan().all()
        torch.testing.assert_close(found.mean_under_q, mean)
    assert 0 <= float(mean.min()) <= float(mean.max()) <= 1
    fine = {"key": "value", "0": "4"}[layer]
    of_others = et.unit_fisher(model, inputs, fine)
    assert of_others.coupling_ratio.isfinite().all()


@pytest.mark.parametrize(
    ("make", "layer", "shape"),
    [
        (Keys, "value", (7, 4)),
        (Keys, "query", (7, 4)),
        (lambda: nn.Sequential(nn.Conv1d(2, 4, 3, groups=2), nn.Tanh(), nn.Flatten(), nn.Linear(20, 3)), "0", (2, 7)),
        (lambda: nn.Sequential(nn.Conv1d(2, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten()), "0", (2, 7)),
    ],
)
def test_a_mean_under_q_is_one_of_activations_where_weights_are_shared(
    make, layer: str, shape: tuple[int, ...]
) -> None:
    """Within the activations' range, however the batches are cut; b/c is another number, and there is no Var_q."""
    torch.manual_seed(2)
    model, inputs = make().double(), 3 + torch.rand(12, *shape, dtype=torch.float64)
    fisher = et.unit_fisher(model, inputs, layer)
    expected = et.unit_fisher(model, inputs, layer, weight_sharing="positionwise")
    pieces = et.unit_fisher(model, [inputs[:1], inputs[1:8], inputs[8:]], layer)
    merged = et.unit_fisher(model, inputs[:5], layer).merge(et.unit_fisher(model, inputs[5:], layer))
    damped, some = fisher.damped(0.1), fisher.of_units([2, 0])
    for found in (fisher, pieces, merged, damped, fisher.in_float64(), et.UnitFisher.from_bytes(fisher.to_bytes())):
        torch.testing.assert_close(found.mean_under_q, expected.mean_under_q, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(some.mean_under_q, expected.mean_under_q[[2, 0]], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(fisher.coupling_ratio, fisher.b / fisher.c[:, None])
    assert (fisher.coupling_ratio - fisher.mean_under_q).abs().max() > 1e-3
    assert fisher.covariance_under_q.isnan().all()
    assert list(fisher.undefined_under_q) == [*range(fisher.units)]
    assert "no covariance of activations" in fisher.undefined_under_q[0]
    assert expected.undefined_under_q == {}
    torch.testing.assert_close(expected.coupling_ratio, expected.mean_under_q)


def test_batches_of_one_and_of_several_positions_have_one_mean_under_q() -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Conv1d(2, 3, 1), nn.Tanh(), nn.AdaptiveAvgPool1d(1), nn.Flatten()).double()
    short, long = torch.rand(6, 2, 1, dtype=torch.float64), torch.rand(4, 2, 3, dtype=torch.float64)
    expected = et.unit_fisher(model, [short, long], "0", weight_sharing="positionwise").mean_under_q
    for order in ([short, long], [long, short]):
        torch.testing.assert_close(et.unit_fisher(model, order, "0").mean_under_q, expected)
    of_short = et.unit_fisher(model, short, "0")
    for found in (of_short.merge(et.unit_fisher(model, long, "0")), et.unit_fisher(model, long, "0").merge(of_short)):
        assert found.mean_under_q.isfinite().all()
    torch.testing.assert_close(of_short.mean_under_q, expected)
