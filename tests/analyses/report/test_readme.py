"""The README's tables made from the records. References: a README written here, and the repository's own."""

import shutil
from pathlib import Path

import pytest

from analyses.report.answer import answer
from analyses.report.benchmark_table import benchmark_table
from analyses.report.commands import readme
from analyses.report.ledger import ledger
from analyses.report.ledger_text import ledger_markdown
from analyses.report.readme import with_tables
from elutheory.errors import InputError

ROOT = Path(__file__).parents[3]
FIGURES, BENCHMARKS = ROOT / "figures", ROOT / "benchmarks" / "records.json"
WRITTEN = (
    "# A title\n\n<!-- begin answer -->\n<!-- end answer -->\nBefore.\n"
    "<!-- begin ledger -->\nold\n<!-- end ledger -->\nBetween, \\1 and {x}.\n\n"
    "<!-- begin benchmarks -->\n<!-- end benchmarks -->\nAfter.\n"
)


@pytest.fixture
def figures(tmp_path: Path) -> Path:
    """One record, so that the ledger has tests to decide and records that are missing."""
    shutil.copytree(FIGURES / "learning_behaviour", tmp_path / "figures" / "learning_behaviour")
    return tmp_path / "figures"


def test_blocks_are_replaced_and_the_rest_kept(figures: Path) -> None:
    text = with_tables(WRITTEN, figures, BENCHMARKS)
    table, speeds = ledger_markdown(ledger(figures)), benchmark_table(BENCHMARKS)
    unmeasured = "\n".join(f"- {sentence}" for sentence in answer(figures).unmeasured)
    assert text == (
        f"# A title\n\n<!-- begin answer -->\n\n{unmeasured}\n\n<!-- end answer -->\nBefore.\n"
        f"<!-- begin ledger -->\n\n{table}\n\n<!-- end ledger -->\nBetween, \\1 and {{x}}.\n\n"
        f"<!-- begin benchmarks -->\n\n{speeds}\n\n<!-- end benchmarks -->\nAfter.\n"
    )
    assert with_tables(text, figures, BENCHMARKS) == text


def test_the_command_keeps_line_endings_and_other_letters_byte_for_byte(figures: Path, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes("E[f²]\r\n".encode() + WRITTEN.encode() + b"\r\nno line's end")
    arguments = ["--readme", str(path), "--figures", str(figures), "--benchmarks", str(BENCHMARKS)]
    assert readme(arguments) == 0
    written = path.read_bytes()
    assert written == with_tables(WRITTEN, figures, BENCHMARKS).encode().join(
        ["E[f²]\r\n".encode(), b"\r\nno line's end"]
    )
    assert readme(arguments) == 0
    assert path.read_bytes() == written


@pytest.mark.parametrize(
    "text",
    [
        WRITTEN.replace("<!-- begin ledger -->", ""),
        WRITTEN.replace("<!-- end benchmarks -->", ""),
        WRITTEN + "<!-- begin ledger -->",
        WRITTEN + "<!-- end benchmarks -->",
        WRITTEN.replace("begin ledger", "x").replace("end ledger", "begin ledger").replace("x -->", "end ledger -->"),
    ],
)
def test_markers_that_are_missing_doubled_or_reversed_are_refused(text: str, figures: Path, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(InputError, match=r'^the README needs one "<!-- begin') as caught:
        readme(["--readme", str(path), "--figures", str(figures), "--benchmarks", str(BENCHMARKS)])
    assert "\n" not in str(caught.value)
    assert path.read_text() == text


def test_unreadable_files_are_refused_and_nothing_is_written(figures: Path, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    with pytest.raises(InputError, match=r"README\.md cannot be read"):
        readme(["--readme", str(path)])
    path.write_bytes(b"\xff" + WRITTEN.encode())
    with pytest.raises(InputError, match=r"README\.md is not UTF-8 text\.$"):
        readme(["--readme", str(path), "--figures", str(figures), "--benchmarks", str(BENCHMARKS)])
    path.write_text(WRITTEN)
    with pytest.raises(InputError, match=r"none\.json cannot be read"):
        readme(["--readme", str(path), "--figures", str(figures), "--benchmarks", str(tmp_path / "none.json")])
    (tmp_path / "damaged.json").write_text("{")
    with pytest.raises(InputError, match=r"damaged\.json is no record of benchmarks"):
        readme(["--readme", str(path), "--figures", str(figures), "--benchmarks", str(tmp_path / "damaged.json")])
    (figures / "learning_behaviour" / "records.csv").write_text("a\n1\n")
    with pytest.raises(InputError, match=r"records\.csv is not what"):
        readme(["--readme", str(path), "--figures", str(figures), "--benchmarks", str(BENCHMARKS)])
    assert path.read_text() == WRITTEN


def test_readme_of_the_repository_is_of_its_records() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_tables(text, FIGURES, BENCHMARKS) == text
