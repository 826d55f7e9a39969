"""P1–P3 layer by layer: against references of many digits, published values, and the limits of the formulas."""

import math
from collections.abc import Iterator
from itertools import pairwise

import mpmath
import numpy
import pandas
import pytest

from elutheory.activations import Activation
from elutheory.errors import InputError
from elutheory.moments import gaussian_moments
from elutheory.propagation import Propagation, criticality_line, fixed_points, initialisation, propagate
from tests.references.layer_records import NETWORK_DEPTH, cases, network_layers

BANDS = ("q", "c", "variance_over_data", "mean", "unit_mean_median", "unit_mean_std", "mean_share")


def row(p: Propagation, layer: int) -> dict[str, float]:
    return p.table.iloc[layer - 1].to_dict()


def relative(value: float, reference: object) -> float:
    with mpmath.workdps(30):
        exact = mpmath.mpf(str(reference))
        return float(abs(mpmath.mpf(value) - exact) / (abs(exact) or 1))


# --- against many digits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [100, pytest.param(1000, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(
    ("weight_variance", "bias_variance", "overlap"),
    [(2.0, 0.0, 0.0), (1.2, 0.1, 0.3), (2.1, 0.01, -0.5)],
)
def test_many_relu_layers_do_not_drift(
    weight_variance: float, bias_variance: float, overlap: float, depth: int
) -> None:
    """The arc-cosine recursion (Cho and Saul 2009) at 260 digits; q − c falls to 1e-222 over a thousand layers."""
    p = propagate("relu", depth, weight_variance, bias_variance, 1.0, overlap).table
    allowed = 1e-15 * depth
    with mpmath.workdps(260):
        w, b = mpmath.mpf(weight_variance), mpmath.mpf(bias_variance)
        q, c = w + b, w * mpmath.mpf(overlap) + b
        for layer in range(depth):
            angle = mpmath.acos(c / q)
            product = q * (mpmath.sin(angle) + (mpmath.pi - angle) * mpmath.cos(angle)) / (2 * mpmath.pi)
            if layer in (0, 1, 10, depth // 2, depth - 1):
                assert relative(p["q"][layer], q) < allowed
                assert relative(p["c"][layer], c) < allowed
                assert relative(p["variance_over_data"][layer], q - c) < allowed
                assert relative(p["mean_share"][layer], product / (q / 2)) < allowed
            q, c = w * q / 2 + b, w * product + b


@pytest.mark.parametrize(("numbers", "exact"), cases("network layers"))
def test_elu_layers_against_certified_balls(numbers: tuple[float, float, float], exact: list[list[float]]) -> None:
    """Ordered, chaotic, and nearly equal inputs: the balls prove 20 digits of q − c."""
    weight_variance, bias_variance, overlap = numbers
    p = propagate("elu", NETWORK_DEPTH, weight_variance, bias_variance, 1.0, overlap).table
    for column, wanted in zip(("q", "c", "variance_over_data"), numpy.transpose(exact), strict=True):
        numpy.testing.assert_allclose(p[column], wanted, rtol=5e-14, atol=0)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("numbers", "exact"), cases("network layers"))
def test_the_records_of_networks(numbers: tuple[float, float, float], exact: list[list[float]]) -> None:
    """The balls, computed again."""
    assert network_layers(*numbers) == exact


def tanh_layers(
    weight_variance: float, bias_variance: float, overlap: float, depth: int
) -> Iterator[tuple[float, float, float]]:
    """(q, q − c, c) in extended precision, by the trapezoid rule over U = m + d, V = m − d, m and d independent.

    tanh U − tanh V = sinh(2d)/(cosh U cosh V) gives q − c without a subtraction.
    """
    step = numpy.longdouble("0.125")
    x = step * numpy.arange(-80, 81)
    weight = step * numpy.exp(-x * x / 2) / numpy.sqrt(2 * numpy.arccos(numpy.longdouble(-1)))
    w, b = numpy.longdouble(weight_variance), numpy.longdouble(bias_variance)
    v, c = w * (1 - numpy.longdouble(overlap)), w * numpy.longdouble(overlap) + b
    for _ in range(depth):
        yield v + c, v, c
        m, d = numpy.sqrt((v + 2 * c) / 2) * x[:, None], numpy.sqrt(v / 2) * x
        difference = numpy.sinh(2 * d) / (numpy.cosh(m + d) * numpy.cosh(m - d))
        v = w * (weight @ difference**2 @ weight) / 2
        c = w * (weight @ (numpy.tanh(m + d) * numpy.tanh(m - d)) @ weight) + b


@pytest.mark.skipif(numpy.finfo(numpy.longdouble).eps > 1e-18, reason="needs extended precision")
@pytest.mark.parametrize(
    ("weight_variance", "bias_variance", "overlap"), [(1.2, 0.2, 0.3), (2.0, 0.05, 0.3), (1.5, 0.0, 0.1)]
)
def test_tanh_layers_in_extended_precision(weight_variance: float, bias_variance: float, overlap: float) -> None:
    """Ordered, chaotic, and without bias, where c falls to 0."""
    p = propagate("tanh", 30, weight_variance, bias_variance, 1.0, overlap).table
    for layer, reference in enumerate(tanh_layers(weight_variance, bias_variance, overlap, 30)):
        for column, exact in zip(("q", "variance_over_data", "c"), reference, strict=True):
            assert p[column][layer] == pytest.approx(float(exact), rel=3e-14)


# --- what the columns mean --------------------------------------------------------------------------------------------


def test_conventions_of_the_first_layer_and_of_the_columns() -> None:
    p = propagate("elu", 3, 1.5, 0.2, second_moment=0.8, overlap=0.3)
    first, second = row(p, 1), row(p, 2)
    assert (first["q"], first["c"]) == pytest.approx((1.5 * 0.8 + 0.2, 1.5 * 0.3 + 0.2), rel=1e-15)
    m = gaussian_moments("elu", 0.0, math.sqrt(first["q"]))
    assert first["mean"] == pytest.approx(m.mean, rel=1e-15)
    assert second["q"] == pytest.approx(1.5 * m.second_moment + 0.2, rel=1e-15)
    assert first["unit_mean_median"] == gaussian_moments("elu", 0.0, math.sqrt(first["variance_over_data"])).mean
    assert first["chi"] == pytest.approx(1.5 * m.slope_second_moment, rel=1e-15)
    assert first["mean_share"] == pytest.approx((second["c"] - 0.2) / (second["q"] - 0.2), rel=1e-14)
    # Cov(f(U), f(V)) = E f(U)f(V) − (E f)²
    assert first["unit_mean_std"] ** 2 == pytest.approx((second["c"] - 0.2) / 1.5 - first["mean"] ** 2, rel=1e-13)
    assert list(p.table["gradient_variance"]) == pytest.approx([first["chi"] * second["chi"], second["chi"], 1.0])
    assert first["gradient_depth_scale"] == pytest.approx(-1 / math.log(first["chi"]))
    assert list(p.table["layer"]) == [1, 2, 3]
    assert p.depth == 3


def test_the_unit_means_have_the_mean_and_the_spread_of_the_table() -> None:
    """Over units: M(√c Y, q − c), integrated here by Gauss–Hermite in Y."""
    first = row(propagate("tanh", 1, 2.0, 0.3, 1.0, 0.4), 1)
    y, weight = numpy.polynomial.hermite_e.hermegauss(80)
    weight = weight / weight.sum()
    means = gaussian_moments("tanh", math.sqrt(first["c"]) * y, math.sqrt(first["variance_over_data"])).mean
    assert weight @ means**2 == pytest.approx(first["unit_mean_std"] ** 2, rel=1e-10)
    assert first["mean"] == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("name", ["elu", "relu", "tanh"])
def test_chi_is_the_slope_of_the_correlation_map_at_one(name: str) -> None:
    """dc'/dc → chi as c → q, with a deviation of order of the angle, 1e-8, at kinks."""
    p = propagate(name, 2, 1.7, 0.1, 1.0, 1.0 - 2.0**-53)
    first, second = row(p, 1), row(p, 2)
    assert second["variance_over_data"] / first["variance_over_data"] == pytest.approx(first["chi"], rel=1e-7)
    assert first["depth_scale"] == pytest.approx(first["gradient_depth_scale"], rel=1e-5)


def test_equal_inputs_stay_equal_and_negative_overlap_has_no_unit_means() -> None:
    equal = propagate("elu", 3, 2.0, 0.0, 1.0, 1.0).table
    assert (equal["variance_over_data"] == 0).all()
    assert (equal["unit_mean_median"] == 0).all()
    assert list(equal["mean_share"]) == pytest.approx([1.0] * 3, rel=1e-15)
    opposite = propagate("elu", 2, 2.0, 0.0, 1.0, -1.0).table
    assert opposite["correlation"][0] == -1
    assert math.isnan(opposite["unit_mean_median"][0])
    assert math.isnan(opposite["unit_mean_std"][0])
    z, weight = numpy.polynomial.hermite_e.hermegauss(100)  # tanh(z) tanh(−z) is smooth
    odd = propagate("tanh", 2, 1.0, 0.0, 1.0, -1.0).table
    assert odd["c"][1] == pytest.approx(-(weight / weight.sum()) @ numpy.tanh(z) ** 2, rel=1e-8)


def test_vanishing_and_exploding_networks() -> None:
    vanished = propagate("relu", 70, 2.0**-6, 0.0, 1e-200).table
    assert vanished["q"].iloc[-1] == 0
    assert vanished["chi"].iloc[-1] == 2.0**-7
    assert vanished["gradient_variance"][0] == 2.0 ** (-7 * 69)
    with pytest.raises(InputError, match=r"q = .* at layer \d+ is too large for float64; lower weight_variance\."):
        propagate("relu", 100, 2.0**12)
    for text in ("x*1e300", "1e200*x**2", "1e160*tanh(x)"):  # the moments of one layer
        for depth, overlap in ((1, 1.0), (2, 0.3)):
            with pytest.raises(InputError, match=r"the moments of .* (too large for float64|beyond double precision)"):
                propagate(Activation.from_text(text), depth, 1.0, overlap=overlap)


# --- batch normalisation and residual branches ------------------------------------------------------------------------


def test_batch_normalisation_of_relu_explodes_by_pi_over_pi_minus_one() -> None:
    """Yang et al., A Mean Field Theory of Batch Normalization, arXiv 1902.08129."""
    p = propagate("relu", 6, 1.3, 0.2, 1.0, 0.4, batch_norm=True)
    assert list(p.table["chi"][1:]) == pytest.approx([math.pi / (math.pi - 1)] * 5, rel=1e-14)
    assert p.table["chi"][0] == pytest.approx(0.5 / (1 - 0.4), rel=1e-14)
    assert list(p.table["q"][1:]) == pytest.approx([1.3 / 2 + 0.2] * 5, rel=1e-15)
    assert list(p.table["c"][1:]) == pytest.approx([1.3 / (2 * math.pi) + 0.2] * 5, rel=1e-15)
    assert (p.table["unit_mean_median"] == p.table["mean"]).all()
    assert (p.table["unit_mean_std"] == 0).all()


def test_residual_layers() -> None:
    p = propagate("elu", 4, 0.7, 0.1, 1.0, 0.4, residual=True).table
    plain = propagate("elu", 1, 0.7, 0.1, 1.0, 0.4).table.iloc[0]
    for here, above in pairwise(p.to_dict("records")):
        m = gaussian_moments("elu", 0.0, math.sqrt(here["q"]))
        assert above["q"] == pytest.approx(here["q"] + 0.7 * m.second_moment + 0.1, rel=1e-15)
        assert above["c"] == pytest.approx(here["c"] + 0.7 * here["mean_share"] * m.second_moment + 0.1, rel=1e-15)
        assert above["q"] - above["c"] == pytest.approx(above["variance_over_data"], rel=1e-14)
        assert here["chi"] == pytest.approx(1 + 0.7 * m.slope_second_moment, rel=1e-15)
    assert p["q"][0] == plain["q"]


def test_options_layer_by_layer() -> None:
    mixed = propagate("elu", 3, 1.5, 0.1, 1.0, 0.2, batch_norm=[False, True, False], residual=[False, True, False])
    plain = propagate("elu", 3, 1.5, 0.1, 1.0, 0.2)
    normalised = propagate("elu", 3, 1.5, 0.1, 1.0, 0.2, batch_norm=True)
    assert row(mixed, 1)["chi"] == row(plain, 1)["chi"]
    slopes = gaussian_moments("elu", 0.0, 1.0).slope_second_moment
    assert row(mixed, 2)["chi"] == pytest.approx(1 + 1.5 * slopes / row(mixed, 2)["variance_over_data"], rel=1e-15)
    assert row(mixed, 3)["q"] == pytest.approx(row(mixed, 2)["q"] + row(normalised, 2)["q"], rel=1e-15)


# --- fixed points -----------------------------------------------------------------------------------------------------


def test_relu_at_he_keeps_every_variance() -> None:
    found = fixed_points("relu", 2.0)
    assert found.every_q_is_fixed
    assert list(found.table["chi"]) == [1.0]
    assert list(found.table["q_stability"]) == ["marginal"]


def test_relu_with_bias_has_one_fixed_point() -> None:
    """q = σ_w² q/2 + σ_b²."""
    found = fixed_points("relu", 1.5, 0.1).table
    assert list(found["q"]) == pytest.approx([0.1 / 0.25], rel=1e-14)
    assert list(found["q_slope"]) == pytest.approx([0.75], rel=1e-11)
    assert list(found["correlation"]) == [1.0]
    assert list(found["correlation_slope"]) == [0.75]
    assert fixed_points("relu", 2.5, 0.1).table.empty


def test_selu_has_its_fixed_point_at_mean_zero_and_variance_one() -> None:
    """Klambauer et al., Self-Normalizing Neural Networks, arXiv 1706.02515: α and λ are chosen for (0, 1)."""
    found = fixed_points("selu", 1.0).table
    assert list(found["q"]) == pytest.approx([0.0, 1.0, 1.0], rel=1e-14)
    assert list(found["q_stability"]) == ["unstable", "stable", "stable"]
    assert list(found["correlation"])[1:] == [0.0, 1.0]
    assert abs(row(propagate("selu", 1, 1.0), 1)["mean"]) < 1e-16


def test_all_fixed_points_are_found_also_double_ones() -> None:
    """f(x) = x² has E f² = 3q²: q = 3 σ_w² q² + σ_b² has two, one or no solution."""
    square = Activation.from_text("x**2")
    two = fixed_points(square, 1.0, 0.05).table
    expected = [(1 - math.sqrt(0.4)) / 6, (1 + math.sqrt(0.4)) / 6]
    assert sorted(set(two["q"])) == pytest.approx(expected, rel=1e-12)
    assert list(two.drop_duplicates("q")["q_stability"]) == ["stable", "unstable"]
    double = fixed_points(square, 1.0, 1 / 12, q_range=(1e-2, 10.0)).table
    assert sorted(set(double["q"])) == pytest.approx([1 / 6], rel=1e-6)
    near = fixed_points(square, 1.0, 1 / 12 * (1 - 1e-8), q_range=(1e-2, 10.0)).table
    assert sorted(set(near["q"])) == pytest.approx([(1 - 1e-4) / 6, (1 + 1e-4) / 6], rel=1e-6)
    assert fixed_points(square, 1.0, 0.09, q_range=(1e-2, 10.0)).table.empty


@pytest.mark.parametrize(
    ("name", "weight_variance", "bias_variance", "depth"),
    [
        ("elu", 1.0, 0.3, 80),
        ("tanh", 10.0, 0.3, 50),
        pytest.param("elu", 1.5625, 0.01, 500, marks=pytest.mark.exhaustive),
        pytest.param("tanh", 6.0, 0.05, 70, marks=pytest.mark.exhaustive),
    ],
)
def test_iteration_ends_at_the_stable_fixed_point(
    name: str, weight_variance: float, bias_variance: float, depth: int
) -> None:
    found = fixed_points(name, weight_variance, bias_variance).table
    stable = found[(found["q_stability"] == "stable") & (found["correlation_stability"] == "stable")]
    last = propagate(name, depth, weight_variance, bias_variance, 1.0, 0.9)
    assert len(stable) == 1
    assert last.table["q"].iloc[-1] == pytest.approx(stable["q"].iloc[0], rel=1e-13)
    slope = stable["correlation_slope"].iloc[0]
    accuracy = 1000 * slope**depth
    assert last.table["c"].iloc[-1] == pytest.approx(stable["c"].iloc[0], rel=accuracy)
    assert last.depth_scale == pytest.approx(stable["depth_scale"].iloc[0], rel=100 * accuracy)
    assert last.gradient_depth_scale == pytest.approx(stable["gradient_depth_scale"].iloc[0], rel=1e-12)
    # the departure from it falls by the factor `correlation_slope`
    departure = abs(last.table["correlation"] - stable["correlation"].iloc[0])
    at = int((departure > 1e-3).sum())
    assert departure[at + 1] / departure[at] == pytest.approx(slope, abs=2e-3)


def test_tanh_becomes_critical_at_weight_variance_one() -> None:
    """Poole et al., arXiv 1606.05340: without bias order turns to chaos at σ_w = 1."""
    line = criticality_line("tanh", numpy.geomspace(1e-4, 10, 6)).table
    assert line["possible"].all()
    assert line["weight_variance"][0] == pytest.approx(1 + 2e-4, abs=1e-7)  # 1/E sech⁴ = 1 + 2q + O(q²)
    assert line["bias_variance"][0] == pytest.approx(4 / 3 * 1e-12, rel=1e-2)  # 4q³/3 + O(q⁴)
    assert (line["weight_variance"].diff()[1:] > 0).all()
    ordered, chaotic = (fixed_points("tanh", variance, q_range=(1e-6, 1e3)).table for variance in (0.9, 1.2))
    assert list(ordered["q"]) == [0.0]
    assert ordered["q_stability"][0] == "stable"
    assert list(chaotic["correlation"])[1:] == [0.0, 1.0]
    assert list(chaotic["correlation_stability"])[1:] == ["stable", "unstable"]


@pytest.mark.parametrize("name", ["elu", "selu", "tanh", "gelu", "leaky_relu"])
def test_the_critical_line_is_where_q_is_fixed_and_chi_is_one(name: str) -> None:
    for _, point in criticality_line(name, [0.5, 1.0, 3.0]).table.iterrows():
        m = gaussian_moments(name, 0.0, math.sqrt(point["q"]))
        assert point["weight_variance"] * m.slope_second_moment == pytest.approx(1.0, rel=1e-15)
        q = point["weight_variance"] * m.second_moment + point["bias_variance"]
        assert q == pytest.approx(point["q"], rel=1e-14)
        assert point["possible"] == (point["bias_variance"] >= 0)


# --- initialisations --------------------------------------------------------------------------------------------------


def test_named_initialisations() -> None:
    assert (initialisation("he", "elu").weight_variance, initialisation("he", "elu").bias_variance) == (2.0, 0.0)
    assert initialisation("lecun", "selu").weight_variance == 1.0
    assert initialisation("critical", "relu", 3.7) == initialisation("critical", "relu")
    critical = initialisation("critical", "relu")
    assert (critical.weight_variance, critical.bias_variance) == (2.0, 0.0)
    assert initialisation("variance_preserving", "selu").weight_variance == pytest.approx(1.0, rel=1e-15)
    for name in ("elu", "tanh", "logistic"):
        preserving = initialisation("variance_preserving", name, 1.7)
        q = preserving.weight_variance * gaussian_moments(name, 0.0, math.sqrt(1.7)).second_moment
        assert q == pytest.approx(1.7, rel=1e-15)


def test_critical_refuses_a_negative_bias_variance() -> None:
    """x + 2 at q = 1: σ_w² = 1 needs σ_b² = 1 − 5."""
    with pytest.raises(InputError, match=r"is not critical at q = 1 .* would be -4; variance_preserving keeps q"):
        initialisation("critical", Activation.from_text("x + 2"))
    assert not criticality_line(Activation.from_text("x + 2"), 1.0).table["possible"].any()


# --- finite width -----------------------------------------------------------------------------------------------------


def test_bands_of_relu_on_one_input_are_those_of_its_second_moments() -> None:
    """Equal inputs, σ_w² = 2: a layer multiplies q by 2/n Σ relu(Z)², of mean 1 and variance (6 − 1)/n; h² adds 2/n."""
    for layer, band in enumerate(propagate("relu", 5, 2.0, 0.0, 1.0, 1.0, width=100).table["q_std"]):
        assert band == pytest.approx(2.0 * math.sqrt((5 * layer + 2) / 100), rel=1e-9)


def test_bands_fall_with_the_square_root_of_the_width() -> None:
    wide, narrow = (propagate("elu", 4, 1.6, 0.1, 1.0, 0.3, width=width).table for width in (400, 100))
    for name in BANDS:
        assert list(narrow[f"{name}_std"]) == pytest.approx(list(2 * wide[f"{name}_std"]), rel=1e-12)
    assert (wide["mean_std"] > 0).all()
    tapered = propagate("elu", 4, 1.6, 0.1, 1.0, 0.3, width=[100, 100, 100, 400]).table
    assert list(tapered["q_std"][:3]) == list(narrow["q_std"][:3])
    assert wide["q_std"][3] < tapered["q_std"][3] < narrow["q_std"][3]


# --- arguments --------------------------------------------------------------------------------------------------------


def test_the_table_is_plain_pandas() -> None:
    table = propagate("relu", 2, 2.0).table
    assert isinstance(table, pandas.DataFrame)
    assert str(table["q"].dtype) == "float64"
    assert str(table["layer"].dtype) == "int64"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: propagate("relu", 0, 2.0), r"depth must be an integer >= 1, not 0\."),
        (lambda: propagate("relu", 2.0, 2.0), r"depth must be an integer >= 1, not 2\.0\."),
        (lambda: propagate("relu", 2, 0.0), r"weight_variance must be a finite number > 0, not 0\.0\."),
        (lambda: propagate("relu", 2, math.nan), r"weight_variance must be a finite number > 0, not nan\."),
        (lambda: propagate("relu", 2, 2.0, -1.0), r"bias_variance must be a finite number >= 0, not -1\.0\."),
        (
            lambda: propagate("relu", 2, 2.0, overlap=1.5),
            r"overlap must be at most second_moment = 1 in size, not 1\.5\.",
        ),
        (lambda: propagate("relu", 2, 2.0, overlap="x"), r"overlap must be a finite number, not 'x'\."),
        (lambda: propagate("relu", 2, 2.0, batch_norm=[True]), r"batch_norm has 1 entries for 2 layers\."),
        (lambda: propagate("relu", 2, 2.0, batch_norm=1), r"batch_norm must be True, False or a sequence .*, not 1\."),
        (lambda: propagate("relu", 2, 2.0, residual=["x", 0]), r"residual must be a finite number >= 0, not 'x'\."),
        (lambda: propagate("relu", 2, 2.0, width=0), r"width must be an integer >= 1, not 0\."),
        (lambda: propagate("relu", 2, 2.0, width=[8]), r"width has 1 entries for 2 layers\."),
        (lambda: propagate("relu", 2, 2.0, width=8, residual=True), r"finite-width bands are derived for .*\."),
        (lambda: propagate("relu", 2, 2.0, overlap=-0.5, width=8), r"finite-width bands need .* an overlap >= 0\."),
        (lambda: propagate("relu", 2, 2.0, overlap=1.0, batch_norm=True), r"batch normalisation needs inputs .*\."),
        (lambda: propagate(Activation.from_text("where(x > 0, 1 + x, 0)"), 2, 2.0), r".* jumps at 0; .*\."),
        (lambda: fixed_points("relu", 1.0, q_range=(1.0, 1.0)), r"q_range must be two numbers, .*\."),
        (lambda: fixed_points("relu", 1.0, q_range=3), r"q_range must be two numbers, .*, not 3\."),
        (lambda: criticality_line("relu", [1.0, 0.0]), r"second_moments must be a finite number > 0, not 0\.0\."),
        (lambda: initialisation("xavier", "relu"), r"unknown initialisation 'xavier'; known are he, lecun, .*\."),
        (
            lambda: initialisation("critical", Activation.from_text("0*x + 1")),
            r".* has no critical initialisation .*\.",
        ),
    ],
)
def test_bad_input(call: object, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^{sentence}$"):
        call()  # type: ignore[operator]
