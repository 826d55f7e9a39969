"""`python -m elutheory.propagation` as a user runs it: the table, every format, the figure, errors in one sentence."""

import io
import json
import os
import re
from pathlib import Path

import numpy
import pandas
import pytest

from elutheory.propagation import command as propagation_command
from elutheory.propagation import propagate
from elutheory.propagation.figure import figure_of

PNG, PDF = b"\x89PNG", b"%PDF"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = propagation_command.main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_report_and_the_figure_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("elu", "relu", "leaky_relu", "leaky_relu", "tanh")
    code, out, err = run(capsys, "--activation", *names, "--depth", "4", "--initialisation", "he", "critical")
    assert (code, err) == (0, "")
    assert "critical: elu: σ_w² 1.49678, σ_b² 0.0346603; relu: σ_w² 2, σ_b² 0" in out
    assert "figure: propagation.svg" in out
    assert max(map(len, out.splitlines())) <= 100
    assert Path("propagation.svg").read_text().count("<svg") == 1
    assert os.listdir() == ["propagation.svg"]


def test_the_table_is_that_of_propagate(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "--activation", "elu", "--depth", "12", "--overlap", "0.3", "--layers", "3", "12", "--figure", "None"
    )
    assert code == 0
    table = propagate("elu", 12, 2.0, 0.0, 1.0, 0.3).table
    lines = [line.split() for line in out.splitlines() if re.match(r" +(elu +)?\d", line)]
    assert [line[-10] for line in lines] == ["3", "12"]
    for line, layer in zip(lines, (3, 12), strict=True):
        row = table.iloc[layer - 1]
        shown = [float(cell) for cell in line[-9:]]
        expected = row[
            ["q", "correlation", "mean", "unit_mean_median", "unit_mean_std", "mean_share", "chi", "gradient_variance"]
        ]
        assert shown[:8] == pytest.approx(list(expected), rel=6e-4)
    assert os.listdir() == []


def test_own_variances_batch_norm_and_width(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys,
        *("--activation", "relu", "--weight-variance", "1.3", "--bias-variance", "0.2", "--depth", "3", "--batch-norm"),
        *("--overlap", "0.4", "--width", "100", "--figure", "None", "--format", "json"),
    )
    assert code == 0
    (network,) = json.loads(out)["networks"]
    table = propagate("relu", 3, 1.3, 0.2, 1.0, 0.4, width=100, batch_norm=True).table
    assert network["initialisation"] == "given"
    for layer, expected in zip(network["layers"], table.to_dict("records"), strict=True):
        assert layer == expected


@pytest.mark.parametrize("format", ["text", "json", "markdown", "latex", "html"])
def test_every_format(capsys: pytest.CaptureFixture[str], format: str) -> None:
    arguments = ("--depth", "3", "--width", "64", "--overlap", "0.2", "--residual", "--format", format)
    arguments += ("--figure", "None")
    code, _, err = run(capsys, *arguments)
    assert (code, err.count("\n")) == (2, 1)  # bands of residual layers are not derived
    arguments = tuple(argument for argument in arguments if argument != "--residual")
    code, out, err = run(capsys, *arguments)
    assert (code, err) == (0, "")
    table = propagate("relu", 3, 2.0, 0.0, 1.0, 0.2, width=64).table
    if format == "json":
        assert json.loads(out)["networks"][1]["layers"][2]["mean_std"] == table["mean_std"][2]
    elif format == "latex":
        assert out.isascii()
        assert rf"{table['mean'][2]:.3f}" in out
    else:
        assert f"{table['mean'][2]:.3f}±{table['mean_std'][2]:.3f}" in out


def test_csv_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, _ = run(capsys, "--depth", "4", "--initialisation", "lecun", "he", "--table", "all.csv")
    assert code == 0
    found = pandas.read_csv(io.StringIO(Path("all.csv").read_text()))
    assert len(found) == 2 * 2 * 4
    part = found[(found["initialisation"] == "lecun") & (found["activation"] == "elu(alpha=1.0)")]
    assert numpy.allclose(part["q"], propagate("elu", 4, 1.0).table["q"], rtol=1e-15, atol=0)
    assert sorted(os.listdir()) == ["all.csv", "propagation.svg"]


@pytest.mark.parametrize(
    ("kind", "start"),
    [("svg", b"<?xml"), *(pytest.param(*kind, marks=pytest.mark.exhaustive) for kind in (("pdf", PDF), ("png", PNG)))],
)
def test_figures_repeat_byte_for_byte(capsys: pytest.CaptureFixture[str], kind: str, start: bytes) -> None:
    contents = []
    for name in ("first", "second"):
        code, _, _ = run(capsys, "--depth", "3", "--overlap", "0.1", "--width", "32", "--figure", f"{name}.{kind}")
        assert code == 0
        contents.append(Path(f"{name}.{kind}").read_bytes())
    assert contents[0] == contents[1]
    assert contents[0].startswith(start)


def test_the_figure_shows_the_table() -> None:
    curves = [("elu", propagate("elu", 6, 2.0, overlap=0.2)), ("relu", propagate("relu", 6, 2.0, overlap=0.2))]
    figure = figure_of([("he", curves)])
    columns = ("mean", "unit_mean_median", "chi", "gradient_variance")
    for panel, column in zip(figure.axes, columns, strict=True):
        lines = [line for line in panel.lines if line.get_label() in ("elu", "relu")]
        for line, (_, propagation) in zip(lines, curves, strict=True):
            assert list(line.get_ydata()) == list(propagation.table[column])
    assert figure.axes[3].get_yscale() == "log"
    assert len(figure.legends) == 1


def test_the_figure_colours_by_activation_not_by_position() -> None:
    colours = []
    for names in (("elu", "relu"), ("relu", "elu")):
        panel = figure_of([("he", [(name, propagate(name, 2, 2.0)) for name in names])]).axes[0]
        colours.append([panel.lines[place].get_color() for place in range(2)])
    assert colours[0] == colours[1][::-1] == ["#0072B2", "#D55E00"]


def test_the_legend_fits_beside_long_labels() -> None:
    labels = ["relu", *(f"where(x > 0, x, sin(x)/{number})" for number in range(1, 6))]
    figure = figure_of([("he", [(label, propagate("relu", 2, 2.0)) for label in labels])])
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert 0 <= legend.x0 < legend.x1 <= figure.bbox.width


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--activation", "elo"), r"unknown activation 'elo'; did you mean 'elu'\? .*\."),
        (("--activation",), r"--activation names nothing; .*\."),
        (("--activation", "relu", "--alpha", "2"), r"--alpha is given, but none of relu takes it\."),
        (("--depth", "0"), r"--depth is 0; give 1 or more\."),
        (("--depth", "3", "--layers", "4"), r"--layers names layer 4; there are layers 1 to 3\."),
        (("--initialisation", "xavier"), r".*xavier.*\."),
        (("--initialisation", "he", "--weight-variance", "2"), r"give either --initialisation or .*, not both\."),
        (("--bias-variance", "2"), r"--bias-variance needs --weight-variance beside it\."),
        (("--weight-variance", "-2"), r"--weight-variance is -2\.0; a finite number ≥ 1e-15 and ≤ 1e\+15 is needed\."),
        (("--overlap", "2"), r"overlap must be at most second_moment = 1 in size, not 2\."),
        (("--second-moment", "nan"), r"--second-moment is nan; a finite number .*\."),
        (("--width", "0"), r"--width is 0; give 1 or more\."),
        (("--expression", "where(x > 0, 1, 0)"), r".* jumps at 0; propagation needs it continuous\."),
        (("--activation", "softplus", "--initialisation", "critical"), r"softplus is not critical at q = 1 .*\."),
        (("--figure", "layers.bmp"), r"--figure layers\.bmp has no known ending; .*\."),
        (("--figure", "nowhere/layers.svg"), r"the folder .* does not exist; .*\."),
        (("--figure", "a.svg", "--table", "a.svg"), r"--output, --table and --figure must be different files\."),
        (("--format", "pdf"), r".*pdf.*\."),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(rf"elutheory: {sentence}\n", err), err
    assert os.listdir() == []


def test_layers_by_integrals_of_pairs_are_estimated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Default depth: more than an hour is announced before the first of them."""
    monkeypatch.setattr("elutheory.propagation.command.propagate", lambda *_, **__: pytest.fail("not before"))
    with pytest.raises(pytest.fail.Exception, match="not before"):
        propagation_command.main(["--expression", "abs(3*abs(3*abs(3*x-1)-1)-1)", "--figure", "None"])
    assert re.match(r"elutheory: this takes up to [\d.]+ minutes", capsys.readouterr().err)
