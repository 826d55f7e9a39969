"""Workers side by side share the cores: one thread each, set before numpy and torch are loaded."""

import os

if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
