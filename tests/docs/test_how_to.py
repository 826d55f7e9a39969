"""The how-to pages: their Python code runs, page by page from top to bottom, in an empty folder."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "how_to").glob("*.md"))
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITH_CODE = [page for page in PAGES if CODE.search(page.read_text(encoding="utf-8"))]


def test_pages_with_code_are_found() -> None:
    assert {page.stem for page in WITH_CODE} >= {"diagnose_a_model", "predict_training", "add_a_likelihood"}


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": page.stem}
    text = page.read_text(encoding="utf-8")
    for found in CODE.finditer(text):
        line = text.count("\n", 0, found.start(1))
        exec(compile("\n" * line + found[1], str(page), "exec"), names)  # noqa: S102 (the project's own pages)
    plt.close("all")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_paths_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    new = {"analyses/experiments/largest_direction.py", "tests/analyses/experiments/test_largest_direction.py"}
    paths = set(re.findall(r"`((?:analyses|benchmarks|docs|elutheory|tests)/[\w./]+)`", text)) - new
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
