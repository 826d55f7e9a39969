"""Bias shift along stochastic gradient descent: measured, predicted to first order, and what the correction removes.

At updates spaced evenly in their logarithm, for every hidden unit: the change of its mean net input over fixed training
examples by this update of all layers, its own part E_p[a]·Δw + Δw0 (B2, exact for an update of this layer alone) and
the rest, E_p[Δa]·(w + Δw), from the layers below; then the part of the natural gradient's shift that the correction
removes (B3), the cosine between gradient and unit natural gradient, and how the unit's mean oscillates over the
following updates. With batch normalisation net inputs are measured before it, and once more as the activation function
receives them.
"""

from analyses.experiments.bias_shift_in_training.figure import draw
from analyses.experiments.bias_shift_in_training.measurement import cells, cost, measure, measure_cell
from analyses.experiments.bias_shift_in_training.settings import COLUMNS, PRESETS, Config
from analyses.experiments.bias_shift_in_training.verdicts import decisions, summary

__all__ = ["COLUMNS", "PRESETS", "Config", "cells", "cost", "decisions", "draw", "measure", "measure_cell", "summary"]
