"""The look of figures: an activation's colour wherever it stands, activations told apart, bytes; numbers as printed."""

import re
from itertools import combinations
from pathlib import Path

import numpy
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from elutheory.activations import activation_names
from elutheory.output.figures import figure_bytes, label_of, look_of, looks_of, number, style, write_figure
from elutheory.output.files import FIGURE_ENDINGS

OWN = [f"where(x > 0, x, x/{number})" for number in range(2, 18)]


def test_an_activation_has_the_same_look_whatever_it_is_drawn_beside() -> None:
    names = activation_names()
    for order in (names, names[::-1], ("relu", "x*x", "elu"), ("elu", "relu")):
        looks = looks_of(order)
        assert [looks[name] for name in order if name in names] == [look_of(name) for name in order if name in names]
    assert (look_of("elu").colour, look_of("relu").colour) == ("#0072B2", "#D55E00")
    assert (label_of("leaky_relu(0.1)"), label_of("x*x")) == ("leaky ReLU", "x*x")


def test_every_registry_name_has_a_colour_of_its_own() -> None:
    looks = [look_of(name) for name in activation_names()]
    assert len({look.colour for look in looks}) == len({look.marker for look in looks}) == len(activation_names())


def test_parameters_of_one_name_differ_in_their_line() -> None:
    slopes = ["leaky_relu", "leaky_relu(negative_slope=0.1)", "leaky_relu(0.25)", "leaky_relu(negative_slope=1e-05)"]
    looks = looks_of(slopes)
    assert {look.colour for look in looks.values()} == {look_of("leaky_relu").colour}
    assert len({str(look.line) for look in looks.values()}) == 4
    assert looks_of(["elu(alpha=2.0)"])["elu(alpha=2.0)"] == look_of("elu")


def test_activations_without_a_name_are_told_apart_and_look_like_no_name() -> None:
    looks = looks_of(["elu", *OWN, "tanh(x)", "elu"]).values()
    assert len({(look.colour, str(look.line)) for look in list(looks)[:17]}) == 17
    named = {look_of(name).colour for name in activation_names()}
    assert not named & {look.colour for look in list(looks)[1:]}  # tanh(x) is no registry name


def lightness_and_colour(colour: str) -> numpy.ndarray:
    """CIELAB of an sRGB colour, white point D65 (IEC 61966-2-1, CIE 15)."""
    coded = numpy.array(to_rgb(colour))
    linear = numpy.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    relative = to_xyz @ linear / (0.9505, 1, 1.089)
    x, y, z = numpy.where(relative > 216 / 24389, numpy.cbrt(relative), 841 / 108 * relative + 4 / 29)
    return numpy.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_colours_without_a_name_are_far_from_all_others() -> None:
    others = {look.colour for look in looks_of(OWN).values()}
    named = {look_of(name).colour for name in activation_names()}
    pairs = [*combinations(others, 2), *((one, another) for one in others for another in named)]
    distances = {pair: numpy.linalg.norm(numpy.subtract(*map(lightness_and_colour, pair))) for pair in pairs}
    assert [pair for pair, distance in distances.items() if distance <= 30] == []


@pytest.mark.parametrize("ending", FIGURE_ENDINGS)
def test_figures_of_every_kind_repeat_byte_for_byte(ending: str, tmp_path: Path) -> None:
    def drawn() -> Figure:
        with style({"font.size": 7}):
            figure = Figure(figsize=(2, 2), layout="constrained")
            figure.subplots().plot([0, 1], [0, 1])
        return figure

    target = tmp_path / f"figure{ending.upper()}"
    write_figure(drawn(), target)
    assert target.read_bytes() == figure_bytes(drawn(), ending[1:])
    assert not re.search(rb"<dc:date>|/CreationDate|/ModDate", target.read_bytes())


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (1.2345, "+.3g", "+1.23"),
        (-0.5, "+.3g", "−0.5"),
        (2e-5, ".2g", "2e−05"),
        (float("inf"), "+.2g", "+∞"),
        (float("-inf"), "+.2g", "−∞"),
        (float("nan"), "+.2g", "–"),
    ],
)
def test_number(value: float, form: str, text: str) -> None:
    assert number(value, form) == text
