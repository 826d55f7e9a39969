"""Do zero means speed up learning, and because they bring the gradient closer to the unit natural gradient?

Two claims kept apart, each with one test that decides it (`verdicts.CLAIMS`). Networks learn from all examples at once,
so that neither gradients nor Fisher matrices are estimates, from inputs of mean zero and second moment 1: what has a
mean are the hidden activations alone. The outcome is ln of the updates to a training loss, networks that diverge or do
not get there counted; every activation function and method has a learning rate of its own, of the fewest updates on
other seeds than those compared, over a grid of factors of two that is widened until the best rate lies inside.

- SGD: along the gradient;
- centring: the incoming activations less their mean under the data, biases re-expressed (B4);
- centring, outputs too: and the outputs less their mean (arXiv 1906.02926), which takes the constant direction from the
  kernel of the whole network (T5);
- bias-shift term: what Theorem 2 adds and nothing else. The unit natural gradient of a unit whose incoming activations
  have the unit's own mean E_q[a] but, in place of Var_q(a)/c, the identity: Δw = g − E_q[a] g0, Δw0 = g0 − E_q[a]·Δw;
- unit natural gradient: the whole of Theorem 1, with the exact Fisher matrix;
- batch normalisation.
"""

from analyses.experiments.causal_claim.figure import draw
from analyses.experiments.causal_claim.measurement import cells, cost, measure, measure_cell
from analyses.experiments.causal_claim.settings import COLUMNS, PRESETS, Config
from analyses.experiments.causal_claim.verdicts import decisions, summary

__all__ = ["COLUMNS", "PRESETS", "Config", "cells", "cost", "decisions", "draw", "measure", "measure_cell", "summary"]
