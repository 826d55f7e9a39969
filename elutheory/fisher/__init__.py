"""Unit Fisher matrices, and what they do to a gradient."""

from elutheory.fisher.correction import BiasShiftCorrection as BiasShiftCorrection
from elutheory.fisher.correction import bias_shift_correction as bias_shift_correction
from elutheory.fisher.likelihoods import Bernoulli as Bernoulli
from elutheory.fisher.likelihoods import Categorical as Categorical
from elutheory.fisher.likelihoods import Gaussian as Gaussian
from elutheory.fisher.likelihoods import Likelihood as Likelihood
from elutheory.fisher.natural_gradient import UnitNaturalGradient as UnitNaturalGradient
from elutheory.fisher.scores import LayerScores as LayerScores
from elutheory.fisher.scores import ModelScores as ModelScores
from elutheory.fisher.scores import layer_scores as layer_scores
from elutheory.fisher.scores import model_scores as model_scores
from elutheory.fisher.unit_fisher_matrix import UnitFisher as UnitFisher
from elutheory.fisher.unit_fisher_matrix import unit_fisher as unit_fisher
