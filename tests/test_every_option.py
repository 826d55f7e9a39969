"""Every option of every command, from its own declaration: what is no number, out of range, repeated or at the end of
its domain is refused in one sentence or works, and never takes more than was estimated."""

import collections
import contextlib
import dataclasses
import os
import random
import re
import shutil
import time
import traceback
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tyro

from analyses.__main__ import main as analyses_main
from analyses.framework import run as analysis_run
from analyses.framework import workers
from analyses.framework.catalogue import catalogue, find_analysis
from analyses.framework.command import RunOptions, options_of
from analyses.report.commands import AnswerOptions, ClaimsOptions, PaperOptions, ReadmeOptions, ReportOptions
from elutheory.bias_shift import command as bias_shift
from elutheory.derivations import __main__ as derivations
from elutheory.diagnosis import command as diagnosis
from elutheory.dynamics import command as dynamics
from elutheory.errors import InputError
from elutheory.moments import command as moments
from elutheory.numerics.cost import Cost, check_cost
from elutheory.output.domains import Domain, Several, Whole, domain_of
from elutheory.propagation import command as propagation
from tests.analyses.framework.smallest_runs import SMALL, small_options

MODEL = """
from torch import nn

def network():
    return nn.Sequential(nn.Linear(64, 6), nn.ELU(), nn.Linear(6, 10))
"""
COMMANDS: dict[str, tuple[ModuleType, list[str]]] = {
    "bias_shift": (bias_shift, ["--hidden", "4", "--epochs", "1", "--activation", "elu"]),
    "moments": (moments, ["--mean", "0.5"]),
    "propagation": (propagation, ["--depth", "3", "--figure", "None"]),
    "dynamics": (dynamics, ["--examples", "12", "--depth", "2", "--steps", "8", "--width", "16", "--draws", "2"]),
    "diagnosis": (diagnosis, ["of_the_fuzz:network", "--data", "digits", "--max-examples", "40", "--units", "2"]),
}
"""Module with Options and main, and the arguments of a small run."""
ON_ALL_RECORDS = {
    "answer": AnswerOptions,
    "claims": ClaimsOptions,
    "paper": PaperOptions,
    "report": ReportOptions,
    "readme": ReadmeOptions,
}
BAD = [
    "nan",
    "inf",
    "-inf",
    "1e308",
    "-1e308",
    "1e-320",
    "-1",
    "0",
    "1",
    "1000000000",
    "1" + "0" * 30,
    "",
    "x",
    "0.5",
    "1e5",
]


def fields_of(options: type) -> dict[str, Any]:
    """The types of a command's options with their metadata, by name, those of a configuration within it too."""
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(options, include_extras=True).items():
        inner = hint.__origin__ if hasattr(hint, "__metadata__") else hint
        found |= fields_of(inner) if dataclasses.is_dataclass(inner) else {name: hint}
    return found


def plain_types(hint: Any) -> Iterator[Any]:
    if hasattr(hint, "__metadata__"):
        yield from plain_types(hint.__origin__)
    else:
        yield hint
        for part in typing.get_args(hint):
            yield from plain_types(part)


ALL_OPTIONS: dict[str, Callable[[], list[type]]] = {
    **{name: lambda module=module: [module.Options] for name, (module, _) in COMMANDS.items()},
    "derivations": lambda: [derivations.Options],
    "on all records": lambda: [*ON_ALL_RECORDS.values()],
    **{name: lambda name=name: [find_analysis(name).Config, RunOptions] for name in catalogue()},
}


@pytest.mark.parametrize("name", ALL_OPTIONS)
def test_every_option_that_is_a_number_or_a_list_declares_its_domain(name: str) -> None:
    for options in ALL_OPTIONS[name]():
        for field, hint in fields_of(options).items():
            kinds = {*plain_types(hint)}
            if kinds & {int, float} or any(typing.get_origin(kind) is tuple for kind in kinds):
                assert domain_of(hint) is not None or typing.Literal in map(typing.get_origin, kinds), field


def values_for(domain: Domain) -> list[list[str]]:
    """What is typed after an option: bad words, each end of the domain and what lies just outside of it."""
    of = domain.of if isinstance(domain, Several) else domain
    outside = [] if not isinstance(of, Whole) else [str(of.least - 1), str(of.most + 1)]
    ends = [] if of is None else [str(value) for value in of.extremes()]
    typed = [[word] for word in dict.fromkeys([*BAD, *outside, *ends])]
    if isinstance(domain, Several):
        one = ends[0] if ends else "elu"
        typed += [[], [one, one], [one] * (domain.most + 1), [ends[-1] if ends else "relu", one]]
    return typed


def words_for(hint: Any) -> list[list[str]]:
    """What is typed after an option that is text, a file or one of some words, of whatever has no domain but a type."""
    kinds = {*plain_types(hint)}
    if typing.Literal in map(typing.get_origin, kinds):
        words = ["", "nonsense", "\n", "1"]
    elif Path in kinds:
        words = ["", ".", "a\nb", "=1+1", "n" * 300, "/nowhere/at/all", "/dev/full", "/proc/1/x", "\udcff"]
    elif str in kinds:
        words = ["", ".", "a\nb", "=1+1", "n" * 300, "/dev/null", "pipe", "é", "\udcff", "a:b", ":", "1" * 5000]
    else:
        return [[], ["nonsense"]]
    return [[], *([word] for word in words)]


def trials(options: Any) -> list[list[str]]:
    """Every option with every value that its declaration suggests; a positional one by its value alone."""
    found: list[list[str]] = []
    for field, hint in fields_of(options).items():
        domain = domain_of(hint)
        positional = tyro.conf.Positional in getattr(hint, "__metadata__", ())
        option = [] if positional else [f"--{field.replace('_', '-')}"]
        found += [[*option, *words] for words in (words_for(hint) if domain is None else values_for(domain))]
    return found


def numeric_trials(options: Any) -> list[list[str]]:
    """Those of the options that declare a domain."""
    domains = {f"--{field.replace('_', '-')}" for field, hint in fields_of(options).items() if domain_of(hint)}
    return [trial for trial in trials(options) if trial and trial[0] in domains]


def sampled(options: Any, seed: str) -> list[list[str]]:
    """One value of each option."""
    by_option: dict[str, list[list[str]]] = {}
    for trial in numeric_trials(options):
        by_option.setdefault(trial[0], []).append(trial)
    return [random.Random(f"{seed}{name}").choice(of_option) for name, of_option in by_option.items()]


class TooLongError(InputError):
    """What is estimated at more than a test may take; that it is said is all that is tested."""


@pytest.fixture
def estimates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Cost]:
    """The costs that commands state, in a folder of their own; those above `LIMIT` seconds end there."""
    stated: list[Cost] = []

    def checked(cost: Cost, *, jobs: int = 1) -> None:
        stated.append(cost)
        check_cost(cost, jobs=jobs)
        if cost.seconds > LIMIT or jobs > 1:
            raise TooLongError("this takes too long for a test.")

    for module in (analysis_run, *(module for module, _ in COMMANDS.values())):
        monkeypatch.setattr(module, "check_cost", checked, raising=False)
    (tmp_path / "of_the_fuzz.py").write_text(MODEL)
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(workers, "_PATIENCE", 2.0)
    monkeypatch.chdir(tmp_path)
    return stated


LIMIT = 20.0


def said_or_done(main: Any, arguments: list[str], capsys: pytest.CaptureFixture[str], stated: list[Cost]) -> str:
    """The outcome: refused, done, or announced alone. Whatever else happens fails the test."""
    stated.clear()
    before, start = written(), time.process_time()
    code = main(arguments)
    took = time.process_time() - start
    said = capsys.readouterr().err
    assert "Traceback" not in said, arguments
    assert "not enough memory" not in said, arguments  # an estimate says so, and what it needs
    if code == 2:
        sentences = [line for line in said.splitlines() if not line.startswith(ANNOUNCED)]
        assert len(sentences) == 1, (arguments, said)
        assert re.fullmatch(r"elutheory: .*\.", sentences[0]), (arguments, said)
        assert written() == before, arguments
        return "announced" if "too long for a test" in said else "refused"
    if code == 130 and "--max-minutes" in arguments:
        return "interrupted"
    assert code in (0, 1, 3), (arguments, code, said)
    if stated:
        assert took <= stated[-1].seconds + 10, (arguments, took, stated[-1])  # of the processor, whoever else works
    return "done"


ANNOUNCED = "elutheory: this takes up to "


def written() -> dict[str, tuple[int, int]]:
    """Files in the folder of the fuzz, by name: size and when they were written."""
    found = (Path(folder) / file for folder, _, files in os.walk(".") for file in files if "__pycache__" not in folder)
    return {str(file): (held.st_size, held.st_mtime_ns) for file in found if (held := file.lstat())}


def tried(
    name: str, main: Any, small: list[str], options: Any, capsys: pytest.CaptureFixture[str], stated: list[Cost]
) -> None:
    """All trials of a command; what fails is collected, and the counts printed."""
    assert said_or_done(main, small, capsys, stated) == "done"
    outcomes, faults = collections.Counter[str](), []
    for trial in trials(options):
        try:
            outcomes[said_or_done(main, [*small, *trial], capsys, stated)] += 1
        except (Exception, SystemExit):
            faults.append(f"{name} {trial}\n{traceback.format_exc(limit=-4)}")
    with capsys.disabled():
        print(
            f"\n{name}: {len(fields_of(options))} options,", *(f"{n} {o}," for o, n in sorted(outcomes.items())), end=""
        )
        print(f" {len(faults)} faults")
    assert not faults, "\n\n".join(faults)


@pytest.mark.parametrize("name", catalogue())
def test_bad_values_of_an_analysis_are_refused_before_anything_runs(name: str) -> None:
    """A sample of them; the parser is left out: `check_domains`, `cost` and `cells` see what it would give them."""
    analysis = find_analysis(name)
    small = dataclasses.replace(analysis.PRESETS["quick"], **SMALL[name])
    assert analysis.cells(small)
    assert analysis.cost(small).seconds < LIMIT
    hints = fields_of(analysis.Config)
    for option, *words in sampled(analysis.Config, name):
        field = option.removeprefix("--").replace("-", "_")
        domain = domain_of(hints[field])
        assert domain is not None
        with contextlib.suppress(InputError):
            analysis.cells(dataclasses.replace(small, **{field: _parsed(domain, words)}))


def _parsed(domain: Domain, words: list[str]) -> Any:
    try:
        return domain.instance_from_str(words or [""])
    except ValueError as refusal:  # the parser's own kind, which it turns into a sentence
        raise InputError(str(refusal)) from None


@pytest.mark.parametrize("name", COMMANDS)
def test_bad_values_are_one_sentence(
    name: str, estimates: list[Cost], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sample of them, of every option of the commands on theory and models."""
    monkeypatch.setattr("tests.test_every_option.LIMIT", 0.0)  # nothing runs
    module, small = COMMANDS[name]
    if name == "diagnosis":
        monkeypatch.setattr(diagnosis, "_diagnose", lambda _: pytest.fail("accepted values are run elsewhere"))
    outcomes = []
    for trial in sampled(module.Options, name):
        if name == "diagnosis" and trial[0] == "--layers":
            continue  # any name may be one of the model's
        if name == "diagnosis" and trial[1:] not in ([word] for word in ("nan", "inf", "x", "", "-1", "1e308")):
            continue
        outcomes.append(said_or_done(module.main, [*small, *trial], capsys, estimates))
    assert "refused" in outcomes


@pytest.mark.exhaustive  # an hour: every option of every command with every value
@pytest.mark.parametrize("name", catalogue())
def test_every_option_of_an_analysis(name: str, estimates: list[Cost], capsys: pytest.CaptureFixture[str]) -> None:
    small = [name, *small_options(name), "--device", "cpu", "--output", "made", "--replace"]
    tried(name, analyses_main, small, options_of(find_analysis(name), "quick"), capsys, estimates)


@pytest.mark.exhaustive  # as above
@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command(name: str, estimates: list[Cost], capsys: pytest.CaptureFixture[str]) -> None:
    module, small = COMMANDS[name]
    tried(name, module.main, small, module.Options, capsys, estimates)


@pytest.mark.exhaustive  # as above
@pytest.mark.parametrize("name", ON_ALL_RECORDS)
def test_every_option_of_a_command_on_all_records(
    name: str, estimates: list[Cost], capsys: pytest.CaptureFixture[str]
) -> None:
    readme = Path(__file__).parents[1] / "README.md"
    Path("README.md").write_bytes(readme.read_bytes())
    Path("benchmarks").symlink_to(readme.parent / "benchmarks")
    shutil.copytree(readme.parent / "figures" / "depth", "figures/depth")
    tried(name, analyses_main, [name], ON_ALL_RECORDS[name], capsys, estimates)


@pytest.mark.exhaustive  # as above
def test_every_option_of_the_derivations(estimates: list[Cost], capsys: pytest.CaptureFixture[str]) -> None:
    tried("derivations", derivations.main, [], derivations.Options, capsys, estimates)
