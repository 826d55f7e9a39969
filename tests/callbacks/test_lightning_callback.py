"""`LightningWatch` in Lightning's Trainer: accumulated gradients, loggers, resuming. Skipped without Lightning."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own: deprecations, advice on workers
lightning = pytest.importorskip("lightning")


def classifier() -> Any:
    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 6), nn.ELU(), nn.Dropout(0.2), nn.Linear(6, 2))

        def forward(self, inputs: Tensor) -> Tensor:
            return self.net(inputs)

        def training_step(self, batch: list[Tensor]) -> Tensor:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    torch.manual_seed(0)
    return Classifier()


def trainer(tmp_path: Path, watch: Any, **options: Any) -> Any:
    return lightning.Trainer(
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[watch],
        **options,
    )


def test_a_training_is_watched_and_resumed(tmp_path: Path) -> None:
    from lightning.pytorch.loggers import CSVLogger

    from elutheory.callbacks import LightningWatch

    generator = torch.Generator().manual_seed(0)
    loader = DataLoader(
        TensorDataset(torch.randn(64, 4, generator=generator), torch.randint(2, (64,), generator=generator)), 8
    )
    options = {"every": 2, "record": tmp_path / "run.csv", "network": lambda module: module.net}
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    first, model = LightningWatch(**options), classifier()
    fitting = trainer(tmp_path, first, max_epochs=1, logger=logger, accumulate_grad_batches=2)
    fitting.fit(model, loader)
    assert first.watch is not None
    assert first.watch.table["step"].tolist() == [2, 2, 4, 4]  # 8 batches are 4 updates
    assert first.table["layer"].tolist() == ["0", "3"] * 2
    logged = logger.experiment.metrics_file_path
    assert "0/bias_shift_share" in Path(logged).read_text()
    fitting.save_checkpoint(tmp_path / "whole.ckpt")
    second = LightningWatch(**options)
    resuming = trainer(tmp_path, second, max_epochs=2, logger=False, accumulate_grad_batches=2)
    resuming.fit(classifier(), loader, ckpt_path=tmp_path / "whole.ckpt", weights_only=False)
    assert second.watch is not None
    assert second.watch.steps == 8
    lines = (tmp_path / "run.csv").read_text().splitlines()[1:]
    assert [int(line.split(",")[0]) for line in lines] == [2, 2, 4, 4, 6, 6, 8, 8]
    assert [line.split(",")[1] for line in lines][::2] == ["0.0", "0.0", "1.0", "1.0"]
