"""The directive `benchmarks`: the table that `python -m analyses readme` writes, from benchmarks/records.json alone."""

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from analyses.report.benchmark_table import benchmark_table

_RECORDS = Path(__file__).parents[2] / "benchmarks" / "records.json"


class Benchmarks(SphinxDirective):
    """The table of all comparisons; the page is made anew when the record changes."""

    def run(self) -> list[nodes.Node]:
        """The table and the line that says where it was measured."""
        self.env.note_dependency(str(_RECORDS))
        return self.parse_text_to_nodes(benchmark_table(_RECORDS))


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("benchmarks", Benchmarks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
