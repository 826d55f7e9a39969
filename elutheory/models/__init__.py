"""What hooks learn from a torch model while it runs: what goes in and out of its layers, and what follows them.

Everything below reads a model through hooks that are always removed; the model is left as it was.

- `layers.py`: which weights are those of units, and along which axis the units lie;
- `refusals.py`: every reason for which a layer or a whole model is refused: compiled, scripted, parallel, in training;
- `hooks.py`: hooks that are always removed;
- `weight_uses.py`: where a running model multiplies a weight with activations, function by function;
- `linear_maps.py`: how each such function lays out activations, net inputs and weights;
- `recurrence.py`: recurrent networks step by step, so that their products can be seen;
- `captures.py`: what layers receive and return in one forward pass, in one layout: what scores are made of;
- `unit_axes.py`: along which axis the units lie, followed from a layer through the functions that come after it;
- `observers.py`: what activation functions receive and return while a model runs, and which layer feeds each of them;
- `activation_calls.py`: activation functions that a model calls without a module, and what gated units are called;
- `plain_networks.py`: sequences of layers and activation functions, as the theory has them;
- `batch_layout.py`: which axis counts examples or classes, which positions count, which of a model's outputs are meant;
- `data.py`: what users hand in as data, as batches, and data sets from files.

One convention holds throughout: activations are (examples, groups, positions, fan_in), net inputs and their gradients
(examples, positions, units). What that is for a `Linear` layer, a sequence, a layer that is called twice and a
convolution is worked out at the top of `captures.py`. Start reading there, or in `observers.py` for activations.
"""
