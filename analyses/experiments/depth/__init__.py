"""Does ELU's lead in test error over ReLU and leaky ReLU open with depth? The abstract of arXiv 1511.07289 (E9).

Fully connected classifiers with He initialisation, plain stochastic gradient descent. Every activation has, at every
depth, the learning rate of the lowest validation error over one grid; the networks that choose it are not those that
are compared, and the test examples are not seen before. At a seed the same initial weights and batches for every
activation. The gap is the other's test error minus ELU's; it opens if it is larger above 4 hidden layers than up to 4.
All train for the same number of epochs: where training losses differ as well, the gap is also one of learning speed.
"""

from analyses.experiments.depth.figure import draw
from analyses.experiments.depth.measurement import cells, cost, measure, measure_cell
from analyses.experiments.depth.settings import COLUMNS, PRESETS, Config
from analyses.experiments.depth.verdicts import decisions, summary

__all__ = ["COLUMNS", "PRESETS", "Config", "cells", "cost", "decisions", "draw", "measure", "measure_cell", "summary"]
