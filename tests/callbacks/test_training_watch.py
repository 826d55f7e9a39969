"""Watching a loop: numbers against a diagnosis and plain sums, its share of the time, records, resuming."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas
import pytest
import torch
from torch import Tensor, nn

import elutheory as et
from elutheory.callbacks import TrainingWatch
from elutheory.callbacks import training_watch as training_watch_module
from elutheory.callbacks.measured_layers import COLUMNS, bias_shift_shares, weights_by_unit
from elutheory.errors import InputError
from elutheory.models.layers import layers_of

NUMBERS = ["mean_share", "bias_shift_share", "s_times_c", "cosine"]


def made(*modules: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(modules or (nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)))).double()


def batch(number: int, *shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(number)
    inputs = torch.randn(shape or (30, 5), generator=generator, dtype=torch.float64) + 0.5
    return inputs, torch.randint(0, 3, (len(inputs),), generator=generator)


def train(model: nn.Module, watch: TrainingWatch, steps: range, **told: Any) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for number in steps:
        inputs, targets = batch(number)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
        watch.step(inputs, targets, **told)


def test_numbers_are_those_of_a_diagnosis() -> None:
    model = made(nn.Linear(5, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 3))
    watch = TrainingWatch(model, every=3, units=100, examples=100, damping=0.03)
    train(model, watch, range(2))
    assert watch.table.empty
    before = {name: weights_by_unit(layer).clone() for name, layer in layers_of(model).items()}  # pyright: ignore
    train(model, watch, range(2, 3), epoch=7)
    table = watch.table.set_index("layer")
    assert table["step"].tolist() == [3, 3]
    assert table["epoch"].tolist() == [7, 7]
    assert model.training
    found = et.diagnose(model.eval(), batch(2), units=100, damping=0.03).table.set_index("layer")
    for column in ("mean_share", "s_times_c", "cosine", "dead_units"):
        assert table[column].tolist() == pytest.approx(found[column].tolist(), rel=1e-9)
    incoming = batch(2)[0]
    for name, layer in (("0", model[0]), ("3", model[3])):
        after = torch.cat([layer.bias[:, None], layer.weight], 1).detach()
        change = after - before[name]
        effect = incoming @ change[:, 1:].T + change[:, 0]
        share = effect.mean(0).square() / effect.square().mean(0)
        assert table.loc[name, "bias_shift_share"] == pytest.approx(float(share.quantile(0.5)), rel=1e-9)
        incoming = model[:3](batch(2)[0]).detach()


def test_bias_shift_shares_are_between_none_and_all() -> None:
    points = torch.randn(50, 1, 4, dtype=torch.float64)
    points -= points.mean(0)
    weights = torch.randn(2, 4, dtype=torch.float64)
    change = torch.cat([torch.tensor([[0.0], [0.3]], dtype=torch.float64), weights], 1)
    change[1, 1:] = 0
    assert bias_shift_shares(points, change).tolist() == pytest.approx([0.0, 1.0], abs=1e-12)


@pytest.mark.parametrize(
    ("modules", "shape"),
    [
        ((nn.Conv2d(2, 4, 3, groups=2), nn.ELU(), nn.Flatten(), nn.Linear(16, 3)), (8, 2, 4, 4)),
        ((nn.ConvTranspose1d(2, 4, 3, groups=2), nn.Tanh(), nn.Flatten(), nn.Linear(24, 3)), (8, 2, 4)),
        ((nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)), (9, 5)),
    ],
)
def test_layers_of_other_kinds(modules: tuple[nn.Module, ...], shape: tuple[int, ...]) -> None:
    """The share of the shift against the layer's own outputs before and after, on the same inputs."""
    model = made(*modules)
    watch = TrainingWatch(model, every=1)
    inputs, targets = batch(0, *shape)
    first = model[0]
    before = first(inputs).detach()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    nn.functional.cross_entropy(model(inputs), targets).backward()
    optimizer.step()
    watch.step(inputs, targets)
    effect = (first(inputs).detach() - before).movedim(1, -1).flatten(0, -2)
    share = effect.mean(0).square() / effect.square().mean(0)
    assert watch.table["bias_shift_share"].iloc[0] == pytest.approx(float(share.quantile(0.5)), rel=1e-6)
    assert watch.table[NUMBERS].notna().all(axis=None)


def test_many_classes_are_sampled_and_targets_are_drawn() -> None:
    model = made(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 40))
    watch = TrainingWatch(model, every=1, units=2)
    watch.step(batch(0)[0])
    row = watch.table.iloc[1]
    assert row["measured_units"] <= 2
    assert pandas.isna(row["bias_shift_share"])  # no update was made


def test_the_model_is_left_as_it_was() -> None:
    model = made(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 3))
    inputs, targets = batch(0)
    nn.functional.cross_entropy(model(inputs), targets).backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]  # pyright: ignore
    state = {key: value.clone() for key, value in model.state_dict().items()}
    random = torch.get_rng_state()
    TrainingWatch(model, every=1).step(inputs, targets)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(torch.equal(a, b.grad) for a, b in zip(gradients, model.parameters(), strict=True))  # pyright: ignore
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_measuring_keeps_to_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that stands still but for what training and measuring take: 1 and 4 seconds."""
    clock = [0.0]
    monkeypatch.setattr(training_watch_module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    model = made()
    watch = TrainingWatch(model, share=0.1)
    original = watch._measure

    def measure(*arguments: Any) -> Any:
        clock[0] += 4.0
        return original(*arguments)

    monkeypatch.setattr(watch, "_measure", measure)
    measured = []
    for number in range(200):
        clock[0] += 1.0
        if watch.step(*batch(number)) is not None:
            measured.append(number)
    spent, trained = watch.seconds
    assert spent == 4.0 * len(measured)
    assert trained == 200.0
    assert spent <= 0.1 * trained
    assert measured == [0, 80, 120, 160]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_file_has_the_rows_and_a_training_resumes(tmp_path: Path, ending: str) -> None:
    if ending == ".parquet":
        pytest.importorskip("pyarrow")

    def read(path: Path) -> pandas.DataFrame:
        return pandas.read_csv(path, dtype={"layer": str}) if ending == ".csv" else pandas.read_parquet(path)

    path, whole = tmp_path / f"run{ending}", tmp_path / f"whole{ending}"
    model = made()
    uninterrupted = TrainingWatch(model, whole, every=2)
    train(model, uninterrupted, range(6))
    model = made()
    first = TrainingWatch(model, path, every=2)
    train(model, first, range(3))
    state, weights = first.state_dict(), {key: value.clone() for key, value in model.state_dict().items()}
    train(model, first, range(3, 5))  # lost: the training is interrupted and goes on from its state
    with pytest.raises(InputError, match="is there already; load the state of the training that wrote it"):
        train(model, TrainingWatch(model, path, every=2), range(1))
    resumed = made()
    resumed.load_state_dict(weights)
    second = TrainingWatch(resumed, path, every=2)
    second.load_state_dict(state)
    train(resumed, second, range(3, 6))
    pandas.testing.assert_frame_equal(read(path), read(whole))
    pandas.testing.assert_frame_equal(second.table, uninterrupted.table)
    assert list(read(path).columns) == list(COLUMNS)
    assert read(path)["step"].tolist() == [2, 2, 4, 4, 6, 6]


class Writer:
    """What TensorBoard's writer is called with."""

    def __init__(self) -> None:
        self.scalars: dict[tuple[str, int], float] = {}
        self.histograms: dict[tuple[str, int], Any] = {}

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self.scalars[tag, global_step] = scalar_value

    def add_histogram(self, tag: str, values: Any, global_step: int) -> None:
        self.histograms[tag, global_step] = values


def test_writers_and_functions_are_given_the_numbers() -> None:
    writer, told = Writer(), []
    model = made()
    watch = TrainingWatch(model, [writer, lambda numbers, step: told.append((step, numbers))], every=1, units=100)
    train(model, watch, range(1))
    row = watch.table.set_index("layer").loc["2"]
    assert writer.scalars["2/mean_share", 1] == row["mean_share"]
    assert float(writer.histograms["2/bias_shift_share by unit", 1].quantile(0.5)) == row["bias_shift_share"]
    assert told == [(1, {tag: value for (tag, _), value in writer.scalars.items()})]


def test_bad_options_are_refused(tmp_path: Path) -> None:
    model = made()
    for options, sentence in [
        ({"every": 0}, "every is 0"),
        ({"share": 0.0}, "share is 0.0; a share of the training time"),
        ({"damping": 0.0}, "damping is 0"),
        ({"layers": ["9"]}, "the model has no layer '9'"),
        ({"record": tmp_path / "run.txt"}, "has no known ending; .parquet and .csv files can be written"),
        ({"record": 3}, "a record is the path of a .parquet or .csv file"),
        ({"record": tmp_path / "nowhere" / "run.csv"}, "does not exist"),
    ]:
        with pytest.raises(InputError, match=sentence):
            TrainingWatch(model, **options)
    watch = TrainingWatch(model)
    with pytest.raises(InputError, match="the state is none that"):
        watch.load_state_dict({"steps": 3})
    (tmp_path / "run.csv").write_text("a,b\n1,2\n")
    watch = TrainingWatch(model, tmp_path / "run.csv")
    watch.load_state_dict(watch.state_dict() | {"steps": 3})
    with pytest.raises(InputError, match="is no file that a watch of training wrote"):
        watch.step(*batch(0))


def test_callbacks_without_their_library_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import elutheory.callbacks

    monkeypatch.setattr(elutheory.callbacks, "find_spec", lambda _: None)
    monkeypatch.delitem(sys.modules, "elutheory.callbacks.transformers_callback", raising=False)
    for name, extra in (("LightningWatch", "lightning"), ("TransformersWatch", "transformers")):
        with pytest.raises(
            ImportError, match=rf"{name} needs {extra}, which is not installed; pip install .elutheory\["
        ):
            getattr(elutheory.callbacks, name)
    with pytest.raises(AttributeError):
        _ = elutheory.callbacks.Nothing


def test_only_the_first_process_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made()
    monkeypatch.setattr(training_watch_module, "_is_first_process", lambda: False)
    watch = TrainingWatch(model, every=1)
    begin = time.perf_counter()
    train(model, watch, range(2))
    assert watch.table.empty
    assert watch.steps == 2
    assert watch.seconds[1] <= time.perf_counter() - begin
