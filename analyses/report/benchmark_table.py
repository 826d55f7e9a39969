"""The benchmarks' record as a Markdown table."""

from pathlib import Path

from analyses.report.benchmark_record import PEERS, Comparison, read_record

HEADINGS = ("job", "elutheory", "beside", "its time", "ratio", "relative errors: elutheory, beside", "threads, device")
ABSENT = "not installed"
MISSING = "not measured"


def benchmark_table(records: Path) -> str:
    """Markdown: a row for every job and what it is measured beside, then machine and versions.

    Of several comparisons of one job with one peer, the one with the least favourable ratio stands. A peer that was
    not installed and a job that was not measured have rows that say so. Raises InputError if the file is no record.
    """
    record = read_record(records)
    rows = []
    for name, peers in PEERS.items():
        for peer in peers:
            found = [c for c in record.comparisons if (c.name, c.peer) == (name, peer)]
            rows.append(_row(max(found, key=_share)) if found else (name, "", peer, MISSING, "", "", ""))
    jobs = [row[0] for row in rows]
    rows = [("" if job == above else job, *row[1:]) for job, above, row in zip(jobs, ["", *jobs], rows, strict=False)]
    lines = [HEADINGS, ["---"] * len(HEADINGS), *rows]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    source = f"commit {record.commit}" if record.commit else "no commit"
    return (
        f"{table}\n\nBoth sides were timed in one run; of several inputs the least favourable stands here.\n"
        f"On {record.processor}, {record.cores} cores, {source}: {versions}."
    )


def _share(comparison: Comparison) -> float:
    """Our time in units of the other's."""
    return comparison.seconds / comparison.peer_seconds if comparison.peer_seconds else 0.0


def _row(found: Comparison) -> tuple[str, ...]:
    peer = f"{found.peer} ({found.peer_version})" if found.peer_version else found.peer
    where = f"{found.threads}, {found.device}"
    if found.peer_seconds is None:
        return found.what, _time(found.seconds), peer, ABSENT, "", _accuracy(found), where
    return found.what, _time(found.seconds), peer, _time(found.peer_seconds), _ratio(found), _accuracy(found), where


def _ratio(found: Comparison) -> str:
    share = _share(found)
    if found.is_floor:
        return f"{share:.2f} × the floor"
    return f"{_digits(1 / share)} × faster" if share <= 1 else f"{_digits(share)} × slower"


def _accuracy(found: Comparison) -> str:
    if found.difference is not None:
        return f"agree to {found.difference:.1g}"
    if found.error is None:
        return ""
    return f"{found.error:.1g}" + ("" if found.peer_error is None else f", {found.peer_error:.1g}")


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{_digits(seconds / size)} {unit}"
    return f"{_digits(seconds / 1e-9)} ns"


def _digits(value: float) -> str:
    """Two significant digits."""
    return f"{value:.1f}" if value < 9.95 else f"{float(f'{value:.1e}'):,.0f}"
