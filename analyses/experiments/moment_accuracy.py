"""Where do Gaussian moments of an ELU lose their digits? Textbook form beside ours, over (mu, sigma); M3, M4, M7.

The reference is the closed form evaluated in Arb balls, certified to 25 digits.
"""

import sys
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pandas
from flint import arb, fmpq
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter
from scipy.special import ndtr

from analyses.framework.settings import Positive
from analyses.framework.sweep import Sweep
from elutheory.activations import activation
from elutheory.derivations.moments.moments_of_activations import moment_formulas
from elutheory.derivations.proof.notation import mu, sigma
from elutheory.errors import InputError
from elutheory.moments import gaussian_moments
from elutheory.moments.certified import precision
from elutheory.moments.certified_balls import certified_value
from elutheory.numerics.cost import Cost
from elutheory.output.domains import Whole, check_domains
from elutheory.output.figures import style

_DIGITS = 25
_SMALLEST = sys.float_info.min


@dataclass(frozen=True)
class Config:
    """The grid: mu symmetric-logarithmic (zero included), sigma logarithmic."""

    alpha: Positive = 1.0
    """The ELU's parameter."""
    means: Annotated[int, Whole(3, 10**5)] = 61
    """Odd number of means: −100 … −1e-6, 0, 1e-6 … 100."""
    stds: Annotated[int, Whole(1, 10**5)] = 41
    """Number of standard deviations: 1e-8 … 100."""


DEVICES = ("cpu",)
PRESETS = {"quick": Config(), "paper": Config(means=121, stds=81)}


def grid(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Means (config.means,) and standard deviations (config.stds,)."""
    half = np.logspace(-6, 2, config.means // 2)
    return np.concatenate([-half[::-1], [0.0], half]), np.logspace(-8, 2, config.stds)


def textbook(alpha: float, mean: np.ndarray, std: np.ndarray) -> dict[str, np.ndarray]:
    """M3, M4 and `E f² − (E f)²` as they stand on paper, in double precision."""
    z = mean / std
    density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    once = np.exp(mean + std**2 / 2) * ndtr(-z - std)
    twice = np.exp(2 * mean + 2 * std**2) * ndtr(-z - 2 * std)
    first = mean * ndtr(z) + std * density + alpha * (once - ndtr(-z))
    second = (mean**2 + std**2) * ndtr(z) + mean * std * density + alpha**2 * (twice - 2 * once + ndtr(-z))
    return {"mean": first, "variance": second - first**2}


@dataclass(frozen=True)
class Cell:
    """One of the two moments, on the whole grid."""

    moment: Literal["mean", "variance"]


def cells(config: Config) -> list[Cell]:
    """Both moments. Raises InputError on an even or empty grid."""
    check_domains(config)
    if config.means % 2 == 0:
        raise InputError(f"means is {config.means}; give an odd number from 3 on, for zero is among them.")
    return [Cell("mean"), Cell("variance")]


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """One row per form and grid point: relative error, NaN where the true value is below the normal doubles."""
    function = activation("elu", alpha=config.alpha)
    formula = getattr(moment_formulas(function), cell.moment)
    means, stds = grid(config)
    mean, std = (array.ravel() for array in np.meshgrid(means, stds))
    with np.errstate(all="ignore"):  # the textbook form overflows; that is what is being shown
        values = {"textbook": textbook(config.alpha, mean, std)[cell.moment]}
    values["elutheory"] = getattr(gaussian_moments(function, mean, std), cell.moment)
    exact = [
        certified_value(formula, {mu: fmpq(*m.as_integer_ratio()), sigma: fmpq(*s.as_integer_ratio())}, _DIGITS)
        for m, s in zip(mean.tolist(), std.tolist(), strict=True)
    ]
    tables = []
    for form, given in values.items():
        errors = [_relative_error(ball, value) for ball, value in zip(exact, given.tolist(), strict=True)]
        table = {"moment": cell.moment, "form": form, "mean": mean, "std": std, "relative_error": errors}
        tables.append(pandas.DataFrame(table))
    return pandas.concat(tables, ignore_index=True)


def cost(config: Config) -> Cost:
    """Of two certified values a point, each a fifth of a millisecond or more."""
    points = 2.0 * config.means * config.stds
    return Cost(operations=1e7 * points, updates=200, bytes=1e3 * points)


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per moment, form and grid point."""
    return sweep.table(measure_cell, config, cells(config))


def _relative_error(exact: arb, value: float) -> float:
    with precision(_DIGITS):
        if abs(exact) < arb(_SMALLEST):
            return np.nan
        if not np.isfinite(value):
            return np.inf
        return float((abs(arb(value) - exact) / abs(exact)).mid())


def draw(table: pandas.DataFrame) -> Figure:
    """Four maps: mean and variance, textbook and ours; colour is the number of correct digits lost."""
    with style():
        figure = Figure(figsize=(7.0, 5.2), layout="constrained")
        panels = figure.subplots(2, 2, sharex=True, sharey=True)
        levels = np.arange(-17, 1)
        norm = BoundaryNorm(levels, 256)
        image: Any = None
        letters = iter("abcd")
        for row, moment in zip(panels, ("mean", "variance"), strict=True):
            for panel, form in zip(row, ("textbook", "elutheory"), strict=True):
                chosen = table[(table["moment"] == moment) & (table["form"] == form)]
                errors = chosen.pivot(index="std", columns="mean", values="relative_error")
                shown = np.log10(np.clip(errors.to_numpy(float), 1e-17, 1.0))
                positions = np.arange(len(errors.columns))
                image = panel.pcolormesh(
                    positions, errors.index, shown, norm=norm, cmap="viridis", shading="nearest", rasterized=True
                )
                panel.set_facecolor("0.85")
                panel.set_yscale("log")
                largest = np.nanmax(errors.to_numpy(float))
                title = {"textbook": "textbook form", "elutheory": "elutheory"}[form]
                worst = "≥ 1" if largest >= 1 else f"{largest:.0e}"
                symbol = {"mean": "E f", "variance": "Var f"}[moment]
                panel.set_title(f"({next(letters)}) {symbol}, {title}: largest {worst}")
                columns = errors.columns.to_numpy(float)
                ticks = [int(np.abs(columns - value).argmin()) for value in (-100, -0.1, -1e-4, 0, 1e-4, 0.1, 100)]
                panel.xaxis.set_major_locator(FixedLocator(ticks))
                labels = dict(zip(ticks, ("−100", "−0.1", "−10⁻⁴", "0", "10⁻⁴", "0.1", "100"), strict=True))
                panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _, labels=labels: labels.get(round(x), "")))
        for panel in panels[1]:
            panel.set_xlabel("mean μ of the net input")
        for panel in panels[:, 0]:
            panel.set_ylabel("standard deviation σ")
        bar = figure.colorbar(image, ax=panels, ticks=[-16, -12, -8, -4, 0], fraction=0.05)
        bar.ax.set_yticklabels(["10⁻¹⁶", "10⁻¹²", "10⁻⁸", "10⁻⁴", "≥ 1"])
        bar.set_label("relative error (grey: value below the normal doubles)")
    return figure


def summary(table: pandas.DataFrame) -> str:
    """Median and largest relative error of each moment and form; inf where the form gives no number."""
    errors = table.groupby(["moment", "form"])["relative_error"].agg(["median", "max"])
    return errors.to_string(float_format="%.1e")
