"""Compare files with the records of their content, before a program reads them that is not called by ``call.py``."""

import sys

from neurohorizon.files import DamagedFileError, require_as_written

if __name__ == "__main__":
    try:
        for name in sys.argv[1:]:
            require_as_written(name)
    except DamagedFileError as fault:
        sys.exit(f"check: {fault}")
