"""`python -m elutheory.diagnosis` as a user runs it: factories, data files without pickle, errors in one sentence."""

import importlib
import io
import sys
from pathlib import Path

import numpy
import pandas
import pytest
import torch
from safetensors.torch import save_file

from elutheory.diagnosis import Diagnosis, diagnose
from elutheory.diagnosis import command as diagnosis_command
from elutheory.fisher import Gaussian

FACTORIES = """
import torch
from torch import nn

THREE = 3
READY = nn.Linear(4, 2)

def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ELU(), nn.Dropout(), nn.Linear(6, 3))

def digits_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 8), nn.ELU(), nn.Linear(8, 10))

def number():
    return 3

def failing():
    raise KeyError("no weights")
"""


@pytest.fixture(autouse=True)
def in_a_folder_with_factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_models.py").write_text(FACTORIES)
    (tmp_path / "their_broken_models.py").write_text("1 +\n")
    (tmp_path / "their_dependent_models.py").write_text("import not_installed_here\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "their_models", raising=False)
    importlib.invalidate_caches()


def arrays() -> dict[str, numpy.ndarray]:
    numbers = numpy.random.default_rng(0)
    return {"inputs": numbers.normal(size=(40, 4)), "targets": numbers.integers(0, 3, 40)}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = diagnosis_command.main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_runs_on_the_digits(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "their_models:digits_model", "--data", "digits", "--max-examples", "100")
    assert (code, err) == (0, "")
    assert "Means and gradient over 100 examples" in out


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_files_give_what_the_function_gives(capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    data = arrays()
    if suffix == ".npz":
        numpy.savez("data.npz", **data)
    else:
        save_file({name: torch.from_numpy(array) for name, array in data.items()}, "data.safetensors")
    outputs = ("--html", "page.html", "--figure", "layers.svg", "--csv", "table.csv") if suffix == ".npz" else ()
    code, out, err = run(capsys, "their_models:model", "--data", f"data{suffix}", "--units", "2", *outputs)
    assert (code, err) == (0, "")
    sys.path.insert(0, str(Path.cwd()))
    model = importlib.import_module("their_models").model().eval()
    inputs = torch.from_numpy(data["inputs"]).float()
    expected = diagnose(model, (inputs, torch.from_numpy(data["targets"])), units=2)
    assert out == expected.to_text()
    if not outputs:
        return
    pandas.testing.assert_frame_equal(
        pandas.read_csv("table.csv", dtype={"layer": str}), expected.table, check_exact=False
    )
    assert Path("page.html").read_text(encoding="utf-8") == expected.to_html()
    assert "<svg" in Path("layers.svg").read_text(encoding="utf-8")


def test_a_model_itself_and_data_without_targets(capsys: pytest.CaptureFixture[str]) -> None:
    numpy.savez("data.npz", inputs=arrays()["inputs"].astype(">f4"))
    code, out, _ = run(capsys, "their_models:READY", "--data", "data.npz")
    assert code == 0
    assert "labels drawn from the model" in out


@pytest.mark.parametrize(
    ("factory", "sentence"),
    [
        ("their_models", "'their_models' names no factory; write package.module:factory."),
        ("nowhere.at_all:model", "there is no module 'nowhere', needed to import 'nowhere.at_all'."),
        ("their_dependent_models:model", "there is no module 'not_installed_here', needed to import"),
        ("their_broken_models:model", "importing 'their_broken_models' fails: SyntaxError"),
        ("their_models:absent", "module 'their_models' has no 'absent'; name a function"),
        ("their_models:THREE", "their_models:THREE is a int; a function that returns the model is needed."),
        ("their_models:number", "their_models:number() returns a int; a torch.nn.Module is needed."),
        ("their_models:failing", "their_models:failing() fails: KeyError: 'no weights'."),
        ("their_models:model", "the model fails on inputs (1, 64) of torch.float32: RuntimeError: mat1 and mat2"),
    ],
)
def test_wrong_factories(capsys: pytest.CaptureFixture[str], factory: str, sentence: str) -> None:
    code, out, err = run(capsys, factory, "--data", "digits")
    assert (code, out) == (2, "")
    assert err.startswith(f"elutheory: {sentence}")
    assert err.count("\n") == 1


def write_truncated(name: str) -> None:
    whole = io.BytesIO()
    numpy.savez(whole, **arrays())
    Path(name).write_bytes(whole.getvalue()[:300])


def write_object_array(name: str) -> None:
    numpy.savez(name, inputs=numpy.array([{"a": 1}], dtype=object))


def write_one_array(name: str) -> None:
    with Path(name).open("wb") as file:
        numpy.save(file, arrays()["inputs"])


WRONG_FILES = {
    "absent.npz": (None, "there is no file absent.npz"),
    "data.csv": (None, "data.csv has no known ending; .npz, .safetensors and .parquet files can be read."),
    "truncated.npz": (write_truncated, "truncated.npz cannot be read as .npz"),
    "empty.npz": (lambda name: Path(name).touch(), "empty.npz cannot be read as .npz"),
    "pickled.npz": (write_object_array, "pickled.npz cannot be read as .npz with arrays of numbers: Object arrays"),
    "array.npz": (write_one_array, "array.npz cannot be read as .npz"),
    "text.npz": (lambda name: numpy.savez(name, inputs=numpy.array(["a"])), "text.npz cannot be read as .npz"),
    "other.npz": (lambda name: numpy.savez(name, x=1.0), "other.npz has no array 'inputs'; its arrays are 'x'."),
    "scalar.npz": (lambda name: numpy.savez(name, inputs=1.0), "inputs in scalar.npz have shape ()"),
    "uneven.npz": (
        lambda name: numpy.savez(name, inputs=numpy.ones((4, 4)), targets=numpy.ones(3)),
        "targets in uneven.npz have shape (3,) for 4 examples",
    ),
    "garbage.safetensors": (
        lambda name: Path(name).write_bytes(b"\xff" * 100),
        "garbage.safetensors cannot be read as .safetensors",
    ),
    "nothing.safetensors": (
        lambda name: save_file({"x": torch.ones(2)}, name),
        "nothing.safetensors has no array 'inputs'; its arrays are 'x'.",
    ),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_wrong_data_files(capsys: pytest.CaptureFixture[str], name: str) -> None:
    write, sentence = WRONG_FILES[name]
    if write is not None:
        write(name)
    code, out, err = run(capsys, "their_models:model", "--data", name)
    assert (code, out) == (2, "")
    assert err.startswith(f"elutheory: {sentence}")
    assert err.count("\n") == 1


def test_output_files_are_checked_before_any_work(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("nowhere:model", "--data", "digits")
    assert "no known ending" in run(capsys, *arguments, "--figure", "layers.gif")[2]
    assert "must be different files" in run(capsys, *arguments, "--html", "a", "--csv", "a")[2]
    assert "does not exist" in run(capsys, *arguments, "--html", "missing/page.html")[2]


@pytest.mark.parametrize(
    "failure", ["ValueError('no')", "KeyError('no')", "MemoryError('no')", "RuntimeError('no')", "SystemExit(0)"]
)
def test_other_peoples_code_may_fail_as_it_likes(
    failure: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the forward pass, in the factory, and at import: one sentence, exit code 2."""
    monkeypatch.chdir(tmp_path)
    name = f"failing_{abs(hash(failure))}"
    (tmp_path / f"{name}.py").write_text(
        f"from torch import nn\nclass Model(nn.Linear):\n    def forward(self, x): raise {failure}\n"
        f"def model(): return Model(64, 10)\ndef factory(): raise {failure}\n"
    )
    (tmp_path / f"{name}_at_import.py").write_text(f"raise {failure}\n")
    for factory in (f"{name}:model", f"{name}:factory", f"{name}_at_import:model"):
        assert diagnosis_command.main([factory, "--data", "digits"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1, said
        assert failure.partition("(")[0] in said


# --- arguments of a model by name, weights, and the other options ----------------------------------------------------

TOKENS = """
import torch
from torch import nn

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.hidden, self.last = nn.Embedding(20, 4), nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, input_ids, attention_mask=None, labels=None):
        return self.last(torch.tanh(self.hidden(self.words(input_ids))))

def tokens():
    torch.manual_seed(0)
    return Tokens()
"""


def token_arrays() -> dict[str, numpy.ndarray]:
    numbers = numpy.random.default_rng(0)
    mask = numpy.ones((12, 5), dtype=numpy.int64)
    mask[:4, 3:] = 0
    labels = numpy.where(mask == 1, numbers.integers(0, 3, (12, 5)), -100)
    return {"input_ids": numbers.integers(0, 20, (12, 5)), "attention_mask": mask, "labels": labels}


def write_parquet(name: str, arrays: dict[str, numpy.ndarray]) -> None:
    pytest.importorskip("pyarrow")
    pandas.DataFrame({key: list(array) for key, array in arrays.items()}).to_parquet(name)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".parquet"])
def test_arrays_called_as_the_arguments_are(capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    Path("their_tokens.py").write_text(TOKENS)
    arrays, name = token_arrays(), f"tokens{suffix}"
    if suffix == ".npz":
        numpy.savez(name, **arrays)
    elif suffix == ".parquet":
        write_parquet(name, arrays)
    else:
        save_file({key: torch.from_numpy(array) for key, array in arrays.items()}, name)
    given = (
        "--layers",
        "hidden",
        "last",
        "--units",
        "2",
        "--batch-size",
        "5",
        "--device",
        "cpu",
        "--json",
        "found.json",
    )
    code, out, err = run(capsys, "their_tokens:tokens", "--data", name, *given)
    assert (code, err) == (0, "")
    model = importlib.import_module("their_tokens").tokens().eval()
    tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
    expected = diagnose(model, tensors, layers=["hidden", "last"], units=2, batch_size=5)
    assert out == expected.to_text()
    assert Diagnosis.load("found.json").to_text() == out


def test_weights_and_a_variance(capsys: pytest.CaptureFixture[str]) -> None:
    sys.path.insert(0, str(Path.cwd()))
    model = importlib.import_module("their_models").model()
    with torch.no_grad():
        model[0].weight *= 3
    save_file(model.state_dict(), "weights.safetensors")
    numbers = numpy.random.default_rng(0)
    inputs, targets = numbers.normal(size=(40, 4)), numbers.normal(size=(40, 3))
    numpy.savez("data.npz", inputs=inputs, targets=targets)
    given = ("--checkpoint", "weights.safetensors", "--likelihood", "gaussian:0.5", "--units", "2")
    code, out, err = run(capsys, "their_models:model", "--data", "data.npz", *given)
    assert (code, err) == (0, "")
    both = torch.from_numpy(inputs).float(), torch.from_numpy(targets).float()
    assert out == diagnose(model.eval(), both, Gaussian(0.5), units=2).to_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--likelihood", "gaussian:0"), "--likelihood is gaussian:0; a finite number > 0"),
        (("--likelihood", "gaussian:x"), "--likelihood is gaussian:x; after gaussian: a number is needed."),
        (
            ("--likelihood", "categorical:2"),
            "--likelihood is categorical:2; there are categorical, bernoulli, gaussian",
        ),
        (("--likelihood", "poisson"), "--likelihood is poisson; there are categorical, bernoulli, gaussian."),
        (("--checkpoint", "weights.pt"), "--checkpoint weights.pt is no .safetensors file; no other kind is read"),
        (("--checkpoint", "absent.safetensors"), "there is no file absent.safetensors; name a .safetensors file."),
        (("--checkpoint", "garbage.safetensors"), "garbage.safetensors cannot be read as .safetensors"),
        (
            ("--checkpoint", "other.safetensors"),
            "other.safetensors lacks '0.bias' and 3 more; the weights of",
        ),
        (("--checkpoint", "shape.safetensors"), "'0.bias' has shape (2,) in shape.safetensors and (6,) in the model."),
        (("--device", "cuda:77"), "the model cannot be moved to device 'cuda:77'"),
        (("--device", "nonsense"), "the model cannot be moved to device 'nonsense'"),
        (("--layers", "9"), "the model has no layer '9'"),
        (("--layers",), "--layers are none; give each once, and one at least."),
    ],
)
def test_wrong_options(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str) -> None:
    numpy.savez("data.npz", **arrays())
    Path("garbage.safetensors").write_bytes(b"\xff" * 100)
    save_file({"x": torch.ones(2)}, "other.safetensors")
    sys.path.insert(0, str(Path.cwd()))
    own = importlib.import_module("their_models").model().state_dict()
    save_file({**own, "0.bias": torch.ones(2)}, "shape.safetensors")
    code, out, err = run(capsys, "their_models:model", "--data", "data.npz", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"elutheory: {sentence}")


def test_lists_of_different_lengths_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    pandas.DataFrame({"inputs": [[1.0, 2.0], [1.0]]}).to_parquet("ragged.parquet")
    pandas.DataFrame({"text": ["a", "b"]}).to_parquet("text.parquet")
    Path("garbage.parquet").write_bytes(b"\xff" * 100)
    for name, sentence in (
        ("ragged.parquet", "column 'inputs' of ragged.parquet has lists of different lengths; pad them to one"),
        ("text.parquet", "text.parquet has no array 'inputs'; its arrays are none. The model's arguments are 'input'."),
        ("garbage.parquet", "garbage.parquet cannot be read as .parquet"),
    ):
        code, _, err = run(capsys, "their_models:model", "--data", name)
        assert code == 2
        assert err.startswith(f"elutheory: {sentence}"), err
