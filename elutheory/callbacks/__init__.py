"""Watch a model train: bias shift, its correction, gradients and dead units of every layer, every n steps.

- `TrainingWatch`: for a loop of your own; it needs nothing but this package;
- `LightningWatch`: a callback of Lightning's Trainer, through whose loggers (TensorBoard, W&B, …) it writes; needs the
  extra `lightning`;
- `TransformersWatch`: a callback of Hugging Face's Trainer; needs the extra `transformers`.

By default measuring takes at most 5 % of the training time, and n follows from what it took so far.

- `training_watch.py`: the loop's part: when to measure, what it took, state to resume from. Start reading here;
- `measured_layers.py`: what is measured of a layer (`COLUMNS`);
- `records.py`: files of rows, and TensorBoard's writers;
- `lightning_callback.py`, `transformers_callback.py`: the same as callbacks.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elutheory.callbacks.lightning_callback import LightningWatch as LightningWatch
    from elutheory.callbacks.training_watch import TrainingWatch as TrainingWatch
    from elutheory.callbacks.transformers_callback import TransformersWatch as TransformersWatch

_MODULES = {
    "TrainingWatch": ("training_watch", None),
    "LightningWatch": ("lightning_callback", "lightning"),
    "TransformersWatch": ("transformers_callback", "transformers"),
}
__all__ = ["LightningWatch", "TrainingWatch", "TransformersWatch"]


def __getattr__(name: str) -> Any:
    """Loaded on first use; ImportError, with the extra's name, where the library that it is made for is missing."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, needed = _MODULES[name]
    if needed is not None and find_spec(needed) is None:
        raise ImportError(f"{name} needs {needed}, which is not installed; pip install 'elutheory[{needed}]' does it.")
    return getattr(import_module(f"{__name__}.{module}"), name)
