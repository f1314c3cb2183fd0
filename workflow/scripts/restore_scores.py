"""Restore a score archive: check every hash, then put its files where they were in the run."""

import argparse
import json
from pathlib import Path

from neurohorizon.report.archive import ArchiveError, restore_archive

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--archive", type=Path, required=True)
parser.add_argument("--folder", type=Path, required=True, help="folder of the run")
parser.add_argument("--cohort", type=Path, required=True, help="where the cohort's table belongs")
parser.add_argument("--config-json", type=json.loads, required=True, help="configuration of this run")
parser.add_argument("--output", type=Path, required=True, help="list of what was restored")
arguments = parser.parse_args()

try:
    names = restore_archive(
        arguments.archive, folder=arguments.folder, cohort=arguments.cohort, config=arguments.config_json
    )
except ArchiveError as error:
    raise SystemExit(f"restore_scores: {error}") from None
arguments.output.write_text("".join(f"{name}\n" for name in names))
