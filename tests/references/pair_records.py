"""Certified expectations of Gaussian pairs, a second and more each to compute, kept as data in `pair_records.json`.

`python -m tests.references.pair_records` computes all of them again with `pair_oracle`, which takes about ten minutes;
with the names of point sets, only those. It is to be run when a set of points below is changed. An exhaustive test
recomputes a sample.
"""

import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from flint import arb

import elutheory as et
from elutheory.kernels.expectations import evaluate as evaluate_pairs
from elutheory.kernels.pairs import PairArguments
from tests.references import oracle, pair_oracle
from tests.references.pair_oracle import Angles, Pair

FILE = Path(__file__).with_suffix(".json")
EPS = 2.0**-52
SMALLEST = 2.0**-1022
FUNCTIONS: dict[str, Callable[..., et.DualKernel]] = {
    "value": et.dual_kernel,
    "slope": et.dual_kernel_derivative,
    "covariance": et.dual_covariance,
}
Case = tuple[str, dict[str, float]]
CASES: tuple[Case, ...] = (
    ("elu", {}),
    ("elu", {"alpha": 0.3}),
    ("elu", {"alpha": 2.5}),
    ("celu", {}),
    ("celu", {"alpha": 1.7}),
    ("selu", {}),
    ("relu", {}),
    ("leaky_relu", {}),
    ("shifted_relu", {}),
    ("hard_tanh", {}),
    ("relu6", {}),
)
FEW = (CASES[0], CASES[7], CASES[8])
GAPS = (1e-3, 1e-6, 1e-10, 1e-13)  # 1 − |rho|
KINKS = "where(x > 1, 2*x - 1, where(x > -1, x, exp(x + 1) - 2))"
JUMPS = "where(x > 0.5, x + 1, where(x > -1, x, -2))"
USERS = {
    KINKS: (  # e to 40 digits
        oracle._piece(None, -1.0, a=-2.0, c="2.7182818284590452353602874713526624977572", k=1.0),
        oracle._piece(-1.0, 1.0, b=1.0),
        oracle._piece(1.0, None, a=-1.0, b=2.0),
    ),
    JUMPS: (
        oracle._piece(None, -1.0, a=-2.0),
        oracle._piece(-1.0, 0.5, b=1.0),
        oracle._piece(0.5, None, a=1.0, b=1.0),
    ),
}


@dataclass(frozen=True)
class Record:
    """What a quantity of some pairs is: `numbers` are a pair's five arguments, or its six as means, stds and angle.

    `want` are the certified values, rounded (of the set "gradients" five derivatives for each pair); `allowance` what
    rounding each argument by one unit of 2^-52 may do, 0 where the package keeps its bound without that.
    """

    activation: str
    parameters: dict[str, float]
    quantity: str
    numbers: list[list[float]]
    want: list[float] | list[list[float]]
    allowance: list[float]

    @property
    def function(self) -> et.Activation:
        """The package's activation."""
        return of_name(self.activation, self.parameters)

    @property
    def pairs(self) -> list[Pair]:
        """The pairs, where the numbers are five."""
        return [Pair(*numbers) for numbers in self.numbers]

    def __str__(self) -> str:
        return "-".join([self.activation, *map(str, self.parameters.values()), self.quantity])


def records(point_set: str) -> list[Record]:
    """The records of one set of points, from the file."""
    return [Record(**record) for record in json.loads(FILE.read_text())[point_set]]


def of_name(name: str, parameters: dict[str, float]) -> et.Activation:
    """A registered activation, or a user's by its text."""
    return et.Activation.from_text(name) if name in USERS else et.activation(name, **parameters)


def definition(name: str, parameters: dict[str, float]) -> tuple[oracle.Piece, ...]:
    """Its pieces, written down by hand."""
    return USERS[name] if name in USERS else oracle.pieces(name, **parameters)


# --- the points ----------------------------------------------------------------------------------------------------


def random_pairs(seed: int, count: int) -> list[Pair]:
    """Means in [−5, 5], stds in [1e-3, 10]; |rho| anywhere, a little below 1, and 1 to rounding and exactly."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(count):
        means, stds = rng.uniform(-5, 5, 2), 10 ** rng.uniform(-3, 1, 2)
        alike = rng.random()
        if alike < 0.25:
            stds[1], means[1] = stds[0], means[0]
        elif alike < 0.35:
            means[:] = 0.0
        stds = np.float64(np.float32(stds))  # squares and products are exact
        sign = rng.choice([-1.0, 1.0])
        match i % 8:
            case 0 | 1 | 2:
                rho = rng.uniform(-1, 1)
            case 7:
                rho = sign * (1 - rng.choice([0.0, 2.0**-53]))  # the latter: as inner products come out
            case kind:
                rho = sign * (1 - GAPS[kind - 3])
        pairs.append(Pair(*map(float, (stds[0] ** 2, stds[1] ** 2, rho * (stds[0] * stds[1]), *means))))
    return pairs


def wide_pairs(seed: int, count: int) -> list[Pair]:
    """Stds from 1e-6 to 1e6, alike or not; means up to 40 stds away; 1 − |rho| from 1e-16 to 1; some means in line."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        stds = 10 ** rng.uniform(-6, 6, 2)
        if rng.random() < 0.3:
            stds[1] = stds[0] * 10 ** rng.uniform(-1, 1)
        stds = np.float64(np.float32(stds))  # squares are exact
        means = stds * rng.uniform(-1, 1, 2) * rng.choice([40.0, 8.0, 2.0, 0.1], 2)
        match rng.integers(10):
            case 0:
                means[:] = 0.0
            case 1 | 2 as kind:
                means[1] = (-1) ** kind * means[0] * stds[1] / stds[0]
        rho = rng.choice([-1.0, 1.0]) * (1 - 10 ** rng.uniform(-16, 0))
        pairs.append(Pair(*map(float, (stds[0] ** 2, stds[1] ** 2, rho * (stds[0] * stds[1]), *means))))
    return pairs


def identify(case: Case) -> str:
    """The case's name in a test's id, and what its random points are drawn from."""
    return case[0] + "".join(f"-{value}" for value in case[1].values())


def _random() -> Iterator[tuple[Case, str, list[Pair]]]:
    """Half of the kinds of `random_pairs`, the other half for the next quantity and the next case."""
    for i, case in enumerate(CASES):
        for j, quantity in enumerate(FUNCTIONS):
            yield case, quantity, random_pairs(sum(map(ord, identify(case) + quantity)), 8)[(i + j) % 2 :: 2]


def _twelve_decades() -> Iterator[tuple[Case, str, list[Pair]]]:
    """One pair of each case and quantity whose result is not 0; and steep pairs that fixed panels did not resolve."""
    for case in CASES:
        for quantity in FUNCTIONS:
            pairs = wide_pairs(sum(map(ord, identify(case) + quantity)), 32)
            found = evaluate(of_name(*case), quantity, [[*pair.arguments] for pair in pairs])
            least = 1e-30 if quantity == "covariance" else 1e-290  # the reference subtracts
            yield case, quantity, [pair for pair, value in zip(pairs, found, strict=True) if abs(value) > least][:1]
    for quantity in FUNCTIONS:
        yield ("elu", {}), quantity, [Pair(1.0, 1e6, 1000.0), Pair(1e4, 1e4, 1e4)]


def with_correlation(rho_of: Callable[[float], float]) -> Iterator[Pair]:
    """Three pairs; `rho_of` makes the covariance of the exact geometric mean of the variances."""
    for variances, means in (
        ((1.0, 1.0), (0.0, 0.0)),
        ((0.25, 4.0), (0.3, -2.0)),
        ((2.0**-20, 64.0), (-5.0, 5.0)),
    ):
        root = math.sqrt(variances[0] * variances[1])  # exact
        yield Pair(*variances, rho_of(root), *means)


def _correlation_one() -> Iterator[tuple[Case, str, list[Pair]]]:
    """Exactly ±1, the sign by turns, and the next number of the other sign."""
    for i, case in enumerate(FEW):
        for j, quantity in enumerate(FUNCTIONS):
            sign = (-1.0) ** (i + j)
            exact = [*with_correlation(lambda root, sign=sign: sign * root)]
            beside = [*with_correlation(lambda root, sign=sign: -sign * math.nextafter(root, 0))]
            yield case, quantity, exact + beside


def almost_uncorrelated() -> list[Pair]:
    """Both sides of no correlation, and of a variance of zero."""
    near = [*with_correlation(lambda _: 0.0), *with_correlation(lambda root: 1e-40 * root)]
    near += [Pair(variance, 1.0, 0.0, 0.25, -0.5) for variance in (0.0, 1e-300, 1e-30)]
    near += [Pair(1.0, variance, 0.5 * math.sqrt(variance), 0.25, -0.5) for variance in (1e-200, 1e-30)]
    return near


def _uncorrelated() -> Iterator[tuple[Case, str, list[Pair]]]:
    for case in FEW:
        for quantity in ("value", "slope"):
            yield case, quantity, almost_uncorrelated()


def _extremes() -> Iterator[tuple[Case, str, list[Pair]]]:
    """Where both are almost surely on the other side of the kink, and where the standard deviations are far apart."""
    pairs = [
        Pair(0.0625, 0.0625, 0.0625, -3.0, -3.0),
        Pair(0.0625, 0.0625, 0.06, -3.0, -2.0),
        Pair(4.0, 2.0**-10, 0.0583, 0.75, -1.5),
        Pair(1.0, 1.0, -0.75, -4.0, -4.0),
        Pair(100.0, 1e-6, 0.00999, -5.0, -5.0),
        Pair(100.0, 1e-6, -0.0099999999999, 0.0, 1e-3),
    ]
    for case in FEW:
        for quantity in FUNCTIONS:
            yield case, quantity, pairs


def _users() -> Iterator[tuple[Case, str, list[Pair]]]:
    pairs = [
        Pair(1.0, 1.0, 0.5),
        Pair(4.0, 0.25, -0.9, -1.0, 0.5),
        Pair(1.0, 1.0, 1.0),
        Pair(1.0, 1.0, 0.9, -1.0, -1.0),
        Pair(0.0, 1.0, 0.0, 0.25, 1.0),
    ]
    for quantity in FUNCTIONS:
        yield (KINKS, {}), quantity, pairs
    yield (JUMPS, {}), "value", pairs


def _users_bends() -> Iterator[tuple[Case, str, list[Pair]]]:
    """f' bends at −1 without a jump, where both means are: sharp in E[f'(V) | U], and not to be refused."""
    pairs = [Pair(1.0, 1.0, sign * (1.0 - gap), -1.0, -1.0) for gap in (1e-6, 1e-13) for sign in (1.0, -1.0)]
    for quantity in FUNCTIONS:
        yield (KINKS, {}), quantity, pairs


def _gradients() -> Iterator[tuple[Case, str, list[Pair]]]:
    for quantity in FUNCTIONS:
        yield ("elu", {}), quantity, [Pair(1.0, 4.0, 1.0, 0.5, -1.0), Pair(1.0, 1.0, 1.0 - 1e-6)]
        yield ("shifted_relu", {}), quantity, [Pair(0.01, 9.0, -0.2, -1.2, 1.0)]


def angle_numbers(numbers: dict[str, float]) -> list[float]:
    """mean_u, mean_v, std_u, std_v, cosine, sine; `ratio` is sine/cosine, negative for a negative cosine."""
    at = {"mean_u": 0.25, "mean_v": -0.5, "std_u": 1.0, "std_v": 1.0, "ratio": 0.75} | numbers
    angle = math.atan2(abs(at["ratio"]), math.copysign(1.0, at["ratio"]))
    return [at["mean_u"], at["mean_v"], at["std_u"], at["std_v"], math.cos(angle), math.sin(angle)]


def _conditional_slope() -> Iterator[tuple[Case, str, list[list[float]]]]:
    """Both sides of std_v sine = 2, where the form of the conditional slope changes."""
    cosine = math.sqrt(0.75)
    stds = (4.0, math.nextafter(4.0, 5.0))
    yield ("elu", {}), "slope", [[mean, mean, 1.0, std, cosine, 0.5] for mean in (-3.0, 0.5) for std in stds]


def _small_angles() -> Iterator[tuple[Case, str, list[list[float]]]]:
    """Angles below the rounding of the correlation: the sine is the exact one."""
    points = [[0.0, 0.0, 1.5, 1.5, math.cos(angle), math.sin(angle)] for angle in (1e-20, 1e-9, 0.3, math.pi / 2)]
    for quantity in ("value", "slope"):
        yield ("elu", {"alpha": 0.5}), quantity, points


WORST: list[tuple[Case, str, list[float]]] = [  # means, stds, the signed angle's cosine and sine
    (("relu", {}), "slope", [-1.4349, -3.405, 0.06298, 0.16, 0.9999225438179882, 0.012446138540264395]),
    (("celu", {"alpha": 0.5}), "slope", [0.3872, 0.2906, 1.43, 9.533, -0.9999999982852183, 5.8562472709205105e-05]),
    (("elu", {"alpha": 2.5}), "value", [-0.6473, -0.2278, 0.002239, 7.7846, 0.9998756141970785, 0.015772004755742225]),
    (("relu", {}), "slope", [-2.537, 3.879, 0.08155, 0.06855, -0.3224, 0.9466]),
    (("celu", {"alpha": 0.5}), "slope", [3.7444, 3.7444, 9.6275, 9.6275, 0.9999999915731539, 0.0001298217710325659]),
    (("relu", {}), "slope", [-0.5492, -0.2213, 0.672, 0.1484, -0.9962935, 0.0860185]),
    (("shifted_relu", {}), "covariance", [-3.0821397, -1.6572772, 1.148785, 0.067625803, -0.7772158, 0.6292340771]),
    (("relu6", {}), "covariance", [0.47938, -3.348, 0.27764, 0.14977, 0.8633654745582003, 0.5045790892822387]),
    (("leaky_relu", {}), "slope", [-0.08075, -0.08075, 1.587, 1.587, -0.998718, 0.0506199]),
    (("leaky_relu", {}), "slope", [-0.1341, -2.149, 0.05692, 2.475, -0.98656, 0.16340]),
    (("leaky_relu", {}), "value", [-3.663, -3.663, 1.317, 1.317, 0.5954, 0.80343]),
    (("celu", {"alpha": 0.5}), "covariance", [-3.461, -3.698, 0.09342, 0.4286, 0.6703, 0.74208]),
    (
        ("leaky_relu", {"negative_slope": 0.0012}),
        "covariance",
        [-0.0624042, -0.0624042, 0.0139383, 0.0139383, 0.9345747341968846, 0.35576687057794254],
    ),
    (
        ("elu", {"alpha": 0.3}),
        "covariance",
        [-13.9131877, -13.9131877, 5.64599, 5.64599, -0.9486017129509775, 0.31647241615419075],
    ),
]


def _worst() -> Iterator[tuple[Case, str, list[list[float]]]]:
    """The pairs that suffered most when a constant of `elutheory.kernels.panels` was moved on purpose."""
    for case, quantity, (*means_and_stds, cosine, sine) in WORST:
        angle = math.atan2(sine, cosine)
        yield case, quantity, [[*means_and_stds, math.cos(angle), math.sin(angle)]]


POINT_SETS: dict[str, Callable[[], Iterator[tuple[Case, str, list]]]] = {
    "random": _random,
    "correlation one": _correlation_one,
    "uncorrelated": _uncorrelated,
    "extremes": _extremes,
    "users": _users,
    "users' bends": _users_bends,
    "gradients": _gradients,
    "conditional slope": _conditional_slope,
    "small angles": _small_angles,
    "worst": _worst,
    "twelve decades": _twelve_decades,
}


# --- the values ----------------------------------------------------------------------------------------------------


def certified(case: Case, quantity: str, numbers: list[float]) -> float:
    """Of a pair (five numbers) or of an angle (six), to rounding."""
    f = definition(*case)
    if len(numbers) == 5:
        return float(pair_oracle.certified(f, quantity, Pair(*numbers)).mid())
    bits = 128
    while True:
        with oracle.precision(bits):
            balls = [arb(x) for x in numbers]
            if numbers[5] < 0.1:  # the sine is the exact one of the two
                balls[4] = (1 - balls[5] * balls[5]).sqrt() * (1 if numbers[4] > 0 else -1)
            value = pair_oracle.quantity_at(f, quantity, Angles(*balls))
            if value.rel_accuracy_bits() >= pair_oracle.WANTED_BITS:
                return float(value.mid())
        bits *= 2


def evaluate(activation: et.Activation, quantity: str, numbers: list[list[float]]) -> np.ndarray:
    """What the package finds."""
    columns = np.array(numbers).T
    if len(columns) == 5:
        return FUNCTIONS[quantity](activation, *columns).value
    pair = PairArguments(*columns)
    return evaluate_pairs(activation, (quantity,), pair)[0][0]


def tolerance(activation: et.Activation, quantity: str, numbers: list[float], want: float) -> float:
    """Of the value 1e-13 of sqrt(E f(U)² E f(V)²), relative 1e-13 of the slope and 1e-12 of the covariance."""
    if quantity != "value":
        return (1e-13 if quantity == "slope" else 1e-12) * abs(want) + SMALLEST
    if len(numbers) == 5:
        sides = [(numbers[3], math.sqrt(numbers[0])), (numbers[4], math.sqrt(numbers[1]))]
    else:
        sides = [(numbers[0], numbers[2]), (numbers[1], numbers[3])]
    moments = [float(et.gaussian_moments(activation, *side).second_moment) for side in sides]
    return 1e-13 * math.sqrt(moments[0]) * math.sqrt(moments[1]) + SMALLEST


def computed(point_set: str) -> Iterator[Record]:
    """The records of a set, from the oracle."""
    for case, quantity, points in POINT_SETS[point_set]():
        f, activation = definition(*case), of_name(*case)
        if point_set == "gradients":
            want = [[float(x.mid()) for x in pair_oracle.gradient(f, quantity, pair)] for pair in points]
            yield Record(*case, quantity, [[*pair.arguments] for pair in points], want, [0.0] * len(points))
            continue
        numbers = [[*point.arguments] if isinstance(point, Pair) else point for point in points]
        want = [certified(case, quantity, row) for row in numbers]
        allowance = []
        for row, certain, got in zip(numbers, want, evaluate(activation, quantity, numbers), strict=True):
            kept = abs(float(got) - certain) <= tolerance(activation, quantity, row, certain)
            needed = not kept and len(row) == 5 and case[0] not in USERS
            allowance.append(float(pair_oracle.allowance(f, quantity, Pair(*row)).mid()) if needed else 0.0)
        yield Record(*case, quantity, numbers, want, allowance)


def main(chosen: list[str]) -> None:
    """Compute the chosen sets, all by default, and write the file."""
    kept = json.loads(FILE.read_text()) if FILE.exists() else {}
    for point_set in chosen or POINT_SETS:
        kept[point_set] = [asdict(record) for record in computed(point_set)]
        lines = [
            f" {json.dumps(name)}: [\n" + ",\n".join("  " + json.dumps(record) for record in kept[name]) + "\n ]"
            for name in POINT_SETS
            if name in kept
        ]
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
