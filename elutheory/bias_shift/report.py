"""The report of `python -m elutheory.bias_shift`: derivations and measurements as text, JSON, Markdown, LaTeX, HTML."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.printing import statement_latex, statement_text
from elutheory.derivations.proof.steps import VerifiedStep
from elutheory.output.document import (
    STATEMENTS,
    Block,
    Definitions,
    Document,
    Heading,
    Items,
    Paragraph,
    Section,
    Table,
    Verdict,
    json_text,
    power_of_ten,
    shortened,
)
from elutheory.output.latex import NO_BREAK

if TYPE_CHECKING:
    from elutheory.bias_shift.digits import DigitsExperiment, NetworkRecord
    from elutheory.fisher.theorem_checks import LayerRecord

TEXT_WIDTH = 80
JSON_FORMAT = "elutheory/bias-shift"
JSON_VERSION = 1

# (heading, meaning); the meanings are printed below the first table.
COLUMNS = (
    ("layer", "number of the layer, 1 = first hidden layer"),
    ("E_p a", "mean activation E_p[a] over the data, averaged over the incoming units"),
    ("E_q a", "the same under q(z) = δ² p(z) / E_p[δ²] (F2)"),
    ("s·c", "1 + E_q[a]ᵀ Var_q(a)⁻¹ E_q[a] (Theorem 1); 1 would mean no correction"),
    ("k", "multiplicative correction of the bias (Theorem 2)"),
    ("shift₀", "bias shift E_p[a]·Δw + Δw₀ without the coupling b, net-input units"),
    ("shift", "bias shift of the unit natural gradient (Theorem 2)"),
    ("cos", "cosine between gradient and unit natural gradient"),
    ("rank", "rank of the unit Fisher matrices, smallest–largest"),
    ("cond", "condition number of F, on its range if singular"),
    ("dev", "largest relative deviation between direct solve, Theorem 1 and Theorem 2"),
)


HEADINGS = tuple(heading for heading, _ in COLUMNS)
TITLE = "Theorems 1 and 2 of arXiv 1511.07289"


@dataclass(frozen=True)
class Experiment:
    """The settings, and one record per trained network."""

    settings: "DigitsExperiment"
    networks: "tuple[NetworkRecord, ...]"


@dataclass(frozen=True)
class Report:
    """What was derived and, unless only symbols were asked for, what was measured."""

    derivations: tuple[Derivation, ...]
    verified: tuple[tuple[VerifiedStep, ...], ...]
    experiment: Experiment | None

    @property
    def passed(self) -> bool:
        """Every deviation of every layer is below its bound (the derivations were verified to get here)."""
        networks = self.experiment.networks if self.experiment else ()
        return all(layer.passed for network in networks for layer in network.layers)


def render(report: Report, format: str) -> str:
    """The report in one of the formats text, json, markdown, latex, html."""
    if format == "json":
        return json_text(_json(report))
    return Document(TITLE, tuple(_blocks(report)), is_collection=True).written(format, TEXT_WIDTH)


def _number(value: float | None, mark: str = "") -> str:
    """Two significant digits, at most seven characters before the mark; a dash where there is no number."""
    if value is None:
        return "–"
    plain = ".0f" if abs(value) >= 100 else ".2g"
    return shortened(value, plain, ".1e", between=(1e-2, 1e3)) + mark


def _one_digit(value: float | None, mark: str) -> str:
    """One significant digit, such as 3e-11; a dash where there is no number."""
    return "–" if value is None else power_of_ten(value, ".0e") + mark


def _row(layer: "LayerRecord") -> list[str]:
    mark = "*" if "on the range" in layer.solutions else "†" if layer.damping else ""
    return [
        layer.layer,
        _number(layer.mean_under_p),
        _number(layer.mean_under_q),
        *(_number(value, mark) for value in (layer.s_times_c, layer.k, layer.shift_without, layer.shift_with)),
        _number(layer.cosine, mark),
        _ranks(layer),
        _one_digit(layer.condition_number_largest, mark),
        _one_digit(layer.largest_deviation, mark),
    ]


def _ranks(layer: "LayerRecord") -> str:
    smallest, largest = layer.rank_smallest, layer.rank_largest
    return str(smallest) if smallest == largest else f"{smallest}–{largest}"


def _notes(layer: "LayerRecord") -> list[str]:
    """What has to be said of a layer: how it was solved, and whether its deviations are below their bounds."""
    counts = dict(layer.solutions)
    full = f"{layer.units} units, F is {layer.coordinates} × {layer.coordinates}"
    notes = []
    if on_range := counts.get("on the range"):
        notes.append(
            f"layer {layer.layer} ({full}): F is singular for {layer.singular_units} units (rank {_ranks(layer)}); "
            f"* = {on_range} of them solved on the range of F (pseudo-inverse)"
        )
    elif damped := counts.get("damped"):
        notes.append(f"layer {layer.layer} ({full}): † = solved with damping, F + {layer.damping:g} I ({damped} units)")
    else:
        notes.append(f"layer {layer.layer} ({full}): solved directly for {counts.get('direct', 0)} units")
    if dead := counts.get("dead"):
        notes.append(f"layer {layer.layer}: {_units(dead)} dead (F = 0), not solved")
    if dependent := counts.get("bias dependent"):
        notes.append(f"layer {layer.layer}: {_units(dependent)} without an identifiable bias (s infinite), not solved")
    if layer.largest_deviation is None or layer.share_of_bound is None:
        notes.append(f"✗ layer {layer.layer}: no unit could be solved, nothing was checked")
    else:
        sign, relation = ("✓", "below") if layer.passed else ("✗", "NOT below")
        share = _one_digit(layer.share_of_bound, "")
        notes.append(f"{sign} layer {layer.layer}: every deviation is {relation} its bound (at most {share} of it)")
    return notes


def _units(count: int) -> str:
    return "1 unit" if count == 1 else f"{count} units"


def _introduction(experiment: Experiment) -> str:
    settings = experiment.settings
    return (
        "Measured on 1,797 handwritten digits (scikit-learn), networks "
        f"{'-'.join(map(str, settings.widths))}, {settings.epochs} epochs of stochastic gradient descent, seed "
        f"{settings.seed}, float64. Exact unit Fisher matrices: the expectation over the ten labels is taken "
        "analytically. Every number is the median over the units of a layer, except rank, cond (largest) and dev "
        "(largest)."
    )


BOUND = "bound on every deviation: 1e-8, times cond/1e6 where cond exceeds 1e6"


def _network_title(network: "NetworkRecord") -> str:
    return (
        f"{network.activation}: training loss {network.training_loss:.3g} nats, "
        f"accuracy {100 * network.training_accuracy:.1f} %"
    )


@dataclass(frozen=True)
class _Derived(Block):
    """A derivation with its steps, verified."""

    derivation: Derivation

    def text(self, width: int) -> str:
        """Aligned lines."""
        return self.derivation.to_text(width).rstrip("\n")

    def markdown(self) -> str:
        """A heading, and a list of steps."""
        return self.derivation.to_markdown().rstrip("\n")

    def latex(self) -> str:
        """A subsection, and an empty line."""
        return self.derivation.to_latex()

    def html(self) -> str:
        """A section, and an empty line."""
        return self.derivation.to_html()


def _blocks(report: Report) -> Iterator[Block]:
    yield from map(_Derived, report.derivations)
    if report.experiment:
        yield Section("Measured", tuple(_measured(report.experiment)))
    yield Paragraph(STATEMENTS)
    yield Verdict(_verdict(report))


def _measured(experiment: Experiment) -> Iterator[Block]:
    yield Paragraph(_introduction(experiment))
    for network in experiment.networks:
        yield Heading(_network_title(network), 3)
        yield Table(HEADINGS, [_row(layer) for layer in network.layers])
        yield Items([note for layer in network.layers for note in _notes(layer)], hanging=4)
    yield Definitions(COLUMNS, BOUND)


def _verdict(report: Report) -> str:
    steps = sum(map(len, report.verified))
    derivations = "1 derivation" if len(report.derivations) == 1 else f"{len(report.derivations)} derivations"
    words = f"{steps} steps of {derivations} verified"
    if report.experiment:
        layers = [layer for network in report.experiment.networks for layer in network.layers]
        passed = sum(layer.passed for layer in layers)
        words += f"; {passed} of {len(layers)} layers agree within their bounds"
    return f"{'✓' if report.passed else '✗'} {words}."


def _json(report: Report) -> dict[str, Any]:
    """See `elutheory/bias_shift.schema.json` for the shape."""
    return {
        "format": JSON_FORMAT,
        "version": JSON_VERSION,
        "passed": report.passed,
        "derivations": [
            {
                "identifier": derivation.identifier,
                "title": derivation.title,
                "number": derivation.number,
                "source": derivation.source,
                "assumptions": [assumption.meaning for assumption in derivation.assumptions],
                "steps": [_json_step(step) for step in steps],
            }
            for derivation, steps in zip(report.derivations, report.verified, strict=True)
        ],
        "experiment": _json_experiment(report.experiment) if report.experiment else None,
    }


def _json_step(verified: VerifiedStep) -> dict[str, Any]:
    return {
        "name": verified.step.name,
        "statement": statement_text(verified.step.statement).replace(NO_BREAK, " "),
        "latex": statement_latex(verified.step.statement),
        "reason": verified.step.reason,
        "proved": verified.proved,
        "checks": list(verified.scopes),
    }


def _json_experiment(experiment: Experiment) -> dict[str, Any]:
    networks = [asdict(network) for network in experiment.networks]
    return {"data": "scikit-learn digits", "settings": asdict(experiment.settings), "networks": networks}
