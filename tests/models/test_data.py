"""What users hand in as data, cut into batches, and data sets from files."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from elutheory.errors import InputError
from elutheory.models.data import batches_of, load_digits, number_of_examples, read_data, rows_of, run_on
from elutheory.numerics import memory

INPUTS, TARGETS = torch.arange(20.0).reshape(10, 2), torch.arange(10)


def together(batches: list[tuple[Any, Any]]) -> tuple[Tensor, Tensor]:
    return torch.cat([inputs for inputs, _ in batches]), torch.cat([targets for _, targets in batches])


@pytest.mark.parametrize(
    ("data", "targets", "sizes"),
    [
        (INPUTS, TARGETS, [4, 4, 2]),
        ((INPUTS, TARGETS), None, [4, 4, 2]),
        ([(INPUTS[:3], TARGETS[:3]), [INPUTS[3:], TARGETS[3:]]], None, [3, 7]),
        (iter([(INPUTS, TARGETS)]), None, [10]),
    ],
)
def test_every_shape_of_data_has_the_same_examples(data: Any, targets: Tensor | None, sizes: list[int]) -> None:
    batches = list(batches_of(data, targets, 4))
    assert [len(inputs) for inputs, _ in batches] == sizes
    inputs, labels = together(batches)
    assert torch.equal(inputs, INPUTS)
    assert torch.equal(labels, TARGETS)


def test_mappings_are_cut_tensor_by_tensor() -> None:
    batches = list(batches_of({"x": INPUTS, "scale": 2.0, "ids": TARGETS}, None, 6))
    assert [batch["x"].shape for batch, _ in batches] == [(6, 2), (4, 2)]
    assert all(batch["scale"] == 2.0 and targets is None for batch, targets in batches)
    assert torch.equal(torch.cat([batch["ids"] for batch, _ in batches]), TARGETS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((INPUTS, TARGETS, 0), "batch_size is 0"),
        ((INPUTS, TARGETS, True), "batch_size is True"),
        (((INPUTS, TARGETS), TARGETS), "targets are given twice, with the inputs and apart; give them once"),
        (([INPUTS], TARGETS), "targets apart from the inputs need a tensor of inputs"),
        ((3,), "the data are a int; a tensor, "),
        (([],), "the data have no batch; at least one is needed"),
        (([(INPUTS, TARGETS, TARGETS)],), "a batch has 3 parts; inputs, or a pair"),
        (((INPUTS, TARGETS, TARGETS),), "a batch has 3 parts"),
        ((INPUTS, TARGETS[1:]), r"targets have shape \(9,\) for 10 examples; one per example is needed"),
        ((INPUTS, torch.tensor(3)), r"targets have shape \(\) for 10 examples"),
    ],
)
def test_data_that_are_no_batches_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(batches_of(*arguments))


def test_rows_and_their_number() -> None:
    batch = {"name": "x", "inputs": INPUTS, "more": {"ids": TARGETS}}
    for index in (slice(2, 4), torch.tensor([2, 3])):
        rows = rows_of(batch, index)
        assert rows["name"] == "x"
        assert torch.equal(rows["inputs"], INPUTS[2:4])
        assert torch.equal(rows["more"]["ids"], TARGETS[2:4])
    assert number_of_examples(batch) == 10
    assert number_of_examples({"scale": torch.tensor(1.0), "x": INPUTS}) == 10
    assert number_of_examples("x") == 0


def test_a_model_takes_a_mapping_as_keyword_arguments() -> None:
    model = nn.Linear(2, 3)
    assert torch.equal(run_on(model, {"input": INPUTS}), run_on(model, INPUTS))


# --- files ------------------------------------------------------------------------------------------------------------


def test_files_hold_inputs_and_targets(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", inputs=INPUTS.numpy().astype(">f4"), targets=TARGETS.numpy(), other=np.zeros(3))
    save_file({"inputs": INPUTS, "targets": TARGETS}, tmp_path / "b.SAFETENSORS")
    for name in ("a.npz", "b.SAFETENSORS"):
        inputs, targets = read_data(tmp_path / name)
        assert torch.equal(inputs, INPUTS)
        assert targets is not None
        assert torch.equal(targets, TARGETS)
    np.savez(tmp_path / "c.npz", inputs=INPUTS.numpy())
    assert read_data(tmp_path / "c.npz")[1] is None


def write(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "text.safetensors").write_text("no tensors")
    cases = {
        tmp_path / "data.csv": r"has no known ending; \.npz and \.safetensors files can be read",
        tmp_path / "missing.npz": "there is no file",
        tmp_path / "text.npz": r"cannot be read as \.npz with arrays of numbers: it is no zip archive",
        tmp_path / "text.safetensors": r"cannot be read as \.safetensors with arrays of numbers",
        write(tmp_path / "other.npz", x=np.zeros(3)): "has no array 'inputs'; its arrays are 'x'",
        write(tmp_path / "number.npz", inputs=np.float64(1.0)): r"have shape \(\); at least one example is needed",
        write(tmp_path / "empty.npz", inputs=np.zeros((0, 3))): r"have shape \(0, 3\); at least one example is needed",
        write(tmp_path / "text_array.npz", inputs=np.array(["a"])): r"cannot be read as \.npz",
        write(tmp_path / "objects.npz", inputs=np.array([{}])): r"cannot be read as \.npz",
        write(tmp_path / "short.npz", inputs=np.zeros((3, 2)), targets=np.zeros(2)): (
            r"have shape \(2,\) for 3 examples; one per example is needed"
        ),
    }
    for path, message in cases.items():
        with pytest.raises(InputError, match=message):
            read_data(path)


def test_digits_are_scikit_learns() -> None:
    inputs, targets = load_digits()
    assert inputs.shape == (1797, 64)
    assert targets.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def _npz(path: Path, header: dict[str, object], content: bytes) -> Path:
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, header)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inputs.npy", member.getvalue() + content)
    return path


def test_the_header_of_an_array_is_read_before_anything_is_allocated(tmp_path: Path) -> None:
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
    with pytest.raises(InputError, match=r"inputs declares 8 TB and holds 8 bytes\.$"):
        read_data(_npz(tmp_path / "declared.npz", header, bytes(8)))
    with pytest.raises(InputError, match=r"inputs declares 8 bytes and holds 80 bytes\.$"):
        read_data(_npz(tmp_path / "more.npz", header | {"shape": (1,)}, bytes(80)))
    whole, _ = read_data(_npz(tmp_path / "whole.npz", header | {"shape": (2, 1)}, bytes(16)))
    assert whole.shape == (2, 1)


def test_a_zip_bomb_is_refused_by_the_memory_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**6)
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 1)}
    with pytest.raises(InputError, match=r"take 16 MB, of which 1 MB are free on cpu; 62,500 examples"):
        read_data(_npz(tmp_path / "bomb.npz", header, bytes(8 * 10**6)))
