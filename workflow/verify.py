"""Compare all files of a run with the records of their content: for `make verify`."""

import sys
from pathlib import Path

from neurohorizon.config import ConfigError, read_config
from neurohorizon.files import damage_message, recorded_files


def damaged_files(results: Path) -> tuple[int, list[str]]:
    """Return the number of files of a run that have a record, and what is to be done about each that is damaged.

    A file that was deleted after it was written is none of them: the next run makes it again.
    """
    paths = [path for path in recorded_files(results) if path.is_file()]
    return len(paths), [message for message in map(damage_message, paths) if message]


if __name__ == "__main__":
    try:
        folder = Path(read_config(sys.argv[1]).run.results)
    except (ConfigError, OSError) as error:
        sys.exit(str(error))
    found, damaged = damaged_files(folder)
    if damaged:
        sys.exit("\n".join([*damaged, f"{len(damaged)} of {found} files in {folder} are damaged."]))
    print(f"{found} files in {folder} are as they were written." if found else f"No file in {folder} has a record.")
