"""The benchmarks' record, some six minutes on a quiet machine; `python -m benchmarks.summary` shows it:

    OMP_NUM_THREADS=1 NEURAL_TANGENTS_PYTHON=… FISHER_PEERS_PYTHON=… pytest benchmarks -o addopts= -s -m "not slow" \
        --benchmark-disable --records benchmarks/records.json

One thread of torch and BLAS, but where a benchmark asks for two (training); Gram matrices, tangent kernels and
neural-tangents use all cores as they always do. pytest-benchmark's own `--benchmark-json` holds neither a peer that is
absent nor sides that take turns, and nothing under `--benchmark-disable`, where these benchmarks' own rounds suffice.
The file is replaced in one step at the end, also where a limit is missed, not where the run is broken off.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from analyses.framework.devices import device_name
from analyses.framework.provenance import commit, versions
from analyses.report.benchmark_record import Comparison, Record, cores
from elutheory.output.files import write_whole

COMPARISONS = pytest.StashKey[list[Comparison]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--records", type=Path, metavar="FILE", help="replace FILE by the comparisons of this run")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COMPARISONS] = []
    if config.getoption("--records") and config.getoption("numprocesses", None):
        raise pytest.UsageError("--records is for one process alone on the machine: add -o addopts=")


@pytest.fixture
def compare(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Keeps a Comparison, given its fields, for the record; `threads` are the process's unless given."""

    def keep(**fields: Any) -> None:
        request.config.stash[COMPARISONS].append(Comparison(**{"threads": torch.get_num_threads(), **fields}))

    return keep


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    path = session.config.getoption("--records")
    if path is None or exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return
    found = tuple(session.config.stash[COMPARISONS])
    record = Record(found, device_name("cpu"), cores(), versions(), commit())
    write_whole(path, record.to_json())


def on_threads(count: int) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def one_thread() -> Iterator[None]:
    yield from on_threads(1)


@pytest.fixture
def two_threads() -> Iterator[None]:
    yield from on_threads(2)
