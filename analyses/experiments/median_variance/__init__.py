"""Do units' median activations move more in training with ReLUs than with ELUs? Figure 7 of arXiv 1511.07289 (E8).

Appendix C: after each epoch the median activation of every hidden unit over the whole training set, then its variance
over the epochs, and that of its changes from epoch to epoch. ELUs and ReLUs have different scales: what decides is the
same relative to the units' variance over the examples, which has none; the paper's own number stands beside it, and the
net inputs, which no activation has bent. The median of an activation that does not fall is the activation of the median
net input.
"""

from analyses.experiments.median_variance.figure import draw
from analyses.experiments.median_variance.measurement import cells, cost, measure, measure_cell
from analyses.experiments.median_variance.settings import COLUMNS, PRESETS, Config
from analyses.experiments.median_variance.verdicts import decisions, finding, summary

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
