"""The answer from records made by hand: every number in it is that of the table, what is missing is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from analyses.framework import records
from analyses.report import commands
from analyses.report.answer import RECORDS, answer, draw
from elutheory.errors import InputError
from elutheory.output.figures import figure_bytes
from tests.analyses.experiments.test_causal_claim import HELPED, made_table
from tests.analyses.experiments.test_dose_response import made as made_doses
from tests.analyses.experiments.test_initialisation_and_rate import made as made_starts
from tests.analyses.experiments.test_predicted_speed import made as made_predictions


def doses() -> pandas.DataFrame:
    """ReLU needs e^-0.4 of the updates per dose, ELU half of plain ReLU's at every dose; all the same at one rate."""
    noise = np.exp(0.01 * np.random.default_rng(0).standard_normal((2, 2, 3, 12)))
    return made_doses(
        {
            (role, name, dose): (
                noise[i, j, k] * (100 if role == "fixed" else 400 * np.exp(-0.4 * dose) if name == "relu" else 200)
            ).tolist()
            for i, role in enumerate(("tuned", "fixed"))
            for j, name in enumerate(("elu", "relu"))
            for k, dose in enumerate((-1.0, 0.0, 1.0))
        }
    )


def starts() -> pandas.DataFrame:
    """With He and one rate ELU needs a quarter of ReLU's updates, tuned half, each with its own four fifths."""
    updates: dict[tuple[str, str, str], float] = {
        (role, name, kind): {"elu": 100.0, "relu": relu}[name]
        for role, relu in (("fixed", 400.0), ("tuned", 200.0))
        for name in ("elu", "relu")
        for kind in ("he", "variance_preserving")
    }
    updates["tuned", "relu", "variance_preserving"] = 125.0
    return made_starts(updates)


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    tables: dict[str, Any] = {
        "dose_response": doses(),
        "initialisation_and_rate": starts(),
        "predicted_speed": made_predictions(0.02, ratio_error=0.5),
        "causal_claim": made_table(HELPED),
    }
    for name, table in tables.items():
        records.save(folder / name, table, lambda _: draw(answer(folder / "nothing")), {"analysis": name})
    return folder


def test_numbers_are_those_of_the_tables(figures: Path) -> None:
    found = answer(figures)
    assert found.missing == ()
    text = found.text
    for words in (
        "ELU needs 25% [",
        "tuned for each it needs 50% [",
        "(ELU He's, ReLU variance-preserving) 80% [",
        "have a rank correlation of",
        "ReLU -33 %",
        "holds for 1 of 2",
        "closes 57% of its gap behind ELU [",
        "With its own mean doubled ELU needs 50% of plain ReLU's updates (claimed beforehand: holds",
        "Centring takes 67% of the updates that the gradient takes, mean over ELU and ReLU (claimed beforehand: holds",
        "is refuted, for the slower of the two does not do as much (claimed beforehand: does not hold",
        "within 15% in wide, shallow networks: does not hold",
    ):
        assert words in text
    assert "Not measured" not in text


def test_the_short_answer_has_the_same_numbers_question_by_question(figures: Path) -> None:
    found = answer(figures)
    assert [point.question for point in found.short] == [
        "Do ELU networks learn faster?",
        "And at the paper's learning rate?",
        "Why?",
        "How does a small mean act?",
        "Is it because the gradient comes closer to the unit natural gradient, as the paper says?",
        "Can it be told before training?",
    ]
    for words in (
        "Do ELU networks learn faster? Yes. On ",
        "in 100 updates, ReLU networks in 200: 50 % [50 to 50 %] of the updates, fewer in 12 of 12 networks.",
        "they need 100 updates, ReLU networks 400: 25 % [25 to 25 %], fewer in 12 of 12 networks.",
        "closes 57 % [",
        "ELU with its own mean doubled needs 50 % [",
        "It allows larger steps: at the one rate",
        "moving the mean changes the updates by at most",
        "at tuned rates by up to 33 %.",
        "That is refuted: adding that gradient's bias-shift term alone takes",
        "the rank correlation of predicted and measured updates is",
    ):
        assert words in found.short_text
    assert all(point.words.endswith(".") and len(point.words) < 400 for point in found.short)


@pytest.mark.parametrize("there", [(), ("dose_response",), ("predicted_speed", "causal_claim")])
def test_what_is_missing_is_named_and_nothing_else_is_said(
    figures: Path, tmp_path: Path, there: tuple[str, ...]
) -> None:
    for name in there:
        (tmp_path / name).symlink_to(figures / name)
    found = answer(tmp_path)
    assert set(found.missing) == set(RECORDS) - set(there)
    for name in RECORDS:
        assert (f"Not measured: {name} (python -m analyses {name})." in found.text) == (name not in there)
    assert bool(found.sentences) == bool(there)
    assert ("(a)" in found.caption) == ({"dose_response", "predicted_speed"} <= set(there))
    assert bool(found.caption) == found.has_figure
    assert found.has_figure == bool({"dose_response", "predicted_speed"} & set(there))
    assert figure_bytes(draw(found), "svg").startswith(b"<?xml")


def test_the_command_draws_and_prints(figures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--figures", str(figures), "--output", str(tmp_path / "answer")]
    assert commands.answer(arguments) == 0
    assert "ELU needs 25% [" in " ".join(capsys.readouterr().out.split())
    first = (tmp_path / "answer" / "figure.svg").read_bytes()
    assert commands.answer(arguments) == 0
    assert (tmp_path / "answer" / "figure.svg").read_bytes() == first
    with pytest.raises(InputError, match="is a file; name a folder"):
        commands.answer([*arguments[:3], str(tmp_path / "answer" / "figure.svg")])
    with pytest.raises(InputError, match="is no folder"):
        commands.answer(["--figures", str(tmp_path / "nowhere")])


def test_a_corrupt_record_is_refused(figures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "causal_claim"
    folder.mkdir()
    (folder / "provenance.json").write_bytes((figures / "causal_claim" / "provenance.json").read_bytes())
    (folder / "records.csv").write_text("a\n1\n")
    with pytest.raises(InputError, match="is not what provenance"):
        answer(tmp_path)
