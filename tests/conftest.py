"""Workers side by side share the cores: one thread each, set before numpy and torch are loaded; shapes are checked.

Every call of a package whose signatures state shapes of arrays is checked against them (jaxtyping, beartype). The other
packages are left to the static checker: checking each call of the symbolic code too took half of the time of all tests.

Hypothesis' profiles: `quick`, the default, draws few examples of each property; `pytest -m hypothesis
--hypothesis-profile=exhaustive` draws many.
"""

import os
from pathlib import Path

from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

LIBRARY = Path(__file__).parent.parent / "elutheory"


def states_shapes(package: Path) -> bool:
    return any("from jaxtyping import" in path.read_text(encoding="utf-8") for path in package.rglob("*.py"))


install_import_hook(
    [f"elutheory.{package.name}" for package in sorted(LIBRARY.iterdir()) if states_shapes(package)],
    "beartype.beartype",
)

# No deadline: a test's outcome does not depend on how busy the machine is.
settings.register_profile("quick", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("exhaustive", parent=settings.get_profile("quick"), max_examples=400)
settings.load_profile("quick")
