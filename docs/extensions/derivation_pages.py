"""The directive `derivations SECTION`: every derivation of a section of the theory, verified while the page is made."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from elutheory.derivations.catalogue import PROOFS
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.printing import statement_mathml


class Derivations(SphinxDirective):
    """Sections, one for each derivation; its identifier is a label."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """The sections; a step that fails stops the build with the VerificationError that names it."""
        return [self._section(place(), place.function) for place in PROOFS[self.arguments[0]].values()]

    def _section(self, derivation: Derivation, function: str) -> nodes.section:
        title = f"{derivation.title} [{derivation.number}]"
        section = nodes.section(ids=[derivation.identifier], names=[nodes.fully_normalize_name(title)])
        section += nodes.title("", title)
        self.state.document.note_explicit_target(section)
        standard = self.env.domains.standard_domain
        standard.labels[derivation.identifier] = self.env.docname, derivation.identifier, derivation.title
        standard.anonlabels[derivation.identifier] = self.env.docname, derivation.identifier
        source = nodes.paragraph("", f"Source: {derivation.source}. Given by ")
        section += source
        source += nodes.literal("", f"et.{function}")
        source += nodes.Text(".")
        if derivation.assumptions:
            section += nodes.bullet_list(
                "", *(_item(nodes.paragraph("", f"Given: {given.meaning}")) for given in derivation.assumptions)
            )
        steps = nodes.enumerated_list(enumtype="arabic", prefix="", suffix=".")
        section += steps
        for verified in derivation.verify():
            formula = statement_mathml(verified.step.statement, dict(derivation.names))
            raw = nodes.raw("", f'<div class="formula" tabindex="0">{formula}</div>', format="html")
            checked = f"Checked: {'; '.join(verified.scopes)}."
            steps += _item(
                nodes.paragraph("", f"✓ {verified.step.reason}"),
                raw,
                nodes.paragraph("", "", nodes.emphasis("", checked)),
            )
        return section


def _item(*children: nodes.Node) -> nodes.list_item:
    return nodes.list_item("", *children)


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("derivations", Derivations)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
