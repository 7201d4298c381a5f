"""Run a command: `python -m gateway COMMAND`."""

import sys

from gateway.cli.main import main

sys.exit(main())
