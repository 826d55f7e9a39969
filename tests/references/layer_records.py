"""Certified ELU layers and kernels on grids, minutes to compute, kept as data in `layer_records.json`.

`python -m tests.references.layer_records` computes all of them again in Arb balls, by formulas that the package does
not use; it is to be run when a case below is changed. Exhaustive tests of `gram` and `propagation` recompute them.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flint import acb, arb

from tests.references.oracle import moments_at, pieces, precision
from tests.references.pair_oracle import Pair, angles, quantity_at

FILE = Path(__file__).with_suffix(".json")

GRAMS = ((1.0, 1.0, 0.3), (0.7, 1.9, -0.4))
GRAM_DEPTH, GRAM_VARIANCES = 20, (1.5625, 0.0625)
NETWORKS = ((1.0, 0.1, 0.3), (1.5625, 0.01, 1 - 1e-9))
NETWORK_DEPTH = 30
GRIDS = tuple((name, order) for name in ("elu", "selu") for order in (0, 1))
STDS = (0.0625, 0.75, 3.0, 12.0)
ANGLES = (1e-3, 0.4, 1.5, 2.9)


def _rounded(ball: arb, bits: int) -> float:
    """The ball's middle, proved to so many bits."""
    assert ball.rel_accuracy_bits() > bits
    return float(ball.mid())


def gram_layers(u: float, v: float, c: float) -> list[list[float]]:
    """E U², E V², E UV and Θ of layers 1 … depth + 1 of two inputs with x·x, y·y, x·y over n_0 = u, v, c."""
    f, layers = pieces("elu"), []
    with precision(130):
        w, b = map(arb, GRAM_VARIANCES)
        u, v, c = (w * arb(value) + b for value in (u, v, c))
        tangent = c
        for layer in range(GRAM_DEPTH + 1):
            layers.append([_rounded(ball, 50 if ball is tangent else 60) for ball in (u, v, c, tangent)])
            if layer == GRAM_DEPTH:
                break
            at = angles(Pair(u, v, c))
            value, slope = quantity_at(f, "value", at), quantity_at(f, "slope", at)
            u, v = (w * moments_at(f, arb(0), q.sqrt())["second_moment"] + b for q in (u, v))
            c = w * value + b
            tangent = c + w * slope * tangent
    return layers


def network_layers(weight_variance: float, bias_variance: float, overlap: float) -> list[list[float]]:
    """q, c and q − c of layers 1 … depth: E f² by the closed form M4, E f(U)f(V) as an integral of f(u) E[f(V) | u]."""
    with precision(260):
        balls = _network_layers(weight_variance, bias_variance, overlap, 130)
        return [[_rounded(ball, 66) for ball in (q, c, q - c)] for q, c in balls]


def _network_layers(
    weight_variance: float, bias_variance: float, overlap: float, bits: int
) -> Iterator[tuple[arb, arb]]:
    def distribution(z: acb) -> acb:
        return (-z / arb(2).sqrt()).erfc() / 2

    def density(z: acb) -> acb:
        return (-z * z / 2).exp() / (2 * arb.pi()).sqrt()

    w, b = arb(weight_variance), arb(bias_variance)
    q, c = w + b, w * arb(overlap) + b
    for _ in range(NETWORK_DEPTH):
        yield q, c
        s, tau, reach = q.sqrt(), ((q - c) * (q + c) / q).sqrt(), (arb(2 * bits) + 10).sqrt()

        def integrand(x: acb, value: acb, s: arb = s, tau: arb = tau, slope: arb = c / q) -> acb:
            m = s * slope * x
            z = m / tau
            inner = m * distribution(z) + tau * density(z) - distribution(-z)
            return value * (inner + (m + tau * tau / 2).exp() * distribution(-z - tau)) * density(x)

        below = acb.integral(lambda x, _, s=s: integrand(x, (s * x).exp() - 1), acb(-reach), acb(0))
        above = acb.integral(lambda x, _, s=s: integrand(x, s * x), acb(0), acb(reach))
        exponentials = (2 * q).exp() * distribution(-2 * s) - 2 * (q / 2).exp() * distribution(-s)
        second = (q + 1) / 2 + exponentials.real
        q, c = w * second + b, w * (below + above).real + b


def grid(name: str, order: int) -> dict[str, Any]:
    """E[f^(order)(U) f^(order)(V)] of `STDS` × every second one × `ANGLES`, and the root mean squares for `STDS`."""
    f = pieces(name)
    with precision(130):
        squares = [moments_at(f, arb(0), arb(std))[("second_moment", "slope_second_moment")[order]] for std in STDS]

        def kernel(s: float, t: float, angle: float) -> float:
            s, t = arb(s), arb(t)
            pair = Pair(s * s, t * t, s * t * arb(angle).cos())
            return _rounded(quantity_at(f, ("value", "slope")[order], angles(pair)), 50)

        values = [[[kernel(s, t, angle) for angle in ANGLES] for t in STDS[::2]] for s in STDS]
        return {"values": values, "roots": [_rounded(square.sqrt(), 60) for square in squares]}


KINDS = {"gram layers": (GRAMS, gram_layers), "network layers": (NETWORKS, network_layers), "grids": (GRIDS, grid)}


def cases(kind: str) -> list[tuple[Any, Any]]:
    """The cases of one kind, each with its record from the file."""
    return list(zip(KINDS[kind][0], json.loads(FILE.read_text())[kind], strict=True))


def main() -> None:
    """Compute all and write the file."""
    computed = {kind: [compute(*case) for case in of_kind] for kind, (of_kind, compute) in KINDS.items()}
    lines = [
        f" {json.dumps(kind)}: [\n" + ",\n".join("  " + json.dumps(row) for row in rows) + "\n ]"
        for kind, rows in computed.items()
    ]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
