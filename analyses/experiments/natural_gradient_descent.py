"""How many steps does the unit natural gradient save on badly conditioned problems? Section B against tuned SGD.

Inputs have means far from zero and standard deviations over two decades; labels are drawn from a random classifier of
the standardised inputs. Every method's learning rate is tuned over one grid, seeds shared.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from typing import Annotated, Any, Literal

import numpy as np
import pandas
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from analyses.framework.settings import LearningRates, Positive, SeedCount
from analyses.framework.sweep import Sweep
from analyses.networks.training_cost import fisher_cost, parameters
from elutheory.activations import activation
from elutheory.fisher import UnitNaturalGradient
from elutheory.numerics.cost import Cost
from elutheory.output.domains import Real, Whole, check_domains
from elutheory.output.figures import looks_of, style


@dataclass(frozen=True)
class Config:
    """Full-batch training of a classifier on `examples` inputs of `features`, for `steps` steps a run."""

    features: Annotated[int, Whole(1, 10**5)] = 10
    classes: Annotated[int, Whole(2, 10**4)] = 3
    examples: Annotated[int, Whole(1, 10**7)] = 1000
    smallest_std: Positive = 0.01
    """Of the features; they form a geometric series."""
    largest_std: Positive = 1.0
    largest_mean: Annotated[float, Real(0.0)] = 3.0
    """In standard deviations: means are uniform up to this size, of either sign."""
    hidden: Annotated[int, Whole(1, 10**5)] = 8
    """Units in each of the network's two ELU layers."""
    damping: Annotated[float, Real(0.0)] = 1e-3
    """Relative, of the natural gradients."""
    seeds: SeedCount = 2
    steps: Annotated[int, Whole(1, 10**6)] = 300
    learning_rates: LearningRates = (0.01, 0.0316, 0.1, 0.316, 1.0, 3.16)
    """The grid over which every method is tuned."""


PRESETS = {
    "quick": Config(examples=300, steps=100, learning_rates=(0.1, 0.316, 1.0)),
    "paper": Config(seeds=5, steps=1500),
}
PROBLEMS = ("logistic regression", "network")
METHODS = ("SGD", "SGD, momentum 0.9", "centred under p", "unit natural gradient")
_RUNS = ["problem", "method", "learning_rate"]
_SEEDS = ["problem", "seed"]
_LOGGED = 1.1
"""Steps are recorded at about this ratio, and all up to 20."""


def make_problem(config: Config, problem: str, seed: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Model, inputs (examples, features) and labels (examples,) in float64."""
    generator = torch.Generator().manual_seed(seed)
    shape = (config.examples, config.features)
    standard = torch.randn(shape, generator=generator, dtype=torch.float64)
    weights = torch.randn(config.features, config.classes, generator=generator, dtype=torch.float64)
    labels = torch.multinomial((standard @ weights).softmax(1), 1, generator=generator)[:, 0]
    stds = np.geomspace(config.smallest_std, config.largest_std, config.features)
    means = (2 * torch.rand(config.features, generator=generator, dtype=torch.float64) - 1) * config.largest_mean
    inputs = torch.from_numpy(stds) * (means + standard)
    sizes = [config.features, *([config.hidden, config.hidden] if problem == "network" else []), config.classes]
    layers: list[nn.Module] = []
    for fan_in, units in pairwise(sizes):
        linear = nn.Linear(fan_in, units, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.normal_(generator=generator).mul_(fan_in**-0.5)
            linear.bias.zero_()
        layers += [linear, activation("elu").torch_module()]
    return nn.Sequential(*layers[:-1]), inputs, labels


def make_optimizer(config: Config, model: nn.Module, method: str, rate: float) -> torch.optim.Optimizer:
    """The optimizer of one of METHODS. The Fisher matrix is exact and, as batches are full, without memory."""
    if method == "SGD":
        return torch.optim.SGD(model.parameters(), rate)
    if method == "SGD, momentum 0.9":
        return torch.optim.SGD(model.parameters(), rate, momentum=0.9)
    centred: Literal["p", False] = "p" if method == "centred under p" else False
    options = {"decay": 0.0, "damping": config.damping, "max_kl": None}
    return UnitNaturalGradient(model, rate, kind="exact", centred=centred, **options)


@dataclass(frozen=True)
class Cell:
    """One run for each seed."""

    problem: str
    method: str
    learning_rate: float


def cells(config: Config) -> list[Cell]:
    """Every problem, method and learning rate. Raises InputError where nothing would be measured."""
    check_domains(config)
    return [Cell(*cell) for cell in product(PROBLEMS, METHODS, config.learning_rates)]


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """One row per seed and recorded step: loss in nats before the step, NaN from overflow on; `lowest`: the lowest loss
    up to that step, over all steps."""
    tables = []
    for seed in range(config.seeds):
        losses = _train(config, cell.problem, cell.method, cell.learning_rate, seed, device)
        table = pandas.DataFrame(losses, columns=["step", "loss"])
        table["lowest"] = table["loss"].cummin()
        table = table[table["step"].isin(_recorded(config.steps))]
        tables.append(table.assign(**asdict(cell), seed=seed))
    return pandas.concat(tables, ignore_index=True)


def cost(config: Config) -> Cost:
    """Of every run's steps; each is taken as one of the unit natural gradient of the network."""
    sizes = (config.features, config.hidden, config.hidden, config.classes, 1)  # all three layers have Fisher matrices
    runs = len(PROBLEMS) * len(METHODS) * len(config.learning_rates) * config.seeds
    step = fisher_cost(sizes, config.examples) + Cost(6.0 * parameters(sizes) * config.examples)
    return step * (runs * config.steps * 0.5)


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per problem, method, learning rate, seed and recorded step."""
    return sweep.table(measure_cell, config, cells(config))


def _recorded(steps: int) -> list[int]:
    grid = np.geomspace(20, steps, round(np.log(steps / 20) / np.log(_LOGGED)) + 1) if steps > 20 else []
    return sorted({*range(min(steps, 20) + 1), *np.round(grid).astype(int).tolist()})


def _train(
    config: Config, problem: str, method: str, rate: float, seed: int, device: str = "cpu"
) -> Iterator[tuple[int, float]]:
    model, inputs, labels = make_problem(config, problem, seed)
    model, inputs, labels = model.to(device), inputs.to(device), labels.to(device)
    optimizer = make_optimizer(config, model, method, rate)
    diverged = False
    for step in range(config.steps + 1):
        if diverged:
            yield step, np.nan
            continue
        optimizer.zero_grad()
        outputs = model(inputs) if _finite(model) else None
        loss = np.inf if outputs is None else nn.functional.cross_entropy(outputs, labels)
        diverged = not (isinstance(loss, Tensor) and loss.isfinite())
        yield step, np.nan if diverged else torch.as_tensor(loss).item()
        if isinstance(loss, Tensor) and not diverged:
            loss.backward()
            optimizer.step()


def _finite(model: nn.Module) -> bool:
    """Whether no parameter has left the range in which outputs stay finite."""
    return all(bool((parameter.abs() < 1e100).all()) for parameter in model.parameters())


def tuned(table: Any) -> Any:
    """The rows at each problem's and method's learning rate of lowest mean final loss; one that diverged has none."""
    last = table[table["step"] == table["step"].max()]
    final = last.groupby(_RUNS)["loss"].agg(lambda loss: loss.mean(skipna=False)).dropna().reset_index()
    best = final.sort_values("loss").drop_duplicates(["problem", "method"])
    return table.merge(best[_RUNS], on=_RUNS)


def steps_to_reach(table: Any) -> Any:
    """One row per problem, reference ("SGD" or with momentum, each tuned), method and seed.

    `target`: the lowest loss of the reference at that seed; `steps`: the first recorded step by which the method has
    reached it (NaN if never), at the method's learning rate with the lowest mean number of steps; `share`: `steps`
    over the reference's own at the learning rate that gave the target.
    """
    every = []
    for reference in METHODS[:2]:
        own = tuned(table[table["method"] == reference])
        targets = own.groupby(_SEEDS)["lowest"].min().rename("target").reset_index()
        reached = table.merge(targets, on=_SEEDS).query("lowest <= target")
        first = reached.groupby([*_RUNS, "seed"])["step"].min().rename("steps").reset_index()
        runs = table[[*_RUNS, "seed"]].drop_duplicates().merge(first, on=[*_RUNS, "seed"], how="left")
        mean = runs.groupby(_RUNS)["steps"].agg(lambda steps: steps.mean(skipna=False)).reset_index()
        best = mean.sort_values("steps").drop_duplicates(["problem", "method"])
        chosen = runs.merge(best[_RUNS], on=_RUNS).merge(targets, on=_SEEDS)
        reference_runs = runs.merge(own[_RUNS].drop_duplicates(), on=_RUNS).rename(columns={"steps": "reference_steps"})
        chosen = chosen.merge(reference_runs[[*_SEEDS, "reference_steps"]], on=_SEEDS)
        every.append(chosen.assign(reference=reference, share=chosen["steps"] / chosen["reference_steps"]))
    return pandas.concat(every, ignore_index=True)


def draw(table: pandas.DataFrame) -> Figure:
    """Lowest loss by step at each method's tuned learning rate: mean and range over seeds, a panel per problem.

    Methods have colours that no activation has: blue is ELU's in every figure.
    """
    chosen, reached = tuned(table), steps_to_reach(table)
    colours = {method: look.colour for method, look in looks_of(METHODS).items()}
    with style():
        figure = Figure(figsize=(7.0, 3.4), layout="constrained")
        panels: Any = figure.subplots(1, len(PROBLEMS), sharex=True)
        for letter, panel, problem in zip("ab", panels, PROBLEMS, strict=True):
            for method in METHODS:
                curves = chosen[(chosen["problem"] == problem) & (chosen["method"] == method)]
                losses = curves.pivot(index="step", columns="seed", values="lowest")
                steps = losses.index.to_numpy(float) + 1
                panel.plot(steps, losses.mean(axis=1), color=colours[method], label=method)
                lower, upper = losses.min(axis=1), losses.max(axis=1)
                panel.fill_between(steps, lower, upper, color=colours[method], alpha=0.2, linewidth=0)
            ours = reached[(reached["problem"] == problem) & (reached["method"] == METHODS[-1])]
            shares = [_mean_share(ours, reference) for reference in METHODS[:2]]
            note = f"unit natural gradient: {shares[0]}\nof SGD's steps to its lowest loss,\n{shares[1]} with momentum"
            panel.text(0.02, 0.02, note, transform=panel.transAxes, fontsize=8, color=colours[METHODS[-1]])
            panel.set_title(f"({letter}) {problem}")
            panel.set_xscale("log")
            panel.set_ylim(bottom=0.0)
            panel.set_xlabel("steps + 1")
        panels[0].set_ylabel("lowest loss so far (nats)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(METHODS), frameon=False, fontsize=8)
        seeds = chosen["seed"].nunique()
        figure.suptitle(f"each at its tuned rate: mean over {seeds} random problems, and their range", fontsize=8)
    return figure


def _mean_share(reached: Any, reference: str) -> str:
    share = reached.loc[reached["reference"] == reference, "share"].mean(skipna=False)
    return "never" if np.isnan(share) else f"{100 * share:.2g} %"


def summary(table: pandas.DataFrame) -> str:
    """Tuned final losses, and the steps to reach SGD's lowest loss; "NaN": never."""
    last = tuned(table).query("step == step.max()")
    losses = last.groupby(_RUNS)["loss"].mean().reset_index().to_string(index=False, float_format="%.4g")
    reached = steps_to_reach(table).groupby(["reference", *_RUNS])[["steps", "share"]].agg(["min", "mean", "max"])
    return f"{losses}\n{reached.to_string(float_format='%.3g')}"
