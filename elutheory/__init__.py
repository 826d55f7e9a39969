"""elutheory: why exponential linear units learn fast, as an executable argument (arXiv 1511.07289).

Public names, listed once in `__init__.pyi`, load on first use: importing the package costs milliseconds.
"""

import lazy_loader

from elutheory.output.interruption import leave_at_once

leave_at_once("elutheory")
__version__ = "0.2.0"

__getattr__, _, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = [*_names, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]


def __dir__() -> list[str]:
    """The public names."""
    return list(__all__)
