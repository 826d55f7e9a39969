"""`LightningWatch`: a `TrainingWatch` as a callback of Lightning's Trainer."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from elutheory.callbacks.measured_layers import COLUMNS
from elutheory.callbacks.records import SummaryWriter, numbers_of, write_summary
from elutheory.callbacks.training_watch import TrainingWatch


class LightningWatch(Callback):
    """Watches `Trainer.fit`: numbers of every layer to the trainer's loggers, histograms to those of TensorBoard.

    - `record` and `options`: as of `TrainingWatch`, beside the loggers (W&B's among them);
    - `network`: gives the network that maps a batch's inputs to outputs, of the LightningModule; None: the module
      itself, by its `forward`;
    - `batch`: gives (inputs, targets) of a batch; None: a pair, or a mapping of the network's keyword arguments.

    Updates count, not batches whose gradients are accumulated; the epoch is Lightning's. The state is part of its
    checkpoints. `watch` is the `TrainingWatch` of the last `fit`. Raises InputError, as Lightning's own errors do, from
    `fit`.
    """

    def __init__(
        self,
        record: Any = None,
        *,
        network: Callable[[LightningModule], nn.Module] | None = None,
        batch: Callable[[Any], tuple[Any, Any]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.watch: TrainingWatch | None = None
        self._record, self._network, self._batch, self._options = record, network, batch, options
        self._state: Mapping[str, Any] | None = None
        self._updates = 0

    @property
    def table(self) -> pandas.DataFrame:
        """One row per measurement and layer of the last `fit`; empty before the first."""
        return pandas.DataFrame(columns=[*COLUMNS]) if self.watch is None else self.watch.table

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Makes the watch, with the weights and the state of a checkpoint, if there is one."""
        network = pl_module if self._network is None else self._network(pl_module)
        self.watch = TrainingWatch(network, self._record, **self._options)
        if self._state is not None:
            self.watch.load_state_dict(self._state)
            self._state = None
        self._updates = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After an update, its measurement."""
        if self.watch is None or trainer.global_step == self._updates:
            return
        self._updates = trainer.global_step
        inputs, targets = _pair(batch) if self._batch is None else self._batch(batch)
        found = self.watch.step(inputs, targets, trainer.current_epoch)
        if found is None:
            return
        numbers = numbers_of(found)
        for logger in trainer.loggers:
            experiment = getattr(logger, "experiment", None)
            if isinstance(experiment, SummaryWriter):
                write_summary(experiment, found, self.watch.steps)
            else:
                logger.log_metrics(numbers, self.watch.steps)

    def state_dict(self) -> dict[str, Any]:
        """For Lightning's checkpoints."""
        return {} if self.watch is None else self.watch.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From Lightning's checkpoints, before training begins."""
        self._state = state_dict or None


def _pair(batch: Any) -> tuple[Any, Any]:
    return (batch[0], batch[1]) if isinstance(batch, tuple | list) and len(batch) == 2 else (batch, None)
