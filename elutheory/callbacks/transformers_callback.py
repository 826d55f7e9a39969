"""`TransformersWatch`: a `TrainingWatch` as a callback of Hugging Face's Trainer."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import TrainerCallback  # pyright: ignore[reportMissingImports]

from elutheory.callbacks.training_watch import TrainingWatch
from elutheory.errors import InputError
from elutheory.output.files import write_whole

STATE = "elutheory_watch.json"
"""The watch's state, a file beside the Trainer's own in every checkpoint."""


class TransformersWatch(TrainerCallback):
    """Watches `Trainer.train`: every n updates what they did in every layer, to `record`.

    - `record` and `options`: as of `TrainingWatch`.

    The Trainer does not tell a callback of its batches, so the keyword arguments of the model's last call while it
    trains are taken; its `labels` are the targets. Every checkpoint has the watch's state, the rows of its table among
    it, and a training that resumes from one in its output folder goes on from there; from another folder, at the
    Trainer's step alone. A file keeps its rows up to there. `watch` is the `TrainingWatch` of the last `train`.
    """

    def __init__(self, record: Any = None, **options: Any) -> None:
        self.watch: TrainingWatch | None = None
        self._record, self._options = record, options
        self._inputs: dict[str, Tensor] = {}
        self._handle: RemovableHandle | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Makes the watch and begins to note what the model is called with."""
        self.watch = TrainingWatch(model, self._record, **self._options)
        if state.global_step:
            known = self.watch.state_dict() | {"steps": state.global_step}
            self.watch.load_state_dict(known | _saved(_checkpoint(args, state)))
        self._handle = self.watch.model.register_forward_pre_hook(self._note, with_kwargs=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After an update, its measurement."""
        if self.watch is not None and self._inputs:
            inputs, self._inputs = self._inputs, {}
            epoch = None if state.epoch is None else int(state.epoch)
            self.watch.step(inputs, None, epoch)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Puts the watch's state into the checkpoint."""
        folder = _checkpoint(args, state)
        if self.watch is not None and folder.is_dir() and getattr(state, "is_world_process_zero", True):
            found = self.watch.state_dict()
            found["generator"] = found["generator"].tolist()
            write_whole(folder / STATE, json.dumps(found))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stops noting."""
        if self._handle is not None:
            self._handle.remove()
            self._handle, self._inputs = None, {}

    def _note(self, module: nn.Module, _arguments: Any, keywords: dict[str, Any]) -> None:
        if module.training:
            self._inputs = {key: value for key, value in keywords.items() if isinstance(value, Tensor)}


def _checkpoint(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"


def _saved(folder: Path) -> dict[str, Any]:
    """The state in a checkpoint; nothing where there is none. Raises InputError for one that is damaged."""
    if not (folder / STATE).is_file():
        return {}
    try:
        found = json.loads((folder / STATE).read_text(encoding="utf-8"))
        return found | {"generator": torch.tensor(found["generator"], dtype=torch.uint8)}
    except (ValueError, KeyError, TypeError, RuntimeError):
        raise InputError(
            f"{folder / STATE} is no state of a watch; delete it to go on at the Trainer's step alone."
        ) from None
