"""`python -m elutheory.propagation`."""

import sys

from elutheory.propagation.command import main

sys.exit(main())
