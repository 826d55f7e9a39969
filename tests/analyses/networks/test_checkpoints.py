"""Checkpoints: what comes back, what is refused and left in place, and twenty kills that leave no trace."""

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from safetensors.torch import save_file

from analyses.networks import checkpoints
from analyses.networks import stacked as trained_networks
from analyses.networks.architectures import fully_connected
from analyses.networks.training import Training, train
from elutheory.errors import InputError
from tests.analyses.networks.interrupted_training import Data, measure

TRAINING = {"epochs": 3, "rates": (0.1, 1 / 3), "network": "Linear"}
STATE = {
    "epoch": 2,
    "loss": 0.1 + 0.2,
    "nothing": None,
    "flag": True,
    "name": "elu",
    "nan": float("nan"),
    "infinite": -float("inf"),
    "betas": (0.9, 0.999),
    "empty": {},
    "optimizer": {0: {"momentum": torch.arange(6.0).view(2, 3).T}, 1: [torch.tensor(7, dtype=torch.int64)]},
    "random": torch.get_rng_state(),
    "half": torch.tensor([1.5, -0.0], dtype=torch.bfloat16),
    "no_examples": torch.zeros(0, 3),
}


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and checkpoints.bytes_of(one) == checkpoints.bytes_of(other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and repr(one) == repr(other)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    checkpoints.save(tmp_path / "deep" / "state.safetensors", TRAINING, STATE)
    return tmp_path / "deep" / "state.safetensors"


def test_everything_comes_back_with_its_bits_and_types(path: Path) -> None:
    loaded = checkpoints.load(path, TRAINING)
    assert same(loaded, STATE)
    assert [file.name for file in path.parent.iterdir()] == ["state.safetensors"]
    assert checkpoints.load(path.with_name("none"), TRAINING) is None


def test_any_damage_is_refused_and_left_in_place(path: Path) -> None:
    """200 random flipped bytes; the file cut short at 50 places and lengthened."""
    whole = path.read_bytes()
    chosen = random.Random(0)
    damaged = []
    for _ in range(200):
        place = chosen.randrange(len(whole))
        damaged.append(whole[:place] + bytes([whole[place] ^ (1 << chosen.randrange(8))]) + whole[place + 1 :])
    damaged += [whole[: chosen.randrange(len(whole))] for _ in range(50)] + [b"", whole + b"\0"]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(InputError) as refusal:
            checkpoints.load(path, TRAINING)
        assert str(refusal.value).startswith(f"{path} is ")
        assert "\n" not in str(refusal.value)
        assert path.read_bytes() == content


def test_foreign_files_are_refused_and_left_in_place(path: Path) -> None:
    with pytest.raises(InputError, match=r"is the checkpoint of another training \(epochs: 3 there, 4 here\); delete"):
        checkpoints.load(path, {**TRAINING, "epochs": 4})
    with pytest.raises(InputError, match=r"another training \(momentum: None there, 0.9 here\)"):
        checkpoints.load(path, {**TRAINING, "momentum": 0.9})
    other = path.with_name("weights.safetensors")
    save_file({"weight": torch.ones(3)}, other)
    with pytest.raises(InputError, match="is no checkpoint of a training"):
        checkpoints.load(other, TRAINING)
    text = path.with_name("text")
    text.write_text("epochs: 3\n" * 10)
    with pytest.raises(InputError, match="is no checkpoint or a damaged one"):
        checkpoints.load(text, TRAINING)
    with pytest.raises(InputError, match="is no checkpoint or a damaged one"):
        checkpoints.load(path.parent, TRAINING)
    assert other.exists()
    assert text.exists()
    assert same(checkpoints.load(path, TRAINING), STATE)


def test_what_no_checkpoint_can_hold_is_refused_before_writing(path: Path) -> None:
    whole = path.read_bytes()
    with pytest.raises(InputError, match="cannot hold a set"):
        checkpoints.save(path, TRAINING, {"classes": {1, 2}})
    assert path.read_bytes() == whole


def run(checkpoint: Path, **changes: Any) -> pandas.DataFrame:
    options: dict[str, Any] = {"epochs": 2, "seeds": (0, 1), "batch_size": 10, **changes}
    sizes = options.pop("sizes", (12, 9, 4))
    training = Training(**options)
    return train(lambda: fully_connected(sizes, "elu"), Data(), training, measure=measure, checkpoint=checkpoint).table


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epochs": 3}, "epochs: 2 there, 3 here"),
        ({"learning_rates": (0.02,)}, "learning_rates"),
        ({"sizes": (12, 8, 4)}, "network"),
        ({"schedule": ((3, 0.1),)}, "schedule"),
    ],
)
def test_training_refuses_the_checkpoint_of_another(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    path = tmp_path / "state.safetensors"
    run(path)
    whole = path.read_bytes()
    with pytest.raises(InputError, match=named):
        run(path, **changes)
    assert path.read_bytes() == whole


def test_a_finished_training_is_read_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.safetensors"
    first = run(path)
    monkeypatch.setattr(trained_networks.StackedNetworks, "step", None)
    pandas.testing.assert_frame_equal(run(path), first, check_exact=True)


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.exhaustive)])
def test_kills_leave_no_trace(kills: int, tmp_path: Path) -> None:
    """Records and final state are those of the uninterrupted training, byte for byte."""
    command = [sys.executable, "-W", "error", "-m", "tests.analyses.networks.interrupted_training"]
    command += [str(tmp_path), str(kills)]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"stacked {kills}\nseparate {kills}\n"
