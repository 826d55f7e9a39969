"""Fisher matrices and statistics that two processes reduce together are those of one process on all examples.

Both are reduced by one pair of processes, whose start is what these tests cost.
"""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from elutheory.fisher import UnitFisher
from elutheory.statistics import LayerStatistics, layer_statistics
from tests.devices.two_processes import inputs, network, reduce_in_process, scores_of_both


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what both processes wrote."""
    folder = tmp_path_factory.mktemp("reduced")
    multiprocessing.set_forkserver_preload([reduce_in_process.__module__])  # imported once, not twice
    torch.multiprocessing.start_processes(reduce_in_process, (str(folder),), nprocs=2, start_method="forkserver")
    return folder


def test_fisher_matrices(reduced: Path) -> None:
    for rank in range(2):
        of_rank = torch.load(reduced / f"{rank}.pt")
        assert "units is" in of_rank.pop("refusal")
        assert of_rank.keys() == scores_of_both().keys()
        for name, (matrix, complement, mean_under_p, mean_under_q, examples, form) in of_rank.items():
            first, second = scores_of_both()[name]
            one = UnitFisher.from_scores(first).add_scores(second)
            assert (examples, form) == (one.examples, one.form)
            torch.testing.assert_close(matrix, one.matrix, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(mean_under_p, one.mean_under_p, rtol=1e-12, atol=1e-12)
            tolerance = 1e-8 if name.startswith("far") else 1e-11
            torch.testing.assert_close(complement, one.complement_of(slice(None)), rtol=tolerance, atol=tolerance)
            torch.testing.assert_close(mean_under_q, one.mean_under_q, rtol=tolerance, atol=tolerance)


def test_statistics(reduced: Path) -> None:
    whole = layer_statistics(network(), inputs(), quantiles=(0.5,)).unit_table
    first, second = (LayerStatistics.load(reduced / f"{rank}.safetensors").unit_table for rank in range(2))
    assert first.equals(second)
    for column in whole.columns[3:]:
        np.testing.assert_allclose(first[column].astype(float), whole[column].astype(float), rtol=1e-12, atol=1e-14)
    assert "extremes and quantiles are" in (reduced / "1.txt").read_text()
