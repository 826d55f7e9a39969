"""docs/statements.md is what the derivations print; every function, test, analysis and code that it names exists."""

import ast
import re
from functools import reduce
from pathlib import Path

import pytest

import elutheory as et
from analyses.framework.catalogue import catalogue
from elutheory.derivations import __main__ as command
from elutheory.derivations.catalogue import PROOFS
from elutheory.derivations.catalogue.numbered_statements import PAPER_EXPERIMENTS, PARTS
from elutheory.derivations.catalogue.page import COMMAND, derivations, numbers_of, statements_page
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.steps import VerificationError

ROOT = Path(__file__).parents[2]
STATEMENTS = [statement for part in PARTS.values() for statement in part]
NUMBERS = [statement.number for statement in STATEMENTS] + [one.number for one in PAPER_EXPERIMENTS]
CODE = re.compile(r"\b([FLBMKPT][1-9]\d*b?|E\d+)\b")


def test_the_committed_page_is_what_is_printed() -> None:
    committed = (ROOT / "docs" / "statements.md").read_text(encoding="utf-8")
    assert committed == statements_page(), f"print it again: {COMMAND}"


def test_every_number_stands_once() -> None:
    assert len(set(NUMBERS)) == len(NUMBERS)
    page = statements_page()
    for number in NUMBERS:
        assert page.count(f"### {number}\n") + page.count(f"</a>{number} |") == 1


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.number)
def test_what_a_statement_names_exists(statement) -> None:
    assert statement.equations or statement.quoted
    assert statement.functions
    for name in statement.functions:
        reduce(getattr, name.split("."), et)
    assert statement.tests
    for path in statement.tests:
        assert (ROOT / path).is_file(), path
    for name, steps in statement.equations:
        assert statement.number in numbers_of(derivations()[name])
        assert steps
    for module in re.findall(r"`elutheory\.([\w.]+)`", statement.quoted.source if statement.quoted else ""):
        assert (ROOT / "elutheory" / f"{module.replace('.', '/')}.py").is_file(), module


def test_every_derivation_and_number_is_on_the_page() -> None:
    """A derivation is about numbers of the page, and is named there by the public function that gives it."""
    page = statements_page()
    for section in PROOFS.values():
        for name, place in section.items():
            assert numbers_of(derivations()[name]) <= set(NUMBERS)
            assert derivations()[name].identifier == name
            assert f"`{name}` (`et.{place.function}`)" in page
            assert callable(getattr(et, place.function))


def test_numbers_are_read_from_ranges() -> None:
    numbers = {name: numbers_of(derivation) for name, derivation in derivations().items()}
    assert numbers["fisher-information"] == {"F1", "F2", "F3"}
    assert numbers["moments-elu"] == {"M2", "M3", "M4", "M5", "M6"}
    assert numbers["unit-mean-spread"] == {"P2", "P2b"}
    assert numbers["residual-recursion"] == {"P1", "P3"}


def test_analyses_of_the_paper_s_experiments_exist() -> None:
    for one in PAPER_EXPERIMENTS:
        assert one.analyses or one.remark
        assert set(one.analyses) <= set(catalogue())


@pytest.mark.parametrize("folder", ["elutheory", "analyses"])
def test_every_code_in_docstrings_and_messages_is_on_the_page(folder: str) -> None:
    unknown = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                codes = set(CODE.findall(node.value)) - set(NUMBERS)
                unknown += [f"{path.relative_to(ROOT)}:{node.lineno}: {code}" for code in codes]
    assert not unknown


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_verifies_everything_and_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks have their own tests and are left out here."""
    verified = []
    monkeypatch.setattr(Derivation, "verify", lambda self: verified.append(self.identifier))
    assert command.main(["--output", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == statements_page()
    assert sorted(verified) == sorted(name for section in PROOFS.values() for name in section)


def test_a_failing_derivation_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuted(self: Derivation) -> None:
        raise VerificationError(f"{self.title} is refuted")

    monkeypatch.setattr(Derivation, "verify", refuted)
    assert command.main([]) == 1
    assert capsys.readouterr() == ("", "elutheory: Lemma 1: the inverse of a bordered matrix is refuted.\n")


def test_bad_input_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--output", str(tmp_path / "nowhere" / "page.md")]) == 2
    assert "does not exist" in capsys.readouterr().err
