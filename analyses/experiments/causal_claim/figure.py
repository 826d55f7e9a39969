"""The figure, from the table alone."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.special import stdtrit

from analyses.experiments.causal_claim.settings import DECIDING, METHODS, setting_of
from analyses.experiments.causal_claim.verdicts import cosines_at_start, gain, outcomes
from elutheory.output.figures import look_of, plain_ticks, style


def draw(table: Any) -> Figure:
    """(a) Updates to the deciding loss by method; (b) as a share of those by SGD; (c) how near the gradients are."""
    names = table["activation"].unique().tolist()
    with style():
        figure = Figure(figsize=(7.2, 3.1), layout="constrained")
        panels: Any = figure.subplots(1, 3, width_ratios=[1.1, 1.1, 1])
        for order, name in enumerate(names):
            shift = 0.16 * (order - (len(names) - 1) / 2)
            _draw_updates(panels[0], table, name, shift)
            _draw_gains(panels[1], table, name, shift)
            _draw_cosines(panels[2], table, name)
        for panel in panels[:2]:
            panel.set_xscale("log")
            plain_ticks(panel.xaxis, (1, 2, 3, 5))
            panel.set_yticks([-place for place in range(len(METHODS))], METHODS)
        panels[1].set_yticklabels([])
        panels[1].axvline(1.0, color="0.7", linewidth=0.6, zorder=0)
        panels[2].set_xticks([0, 1], ["as they are", "centred"])
        panels[2].set_xlim(-0.3, 1.3)
        panels[2].set_xlabel("incoming activations")
        panels[0].set_xlabel(f"updates to {DECIDING:g} nats")
        panels[1].set_xlabel("share of those by SGD")
        for panel, title in zip(
            panels, ("(a) updates", "(b) gains", "(c) cosine with the\nnatural gradient"), strict=True
        ):
            panel.set_title(title)
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=len(names), frameon=False)
        figure.suptitle(f"{setting_of(table)}; 95 % intervals".replace("; at most", ";\nat most"), fontsize=8)
    return figure


def _shown(name: str) -> dict[str, Any]:
    look = look_of(name)
    return {"fmt": look.marker, "color": look.colour, "markersize": 4, "linewidth": 1}


def _draw_updates(panel: Any, table: Any, name: str, shift: float) -> None:
    """Geometric means over networks with 95 % intervals, t of the networks' ln updates."""
    found = outcomes(table)[name][list(METHODS)].to_numpy(float)
    middle = found.mean(0)
    reach = np.zeros_like(middle)
    if len(found) > 1:
        reach = stdtrit(len(found) - 1, 0.975) * found.std(0, ddof=1) / np.sqrt(len(found))
    low, high = np.exp(middle) - np.exp(middle - reach), np.exp(middle + reach) - np.exp(middle)
    heights = -np.arange(len(METHODS)) - shift
    panel.errorbar(np.exp(middle), heights, xerr=[low, high], label=look_of(name).label, **_shown(name))


def _draw_gains(panel: Any, table: Any, name: str, shift: float) -> None:
    for place, method in enumerate(METHODS[1:], start=1):
        effect, low, high = gain(table, name, method)
        low, high = (low, high) if low > 0 and np.isfinite(high) else (effect, effect)
        panel.errorbar(effect, -place - shift, xerr=[[effect - low], [high - effect]], **_shown(name))


def _draw_cosines(panel: Any, table: Any, name: str) -> None:
    """A line per network."""
    cosines = cosines_at_start(table)
    look = look_of(name)
    for plain, centred in zip(cosines["cosine", name], cosines["centred_cosine", name], strict=True):
        panel.plot([0, 1], [plain, centred], color=look.colour, marker=look.marker, markersize=3, linewidth=0.6)
