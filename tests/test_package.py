"""The package as it is installed: its public names, what importing it loads, its commands as modules."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from jaxtyping import TypeCheckError

import elutheory as et
from elutheory.__main__ import COMMANDS
from elutheory.__main__ import main as console_script
from elutheory.numerics.chebyshev import kept

# In one interpreter, as its start and the imports are most of the cost; the lightest commands first.
PROGRAM = """
import runpy, sys

def loaded(*names):
    return [name for name in names if name in sys.modules]

def run(module, *arguments):
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(f"elutheory.{module}", run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        print("exit code of", module, stop.code)

import elutheory, elutheory.errors, elutheory.activations
print("import loads", loaded("torch", "sympy", "scipy", "matplotlib", "pandas", "numpy"))
run("bias_shift", "--symbolic-only")
print("derivations load", loaded("torch", "scipy", "matplotlib", "pandas", "numpy"))
run("moments", "relu", "--mean", "-1")
run("propagation", "--activation", "elu", "relu", "leaky_relu", "leaky_relu", "tanh", "--depth", "4",
    "--initialisation", "he", "critical", "--figure", "None")
run("diagnosis", "their_model:digits_model", "--data", "digits", "--max-examples", "100")
run("dynamics", "--examples", "20", "--depth", "1", "--steps", "5")
print("tables load", loaded("matplotlib"))
run("propagation", "--depth", "2", "--activation", "relu")
"""
MODEL = """
from torch import nn

def digits_model():
    return nn.Sequential(nn.Linear(64, 8), nn.ELU(), nn.Linear(8, 10))
"""


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the commands print, run as modules by an interpreter of their own, warnings being errors."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "their_model.py").write_text(MODEL)
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=folder, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(path.name for path in folder.iterdir() if path.suffix != "") == ["propagation.svg", "their_model.py"]
    return result.stdout.splitlines()


def test_commands_run_as_modules_without_warnings(lines: list[str]) -> None:
    codes = [line for line in lines if line.startswith("exit code of")]
    modules = ("bias_shift", "moments", "propagation", "diagnosis", "dynamics", "propagation")
    assert codes == [f"exit code of {module} 0" for module in modules]
    assert "✓ 20 steps of 2 derivations verified." in lines
    assert "relu of X ~ N(-1, 1²)" in lines
    assert any(line.startswith("critical: elu: σ_w² 1.49678, σ_b² 0.0346603; relu: σ_w² 2") for line in lines)
    assert any("Means and gradient over 100 examples" in line for line in lines)
    assert "figure: propagation.svg" in lines


def test_what_is_not_needed_is_not_loaded(lines: list[str]) -> None:
    assert {"import loads []", "derivations load []", "tables load []"} <= {*lines}


def test_the_installed_console_script_is_this_one() -> None:
    (script,) = entry_points(group="console_scripts", name="elutheory")
    assert script.load() is console_script


def test_console_script_dispatches(capsys: pytest.CaptureFixture[str]) -> None:
    assert console_script(["bias-shift", "--symbolic-only", "--statement", "lemma-2"]) == 0
    assert "Lemma 2" in capsys.readouterr().out
    assert console_script(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)
    for wrong in ([], ["bias"]):
        assert console_script(wrong) == 2
        assert capsys.readouterr().err.count("\n") == 1


# --- public names ---------------------------------------------------------------------------------------------------


def test_every_public_name_is_there_and_listed() -> None:
    stub = ast.parse(Path(et.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imported = [alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(imported) == sorted({*imported})  # each once
    assert {*imported, "__version__"} == {*et.__all__} == {*dir(et)}
    assert all(getattr(et, name) is not None for name in et.__all__)
    namespace: dict[str, object] = {}
    exec("from elutheory import *", namespace)  # noqa: S102
    assert {*et.__all__} <= {*namespace}


def test_a_name_that_is_not_there_is_refused_with_what_python_needs_for_a_suggestion() -> None:
    with pytest.raises(AttributeError, match="layer_statistic") as refusal:
        _ = et.layer_statistic  # type: ignore[attr-defined]
    assert (refusal.value.name, refusal.value.obj) == ("layer_statistic", et)
    with pytest.raises(ImportError, match="layer_statistic"):
        from elutheory import layer_statistic  # type: ignore[attr-defined]  # noqa: F401


def test_no_module_bears_the_name_of_a_public_name() -> None:
    """Else `elutheory.NAME` would be the module as soon as anyone imports it."""
    modules = {module.name for module in pkgutil.iter_modules(et.__path__)}
    assert not modules & {*et.__all__}
    for name in et.__all__:
        home = importlib.import_module("elutheory")
        assert not isinstance(getattr(home, name), type(sys))


def test_calls_are_checked_for_their_shapes_where_asked(request: pytest.FixtureRequest) -> None:
    """With `--check-shapes` a matrix where a vector is stated is refused, without it nothing is checked."""
    checked = request.config.getoption("--check-shapes")
    with pytest.raises(TypeCheckError, match="coefficients") if checked else pytest.raises(TypeError):
        kept("no array", 1e-16)  # pyright: ignore[reportArgumentType]
