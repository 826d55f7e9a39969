"""Does the tangent kernel at initialisation predict how fast networks learn, with nothing fitted? (T1, T2)

Fully connected classifiers of several depths, widths, initialisations and activation functions; the prediction (T1, T2)
sees the inputs, the labels and the initialisation, never a training run. Measured networks train on the same examples,
at one rate for all and at each network's own largest stable rate of T3, by full batches and by minibatches, for twice
as many updates as predicted. The outcome is ln of the updates to a training loss. Where networks are deep for their
width the kernel moves and fluctuates (T6): the error is shown over L/n and over the loss. What is tested is fixed in
`verdicts.CLAIMS`.
"""

from analyses.experiments.predicted_speed.figure import draw
from analyses.experiments.predicted_speed.measurement import cells, cost, measure, measure_cell
from analyses.experiments.predicted_speed.settings import COLUMNS, PRESETS, Config
from analyses.experiments.predicted_speed.verdicts import decisions, summary

__all__ = ["COLUMNS", "PRESETS", "Config", "cells", "cost", "decisions", "draw", "measure", "measure_cell", "summary"]
