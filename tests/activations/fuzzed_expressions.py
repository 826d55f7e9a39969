"""Expressions of a user's own, legal and illegal, and every public way that takes them: works, or one sentence.

`python -m tests.activations.fuzzed_expressions` draws them again, from the grammar and by hand, and writes
fuzzed_expressions.json beside this file: which of them `Activation.from_text` takes.
"""

import contextlib
import io
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from flint import fmpq

import elutheory as et
from elutheory.activations import Activation
from elutheory.activations.expression_parser import FUNCTIONS
from elutheory.errors import InputError
from elutheory.moments.certified import certified_moments
from elutheory.moments.command import main
from elutheory.output.command_line import BAD_INPUT, UNDECIDED, VERIFIED

KEPT = Path(__file__).with_suffix(".json")
_DRAWN, _SEED = 240, 1511_07289
_LEAVES = ("x", "x", "x", "x", "1", "2", "0.5", "-3", "pi", "e", "1e-5", "1e5", "7")
_BY_HAND = """
where(x>0,1/x,0) | where(x<0,exp(-1/x**2),0) | log(abs(x)) | where(x>0,log(x),0) | where(x>0,x*log(x),0) | sqrt(abs(x))
abs(x)**0.3 | abs(x)**-0.5 | abs(x)**1.5 | where(x>0,exp(-1/x),0) | where(x>0,exp(1/x),0) | where(x>0,sin(1/x),0)
where(x>0,x*sin(1/x),0) | where(x>0,sin(x)/x,1) | where(x<0,(exp(x)-1)/x,1) | where(x>0,atan(1/x),0) | relu(x)**0.5
where(x>0,tanh(1/x),0) | where(x>0,x**x,1) | where(x>0,x**-x,1) | where(x>0,x**(1/3),0) | where(x>0,log(log(x+1)),0)
where(x>0,sqrt(log(1+x)),0) | where(x>1,1/(x-1),0) | where(x>=1,1/(x-1),0) | where(x>1,sqrt(x**2-1),0)
where(x>0,1/sinh(x),0) | where(x>0,1/sin(x),0) | where(x<0,x/(exp(x)-1),1) | where(abs(x)>0,sin(x)/x,1)
where(x>pi,sin(x)/(x-pi),-1) | where(x>pi,x,0) | where(x>10,x,0) | where(x>1e29,x,0) | where(x>1e290,x,0)
where(x**3-x-1>0,x,0) | where(x**5-x-1>0,x,0) | where(x**9-1>0,x,0) | where(x**2>pi,x,0) | where(exp(x)>2,x,0)
where(sin(x)>0,x,0) | where(1<0,x,0) | where(x<x,x,0) | where(x>1e-30,where(x>0,1,2),3) | where(0<x<1<x**2,x,0)
sin(x)/x | (exp(x)-1)/x | 1/x | 1/(x**2+1) | x/x | x-x | x**0 | x**-1 | x**0.5 | x**x | 2**x | (-2)**x | 0**x
1e300**x | exp(x**2) | exp(exp(exp(x))) | exp(-exp(-exp(-exp(x)))) | exp(1e10*x) | sin(100*x) | sin(1e10*x)
sin(x**10) | sin(exp(x)) | tanh(1e10*x) | tanh(1e300*x)
erf(1e10*x) | softplus(1e10*x) | x*1e300 | 1e-300*x | x+1e16 | (x+1e16)-1e16 | erfc(x)
x*erfc(-x) | x*erf(x) | log(erfc(x)) | sqrt(x) | log(x) | sqrt(1-x**2) | (x**2+1)**50 | (1+exp(x))**-100 | x**100
tanh(x)**100 | cosh(x)**-1 | asinh(x**50) | 1/abs(x) | 1/relu(x) | 1/(1+relu(x)) | sign(1/x) | max(x,x**2) | max(x,1/x)
max(sqrt(2)*sqrt(3)-sqrt(6),x) | max(x,2*x,3*x,4*x,5*x) | 9**9**9 | (9**99)**9 | 2**4096 | 1e301*x | x*2**1000
((x**5)**5)**4 | (((x**100)**100)**100)**100 | max(x-e,logistic(1e10)) | 99999999999999999999999999999999999999999*x
""".replace("\n", "|")
_NESTED = (
    *(f"{name}(" * depth + "x" + ")" * depth for name in FUNCTIONS[:-3] for depth in (7, 24, 49)),
    *("(" * depth + "x" + f")**{power}" * depth for depth in (2, 5, 20) for power in (2, 9, 100)),
    *("-" * depth + "x" for depth in (10, 200, 900)),
    *("x" + sign + f"{sign}".join(["x"] * count) for sign in "+*" for count in (10, 100, 400)),
    *("where(x>0," * depth + "x" + ",x+1)" * depth for depth in (3, 12, 40)),
    *("max(" * depth + "x" + ",x**2-1)" * depth for depth in (3, 10, 40)),
    "+".join(f"abs(x-{place})" for place in range(60)),
    "*".join(f"abs(x-{place})" for place in range(15)),
    "+".join(f"where(x>{place},sin({place}*x),x**{place})" for place in range(1, 20)),
)


def drawn_expressions() -> list[str]:
    """All of them: by hand, nested, and from the grammar."""
    generator = random.Random(_SEED)
    by_hand = [text.strip() for text in _BY_HAND.split("|") if text.strip()]
    drawn = [_expression(generator, generator.choice([2, 3, 4])) for _ in range(_DRAWN)]
    return list(dict.fromkeys([*by_hand, *_NESTED, *drawn]))


def _expression(generator: random.Random, depth: int) -> str:
    kind = generator.random()
    if depth <= 0 or kind < 0.15:
        return generator.choice(_LEAVES)

    def part(less: int = 1) -> str:
        return _expression(generator, depth - less)

    if kind < 0.45:
        return f"{generator.choice(FUNCTIONS[:-3])}({part()})"
    if kind < 0.75:
        return f"({part()}{generator.choice('+-*/')}{part()})"
    if kind < 0.83:
        return f"({part()})**{generator.choice(['2', '3', '-1', '0.5', '-2', 'x', '7', '1/3', '-0.5'])}"
    if kind < 0.92:
        return f"{generator.choice(['max', 'min'])}({part()},{part()})"
    return f"where({part(2)}{generator.choice(['<', '<=', '>', '>='])}{part(2)},{part()},{part()})"


def _torch_module(function: Activation) -> None:
    x = torch.linspace(-3, 3, 13, dtype=torch.float64, requires_grad=True)
    function.torch_module()(x).sum().backward()


ENTRIES: dict[str, Callable[[Activation], object]] = {
    "gaussian_moments": lambda f: et.gaussian_moments(f, np.array([-3.0, 0.0, 1.5]), np.array([0.5, 1.0, 2.0])),
    "dual_kernel": lambda f: et.dual_kernel(f, 1.0, 2.0, 0.7),
    "propagate": lambda f: et.propagate(f, 2, 1.0),
    "certified_moments": lambda f: certified_moments(f, fmpq(0), fmpq(1), 20),
    "torch_module": _torch_module,
}
"""What takes an activation function, by name."""


def refused(run: Callable[[], object]) -> str | None:
    """The sentence in which a call refuses its input, None if it works; any other exception passes."""
    try:
        run()
    except InputError as error:
        sentence = str(error)
        assert sentence.endswith("."), sentence
        assert "\n" not in sentence
        return sentence
    return None


def run_command(text: str) -> int:
    """The exit code of `python -m elutheory.moments --expression=TEXT`, which is no failed check; nothing printed."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = main([f"--expression={text}"])
    assert code in (VERIFIED, BAD_INPUT, UNDECIDED), said.getvalue()
    assert "Traceback" not in said.getvalue()
    return code


def write() -> None:
    """Draw the expressions and keep them, the legal ones apart from those that are refused, with the reasons."""
    outcomes = {text: refused(lambda text=text: Activation.from_text(text)) for text in drawn_expressions()}
    legal = [text for text, reason in outcomes.items() if reason is None]
    illegal = {text: reason for text, reason in outcomes.items() if reason is not None}
    KEPT.write_text(json.dumps({"legal": legal, "illegal": illegal}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
