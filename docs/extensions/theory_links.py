"""Links that nobody types: `et.NAME` to the reference, F1 or E2 to the statement, a derivation's name to its page."""

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

from elutheory.derivations.catalogue import PROOFS
from elutheory.derivations.catalogue.numbered_statements import PAPER_EXPERIMENTS, PARTS

_NAMES = [numbered.number for part in (*PARTS.values(), PAPER_EXPERIMENTS) for numbered in part]
_NUMBER = re.compile(rf"(?<![\w.-])({'|'.join(sorted(_NAMES, key=len, reverse=True))})(?!\w)")
_DERIVATIONS = {name for section in PROOFS.values() for name in section}
_WITHOUT_LINKS = (nodes.reference, nodes.literal, nodes.literal_block, nodes.title, nodes.raw, nodes.math, nodes.target)
_PAGE = "statements"


class TheoryLinks(SphinxPostTransform):
    """Turns names and numbers into links, wherever text may hold one."""

    default_priority = 300

    def run(self, **arguments: object) -> None:
        """Replace nodes of this document in place."""
        for literal in list(self.document.findall(nodes.literal)):
            if not _inside(literal, nodes.reference, nodes.title):
                target = self._target(literal.astext())
                if target is not None:
                    literal.replace_self(self._link(*target, literal.deepcopy()))
        for text in list(self.document.findall(nodes.Text)):
            parts = _NUMBER.split(text.astext())
            if len(parts) > 1 and not _inside(text, *_WITHOUT_LINKS) and not _is_code(text):
                text.parent.replace(
                    text,
                    [
                        self._link(_PAGE, part.lower(), nodes.Text(part)) if index % 2 else nodes.Text(part)
                        for index, part in enumerate(parts)
                    ],
                )

    def _target(self, words: str) -> tuple[str, str] | None:
        """Page and identifier of what a literal names; None if it names nothing that has a page."""
        if words in _DERIVATIONS:
            return self.env.domains.standard_domain.anonlabels.get(words)
        if not words.startswith("et."):
            return None
        domain = self.env.get_domain("py")
        assert isinstance(domain, PythonDomain)  # noqa: S101 (for the type checker)
        found = domain.objects.get("elutheory." + words.removeprefix("et.").partition("(")[0])
        return (found.docname, found.node_id) if found else None

    def _link(self, page: str, identifier: str, content: nodes.Node) -> nodes.reference:
        return make_refnode(self.app.builder, self.env.docname, page, identifier, content)


def _inside(node: nodes.Node, *kinds: type[nodes.Node]) -> bool:
    while node is not None:
        if isinstance(node, kinds):
            return True
        node = node.parent
    return False


def _is_code(node: nodes.Node) -> bool:
    """Whether the text is part of a signature."""
    while node is not None:
        if node.tagname.startswith("desc_") and node.tagname != "desc_content":
            return True
        if node.tagname == "desc_content":
            return False
        node = node.parent
    return False


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the transform."""
    app.add_post_transform(TheoryLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
