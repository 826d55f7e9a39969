"""Networks and how they learn: many networks of one shape are trained at once.

Start with `training.py`: the same seed gives the same initial weights and the same order of examples, whatever the
activation and the optimizer.

- `architectures.py`: fully connected and convolutional networks, the paper's among them, and their initial weights.
- `training.py`: training from random weights, recorded epoch by epoch, resumable.
- `classifiers.py`: the classifiers that the learning experiments share.
- `augmentation.py`: random crops and flips of images, by seed and update.
- `layer_means.py`: moments of every hidden layer of a network on images, and what theory says of them (M3).
- `step_times.py`: times of training steps and layers, candidates in turn.
- `training_cost.py`: what training will take, estimated from sizes.
- `stacked.py`: networks under training, stacked by `torch.func` or each with an optimizer of its own.
- `checkpoints.py`: the state of a training on disk.
- `origins.py`: the origin of the incoming activations, moved without changing the function (B4).
- `predictions.py`: what the tangent kernel at initialisation says of their training (T1, T2, T5).
- `random.py`: deep random networks at initialisation, whose statistics P1–P6 predict.
- `corrections.py`: what the unit natural gradient would change for each hidden unit (B1–B4).
"""
