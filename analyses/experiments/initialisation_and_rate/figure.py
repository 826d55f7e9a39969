"""The figure, from the table alone."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.special import stdtrit

from analyses.experiments.initialisation_and_rate.settings import DECIDING, setting_of
from analyses.experiments.initialisation_and_rate.verdicts import outcomes
from elutheory.output.figures import look_of, plain_ticks, style

_WORDS = {"he": "He", "variance_preserving": "variance-\npreserving", "critical": "critical"}


def draw(table: Any) -> Figure:
    """Updates to the deciding loss by initialisation, measured and predicted: (a) at one rate, (b) at tuned ones."""
    names = table["activation"].unique().tolist()
    kinds = table["initialisation"].unique().tolist()
    rate = table[table["role"] == "fixed"]["learning_rate"].iloc[0]
    with style():
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        panels: Any = figure.subplots(1, 2, sharey=True)
        for panel, role in zip(panels, ("fixed", "tuned"), strict=True):
            found = outcomes(table, role)
            for order, name in enumerate(names):
                shift = 0.14 * (order - (len(names) - 1) / 2)
                _draw_one(panel, table[table["role"] == role], found, name, kinds, shift)
            panel.set_xticks(range(len(kinds)), [_WORDS.get(kind, kind) for kind in kinds])
            panel.set_xlabel("initialisation")
        panels[0].set_yscale("log")
        plain_ticks(panels[0].yaxis)
        panels[0].set_ylabel(f"updates to a training\nloss of {DECIDING:g} nats")
        panels[0].set_title(f"(a) all at rate {rate:g}")
        panels[1].set_title("(b) each at its tuned rate")
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=len(names), frameon=False)
        notes = "filled: measured, geometric means, 95 % intervals (t, over networks); open: predicted, nothing fitted"
        figure.suptitle(f"{setting_of(table)}\n{notes}", fontsize=8)
    return figure


def _draw_one(panel: Any, rows: Any, found: Any, name: str, kinds: list[str], shift: float) -> None:
    look = look_of(name)
    label: str | None = look.label
    for place, kind in enumerate(kinds):
        if (name, kind) not in found.columns:
            continue
        values = found[name, kind].to_numpy(float)
        middle, reach = values.mean(), 0.0
        if len(values) > 1:
            reach = stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values))
        low, high = np.exp(middle) - np.exp(middle - reach), np.exp(middle + reach) - np.exp(middle)
        shown: Any = {"color": look.colour, "marker": look.marker, "markersize": 4}
        panel.errorbar(place + shift, np.exp(middle), [[low], [high]], linestyle="none", label=label, **shown)
        predicted = rows[(rows["activation"] == name) & (rows["initialisation"] == kind)]["predicted"].iloc[0]
        panel.plot(place + shift + 0.05, predicted, linestyle="none", markerfacecolor="white", **shown)
        label = None
