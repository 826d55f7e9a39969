"""Every public name has an example in its docstring, which runs and gives what it says."""

import doctest
import inspect

import pytest

import elutheory as et

NAMES = [name for name in et.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_public_name_runs(name: str) -> None:
    thing = inspect.unwrap(getattr(et, name))
    text = inspect.getdoc(thing) or ""
    example = doctest.DocTestParser().get_doctest(text, {}, name, inspect.getsourcefile(thing), 0)
    assert example.examples
    told: list[str] = []
    results = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=told.append)
    assert (results.failed, "".join(told)) == (0, "")
