"""The callback of `observe_layers`' docstring in Lightning's Trainer; skipped where Lightning is not installed."""

import contextlib
import inspect
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import elutheory.statistics.unit_statistics
from elutheory.statistics import observe_layers

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own: deprecations, advice on workers


def documented_callback(namespace: dict[str, object]) -> type:
    """The class written in the docstring."""
    text = inspect.getdoc(observe_layers) or ""
    start = text.index("    class Activations")
    source = textwrap.dedent(text[start:].split("\n\n")[0])
    exec(source, namespace)  # noqa: S102
    return namespace["Activations"]  # pyright: ignore[reportReturnType]


def test_the_documented_callback(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 6), nn.ELU(), nn.Dropout(0.5), nn.Linear(6, 2))

        def training_step(self, batch: list[Tensor]) -> Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch: list[Tensor]) -> None:
            self.net(batch[0])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    torch.manual_seed(0)
    inputs, targets = torch.randn(50, 4), torch.randint(2, (50,))
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=16)
    namespace = {"lightning": lightning, "contextlib": contextlib, "et": elutheory.statistics.unit_statistics}
    callback, model = documented_callback(namespace)(), Classifier()
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[callback],
    )
    trainer.fit(model, loader, loader)
    assert callback.statistics.layers == ["net.1"]
    found = callback.statistics.units("net.1")  # those of the last validation: the hooks did not see the training
    outputs = model.net[1](model.net[0](inputs)).detach().double().numpy()
    assert found.count == 50
    np.testing.assert_allclose(found.mean, outputs.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.variance, outputs.var(0), rtol=1e-5, atol=1e-6)
    assert not any(module._forward_hooks for module in model.modules())
