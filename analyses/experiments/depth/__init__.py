"""Do ELUs generalise better than ReLUs and leaky ReLUs in deep networks? The abstract of arXiv 1511.07289 (E9).

Fully connected classifiers with He initialisation, plain stochastic gradient descent, the learning rate decayed towards
the end, so that the test errors, averaged over the last epochs, are those of networks that have come to rest. Every
activation has, at every depth, the learning rate of the lowest validation error, over a grid of factors of two that is
widened until the best one lies inside; the networks that choose it are not those that are compared, and the test
examples are not seen before. At a seed the same initial weights and batches for every activation.

The lead is the other's test error minus ELU's. What decides is the mean lead over all depths above 5 hidden layers, the
last version's number, and above 4, the first one's: one number of a seed, not one of every depth. All train for the
same number of epochs: where training losses differ as well, the lead is also one of learning speed.
"""

from analyses.experiments.depth.figure import draw
from analyses.experiments.depth.measurement import cells, cost, measure, measure_cell
from analyses.experiments.depth.settings import COLUMNS, PRESETS, Config
from analyses.experiments.depth.verdicts import decisions, finding, summary

__all__ = [
    "COLUMNS",
    "PRESETS",
    "Config",
    "cells",
    "cost",
    "decisions",
    "draw",
    "finding",
    "measure",
    "measure_cell",
    "summary",
]
