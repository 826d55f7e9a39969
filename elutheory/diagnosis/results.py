"""A diagnosis as plain text and as a self-contained HTML page."""

import html
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elutheory.diagnosis.layer import COLUMNS, ERROR, SAMPLED
from elutheory.errors import InputError
from elutheory.fisher.scores import Kind
from elutheory.output.checksums import EMPTY, is_unchanged, with_checksum
from elutheory.output.document import STATEMENTS, Heading, Table, html_page, json_number, shortened
from elutheory.output.files import check_output, write_whole

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What `diagnose` found.

    - `table`: one row per layer in the model's order, columns as described in `elutheory.diagnosis.layer.COLUMNS`;
      after every column of `elutheory.diagnosis.layer.SAMPLED` its standard error, as `k_error`;
    - `uncovered`: for every parameter that no row covers, by name, the reason;
    - `examples`: how many the means and the gradient are over; `fisher_examples`: those the Fisher matrices are of;
    - `kind`: of the Fisher matrices; `samples`: labels drawn per example, 0 if none were; `likelihood`: its name;
      `damping`: relative to the mean diagonal;
    - `gradient_labels`: "targets", or "sampled" if the gradient's labels were drawn from the model;
    - `order`: "random" (examples in a seeded random order) or "as given" (data given as batches);
    - `kernel_top_share`, `kernel_constant_share`: of the trace of the model's tangent kernel over the first
      `kernel_examples`, what the top eigenvector and the constant direction take, so that a learning rate small enough
      for it is spent on the mean (T5); None with the reason `kernel_missing` where it was not measured.

    >>> import elutheory as et
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.Linear(4, 2))
    >>> x = torch.randn(50, 3)
    >>> diagnosis = et.diagnose(model, x)
    >>> diagnosis.kind, diagnosis.examples, diagnosis.gradient_labels
    ('exact', 50, 'sampled')
    """

    table: "pandas.DataFrame"
    uncovered: dict[str, str]
    examples: int
    fisher_examples: int
    kind: Kind
    samples: int
    likelihood: str
    damping: float
    gradient_labels: str
    order: str
    kernel_top_share: float | None = None
    kernel_constant_share: float | None = None
    kernel_examples: int = 0
    kernel_missing: str = "it was not asked for"

    def plot(self) -> "Figure":
        """A matplotlib figure with four panels by layer: means, strength, bias shift, and gradients."""
        from elutheory.diagnosis.figure import figure_of  # noqa: PLC0415  (matplotlib, only where a figure is drawn)

        return figure_of(self.table)

    def to_text(self, width: int = 120) -> str:
        """The table in parts, the columns' meaning and the parameters not covered, as plain text."""
        return text_report(self, width)

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return (
            f"Diagnosis({len(self.table)} layers, {self.examples:,} examples, Fisher matrices {self.kind} over "
            f"{self.fisher_examples:,}, {self.likelihood}; print it for the tables)"
        )

    def _repr_html_(self) -> str:
        parts = ["".join(f"<p>{html.escape(line)}</p>" for line in _settings(self))]
        parts += [f"<p><b>{html.escape(heading)}</b></p>{_part(self, columns).html()}" for heading, columns in _PARTS]
        uncovered = "".join(f"<li>{html.escape(line.strip())}</li>" for line in _uncovered(self))
        return "".join([*parts, f"<p><b>Parameters not covered</b></p><ul>{uncovered}</ul>"])

    def save(self, path: Path | str) -> None:
        """Writes a JSON file, whole or not at all."""
        check_output(Path(path))
        write_whole(Path(path), self.to_json())

    @classmethod
    def load(cls, path: Path | str) -> "Diagnosis":
        """What `save` wrote. Raises InputError for a file that is missing, corrupt or of another kind."""
        if not Path(path).is_file():
            raise InputError(f"there is no file {path}; name a file that Diagnosis.save wrote.")
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            raise InputError(f"{path} cannot be read: it is no text that Diagnosis.to_json wrote.") from None
        except InputError as error:
            raise InputError(f"{path} cannot be read: {error}") from None

    def to_json(self) -> str:
        """The fields, the table as rows; NaN is null."""
        rows = [
            {key: json_number(value) if isinstance(value, float) else value for key, value in row.items()}
            for row in self.table.to_dict("records")
        ]
        others = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "table"}
        described = {"format": _FORMAT, "sha256": EMPTY, "table": rows} | others
        return with_checksum(json.dumps(described, indent=1, allow_nan=False).encode()).decode()

    @classmethod
    def from_json(cls, text: str) -> "Diagnosis":
        """The inverse of `to_json`. Raises InputError for anything else."""
        if not is_unchanged(text.encode(errors="replace")):
            raise InputError("it is no text that Diagnosis.to_json wrote, or not as it was: its checksum differs.")
        try:
            described = json.loads(text)
            if described.pop("format") != _FORMAT or not described.pop("sha256"):
                raise ValueError("format")
            return cls(table=table_of(described.pop("table")), **described)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError("it is no text that Diagnosis.to_json wrote.") from error

    def to_html(self) -> str:
        """A self-contained page: the figure as SVG, the table, the columns' meaning, the parameters not covered."""
        return html_report(self)


_FORMAT = "elutheory.diagnosis.2"
_TEXTS = ("layer", "kind", "bias", "cut", "activation")
_WHOLE = ("units", "fan_in", "measured_units", "dead_units")


def table_of(rows: Sequence[Mapping[str, Any]]) -> "pandas.DataFrame":
    """The table of a diagnosis: COLUMNS, each of SAMPLED with its standard error after it."""
    import pandas  # noqa: PLC0415  (only where there is a table)

    columns = [name for column in COLUMNS for name in ([column, column + ERROR] if column in SAMPLED else [column])]
    numbers = [column for column in columns if column not in (*_TEXTS, *_WHOLE)]
    return pandas.DataFrame(rows, columns=columns).astype(dict.fromkeys(numbers, float))


_PARTS = (
    (
        "Incoming activations",
        ("kind", "units", "fan_in", "bias", "mean_under_p", "mean_under_q", "mean_size", "mean_share"),
    ),
    (
        "Mean share, measured and predicted for random weights of these variances (P4)",
        ("mean_share", "mean_share_predicted"),
    ),
    (
        "Size of the mean against the spread, and strength of the correction",
        ("mean_over_spread", "mean_over_spread_under_q", "strength", "s_times_c", "k"),
    ),
    ("Bias shift and gradients", ("shift_without", "shift_with", "cosine")),
    (
        "Fisher matrix and units",
        ("rank", "condition_number", "top_eigenvalue_share", "measured_units", "dead_units", "cut"),
    ),
    (
        "Outgoing activations",
        ("activation", "outgoing_mean", "outgoing_mean_gaussian", "outgoing_mean_deviation"),
    ),
)
TITLE = "Bias shift and unit natural gradient, layer by layer"


def text_report(diagnosis: "Diagnosis", width: int) -> str:
    """Every part of the table under its heading; then what the columns mean and what is not covered."""
    blocks = [TITLE, "\n".join(textwrap.fill(line, width) for line in _settings(diagnosis))]
    for heading, columns in _PARTS:
        blocks.append(f"{heading}\n{_part(diagnosis, columns).text(width)}")
    blocks.append("\n".join(["Columns", *(f"  {column}: {meaning}" for column, meaning in COLUMNS.items())]))
    blocks.append(textwrap.fill(STATEMENTS, width))
    blocks.append("\n".join(["Parameters not covered", *_uncovered(diagnosis)]))
    return "\n\n".join(blocks) + "\n"


def html_report(diagnosis: "Diagnosis") -> str:
    """Figure, tables, meaning of the columns, parameters not covered."""
    from elutheory.output.figures import figure_bytes  # noqa: PLC0415  (matplotlib, only where a figure is drawn)

    svg = figure_bytes(diagnosis.plot(), "svg").decode()
    parts = ["".join(f"<p>{html.escape(line)}</p>" for line in _settings(diagnosis))]
    parts.append(
        '<figure style="margin:0;background:#fff" role="img" aria-label="four panels by layer">'
        f"{svg[svg.index('<svg') :]}</figure>"
    )
    for heading, columns in _PARTS:
        parts.append(Heading(heading).html() + _part(diagnosis, columns).html())
    meanings = "".join(
        f"<dt><code>{html.escape(column)}</code></dt><dd>{html.escape(meaning)}</dd>"
        for column, meaning in COLUMNS.items()
    )
    parts.append(f"<h2>Columns</h2><dl>{meanings}</dl><p>{html.escape(STATEMENTS)}</p>")
    uncovered = "".join(f"<li>{html.escape(line.strip())}</li>" for line in _uncovered(diagnosis))
    parts.append(f"<h2>Parameters not covered</h2><ul>{uncovered}</ul>")
    return html_page(TITLE, parts)


def _settings(diagnosis: "Diagnosis") -> list[str]:
    labels = {
        "targets": "of the data's targets",
        "sampled": "of labels drawn from the model, as the data have no targets",
    }[diagnosis.gradient_labels]
    order = {"random": "in random order", "as given": "in the order given"}[diagnosis.order]
    drawn = f"{diagnosis.samples} label{'s' * (diagnosis.samples > 1)} drawn per example, " * (diagnosis.samples > 0)
    return [
        f"Means and gradient over {diagnosis.examples:,} examples {order}; the gradient is {labels}.",
        f"Fisher matrices: {diagnosis.kind}, {drawn}likelihood {diagnosis.likelihood}, over the first "
        f"{diagnosis.fisher_examples:,} of them; medians over the units measured; damping {diagnosis.damping:g} × the "
        "mean diagonal; ± standard error where units, examples or labels were drawn.",
        _kernel(diagnosis),
    ]


def _kernel(diagnosis: "Diagnosis") -> str:
    if diagnosis.kernel_top_share is None:
        return f"Tangent kernel: not measured; {diagnosis.kernel_missing}."
    return (
        f"Tangent kernel over {diagnosis.kernel_examples} examples: the top eigenvector takes "
        f"{diagnosis.kernel_top_share:.0%} of the trace, the constant direction {diagnosis.kernel_constant_share:.0%} "
        "(T5); the largest stable learning rate is set by it, the other directions share the rest."
    )


def _part(diagnosis: "Diagnosis", columns: Sequence[str]) -> Table:
    names = ("layer", *columns)
    rows = diagnosis.table.to_dict("records")
    return Table([*names], [[_cell_with_error(row[name], row.get(name + ERROR)) for name in names] for row in rows])


def _cell_with_error(value: Any, error: float | None) -> str:
    text = _cell(value)
    if not error or math.isnan(error):
        return text
    return f"{text} ± {shortened(error, '.1g', '.1g', between=(0.0, math.inf))}"


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return shortened(value, ".3g", ".3g", between=(0.0, math.inf)) if isinstance(value, float) else str(value)


def _uncovered(diagnosis: "Diagnosis") -> list[str]:
    return [f"  {name}: {reason}" for name, reason in diagnosis.uncovered.items()] or ["  none"]
