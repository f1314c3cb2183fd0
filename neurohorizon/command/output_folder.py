"""The folder of the results of one recording, and its files."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from neurohorizon.command.usage import UsageError

PAGE, ANSWER, FORECAST, UNITS = "answer.html", "answer.json", "forecast.h5", "units.tsv"
FILES = (PAGE, ANSWER, FORECAST, UNITS)
"""Names of the files of one recording."""


def check_folder(folder: Path) -> None:
    """Check that results can be written to a folder: it does not exist, or holds earlier results only.

    Raises:
        UsageError: It is a file, lies where nothing can be written, or holds other files.
    """
    parent = next(one for one in Path(os.path.abspath(folder)).parents if one.exists())
    if not parent.is_dir():
        raise UsageError(f"{parent} is a file, and the folder {folder} cannot be in it; choose another --output")
    try:
        with TemporaryDirectory(prefix=".part-", dir=parent):
            pass
    except OSError as error:
        raise UsageError(
            f"the folder {folder} cannot be made, since nothing can be written to {parent} ({error.strerror}); choose "
            "another --output"
        ) from None
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, and a folder of this name is needed; choose another --output")
    others = sorted(one.name for one in folder.iterdir() if one.name not in FILES) if folder.is_dir() else []
    if others:
        raise UsageError(
            f"the folder {folder} holds {others[0]!r}, which is no earlier result, and it would be replaced; choose "
            "another --output"
        )
