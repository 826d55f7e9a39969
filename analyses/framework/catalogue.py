"""The analyses there are: modules and folders of `analyses/experiments` with Config, PRESETS and draw."""

import ast
import importlib
from pathlib import Path
from types import ModuleType

from elutheory.errors import InputError

_PROVIDED = {"Config", "PRESETS", "draw"}


def catalogue() -> dict[str, str]:
    """First line of the docstring by the analysis' name; no analysis is imported."""
    described = {}
    for path in sorted((Path(__file__).parents[1] / "experiments").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if _PROVIDED.issubset(_top_level_names(tree)):
            described[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return described


def find_analysis(name: str) -> ModuleType:
    """The module of that name; raises InputError for an unknown one."""
    known = catalogue()
    if name not in known:
        raise InputError(f'there is no analysis "{name}"; there are {", ".join(known)}.')
    return importlib.import_module(f"analyses.experiments.{name}")


def _top_level_names(tree: ast.Module) -> list[str]:
    names = []
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef):
            names.append(statement.name)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names
