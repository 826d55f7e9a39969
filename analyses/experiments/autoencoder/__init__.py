"""Do deep autoencoders of ELUs reconstruct best, at every learning rate? Figure 3 of arXiv 1511.07289 (E3).

Fully connected, an encoder and its mirror image, plain stochastic gradient descent; at a seed the same initial weights
and batches for every activation. The paper leaves open what is minimised, the output and the weights before training.
Both kinds of output that sums over pixels allow are run: logistic, with the cross-entropy of every pixel summed, and
linear, with ½ the squared error summed (the likelihood of a Gaussian of variance 1); and both He's weights and those
that keep an activation's second moment as it is. What is reported is the mean squared error per pixel, of pixels in
[0, 1]; the code is activated as every other hidden layer is.

The baseline is the mean training image for every input. A network whose error is not below half of that has not
learned, and decides nothing; where networks diverge it is said.
"""

from analyses.experiments.autoencoder.figure import draw
from analyses.experiments.autoencoder.measurement import cells, cost, measure, measure_cell
from analyses.experiments.autoencoder.settings import COLUMNS, PRESETS, Config
from analyses.experiments.autoencoder.verdicts import decisions, finding, summary

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
