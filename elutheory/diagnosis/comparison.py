"""Two diagnoses, two layer statistics or two layers' Fisher matrices beside one another: `compare`."""

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas

from elutheory.diagnosis.layer import ERROR
from elutheory.diagnosis.results import Diagnosis
from elutheory.errors import InputError
from elutheory.fisher.unit_fisher_matrix import UnitFisher
from elutheory.output.checksums import EMPTY, is_unchanged, with_checksum
from elutheory.output.document import json_number
from elutheory.output.files import check_output, write_whole
from elutheory.statistics.unit_statistics import LayerStatistics, names_of_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FORMAT = "elutheory.comparison.1"
_LOGARITHMIC = ("s_times_c", "k", "shift_without", "shift_with", "variance", "trace", "condition_number")
_TITLES = {
    "s_times_c": "s·c (1: no correction)",
    "k": "|k| (1: no correction)",
    "mean_share": "share of the mean, |E a|² / E|a|²",
    "shift_without": "bias shift without the correction",
    "shift_with": "bias shift with the correction",
    "cosine": "cosine(gradient, natural gradient)",
}
_DRAWN = {
    "Diagnosis": ("mean_share", "outgoing_mean", "s_times_c", "shift_without", "cosine", "top_eigenvalue_share"),
    "LayerStatistics": ("mean", "variance", "mean_share", "dead_share"),
    "UnitFisher": ("trace", "top_eigenvalue_share", "mean_size_under_p", "mean_size_under_q"),
}
_COLUMNS = {
    "Diagnosis": (
        "mean_share",
        "mean_over_spread",
        "strength",
        "s_times_c",
        "k",
        "shift_without",
        "shift_with",
        "cosine",
        "top_eigenvalue_share",
        "dead_units",
        "outgoing_mean",
    ),
    "LayerStatistics": (
        "mean",
        "unit_mean_median",
        "unit_mean_std",
        "variance",
        "mean_share",
        "share_nonpositive",
        "dead_share",
    ),
    "UnitFisher": ("trace", "top_eigenvalue_share", "rank", "mean_size_under_p", "mean_size_under_q"),
}


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` found.

    - `table`: one row per layer (of `UnitFisher` per unit), named in the first column; for every number of `columns`
      `…_before`, `…_after` and `…_change`, after minus before, and, where both have standard errors, `…_before_error`,
      `…_after_error` and `…_change_error`, the root of the sum of their squares;
    - `kind`: what was compared, "Diagnosis", "LayerStatistics" or "UnitFisher";
    - `only_before`, `only_after`: layers that the other has not; their missing numbers are NaN.

    >>> import elutheory as et
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model, x = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU()), torch.randn(50, 3)
    >>> before, after = et.layer_statistics(model, x), et.layer_statistics(model, x + 1)
    >>> found = et.compare(before, after)
    >>> found.kind, found.table["layer"].tolist(), "mean_change" in found.table
    ('LayerStatistics', ['1'], True)
    """

    table: pandas.DataFrame
    kind: str
    columns: tuple[str, ...]
    only_before: tuple[str, ...] = ()
    only_after: tuple[str, ...] = ()

    def plot(self, columns: Sequence[str] | None = None) -> "Figure":
        """A matplotlib figure by layer, before and after in each panel, joined for each layer; `columns`: a panel each.

        Raises InputError for a column that is not compared.
        """
        # matplotlib, only where a figure is drawn
        from elutheory.output.layer_figure import Panel, Points, figure_by_layer  # noqa: PLC0415

        chosen = [one for one in _DRAWN[self.kind] if one in self.columns] if columns is None else list(columns)
        for column in chosen:
            if column not in self.columns:
                raise InputError(f"{column!r} is not compared; the columns are {', '.join(map(repr, self.columns))}.")
        if not chosen:
            raise InputError("columns is empty; name at least one, or leave it out.")
        by = self.table.columns[0]
        panels = []
        for column in chosen:
            both = []
            for when, colour, filled in (("before", "#000000", False), ("after", "#D55E00", True)):
                values, errors = self.table[f"{column}_{when}"], self.table.get(f"{column}_{when}{ERROR}")
                both.append(Points([*values], when, colour, "o", None if errors is None else [*errors], filled))
            scale = "log" if column in _LOGARITHMIC else "linear"
            panels.append(
                Panel(_TITLES.get(column, column.replace("_", " ")), tuple(both), scale, joined=True, named=by)
            )
        return figure_by_layer([str(name) for name in self.table[by]], panels)

    def __str__(self) -> str:
        lines = [self._title]
        by = self.table.columns[0]
        for column in self.columns:
            shown = [by, *(name for name in self._of(column))]
            lines.append(self.table[shown].to_string(index=False, float_format=_short))  # pyright: ignore[reportArgumentType]
        return "\n\n".join([*lines, *self._missing])

    def __repr__(self) -> str:
        return f"Comparison({self.kind}, {len(self.table)} {self.table.columns[0]}s; print it for the tables)"

    def _repr_html_(self) -> str:
        table = self.table.to_html(index=False, float_format=_short)
        return f"<p>{html.escape(self._title)}</p>{table}" + "".join(
            f"<p>{html.escape(line)}</p>" for line in self._missing
        )

    def save(self, path: Path | str) -> None:
        """Writes a JSON file, whole or not at all."""
        check_output(Path(path))
        write_whole(Path(path), self.to_json())

    @classmethod
    def load(cls, path: Path | str) -> "Comparison":
        """What `save` wrote. Raises InputError for a file that is missing, corrupt or of another kind."""
        if not Path(path).is_file():
            raise InputError(f"there is no file {path}; name a file that Comparison.save wrote.")
        content = Path(path).read_bytes()
        refusal = f"{path} is no file that Comparison.save wrote, or not as it was."
        if not is_unchanged(content):
            raise InputError(refusal)
        try:
            found = json.loads(content.decode())
            if found["format"] != _FORMAT or not found["sha256"] or found["kind"] not in _COLUMNS:
                raise ValueError("format")
            table = pandas.DataFrame(found["table"], columns=found["names"])
            table = table.astype(dict.fromkeys(found["names"][1:], float))
            parts = (tuple(found[name]) for name in ("columns", "only_before", "only_after"))
            return cls(table, found["kind"], *parts)
        except (ValueError, KeyError, TypeError, UnicodeError) as error:
            raise InputError(refusal) from error

    def to_json(self) -> str:
        """The table as rows; NaN is null."""
        rows = [
            {key: json_number(value) if isinstance(value, float) else value for key, value in row.items()}
            for row in self.table.to_dict("records")
        ]
        described: dict[str, Any] = {"format": _FORMAT, "sha256": EMPTY, "kind": self.kind, "table": rows}
        described |= {"names": [*self.table.columns], "columns": self.columns}
        described |= {"only_before": self.only_before, "only_after": self.only_after}
        return with_checksum(json.dumps(described, indent=1, allow_nan=False).encode()).decode()

    def _of(self, column: str) -> list[str]:
        names = [f"{column}_{part}{error}" for part in ("before", "after", "change") for error in ("", ERROR)]
        return [name for name in names if name in self.table]

    @property
    def _title(self) -> str:
        return f"Before and after: {self.kind}, {len(self.table)} {self.table.columns[0]}s"

    @property
    def _missing(self) -> list[str]:
        lines = []
        for when, names in (("before", self.only_before), ("after", self.only_after)):
            if names:
                lines.append(f"only {when}: {', '.join(names)}")
        return lines


def _short(value: float) -> str:
    return f"{value:.3g}"


def compare(before: Any, after: Any) -> Comparison:
    """Two of a kind beside one another, layer by layer: diagnoses, layer statistics, or Fisher matrices of a layer.

    - `before`, `after`: two `Diagnosis`, two `LayerStatistics`, or two `UnitFisher` of equally many units, of the same
      model at different times, or of two models whose layers have the same names.

    Layers are matched by their names; what only one has is listed, and its numbers are NaN. The standard error of a
    change takes the errors before and after as independent; drawn from the same examples and units, with one seed, they
    are not, and the change is known better than it says. Raises InputError for different kinds of objects, and for
    diagnoses or Fisher matrices of which one number cannot be compared with the other: another damping or likelihood.

    >>> import elutheory as et
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.Linear(4, 2))
    >>> x = torch.randn(50, 3)
    >>> before = et.diagnose(model, x)
    >>> _ = torch.nn.init.zeros_(model[0].bias)
    >>> et.compare(before, et.diagnose(model, x)).columns[0]
    'mean_share'
    """
    kinds = {Diagnosis: "Diagnosis", LayerStatistics: "LayerStatistics", UnitFisher: "UnitFisher"}
    for kind, name in kinds.items():
        if isinstance(before, kind) and isinstance(after, kind):
            return _compared(name, _table(before), _table(after), _checked(before, after))
    raise InputError(
        f"before is a {type(before).__name__} and after a {type(after).__name__}; two {', two '.join(kinds.values())} "
        "can be compared."
    )


def _checked(before: Any, after: Any) -> str:
    """The name of the column that tells rows apart. Raises InputError where numbers cannot be compared."""
    if isinstance(before, LayerStatistics):
        return "layer"
    if isinstance(before, Diagnosis):
        for name in ("damping", "likelihood"):
            own, other = getattr(before, name), getattr(after, name)
            if own != other:
                raise InputError(f"{name} is {own} before and {other} after; diagnoses with the same one are needed.")
        return "layer"
    if before.shape[0] != after.shape[0]:
        raise InputError(
            f"there are {before.shape[0]} units before and {after.shape[0]} after; the same layer is needed."
        )
    if (before.damping is None) != (after.damping is None):
        raise InputError("one is damped and the other not; both undamped, or both damped, are needed.")
    return "unit"


def _table(found: Any) -> pandas.DataFrame:
    table = found.table
    return table.assign(layer=names_of_rows(table)) if isinstance(found, LayerStatistics) else table


def _compared(kind: str, before: pandas.DataFrame, after: pandas.DataFrame, by: str) -> Comparison:
    names = list(dict.fromkeys([*before[by], *after[by]]))
    left, right = before.set_index(by).reindex(names), after.set_index(by).reindex(names)
    columns = [one for one in _COLUMNS[kind] if bool(left[one].notna().any() or right[one].notna().any())]
    quantiles = [one for one in before if str(one).startswith("quantile_0") or one == "quantile_1"]
    columns += [str(one) for one in quantiles if one in after]
    parts: dict[str, Any] = {by: names}
    for column in columns:
        old, new = left[column].astype(float), right[column].astype(float)
        error = column + ERROR
        parts |= {f"{column}_before": old.to_numpy()}
        if error in left and error in right:
            squares = left[error].astype(float) ** 2 + right[error].astype(float) ** 2
            parts |= {f"{column}_before{ERROR}": left[error].astype(float).to_numpy()}
            parts |= {
                f"{column}_after": new.to_numpy(),
                f"{column}_after{ERROR}": right[error].astype(float).to_numpy(),
            }
            parts |= {f"{column}_change": (new - old).to_numpy(), f"{column}_change{ERROR}": (squares**0.5).to_numpy()}
        else:
            parts |= {f"{column}_after": new.to_numpy(), f"{column}_change": (new - old).to_numpy()}
    known_before, known_after = {*before[by]}, {*after[by]}
    return Comparison(
        pandas.DataFrame(parts),
        kind,
        tuple(columns),
        tuple(str(name) for name in names if name not in known_after),
        tuple(str(name) for name in names if name not in known_before),
    )
