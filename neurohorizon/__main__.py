"""``python -m neurohorizon``: the command line."""

import sys

from neurohorizon.command.main import main

if __name__ == "__main__":
    sys.exit(main())
