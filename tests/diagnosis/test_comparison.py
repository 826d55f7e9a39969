"""`compare` of diagnoses, layer statistics and Fisher matrices; results in notebooks; figures whose labels differ."""

import itertools
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
import torch
from torch import nn

import elutheory as et
from elutheory.errors import InputError
from elutheory.output.figures import figure_bytes
from elutheory.output.layer_figure import Panel, Points, figure_by_layer
from elutheory.output.short_labels import LONGEST_LABEL, short_labels

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def model(shift: float = 0.0, width: int = 6) -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3)).double().eval()
    with torch.no_grad():
        made[0].bias += shift
    return made


@pytest.fixture(scope="module")
def pairs() -> dict[str, tuple[Any, Any]]:
    before, after = model(), model(0.7)
    return {
        "Diagnosis": tuple(et.diagnose(one, X, units=3) for one in (before, after)),
        "LayerStatistics": tuple(et.layer_statistics(one, X, quantiles=(0.5,)) for one in (before, after)),
        "UnitFisher": tuple(et.unit_fisher(one, X, layer="2") for one in (before, after)),
    }  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("kind", ["Diagnosis", "LayerStatistics", "UnitFisher"])
def test_changes_are_after_minus_before(pairs: dict[str, tuple[Any, Any]], kind: str, tmp_path: Path) -> None:
    before, after = pairs[kind]
    found = et.compare(before, after)
    assert found.kind == kind
    for column in found.columns:
        old, new = before.table[column].to_numpy(float), after.table[column].to_numpy(float)
        numpy.testing.assert_array_equal(found.table[f"{column}_before"], old)
        numpy.testing.assert_array_equal(found.table[f"{column}_after"], new)
        numpy.testing.assert_allclose(found.table[f"{column}_change"], new - old)
    found.save(tmp_path / "both.json")
    loaded = et.Comparison.load(tmp_path / "both.json")
    pandas.testing.assert_frame_equal(loaded.table, found.table, check_dtype=False)
    assert (loaded.kind, loaded.columns) == (kind, found.columns)
    figure = found.plot()
    assert figure_bytes(figure, "svg").startswith(b"<?xml")
    assert {text.get_text() for text in figure.axes[0].get_legend().get_texts()} == {"before", "after"}  # pyright: ignore
    assert len(found.plot(found.columns[:1]).axes) == 1
    for result in (before, found):
        assert "<table" in result._repr_html_()
    assert "before" in str(found)
    assert figure_bytes(before.plot(), "svg").startswith(b"<?xml")


def test_errors_of_changes(pairs: dict[str, tuple[Any, Any]]) -> None:
    before, after = pairs["Diagnosis"]
    found = et.compare(before, after).table
    expected = numpy.hypot(before.table["s_times_c_error"], after.table["s_times_c_error"])
    numpy.testing.assert_allclose(found["s_times_c_change_error"], expected)


def test_layers_of_one_alone_are_named(pairs: dict[str, tuple[Any, Any]]) -> None:
    _, after = pairs["LayerStatistics"]
    other = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 5), nn.Tanh()).double()
    found = et.compare(after, et.layer_statistics(other, X, pre_activations=True))
    assert found.only_before == ()
    assert found.only_after == ("1 (input)", "3 (input)", "3")
    assert found.table["mean_before"].isna().tolist() == [False, True, True, True]
    assert "only after: 1 (input), 3 (input), 3" in str(found)


def test_what_cannot_be_compared_is_refused(pairs: dict[str, tuple[Any, Any]], tmp_path: Path) -> None:
    diagnosis, statistics = pairs["Diagnosis"][0], pairs["LayerStatistics"][0]
    fisher = pairs["UnitFisher"][0]
    for before, after, sentence in [
        (diagnosis, statistics, "before is a Diagnosis and after a LayerStatistics; two Diagnosis, two"),
        (1, 2, "before is a int and after a int"),
        (diagnosis, et.diagnose(model(), X, damping=0.1), "damping is 0.01 before and 0.1 after"),
        (fisher, et.unit_fisher(model(), X, layer="0"), "there are 3 units before and 6 after"),
        (fisher, fisher.damped(0.1), "one is damped and the other not"),
    ]:
        with pytest.raises(InputError, match=sentence):
            et.compare(before, after)
    found = et.compare(*pairs["LayerStatistics"])
    with pytest.raises(InputError, match="'nothing' is not compared"):
        found.plot(["nothing"])
    path = tmp_path / "both.json"
    with pytest.raises(InputError, match="there is no file"):
        et.Comparison.load(path)
    for content in (b"", found.to_json().replace("mean", "meam", 1).encode(), diagnosis.to_json().encode(), b"\xff"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"is no file that Comparison.save wrote"):
            et.Comparison.load(path)


# --- labels and figures -----------------------------------------------------------------------------------------------

BERT = [
    name
    for number in range(12)
    for name in (
        *(f"bert.encoder.layer.{number}.attention.self.{part}" for part in ("query", "key", "value")),
        f"bert.encoder.layer.{number}.attention.output.dense",
        f"bert.encoder.layer.{number}.intermediate.dense",
        f"bert.encoder.layer.{number}.output.dense",
    )
]
RESNET = ["conv1", *(f"layer{s}.{b}.{c}" for s in range(1, 5) for b in (0, 1) for c in ("conv1", "conv2")), "fc"]
NAMES = {
    "BERT": ["bert.embeddings.word_embeddings", *BERT, "bert.pooler.dense", "classifier"],
    "ResNet": [*RESNET, *(f"layer{s}.0.downsample.0" for s in (2, 3, 4))],
    "100 layers": [f"model.blocks.{number}.linear" for number in range(100)],
    "wrapped": ["module.net.encoder.first.projection.weight", "module.net.encoder.second.projection.weight"],
    "long words": ["a" * 30 + "b" * 30, "c" * 30 + "b" * 30, "short"],
    "unnamed": ["", "\n"],
    "one": ["transformer.encoder.layers.0.feed_forward.linear"],
}


@pytest.mark.parametrize("kind", NAMES)
def test_labels_differ_and_are_short(kind: str) -> None:
    names = NAMES[kind]
    labels = short_labels(names)
    assert len(labels) == len(names)
    assert len({*labels}) == len({*names})
    assert all(len(label) <= LONGEST_LABEL for label in labels) or kind == "long words"
    assert all(label.isprintable() and label for label in labels)


def test_short_names_stay() -> None:
    assert short_labels(NAMES["ResNet"]) == NAMES["ResNet"]
    assert short_labels(NAMES["BERT"])[1:5] == [
        "0.attention.self.query",
        "0.attention.self.key",
        "0.attention.self.value",
        "0.attention.output",
    ]


def test_no_line_joins_layers_and_no_legend_lies_on_data() -> None:
    numbers = numpy.random.default_rng(0).random(len(NAMES["BERT"]))
    drawn = Points([*numbers], "a", "#000000", "o", [*numbers]), Points([*numbers], "b", "#D55E00", "s")
    figure = figure_by_layer(NAMES["BERT"], [Panel("panel", drawn)])
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert all(line.get_linestyle() == "None" for line in axes.lines if line.get_label() in "ab")
    legend = axes.get_legend()
    assert legend is not None
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1 - 2
    shown = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert len(shown) == len(numbers)
    assert all(left.x1 <= right.x0 + 1 for left, right in itertools.pairwise(shown))
