"""Does the mean of the incoming activations slow learning down? The mean alone is moved, and nothing else.

Every hidden layer receives a − c·m in place of a, m the units' mean activations at initialisation, its bias raised by
c·W m: at every dose c the network computes the same function before training, and only the gradient of the weights has
less (c = 1: none) or more (c = −1: twice) of the part that the mean makes (B4 as an intervention; T5). The outcome is
ln of the updates to a training loss, so that it does not change with the pace of time or the scale of a loss. Every
activation and dose has a learning rate of its own, of the fewest updates on other seeds than those compared, over a
grid of factors of two that is widened until the best rate lies inside; beside it all run at the paper's rate, 0.01.
With `draws` the tangent kernel whose layers receive a − c·m (T5) predicts the same updates, nothing fitted.
What is tested, and how, is fixed in `verdicts.claims`.
"""

from analyses.experiments.dose_response.figure import draw
from analyses.experiments.dose_response.measurement import cells, cost, measure, measure_cell
from analyses.experiments.dose_response.settings import COLUMNS, PRESETS, Config
from analyses.experiments.dose_response.verdicts import decisions, summary

__all__ = ["COLUMNS", "PRESETS", "Config", "cells", "cost", "decisions", "draw", "measure", "measure_cell", "summary"]
