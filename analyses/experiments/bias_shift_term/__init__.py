"""Is the bias-shift term of the unit natural gradient proportional to the mean of the incoming activations?

The abstract of arXiv 1511.07289 says that the unit natural gradient differs from the gradient by such a term. Hidden
units of networks at initialisation and after some training, each with its exact Fisher matrix; then the incoming
activations are translated so that their mean E_q[a] is t times what it is and nothing else changes
(`translated_units.py`): t = 1 is the network as it is, t = 0 the centred one. The term is the unit natural gradient
less the block-diagonal gradient (A⁻¹g, g0/c), by direct solves; "the bias-shift term" can be its effect on the mean net
input (Theorem 2), its parts, or what the two theorems take from g and E_p[a]: each is measured. Proportional is what
has the exponent d ln|term|/d ln t = 1.
"""

from analyses.experiments.bias_shift_term.figure import draw
from analyses.experiments.bias_shift_term.measurement import cells, cost, measure, measure_cell
from analyses.experiments.bias_shift_term.settings import COLUMNS, PRESETS, Config
from analyses.experiments.bias_shift_term.verdicts import decisions, summary

__all__ = ["COLUMNS", "PRESETS", "Config", "cells", "cost", "decisions", "draw", "measure", "measure_cell", "summary"]
