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
    "MomentFormulas": "derivations.activation_moments",
    "moment_formulas": "derivations.activation_moments",
    "activation_moments": "derivations.activation_moments",
    "gaussian_expectation": "derivations.gaussian_integrals",
    "tilting": "derivations.gaussian_identities",
    "truncated_moments": "derivations.gaussian_identities",
    "stein": "derivations.gaussian_identities",
    "deactivation_limit": "derivations.deactivation",
    "bivariate_normal": "derivations.bivariate_identities",
    "bivariate_tilting": "derivations.bivariate_identities",
    "price_theorem": "derivations.bivariate_identities",
    "DualKernelFormulas": "derivations.exponential_linear_pairs",
    "dual_kernel_formulas": "derivations.exponential_linear_pairs",
    "dual_kernel_closed_form": "derivations.dual_kernels",
    "dual_kernel_derivative_closed_form": "derivations.dual_kernels",
    "zero_mean_dual_kernel": "derivations.dual_kernel_cases",
    "dual_kernel_limits": "derivations.dual_kernel_cases",
    "mean_field_recursion": "derivations.signal_propagation",
    "unit_mean_median": "derivations.signal_propagation",
    "unit_mean_spread": "derivations.signal_propagation",
    "gradient_recursion": "derivations.gradient_propagation",
    "batch_normalised_recursion": "derivations.gradient_propagation",
    "residual_recursion": "derivations.gradient_propagation",
    "fisher_top_eigenvalue_bound": "derivations.fisher_top_eigenvalue",
    "push_through": "derivations.push_through",
    "GaussianMoments": "moments",
    "gaussian_moments": "moments",
    "certified_moments": "certified_digits",
    "DualKernel": "kernels",
    "dual_kernel": "kernels",
    "dual_kernel_derivative": "kernels",
    "dual_covariance": "kernels",
    "Propagation": "propagation",
    "propagate": "propagation",
    "propagate_gram": "gram_propagation",
    "tangent_kernel": "gram_propagation",
    "FixedPoints": "stationary_points",
    "fixed_points": "stationary_points",
    "CriticalityLine": "stationary_points",
    "criticality_line": "stationary_points",
    "Initialisation": "initialisations",
    "initialisation": "initialisations",
    "PropagatedGram": "gram_propagation",
    "TangentKernel": "gram_propagation",
    "FisherTopEigenvalue": "kernel_spectrum",
    "fisher_top_eigenvalue": "kernel_spectrum",
    "BiasShiftStrength": "kernel_spectrum",
    "bias_shift_strength": "kernel_spectrum",
    "UnitFisher": "fisher",
    "unit_fisher": "fisher",
    "BiasShiftCorrection": "correction",
    "bias_shift_correction": "correction",
    "Likelihood": "likelihoods",
    "Categorical": "likelihoods",
    "Bernoulli": "likelihoods",
    "Gaussian": "likelihoods",
    "LayerScores": "scores",
    "ModelScores": "scores",
    "layer_scores": "scores",
    "model_scores": "scores",
    "UnitNaturalGradient": "natural_gradient",
    "LayerStatistics": "layer_statistics",
    "UnitStatistics": "layer_statistics",
    "layer_statistics": "layer_statistics",
    "observe_layers": "layer_statistics",
    "Diagnosis": "diagnosis",
    "diagnose": "diagnosis",
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
    from elutheory.certified_digits import certified_moments as certified_moments
    from elutheory.correction import BiasShiftCorrection as BiasShiftCorrection
    from elutheory.correction import bias_shift_correction as bias_shift_correction
    from elutheory.derivations.activation_moments import MomentFormulas as MomentFormulas
    from elutheory.derivations.activation_moments import activation_moments as activation_moments
    from elutheory.derivations.activation_moments import moment_formulas as moment_formulas
    from elutheory.derivations.bivariate_identities import bivariate_normal as bivariate_normal
    from elutheory.derivations.bivariate_identities import bivariate_tilting as bivariate_tilting
    from elutheory.derivations.bivariate_identities import price_theorem as price_theorem
    from elutheory.derivations.deactivation import deactivation_limit as deactivation_limit
    from elutheory.derivations.derivation import Assumption as Assumption
    from elutheory.derivations.derivation import Check as Check
    from elutheory.derivations.derivation import Derivation as Derivation
    from elutheory.derivations.derivation import Step as Step
    from elutheory.derivations.derivation import VerificationError as VerificationError
    from elutheory.derivations.dual_kernel_cases import dual_kernel_limits as dual_kernel_limits
    from elutheory.derivations.dual_kernel_cases import zero_mean_dual_kernel as zero_mean_dual_kernel
    from elutheory.derivations.dual_kernels import dual_kernel_closed_form as dual_kernel_closed_form
    from elutheory.derivations.dual_kernels import (
        dual_kernel_derivative_closed_form as dual_kernel_derivative_closed_form,
    )
    from elutheory.derivations.exponential_linear_pairs import DualKernelFormulas as DualKernelFormulas
    from elutheory.derivations.exponential_linear_pairs import dual_kernel_formulas as dual_kernel_formulas
    from elutheory.derivations.fisher_information import fisher_information as fisher_information
    from elutheory.derivations.fisher_top_eigenvalue import fisher_top_eigenvalue_bound as fisher_top_eigenvalue_bound
    from elutheory.derivations.gaussian_identities import stein as stein
    from elutheory.derivations.gaussian_identities import tilting as tilting
    from elutheory.derivations.gaussian_identities import truncated_moments as truncated_moments
    from elutheory.derivations.gaussian_integrals import gaussian_expectation as gaussian_expectation
    from elutheory.derivations.gaussian_units import gaussian_units as gaussian_units
    from elutheory.derivations.gradient_propagation import batch_normalised_recursion as batch_normalised_recursion
    from elutheory.derivations.gradient_propagation import gradient_recursion as gradient_recursion
    from elutheory.derivations.gradient_propagation import residual_recursion as residual_recursion
    from elutheory.derivations.partitioned_inverse import lemma_1 as lemma_1
    from elutheory.derivations.partitioned_inverse import lemma_2 as lemma_2
    from elutheory.derivations.push_through import push_through as push_through
    from elutheory.derivations.signal_propagation import mean_field_recursion as mean_field_recursion
    from elutheory.derivations.signal_propagation import unit_mean_median as unit_mean_median
    from elutheory.derivations.signal_propagation import unit_mean_spread as unit_mean_spread
    from elutheory.derivations.unit_natural_gradient import bias_shift_of_a_unit as bias_shift_of_a_unit
    from elutheory.derivations.unit_natural_gradient import centring as centring
    from elutheory.derivations.unit_natural_gradient import theorem_1 as theorem_1
    from elutheory.derivations.unit_natural_gradient import theorem_2 as theorem_2
    from elutheory.diagnosis import Diagnosis as Diagnosis
    from elutheory.diagnosis import diagnose as diagnose
    from elutheory.errors import InputError as InputError
    from elutheory.fisher import UnitFisher as UnitFisher
    from elutheory.fisher import unit_fisher as unit_fisher
    from elutheory.gram_propagation import PropagatedGram as PropagatedGram
    from elutheory.gram_propagation import TangentKernel as TangentKernel
    from elutheory.gram_propagation import propagate_gram as propagate_gram
    from elutheory.gram_propagation import tangent_kernel as tangent_kernel
    from elutheory.initialisations import Initialisation as Initialisation
    from elutheory.initialisations import initialisation as initialisation
    from elutheory.kernel_spectrum import BiasShiftStrength as BiasShiftStrength
    from elutheory.kernel_spectrum import FisherTopEigenvalue as FisherTopEigenvalue
    from elutheory.kernel_spectrum import bias_shift_strength as bias_shift_strength
    from elutheory.kernel_spectrum import fisher_top_eigenvalue as fisher_top_eigenvalue
    from elutheory.kernels import DualKernel as DualKernel
    from elutheory.kernels import dual_covariance as dual_covariance
    from elutheory.kernels import dual_kernel as dual_kernel
    from elutheory.kernels import dual_kernel_derivative as dual_kernel_derivative
    from elutheory.layer_statistics import LayerStatistics as LayerStatistics
    from elutheory.layer_statistics import UnitStatistics as UnitStatistics
    from elutheory.layer_statistics import layer_statistics as layer_statistics
    from elutheory.layer_statistics import observe_layers as observe_layers
    from elutheory.likelihoods import Bernoulli as Bernoulli
    from elutheory.likelihoods import Categorical as Categorical
    from elutheory.likelihoods import Gaussian as Gaussian
    from elutheory.likelihoods import Likelihood as Likelihood
    from elutheory.moments import GaussianMoments as GaussianMoments
    from elutheory.moments import gaussian_moments as gaussian_moments
    from elutheory.natural_gradient import UnitNaturalGradient as UnitNaturalGradient
    from elutheory.propagation import Propagation as Propagation
    from elutheory.propagation import propagate as propagate
    from elutheory.scores import LayerScores as LayerScores
    from elutheory.scores import ModelScores as ModelScores
    from elutheory.scores import layer_scores as layer_scores
    from elutheory.scores import model_scores as model_scores
    from elutheory.stationary_points import CriticalityLine as CriticalityLine
    from elutheory.stationary_points import FixedPoints as FixedPoints
    from elutheory.stationary_points import criticality_line as criticality_line
    from elutheory.stationary_points import fixed_points as fixed_points
