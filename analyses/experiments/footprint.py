"""Operations, bytes and time of ELUs against batch normalisation, and the mean activations that each gives (E10).

Networks of E2 (fully connected) and E4 (11 convolutions) with ReLUs and ELUs, each without and with batch normalisation
before the activation. Work by formulas (`analyses.experiments.operation_counts`) beside torch's counts
(`analyses.experiments.torch_counts`);
times of training steps, of evaluation, and of each hidden layer's normalisation and activation alone on N(0, 1) net
inputs, all four taking turns in one run. All is measured in one cell, so that nothing runs beside a timing, and on one
thread unless told otherwise: several wait for each other wherever another process takes one of their cores. In
evaluation batch normalisation is timed as it stands; folded into the weights before it, it costs nothing. Mean
activations are those at initialisation over one batch of the data's images, enlarged to the network's size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isnan, log, nan
from typing import Any

import numpy as np
import pandas
import torch
from matplotlib.figure import Figure
from torch import Tensor

from analyses.data import datasets
from analyses.experiments.batch_statistics import batch_dependence, one_example, unit_means
from analyses.experiments.interleaved_seconds import interleaved_seconds, layer_seconds, step_seconds, torch_threads
from analyses.experiments.normalised_networks import ARCHITECTURES, VARIANTS, Architecture, hidden_layers
from analyses.experiments.operation_counts import PARTS, Work, network_work, update_work
from analyses.experiments.torch_counts import torch_counts
from analyses.framework.claims import Claim, Decision, decide, hodges_lehmann
from analyses.framework.sweep import Sweep
from elutheory.errors import InputError
from elutheory.output.figures import label_of


@dataclass(frozen=True)
class Config:
    """What is measured of each network, without and with batch normalisation."""

    data: str = "digits"
    """digits, the path of a data set, or huggingface:NAME."""
    networks: tuple[str, ...] = ("fully_connected", "convolutional")
    """fully_connected (E2), convolutional (E4)."""
    batch_size: int = 64
    """Examples a step of the fully connected network."""
    convolutional_batch_size: int = 100
    """Examples a step of the convolutional one."""
    repetitions: int = 20
    """Turns in which every variant is timed."""
    shortest: float = 0.02
    """Least seconds of a turn, by more steps in a row."""
    measured: int = 100
    """Examples over which mean activations are taken, one batch."""
    seeds: int = 20
    """Sets of initial weights for the mean activations."""
    threads: int = 1
    """Of torch, on the CPU."""


PRESETS = {
    "quick": Config(convolutional_batch_size=4, repetitions=10, shortest=0.005, measured=16, seeds=10),
    "paper": Config(),
}

EXPONENTIAL_COSTS = (1, 21)
"""Operations that an exponential counts: as any other, and written out in float32, by reduction of the range in two
parts (6), a polynomial of degree 7 (14) and scaling (1)."""
FIVE_PER_CENT = log(1.05)
NORMALISED = "relu_batch_norm"
NAMES = {name: label_of(function) + " + batch norm" * norm for name, (function, norm) in VARIANTS.items()}
STEP = ("forward", "backward", "update")
_LEVEL = 0.05
_RATE = 1e-6  # so small that all steps time the network as it was initialised

COLUMNS = {
    "network": "fully_connected (E2) or convolutional (E4)",
    "variant": "activation, and batch normalisation if there is",
    "quantity": "seconds; operations (without exponentials), exponentials, bytes: by formulas; torch_operations (of "
    "products), torch_bytes, kept_bytes (held for backward): as torch counts them; parameters, buffers: how many "
    "numbers; unit_mean_median: over all hidden units; mean_share: Σ unit mean² / Σ unit second moment, mean over "
    "hidden layers; predicted_mean: E f(X), X ~ N(0, 1); batch_dependence: |change of an example's outputs|/|outputs| "
    "with other examples beside it; one_example: 1 where a step on one example can be taken, 0 where it is refused",
    "part": "forward, backward and update of a training step, or evaluation",
    "layer": "0: the whole network; otherwise the normalisation and activation of that hidden layer alone",
    "layers": "hidden layers of the same shape, for which the row stands",
    "seed": "repetition of the timing, or seed of the initial weights",
    "value": "of the quantity",
    "reason": "of the refusal",
    "data": "name of the data set",
    "batch_size": "examples a step",
    "measured": "examples of the mean activations",
    "device": "where it was timed",
    "threads": "of torch, on the CPU",
}


@dataclass(frozen=True)
class Cell:
    """All networks, one after the other."""

    networks: tuple[str, ...]


def cells(config: Config) -> list[Cell]:
    """One. Raises InputError on unknown networks and on sizes that are too small."""
    if not config.networks or len(set(config.networks)) < len(config.networks):
        raise InputError(f"networks are {', '.join(config.networks) or 'none'}; give each once, and one at least.")
    for name in config.networks:
        if name not in ARCHITECTURES:
            raise InputError(f"there is no network {name}; there are {', '.join(ARCHITECTURES)}.")
    for name in ("batch_size", "convolutional_batch_size", "measured"):
        if getattr(config, name) < 2:
            raise InputError(f"{name} is {getattr(config, name)}; batch normalisation needs 2 or more.")
    for name in ("repetitions", "seeds", "threads"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} is {getattr(config, name)}; give 1 or more.")
    if not 0 <= config.shortest < inf:
        raise InputError(f"shortest is {config.shortest}; a number of seconds, 0 or more, is needed.")
    return [Cell(config.networks)]


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """COLUMNS says what a row holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of all networks."""
    with torch_threads(config.threads):
        tables = [_network_rows(config, ARCHITECTURES[name], device).assign(network=name) for name in cell.networks]
    table = pandas.concat(tables, ignore_index=True).reindex(columns=list(COLUMNS))
    table = table.assign(data=datasets.load(config.data).name, measured=config.measured)
    table = table.assign(device=device, threads=config.threads).fillna({"layer": 0, "layers": 1})
    return table.astype({"layer": int, "layers": int})


def _network_rows(config: Config, architecture: Architecture, device: str) -> pandas.DataFrame:
    size = config.convolutional_batch_size if architecture.convolutional else config.batch_size
    needed, held = max(2 * size, config.measured), len(datasets.load(config.data).train)
    if held < needed:
        raise InputError(
            f"{config.data} has {held} training images; batches of {size} need {2 * size}, and mean activations "
            f"{config.measured}."
        )
    images = architecture.images(config.data, needed).to(device)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = [
            counts(architecture, (size, *images.shape[1:])),
            times(config, architecture, images[:size]),
            unit_means(architecture, images[: config.measured], config.seeds),
            batch_dependence(architecture, images[: 2 * size]),
            one_example(architecture, images[0]),
        ]
    return pandas.concat(found, ignore_index=True).assign(batch_size=size)


def counts(architecture: Architecture, shape: Sequence[int]) -> pandas.DataFrame:
    """Work by formulas, torch's counts, parameters and buffers of every variant for inputs of this shape."""
    tables = []
    for variant in VARIANTS:
        network = architecture.shapes(variant)
        layers = [work for _, work in network_work(network, torch.Size(shape))]
        parameters = sum(parameter.numel() for parameter in network.parameters())
        rows = _work_rows(layers) + _quantities("update", update_work(parameters, momentum=architecture.momentum))
        for hidden in hidden_layers(network, shape):
            alone = _work_rows(layers[hidden.place])
            rows += [row | {"layer": hidden.number, "layers": hidden.layers} for row in alone]
        counted = torch_counts(network, torch.empty(*shape, device="meta"))
        for quantity, by_part in (("torch_operations", counted.operations), ("torch_bytes", counted.bytes)):
            rows += [{"quantity": quantity, "part": part, "value": value} for part, value in by_part.items()]
        buffers = sum(buffer.numel() for buffer in network.buffers())
        held = {"kept_bytes": counted.kept_bytes, "parameters": parameters, "buffers": buffers}
        rows += [{"quantity": quantity, "value": value} for quantity, value in held.items()]
        tables.append(pandas.DataFrame(rows).assign(variant=variant))
    return pandas.concat(tables, ignore_index=True)


def _work_rows(layers: Sequence[Mapping[str, Work]]) -> list[dict[str, Any]]:
    return [row for part in PARTS for row in _quantities(part, sum((work[part] for work in layers), Work()))]


def _quantities(part: str, work: Work) -> list[dict[str, Any]]:
    names = ("operations", "exponentials", "bytes")
    return [{"quantity": quantity, "part": part, "value": getattr(work, quantity)} for quantity in names]


def times(config: Config, architecture: Architecture, images: Tensor) -> pandas.DataFrame:
    """Seconds of every part of the whole networks on these images, and of their hidden layers on N(0, 1) net inputs."""
    networks = {variant: architecture.network(variant, 0).to(images.device) for variant in VARIANTS}
    momentum, penalty = (0.9, 0.0005) if architecture.momentum else (0.0, 0.0)
    optimisers = {
        name: torch.optim.SGD(found.parameters(), lr=_RATE, momentum=momentum, weight_decay=penalty)
        for name, found in networks.items()
    }
    targets = torch.arange(len(images), device=images.device) % 10
    steps = {name: step_seconds(found, optimisers[name], images, targets) for name, found in networks.items()}
    tables = [interleaved_seconds(steps, config.repetitions, config.shortest)]
    hidden = {name: hidden_layers(architecture.shapes(name), images.shape) for name in VARIANTS}
    for of_layer in zip(*hidden.values(), strict=True):
        first = of_layer[0]
        net_inputs = torch.randn(first.shape, device=images.device)
        layers = {
            name: layer_seconds(networks[name][found.place], net_inputs)
            for name, found in zip(hidden, of_layer, strict=True)
        }
        seconds = interleaved_seconds(layers, config.repetitions, config.shortest)
        tables.append(seconds.assign(layer=first.number, layers=first.layers))
    return pandas.concat(tables, ignore_index=True).assign(quantity="seconds")


# --- verdicts -------------------------------------------------------------------------------------------------------


def claims(networks: Sequence[str]) -> list[Claim]:
    """Those of times and means, decided over repetitions and seeds. Fixed before anything was timed or averaged."""
    normalised = "with batch normalisation and ReLUs"
    step, layer, ln_step = "a training step takes", "the hidden layers' activations alone take", "ln seconds of a step"
    stated = [
        ("step time", NORMALISED, f"{step} less time with ELUs than {normalised}", ln_step),
        (
            "layer time",
            NORMALISED,
            f"{layer} less time with ELUs than {normalised}",
            "ln seconds, forward and backward",
        ),
        (
            "five per cent",
            "relu",
            f"{step} at most 5 % longer with ELUs than with ReLUs",
            f"{ln_step}, tested against {FIVE_PER_CENT:.3f}",
        ),
    ]
    median, share = "|median unit mean| at initialisation", "Σ unit mean² / Σ unit second moment at initialisation"
    for rival, words in (("relu", "with ReLUs"), (NORMALISED, normalised)):
        stated += [
            (f"median mean, {rival}", rival, f"the median unit mean is nearer zero with ELUs than {words}", median),
            (
                f"mean share, {rival}",
                rival,
                f"unit means have a smaller share of the second moment with ELUs than {words}",
                share,
            ),
        ]
    return [
        Claim(
            f"{subject}: {ARCHITECTURES[name].identifier}",
            f"{ARCHITECTURES[name].identifier}: {sentence}.",
            f"{NAMES['elu']} − {NAMES[rival]}",
            statistic,
            "less",
            _LEVEL,
        )
        for name in networks
        for subject, rival, sentence, statistic in stated
    ]


def decisions(table: Any) -> list[Decision]:
    """The verdicts of `claims`, and those of `counted_decisions`."""
    networks = table["network"].unique().tolist()
    values: dict[str, Any] = {}
    for name in networks:
        rows = table[table["network"] == name]
        steps, layers = (np.log(seconds) for seconds in (step_seconds_of(rows), layer_seconds_of(rows)))
        means = {quantity: pivoted(rows, quantity).abs() for quantity in ("unit_mean_median", "mean_share")}
        found = {
            "step time": steps["elu"] - steps[NORMALISED],
            "layer time": layers["elu"] - layers[NORMALISED],
            "five per cent": steps["elu"] - steps["relu"] - FIVE_PER_CENT,
        }
        for rival in ("relu", NORMALISED):
            found[f"median mean, {rival}"] = means["unit_mean_median"]["elu"] - means["unit_mean_median"][rival]
            found[f"mean share, {rival}"] = means["mean_share"]["elu"] - means["mean_share"][rival]
        values |= {f"{subject}: {ARCHITECTURES[name].identifier}": found[subject].to_numpy() for subject in found}
    decided = [
        replace(one, effect=one.effect + FIVE_PER_CENT, low=one.low + FIVE_PER_CENT, high=one.high + FIVE_PER_CENT)
        if one.claim.identifier.startswith("five per cent")
        else one
        for one in decide(claims(networks), values)
    ]
    return decided + [one for name in networks for one in counted_decisions(table[table["network"] == name])]


def counted_decisions(rows: Any) -> list[Decision]:
    """Of one network's training step, with ELUs and with batch normalisation and ReLUs: counts, not samples.

    "holds" where ELU's is the smaller, "does not hold" otherwise; n = 1, and there is no p. The formulas, and so the
    outcome, were known when these were stated.
    """
    identifier = ARCHITECTURES[rows["network"].iloc[0]].identifier
    arithmetic, exponentials, moved = (_of_step(rows, name) for name in ("operations", "exponentials", "bytes"))
    compared = {
        f"operations, exp {cost}": (arithmetic + cost * exponentials, f"operations, an exponential counted as {cost}")
        for cost in EXPONENTIAL_COSTS
    }
    compared["bytes"] = (moved, "bytes that unfused kernels read and write")
    compared["kept bytes"] = (_single(rows, "kept_bytes"), "bytes that forward keeps for backward")
    decided = []
    for subject, (found, described) in compared.items():
        effect = log(found["elu"] / found[NORMALISED])
        claim = Claim(
            f"{subject}: {identifier}",
            f"{identifier}: a training step has fewer {described}, with ELUs than with batch normalisation and ReLUs.",
            f"{NAMES['elu']} − {NAMES[NORMALISED]}",
            "ln of the count, exact",
            "less",
            _LEVEL,
        )
        verdict = "holds" if effect < 0 else "does not hold"
        decided.append(Decision(claim, 1, effect, effect, effect, nan, nan, verdict))
    return decided


def break_even(rows: Any) -> float:
    """Operations that an exponential may count for ELU's step to have as many as that of normalised ReLUs."""
    arithmetic, exponentials = _of_step(rows, "operations"), _of_step(rows, "exponentials")
    return (arithmetic[NORMALISED] - arithmetic["elu"]) / (exponentials["elu"] - exponentials[NORMALISED])


def pivoted(rows: Any, quantity: str, parts: Sequence[str] = (), *, layer: int | None = 0) -> Any:
    """Sums over the parts, seeds down, variants across; `layer` None: of all hidden layers together."""
    found = rows[(rows["quantity"] == quantity) & (rows["part"].isin(parts) if parts else True)]
    found = found[found["layer"] == layer] if layer is not None else found[found["layer"] > 0]
    found = found.assign(value=found["value"] * found["layers"])
    return found.groupby(["seed", "variant"], dropna=False)["value"].sum().unstack()


def step_seconds_of(rows: Any) -> Any:
    """Of whole training steps, repetitions down, variants across."""
    return pivoted(rows, "seconds", STEP)


def layer_seconds_of(rows: Any) -> Any:
    """Forward and backward of all hidden layers' normalisations and activations alone, likewise."""
    return pivoted(rows, "seconds", STEP, layer=None)


def _of_step(rows: Any, quantity: str) -> Any:
    return pivoted(rows, quantity, STEP).iloc[0]


def _single(rows: Any, quantity: str) -> Any:
    return pivoted(rows, quantity).iloc[0]


# --- in words and in the figure -------------------------------------------------------------------------------------


def ratios(rows: Any) -> pandas.DataFrame:
    """Ratios to ReLU, each with low and high: by `what`, variant and scope (step: whole network; layers: hidden alone).

    Times: Hodges–Lehmann of ln over the repetitions, interval of 95 %; counts are exact.
    """
    found = []
    for scope, layer in (("step", 0), ("layers", None)):
        measured = {
            **{f"time, {part}": pivoted(rows, "seconds", [part], layer=layer) for part in ("forward", "backward")},
            "time, training": pivoted(rows, "seconds", STEP, layer=layer),
            "time, evaluation": pivoted(rows, "seconds", ["evaluation"], layer=layer),
        }
        arithmetic, exponentials, moved = (
            pivoted(rows, name, STEP, layer=layer) for name in ("operations", "exponentials", "bytes")
        )
        counted = {f"operations, exp {cost}": arithmetic + cost * exponentials for cost in EXPONENTIAL_COSTS}
        counted["bytes moved"] = moved
        if scope == "step":
            counted["bytes kept"] = pivoted(rows, "kept_bytes")
            counted["parameters, state"] = pivoted(rows, "parameters") + pivoted(rows, "buffers")
        for what, values in {**counted, **measured}.items():
            for variant in values.columns:
                middle, low, high = hodges_lehmann(np.log(values[variant] / values["relu"]), 0.05)
                low, high = (middle, middle) if what in counted else (low, high)
                found.append((scope, what, variant, *np.exp([middle, low, high])))
    return pandas.DataFrame(found, columns=["scope", "what", "variant", "ratio", "low", "high"])


def summary(table: Any) -> str:
    """Ratios, times, counts two ways, mean activations, what batch normalisation asks of a batch, and the verdicts."""
    lines = [setting(table)]
    for name, rows in table.groupby("network", sort=False):
        lines += ["", *_network_summary(str(name), rows)]
    return "\n".join([*lines, "", *map(_in_words, decisions(table))])


def _in_words(decision: Decision) -> str:
    """Of a count, which is no sample, without interval and p."""
    if not isnan(decision.p):
        return str(decision)
    claim = decision.claim
    return f"{decision.verdict}: {claim.sentence} {claim.compared}, {claim.statistic}: {decision.effect:+.3g}"


def _network_summary(name: str, rows: Any) -> list[str]:
    found = ratios(rows).pivot(index=["scope", "what"], columns="variant", values="ratio")[list(VARIANTS)]
    seconds = 1000 * step_seconds_of(rows).median()[list(VARIANTS)]
    means = {quantity: pivoted(rows, quantity).mean() for quantity in ("unit_mean_median", "mean_share")}
    means["predicted_mean"] = pivoted(rows, "predicted_mean").iloc[0]
    depends = {part: pivoted(rows, "batch_dependence", [part]).iloc[0] for part in ("forward", "evaluation")}
    counted = {
        f"{quantity}, {part}": pivoted(rows, quantity, [part]).iloc[0]
        for quantity in ("operations", "torch_operations", "bytes", "torch_bytes")
        for part in ("forward", "backward")
    }
    held = {quantity: pivoted(rows, quantity).iloc[0] for quantity in ("parameters", "buffers", "kept_bytes")}
    return [
        f"{name} ({ARCHITECTURES[name].identifier}), batches of {rows['batch_size'].iloc[0]}",
        f"milliseconds a step, median: {', '.join(f'{NAMES[one]} {value:.4g}' for one, value in seconds.items())}",
        "ratios to ReLU (step: the whole network; layers: normalisations and activations of the hidden layers alone)",
        found.to_string(float_format="%.4f"),
        f"an exponential may count {break_even(rows):.3g} operations for ELU to have as few as batch norm and ReLU",
        "counts by formulas and by torch, which counts products' operations only and each operand once a kernel",
        pandas.DataFrame({**counted, **held}).T[list(VARIANTS)].to_string(float_format="%.6g"),
        "mean activations at initialisation, means over seeds; predicted with batch normalisation",
        pandas.DataFrame(means).T[list(VARIANTS)].to_string(float_format="%.4f"),
        "relative change of an example's outputs with other examples beside it: in training mode, in evaluation",
        pandas.DataFrame(depends).T[list(VARIANTS)].to_string(float_format="%.2g"),
        *_refusals(rows),
    ]


def _refusals(rows: Any) -> list[str]:
    """Which variants take no step on one example, and which hidden layers refuse it."""
    lines = []
    for variant, found in rows[rows["quantity"] == "one_example"].groupby("variant", sort=False):
        layers = found[found["layer"] > 0]
        refusing = int(layers.loc[layers["value"] == 0, "layers"].sum())
        reason = found.loc[found["layer"] == 0, "reason"].iloc[0]
        told = f'refused ("{reason}")' if isinstance(reason, str) and reason else "taken"
        total = layers["layers"].sum()
        lines.append(
            f"a step on one example, {NAMES[str(variant)]}: {told}; {refusing} of {total} hidden layers refuse it"
        )
    return lines


def setting(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row = table.iloc[0]
    turns, seeds = (table.loc[table["quantity"] == name, "seed"].nunique() for name in ("seconds", "mean_share"))
    return (
        f"{turns} turns on {row['device']}, threads: {row['threads']}; mean activations over {row['measured']} images "
        f"of {row['data']}, {seeds} seeds"
    )


def draw(table: Any) -> Figure:
    """See `analyses.experiments.footprint_figure`."""
    from analyses.experiments.footprint_figure import footprint_figure

    return footprint_figure(table)
