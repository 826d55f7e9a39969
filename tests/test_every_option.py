"""Every option of every command, from its own declaration: what is no number, out of range, repeated or at the end of
its domain is refused in one sentence or works, and never takes more than was estimated."""

import contextlib
import dataclasses
import random
import time
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from analyses.__main__ import main as analyses_main
from analyses.framework import run as analysis_run
from analyses.framework.catalogue import catalogue, find_analysis
from analyses.framework.command import RunOptions, options_of
from analyses.report.commands import ClaimsOptions, ReadmeOptions, ReportOptions
from elutheory.bias_shift import command as bias_shift
from elutheory.derivations import __main__ as derivations
from elutheory.diagnosis import command as diagnosis
from elutheory.dynamics import command as dynamics
from elutheory.errors import InputError
from elutheory.moments import command as moments
from elutheory.numerics.cost import Cost, check_cost
from elutheory.output.domains import Domain, Several, Whole, domain_of
from elutheory.propagation import command as propagation

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
SMALL: dict[str, dict[str, Any]] = {
    "activation_curves": {"points": 5},
    "autoencoder": {"activations": ("elu", "relu"), "encoder": (4, 2), "epochs": 2, "examples": 40, "seeds": 1},
    "bias_shift_in_training": {
        **{"activations": ("elu", "relu"), "layers": 2, "units": 4, "updates": 8, "points": 2, "window": 3},
        **{"examples": 30, "fisher_examples": 20, "seeds": 1},
    },
    "bias_shift_term": {
        **{"activations": ("elu", "relu"), "layers": 2, "units": 4, "epochs": 1, "examples": 40},
        **{"dampings": (0.0,), "seeds": 1},
    },
    "causal_claim": {
        **{"examples": 60, "layers": 2, "units": 4, "updates": 3, "learning_rates": (0.1, 0.2, 0.4)},
        **{"natural_learning_rates": (0.01, 0.02, 0.04), "widenings": 0, "tuning_seeds": 1, "seeds": 1},
    },
    "cifar": {
        **{"examples": 40, "width": 0.01, "activations": ("elu", "relu"), "epochs": 1, "batch_size": 20},
        **{"measured": 10, "seeds": 1},
    },
    "deactivation": {
        **{"activations": ("elu", "leaky_relu"), "negative_slopes": (0.1,), "largest_mean": 2.0, "step": 1.0},
        **{"stds": (1.0,), "samples": 200, "replicates": 2, "layers": 2, "units": 4, "epochs": 1, "examples": 40},
        **{"measured": 20, "injected": (0.1,), "draws": 2, "seeds": 1},
    },
    "depth": {
        **{"depths": (2, 6), "units": 4, "epochs": 5, "learning_rates": (0.1, 0.2, 0.4), "widenings": 0},
        **{"tuning_seeds": 1, "examples": 40, "seeds": 1},
    },
    "dose_response": {
        **{"doses": (0.0, 1.0), "layers": 2, "units": 4, "epochs": 1, "examples": 40, "tuning_seeds": 1},
        **{"learning_rates": (0.1, 0.2, 0.4), "widenings": 0, "seeds": 1},
    },
    "fisher_spectrum": {
        **{"activations": ("elu", "relu"), "layers": 2, "units": 4, "examples": 12, "epochs": 1},
        **{"seeds": 1, "seeds_at_once": 1},
    },
    "footprint": {
        **{"networks": ("fully_connected",), "batch_size": 4, "repetitions": 1, "shortest": 0.0, "measured": 4},
        **{"seeds": 1},
    },
    "imagenet": {
        **{"images": 2, "side": 20, "crop": 16, "width": 0.01, "classes": 3, "batch_size": 1, "repetitions": 1},
        **{"seeds": 1},
    },
    "gaussian_closure": {
        **{"activations": ("elu", "relu"), "layers": 2, "units": 4, "epochs": 1, "examples": 40, "seeds": 1},
    },
    "initialisation_and_rate": {
        **{"examples": 40, "layers": 2, "units": 4, "epochs": 1, "learning_rates": (0.1, 0.2, 0.4), "widenings": 0},
        **{"tuning_seeds": 1, "seeds": 1, "draws": 1},
    },
    "learning_behaviour": {"layers": 2, "units": 4, "epochs": 1, "examples": 40, "measured": 20, "seeds": 1},
    "mean_activations": {"widths": (8,), "depth": 2, "examples": 10, "seeds": 2, "initialisations": ("he",)},
    "median_variance": {"layers": 2, "units": 4, "epochs": 3, "examples": 40, "seeds": 1},
    "moment_accuracy": {"means": 3, "stds": 2},
    "natural_gradient_descent": {
        **{"features": 3, "examples": 20, "hidden": 2, "seeds": 1, "steps": 3, "learning_rates": (0.1,)},
    },
    "predicted_speed": {
        **{"examples": 20, "depths": (2,), "widths": (8,), "initialisations": ("he",), "batch_sizes": (0,)},
        **{"longest": 5, "draws": 1, "seeds": 1, "activations": ("elu", "relu")},
    },
    "vanishing_gradient": {
        **{"activations": ("elu", "relu"), "initialisations": ("he",), "width": 32, "depth": 3, "seeds": 2},
    },
}
"""Each analysis as small as it can be and still be what it is."""
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
    "on all records": lambda: [ClaimsOptions, ReportOptions, ReadmeOptions],
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


def trials(options: Any) -> list[list[str]]:
    """Every option with every value that its declaration suggests."""
    return [
        [f"--{field.replace('_', '-')}", *words]
        for field, hint in fields_of(options).items()
        if (domain := domain_of(hint)) is not None
        for words in values_for(domain)
    ]


def sampled(options: Any, seed: str) -> list[list[str]]:
    """One value of each option."""
    by_option: dict[str, list[list[str]]] = {}
    for trial in trials(options):
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
    monkeypatch.chdir(tmp_path)
    return stated


LIMIT = 20.0


def said_or_done(main: Any, arguments: list[str], capsys: pytest.CaptureFixture[str], stated: list[Cost]) -> str:
    """The outcome: refused, done, or announced alone. Whatever else happens fails the test."""
    stated.clear()
    start = time.process_time()
    code = main(arguments)
    took = time.process_time() - start
    said = capsys.readouterr().err
    assert "Traceback" not in said, arguments
    if code == 2:
        assert sum("elutheory: " in line for line in said.splitlines()) <= 2, (arguments, said)
        return "announced" if "too long for a test" in said else "refused"
    assert code in (0, 1, 3), (arguments, code, said)
    if stated:
        assert took <= stated[-1].seconds + 10, (arguments, took, stated[-1])  # of the processor, whoever else works
    return "done"


def small_options(name: str) -> list[str]:
    """The words that make an analysis small."""
    words: list[str] = []
    for field, value in SMALL[name].items():
        words += [f"--{field.replace('_', '-')}", *(map(str, value) if isinstance(value, tuple) else (str(value),))]
    return words


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


@pytest.mark.exhaustive  # minutes: every option of every command with every value, run where that is quick
@pytest.mark.parametrize("name", catalogue())
def test_every_option_of_an_analysis(name: str, estimates: list[Cost], capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = []
    analysis = find_analysis(name)
    for trial in [[], *trials(options_of(analysis, "quick"))]:
        arguments = [name, *small_options(name), "--device", "cpu", "--output", "made", "--replace"]
        outcomes.append(said_or_done(analyses_main, [*arguments, *trial], capsys, estimates))
    assert outcomes[0] == "done"
    print(name, {outcome: outcomes.count(outcome) for outcome in sorted({*outcomes})})


@pytest.mark.exhaustive  # as above
@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command(name: str, estimates: list[Cost], capsys: pytest.CaptureFixture[str]) -> None:
    module, small = COMMANDS[name]
    outcomes = [
        said_or_done(module.main, [*small, *trial], capsys, estimates) for trial in [[], *trials(module.Options)]
    ]
    assert outcomes[0] == "done"
    print(name, {outcome: outcomes.count(outcome) for outcome in sorted({*outcomes})})
