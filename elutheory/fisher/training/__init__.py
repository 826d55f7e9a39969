"""The unit natural gradient as a torch optimizer, in an ordinary training loop (sections F and B of arXiv 1511.07289).

A step goes through the files in this order:

- `natural_gradient.py`: the optimizer, and the centring that does part of its work;
- `training_scores.py`: scores of the layers, gathered by hooks while the loop runs the model;
- `low_precision.py`: in which dtype those of 16 bits are worked on;
- `running_fisher.py`, `factorisations.py`, `conjugate_gradients.py`: fading means of F, and solves with them;
- `limited_step.py`, `step_divergence.py`: how far it steps, and what divergence that makes, measured.
"""

from elutheory.fisher.training.natural_gradient import UnitNaturalGradient as UnitNaturalGradient
