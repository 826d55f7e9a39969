"""Kernel and tangent kernel of a deep ELU net, certified to 30 digits: writes `propagation_reference.json` beside it.

Run as `python benchmarks/propagation_reference.py`. Shares no code with elutheory: K1 and K2 for zero means as sums of
bivariate normal probabilities, these by Plackett's integral in Arb's balls; each ball carries its error through all
layers. Some layers are checked against the integral of f(u) E[f(V) | U = u], which shares no formula with K1 and K2.
"""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
from flint import acb, arb, ctx, fmpq

LEFT, RIGHT, DIMENSION, DEPTH = 25, 40, 8, 20
WEIGHT_VARIANCE, BIAS_VARIANCE = fmpq(25, 16), fmpq(1, 100)  # sigma_w = 1.25, sigma_b = 0.1
GRID = 64  # inputs are multiples of 1/64: their inner products are exact in float64
BITS, DIGITS = 256, 30  # the balls widen tenfold a layer
CHECKED_PAIRS = 4
TARGET = Path(__file__).with_suffix(".json")


def inputs(count: int, rng: np.random.Generator) -> list[list[float]]:
    """Gaussian directions, norms spread by a factor exp(0.3 N(0, 1)), rounded to the grid."""
    spread = np.exp(0.3 * rng.standard_normal((count, 1)))
    return (np.round(GRID * spread * rng.standard_normal((count, DIMENSION))) / GRID).tolist()


def inner_product(x: list[float], y: list[float]) -> fmpq:
    """x·y / dimension, exactly."""
    total = sum((Fraction(a) * Fraction(b) for a, b in zip(x, y, strict=True)), Fraction(0)) / DIMENSION
    return fmpq(total.numerator, total.denominator)


def normal_probability(x: arb) -> arb:
    """P(Z <= x)."""
    return (-x / arb(2).sqrt()).erfc() / 2


def normal_density(x: arb) -> arb:
    """The density of Z at x."""
    return (-x * x / 2).exp() / (2 * arb.pi()).sqrt()


def both_below(h: arb, k: arb, correlation: arb) -> arb:
    """P(Z1 <= h, Z2 <= k) by Plackett's identity, integrated over the angle asin(correlation)."""

    def integrand(t: acb, _: bool) -> acb:
        sine, cosine = t.sin(), t.cos()
        return (-(h * h - 2 * h * k * sine + k * k) / (2 * cosine * cosine)).exp()

    integral = acb.integral(integrand, acb(0), acb(correlation.asin())).real
    return normal_probability(h) * normal_probability(k) + integral / (2 * arb.pi())


def elu_second_moment(s: arb) -> arb:
    """E elu(s Z)²."""
    return (
        s * s / 2
        + (2 * s * s).exp() * normal_probability(-2 * s)
        - 2 * (s * s / 2).exp() * normal_probability(-s)
        + arb(1) / 2
    )


def elu_pair(s: arb, t: arb, correlation: arb) -> tuple[arb, arb]:
    """E f(U)f(V) and E f'(U)f'(V) of zero-mean U, V of standard deviations s, t: K1 and K2 at zero means."""
    r, sine = correlation, (1 - correlation * correlation).sqrt()
    quadrant = arb(1) / 4 + r.asin() / (2 * arb.pi())
    tilted_u, tilted_v = (s * s / 2).exp(), (t * t / 2).exp()
    tilted = ((s * s + 2 * r * s * t + t * t) / 2).exp() * both_below(-s - r * t, -t - r * s, r)
    below_u, below_v = both_below(-s, -r * s, r), both_below(-r * t, -t, r)
    # P(one above, the other below) after tilting the one below
    above_v, above_u = normal_probability(-s) - below_u, normal_probability(-t) - below_v

    def above_times_below(scale: arb, width: arb, probability: arb) -> arb:
        """E[U+ (e^V - 1); V < 0] for U of standard deviation `scale`, V of `width`."""
        tilt = (
            r * width * probability
            + normal_density(r * width) * normal_probability(-sine * width)
            - r * normal_density(width) / 2
        )
        return scale * ((width * width / 2).exp() * tilt - normal_density(arb(0)) * (1 - r) / 2)

    value = (
        s * t * (r * quadrant + sine / (2 * arb.pi()))
        + above_times_below(s, t, above_u)
        + above_times_below(t, s, above_v)
        + tilted
        - tilted_u * below_u
        - tilted_v * below_v
        + quadrant
    )
    return value, quadrant + tilted_v * above_u + tilted_u * above_v + tilted


def elu_pair_by_conditioning(s: arb, t: arb, correlation: arb) -> tuple[arb, arb]:
    """The same two numbers as one integral over U of f(u) E[f(V) | U = u]."""
    width = t * (1 - correlation * correlation).sqrt()
    root_two = arb(2).sqrt()

    def below(x: acb) -> acb:
        return (x / root_two).erfc() / 2

    def conditional(z: acb, order: int) -> acb:
        mean = correlation * t * z
        growing = (mean + width * width / 2).exp() * below(mean / width + width)
        if order:
            return below(-mean / width) + growing
        density = (-mean * mean / (2 * width * width)).exp() / (2 * arb.pi()).sqrt()
        return mean * below(-mean / width) + width * density + growing - below(mean / width)

    def integral(order: int) -> arb:
        def right(z: acb, _: bool) -> acb:
            return (1 if order else s * z) * conditional(z, order) * (-z * z / 2).exp()

        def left(z: acb, _: bool) -> acb:
            return ((s * z).exp() - (0 if order else 1)) * conditional(z, order) * (-z * z / 2).exp()

        reach = 18  # exp(-18²/2) < 1e-70
        parts = acb.integral(left, -reach, 0).real + acb.integral(right, 0, reach).real
        return parts / (2 * arb.pi()).sqrt()

    return integral(0), integral(1)


def through_layer(second_moment: arb) -> arb:
    """sigma_w² second moment + sigma_b²."""
    return second_moment * arb(WEIGHT_VARIANCE) + arb(BIAS_VARIANCE)


def norms_by_layer(x: list[float]) -> list[arb]:
    """Standard deviation of the net inputs of layers 1 to DEPTH."""
    moments = [through_layer(arb(inner_product(x, x)))]
    while len(moments) < DEPTH:
        moments.append(through_layer(elu_second_moment(moments[-1].sqrt())))
    return [moment.sqrt() for moment in moments]


def pair_through_net(x: list[float], y: list[float], left: list[arb], right: list[arb], check: bool) -> tuple[arb, arb]:
    """Kernel and tangent kernel of the linear read-out of DEPTH hidden layers."""
    kernel = through_layer(arb(inner_product(x, y)))
    tangent = kernel
    for layer, (s, t) in enumerate(zip(left, right, strict=True)):
        correlation = kernel / (s * t)
        value, slope = elu_pair(s, t, correlation)
        if check and layer in (0, 1, DEPTH - 1):
            for one, other in zip((value, slope), elu_pair_by_conditioning(s, t, correlation), strict=True):
                assert abs(one - other) < arb(10) ** -DIGITS, (layer, one, other)
        kernel = through_layer(value)
        tangent = kernel + arb(WEIGHT_VARIANCE) * slope * tangent
    return kernel, tangent


def decimal(value: arb) -> str:
    """30 correct digits, or an error: nothing is written that the ball does not prove."""
    assert value.rad() < abs(value.mid()) * arb(10) ** -DIGITS, value
    return value.mid().str(DIGITS, radius=False)


def main() -> None:
    """Writes the file."""
    ctx.prec = BITS
    rng = np.random.default_rng(0)
    left, right = inputs(LEFT, rng), inputs(RIGHT, rng)
    left_norms, right_norms = ([norms_by_layer(x) for x in rows] for rows in (left, right))
    kernel, tangent = [], []
    for i, x in enumerate(left):
        pairs = [
            pair_through_net(x, y, left_norms[i], right_norms[j], check=i == j and i < CHECKED_PAIRS)
            for j, y in enumerate(right)
        ]
        kernel.append([decimal(pair[0]) for pair in pairs])
        tangent.append([decimal(pair[1]) for pair in pairs])
    diagonals = [
        [decimal(through_layer(elu_second_moment(norms[-1]))) for norms in rows] for rows in (left_norms, right_norms)
    ]
    content = {
        "generator": "propagation_reference.py",
        "depth": DEPTH,
        "left": left,
        "right": right,
        "left_second_moments": diagonals[0],
        "right_second_moments": diagonals[1],
        "kernel": kernel,
        "tangent_kernel": tangent,
    }
    TARGET.write_text(json.dumps(content, indent=0) + "\n")


if __name__ == "__main__":
    main()
