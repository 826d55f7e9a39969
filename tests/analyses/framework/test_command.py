"""`python -m analyses`: the listing, every analysis' options and presets, records with provenance, refusals."""

import dataclasses
import json
import math
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch

from analyses import __main__ as command
from analyses.framework import provenance
from analyses.framework.catalogue import catalogue, find_analysis
from analyses.framework.command import options_of, preset_of
from analyses.framework.devices import available_device, device_name
from analyses.framework.run import run_analysis
from analyses.framework.sweep import Interrupted, Sweep
from elutheory.errors import InputError
from elutheory.output.command_line import parse_options
from tests.analyses.framework import toy_analysis as toy

ROOT = Path(command.__file__).parent.parent


@pytest.fixture
def toy_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The toy under any name, run in an empty folder."""
    monkeypatch.setattr(command, "find_analysis", lambda _: toy)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_listing_is_quick_and_names_every_analysis() -> None:
    script = (
        "import sys; from analyses.__main__ import main; main([]); assert not {'torch', 'pandas'} & set(sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(catalogue()) >= 2
    for name, described in catalogue().items():
        (line,) = [line for line in ran.stdout.splitlines() if line.split()[:1] == [name]]
        assert line.endswith(described)
        assert described == (find_analysis(name).__doc__ or "").splitlines()[0]


@pytest.mark.parametrize("name", ["claims", "paper", "report", "readme"])
def test_commands_on_all_records_are_listed_and_get_their_options(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == [name]]
    assert len(line.split()) > 4
    assert name not in catalogue()
    missing = tmp_path / "missing"
    options = ["--readme"] if name == "readme" else ["--figures"]
    assert command.main([name, *options, str(missing)]) == 2
    complaint = capsys.readouterr().err
    assert str(missing) in complaint
    assert complaint.count("\n") == 1


@pytest.mark.parametrize("name", catalogue())
def test_every_analysis_keeps_the_contract(name: str) -> None:
    analysis = find_analysis(name)
    assert next(iter(analysis.PRESETS)) == "quick"
    assert "paper" in analysis.PRESETS
    for config in analysis.PRESETS.values():
        assert isinstance(config, analysis.Config)
        cells = analysis.cells(config)
        assert len(set(cells)) == len(cells) > 0
    for preset, config in analysis.PRESETS.items():
        arguments = shlex.split(provenance.regenerating_command(name, preset, config, config, "cpu"))[4:]
        assert _parsed(analysis, arguments).config == config
    assert callable(analysis.measure_cell)
    assert callable(analysis.draw)
    assert callable(analysis.summary)


def _parsed(analysis: Any, arguments: list[str]) -> Any:
    return parse_options(options_of(analysis, preset_of(arguments)), "analyses", arguments)


@dataclass(frozen=True)
class Varied:
    """One field of every kind."""

    whole: int = 1
    real: float = 0.1
    words: tuple[str, ...] = ("a", "b c")
    flag: bool = False
    other_flag: bool = True
    path: Path = Path("digits")


def test_the_command_in_the_provenance_gives_the_same_configuration() -> None:
    class Analysis:
        Config, PRESETS = Varied, {"quick": Varied(), "paper": Varied(whole=2)}

    other = Varied(7, 1e-300 / 3, ("it's", "a b", ""), True, False, Path("a b"))
    line = provenance.regenerating_command("varied", "paper", Varied(whole=2), other, "cuda:1")
    words = shlex.split(line)
    assert words[:4] == ["python", "-m", "analyses", "varied"]
    options = _parsed(Analysis, words[4:])
    assert (options.config, options.preset, options.device) == (other, "paper", "cuda:1")


def test_the_preset_sets_the_defaults_and_options_change_them() -> None:
    assert _parsed(toy, []).config == toy.Config()
    assert _parsed(toy, ["--preset", "paper"]).config == toy.Config(numbers=12)
    assert _parsed(toy, ["--seconds", "0.5", "--preset=paper"]).config == toy.Config(numbers=12, seconds=0.5)


def test_help_shows_the_fields_and_their_docstrings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["natural_gradient_descent", "--preset", "paper", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--steps INT 1…1e6 (default: 1500)" in " ".join(shown.split())
    assert "The grid over which every method is tuned." in shown
    assert "Sets the defaults of the options below." in shown


def test_a_run_writes_record_and_provenance(toy_command: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["toy_analysis", "--numbers", "3", "--device", "cpu"]) == 0
    assert capsys.readouterr().out == "3 numbers\n"
    folder = toy_command / "figures" / "toy_analysis"
    described = json.loads((folder / "provenance.json").read_text())
    assert described["command"] == "python -m analyses toy_analysis --preset quick --device cpu --numbers 3"
    assert described["config"] == dataclasses.asdict(toy.Config(numbers=3))
    assert (described["preset"], described["device"], described["jobs"]) == ("quick", "cpu", 1)
    assert described["device_name"] == device_name("cpu") != ""
    assert described["threads"] == torch.get_num_threads()
    assert described["versions"]["torch"] == torch.__version__
    assert described["seconds"] >= 0
    assert described["commit"] == provenance.commit()
    assert not (folder / ".unfinished").exists()
    figure = (folder / "figure.svg").read_bytes()
    (folder / "figure.svg").unlink()
    assert command.main(["toy_analysis", "--redraw"]) == 0
    assert (folder / "figure.svg").read_bytes() == figure


def test_ctrl_c_keeps_cells_and_the_same_command_goes_on(
    toy_command: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(config: toy.Config, sweep: Sweep) -> pandas.DataFrame:
        with pytest.raises(ZeroDivisionError):
            sweep.table(toy.measure_cell, config, toy.cells(config))
        raise Interrupted(4, 6)

    with monkeypatch.context() as stopped:
        stopped.setattr(toy, "measure", interrupted)
        assert command.main(["toy_analysis", "--broken", "4"]) == 130
    said = capsys.readouterr().err
    assert said == "elutheory: interrupted; 4 of 6 cells are kept; the same command goes on from there.\n"
    assert len(list((toy_command / "figures" / "toy_analysis" / ".unfinished").glob("*/*"))) == 4
    assert not (toy_command / "figures" / "toy_analysis" / "records.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--numbers", "0"], "numbers is 0; give 1 or more."),
        (["--numbers", "x"], "Error parsing --numbers"),
        (["--preset", "tiny"], 'there is no preset "tiny"; there are quick, paper.'),
        (["--preset"], "--preset needs a name"),
        (["--jobs", "0"], "jobs is 0; give 1 or more."),
        (["--device", "toaster"], 'no device is called "toaster"'),
        (["--nonsense"], "Unrecognized"),
        (["--redraw"], "holds no records.csv; run the analysis first"),
    ],
)
def test_bad_options_are_one_sentence(
    arguments: list[str], complaint: str, toy_command: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["toy_analysis", *arguments]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert not (toy_command / "figures").exists()


def test_unknown_names_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["nothing"]) == 2
    said = capsys.readouterr().err
    assert said == f'elutheory: there is no analysis "nothing"; there are {", ".join(catalogue())}.\n'


def test_a_folder_with_other_records_is_left_alone(toy_command: Path) -> None:
    (toy_command / "provenance.json").write_text('{"analysis": "mean_activations"}')
    with pytest.raises(InputError, match="holds records of mean_activations"):
        run_analysis(toy, toy_command)
    assert [path.name for path in toy_command.iterdir()] == ["provenance.json"]


@pytest.mark.parametrize(
    ("name", "option"),
    [("causal_claim", {"learning_rates": (0.1, math.nan)}), ("learning_behaviour", {"learning_rate": math.inf})],
)
def test_numbers_that_are_not_finite_are_refused_before_anything_runs(
    name: str, option: dict[str, Any], tmp_path: Path
) -> None:
    analysis = find_analysis(name)
    config = dataclasses.replace(analysis.PRESETS["quick"], **option)
    with pytest.raises(InputError, match=f"{next(iter(option))} (holds|is) (nan|inf); a finite number"):
        run_analysis(analysis, tmp_path / "new", config=config)
    assert not (tmp_path / "new").exists()


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert available_device("auto") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert available_device("auto") == "cpu"
    assert available_device("cpu:0") == "cpu"
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    with pytest.raises(InputError, match="the device cuda is not available: torch sees only the CPU"):
        available_device("cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert [available_device(name) for name in ("cuda", "cuda:1")] == ["cuda", "cuda:1"]
    for name in ("cuda:2", "mps", "meta"):
        with pytest.raises(InputError, match=f"the device {name} is not available: torch sees 2 of type cuda"):
            available_device(name)


def test_an_analysis_of_the_processor_alone_refuses_others(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="moment_accuracy runs on the CPU only; use --device cpu"):
        run_analysis(find_analysis("moment_accuracy"), tmp_path / "new", device="cuda")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("options", [("--examples", "-5"), ("--data", "nowhere")])
def test_a_refused_analysis_leaves_no_folder(
    options: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new"
    assert command.main(["depth", *options, "--device", "cpu", "--output", str(folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not folder.exists()


@pytest.mark.parametrize(("package", "extra"), [("jinja2", "analyses"), ("PIL", "data"), ("distributed", "cluster")])
def test_a_package_that_is_missing_is_named_with_its_extra(
    package: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def needs_it(_: object) -> int:
        raise ModuleNotFoundError(f"No module named '{package}.part'", name=f"{package}.part")

    monkeypatch.setattr(command, "_command", needs_it)
    assert command.main([]) == 2
    sentence = f"this needs {package}, which is not installed; install it with "
    assert capsys.readouterr().err == f"elutheory: {sentence}`pip install -c constraints.txt -e '.[{extra}]'`.\n"


def test_a_module_of_ours_that_is_missing_is_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> int:
        raise ModuleNotFoundError("No module named 'elutheory.nothing'", name="elutheory.nothing")

    monkeypatch.setattr(command, "_command", broken)
    with pytest.raises(ModuleNotFoundError, match=r"elutheory\.nothing"):
        command.main([])
