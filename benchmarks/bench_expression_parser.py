"""Seconds in which the parser refuses text made to keep it busy: `pytest benchmarks -o addopts= -s`."""

import time

import pytest

from elutheory.activations.expression_parser import parse_expression
from elutheory.errors import InputError

LIMIT = 2.0
TEXTS = (
    "9**9**9",
    "((9**99)**99)**99",
    "1e999999999",
    "1e-999999999",
    "exp(exp(exp(100)))",
    "softplus((0.1 ** -3) * log(9))",
    "where(9 > sqrt(min(x, -3)), 1, 2)",
    "x**101",
    "x" + "+x" * 600,
    "(" * 60 + "x" + ")" * 60,
    "-" * 200 + "x",
)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:30])
def test_a_refusal_takes_less_than_two_seconds(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(InputError):
        parse_expression(text)
    seconds = time.perf_counter() - start
    print(f"\n{text[:30]}: {1e3 * seconds:.1f} ms")
    assert seconds < LIMIT
