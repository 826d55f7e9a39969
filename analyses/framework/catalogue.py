"""The analyses there are: modules and folders of `analyses/experiments` that give Config, PRESETS and draw."""

import ast
import importlib
from pathlib import Path
from types import ModuleType

from elutheory.errors import InputError

_EXPERIMENTS = Path(__file__).parents[1] / "experiments"
_PROVIDED = {"Config", "PRESETS", "draw"}


def catalogue() -> dict[str, str]:
    """First line of the docstring by the analysis' name, in alphabetical order; no analysis is imported."""
    files = {path.stem: path for path in _EXPERIMENTS.glob("*.py")}
    folders = {path.parent.name: path for path in _EXPERIMENTS.glob("*/__init__.py")}
    described = {}
    for name, path in sorted((files | folders).items()):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if _top_level_names(tree) >= _PROVIDED:
            described[name] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return described


def find_analysis(name: str) -> ModuleType:
    """The module or package of that name. Raises InputError for an unknown one."""
    known = catalogue()
    if name not in known:
        raise InputError(f'there is no analysis "{name}"; there are {", ".join(known)}.')
    return importlib.import_module(f"analyses.experiments.{name}")


def _top_level_names(tree: ast.Module) -> set[str]:
    """What a module defines, and what a folder's `__init__` imports."""
    names: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef):
            names.add(statement.name)
        elif isinstance(statement, ast.ImportFrom):
            names |= {imported.asname or imported.name for imported in statement.names}
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names
