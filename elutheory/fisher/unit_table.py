"""The unit Fisher matrices of a layer as a table and a figure: one row per unit."""

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from elutheory.fisher.unit_fisher_matrix import UnitFisher

COLUMNS = {
    "unit": "its number in the layer",
    "trace": "tr F, the sum of the mean squared scores of the unit's weights",
    "top_eigenvalue_share": "largest eigenvalue of F over tr F",
    "rank": "number of eigenvalues that are not zero, by the rule of UnitFisher.rank_threshold",
    "mean_size_under_p": "|E_p a|",
    "mean_size_under_q": "|E_q a|, q the data weighted by the unit's delta² (F2)",
    "dead": "whether its delta is zero at every example; then the columns about F's shape and q are NaN",
}
"""Columns of the table and what they hold."""


def table_of_units(fisher: "UnitFisher") -> "pandas.DataFrame":
    """One row per unit; the columns are described in COLUMNS."""
    import pandas  # noqa: PLC0415  (only where there is a table)

    eigenvalues = fisher.eigenvalues.double()
    trace = eigenvalues.sum(1)
    dead = fisher.dead.cpu().numpy()
    under_p = fisher.mean_under_p.double().norm(dim=-1).expand(len(trace))
    found: dict[str, Any] = {
        "unit": range(len(trace)),
        "trace": _numbers(trace),
        "top_eigenvalue_share": _numbers(eigenvalues[:, -1] / trace),
        "rank": fisher.rank,
        "mean_size_under_p": _numbers(under_p),
        "mean_size_under_q": _numbers(fisher.mean_under_q.double().norm(dim=1)),
        "dead": dead,
    }
    return pandas.DataFrame(found, columns=[*COLUMNS])


def figure_of_units(fisher: "UnitFisher") -> "Figure":
    """Spectra of the units in one panel, means under p and q and the top eigenvalue's share in others."""
    from elutheory.output.layer_figure import Panel, Points, figure_by_layer  # noqa: PLC0415  (matplotlib)

    table = table_of_units(fisher)
    blue, vermilion = "#0072B2", "#D55E00"
    panels = [
        Panel("trace of F", (Points([*table["trace"]], "tr F", blue, "o"),), "log", named="unit"),
        Panel(
            "top eigenvalue over the trace",
            (Points([*table["top_eigenvalue_share"]], "top eigenvalue / trace", vermilion, "s"),),
            level=0.0,
            named="unit",
        ),
        Panel(
            "size of the mean of the incoming activations",
            (
                Points([*table["mean_size_under_p"]], "|E_p a|", "#000000", "x"),
                Points([*table["mean_size_under_q"]], "|E_q a|", blue, "o"),
            ),
            level=0.0,
            named="unit",
        ),
        Panel("rank of F", (Points([*table["rank"]], "rank", vermilion, "s"),), level=0.0, named="unit"),
    ]
    return figure_by_layer([*map(str, table["unit"])], panels)


def _numbers(values: torch.Tensor) -> Any:
    return values.detach().cpu().numpy()
