"""What an option may be, declared once, beside its type: the parser reads it, --help shows it, all work waits for it.

    depth: Annotated[int, Whole(1, 1000)] = 8
    std: Annotated[float, Real(above=0)] | None = None
    width: Annotated[tuple[int, ...], Several(Whole(1, 4096))] = (128,)

The parser reads the metadata as it finds it; `check_domains` checks a dataclass of options, whoever made it.
"""

import math
import numbers
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from tyro.constructors import PrimitiveConstructorSpec

from elutheory.errors import InputError

Element = TypeVar("Element")

LARGEST, SMALLEST = 1e15, 1e-15
"""Bounds of real numbers where an option states no others, the second of those that must be positive: squares and
products of them stay within the range of float32."""


class Domain(PrimitiveConstructorSpec[Any]):
    """Of one value: how it is written (`metavar`), and `complaint`, which is None for one that is allowed."""

    def complaint(self, value: Any) -> str | None:
        """What is needed instead of this value, to follow "name is value; "."""
        raise NotImplementedError

    def extremes(self) -> list[Any]:
        """Values at the ends of the domain and inside it."""
        raise NotImplementedError

    def _set(self, **attributes: Any) -> None:
        for name, held in attributes.items():
            object.__setattr__(self, name, held)  # the parser's specification is frozen


class Whole(Domain):
    """Whole numbers from `least` to `most`."""

    def __init__(self, least: int, most: int) -> None:
        bounds = f"{least}…{most}" if most < 10**4 else f"{least}…{most:.0e}".replace("e+0", "e")
        super().__init__(
            nargs=1,
            metavar=f"INT {bounds}",
            instance_from_str=lambda words: _number(int, words[0], "whole number"),
            is_instance=lambda value: isinstance(value, numbers.Integral) and not isinstance(value, bool),
            str_from_instance=lambda value: [str(value)],
        )
        self._set(least=least, most=most)

    least: int
    most: int

    def complaint(self, value: Any) -> str | None:
        """What is needed instead."""
        if not self.is_instance(value):
            return f"a whole number from {self.least} to {self.most:,} is needed."
        if value < self.least:
            return f"give {self.least} or more."
        return f"give {self.most:,} or less." if value > self.most else None

    def extremes(self) -> list[int]:
        """Its ends, and the next to them."""
        return sorted({self.least, min(self.least + 1, self.most), self.most})


class Real(Domain):
    """Finite numbers from `least` to `most`, or above `above`, below `below`."""

    def __init__(
        self,
        least: float = -LARGEST,
        most: float = LARGEST,
        *,
        above: float = -math.inf,
        below: float = math.inf,
    ) -> None:
        bounds = [
            *([f"≥ {least:g}"] if least > -LARGEST and above < least else []),
            *([f"> {above:g}"] if above >= least else []),
            *([f"≤ {most:g}"] if most < LARGEST and below > most else []),
            *([f"< {below:g}"] if below <= most else []),
        ]
        super().__init__(
            nargs=1,
            metavar=" ".join(["FLOAT", *bounds]),
            instance_from_str=lambda words: _number(float, words[0], "number"),
            is_instance=lambda value: isinstance(value, numbers.Real) and not isinstance(value, bool),
            str_from_instance=lambda value: [str(value)],
        )
        self._set(
            least=least,
            most=most,
            above=above,
            below=below,
            words=" and ".join([*bounds, *([f"≤ {LARGEST:g}"] if bounds and most == LARGEST and below > most else [])])
            or f"≤ {most:g} in size",
        )

    least: float
    most: float
    above: float
    below: float
    words: str

    def complaint(self, value: Any) -> str | None:
        """What is needed instead."""
        if self.is_instance(value) and self.least <= value <= self.most and self.above < value < self.below:
            return None
        return f"a finite number {self.words} is needed."

    def extremes(self) -> list[float]:
        """Its ends, or the numbers next to open ones, and 1 or what is nearest to it."""
        low = max(self.least, math.nextafter(self.above, math.inf))
        high = min(self.most, math.nextafter(self.below, -math.inf))
        return sorted({low, min(max(1.0, low), high), high})


class OneOf(Domain):
    """Words of a list."""

    def __init__(self, *words: str) -> None:
        super().__init__(
            nargs=1,
            metavar=f"{{{','.join(words)}}}",
            instance_from_str=lambda given: given[0],
            is_instance=lambda value: isinstance(value, str),
            str_from_instance=lambda value: [value],
        )
        self._set(words=words)

    words: tuple[str, ...]

    def complaint(self, value: Any) -> str | None:
        """What is needed instead."""
        return None if value in self.words else f"there are {', '.join(self.words)}."

    def extremes(self) -> list[str]:
        """All."""
        return list(self.words)


class OneOfWithNumber(OneOf):
    """Words of a list, the last of which may have a number of a domain after a colon: gaussian:0.5."""

    def __init__(self, *words: str, number: Real) -> None:
        super().__init__(*words)
        self._set(number=number, metavar=f"{{{','.join(words)},{words[-1]}:NUMBER}}")

    number: Real

    def complaint(self, value: Any) -> str | None:
        """What is needed instead."""
        word, colon, text = str(value).partition(":")
        if not colon:
            return super().complaint(value)
        if word != self.words[-1]:
            return f"there are {', '.join(self.words)} and {self.words[-1]}:NUMBER."
        try:
            return self.number.complaint(float(text))
        except ValueError:
            return f"after {word}: a number is needed."

    def parts(self, value: str) -> tuple[str, float | None]:
        """The word, and the number if there is one."""
        word, colon, text = value.partition(":")
        return word, float(text) if colon else None

    def extremes(self) -> list[str]:
        """All words, and the last with numbers."""
        return [*self.words, *(f"{self.words[-1]}:{number!r}" for number in self.number.extremes())]


class Several(Domain):
    """Tuples of `least` to `most` values of a domain (None: words), each once unless `repeated`."""

    def __init__(self, of: Domain | None, least: int = 1, most: int = 1000, *, repeated: bool = False) -> None:
        inner = of.metavar if of is not None else "NAME"
        once = "" if repeated else ", each once"
        super().__init__(
            nargs="*",
            metavar=f"[{inner} …]{once}",
            instance_from_str=lambda words: tuple(
                word if of is None else of.instance_from_str([word]) for word in words
            ),
            is_instance=lambda value: isinstance(value, tuple),
            str_from_instance=lambda value: [str(element) for element in value],
        )
        self._set(of=of, least=least, most=most, repeated=repeated)

    of: Domain | None
    least: int
    most: int
    repeated: bool

    def complaint(self, value: Any) -> str | None:
        """What is needed instead."""
        if not isinstance(value, tuple):
            return "a tuple is needed."
        if len(value) < self.least or (not self.repeated and len({*value}) < len(value)):
            few = {0: "", 1: ", and one at least"}.get(self.least, f", and {self.least} at least")
            return f"give {'some' if self.repeated else 'each once'}{few}."
        return f"give {self.most:,} at most." if len(value) > self.most else None

    def extremes(self) -> list[tuple[Any, ...]]:
        """One value of each extreme of its elements, where one is enough."""
        if self.of is None or self.least > 1:
            return []
        return [(value,) for value in self.of.extremes()]


def check_domains(options: Any, *, command_line: bool = False) -> None:
    """Raises InputError for the first field of the dataclass, or of one within it, that is outside its domain.

    `command_line`: the sentence names --options, not fields. None passes where the field's type allows it.
    """
    for name, domain, value in domains_of(options):
        shown = f"--{name.replace('_', '-')}" if command_line else name
        complaint = domain.complaint(value)
        if isinstance(domain, Several):
            of_each = domain.of
            for element in value if of_each is not None and isinstance(value, tuple) else ():
                if of_each is not None and (of_element := of_each.complaint(element)) is not None:
                    raise InputError(f"{shown} holds {element}; {of_element}")
            if complaint is not None:
                held = ", ".join(map(str, value)) if isinstance(value, tuple) else value
                raise InputError(f"{shown} are {held or 'none'}; {complaint}")
        elif complaint is not None:
            raise InputError(f"{shown} is {value}; {complaint}")


def domains_of(options: Any) -> Iterator[tuple[str, Domain, Any]]:
    """Name, domain and value of every field that declares a domain, of dataclasses within `options` too."""
    hints = typing.get_type_hints(type(options), include_extras=True)
    for field in fields(options):
        value = getattr(options, field.name)
        if is_dataclass(value):
            yield from domains_of(value)
        domain = domain_of(hints[field.name])
        if domain is not None and not (value is None and type(None) in typing.get_args(hints[field.name])):
            yield field.name, domain, value


def domain_of(annotation: Any) -> Domain | None:
    """The domain in the metadata of a type, or of one that a union is of."""
    found = [held for held in getattr(annotation, "__metadata__", ()) if isinstance(held, Domain)]
    if found:
        return found[0]
    if hasattr(annotation, "__metadata__"):
        return domain_of(annotation.__origin__)
    parts = typing.get_args(annotation) if not isinstance(annotation, type) else ()
    return next((domain for part in parts if (domain := domain_of(part)) is not None), None)


def _number(kind: type[Element], word: str, called: str) -> Element:
    try:
        return kind(word)  # pyright: ignore[reportCallIssue]
    except ValueError:
        raise ValueError(f"{word!r} is no {called}") from None
