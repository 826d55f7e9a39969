import io

import pytest
from rich.console import Console

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
