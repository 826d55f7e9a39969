"""The directive `public-names PLACE`: the reference of every public name from there.

In the order of the stub. A place is a package or module as
`elutheory/__init__.pyi` imports from it: `fisher`, `derivations.moments`.
"""

import ast
import inspect
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import elutheory

_STUB = Path(elutheory.__file__).with_suffix(".pyi")


def names_of(place: str) -> list[str]:
    """The public names that the stub imports from this place or from below it."""
    found = []
    for statement in ast.parse(_STUB.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.ImportFrom) and f"{statement.module}.".startswith(f"{place}."):
            found += [alias.name for alias in statement.names]
    return found


class PublicNames(SphinxDirective):
    """One autodoc directive per name."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """What autodoc makes of each; an unknown place is an error."""
        self.env.note_dependency(str(_STUB))
        names = names_of(self.arguments[0])
        if not names:
            raise self.error(f"elutheory/__init__.pyi imports nothing from {self.arguments[0]}")
        return self.parse_text_to_nodes("\n".join(map(_entry, names)))


def _entry(name: str) -> str:
    if inspect.isclass(getattr(elutheory, name)):
        lines = [f".. autoclass:: elutheory.{name}", "   :members:"]
    else:
        lines = [f".. autofunction:: elutheory.{name}"]
    return "\n".join(["```{eval-rst}", *lines, "```", ""])


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("public-names", PublicNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
