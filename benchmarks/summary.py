"""The benchmarks' record as a Markdown table: `python -m benchmarks.summary [--records FILE]`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analyses.report.benchmark_table import benchmark_table
from elutheory.output.command_line import VERIFIED, parse_options, run


@dataclass(frozen=True)
class Options:
    """Print the benchmarks' record as a Markdown table."""

    records: Path = Path("benchmarks/records.json")
    """What `pytest benchmarks --records` wrote."""


def main(arguments: Sequence[str] | None = None) -> int:
    print(benchmark_table(parse_options(Options, "python -m benchmarks.summary", arguments).records))
    return VERIFIED


if __name__ == "__main__":
    sys.exit(run(main))
