"""Does a unit's net input stay Gaussian enough, while a network trains, for M3 to give its mean activation?

The paper's fully connected networks (section 4.1 of arXiv 1511.07289) learn by plain stochastic gradient descent.
At each unit's measured net mean and variance M3 and M4 predict the mean and the variance of its activation over the
training examples; nothing is fitted. Beside them: one Gaussian for the whole layer, and M3 with the first two terms of
the Gram–Charlier series, which take the net input's measured skewness and excess kurtosis.
"""

from analyses.experiments.gaussian_closure.figure import draw
from analyses.experiments.gaussian_closure.measurement import cells, cost, measure, measure_cell
from analyses.experiments.gaussian_closure.settings import COLUMNS, PRESETS, Config
from analyses.experiments.gaussian_closure.verdicts import summary

__all__ = ["COLUMNS", "PRESETS", "Config", "cells", "cost", "draw", "measure", "measure_cell", "summary"]
