"""The figure of predicted trainings: loss by step with its band, and the spectra of the kernels."""

from collections.abc import Sequence
from typing import Any

import numpy
from matplotlib.figure import Figure

from elutheory.dynamics.comparison import Run
from elutheory.output.figures import looks_of, style

_SIZES = {"font.size": 8, "axes.titlesize": 8}
_CENTRED = ", centred"
_DIVERGED = 1e6  # times the first loss: no curve goes further
_LEAST = 1e-6  # of the largest eigenvalue: below lies rounding


def figure_of(runs: Sequence[Run]) -> Figure:
    """Two panels: the loss, and λ_k against k; one colour per activation, centred ones dotted."""
    names = [one.name.removesuffix(_CENTRED) for one in runs]
    with style(_SIZES):
        looks = looks_of(names)
        figure = Figure(figsize=(6.4, 2.7), layout="constrained")
        losses, spectra = figure.subplots(1, 2)
        for one, name in zip(runs, names, strict=True):
            shown: Any = {"color": looks[name].colour, "linewidth": 1.4}
            shown["linestyle"] = (0, (1, 1.2)) if one.name.endswith(_CENTRED) else looks[name].line
            table, eigenvalues = one.prediction.table, one.prediction.modes["eigenvalue"].to_numpy()
            step, limit = table["step"], _DIVERGED * float(table["loss"].to_numpy()[0])

            def seen(column: str, table: Any = table, limit: float = limit) -> Any:
                return table[column].where(table[column] <= limit)

            losses.plot(step, seen("loss"), label=one.name.replace(name, looks[name].label), **shown)
            band: Any = {"color": looks[name].colour, "alpha": 0.15, "linewidth": 0}
            losses.fill_between(step, seen("loss_low"), seen("loss_high"), **band)
            if "finite_loss" in table:
                losses.plot(step, seen("finite_loss"), color=looks[name].colour, linewidth=0.6)
            above = eigenvalues > _LEAST * eigenvalues[0]
            spectra.plot(1 + numpy.flatnonzero(above), eigenvalues[above], **shown)
        losses.set(yscale="log", xlabel="step", ylabel="loss", title="predicted loss")
        losses.set_xscale("symlog", linthresh=1.0)
        losses.set_xlim(left=0)
        spectra.set(xscale="log", yscale="log", xlabel="k", ylabel="λ, the k-th", title="eigenvalues of Θ/N")
        figure.legend(
            *losses.get_legend_handles_labels(), loc="outside upper center", ncols=min(len(runs), 4), frameon=False
        )
    return figure
