"""Do zero means speed up learning because they bring the gradient closer to the unit natural gradient?

If so, what separates ELU from ReLU under SGD must shrink where the gradient is corrected by other means: by centring
the incoming activations (B4, the bias-shift part alone), by batch normalisation, by the whole unit natural gradient. If
these help ELU as much as ReLU, the correction is not what separates them, and the claim is refuted. Every activation
and method has a learning rate of its own, tuned over equally many rates by the validation loss of other seeds than
those compared. Which claims are tested, and how, is fixed in CLAIMS; which of them decide, in DECISIVE.
"""

from analyses.experiments.causal_claim.figure import draw
from analyses.experiments.causal_claim.measurement import cells, measure, measure_cell
from analyses.experiments.causal_claim.settings import COLUMNS, PRESETS, Config
from analyses.experiments.causal_claim.verdicts import decisions, summary

__all__ = ["COLUMNS", "PRESETS", "Config", "cells", "decisions", "draw", "measure", "measure_cell", "summary"]
