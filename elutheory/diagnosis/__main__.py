"""`python -m elutheory.diagnosis`."""

import sys

from elutheory.diagnosis.command import main

sys.exit(main())
