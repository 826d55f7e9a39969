"""The report of `python -m elutheory.dynamics`: kernels, steps to a loss, who is faster and why."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy

from elutheory.dynamics.comparison import Comparison, Run, comparison
from elutheory.output.document import (
    STATEMENTS,
    Block,
    Document,
    Items,
    Paragraph,
    Table,
    json_number,
    json_text,
    shortened,
)

TEXT_WIDTH = 100
KERNELS = ("activation", "σ_w²", "σ_b²", "tr Θ/N", "λ_1 share", "1 share", "λ_2", "λ_10", "largest rate")
FACTORS = ("loss", "faster", "than", "times", "size", "mean", "shape", "at largest rates")
LEGEND = (
    "tr Θ/N, λ_k: the sum of the eigenvalues of the tangent kernel over the examples, and those in order (T1, T3)",
    "λ_1 share, 1 share: the share of the trace in the top eigenvector, and in the constant direction (T5)",
    "largest rate: 2/λ_1, the largest stable learning rate of squared error with full batches (T3)",
    "times: at this learning rate, the ratio of the steps = size × mean × shape: of the traces (T4), of what the top "
    "eigenvector leaves of them (T5), and of what is left: where the labels lie",
    "at largest rates: the same when each has the same fraction of its own largest rate, to first order in it (T4)",
)


@dataclass(frozen=True)
class Report:
    """What the command found; `levels`: losses that steps are counted to; `remarks`: what else to say."""

    title: str
    runs: tuple[Run, ...]
    levels: tuple[float, ...]
    steps: int
    remarks: tuple[str, ...]

    def comparisons(self) -> list[Comparison]:
        """The first activation with every other, and centred ones with what they are without, at levels both reach.

        At each level the faster of the two comes first; nothing is compared at a loss that holds before training.
        """
        plain = [one for one in self.runs if one.theta.origin is None]
        pairs = [(plain[0], other) for other in plain[1:]]
        pairs += [
            (one, other)
            for one in self.runs
            for other in plain
            if one.theta.origin is not None and one.theta.network == other.theta.network
        ]
        found = []
        for pair in pairs:
            for level in self.levels:
                faster, slower = sorted(pair, key=lambda one: one.prediction.steps_to(level))
                if faster.prediction.steps_to(level) > 0 and slower.prediction.steps_to(level) < math.inf:
                    found.append(comparison(faster, slower, level))
        return found


def render(report: Report, format: str) -> str:
    """The report as text, json, markdown, latex or html."""
    if format == "json":
        return json_text(_json(report))
    return Document(report.title, tuple(_blocks(report))).written(format, TEXT_WIDTH)


def _blocks(report: Report) -> Iterator[Block]:
    yield Table(KERNELS, [_kernel_row(one) for one in report.runs])
    yield Paragraph(f"Steps to a loss, predicted (–: not within {report.steps:,}):")
    yield Table(_step_headings(report), [_step_row(one, report.levels) for one in report.runs])
    comparisons = report.comparisons()
    if comparisons:
        last = {frozenset((found.faster, found.slower)): found for found in comparisons}  # of each pair, the lowest
        for found in last.values():
            yield Paragraph(_sentence(found))
        yield Table(FACTORS, [_factor_row(found) for found in comparisons])
    elif len(report.runs) > 1:
        yield Paragraph("No loss of --levels is reached by two within the steps; give more --steps.")
    yield Items((*LEGEND, STATEMENTS, *report.remarks))


def _kernel_row(one: Run) -> list[str]:
    network = one.theta.network
    eigenvalues, constant = (one.prediction.modes[name].to_numpy() for name in ("eigenvalue", "constant"))
    trace = float(eigenvalues.sum())
    shares = (float(eigenvalues[0]) / trace, float(numpy.sum(constant * eigenvalues)) / trace)
    return [
        one.name,
        *map(short, (network.weight_variance, network.bias_variance, trace)),
        *(f"{share:.3f}" for share in shares),
        *(short(float(eigenvalues[place])) if place < len(eigenvalues) else "–" for place in (1, 9)),
        short(one.prediction.largest_stable_rate),
    ]


def _step_headings(report: Report) -> list[str]:
    last = report.runs[0].prediction.table
    tested = ["test loss"] if "test_loss" in last else []
    finite = [f"loss at {report.steps:,}, finite"] if "finite_loss" in last else []
    return ["activation", *(f"{level:g}" for level in report.levels), f"loss at {report.steps:,}", *finite, *tested]


def _step_row(one: Run, levels: tuple[float, ...]) -> list[str]:
    table = one.prediction.table
    last = table.iloc[-1]
    cells = [_band(last, name) for name in ("loss", "finite_loss", "test_loss") if name in table]
    return [one.name, *(_steps(one.prediction.steps_to(level)) for level in levels), *cells]


def _band(row: Any, name: str) -> str:
    return f"{row[name]:.3g} ({row[f'{name}_low']:.3g}–{row[f'{name}_high']:.3g})"


def _steps(steps: float) -> str:
    return "–" if math.isinf(steps) else f"{steps:,.0f}"


def _factor_row(found: Comparison) -> list[str]:
    factors = (found.factor, found.size, found.mean, found.shape, found.at_largest_rate)
    return [f"{found.loss:g}", found.faster, found.slower, *map(short, factors)]


def _sentence(found: Comparison) -> str:
    """How much faster the one is, and what that is made of."""
    return (
        f"To a loss of {found.loss:g}, {found.faster} is {short(found.factor)} times as fast as {found.slower} at this "
        f"learning rate: × {short(found.size)} by the kernel's size, which a larger rate would do as well, "
        f"× {short(found.mean)} by what the mean leaves to other directions, × {short(found.shape)} by where the "
        f"labels lie. At the largest rate of each it is {short(found.at_largest_rate)} times as fast."
    )


def short(value: float) -> str:
    """Three digits."""
    return shortened(value + 0.0, ".4g", ".2e")


def _json(report: Report) -> dict[str, Any]:
    return {
        "format": "elutheory/dynamics",
        "version": 1,
        "title": report.title,
        "networks": [
            {
                "activation": one.name,
                "definition": str(one.theta.network.activation.expression),
                "widths": list(one.theta.network.widths),
                "features": one.theta.network.features,
                "weight_variance": one.theta.network.weight_variance,
                "bias_variance": one.theta.network.bias_variance,
                "centred": one.theta.origin is not None,
                "largest_stable_rate": json_number(one.prediction.largest_stable_rate),
                "eigenvalues": [json_number(float(value)) for value in one.prediction.modes["eigenvalue"]],
                "steps_to": {f"{level:g}": json_number(one.prediction.steps_to(level)) for level in report.levels},
                "steps": [
                    {str(key): json_number(value) for key, value in row.items()}
                    for row in one.prediction.table.to_dict("records")
                ],
            }
            for one in report.runs
        ],
        "comparisons": [
            {key: value if isinstance(value, str) else json_number(value) for key, value in asdict(found).items()}
            | {"shape": json_number(found.shape)}
            for found in report.comparisons()
        ],
    }
