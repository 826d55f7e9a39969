"""What a computation will take, estimated before it begins: refused beyond the free memory, announced beyond an hour.

Estimates are of one core and rather too large; `tests/analyses/framework/test_cost.py` holds them against the records.
"""

import sys
from dataclasses import dataclass, replace

from elutheory.errors import InputError

OPERATIONS_PER_SECOND = 1.5e10
"""Of one core in products of matrices of some hundred rows, as networks are trained by; the records were measured at
2e10 to 7e10."""
SECONDS_PER_UPDATE = 5e-3
"""Of one call that updates all networks trained at once, however small they are: 1e-3 to 7e-3 in the records."""
HOUR = 3600.0
_OF_A_PROCESS = 3e8
"""Bytes of a process that has imported what an analysis needs, measured with torch 2.13."""
_SMALL = 10**8
"""Bytes that are not looked at: any machine has them, and asking for the free memory loads torch."""


@dataclass(frozen=True)
class Cost:
    """Of a computation: floating-point operations, updates or calls of like overhead, bytes held at once."""

    operations: float = 0.0
    updates: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        """Of one after the other."""
        return Cost(self.operations + other.operations, self.updates + other.updates, max(self.bytes, other.bytes))

    def __mul__(self, number: float) -> "Cost":
        """Of so many, one after the other."""
        return replace(self, operations=self.operations * number, updates=self.updates * number)

    @property
    def seconds(self) -> float:
        """On one core."""
        return self.operations / OPERATIONS_PER_SECOND + self.updates * SECONDS_PER_UPDATE


def check_cost(cost: Cost, *, jobs: int = 1) -> None:
    """Raise InputError beyond the free memory of this machine, and say on standard error what takes more than an hour.

    `jobs`: processes at once, each holding the bytes and taking its share of the rest.
    """
    needed = cost.bytes * jobs + (_OF_A_PROCESS * jobs if jobs > 1 else 0)
    if needed > _SMALL:
        import torch  # noqa: PLC0415 (not before it is needed)

        from elutheory.numerics.memory import free_bytes, in_words  # noqa: PLC0415 (see above)

        free = free_bytes(torch.device("cpu"))
        if free is not None and needed > free:
            among = f" in {jobs} jobs" if jobs > 1 else ""
            raise InputError(
                f"this takes about {in_words(int(needed))} of memory{among}, and {in_words(free)} are free; "
                "ask for smaller sizes."
            )
    seconds = cost.seconds / jobs
    if seconds > HOUR:
        print(
            f"elutheory: this takes up to {duration(seconds)} ({cost.updates:.2g} updates, {cost.operations:.2g} "
            "floating-point operations).",
            file=sys.stderr,
            flush=True,
        )


def duration(seconds: float) -> str:
    """In words, with two digits."""
    for unit, length in (("years", 365.25 * 86400.0), ("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{float(f'{seconds / length:.2g}'):,g} {unit}"
    return f"{seconds:.2g} seconds"
