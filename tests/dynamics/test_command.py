"""`python -m elutheory.dynamics` as a user runs it: the tables, every format, the figure, errors in one sentence."""

import json
import os
from pathlib import Path

import numpy as np
import pandas
import pytest

import elutheory as et
from elutheory.dynamics import command as dynamics_command
from elutheory.models.data import load_digits

SMALL = ("--examples", "24", "--depth", "2", "--width", "40", "--steps", "60", "--learning-rate", "0.2")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = dynamics_command.main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_tables_are_those_of_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    """With test inputs, standardised, momentum and batches: every number of the report, computed once more."""
    code, out, err = run(
        capsys,
        *SMALL,
        *("--test-examples", "8", "--standardise", "--batch-size", "16", "--momentum", "0.5", "--seed", "3"),
        *("--learning-rate", "0.02", "--centred", "--table", "steps.csv", "--format", "json"),
    )
    assert (code, err) == (0, "")
    report = json.loads(out)
    pixels, labels = load_digits()
    order = np.random.default_rng(3).permutation(1797)[:32]
    inputs = pixels.numpy()[order]
    inputs = (inputs - inputs[:24].mean()) / inputs[:24].std()
    gram = inputs @ inputs.T / 64
    assert [one["activation"] for one in report["networks"]] == ["elu", "elu, centred", "relu", "relu, centred"]
    predictions = {}
    for one in report["networks"]:
        name = one["activation"].removesuffix(", centred")
        theta = et.training_kernel(name, gram, depth=2, width=40, features=64, weight_variance=2.0)
        theta = theta.centred(slice(24)) if one["centred"] else theta
        d = et.predict_training(
            theta,
            labels.numpy()[order],
            learning_rate=0.02,
            steps=60,
            batch_size=16,
            momentum=0.5,
            trained=slice(24),
            seed=3,
            batch_seed=3,
        )
        predictions[one["activation"]] = d
        found = pandas.DataFrame(one["steps"])
        assert found.columns.tolist() == d.table.columns.tolist()
        assert found.to_numpy() == pytest.approx(d.table.to_numpy(), rel=1e-12)
        assert one["steps_to"]["0.5"] in (d.steps_to(0.5), None)
        assert one["largest_stable_rate"] == pytest.approx(d.largest_stable_rate)
        assert np.array(one["eigenvalues"]) == pytest.approx(np.linalg.eigvalsh(theta.matrix[:24, :24])[::-1] / 24)
    (compared,) = [
        one for one in report["comparisons"] if (one["faster"], one["slower"], one["loss"]) == ("elu", "relu", 0.7)
    ]
    elu, relu = predictions["elu"], predictions["relu"]
    ours, theirs = (one.modes["eigenvalue"] for one in (elu, relu))
    assert compared["factor"] == pytest.approx(relu.steps_to(0.7) / elu.steps_to(0.7))
    assert compared["size"] == pytest.approx(ours.sum() / theirs.sum())
    shares = [1 - values[0] / values.sum() for values in (ours, theirs)]
    assert compared["mean"] == pytest.approx(shares[0] / shares[1])
    assert compared["size"] * compared["mean"] * compared["shape"] == pytest.approx(compared["factor"])
    assert compared["at_largest_rate"] == pytest.approx(compared["factor"] * theirs[0] / ours[0])
    assert pandas.read_csv("steps.csv").groupby("activation").size().tolist() == [61] * 4


@pytest.mark.parametrize("format", ["text", "markdown", "latex", "html"])
def test_every_format(capsys: pytest.CaptureFixture[str], format: str) -> None:
    arguments = (*SMALL, "--activation", "elu", "relu", "--finite-networks", "2", "--levels", "1", "0.5")
    code, out, err = run(capsys, *arguments, "--format", format)
    assert (code, err) == (0, "")
    assert "times as fast as relu" in out.replace("\n", " ")
    if format == "text":
        assert "2 hidden layers of 40, 24 of digits, cross-entropy, full batches, learning rate 0.2" in out
        assert "depth over width 0.05" in out
        assert "loss at 60, finite" in out
        assert max(map(len, out.splitlines())) <= 110
    assert os.listdir() == []


def test_the_figure_beside_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    """At a rate where squared error diverges: curves end there."""
    arguments = (*SMALL, "--loss", "squared_error", "--width", "40", "30", "--figure", "curves.svg")
    code, out, _ = run(capsys, *arguments, "--output", "report.txt")
    assert (code, out) == (0, "")
    assert sorted(os.listdir()) == ["curves.svg", "report.txt"]
    assert Path("curves.svg").read_bytes().startswith(b"<?xml")
    text = Path("report.txt").read_text(encoding="utf-8")
    assert "2 hidden layers of 40–30" in text
    assert "expected loss by eigenmodes" in text


def test_a_data_set_from_a_file_and_an_own_activation(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    np.savez("data.npz", inputs=rng.standard_normal((12, 2, 3)).astype(np.float32), targets=rng.integers(0, 3, 12))
    arguments = ("--data", "data.npz", "--activation", "--expression", "x*tanh(x)", "--steps", "5", "--depth", "1")
    code, out, err = run(capsys, *arguments, "--initialisation", "variance_preserving")
    assert (code, err) == (0, "")
    assert "12 of data.npz" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--depth", "0"), "--depth is 0"),
        (("--width", "3", "4", "5"), "--width has 3 numbers"),
        (("--width", "0"), "--width holds 0; give 1 or more"),
        (("--examples", "0"), "--examples is 0; give 1 or more"),
        (("--examples", "1797", "--test-examples", "1"), "leave 0 to test on"),
        (("--activation", "eluu"), "eluu"),
        (("--activation",), "--activation names nothing"),
        (("--activation", "tanh", "--alpha", "2"), "--alpha is given"),
        (("--learning-rate", "0"), "--learning-rate is 0.0; a finite number"),
        (("--learning-rate", "nan"), "--learning-rate is nan; a finite number"),
        (("--momentum", "1"), "--momentum is 1"),
        (("--steps", "0"), "--steps is 0; give 1 or more"),
        (("--batch-size", "0"), "--batch-size is 0; give 1 or more"),
        (("--draws", "0"), "--draws is 0; give 1 or more"),
        (("--finite-networks", "-1"), "--finite-networks is -1"),
        (("--levels", "0"), "--levels holds 0.0; a finite number"),
        (("--bias-variance", "1"), "--bias-variance needs --weight-variance"),
        (("--seed", "-1"), "--seed is -1"),
        (("--data", "nowhere.npz"), "there is no file nowhere.npz"),
        (("--data", "inputs.npz"), "has no targets"),
        (("--data", "floats.npz"), "must be integers"),
        (("--data", "alike.npz", "--standardise"), "all the same"),
        (("--figure", "curves.gif"), "no known ending"),
        (("--output", "no/where.txt"), "does not exist"),
        (("--loss", "hinge"), "invalid choice"),
    ],
)
def test_bad_input_is_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    np.savez("inputs.npz", inputs=np.ones((4, 2)))
    np.savez("floats.npz", inputs=np.ones((4, 2)), targets=np.ones(4))
    np.savez("alike.npz", inputs=np.ones((4, 2)), targets=np.arange(4))
    before = sorted(os.listdir())
    code, out, err = run(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert sorted(os.listdir()) == before
