"""Make tables with the function that the first argument names, as module:name; the others are its arguments."""

import sys
from pkgutil import resolve_name

from workflow.command import run

run(resolve_name(sys.argv.pop(1)))
