"""Workers side by side share the cores: one thread each, set before numpy and torch are loaded; hypothesis' profiles.

`quick`, the default, draws few examples of each property; `pytest -m hypothesis
--hypothesis-profile=exhaustive` draws many.
"""

import os

from hypothesis import HealthCheck, settings

if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadline: a test's outcome does not depend on how busy the machine is.
settings.register_profile("quick", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("exhaustive", parent=settings.get_profile("quick"), max_examples=400)
settings.load_profile("quick")
