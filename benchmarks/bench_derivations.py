"""Seconds to verify the moments of activations with closed forms (M3–M7): `pytest benchmarks -o addopts= -s`."""

import time

from elutheory.activations import activation
from elutheory.derivations.moments.moments_of_activations import activation_moments

CLOSED_FORMS = ("identity", "relu", "leaky_relu", "shifted_relu", "elu", "celu", "selu", "hard_tanh", "relu6")
ONE_LIMIT, ALL_LIMIT = 5.0, 60.0  # seconds


def test_one_activation_takes_seconds_and_the_registry_less_than_a_minute() -> None:
    seconds = {}
    for name in CLOSED_FORMS:
        start = time.perf_counter()
        activation_moments(activation(name)).verify()
        seconds[name] = time.perf_counter() - start
        print(f"\n{name}: {seconds[name]:.2f} s", end="")
    print(f"\nall: {sum(seconds.values()):.1f} s")
    assert max(seconds.values()) < ONE_LIMIT
    assert sum(seconds.values()) < ALL_LIMIT
