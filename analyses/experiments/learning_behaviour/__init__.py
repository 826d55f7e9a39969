"""Do unit means stay nearer zero, and does the loss fall faster, with ELUs? Figure 2 of arXiv 1511.07289 (E2).

Fully connected classifiers with He initialisation, plain stochastic gradient descent; at a seed the same initial
weights and batches for every activation. (a) After each epoch, the median over all hidden units of each unit's mean
activation over fixed training examples; before training, beside what P2 predicts from the data's mean second moment
and overlap, with the band of the networks' width (P6): nothing is fitted. (b) Training, validation and test loss or
error after each epoch. Layer by layer, before, along and after training: the means' share of the second moment, which
does not depend on how large a signal has become, beside P2b at initialisation and M3 of the net inputs later.

What decides is stated in `verdicts.py`: the epochs to stated training losses, ELU against the faster of the two that
the paper's figure has. Everything else that the figure could be read to say is tested beside it, the end of the
training among it.
"""

from analyses.experiments.learning_behaviour.figure import draw
from analyses.experiments.learning_behaviour.measurement import cells, cost, measure, measure_cell
from analyses.experiments.learning_behaviour.settings import COLUMNS, PRESETS, Config
from analyses.experiments.learning_behaviour.verdicts import decisions, finding, summary

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
