"""What an option may be: refused outside, shown in --help, the same for whoever makes the options."""

from dataclasses import dataclass, replace
from typing import Annotated, Any

import pytest

from elutheory.errors import InputError
from elutheory.output.command_line import parse_options
from elutheory.output.domains import OneOf, Real, Several, Whole, check_domains, domains_of


@dataclass(frozen=True)
class Inner:
    widths: Annotated[tuple[int, ...], Several(Whole(1, 9), repeated=True)] = (3, 3)
    """Units."""


@dataclass(frozen=True)
class Options:
    """What is asked for."""

    inner: Inner = Inner()
    depth: Annotated[int, Whole(1, 100)] = 3
    """How deep."""
    rate: Annotated[float, Real(1e-15)] | None = None
    """How fast."""
    momentum: Annotated[float, Real(0.0, below=1.0)] = 0.5
    """How far."""
    names: Annotated[tuple[str, ...], Several(OneOf("he", "lecun"))] = ("he",)
    """Which."""


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"depth": 0}, "depth is 0; give 1 or more."),
        ({"depth": 101}, "depth is 101; give 100 or less."),
        ({"depth": True}, "depth is True; a whole number from 1 to 100 is needed."),
        ({"depth": 2.0}, "depth is 2.0; a whole number from 1 to 100 is needed."),
        ({"rate": 1e-320}, "rate is 1e-320; a finite number ≥ 1e-15 and ≤ 1e+15 is needed."),
        ({"rate": float("nan")}, "rate is nan; a finite number ≥ 1e-15 and ≤ 1e+15 is needed."),
        ({"rate": float("inf")}, "rate is inf; a finite number ≥ 1e-15 and ≤ 1e+15 is needed."),
        ({"rate": 1e308}, "rate is 1e+308; a finite number ≥ 1e-15 and ≤ 1e+15 is needed."),
        ({"momentum": 1.0}, "momentum is 1.0; a finite number ≥ 0 and < 1 is needed."),
        ({"names": ()}, "names are none; give each once, and one at least."),
        ({"names": ("he", "he")}, "names are he, he; give each once, and one at least."),
        ({"names": ("he", "xavier")}, "names holds xavier; there are he, lecun."),
        ({"names": "he"}, "names are he; a tuple is needed."),
        ({"inner": Inner((3, 0))}, "widths holds 0; give 1 or more."),
        ({"inner": Inner(())}, "widths are none; give some, and one at least."),
    ],
)
def test_what_is_outside_is_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    check_domains(Options())
    with pytest.raises(InputError) as refusal:
        check_domains(replace(Options(), **changes))
    assert str(refusal.value) == sentence


def test_the_parser_reads_them_and_help_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--rate", "2", "--inner.widths", "4", "4", "--names", "lecun", "he"]
    assert parse_options(Options, "test", given) == Options(Inner((4, 4)), rate=2.0, names=("lecun", "he"))
    for words, sentence in (
        (["--depth", "0"], r"^--depth is 0; give 1 or more\.$"),
        (["--inner.widths", "x"], "'x' is no whole number"),
        (["--momentum", ""], "'' is no number"),
    ):
        with pytest.raises(InputError, match=sentence):
            parse_options(Options, "test", words)
    with pytest.raises(SystemExit):
        parse_options(Options, "test", ["--help"])
    shown = capsys.readouterr().out
    for domain in ("INT 1…100", "FLOAT ≥ 1e-15", "FLOAT ≥ 0 < 1", "[{he,lecun} …], each once", "[INT 1…9 …]"):
        assert domain in shown


def test_ends_of_domains_are_within_them() -> None:
    for _, domain, value in domains_of(replace(Options(), rate=1.0)):
        assert domain.complaint(value) is None
        assert len(domain.extremes()) >= 2
        for extreme in domain.extremes():
            assert domain.complaint(extreme) is None
