"""The figure, from the table alone."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.special import stdtrit

from analyses.experiments.dose_response.settings import DECIDING, setting_of
from analyses.experiments.dose_response.verdicts import outcomes, predictions
from elutheory.output.figures import look_of, plain_ticks, style


def draw(table: Any) -> Figure:
    """Updates to the deciding loss over the dose, (a) at tuned rates, (b) at the fixed one; (c) over the mean share."""
    names = table["activation"].unique().tolist()
    rate = table[table["role"] == "fixed"]["learning_rate"].iloc[0]
    with style():
        figure = Figure(figsize=(7.2, 3.1), layout="constrained")
        panels: Any = figure.subplots(1, 3, sharey=True)
        for order, name in enumerate(names):
            shift = 0.03 * (order - (len(names) - 1) / 2)
            for panel, role in zip(panels, ("tuned", "fixed"), strict=False):
                _draw_doses(panel, outcomes(table, role)[name], name, shift)
                expected = predictions(table, role)
                if len(expected):
                    _draw_predictions(panel, expected[name], name, shift)
            draw_shares(panels[2], table, name)
        panels[0].set_yscale("log")
        plain_ticks(panels[0].yaxis, (1, 2, 3, 5))
        panels[0].set_ylabel(f"updates to a training\nloss of {DECIDING:g} nats")
        titles = ("(a) each dose at its tuned rate", f"(b) all at rate {rate:g}", "(c) tuned, over the mean share")
        for panel, title in zip(panels, titles, strict=True):
            panel.set_title(title)
        for panel in panels[:2]:
            panel.set_xticks(sorted(table["dose"].unique()))
            panel.set_xlabel("dose c:\nlayers receive a − c·mean")
        panels[2].set_xlabel("mean share of what layers\nreceive at initialisation")
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names), frameon=False
        )
        figure.suptitle(
            f"{setting_of(table)}\ngeometric means with 95 % intervals (t, over networks); ringed: c = 0", fontsize=8
        )
    return figure


def _draw_doses(panel: Any, found: Any, name: str, shift: float) -> None:
    """Geometric means over seeds with 95 % intervals, t of the seeds' ln updates."""
    middle, low, high = _intervals(found)
    look = look_of(name)
    shown: Any = {"color": look.colour, "linestyle": look.line, "marker": look.marker, "markersize": 4, "linewidth": 1}
    panel.errorbar(
        found.columns.to_numpy(float) + shift, middle, [middle - low, high - middle], label=look.label, **shown
    )


def _draw_predictions(panel: Any, expected: Any, name: str, shift: float) -> None:
    """T5's, open, of the same colour and marker."""
    look = look_of(name)
    shown: Any = {"color": look.colour, "linestyle": "", "marker": look.marker, "markersize": 5}
    panel.plot(expected.index.to_numpy(float) + shift, np.exp(expected), markerfacecolor="none", **shown)


def draw_shares(panel: Any, table: Any, name: str) -> None:
    """Geometric mean of the updates at tuned rates over the mean share, a point per dose, ringed where nothing "
    "moved."""
    found = outcomes(table, "tuned")[name]
    rows = table[(table["role"] == "tuned") & (table["activation"] == name)]
    by_dose = rows.groupby("dose")["mean_share"].mean()
    shares = np.array([by_dose[dose] for dose in found.columns])
    middle, low, high = _intervals(found)
    look = look_of(name)
    shown: Any = {"color": look.colour, "linestyle": look.line, "marker": look.marker, "markersize": 4, "linewidth": 1}
    panel.errorbar(shares, middle, [middle - low, high - middle], label=look.label, **shown)
    unmoved = found.columns.to_numpy(float) == 0
    ring: Any = {"linestyle": "", "marker": "o", "markersize": 9, "markerfacecolor": "none", "markeredgewidth": 0.8}
    panel.plot(shares[unmoved], middle[unmoved], color=look.colour, **ring)


def _intervals(found: Any) -> tuple[Any, Any, Any]:
    values = found.to_numpy(float)
    middle = values.mean(0)
    if len(values) < 2:
        return np.exp(middle), np.exp(middle), np.exp(middle)
    reach = stdtrit(len(values) - 1, 0.975) * values.std(0, ddof=1) / np.sqrt(len(values))
    return np.exp(middle), np.exp(middle - reach), np.exp(middle + reach)
