"""elutheory: why exponential linear units learn fast, as an executable argument (arXiv 1511.07289).

Public names load on first use (PEP 562): importing the package costs milliseconds.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Activation": "activations",
    "activation": "activations",
    "activation_names": "activations",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'elutheory' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"elutheory.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__


if TYPE_CHECKING:
    from elutheory.activations import Activation, activation, activation_names
