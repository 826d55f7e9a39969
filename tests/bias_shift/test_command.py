"""`python -m elutheory.bias_shift` as a user runs it: exit codes, one-sentence errors, layout, formats."""

import json
import re
import xml.dom.minidom
from collections.abc import Sequence
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from elutheory.activations.activation_function import Activation
from elutheory.bias_shift import command as bias_shift
from elutheory.bias_shift import digits
from elutheory.bias_shift.digits import DigitsExperiment, NetworkRecord
from elutheory.derivations.proof.steps import VerificationError

FAST = ("--hidden", "8", "--epochs", "2")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = bias_shift.main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# --- what a command promises ----------------------------------------------------------------------------------------


def test_default_report_is_verified_and_fits_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, default_networks: dict[str, NetworkRecord]
) -> None:
    def measured(function: Activation, settings: DigitsExperiment) -> NetworkRecord:
        assert settings == DigitsExperiment()
        return default_networks[function.name]

    monkeypatch.setattr(digits, "measure_digits", measured)
    code, out, err = run(capsys)
    assert code == 0, err
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out  # no colour when piped
    assert "elu(alpha=1.0): training loss" in out
    assert "relu: training loss" in out
    assert "solved on the range of F" in out  # three pixels of the digits are constant
    assert "✓ 20 steps of 2 derivations verified; 4 of 4 layers agree within their bounds." in out


def test_every_number_from_a_singular_solve_carries_its_mark(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, *FAST, "--activation", "elu")
    (row,) = [line.split() for line in out.splitlines() if re.match(r" +1 +[\d.]", line)]
    layer, mean_p, mean_q, s_c, k, without, with_, cosine, rank, condition, deviation = row
    assert all(cell.endswith("*") for cell in (s_c, k, without, with_, cosine, condition, deviation))
    assert not any(cell.endswith("*") for cell in (layer, mean_p, mean_q, rank))


def test_damping_is_named_in_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *FAST, "--activation", "elu", "--damping", "1e-3")
    assert code == 0
    assert "† = solved with damping, F + 0.001 I" in out
    assert "*" not in out.split("elu(alpha=1.0)")[1].split("layer 1 (")[0]


@pytest.mark.parametrize("statement", [*bias_shift.DERIVATIONS, "all"])
def test_statements_can_be_chosen(capsys: pytest.CaptureFixture[str], statement: str) -> None:
    code, out, _ = run(capsys, "--symbolic-only", "--statement", statement)
    assert code == 0
    expected = len(bias_shift.DERIVATIONS) if statement == "all" else 1
    assert f"of {expected} derivation" in out
    assert max(map(len, out.splitlines())) <= 80


# --- formats --------------------------------------------------------------------------------------------------------


def test_json_has_the_documented_shape(capsys: pytest.CaptureFixture[str]) -> None:
    schema = json.loads(files("elutheory").joinpath("bias_shift.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for arguments in (("--symbolic-only", "--statement", "all"), (*FAST, "--activation", "relu", "elu")):
        code, out, _ = run(capsys, "--format", "json", *arguments)
        assert code == 0
        document = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        jsonschema.validate(document, schema)
    networks = document["experiment"]["networks"]
    assert [network["activation"] for network in networks] == ["relu", "elu(alpha=1.0)"]
    assert len(networks[0]["layers"][0]["unit_records"]) == 8
    broken = json.loads(out)
    del broken["experiment"]["networks"][0]["layers"][0]["s_times_c"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


class _Balance(HTMLParser):
    void = frozenset({"meta", "br", "hr", "link", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        assert not any(name in ("src", "href") for name, _ in attrs)  # self-contained
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_balanced_self_contained_and_its_mathematics_well_formed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *FAST, "--format", "html", "--statement", "all")
    assert code == 0
    parser = _Balance()
    parser.feed(out)
    assert parser.open == []
    formulas = re.findall(r"<math.*?</math>", out)
    assert len(formulas) == sum(len(derivation().steps) for derivation in bias_shift.DERIVATIONS.values())
    for formula in formulas:
        xml.dom.minidom.parseString(formula)  # noqa: S318 (our own output)
        assert "_" not in re.sub(r"<[^>]*>", "", formula)  # no raw symbol names


def test_latex_is_plain_ascii_with_balanced_environments(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *FAST, "--format", "latex", "--statement", "all")
    assert code == 0
    assert out.isascii()
    begun = re.findall(r"\\begin\{([^}]*)\}", out)
    assert sorted(begun) == sorted(re.findall(r"\\end\{([^}]*)\}", out))
    assert out.count("{") == out.count("}")
    assert "mean_q" not in out


def test_markdown_has_a_row_a_layer(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *FAST, "--format", "markdown", "--activation", "elu")
    assert code == 0
    rows = [line for line in out.splitlines() if line.startswith("| ")]
    assert len(rows) == 2
    assert {line.count("|") for line in rows} == {12}


# --- output files ---------------------------------------------------------------------------------------------------


def test_output_is_written_whole_and_replaces_the_old_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "report.md"
    target.write_text("old")
    code, out, _ = run(capsys, "--symbolic-only", "--format", "markdown", "--output", str(target))
    assert (code, out) == (0, "")
    assert target.read_text(encoding="utf-8").startswith("# Theorems 1 and 2")
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]


# --- bad input: exit code 2, one sentence, no traceback --------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--activation", "elo"), r"unknown activation 'elo'; did you mean 'elu'\? known are identity, relu, .*\."),
        (("--activation",), r"--activation are none; give some, and one at least\."),
        (("--alpha", "-1"), r"--alpha is -1\.0; a finite number ≥ 1e-15 and ≤ 1e\+15 is needed\."),
        (("--alpha", "nan"), r"--alpha is nan; a finite number .*\."),
        (("--alpha", "2", "--activation", "relu"), r"--alpha is given, but relu takes none; .*\."),
        (("--hidden", "0"), r"--hidden holds 0; give 1 or more\."),
        (("--hidden", "x"), r".*'x'.*\."),
        (("--epochs", "-1"), r"--epochs is -1; .*\."),
        (("--layer", "7"), r"there is no layer 7; .*\."),
        (("--damping", "-1"), r"--damping is -1\.0; .*\."),
        (("--damping", "inf"), r"--damping is inf; .*\."),
        (
            ("--damping", "0", "--hidden", "4", "--epochs", "0"),
            r"the Fisher matrix with damping 0 is singular for 4 of 4 units .*; give a larger damping .*\.",
        ),
        (("--learning-rate", "1e300", "--hidden", "4"), r"training diverged: .*\."),
        (("--statement", "theorem-3"), r".*theorem-3.*theorem-1.*\."),
        (("--statement",), r"--statement names nothing; .*\."),
        (("--format", "pdf"), r".*pdf.*json.*\."),
        (("--sead", "1"), r"Unrecognized options: --sead.*\."),
        (("--output", "/nowhere/at/all/report.txt"), r"the folder .* does not exist; .*\."),
        (("--output", "."), r"\. is a folder; name a file to write\."),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str) -> None:
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert re.fullmatch(rf"elutheory: {sentence}\n", err), err
    assert err.count("\n") == 1


def test_help_lists_the_options_and_names_no_path(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        bias_shift.main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: elutheory bias-shift ")
    for option in ("--activation", "--hidden", "--damping", "--statement", "--symbolic-only", "--output"):
        assert option in out


# --- exit code 1 ----------------------------------------------------------------------------------------------------


def test_a_step_that_fails_gives_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refute() -> None:
        raise VerificationError("Theorem 1, step 3 failed")

    monkeypatch.setitem(bias_shift.DERIVATIONS, "theorem-1", refute)
    target = tmp_path / "report.txt"
    code, out, err = run(capsys, "--symbolic-only", "--output", str(target))
    assert (code, out) == (1, "")
    assert err == "elutheory: Theorem 1, step 3 failed.\n"
    assert not target.exists()


def test_a_deviation_above_its_bound_gives_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from elutheory.fisher import correction

    right = correction.multiplicative_correction
    monkeypatch.setattr(correction, "multiplicative_correction", lambda *a: right(*a) * 1.01)
    code, out, err = run(capsys, *FAST, "--activation", "elu")
    assert code == 1
    assert "✗ layer 1: every deviation is NOT below its bound" in out
    assert err == "elutheory: not every layer was verified; see what the report marks with ✗.\n"
