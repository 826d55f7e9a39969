"""Whatever the analyses import, imported."""

import matplotlib.backends.backend_agg
import matplotlib.backends.backend_svg  # noqa: F401
import torch._dynamo  # noqa: F401

from analyses.framework import command  # noqa: F401
from analyses.framework.catalogue import catalogue, find_analysis

for name in catalogue():
    find_analysis(name)
