"""Every derivation by name, in the order of the theory, and the page of its numbered statements.

Here are the names; a derivation's module is loaded when the derivation is asked for. `numbered_statements` says what
each number (F1, B3, P2b …) states, which derivation proves it, which public function computes it and which test
compares the two; `page` prints that as docs/statements.md, with the equations and checks of the derivations themselves.
"""

import importlib
from dataclasses import dataclass
from typing import Any

from elutheory.derivations.proof.derivation import Derivation


@dataclass(frozen=True)
class Place:
    """Where a derivation is: a function of a module below `elutheory.derivations`. A call gives the derivation."""

    module: str
    function: str
    arguments: tuple[Any, ...] = ()

    def __call__(self) -> Derivation:
        """The derivation; its module is loaded now."""
        return getattr(importlib.import_module(f"elutheory.derivations.{self.module}"), self.function)(*self.arguments)


DERIVATIONS: dict[str, Place] = {
    "lemma-1": Place("bias_shift.partitioned_inverse", "lemma_1"),
    "lemma-2": Place("bias_shift.partitioned_inverse", "lemma_2"),
    "fisher-information": Place("bias_shift.fisher_matrix", "fisher_information"),
    "theorem-1": Place("bias_shift.unit_natural_gradient", "theorem_1"),
    "bias-shift": Place("bias_shift.unit_natural_gradient", "bias_shift_of_a_unit"),
    "theorem-2": Place("bias_shift.unit_natural_gradient", "theorem_2"),
    "centring": Place("bias_shift.unit_natural_gradient", "centring"),
    "gaussian-units": Place("bias_shift.gaussian_inputs", "gaussian_units"),
}
"""Lemmas and theorems of arXiv 1511.07289: what `python -m elutheory.bias_shift --statement` prints."""

PROOFS: dict[str, dict[str, Place]] = {
    "Lemmas and theorems": DERIVATIONS,
    "Gaussian moments": {
        "tilting": Place("moments.identities", "tilting"),
        "truncated-moments": Place("moments.identities", "truncated_moments"),
        "stein": Place("moments.identities", "stein"),
        "moments-elu": Place("moments.moments_of_activations", "activation_moments", ("elu",)),
        "entropy-of-output": Place("moments.entropy", "entropy_of_output"),
        "deactivation-limit": Place("moments.deactivation", "deactivation_limit"),
    },
    "Correlated pairs": {
        "bivariate-normal": Place("kernels.identities", "bivariate_normal"),
        "bivariate-tilting": Place("kernels.identities", "bivariate_tilting"),
        "dual-kernel": Place("kernels.dual_kernels", "dual_kernel_closed_form"),
        "dual-kernel-derivative": Place("kernels.dual_kernels", "dual_kernel_derivative_closed_form"),
        "zero-mean-dual-kernel": Place("kernels.special_cases", "zero_mean_dual_kernel"),
        "dual-kernel-limits": Place("kernels.special_cases", "dual_kernel_limits"),
        "price-theorem": Place("kernels.identities", "price_theorem"),
        "mehler-series": Place("kernels.mehler", "mehler_series"),
    },
    "Signal propagation": {
        "mean-field-recursion": Place("propagation.forward", "mean_field_recursion"),
        "unit-mean-median": Place("propagation.forward", "unit_mean_median"),
        "unit-mean-spread": Place("propagation.forward", "unit_mean_spread"),
        "gradient-recursion": Place("propagation.backward", "gradient_recursion"),
        "batch-normalised-recursion": Place("propagation.backward", "batch_normalised_recursion"),
        "residual-recursion": Place("propagation.backward", "residual_recursion"),
        "gram-matrix-recursion": Place("propagation.gram_matrices", "gram_matrix_recursion"),
        "tangent-kernel-recursion": Place("propagation.gram_matrices", "tangent_kernel_recursion"),
        "fisher-top-eigenvalue": Place("propagation.fisher_spectrum", "fisher_top_eigenvalue_bound"),
        "finite-width-fluctuations": Place("propagation.finite_width", "finite_width_fluctuations"),
        "push-through": Place("bias_shift.push_through_identity", "push_through"),
    },
    "Training dynamics": {
        "training-kernel-recursion": Place("dynamics.standard_parameterisation", "training_kernel_recursion"),
        "linearised-descent": Place("dynamics.gradient_descent", "linearised_descent"),
        "training-modes": Place("dynamics.modes", "training_modes"),
        "centred-training-kernel": Place("dynamics.constant_direction", "centred_training_kernel"),
    },
}
"""By section; a name is its derivation's identifier."""


def proof(name: str) -> Derivation:
    """The derivation of that name; raises KeyError for a name that is in no section."""
    return {name: place for section in PROOFS.values() for name, place in section.items()}[name]()
