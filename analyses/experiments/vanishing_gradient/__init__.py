"""Gradients by depth in deep random networks under every initialisation, beside P3; where float32 loses them (E12).

Does the identity for positive values keep the gradient from vanishing? Fully connected networks of random weights, one
training input each, standardised and scaled to mean square 1: of one input the law of such a network knows only the
length. A δ of independent N(0, 1) at the last hidden layer's net inputs goes backward (`gradients.py`).

s is the mean over units of δ². Its logarithm, averaged over networks, stands beside ln Π chi (P3, infinite width), and
beside the same to order 1/width with the band of one network (P6, `finite_width.py`): what a network has is the typical
s, and ln E s exceeds E ln s by half the variance of ln s, which grows like depth/width.

Glorot's variance 2/(fan_in + fan_out) is LeCun's where layers have one width.
"""

from analyses.experiments.vanishing_gradient.figure import draw
from analyses.experiments.vanishing_gradient.measurement import cells, cost, measure, measure_cell
from analyses.experiments.vanishing_gradient.settings import COLUMNS, PRESETS, Config
from analyses.experiments.vanishing_gradient.verdicts import decisions, summary

__all__ = ["COLUMNS", "PRESETS", "Config", "cells", "cost", "decisions", "draw", "measure", "measure_cell", "summary"]
