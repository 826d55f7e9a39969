"""The derivations that the ledger and the report verify, by name and in the order of the theory."""

from collections.abc import Callable

import elutheory as et
from elutheory.bias_shift.command import DERIVATIONS
from elutheory.derivations.proof.derivation import Derivation

PROOFS: dict[str, dict[str, Callable[[], Derivation]]] = {
    "Lemmas and theorems": DERIVATIONS,
    "Gaussian moments": {
        "tilting": et.tilting,
        "truncated-moments": et.truncated_moments,
        "stein": et.stein,
        "moments-elu": lambda: et.activation_moments("elu"),
        "deactivation-limit": et.deactivation_limit,
    },
    "Correlated pairs": {
        "bivariate-normal": et.bivariate_normal,
        "bivariate-tilting": et.bivariate_tilting,
        "dual-kernel": et.dual_kernel_closed_form,
        "dual-kernel-derivative": et.dual_kernel_derivative_closed_form,
        "zero-mean-dual-kernel": et.zero_mean_dual_kernel,
        "dual-kernel-limits": et.dual_kernel_limits,
        "price-theorem": et.price_theorem,
    },
    "Signal propagation": {
        "mean-field-recursion": et.mean_field_recursion,
        "unit-mean-median": et.unit_mean_median,
        "unit-mean-spread": et.unit_mean_spread,
        "gradient-recursion": et.gradient_recursion,
        "batch-normalised-recursion": et.batch_normalised_recursion,
        "residual-recursion": et.residual_recursion,
        "fisher-top-eigenvalue": et.fisher_top_eigenvalue_bound,
        "push-through": et.push_through,
    },
}
"""By section; a name is its derivation's identifier."""


def proof(name: str) -> Derivation:
    """The derivation of that name; raises KeyError for a name that is in no section."""
    return {name: derive for section in PROOFS.values() for name, derive in section.items()}[name]()
