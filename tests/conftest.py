"""Workers side by side share the cores: one thread each, set before numpy and torch are loaded; options and profiles.

`--check-shapes` checks every call of a package whose signatures state shapes of arrays against them (jaxtyping,
beartype). It makes the tests three times as slow, so that only some are run with it (`.ci/run`); the signatures are
also read by the static checker.

Hypothesis' profiles: `quick`, the default, draws few examples of each property; `pytest -m hypothesis
--hypothesis-profile=exhaustive` draws many.
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

LIBRARY = Path(__file__).parent.parent / "elutheory"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--check-shapes", action="store_true", help="check every call against the shapes it states")


def pytest_configure(config: pytest.Config) -> None:
    """Before any module of the library is imported."""
    if config.getoption("--check-shapes"):
        packages = [f"elutheory.{package.name}" for package in sorted(LIBRARY.iterdir()) if states_shapes(package)]
        install_import_hook(packages, "beartype.beartype")


def states_shapes(package: Path) -> bool:
    return any("from jaxtyping import" in path.read_text(encoding="utf-8") for path in package.rglob("*.py"))


# No deadline: a test's outcome does not depend on how busy the machine is.
settings.register_profile("quick", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("exhaustive", parent=settings.get_profile("quick"), max_examples=400)
settings.load_profile("quick")
