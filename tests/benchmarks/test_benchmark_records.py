"""The benchmarks' record and its table. References: ratios worked out by hand, and the committed file's text."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from analyses.report.benchmark_record import PEERS, Comparison, Record, read_record
from analyses.report.benchmark_table import HEADINGS, benchmark_table
from benchmarks.summary import main
from elutheory.errors import InputError

CHECKOUT = Path(__file__).parents[2]
COMMITTED = CHECKOUT / "benchmarks" / "records.json"

DKS = {"name": "second_moment", "what": "a value", "peer": "dks", "seconds": 1.4e-7, "error": 4e-17, "threads": 1}
PASS = {"name": "diagnosis", "what": "`diagnose`", "peer": "plain pass", "is_floor": True, "threads": 2}
MADE_UP = (
    {**DKS, "peer_version": "0.1.2", "peer_seconds": 7e-4, "peer_error": 1.4e-11},
    {**PASS, "seconds": 0.6, "peer_seconds": 0.2},
    {**PASS, "seconds": 0.9, "peer_seconds": 0.2},
    {**PASS, "seconds": 1.0, "peer_seconds": 0.4},
    {
        **{"name": "unit_fisher", "what": "matrix", "peer": "ASDL", "seconds": 0.003, "peer_seconds": 0.001},
        **{"difference": 2e-15, "threads": 1},
    },
)


def write(path: Path, *comparisons: dict[str, Any]) -> Path:
    record = Record(tuple(Comparison(**c) for c in comparisons), "Z80", 2, {"python": "3.11.7"}, "d6e3ee648b20")
    path.write_text(record.to_json())
    return path


def rows(table: str) -> dict[str, list[str]]:
    """The cells of each row by the peer's cell."""
    found = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    assert {len(cells) for cells in found} == {len(HEADINGS)}
    return {cells[2]: cells for cells in found}


def test_table_of_a_made_up_record(tmp_path: Path) -> None:
    table = benchmark_table(write(tmp_path / "records.json", *MADE_UP))
    found = rows(table)
    assert found["dks (0.1.2)"] == [
        "a value",
        "140 ns",
        "dks (0.1.2)",
        "700 µs",
        "5,000 × faster",
        "4e-17, 1e-11",
        "1, cpu",
    ]
    assert found["plain pass"] == ["`diagnose`", "900 ms", "plain pass", "200 ms", "4.50 × the floor", "", "2, cpu"]
    assert found["ASDL"][3:6] == ["1.0 ms", "3.0 × slower", "agree to 2e-15"]
    assert "Z80, 2 cores, commit d6e3ee648b20: python 3.11.7." in table


def test_every_job_has_a_row_in_order(tmp_path: Path) -> None:
    found = rows(benchmark_table(write(tmp_path / "records.json")))
    assert list(found)[2:] == [peer for peers in PEERS.values() for peer in peers]
    assert {cells[3] for cells in list(found.values())[2:]} == {"not measured"}


def test_a_peer_that_is_not_installed_is_said_so(tmp_path: Path) -> None:
    found = rows(benchmark_table(write(tmp_path / "records.json", {**DKS, "peer_seconds": None})))
    assert found["dks"] == ["a value", "140 ns", "dks", "not installed", "", "4e-17", "1, cpu"]


def test_committed_record() -> None:
    table = benchmark_table(COMMITTED)
    found = rows(table)
    assert "not measured" not in table
    content = json.loads(COMMITTED.read_text())
    for name, peer in (("tangent_kernel", "neural-tangents, degree 25"), ("layer_statistics", "bare forward pass")):
        (stored,) = (c for c in content["comparisons"] if (c["name"], c["peer"]) == (name, peer))
        (shown,) = (cells for cells in found.values() if cells[2].startswith(peer))
        if stored["peer_seconds"] is None:
            assert shown[3] == "not installed"
        else:
            ratio = stored["seconds"] / stored["peer_seconds"]
            expected = ratio if stored["is_floor"] else max(ratio, 1 / ratio)
            assert float(shown[4].partition(" ")[0].replace(",", "")) == pytest.approx(expected, rel=0.06)


def test_round_trip(tmp_path: Path) -> None:
    path = write(tmp_path / "records.json", *MADE_UP)
    assert read_record(path).to_json() == path.read_text()


VALID = json.loads(Record((Comparison(**MADE_UP[0]),), "Z80", 2, {"python": "3.11.7"}, None).to_json())


def damaged(**fields: Any) -> str:
    return json.dumps({**VALID, "comparisons": [{**VALID["comparisons"][0], **fields}]})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        json.dumps({**VALID, "comparisons": [{"name": "second_moment"}]}),
        json.dumps({**VALID, "comparisons": ["dks"]}),
        json.dumps({**VALID, "versions": ["3.11.7"]}),
        json.dumps({**VALID, "versions": {"python": 3}}),
        json.dumps({**VALID, "cores": "two"}),
        json.dumps({**VALID, "commit": 12}),
        damaged(seconds="1.4e-7"),
        damaged(seconds=0.0),
        damaged(seconds=-1.0),
        damaged(seconds=float("nan")),
        damaged(seconds=None),
        damaged(threads=1.5),
        damaged(threads=True),
        damaged(peer="another package"),
        damaged(name="another job"),
        damaged(colour="blue"),
    ],
)
def test_damaged_record_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "records.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"records\.json is no record of benchmarks") as caught:
        benchmark_table(path)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message


def test_no_record(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json cannot be read \(No such file"):
        benchmark_table(tmp_path / "none.json")


def test_command_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "records.json", *MADE_UP)
    assert main(["--records", str(path)]) == 0
    assert capsys.readouterr().out == benchmark_table(path) + "\n"


def benchmark(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The comparison with dks where dks is not installed."""
    (tmp_path / "without_dks.py").write_text("import sys\nsys.modules['dks'] = None\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "benchmarks/bench_moments_peers.py",
        "-o",
        "addopts=",
        "-p",
        "without_dks",
    ]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTEST_ADDOPTS": "", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, cwd=CHECKOUT, env=environment, timeout=600
    )


@pytest.mark.exhaustive
def test_benchmarks_record_an_absent_peer(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    path.write_text("an older record")
    run = benchmark(tmp_path, "--records", str(path))
    assert run.returncode == 0, run.stdout + run.stderr
    (found,) = read_record(path).comparisons
    assert (found.peer, found.peer_seconds, found.peer_error) == ("dks", None, None)
    assert found.error is not None
    assert found.error < 1e-15
    assert rows(benchmark_table(path))["dks"][3] == "not installed"


@pytest.mark.exhaustive
def test_several_processes_leave_no_record(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    run = benchmark(tmp_path, "--numprocesses", "2", "--records", str(path))
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert "one process" in run.stderr
    assert not path.exists()
