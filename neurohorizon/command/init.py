"""``neurohorizon init``: write a cohort table and a configuration for training on one's own recordings."""

import argparse
import sys
from pathlib import Path

EXAMPLES = """\
examples:
  neurohorizon init mine recordings/            all NWB files below a folder
  neurohorizon init mine a.nwb b.nwb c.nwb
  neurohorizon init mine recordings/ --start-from hippocampus
  snakemake -n --configfile mine/config.yaml    then, in a clone of the project: plan the run

exit status: 0 both files are written, 1 none is
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder that cohort.tsv and config.yaml go to")
    parser.add_argument(
        "recordings",
        type=Path,
        nargs="*",
        metavar="PATH",
        help="NWB files of two animals or more, or folders that hold them; none: those below FOLDER",
    )
    parser.add_argument(
        "--start-from",
        metavar="NAME|PATH",
        help="released weights (see `neurohorizon weights`), or the path of a network of a run, from which the "
        "training starts (random weights)",
    )


def run(options: argparse.Namespace) -> int:
    """Write both files, print what was found and what to check, and return the exit status."""
    from neurohorizon.command.training_files import InitError, describe_proposal, init

    try:
        proposal = init(
            options.folder,
            options.recordings,
            start_from=options.start_from,
            progress=lambda line: print(line, file=sys.stderr, flush=True),
        )
    except (InitError, OSError) as error:
        print(f"neurohorizon init: {error}", file=sys.stderr)
        return 1
    print(describe_proposal(proposal))
    return 0
