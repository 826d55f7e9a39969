import io
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
from rich.console import Console

import elutheory as et
from elutheory.output import progress


@pytest.mark.parametrize(("seconds", "shown"), [(0.0, True), (60.0, False)])
def test_a_bar_is_shown_of_long_work_alone(monkeypatch: pytest.MonkeyPatch, seconds: float, shown: bool) -> None:
    monkeypatch.setattr(progress, "SHORT", seconds)
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    assert list(progress.tracked(range(5), 5, "batches", console=console)) == [0, 1, 2, 3, 4]
    assert ("batches" in console.file.getvalue()) == shown  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("terminal", "asked", "shown"), [(False, None, False), (False, True, True), (True, False, False)]
)
def test_a_bar_is_shown_where_it_can_be_seen(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, asked: bool | None, shown: bool
) -> None:
    monkeypatch.setattr(progress, "SHORT", 0.0)
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
    assert list(progress.tracked(iter("ab"), None, "batches", asked, console)) == ["a", "b"]
    assert ("batches" in console.file.getvalue()) == shown  # pyright: ignore[reportAttributeAccessIssue]


MODEL, INPUTS = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.Linear(4, 2)), torch.rand(6, 3)
ROWS = numpy.random.default_rng(0).normal(size=(6, 3))
GRAM = ROWS @ ROWS.T / 3  # of unequal norms
THETA = et.training_kernel("elu", GRAM, depth=1, width=8, features=3, weight_variance=1.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda **shown: et.propagate_gram("elu", GRAM, 3, 1.0, **shown),
        lambda **shown: et.propagate_gram("elu", numpy.eye(6), 3, 1.0, **shown),
        lambda **shown: et.tangent_kernel("elu", GRAM, 3, 1.0, **shown),
        lambda **shown: et.tangent_kernel("elu", torch.tensor(GRAM), 3, 1.0, residual=True, **shown),
        lambda **shown: et.training_kernel("elu", GRAM, depth=2, width=8, features=3, weight_variance=1.0, **shown),
        lambda **shown: et.predict_training(THETA, [0, 1] * 3, learning_rate=0.1, steps=3, **shown),
        lambda **shown: et.predict_layers("elu", ROWS, depth=2, weight_variance=1.0, **shown),
        lambda **shown: et.empirical_training_kernel(MODEL, INPUTS, **shown),
        lambda **shown: et.unit_fisher(MODEL, INPUTS, "0", **shown),
        lambda **shown: et.fisher_diagonal(MODEL, INPUTS, **shown),
        lambda **shown: et.layer_statistics(MODEL, INPUTS, **shown),
        lambda **shown: et.diagnose(MODEL, INPUTS, **shown),
    ],
)
def test_every_long_call_has_a_bar(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SHORT", 0.0)
    call(progress=False)
    call()
    assert not capsys.readouterr().err
    call(progress=True)
    assert "/" in capsys.readouterr().err  # so many of how many


def test_work_that_turns_out_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SHORT", 0.0)
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with progress.ticking(None, "tiles", console=console) as tick:
        for _ in range(2):
            tick.expect(3)
            for _ in range(3):
                tick()
    assert "6/6" in console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
