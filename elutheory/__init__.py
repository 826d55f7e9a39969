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
    "Assumption": "derivations.derivation",
    "Check": "derivations.derivation",
    "Derivation": "derivations.derivation",
    "Step": "derivations.derivation",
    "VerificationError": "derivations.derivation",
    "lemma_1": "derivations.partitioned_inverse",
    "lemma_2": "derivations.partitioned_inverse",
    "fisher_information": "derivations.fisher_information",
    "theorem_1": "derivations.unit_natural_gradient",
    "bias_shift_of_a_unit": "derivations.unit_natural_gradient",
    "theorem_2": "derivations.unit_natural_gradient",
    "centring": "derivations.unit_natural_gradient",
    "gaussian_units": "derivations.gaussian_units",
    "UnitFisher": "fisher",
    "unit_fisher": "fisher",
    "BiasShiftCorrection": "correction",
    "bias_shift_correction": "correction",
    "InputError": "errors",
}

__all__ = [*_HOME, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'elutheory' has no attribute {name!r}; its public names are {', '.join(_HOME)}")
    return getattr(importlib.import_module(f"elutheory.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__


if TYPE_CHECKING:  # the same names for type checkers and editors
    from elutheory.activations import Activation as Activation
    from elutheory.activations import activation as activation
    from elutheory.activations import activation_names as activation_names
    from elutheory.correction import BiasShiftCorrection as BiasShiftCorrection
    from elutheory.correction import bias_shift_correction as bias_shift_correction
    from elutheory.derivations.derivation import Assumption as Assumption
    from elutheory.derivations.derivation import Check as Check
    from elutheory.derivations.derivation import Derivation as Derivation
    from elutheory.derivations.derivation import Step as Step
    from elutheory.derivations.derivation import VerificationError as VerificationError
    from elutheory.derivations.fisher_information import fisher_information as fisher_information
    from elutheory.derivations.gaussian_units import gaussian_units as gaussian_units
    from elutheory.derivations.partitioned_inverse import lemma_1 as lemma_1
    from elutheory.derivations.partitioned_inverse import lemma_2 as lemma_2
    from elutheory.derivations.unit_natural_gradient import bias_shift_of_a_unit as bias_shift_of_a_unit
    from elutheory.derivations.unit_natural_gradient import centring as centring
    from elutheory.derivations.unit_natural_gradient import theorem_1 as theorem_1
    from elutheory.derivations.unit_natural_gradient import theorem_2 as theorem_2
    from elutheory.errors import InputError as InputError
    from elutheory.fisher import UnitFisher as UnitFisher
    from elutheory.fisher import unit_fisher as unit_fisher
