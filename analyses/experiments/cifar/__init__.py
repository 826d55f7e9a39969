"""The paper's convolutional networks on CIFAR: ELU against ReLU, leaky and shifted ReLU, each with batch normalisation.

E4 (figure 4), E5 (figure 5) and, with --network 18_layers, E6 (table 1). Images are contrast-normalised and whitened
(ZCA, fitted on the training part), padded, cropped at random and mirrored; there is dropout in every stack, and weight
decay. Rates of learning and of dropout change where the paper's do, in proportion to the updates given. At a seed all
networks begin with the same weights (He) and see the same crops in the same order. What is tested, and how, is fixed in
`verdicts.CLAIMS`. Before training every layer's mean stands beside what M3 says of it, given what the layer receives.

--preset paper is the paper's size, for a GPU (bf16, channels last): 165,000 updates each of 80 networks; --preset
paper_18 the network of table 1. --preset reduced is for two CPU cores: an eighth of the units, 3,000 updates. Stopped
by Ctrl-C or --max-minutes, each goes on by the same command. Decoded and whitened images are kept in the folder that
ELUTHEORY_CACHE names (by default ~/.cache/elutheory), 740 MB for CIFAR.
"""

from analyses.experiments.cifar.figure import draw
from analyses.experiments.cifar.measurement import cells, cost, measure, measure_cell
from analyses.experiments.cifar.settings import COLUMNS, PRESETS, Config
from analyses.experiments.cifar.verdicts import decisions, summary

__all__ = ["COLUMNS", "PRESETS", "Config", "cells", "cost", "decisions", "draw", "measure", "measure_cell", "summary"]
