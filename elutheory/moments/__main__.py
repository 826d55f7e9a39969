"""`python -m elutheory.moments`."""

import sys

from elutheory.moments.command import main

sys.exit(main())
