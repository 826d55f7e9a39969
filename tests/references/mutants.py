"""Mutants of a statement: a sign flipped, a term or a factor dropped, a transpose or an inverse taken away or added.

Every statement is changed at every place. A mutant that sympy refuses to build (its shapes do not fit) is no statement;
every other must fail to verify.
"""

from collections.abc import Callable, Iterator

import sympy

from elutheory.derivations.proof.notation import InnerProduct


def _mutants_at(node: sympy.Basic) -> Iterator[tuple[str, Callable[[], sympy.Basic]]]:
    if isinstance(node, sympy.Add | sympy.MatAdd):
        for i, term in enumerate(node.args):
            others = [arg for j, arg in enumerate(node.args) if j != i]
            yield "flip a sign", lambda term=term, others=others: node.func(*others, -term)
            yield "drop a term", lambda others=others: others[0] if len(others) == 1 else node.func(*others)
    if isinstance(node, sympy.Mul | sympy.MatMul):
        yield "flip a sign", lambda: node.func(sympy.Integer(-1), *node.args)
        for i in range(len(node.args)):
            others = [arg for j, arg in enumerate(node.args) if j != i]
            yield "drop a factor", lambda others=others: others[0] if len(others) == 1 else node.func(*others)
    if isinstance(node, sympy.Symbol | sympy.MatrixSymbol | sympy.Integer | InnerProduct | sympy.Indexed):
        yield "flip a sign", lambda: -node
    if isinstance(node, sympy.Transpose):
        yield "drop a transpose", lambda: node.args[0]
    if isinstance(node, sympy.MatrixSymbol) and node.shape != (1, 1):
        yield "add a transpose", lambda: node.T
    if isinstance(node, sympy.Inverse):
        yield "drop an inverse", lambda: node.args[0]
    if isinstance(node, sympy.Pow) and not isinstance(node, sympy.Inverse):
        yield "drop a power", lambda: node.base
        yield "negate a power", lambda: node.func(node.base, -node.exp)


def mutants(node: sympy.Basic) -> Iterator[tuple[str, Callable[[], sympy.Basic]]]:
    yield from _mutants_at(node)
    for i, argument in enumerate(node.args):
        if isinstance(node, sympy.MatrixSymbol | sympy.Indexed | sympy.Identity | sympy.ZeroMatrix | sympy.Tuple):
            continue
        if isinstance(node, sympy.Sum | sympy.Derivative) and i > 0:
            continue  # the index or the variable
        if isinstance(node, sympy.Pow | sympy.Inverse) and i > 0:
            continue  # the exponent: mutated as a power
        for kind, build in mutants(argument):
            yield kind, lambda i=i, build=build: node.func(*node.args[:i], build(), *node.args[i + 1 :])


def _is_symmetric(node: sympy.Basic) -> bool:
    return isinstance(node, sympy.MatrixSymbol) and node.shape[0] == node.shape[1]


def is_same_statement(kind: str, original: sympy.Basic, mutant: sympy.Basic) -> bool:
    """A transposed symmetric matrix is the matrix itself; sympy may also simplify a mutant back to the original."""
    if kind == "add a transpose":
        transposed = [node for node in mutant.atoms(sympy.Transpose) if _is_symmetric(node.args[0])]
        return mutant.xreplace({node: node.args[0] for node in transposed}) == original
    return mutant == original
