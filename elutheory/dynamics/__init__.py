"""T: how fast a network learns, predicted from its tangent kernel at initialisation, with nothing fitted.

Networks as they are trained: standard parameterisation, one learning rate for all weights and biases. Start with
`infinite_width` and `prediction`; in the order of an answer:

- `infinite_width` (T1, T5): `training_kernel`, the kernel of wide networks from the inputs' Gram matrix; centring;
- `measured_networks` (T1, T6): `empirical_training_kernel`, that of a torch model as it is;
- `spectra`: what both kernels say by themselves: size, largest eigenvalue, the constant direction's share;
- `prediction` (T2–T4): `predict_training`, the table of losses, the modes, the largest stable rate;
- `gradient_descent/` (T2, T3): F_0, the steps, minibatches, and squared error by eigenmodes;
- `finite_networks` (T6): networks of the kernel's widths and their own kernels, drawn from the Gram matrix;
- `comparison` (T4, T5): why one network is faster than another;
- `command`, `report`, `figure`: `python -m elutheory.dynamics`.
"""

from elutheory.dynamics.infinite_width import TrainingKernel as TrainingKernel
from elutheory.dynamics.infinite_width import training_kernel as training_kernel
from elutheory.dynamics.measured_networks import EmpiricalTrainingKernel as EmpiricalTrainingKernel
from elutheory.dynamics.measured_networks import empirical_training_kernel as empirical_training_kernel
from elutheory.dynamics.prediction import TrainingPrediction as TrainingPrediction
from elutheory.dynamics.prediction import predict_training as predict_training
