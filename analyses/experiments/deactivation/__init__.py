"""Noise, information and interference through units that are off: is ELU's deactivation robust to noise (E11)?

arXiv 1511.07289 claims that leaky ReLUs (parametric ones too: of learned slope, 0.25 at first) have no deactivation
state that is robust to noise; that saturation decreases the variation and the information passed on; that ELUs code how
much a phenomenon is present, not how much it is absent; and that concepts therefore interfere less.

One unit, X ~ N(mean, std²): variance of f(X) in closed form, simulated, and beside its limit for mean → −∞ (M7);
E ln f' (M6), −∞ where f is constant somewhere: the output has an atom there; and the information through a noisy
channel (`noisy_channel.py`). Two independent concepts, one present (mean m) and one absent (−m), added by a reader: the
absent one's share of the reader's variance is Var f at −m over the sum of both; and by its degree the reader's code of
the present one, through the noisy channel, loses information.

Trained classifiers, one learning rate for all, test examples: what passes through the units that are off and through
those that are on (`off_units.py`), in every hidden layer. Off is net input < 0 whatever the activation: near 0 ELU's
slope e^net is near 1, and a leaky ReLU of slope s passes less where ln s < net < 0. Hence also the deep state: the
tenth of those off with the lowest net inputs.
"""

from analyses.experiments.deactivation.figure import draw
from analyses.experiments.deactivation.measurement import cells, cost, measure, measure_cell
from analyses.experiments.deactivation.settings import COLUMNS, PRESETS, Config
from analyses.experiments.deactivation.verdicts import decisions, summary

__all__ = ["COLUMNS", "PRESETS", "Config", "cells", "cost", "decisions", "draw", "measure", "measure_cell", "summary"]
