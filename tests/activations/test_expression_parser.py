"""The parser accepts the little language, refuses everything else in one sentence, and fails in no other way."""

import inspect
import json
import math
import re
from pathlib import Path

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from elutheory.activations import Activation
from elutheory.activations.expression_parser import FUNCTIONS, parse_expression
from elutheory.errors import InputError
from tests.activations.fuzzed_expressions import ENTRIES, KEPT, drawn_expressions, refused, run_command

X = sympy.Symbol("x", real=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", X),
        (" 0.1 * x ", X / 10),
        ("1_000*x", 1000 * X),
        ("-x**2 + 3/4", sympy.Rational(3, 4) - X**2),
        ("+x - -1", X + 1),
        ("1.5e-3*x", sympy.Rational(3, 2000) * X),
        ("2**x", 2**X),
        ("pi*x + e", sympy.pi * X + sympy.E),
        ("expm1(x)", sympy.exp(X) - 1),
        ("log1p(x**2)", sympy.log(1 + X**2)),
        ("sqrt(x**2 + 1)", sympy.sqrt(X**2 + 1)),
        ("abs(x)", sympy.Abs(X)),
        ("max(0, x, 1)", sympy.Max(1, X)),
        ("min(max(x, -1), 1)", sympy.Min(1, sympy.Max(-1, X))),
        ("sigmoid(x)", 1 / (1 + sympy.exp(-X))),
        ("softplus(2*x)", sympy.log(1 + sympy.exp(2 * X))),
        ("where(x > 0, x, expm1(x))", sympy.Piecewise((X, X > 0), (sympy.exp(X) - 1, True))),
        ("where(-1 <= x < 1, x, 0)", sympy.Piecewise((X, (X >= -1) & (X < 1)), (0, True))),
        ("where(not (x < -1 or x > 1), x, 0)", sympy.Piecewise((X, (X >= -1) & (X <= 1)), (0, True))),
    ],
)
def test_accepted(text: str, expected: sympy.Expr) -> None:
    # sympy's arithmetic on hand-built trees is the reference
    parsed = parse_expression(text)
    assert parsed == expected or sympy.simplify(parsed.subs(X, 0.3) - expected.subs(X, 0.3)) == 0


def test_other_variable() -> None:
    assert parse_expression("t**2", variable="t") == sympy.Symbol("t", real=True) ** 2
    with pytest.raises(InputError, match="'x' at column 1"):
        parse_expression("x", variable="t")
    with pytest.raises(InputError, match="variable must be"):
        parse_expression("x", variable="exp")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("x +", "syntax error at column"),
        ("x.real", r"'x.real' at column 1 is not allowed; allowed are numbers"),
        ("1 + x[0]", r"'x\[0\]' at column 5 is not allowed"),
        ("(lambda: x)()", "is not allowed"),
        ("'x'", 'character "\'" at column 1'),
        ('f"{x}"', "character"),
        ("__import__(x)", "calls an unknown function"),
        ("__class__", "is not a known name; known are x, pi, e, exp"),
        ("exp(x=1)", "is not allowed"),
        ("exp(*x)", "is not allowed"),
        ("[x for x in x]", "is not allowed"),
        ("(x := 1)", "is not allowed"),
        ("x if x > 0 else 0", "is not allowed"),
        ("x and x", "is not allowed"),
        ("x > 0", "is not allowed"),
        ("x // 2", "is not allowed"),
        ("x % 2", "is not allowed"),
        ("~x", "is not allowed"),
        ("True", "is not allowed"),
        ("None", "is not allowed"),
        ("1j", "is not allowed"),
        ("...", "is not allowed"),
        ("expp(x)", "did you mean exp"),
        ("exp", r"is a function; call it, as in exp\(x\)"),
        ("exp(x, x)", "one argument"),
        ("max(x)", "at least two"),
        ("where(x > 0, x)", "three arguments"),
        ("where(x, x, x)", "'x' at column 7 is not a condition"),
        ("where(x == 0, x, x)", "other than < <= > >="),
        ("x / 0", "'0' at column 5 is zero"),
        ("x / (1 - 1)", "is zero"),
        ("0**-1", "divides by zero"),
        ("log(0)", "outside the domain of log"),
        ("log(-1)", "not a"),
        ("sqrt(-1)", "outside the domain"),
        ("(-8)**(1/3)", "raises a negative number"),
        ("nan", "is not a known name"),
        ("inf", "is not a known name"),
        ("9**9**9", "exponent beyond ±100"),
        ("((9**99)**99)**99", "too large"),
        ("1e999999999", "out of range"),
        ("1e-999999999", "out of range"),
        ("exp(exp(exp(100)))", "constant argument beyond ±690"),
        ("softplus((0.1 ** -3) * log(9))", "constant argument beyond ±690"),
        ("where(9 > sqrt(min(x, -3)), 1, 2)", "'sqrt.*' at column 11 is not a finite real number"),
        ("x**101", "exponent beyond"),
        ("x" + "+x" * 600, "at most 1000"),
        ("(" * 60 + "x" + ")" * 60, "deeper than the 50"),
        ("-" * 200 + "x", "nested too deeply"),
        ("x\x00", "character"),
        ("x\n+1", "character"),
        ("ｘ", "character"),
        ("x; x", "character"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_expression(text)


HOSTILE = json.loads((Path(__file__).parent / "hostile_expressions.json").read_text(encoding="utf-8"))


FUZZED = json.loads(KEPT.read_text(encoding="utf-8"))
ONCE_TRACEBACKS = [
    "where(x>0,1/x,0)",
    "where(x<0,exp(-1/x**2),0)",
    "where(x>0,x*log(x),0)",
    "where(x>0,sin(x)/x,1)",
    "where(x>0,atan(1/x),0)",
    "where(x>0,sqrt(log(1+x)),0)",
    "log(abs(x))",
]


@pytest.mark.parametrize(("text", "value"), HOSTILE["accepted"].items())
def test_legal_however_odd(text: str, value: float) -> None:
    """Values at 1/2, by hand; each once ended in a traceback, or took seconds or gigabytes."""
    assert Activation.from_text(text)(0.5) == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize(("text", "reason"), HOSTILE["refused"].items())
def test_refused_before_anything_is_computed(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=re.escape(reason)):
        Activation.from_text(text)


@pytest.mark.parametrize(("text", "reason"), FUZZED["illegal"].items())
def test_what_was_refused_is_refused_for_that_reason(text: str, reason: str) -> None:
    assert refused(lambda: Activation.from_text(text)) == reason


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("text", ONCE_TRACEBACKS)
def test_legal_expressions_work_or_are_refused_in_one_sentence(text: str, entry: str) -> None:
    """Pieces that meet at a limit, at a pole or not at all, and functions that are real on a part of the axis only."""
    function = Activation.from_text(text)
    refused(lambda: ENTRIES[entry](function))


@pytest.mark.exhaustive
@pytest.mark.parametrize("text", FUZZED["legal"])
def test_every_legal_expression_in_every_entry(text: str) -> None:
    function = Activation.from_text(text)
    for run in ENTRIES.values():
        refused(lambda run=run: run(function))
    run_command(text)


def test_drawn_expressions_are_those_that_are_kept() -> None:
    assert set(drawn_expressions()) == {*FUZZED["legal"], *FUZZED["illegal"]}


def test_text_only() -> None:
    with pytest.raises(InputError, match="not int"):
        inspect.unwrap(parse_expression)(3)  # the import hook would refuse first


def test_error_is_one_sentence() -> None:
    with pytest.raises(InputError) as caught:
        parse_expression("import os")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


WORDS = [*FUNCTIONS, "x", "pi", "e", "0", "1", "2.5", "9", "1e9", "1e300", "(", ")", ",", "+", "-", "*", "/", "**", "<"]
DEBRIS = [
    " and ",
    " or ",
    "not ",
    ".",
    "[",
    "]",
    "lambda",
    ":",
    "=",
    ":=",
    "__",
    "'",
    "\\",
    "\x00",
    "é",
    " ",
    "0x",
    "_",
    "j",
]
TOKENS = st.sampled_from([*WORDS, *DEBRIS])


def parses_or_refuses(text: str) -> None:
    try:
        parsed = parse_expression(text)
    except InputError:
        return
    assert isinstance(parsed, sympy.Expr)
    assert parsed.free_symbols <= {X}


@given(st.one_of(st.text(max_size=60), st.lists(TOKENS, max_size=20).map("".join)))
def test_any_text_parses_or_is_refused(text: str) -> None:
    parses_or_refuses(text)


def sentences() -> st.SearchStrategy[str]:
    leaves = st.sampled_from(["x", "x", "1", "2.5", "0", "-3", "pi", "1e300", "9"])

    def extended(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        unary = st.sampled_from([name for name in FUNCTIONS if name not in ("max", "min", "where")])
        return st.one_of(
            st.builds("{}({})".format, unary, inner),
            st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "**"]), inner),
            st.builds("{}({}, {})".format, st.sampled_from(["max", "min"]), inner, inner),
            st.builds("where({} > {}, {}, {})".format, inner, inner, inner, inner),
        )

    return st.recursive(leaves, extended, max_leaves=5)


@given(sentences())
def test_well_formed_text_parses_or_is_refused(text: str) -> None:
    parses_or_refuses(text)


@given(sentences())
def test_what_becomes_an_activation_is_a_real_function(text: str) -> None:
    try:
        function = Activation.from_text(text)
    except InputError:
        return
    assert not math.isnan(function(0.5))
