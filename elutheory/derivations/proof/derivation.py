"""A proof as data: a derivation is a chain of steps, and every step carries its own machine checks."""

from dataclasses import dataclass

from elutheory.derivations.proof.steps import Assumption, CheckError, Step, VerificationError, VerifiedStep


@dataclass(frozen=True)
class Derivation:
    """A titled chain of machine-checked steps.

    `number` is the statement's number in the project's theory (L1, B1, ...), `source` the place in arXiv 1511.07289.
    """

    identifier: str
    title: str
    number: str
    source: str
    assumptions: tuple[Assumption, ...]
    steps: tuple[Step, ...]

    def verify(self) -> tuple[VerifiedStep, ...]:
        """Run every check of every step; raise `VerificationError` on the first that fails, naming it."""
        return tuple(self._verify_step(index, step) for index, step in enumerate(self.steps, start=1))

    def _verify_step(self, index: int, step: Step) -> VerifiedStep:
        place = f"{self.title}, step {index} ({step.name or step.reason})"
        if not step.checks:
            raise VerificationError(f"{place} has no machine check")
        for check in step.checks:
            try:
                check.run(step.statement)
            except CheckError as failure:
                raise VerificationError(f"{place} failed the check «{check.scope}»: {failure}") from failure
        return VerifiedStep(step, tuple(check.scope for check in step.checks), any(c.proves for c in step.checks))

    def to_text(self) -> str:
        """Aligned Unicode text, every step verified and ticked."""
        from elutheory.derivations.proof.rendering import derivation_text

        return derivation_text(self)

    def to_latex(self) -> str:
        """A LaTeX fragment (amsmath): title, assumptions and one displayed equation a step, verified."""
        from elutheory.derivations.proof.rendering import derivation_latex

        return derivation_latex(self)

    def to_markdown(self) -> str:
        """Markdown with LaTeX mathematics between dollar signs, verified."""
        from elutheory.derivations.proof.rendering import derivation_markdown

        return derivation_markdown(self)

    def to_html(self) -> str:
        """A self-contained HTML section with presentation MathML, verified."""
        from elutheory.derivations.proof.rendering import derivation_html

        return derivation_html(self)
