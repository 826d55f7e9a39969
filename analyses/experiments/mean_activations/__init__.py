"""Mean activations layer by layer in deep random networks, measured beside theory with nothing fitted (P1–P6, B5).

Fully connected networks at initialisation, on standardised data, many seeds: `analyses.networks.random` measures,
`prediction.py` predicts, from two numbers of the data (mean second moment and mean overlap, with bands of finite width)
and from its whole Gram matrix (infinite width). Where is ELU's mean nearer zero than ReLU's, and where is it not?
Networks of one seed have the same standard normal weights whatever the activation; a sign test decides.
"""

from analyses.experiments.mean_activations.figure import draw
from analyses.experiments.mean_activations.measurement import cells, cost, measure, measure_cell
from analyses.experiments.mean_activations.settings import COLUMNS, PRESETS, Config
from analyses.experiments.mean_activations.verdicts import decisions, summary

__all__ = ["COLUMNS", "PRESETS", "Config", "cells", "cost", "decisions", "draw", "measure", "measure_cell", "summary"]
