"""What is left of ELU's lead when every activation is initialised and tuned for itself? The paper's network (E2).

The paper gives every activation He's weights and the rate 0.01. Under He's variance ELU's tangent kernel grows from
layer to layer where ReLU's does not (chi, P3), so that its lead mixes a larger kernel, which a larger rate would make
up for, with a better shape (T4). Here each activation has He's, its variance-preserving and its critical
initialisation, each at the paper's rate and at a rate of its own, of the fewest updates on other seeds than those
compared. Beside what is measured stands what the kernel at initialisation predicts (T2), nothing fitted.
"""

from analyses.experiments.initialisation_and_rate.figure import draw
from analyses.experiments.initialisation_and_rate.measurement import cells, cost, measure, measure_cell
from analyses.experiments.initialisation_and_rate.settings import COLUMNS, PRESETS, Config
from analyses.experiments.initialisation_and_rate.verdicts import decisions, summary

__all__ = ["COLUMNS", "PRESETS", "Config", "cells", "cost", "decisions", "draw", "measure", "measure_cell", "summary"]
