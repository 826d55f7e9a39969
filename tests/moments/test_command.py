"""`python -m elutheory.moments` as a user runs it: reports, certified digits, ranges, figures, errors."""

import dataclasses
import json
import re
import xml.dom.minidom
from pathlib import Path

import mpmath
import pytest
import sympy

from elutheory.activations import activation
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.steps import Check, Step, UndecidedCheckError
from elutheory.moments import command as moments_command
from elutheory.moments import verification as verified_moments
from elutheory.moments.figure import figure_of
from elutheory.moments.typed_numbers import typed_numbers

ONE, TWO = typed_numbers("std", ["1"]), typed_numbers("std", ["2"])
ALL_FORMATS = ("text", "json", "markdown", "latex", "html")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = moments_command.main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_point_shows_closed_forms_values_and_how_they_were_verified(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "elu", "--alpha", "1", "--mean", "0", "--std", "1")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert re.search(r"E f     = .*Φ\(μ/σ\).*\n +(.*\n)? += 0\.160520572266556\d*\n", out)  # value: mpmath quadrature
    assert "✓ closed forms: " in out
    assert "✓ values against certified enclosures: largest relative deviation" in out
    assert "✓ certified twice, by closed form and by rigorous integration" in out


def test_certified_digits_are_right_to_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    """Against the same number by mpmath quadrature at 70 digits."""
    code, out, _ = run(capsys, "elu", "--digits", "50", "--std", "2")
    assert code == 0
    with mpmath.workdps(70):
        lower = mpmath.quad(lambda t: mpmath.expm1(2 * t) * mpmath.npdf(t), [-mpmath.inf, -8, -2, 0])
        expected = mpmath.nstr(lower + 2 * mpmath.npdf(0), 50, strip_zeros=False)
    assert f"E f     = {expected}\n" in out.split("certified digits at mean 0, std 2:")[1]


def test_typed_decimals_are_taken_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    """E X² of the identity at mean 0.1, std 0 + 1e-30 is 0.01 + 1e-60 exactly; in binary it would not be."""
    code, out, _ = run(capsys, "identity", "--mean", "0.1", "--std", "1e-30", "--digits", "60")
    assert code == 0
    assert "E f²    = 0.0100000000000000000000000000000000000000000000000000000000010" in out


def test_own_expression(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--expression", "where(x > 0, x, exp(x) - 1)", "--format", "json")
    _, named, _ = run(capsys, "elu", "--format", "json")
    assert code == 0
    own, elu = json.loads(out), json.loads(named)
    assert own["rows"] == elu["rows"]
    assert own["closed_forms"] == elu["closed_forms"]


def test_activation_without_closed_form_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "tanh", "--mean", "0.5")
    assert code == 0
    assert "no closed form: tanh is not piecewise polynomial × exponential, no line" in out.replace("\n  ", " ")
    assert "values: Gauss-Legendre quadrature, estimated relative error" in out
    assert "✓ values against certified enclosures" in out


def test_atom_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "relu")
    assert "E ln f' = −∞" in out
    assert "f(X) has an atom" in out


def test_ranges_make_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "elu", "--mean", "-4:4:5", "2/3", "--std", "0.5", "1e-3", "--format", "json")
    rows = json.loads(out)["rows"]
    assert code == 0
    assert [row["mean"] for row in rows[::2]] == [-4.0, -2.0, 0.0, 2.0, 4.0, 2 / 3]
    assert [row["std"] for row in rows[:2]] == [0.5, 1e-3]
    code, out, _ = run(capsys, "elu", "--mean=-100:4:5", "--std", "1e-8")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("format", ALL_FORMATS)
def test_every_format(capsys: pytest.CaptureFixture[str], format: str) -> None:
    code, out, err = run(capsys, "leaky_relu", "--format", format, "--digits", "20", "--mean", "-1", "2")
    assert (code, err) == (0, "")
    assert "0.072482315881809435399" in out  # E f at mean −1: mpmath quadrature with 30 digits
    if format == "json":
        document = json.loads(out)
        assert document["format"] == "elutheory/moments"
        assert set(document["closed_forms"]) == set(verified_moments.SYMBOLS)
    if format == "latex":
        assert out.isascii()
    if format == "html":
        for formula in re.findall(r"<math.*?</math>", out):
            xml.dom.minidom.parseString(formula)  # noqa: S318 (our own output)


def test_figure_is_written_whole_and_repeats(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "moments.svg"
    arguments = ("elu", "--mean=-3:3:5", "--std", "1", "--figure", str(target))
    assert run(capsys, *arguments)[0] == 0
    first = target.read_bytes()
    assert run(capsys, *arguments)[0] == 0
    assert target.read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_a_single_curve_has_the_colour_of_its_activation() -> None:
    for name, colour in (("elu", "#0072B2"), ("relu", "#D55E00")):
        rows, _ = verified_moments.measured_rows(activation(name), typed_numbers("mean", ["-1:1:3"]), ONE, None)
        assert figure_of(activation(name), rows).axes[0].lines[0].get_color() == colour
    rows, _ = verified_moments.measured_rows(activation("elu"), typed_numbers("mean", ["-1:1:3"]), [*ONE, *TWO], None)
    shades = [figure_of(activation("elu"), rows).axes[0].lines[place].get_color() for place in range(2)]
    viridis = [(0.190631, 0.407061, 0.556089), (0.20803, 0.718701, 0.472873)]  # at 1/3 and 2/3, as published
    assert [tuple(shade[:3]) for shade in shades] == [pytest.approx(colour, abs=1e-5) for colour in viridis]


def test_output_and_figure_in_one_file_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = str(tmp_path / "both.svg")
    code, out, err = run(capsys, "elu", "--mean", "0:1:3", "--output", target, "--figure", target)
    assert (code, out) == (2, "")
    assert err == "elutheory: --output and --figure must be different files.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_value_gives_exit_code_1(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    right = verified_moments.gaussian_moments

    def wrong(*arguments: object) -> object:
        result = right(*arguments)  # type: ignore[arg-type]
        return dataclasses.replace(result, variance=result.variance * (1 + 1e-10))

    monkeypatch.setattr(verified_moments, "gaussian_moments", wrong)
    code, out, err = run(capsys, "elu")
    assert code == 1
    assert "✗ values against certified enclosures" in out
    assert err.startswith("elutheory: a value differs from its certified enclosure")


def test_a_wrong_value_at_a_kink_is_no_effect_of_rounding(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mean on the kink is exact: to move it by its last place would excuse any variance at std 1e-18."""
    right = verified_moments.gaussian_moments

    def wrong(*arguments: object) -> object:
        result = right(*arguments)  # type: ignore[arg-type]
        return dataclasses.replace(result, variance=result.variance * 0.53)

    arguments = ("shifted_relu", "--mean=-1", "--std", "1e-18")
    derivation = Derivation("a", "Title", "M2", "no source", (), ())  # its formulas are proved elsewhere
    monkeypatch.setattr(verified_moments, "activation_moments", lambda function: derivation)
    assert run(capsys, *arguments)[0] == 0
    monkeypatch.setattr(verified_moments, "gaussian_moments", wrong)
    assert run(capsys, *arguments)[0] == 1


def test_right_formulas_of_a_steep_function_pass(capsys: pytest.CaptureFixture[str]) -> None:
    """The other route's quadrature reaches to where e^{6x} times the density has its mass."""
    assert run(capsys, "--expression", "exp(3*x)")[0] == 0


def test_what_no_rule_decides_gives_exit_code_3(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def undecided(statement: object) -> None:
        raise UndecidedCheckError("no rule decides the equality of expressions with f(x)")

    step = Step(sympy.Integer(1), "By a rule.", (Check("every n", undecided),))
    derivation = Derivation("a", "Title", "M2", "no source", (), (step,))
    monkeypatch.setattr(verified_moments, "activation_moments", lambda function: derivation)
    code, out, err = run(capsys, "elu", "--format", "json")
    assert code == 3
    assert json.loads(out)["outcome"] == "not decided"
    sentence = "Title, step 1 (By a rule.) is not decided by the check «every n»: no rule decides the equality of"
    assert err.startswith(f"elutheory: not decided: {sentence}")
    assert "failed" not in run(capsys, "elu")[1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("elo",), r"unknown activation 'elo'; did you mean 'elu'\? .*\."),
        (("relu", "--alpha", "2"), r"relu has no parameter 'alpha'; .*\."),
        (("--alpha", "0"), r"--alpha is 0\.0; a finite number .*\."),
        (("relu", "--expression", "x"), r"give either the name 'relu' or --expression, not both\."),
        (("--expression", "x", "--alpha", "2"), r"--alpha belongs to a named activation, not --expression\."),
        (("--expression", "__import__('os')"), r".*\."),
        (("--expression", "(1).__class__"), r".*\."),
        (("--std", "-1"), r"std must be finite and >= 0, not -1\.0.*\."),
        (("--mean", "nan"), r"--mean 'nan' is no number; .*\."),
        (("--mean", "1e999"), r"--mean '1e999' is not finite; .*\."),
        (("--mean", "1/0"), r"--mean '1/0' is not finite; .*\."),
        (("--mean", "0:1"), r"--mean '0:1' is no range; .*\."),
        (("--mean", "0:inf:3"), r"--mean '0:inf:3' has an infinite end; .*\."),
        (("--mean", "0:1:1000", "--std", "1:2:1000"), r"1000 means × 1000 stds make more than 100000 rows; .*\."),
        (("--mean",), r"--mean are none; .*\."),
        (("--digits", "0"), r"--digits is 0; give 1 or more\."),
        (("--digits", "9", "--std", "0"), r"certified digits need a std above 0, not 0\."),
        (("--digits", "9", "--mean", "inf"), r"certified digits need a finite mean and std\."),
        (("--figure", "moments.svg"), r"--figure needs several means or stds; .*\."),
        (("--figure", "moments.bmp", "--mean", "0:1:3"), r"--figure moments\.bmp has no known ending; .*\."),
        (("--output", "/nowhere/at/all"), r"the folder .* does not exist; .*\."),
        (("--format", "pdf"), r".*pdf.*\."),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(rf"elutheory: {sentence}\n", err), err
