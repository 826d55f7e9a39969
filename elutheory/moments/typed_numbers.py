"""Numbers as they are typed on a command line: exactly, and in double precision; ranges start:stop:count."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from elutheory.errors import InputError


@dataclass(frozen=True)
class Number:
    """A number as it was typed: exactly, and in double precision."""

    text: str
    exact: Fraction | None  # None for ±inf
    value: float


_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,3})?|[+-]?\d{1,400}/\d{1,400}")


def _number(name: str, text: str) -> Number:
    if text.lower().lstrip("+-") in ("inf", "infinity"):
        return Number(text, None, float(text))
    if not _NUMBER.fullmatch(text):
        raise InputError(f"--{name} {text!r} is no number; write one such as -1.5, 1e-3 or 2/3, or start:stop:count.")
    try:
        exact = Fraction(text)
        value = float(exact)
    except (ZeroDivisionError, OverflowError):
        raise InputError(f"--{name} {text!r} is not finite; write a finite number, inf or -inf.") from None
    return Number(text, exact, value)


def typed_numbers(name: str, texts: Sequence[str]) -> list[Number]:
    """The numbers of the option --`name`: each a number, or start:stop:count. Raises InputError."""
    numbers: list[Number] = []
    for text in texts:
        if ":" not in text:
            numbers.append(_number(name, text))
            continue
        parts = text.split(":")
        if len(parts) != 3 or not re.fullmatch(r"\d{1,6}", parts[2]) or int(parts[2]) < 2:
            raise InputError(f"--{name} {text!r} is no range; write start:stop:count with a count of 2 or more.")
        start, stop, count = _number(name, parts[0]), _number(name, parts[1]), int(parts[2])
        if start.exact is None or stop.exact is None:
            raise InputError(f"--{name} {text!r} has an infinite end; a range needs finite ends.")
        for index in range(count):
            exact = start.exact + (stop.exact - start.exact) * Fraction(index, count - 1)
            numbers.append(Number(f"{float(exact):.6g}", exact, float(exact)))
    if not numbers:
        raise InputError(f"--{name} names nothing; give a number or start:stop:count.")
    return numbers
