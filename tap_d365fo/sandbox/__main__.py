"""`python -m tap_d365fo.sandbox`: the sandbox without the rest of the command line."""

import sys

from tap_d365fo.sandbox.program import main

sys.exit(main())
