"""Times to compare on a machine with other work on it: the functions take turns, the best round counts."""

import time
from collections.abc import Callable
from typing import Any


def best_times(*functions: Callable[[], Any], rounds: int) -> list[float]:
    """Shortest wall-clock seconds of each function, the functions taking turns."""
    times = [float("inf")] * len(functions)
    for _ in range(rounds):
        for place, function in enumerate(functions):
            start = time.perf_counter()
            function()
            times[place] = min(times[place], time.perf_counter() - start)
    return times
