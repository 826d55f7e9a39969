"""Unit Fisher matrices of torch models, and what they do to a gradient (sections F and B of arXiv 1511.07289).

A unit with incoming activations a and delta = d ln p(y | x) / d net has the Fisher matrix
F = E[delta² (1, a)(1, a)ᵀ] with the blocks A = E[delta² a aᵀ], b = E[delta² a] and c = E[delta²] (F1). Under the data
weighted by delta², called q, it holds that A = c E_q[a aᵀ] and b = c E_q[a] (F2). The natural gradient of the unit is
F⁻¹(g0, g), and the coupling b corrects the bias shift of its update (B1 to B3, Theorems 1 and 2).

Shapes. The bias coordinate stands first: gradients are (units, fan_in + 1), matrices (units, fan_in + 1, fan_in + 1);
without a bias fan_in takes the place of fan_in + 1. Scores have activations a of (examples, groups, positions, fan_in)
and deltas of (columns, examples, positions, units), where the columns v make up the likelihood's Fisher information,
E_y[score scoreᵀ] = Σ v vᵀ. For eight examples and ten classes:

- `Linear(3, 4)` on (8, 3), kind "exact": a (8, 1, 1, 3), deltas (10, 8, 1, 4), F (4, 4, 4);
- the same, kind "monte_carlo" with two samples: deltas (2, 8, 1, 4); kind "empirical": (1, 8, 1, 4);
- `Linear(3, 4)` on sequences (8, 5, 3): a (8, 1, 5, 3), deltas (10, 8, 5, 4). `weight_sharing` "exact" sums
  delta (1, a) over the five positions before it takes the outer product, "positionwise" after it;
- `Conv2d(2, 4, 3, groups=2)` on images (8, 2, 6, 6): a (8, 2, 16, 9), deltas (10, 8, 16, 4), F (4, 10, 10).

- `likelihoods.py`: densities, scores, samples and the columns v, of categorical, Bernoulli and Gaussian labels;
- `scores.py`: activations and deltas of a batch;
- `unit_fisher_matrix.py`: F of all units of a layer, accumulated over batches and processes, and solves with it;
- `factors.py`, `outer_products.py`, `solves.py`: how F is kept, summed and solved;
- `unit_table.py`: F of a layer's units as a table and a figure;
- `wide_layers.py`: approximations for layers that are too wide for F, with their errors;
- `correction.py`: Theorems 1 and 2 evaluated on a measured F;
- `diagonal.py`: the diagonal of the Fisher matrix of all of a model's parameters;
- `theorem_checks.py`: the theorems against direct solves, unit by unit;
- `training/`: the unit natural gradient as a torch optimizer.

Start reading with `LayerScores` in `scores.py`, then `UnitFisher`.
"""

from elutheory.fisher.correction import BiasShiftCorrection as BiasShiftCorrection
from elutheory.fisher.correction import bias_shift_correction as bias_shift_correction
from elutheory.fisher.diagonal import fisher_diagonal as fisher_diagonal
from elutheory.fisher.likelihoods import Bernoulli as Bernoulli
from elutheory.fisher.likelihoods import Categorical as Categorical
from elutheory.fisher.likelihoods import Gaussian as Gaussian
from elutheory.fisher.likelihoods import Likelihood as Likelihood
from elutheory.fisher.scores import LayerScores as LayerScores
from elutheory.fisher.scores import ModelScores as ModelScores
from elutheory.fisher.scores import layer_scores as layer_scores
from elutheory.fisher.scores import model_scores as model_scores
from elutheory.fisher.training import UnitNaturalGradient as UnitNaturalGradient
from elutheory.fisher.unit_fisher_matrix import UnitFisher as UnitFisher
from elutheory.fisher.unit_fisher_matrix import unit_fisher as unit_fisher
from elutheory.fisher.wide_layers import ProjectedUnitFisher as ProjectedUnitFisher
from elutheory.fisher.wide_layers import SharedUnitFisher as SharedUnitFisher
from elutheory.fisher.wide_layers import approximate_unit_fisher as approximate_unit_fisher
