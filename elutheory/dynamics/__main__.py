"""`python -m elutheory.dynamics`."""

import sys

from elutheory.dynamics.command import main

sys.exit(main())
