"""The shape of the repository: small folders, pages that name their files, one direction, names that mean one thing."""

import ast
from functools import cache
from pathlib import Path

import pytest

import elutheory as et

ROOT = Path(__file__).parent.parent
FOLDERS = sorted(
    folder
    for top in ("elutheory", "analyses")
    for folder in [ROOT / top, *(ROOT / top).rglob("*")]
    if folder.is_dir() and any(folder.glob("*.py"))
)
LARGEST_FOLDER = 14
LONGEST_CHAIN = 8


def name_of(folder: Path) -> str:
    return str(folder.relative_to(ROOT))


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_folder_can_be_taken_in_at_a_glance(folder: Path) -> None:
    files = [path for path in folder.iterdir() if path.suffix in (".py", ".pyi")]
    assert len(files) <= LARGEST_FOLDER or folder == ROOT / "analyses" / "experiments"


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_the_page_of_a_package_names_every_file_of_it(folder: Path) -> None:
    if folder.parent == ROOT or folder.parent == ROOT / "analyses" / "experiments":
        return  # the README has the map; an experiment's page is what it asks, its files have the same names everywhere
    page = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}
    if folder == ROOT / "analyses" / "experiments":
        files = set()  # `python -m analyses` lists them
    assert [name for name in sorted(files) if f"`{name}" not in page and f"{name}.py" not in page] == []


def test_no_module_bears_a_public_name() -> None:
    modules = {
        path.stem if path.stem != "__init__" else path.parent.name for path in (ROOT / "elutheory").rglob("*.py")
    }
    assert set(et.__all__) & modules == set()


def imported_packages(package: str) -> set[str]:
    found = set()
    for path in (ROOT / "elutheory" / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("elutheory."):
                found.add(node.module.split(".")[1])
    return found - {package}


def test_the_longest_chain_of_package_imports_is_short() -> None:
    packages = {path.name for path in (ROOT / "elutheory").iterdir() if (path / "__init__.py").is_file()}
    below = {package: imported_packages(package) & packages for package in packages}

    @cache
    def chain(package: str) -> int:
        return 1 + max(map(chain, below[package]), default=0)

    assert max(map(chain, packages)) <= LONGEST_CHAIN
