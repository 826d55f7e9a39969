"""Every derivation by name, in the order of the theory; its module is loaded when it is asked for."""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

from elutheory.derivations.proof.derivation import Derivation


def _derive(module: str, function: str, *arguments: Any) -> Derivation:
    return getattr(importlib.import_module(f"elutheory.derivations.{module}"), function)(*arguments)


def _in(module: str, function: str, *arguments: Any) -> Callable[[], Derivation]:
    """The derivation that a function of a module below `elutheory.derivations` gives, for these arguments."""
    return partial(_derive, module, function, *arguments)


DERIVATIONS: dict[str, Callable[[], Derivation]] = {
    "lemma-1": _in("bias_shift.partitioned_inverse", "lemma_1"),
    "lemma-2": _in("bias_shift.partitioned_inverse", "lemma_2"),
    "fisher-information": _in("bias_shift.fisher_matrix", "fisher_information"),
    "theorem-1": _in("bias_shift.unit_natural_gradient", "theorem_1"),
    "bias-shift": _in("bias_shift.unit_natural_gradient", "bias_shift_of_a_unit"),
    "theorem-2": _in("bias_shift.unit_natural_gradient", "theorem_2"),
    "centring": _in("bias_shift.unit_natural_gradient", "centring"),
    "gaussian-units": _in("bias_shift.gaussian_inputs", "gaussian_units"),
}
"""Lemmas and theorems of arXiv 1511.07289: what `python -m elutheory.bias_shift --statement` prints."""

PROOFS: dict[str, dict[str, Callable[[], Derivation]]] = {
    "Lemmas and theorems": DERIVATIONS,
    "Gaussian moments": {
        "tilting": _in("moments.identities", "tilting"),
        "truncated-moments": _in("moments.identities", "truncated_moments"),
        "stein": _in("moments.identities", "stein"),
        "moments-elu": _in("moments.moments_of_activations", "activation_moments", "elu"),
        "deactivation-limit": _in("moments.deactivation", "deactivation_limit"),
    },
    "Correlated pairs": {
        "bivariate-normal": _in("kernels.identities", "bivariate_normal"),
        "bivariate-tilting": _in("kernels.identities", "bivariate_tilting"),
        "dual-kernel": _in("kernels.dual_kernels", "dual_kernel_closed_form"),
        "dual-kernel-derivative": _in("kernels.dual_kernels", "dual_kernel_derivative_closed_form"),
        "zero-mean-dual-kernel": _in("kernels.special_cases", "zero_mean_dual_kernel"),
        "dual-kernel-limits": _in("kernels.special_cases", "dual_kernel_limits"),
        "price-theorem": _in("kernels.identities", "price_theorem"),
    },
    "Signal propagation": {
        "mean-field-recursion": _in("propagation.forward", "mean_field_recursion"),
        "unit-mean-median": _in("propagation.forward", "unit_mean_median"),
        "unit-mean-spread": _in("propagation.forward", "unit_mean_spread"),
        "gradient-recursion": _in("propagation.backward", "gradient_recursion"),
        "batch-normalised-recursion": _in("propagation.backward", "batch_normalised_recursion"),
        "residual-recursion": _in("propagation.backward", "residual_recursion"),
        "fisher-top-eigenvalue": _in("propagation.fisher_spectrum", "fisher_top_eigenvalue_bound"),
        "push-through": _in("bias_shift.push_through_identity", "push_through"),
    },
}
"""By section; a name is its derivation's identifier."""


def proof(name: str) -> Derivation:
    """The derivation of that name; raises KeyError for a name that is in no section."""
    return {name: derive for section in PROOFS.values() for name, derive in section.items()}[name]()
