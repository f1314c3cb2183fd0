"""Options that several commands share, and the forms of their values."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neurohorizon.command.usage import UsageError
from neurohorizon.ingest.address import Address, AddressError, is_address, read_address
from neurohorizon.ingest.unit_filter import UnitFilter, UnitFilterError, read_filter

Span = tuple[float, float]
VALID_TIMES = ("whole", "obs_intervals", "trials", "epochs")


@dataclass(frozen=True)
class Reading:
    """How recordings are read.

    Attributes:
        reference: Share of the valid time from its start, or start and stop in seconds.
        valid: Name of a choice of valid time, or start and stop in seconds; None: as the file allows.
        region: Column of the regions, ``none`` for none; None: the first of the known names.
        keep: Filters that a unit must pass, each of another column.
        exclude: Ids of units that are excluded.
        maximum_rate_hz: Mean rate above which a unit is excluded; None: any.
        exclude_proposed: Whether units that are likely no single neurons are excluded.
        minimum_rate_hz: Mean rate in the reference window from which on a unit is scored.
    """

    reference: float | Span = 0.5
    valid: str | Span | None = None
    region: str | None = None
    keep: tuple[UnitFilter, ...] = ()
    exclude: tuple[str, ...] = ()
    maximum_rate_hz: float | None = None
    exclude_proposed: bool = False
    minimum_rate_hz: float = 0.1

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Reading":
        """Take the values from parsed arguments.

        Raises:
            UsageError: Two filters are of one column.
        """
        values = {name: getattr(options, name) for name in cls.__dataclass_fields__}
        columns = [one.column for one in options.keep]
        if repeated := [one for one in columns if columns.count(one) > 1]:
            raise UsageError(
                f"--keep names the column {repeated[0]} more than once; give its values once, between commas"
            )
        return cls(**values | {"exclude": tuple(options.exclude), "keep": tuple(options.keep)})


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add the recordings and the options of :class:`Reading`."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        type=place,
        help="NWB file, or a folder of NWB files; or the address of a remote file: https://, s3:// or dandi:",
    )
    group = parser.add_argument_group("how recordings are read")
    group.add_argument(
        "--reference",
        type=reference,
        default=0.5,
        metavar="SHARE|START:STOP",
        help="reference window: a share of the valid time from its start, or seconds (0.5)",
    )
    group.add_argument(
        "--valid",
        type=valid_time,
        metavar="NAME|START:STOP",
        help="valid time: whole (first to last spike), obs_intervals, trials, epochs, or seconds "
        "(obs_intervals if the file has them, else trials or epochs if spikes lie only there, else whole)",
    )
    group.add_argument(
        "--region",
        metavar="COLUMN|none",
        help="column of the units or of their electrodes that names regions (the first of location, region, "
        "brain_area and other usual names)",
    )
    group.add_argument(
        "--keep",
        type=unit_filter,
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="keep only units with this value in a column, one of some values (quality=good,mua) or a range (snr=2.5:)",
    )
    group.add_argument(
        "--exclude", type=ids, action="extend", default=[], metavar="ID[,ID]", help="units that are excluded"
    )
    group.add_argument(
        "--max-rate",
        type=positive,
        dest="maximum_rate_hz",
        metavar="HZ",
        help="exclude units with a higher mean rate, which are likely noise",
    )
    group.add_argument(
        "--exclude-proposed", action="store_true", help="exclude the units that `check` lists as likely no neurons"
    )
    group.add_argument(
        "--minimum-rate",
        type=positive,
        dest="minimum_rate_hz",
        default=0.1,
        metavar="HZ",
        help="score units from this mean rate in the reference window on (0.1)",
    )
    group.add_argument(
        "--network",
        metavar="NAME|PATH",
        help="released weights (see `neurohorizon weights`), or the path of a trained network",
    )


def add_printing(parser: argparse.ArgumentParser) -> None:
    """Add the options for what is printed."""
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    parser.add_argument("--quiet", action="store_true", help="print no progress")


def place(text: str) -> Path | Address:
    """Read the path of a file or folder, or the address of a remote file."""
    try:
        return read_address(text) if is_address(text) else Path(text)
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def nwb_files(paths: Sequence[Path | Address]) -> list[Path | Address]:
    """Return the NWB files of some paths: files and addresses as given, and files in folders and below, by name.

    Raises:
        UsageError: A path does not exist, is no NWB file, or a folder has none.
    """
    found: list[Path | Address] = []
    for path in paths:
        if isinstance(path, Address):
            found.append(path)
        elif path.is_dir():
            inside = [
                one
                for one in path.rglob("*.nwb")
                if not any(part.startswith(".") for part in one.relative_to(path).parts)
            ]
            if not inside:
                raise UsageError(f"the folder {path} holds no file *.nwb; name another folder, or a file")
            found += sorted(inside)
        elif not path.exists():
            raise UsageError(f"there is no file or folder {path}; name an NWB file, or a folder of NWB files")
        elif path.suffix != ".nwb":
            raise UsageError(f"{path} is no NWB file (*.nwb); export the recording to NWB 2, or use it from Python")
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def reference(text: str) -> float | Span:
    """Read a reference window: a share, or start and stop."""
    if ":" in text:
        return span(text)
    share = _finite(text)
    if not 0 < share < 1:  # nan too
        raise argparse.ArgumentTypeError(
            f"{text!r} is no share between 0 and 1, and no START:STOP in seconds, such as 0:600"
        )
    return share


def valid_time(text: str) -> str | Span:
    """Read a choice of valid time: a name, or start and stop."""
    if text in VALID_TIMES:
        return text
    if ":" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(VALID_TIMES)}, and no START:STOP in seconds")
    return span(text)


def span(text: str) -> Span:
    """Read start and stop in seconds."""
    times = [_finite(part) for part in text.split(":")]
    if len(times) != 2 or math.isnan(sum(times)):
        raise argparse.ArgumentTypeError(f"{text!r} is no START:STOP in seconds, such as 0:600")
    start_s, stop_s = times
    if stop_s <= start_s:
        raise argparse.ArgumentTypeError(f"{text!r} stops before it starts; expected START:STOP in seconds")
    return start_s, stop_s


def ids(text: str) -> list[str]:
    """Read ids between commas."""
    found = [one.strip() for one in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty id; expected ids between commas, such as 3,19")
    return found


def unit_filter(text: str) -> UnitFilter:
    """Read a filter of units."""
    try:
        return read_filter(text)
    except UnitFilterError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> float:
    """Read a number above 0."""
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return value


def seed(text: str) -> int:
    """Read a seed of random numbers."""
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number, 0 or more")
    return int(text)


def _number(text: str) -> float:
    value = _finite(text)
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return value


def _finite(text: str) -> float:
    """Return a finite number, NaN for any other text."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
