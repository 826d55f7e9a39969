"""Spectrum of the Fisher matrix of all parameters: what ELU, centring and batch normalisation do to it, and P5.

Small classifiers, exact Fisher matrices of a categorical likelihood over N training inputs, before and after some
training; and of the blocks of single units. "Centring" is the same network with other parameters, whose incoming
activations are less their mean over these inputs (B4). Batch normalisation takes the statistics of these N inputs, and
the derivatives go through them. Before training, the Fisher matrix of a Gaussian likelihood, JᵀJ/N, too: P5 predicts
its largest eigenvalue λ, for one output, from the kernel of wide networks; and full-batch gradient descent on the
squared error has the step-size limit 2/λ. That limit is of the linearised network, and of the network near a minimum;
whether the network obeys it from its initial weights on is another question. Each is trained at 0.9 and 1.1 times it.
"""

from analyses.experiments.fisher_spectrum.figure import draw
from analyses.experiments.fisher_spectrum.measurement import cells, cost, measure, measure_cell
from analyses.experiments.fisher_spectrum.settings import COLUMNS, PRESETS, Config
from analyses.experiments.fisher_spectrum.verdicts import decisions, summary

__all__ = ["COLUMNS", "PRESETS", "Config", "cells", "cost", "decisions", "draw", "measure", "measure_cell", "summary"]
