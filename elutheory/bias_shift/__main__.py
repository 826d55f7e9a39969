"""`python -m elutheory.bias_shift`."""

import sys

from elutheory.bias_shift.command import main

sys.exit(main())
