"""``neurohorizon check``: what a recording holds, and whether it can be forecast."""

import argparse
import json
import sys

from neurohorizon.command.cards import candidates
from neurohorizon.command.options import Reading, add_printing, add_reading, nwb_files
from neurohorizon.command.progress import Progress

EXAMPLES = """\
examples:
  neurohorizon check mouse.nwb
  neurohorizon check recordings/ --json > check.json
  neurohorizon check mouse.nwb --valid 0:1200 --reference 0:600 --exclude 19
  neurohorizon check mouse.nwb --keep quality=good --region brain_area
  neurohorizon check https://example.org/mouse.nwb

exit status: 0 all recordings can be forecast, 1 some cannot, 2 wrong use
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_reading(parser)
    add_printing(parser)


def run(options: argparse.Namespace) -> int:
    """Check the recordings, and return the exit status."""
    paths, reading, networks = nwb_files(options.paths), Reading.of(options), candidates(options.network)

    from neurohorizon.command.examination import SCHEMA, describe, examine

    found = []
    for index, path in enumerate(paths):
        if len(paths) > 1 and not options.quiet:
            print(f"{path.name} ({index + 1} of {len(paths)})", file=sys.stderr)
        found.append(examine(path, reading, networks, Progress(path.name, quiet=options.quiet).say))
        if not options.json:
            print(describe(found[-1]), flush=True)
    if options.json:
        print(json.dumps({"schema": SCHEMA, "recordings": [one.to_json() for one in found]}, indent=1))
    elif len(found) > 1:
        print(f"{sum(one.forecastable for one in found)} of {len(found)} recordings can be forecast")
    return 0 if all(one.forecastable for one in found) else 1
