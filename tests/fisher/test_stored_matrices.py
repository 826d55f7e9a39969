"""Fisher matrices, diagnoses and statistics through pickle and files, and what they print."""

import pickle
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from torch import Tensor, nn

import elutheory as et
from elutheory.errors import InputError


class Laplace(et.Likelihood):
    """One of a user's own, of public methods alone."""

    def log_density(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return -(targets - outputs).abs().flatten(1).sum(1)

    def sample(self, outputs: Tensor, samples: int, generator: torch.Generator | None = None) -> Tensor:
        signs = torch.randint(0, 2, (samples, *outputs.shape), generator=generator).to(outputs) * 2 - 1
        return outputs + signs


def model(groups: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    convolution = nn.Conv1d(2, 4, 3, groups=groups)
    return nn.Sequential(convolution, nn.ELU(), nn.Flatten(), nn.Linear(16, 3)).double()


def inputs(examples: int) -> Tensor:
    return 3 + torch.randn(examples, 2, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301


CASES: dict[str, Any] = {
    "matrix": lambda: et.unit_fisher(model(), inputs(30), "3"),
    "factors": lambda: et.unit_fisher(model(), inputs(5), "3"),
    "summed factors": lambda: et.unit_fisher(model(), inputs(2), "0"),
    "groups": lambda: et.unit_fisher(model(2), inputs(30), "0", weight_sharing="positionwise"),
    "damped": lambda: et.unit_fisher(model(), inputs(30), "3", likelihood=et.Gaussian(0.5)).damped(0.1, relative=True),
    "some units": lambda: et.unit_fisher(
        model(), inputs(30), "3", units=[2, 0], likelihood=et.Categorical((1.0, 2.0, 0.5), 0.1)
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_matrices_are_what_they_were(case: str, tmp_path: Path) -> None:
    fisher: et.UnitFisher = CASES[case]()
    fisher.save(tmp_path / "fisher.safetensors")
    gradient = torch.randn(fisher.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for restored in (pickled(fisher), et.UnitFisher.load(tmp_path / "fisher.safetensors")):
        assert repr(restored) == repr(fisher)
        assert restored.likelihood == fisher.likelihood
        for name in ("matrix", "mean_under_p", "mean_under_q", "covariance_under_q", "mean_diagonal"):
            both = getattr(restored, name), getattr(fisher, name)
            torch.testing.assert_close(*both, rtol=0, atol=0, equal_nan=True, msg=name)
        step = restored.natural_gradient(gradient, 0.1)
        torch.testing.assert_close(step, fisher.natural_gradient(gradient, 0.1), rtol=1e-13, atol=1e-13)
        with pytest.raises(InputError, match="was made from scores, without a model"):
            restored.update(inputs(3))
        if case != "damped":
            matrix = fisher.matrix.clone()
            assert restored.merge(fisher).examples == 2 * fisher.examples
            torch.testing.assert_close(restored.matrix, matrix)


def test_a_likelihood_of_ones_own_is_stored_by_its_name(tmp_path: Path) -> None:
    targets = torch.zeros(30, 3, dtype=torch.float64)
    fisher = et.unit_fisher(model(), (inputs(30), targets), "3", "empirical", Laplace())
    fisher.save(tmp_path / "fisher.safetensors")
    assert et.UnitFisher.load(tmp_path / "fisher.safetensors").likelihood == "laplace"
    assert "laplace" in repr(fisher)


def test_files_that_are_something_else_are_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    fisher: et.UnitFisher = CASES["matrix"]()
    (tmp_path / "cut").write_bytes(fisher.to_bytes()[:-8])
    et.layer_statistics(model(), inputs(3)).save(tmp_path / "statistics")
    for name in ("text", "cut", "statistics", "absent"):
        for kind in (et.UnitFisher, et.Diagnosis):
            with pytest.raises(InputError, match=r"cannot be read|there is no file"):
                kind.load(tmp_path / name)


def test_diagnoses_and_statistics_are_what_they_were(tmp_path: Path) -> None:
    found = et.diagnose(model(), inputs(30), units=2)
    found.save(tmp_path / "diagnosis.json")
    for restored in (pickled(found), et.Diagnosis.load(tmp_path / "diagnosis.json")):
        pandas.testing.assert_frame_equal(restored.table, found.table)
        assert {**vars(restored), "table": 0} == {**vars(found), "table": 0}
        assert str(restored) == found.to_text()
    assert repr(found).startswith("Diagnosis(2 layers, 30 examples, Fisher matrices exact")
    statistics = et.layer_statistics(model(), inputs(30), quantiles=(0.5,), memory=1)
    again = pickled(statistics)
    pandas.testing.assert_frame_equal(again.table, statistics.table)
    assert repr(again) == "LayerStatistics(1 layers, 120 points; .table has one row per layer)"
    assert "mean_share" in str(again)
