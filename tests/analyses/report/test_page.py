"""The report. References: records in the repository, html5lib's strict parser, checksums and verdicts made anew."""

import base64
import gzip
import json
import re
import shutil
from pathlib import Path
from xml.etree.ElementTree import Element

import html5lib
import pytest

from analyses.framework import records
from analyses.framework.catalogue import find_analysis
from analyses.report import commands
from analyses.report import page as report_module
from analyses.report.page import anchor, caption, report_page
from elutheory import Derivation, VerificationError, deactivation_limit, theorem_1, theorem_2
from elutheory.derivations.catalogue import PROOFS
from elutheory.derivations.catalogue.numbered_statements import PAPER_EXPERIMENTS, PARTS
from elutheory.derivations.proof.printing import statement_mathml
from elutheory.errors import InputError
from elutheory.output.checksums import EMPTY, with_checksum
from tests.analyses.report.committed import FIGURES, committed_ledger

COMMITTED = FIGURES / "report.html"
HTML, SVG, MATHML = (
    "{http://www.w3.org/1999/xhtml}",
    "{http://www.w3.org/2000/svg}",
    "{http://www.w3.org/1998/Math/MathML}",
)
NAMES = ("activation_curves", "learning_behaviour", "moment_accuracy")


SOME_PROOFS = {"Some": {"theorem-1": theorem_1, "theorem-2": theorem_2, "deactivation-limit": deactivation_limit}}
"""The derivations that the ledger names."""


def some_records(folder: Path) -> Path:
    """Three of the repository's records, in a folder of their own."""
    for name in NAMES:
        shutil.copytree(FIGURES / name, folder / "figures" / name)
    return folder / "figures"


@pytest.fixture
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three records to be changed, and some derivations instead of all."""
    monkeypatch.setattr(report_module, "PROOFS", SOME_PROOFS)
    return some_records(tmp_path)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of three records and some derivations, made once and written by the command."""
    folder = some_records(tmp_path_factory.mktemp("some"))
    output = folder.parent / "page.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_module, "PROOFS", SOME_PROOFS)
        assert commands.report(["--figures", str(folder), "--output", str(output)]) == 0
    return output.read_text(encoding="utf-8")


@pytest.mark.exhaustive  # as long as all the tests of the page together
def test_the_page_is_the_same_again(page: str, figures: Path) -> None:
    """No date, no order of a set."""
    assert report_page(figures) == page


def parsed(page: str) -> Element:
    """The document's root; an error of syntax raises."""
    return html5lib.HTMLParser(strict=True).parse(page)


def check_document(page: str) -> Element:
    """Valid syntax, unique identifiers, links that land, words for every figure; nothing from outside."""
    root = parsed(page)
    elements = [element for element in root.iter() if isinstance(element.tag, str)]
    identifiers = [element.attrib["id"] for element in elements if "id" in element.attrib]
    assert len(set(identifiers)) == len(identifiers)
    for element in elements:
        tag = element.tag.rpartition("}")[2]
        assert tag not in ("script", "link", "iframe", "img", "object")
        assert "src" not in element.attrib
        address = element.attrib.get("href", element.attrib.get("{http://www.w3.org/1999/xlink}href", ""))
        if address.startswith("#"):
            assert address[1:] in identifiers
        else:
            assert not address or address.startswith(("data:", "https://arxiv.org/"))
        for name in element.attrib.get("aria-labelledby", "").split():
            assert name in identifiers
    figures = [element for element in elements if element.tag == f"{SVG}svg"]
    for figure in figures:
        texts = ["".join(child.itertext()) for child in figure if child.tag in (f"{SVG}title", f"{SVG}desc")]
        assert len(texts) == 2
        assert min(map(len, texts)) > 20
    for formula in root.iter(f"{MATHML}math"):
        assert len(formula)
    return root


def sections(root: Element) -> dict[str, Element]:
    found = [element for element in root.iter(f"{HTML}section") if element.get("class") == "analysis"]
    return {element.attrib["id"].removeprefix("analysis-"): element for element in found}


def test_page_of_some_records(page: str) -> None:
    root = check_document(page)
    found = sections(root)
    assert list(found) == list(NAMES)
    assert len(list(root.iter(f"{SVG}svg"))) == 2 * len(NAMES)  # wide and narrow
    assert len(list(root.iter(f"{MATHML}math"))) == sum(
        len(derive().steps) for derive in (theorem_1, theorem_2, deactivation_limit)
    )
    for name, section in found.items():
        described = json.loads((FIGURES / name / "provenance.json").read_text())
        text = "".join(section.itertext())
        assert section.attrib["data-records-sha256"] == described["records_sha256"]
        assert described["command"] in text
        assert f"{described['seconds']:g} s on cpu" in text
        if hasattr(find_analysis(described["analysis"]), "finding"):
            table = records.load(FIGURES / name)
            assert find_analysis(described["analysis"]).finding(table) in " ".join(text.split())
    claim = next(element for element in root.iter(f"{HTML}article") if element.attrib["id"] == "claim-learning-speed")
    words = " ".join("".join(claim.itertext()).split())
    assert "not tested it takes the record of `python -m analyses dose_response`" in words
    assert "16 other tests, those that point the other way first" in words


def test_numbers_of_statements_lead_to_what_they_stand_for(page: str) -> None:
    root = check_document(page)
    identifiers = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
    numbers = [numbered.number for part in (*PARTS.values(), PAPER_EXPERIMENTS) for numbered in part]
    assert {f"statement-{number.lower()}" for number in numbers} <= identifiers
    links = [element for element in root.iter(f"{HTML}a") if element.get("href", "").startswith("#statement-")]
    assert {"B2", "E2", "M7"} <= {"".join(link.itertext()) for link in links}
    assert all(link.attrib["href"] == f"#statement-{''.join(link.itertext()).lower()}" for link in links)
    text = re.sub(r"<(a|code|dt|math|style|summary|svg|title)\b.*?</\1>", "", page, flags=re.DOTALL)
    left = re.findall(rf"(?<![\w.-])(?:{'|'.join(numbers)})(?!\w)", re.sub(r"<[^>]*>", "", text))
    assert left == []


def test_small_tables_are_in_the_page_as_they_are(page: str) -> None:
    root = parsed(page)
    links = {
        element.attrib["download"]: element.attrib["href"] for element in root.iter() if "download" in element.attrib
    }
    assert set(links) == {"activation_curves.csv.gz"}  # the other two are too large
    for name, address in links.items():
        content = gzip.decompress(base64.b64decode(address.partition("base64,")[2]))
        assert content == (FIGURES / name.partition(".")[0] / "records.csv").read_bytes()


def test_words_of_a_record_are_escaped(figures: Path) -> None:
    path = figures / "learning_behaviour" / "provenance.json"
    described = json.loads(path.read_text())
    described["config"]["data"] = '<script>alert("1")</script>'
    path.write_bytes(with_checksum(json.dumps(described | {"sha256": EMPTY}).encode()))
    check_document(report_page(figures))


def test_caption_is_from_the_provenance() -> None:
    described = {
        "command": "python -m analyses x --preset paper --device cpu --epochs 3",
        "config": {"data": "digits", "activations": ["elu", "relu"], "examples": 10000, "epochs": 3, "depths": []},
        **{"preset": "paper", "seconds": 1.5, "device": "cpu", "device_name": "Z80", "commit": "abc"},
    }
    assert caption(described) == (
        "Data: digits. Settings: activations elu, relu; examples 10,000; epochs 3; depths none. Preset paper with "
        "other settings, measured in 1.5 s on cpu (Z80), code of commit abc."
    )
    described |= {"command": "python -m analyses x --preset quick --device cpu", "config": {}, "preset": "quick"}
    assert caption(described | {"commit": None}) == (
        "Preset quick, measured in 1.5 s on cpu (Z80), code of commit outside a git checkout."
    )


def test_anchor() -> None:
    assert anchor("LReLU, 8 × 128") == "lrelu-8-128"


def refused(figures: Path, message: str) -> None:
    output = figures.parent / "page.html"
    output.write_text("before")
    with pytest.raises(InputError, match=message) as caught:
        commands.report(["--figures", str(figures), "--output", str(output)])
    assert "\n" not in str(caught.value)
    assert output.read_text() == "before"


def test_damaged_records_are_refused_and_nothing_is_written(figures: Path, tmp_path: Path) -> None:
    (figures / "activation_curves" / "figure.svg").write_text("<svg")
    refused(figures, r"figure\.svg is not the one that was drawn; draw it again")
    described = json.loads((figures / "activation_curves" / "provenance.json").read_text())
    without = {name: value for name, value in described.items() if name not in ("figures_sha256", "sha256")}
    (figures / "activation_curves" / "provenance.json").write_text(json.dumps(without))
    refused(figures, r"figure-activation_curves is no SVG")
    (figures / "activation_curves" / "figure.svg").unlink()
    refused(figures, r"holds no figure\.svg; draw it again")
    (figures / "activation_curves" / "records.csv").write_text("a\n1\n")
    refused(figures, r"records\.csv is not what provenance\.json")
    refused(tmp_path / "nowhere", "is no folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"holds no records; run an analysis first")


def test_failing_derivation_is_exit_code_1_and_writes_nothing(
    figures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuted(_: Derivation, *, level: int = 2) -> str:
        raise VerificationError("Lemma 1, step 2 failed")

    monkeypatch.setattr(Derivation, "to_html", refuted)
    output = figures.parent / "page.html"
    assert commands.report(["--figures", str(figures), "--output", str(output)]) == 1
    assert capsys.readouterr().err == "elutheory: Lemma 1, step 2 failed.\n"
    assert not output.exists()


def test_command_says_where_the_page_is(figures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = figures.parent / "page.html"
    shutil.rmtree(figures / "learning_behaviour")
    assert commands.report(["--figures", str(figures), "--output", str(output)]) == 0
    assert str(output) in capsys.readouterr().out


def test_every_proof_is_well_formed() -> None:
    """MathML of every statement, as XML: `<` and `&` are escaped; identifiers are the names."""
    from xml.etree import ElementTree

    for derivations in PROOFS.values():
        for name, derive in derivations.items():
            derivation = derive()
            assert derivation.identifier == name
            for step in derivation.steps:
                ElementTree.fromstring(statement_mathml(step.statement))  # noqa: S314


def test_committed_report_is_of_the_committed_records() -> None:
    """By its marks alone: to parse it takes ten seconds."""
    page = COMMITTED.read_text(encoding="utf-8")
    assert len(page.encode()) < 5_000_000
    checksums = dict(re.findall(r'class="analysis" id="analysis-([^"]+)" data-records-sha256="(\w+)"', page))
    described = {path.parent.name: json.loads(path.read_text()) for path in FIGURES.glob("*/provenance.json")}
    assert checksums == {name: found["records_sha256"] for name, found in described.items()}
    first_verdict = r'<p><span class="verdict [^"]*"><span[^>]*>[^<]*</span>([^<]*)</span>'
    claims = re.findall(
        rf'<article class="claim" id="([^"]+)">\s*<h3>.*?</h3>\s*{first_verdict}', page, flags=re.DOTALL
    )
    decided = [(f"claim-{anchor(row.identifier)}", row.verdict) for row in committed_ledger()]
    assert [(claim, verdict.strip()) for claim, verdict in claims] == decided
    sections_of_page = {*re.findall(r'<section id="([^"]+)"', page)}
    assert {name for section in PROOFS.values() for name in section} <= sections_of_page


@pytest.mark.exhaustive  # as above; the browser's tests open it, too
def test_committed_report_is_well_formed() -> None:
    check_document(COMMITTED.read_text(encoding="utf-8"))
