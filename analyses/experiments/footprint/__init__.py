"""Operations, bytes and time of ELUs against batch normalisation, and the mean activations that each gives (E10).

Networks of E2 (fully connected) and E4 (11 convolutions) with ReLUs and ELUs, each without and with batch normalisation
before the activation. Work by formulas (`operation_counts.py`) beside torch's counts (`torch_counts.py`); times of
training steps, of evaluation, and of each hidden layer's normalisation and activation alone on N(0, 1) net inputs, all
four taking turns in one run. All is measured in one cell, so that nothing runs beside a timing, and on one
thread unless told otherwise: several wait for each other wherever another process takes one of their cores. In
evaluation batch normalisation is timed as it stands; folded into the weights before it, it costs nothing. Mean
activations are those at initialisation over one batch of the data's images, enlarged to the network's size.
"""

from analyses.experiments.footprint.figure import draw
from analyses.experiments.footprint.measurement import cells, cost, measure, measure_cell
from analyses.experiments.footprint.settings import COLUMNS, PRESETS, Config
from analyses.experiments.footprint.verdicts import decisions, summary

__all__ = ["COLUMNS", "PRESETS", "Config", "cells", "cost", "decisions", "draw", "measure", "measure_cell", "summary"]
