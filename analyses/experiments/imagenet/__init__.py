"""The paper's 15-layer ImageNet network on any folder of images: layers' statistics against theory, time of a step.

E7 (figure 6) without its training, which takes ImageNet and days of a GPU. Images are resized to squares of 256, less
their per-pixel mean over one deviation, cropped at random to 224 and mirrored. Measured are, before training, every
hidden layer's mean and second moment over channels, positions and images beside what M3 says of them given what the
layer receives, through pooling, padding and the spatial pyramid; and the time of a training step (gradient descent with
momentum, weight decay, dropout; batches of 4) with ELUs and with ReLUs, which take turns. The paper: 12.15 against
11.48 hours for 10,000 iterations, 5.8 % more.

--preset paper is the network's own size: 1e12 operations an image and step, and memory for its weights, gradients and
momenta twice, some 10 GB.
"""

from analyses.experiments.imagenet.figure import draw
from analyses.experiments.imagenet.measurement import cells, cost, measure, measure_cell
from analyses.experiments.imagenet.settings import COLUMNS, PRESETS, Config
from analyses.experiments.imagenet.verdicts import decisions, summary

__all__ = ["COLUMNS", "PRESETS", "Config", "cells", "cost", "decisions", "draw", "measure", "measure_cell", "summary"]
