"""The report: ledger, derivations and analyses in one HTML page that needs nothing else, made from the records alone.

The same records, code and libraries give the same bytes: there is no date in it. Each figure's caption comes from its
record's provenance, each verdict from its record's table, each tick from a check that ran while the page was made.
"""

import base64
import gzip
import re
import shlex
from collections import Counter
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analyses.framework import provenance, records
from analyses.framework.catalogue import catalogue, find_analysis
from analyses.framework.claims import Decision
from analyses.report.answer import answer, draw
from analyses.report.beside_the_paper import HEADINGS, beside_the_paper, cells_of
from analyses.report.inline_svg import inline_svg
from analyses.report.ledger import ledger
from analyses.report.ledger_text import SEEN, SIGNS, TEST_SIGNS, effect, found
from analyses.report.narrow_form import narrowed
from elutheory.derivations.catalogue import PROOFS
from elutheory.derivations.catalogue.numbered_statements import PAPER_EXPERIMENTS, PARTS
from elutheory.errors import InputError
from elutheory.output.figures import figure_bytes, number

EMBEDDED_BYTES = 2**16
"""Records whose compressed table is larger are not in the page; it says where they lie."""
_DESCRIBED = frozenset(
    {"analysis", "command", "preset", "config", "versions", "device", "device_name", "commit", "seconds", "jobs"}
)
"""What provenance.json says of every record."""
_NUMBERS = [numbered.number for part in (*PARTS.values(), PAPER_EXPERIMENTS) for numbered in part]
_NUMBER = re.compile(rf"(?<![\w.-])({'|'.join(_NUMBERS)})(?!\w)")
_TAG = re.compile(r"(<[^>]*>)")
_NAME = re.compile(r"<(?P<end>/?)(?P<name>\w+)")
_WITHOUT_LINKS = ("a", "code", "dt", "math", "style", "summary", "svg", "title")


@dataclass(frozen=True)
class Section:
    """One record in the page.

    `name`: its folder; `narrow_figure`: the figure's form for a phone; `download`: the table as a data URL, empty if it
    is too large.
    """

    name: str
    title: str
    figure: str
    narrow_figure: str
    caption: str
    command: str
    decisions: tuple[Decision, ...]
    summary: str
    columns: dict[str, str]
    rows: int
    checksum: str
    download: str
    described: dict[str, Any]


_ANSWERED = "Why ELUs learn fast: predicted and measured"


def report_page(figures: Path) -> str:
    """The page about all records in the folders of `figures`.

    Raises InputError if there is none or one is corrupt, VerificationError if a step of a derivation fails.
    """
    names = sorted(path.parent.name for path in figures.glob("*/provenance.json"))
    if not names:
        raise InputError(f"{figures} holds no records; run an analysis first (python -m analyses).")
    order = list(catalogue())
    sections = sorted(
        (_section(figures / name, f"f{place}") for place, name in enumerate(names)),
        key=lambda section: (order.index(section.described["analysis"]), section.name),
    )
    rows, answered = ledger(figures), answer(figures)
    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {
        "anchor": anchor,
        "place_of": place_of,
        "badge": lambda verdict: verdict.partition(" with ")[0].replace(" ", "-"),
        "number": number,
        "effect": effect,
        "found": found,
        "sign": lambda verdict: (SIGNS | TEST_SIGNS).get(verdict, "?"),
        "without_interval": lambda test: isnan(test.low) and isnan(test.high),
    }
    proofs = _proofs()
    page = environment.get_template("page.html.jinja").render(
        style=(here / "page.css").read_text(encoding="utf-8"),
        answer=answered,
        answer_figures=[
            (form, inline_svg(figure_bytes(drawn, "svg"), "figure-answer", _ANSWERED, prefix=prefix))
            for form, prefix, drawn in (("wide", "a", draw(answered)), ("narrow", "an", narrowed(draw(answered))))
            if answered.has_figure
        ],
        rows=rows,
        headings=HEADINGS,
        lines=[(line.record, cells_of(line)) for line in beside_the_paper(figures)],
        counts=Counter(row.verdict for row in rows),
        verdicts=SIGNS,
        seen=SEEN,
        proofs=proofs,
        derived={identifier for _, derivations in proofs for identifier, _, _ in derivations},
        statements=PARTS,
        experiments=PAPER_EXPERIMENTS,
        measured=names,
        sections=sections,
        versions=provenance.versions(),
    )
    return _with_links(re.sub(r"\n\s*\n+", "\n", page)) + "\n"


def anchor(words: str) -> str:
    """An identifier of the page from words."""
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def place_of(number: str) -> str:
    """The identifier, in the page, of the statement or experiment of that number."""
    return f"statement-{number.lower()}"


def _with_links(page: str) -> str:
    """Numbers of statements and experiments as links to what they stand for, wherever text may hold a link."""
    inside: list[str] = []
    parts = []
    for part in _TAG.split(page):
        tag = _NAME.match(part)
        if tag is None:
            parts.append(
                part if inside else _NUMBER.sub(lambda found: f'<a href="#{place_of(found[0])}">{found[0]}</a>', part)
            )
            continue
        if tag["name"] in _WITHOUT_LINKS:
            if tag["end"]:
                inside.pop()
            else:
                inside.append(tag["name"])
        parts.append(part)
    return "".join(parts)


def _proofs() -> list[tuple[str, list[tuple[str, str, str]]]]:
    """By section: identifier, title with number, HTML with every step verified now."""
    sections = {section: [derive() for derive in named.values()] for section, named in PROOFS.items()}
    return [
        (
            section,
            [(each.identifier, f"{each.title} [{each.number}]", each.to_html(level=4)) for each in derivations],
        )
        for section, derivations in sections.items()
    ]


def _section(folder: Path, prefix: str) -> Section:
    table, described = records.load(folder), records.provenance_of(folder)
    if missing := sorted(_DESCRIBED - described.keys()):
        raise InputError(f"{folder / 'provenance.json'} does not say the {missing[0]}; measure again.")
    analysis = find_analysis(described["analysis"])
    title = catalogue()[described["analysis"]]
    compressed = gzip.compress((folder / "records.csv").read_bytes(), compresslevel=9, mtime=0)
    embedded = len(compressed) <= EMBEDDED_BYTES
    with records.columns_of(folder, table):
        decisions = tuple(analysis.decisions(table)) if hasattr(analysis, "decisions") else ()
        summary = analysis.summary(table)
        finding = analysis.finding(table) if hasattr(analysis, "finding") else ""
        narrow = figure_bytes(narrowed(analysis.draw(table)), "svg")
    return Section(
        name=folder.name,
        title=title,
        figure=inline_svg(records.figure_of(folder), f"figure-{folder.name}", title, prefix=prefix),
        narrow_figure=inline_svg(narrow, f"figure-{folder.name}", title, prefix=f"{prefix}n"),
        caption=f"{finding} {caption(described)}".strip(),
        command=described["command"],
        decisions=decisions,
        summary=summary,
        columns=getattr(analysis, "COLUMNS", {}),
        rows=len(table),
        checksum=described["records_sha256"],
        download=f"data:application/gzip;base64,{base64.b64encode(compressed).decode()}" if embedded else "",
        described=described,
    )


def caption(described: dict[str, Any]) -> str:
    """Data, settings, device and duration of a record in words, from its provenance alone."""
    config = dict(described["config"])
    data = config.pop("data", None)
    settings = "; ".join(f"{name.replace('_', ' ')} {_words(value)}" for name, value in config.items())
    parts = [f"Data: {data}."] if data else []
    parts += [f"Settings: {settings}."] if settings else []
    commit = described["commit"] or "outside a git checkout"
    return " ".join(
        [
            *parts,
            f"Preset {described['preset']}{_changed(described['command'])}, measured in {described['seconds']:g} s on "
            f"{described['device']} ({described['device_name']}), code of commit {commit}.",
        ]
    )


def _changed(command: str) -> str:
    """Whether the command has options of the analysis beside its preset and device."""
    options = {word for word in shlex.split(command) if word.startswith("--")}
    return " with other settings" if options - {"--preset", "--device"} else ""


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000 else str(value)
