"""What the tangent kernel at initialisation says of training on a data set's training examples (T1, T2, T5)."""

from analyses.data.datasets import Dataset
from elutheory.activations import Activation
from elutheory.dynamics import TrainingKernel, TrainingPrediction, predict_training, training_kernel


def kernel_of_examples(
    data: Dataset, function: Activation, *, layers: int, units: int, weight_variance: float, bias_variance: float
) -> TrainingKernel:
    """T1: of all pairs of training examples, for networks of `layers` hidden layers of `units`."""
    inputs = data.train.inputs.double().numpy()
    features = inputs.shape[1]
    return training_kernel(
        function,
        inputs @ inputs.T / features,
        depth=layers,
        width=units,
        features=features,
        weight_variance=weight_variance,
        bias_variance=bias_variance,
    )


def predicted_training(
    theta: TrainingKernel,
    data: Dataset,
    *,
    learning_rate: float,
    steps: int,
    batch_size: int | None,
    batch_seed: int,
    draws: int,
) -> TrainingPrediction:
    """T2: the cross-entropy over those examples, by SGD in the networks' own order of batches (None: all examples)."""
    return predict_training(
        theta,
        data.train.targets.numpy(),
        classes=data.classes,
        learning_rate=learning_rate,
        steps=steps,
        batch_size=None if batch_size is None else min(batch_size, len(data.train)),
        batch_seed=batch_seed,
        draws=draws,
    )
