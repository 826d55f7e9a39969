"""What is proved: derivations whose every step carries its own machine checks (F, L, B, M, K, P and T of the theory).

A derivation is a chain of equations. Each has checks that run when it is verified or written: a proof for every value
of its variables (matrices of every size, every mean and variance), and instances beside it, so that a mistake in a
proof method shows. docs/statements.md lists the numbered statements with their equations;
`python -m elutheory.derivations` verifies all of them and prints it.

- `proof`: what a derivation is, its symbols and how they are written, as text, LaTeX and MathML;
- `algebra`: proofs about matrices of symbolic size and about sums over a sample space;
- `expectations`: proofs about Gaussian expectations of one variable and of two, and quadratures beside them;
- `bias_shift` (F, L, B), `moments` (M), `kernels` (K), `propagation` (P), `dynamics` (T): the derivations, as the
  theory is divided;
- `catalogue`: every derivation by name, and the page of numbered statements;
- `__main__`: the command.

Start with `proof/derivation.py`, then `bias_shift/partitioned_inverse.py`, the two lemmas.
"""
