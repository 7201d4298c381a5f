"""`python -m gateway VERB`."""

import sys

from gateway.cli.main import main

sys.exit(main())
