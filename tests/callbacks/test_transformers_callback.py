"""`TransformersWatch` in Hugging Face's Trainer; skipped where transformers is not installed."""

from pathlib import Path
from types import SimpleNamespace

import pandas
import pytest
import torch

from elutheory.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore")
transformers = pytest.importorskip("transformers")


def test_updates_of_a_loop_that_calls_back(tmp_path: Path) -> None:
    from elutheory.callbacks import TransformersWatch

    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=3
    )
    model = transformers.BertForSequenceClassification(config).train()
    watch = TransformersWatch(tmp_path / "run.csv", every=1, layers=["classifier"])
    state = SimpleNamespace(global_step=0, epoch=0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    folder = SimpleNamespace(output_dir=str(tmp_path))
    watch.on_train_begin(folder, state, None, model=model)
    for _ in range(2):
        words, labels = torch.randint(50, (8, 5)), torch.randint(3, (8,))
        model(input_ids=words, attention_mask=torch.ones_like(words), labels=labels).loss.backward()
        optimizer.step()
        watch.on_step_end(folder, state, None)
    state.global_step = 2
    (tmp_path / "checkpoint-2").mkdir()
    watch.on_save(folder, state, None)
    watch.on_train_end(folder, state, None)
    assert watch.watch is not None
    assert watch.watch.table["step"].tolist() == [1, 2]
    assert not model._forward_pre_hooks
    resumed = TransformersWatch(every=1, layers=["classifier"])
    resumed.on_train_begin(folder, state, None, model=model)
    assert resumed.watch is not None
    assert resumed.watch.steps == 2
    pandas.testing.assert_frame_equal(resumed.watch.table, watch.watch.table)
    elsewhere = TransformersWatch(every=1, layers=["classifier"])
    elsewhere.on_train_begin(SimpleNamespace(output_dir=str(tmp_path / "other")), state, None, model=model)
    assert elsewhere.watch is not None
    assert (elsewhere.watch.steps, len(elsewhere.watch.table)) == (2, 0)
    for damaged in ("{", "[]", '{"generator": "x"}', "{}"):
        (tmp_path / "checkpoint-2" / "elutheory_watch.json").write_text(damaged)
        with pytest.raises(InputError, match=r"elutheory_watch\.json is no state of a watch; delete it"):
            TransformersWatch(every=1, layers=["classifier"]).on_train_begin(folder, state, None, model=model)
