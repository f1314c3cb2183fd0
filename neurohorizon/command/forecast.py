"""``neurohorizon forecast``: forecast recordings, and write one page for each."""

import argparse
import json
import sys
import traceback
import webbrowser
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neurohorizon.command.cards import Candidate, candidates
from neurohorizon.command.options import Reading, add_printing, add_reading, nwb_files, positive, seed
from neurohorizon.command.output_folder import PAGE, check_folder
from neurohorizon.command.progress import Progress
from neurohorizon.command.usage import UsageError
from neurohorizon.ingest.address import Address
from neurohorizon.printed_names import one_line

SCHEMA = "neurohorizon-forecast-1"
"""Name of the form of the JSON document."""
EXAMPLES = """\
examples:
  neurohorizon forecast mouse.nwb --open
  neurohorizon forecast mouse.nwb --reference 0:600 --exclude-proposed
  neurohorizon forecast recordings/ --output answers --json > answers.json
  neurohorizon forecast s3://bucket/mouse.nwb

Each recording gets a folder, NAME_forecast or OUTPUT/NAME, with answer.html, answer.json, forecast.h5 and units.tsv.
exit status: 0 all recordings were forecast, 1 some could not be, 2 wrong use, 130 interrupted
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_reading(parser)
    group = parser.add_argument_group("the forecast")
    group.add_argument(
        "--every", type=positive, metavar="SECONDS", help="time between two forecasts (the horizon of the network)"
    )
    group.add_argument("--output", type=Path, metavar="FOLDER", help="folder of the results (NAME_forecast)")
    group.add_argument("--seed", type=seed, default=0, help="seed of intervals and samples (0)")
    group.add_argument("--open", action="store_true", help="open the page in the browser")
    add_printing(parser)


def run(options: argparse.Namespace) -> int:
    """Forecast the recordings, and return the exit status."""
    paths, reading, networks = nwb_files(options.paths), Reading.of(options), candidates(options.network)
    folders = folders_of(paths, options.output)
    check_every(options.every, networks)
    for folder in folders:
        check_folder(folder)

    from neurohorizon.command.answer_text import describe_answer
    from neurohorizon.command.examination import examine
    from neurohorizon.command.forecasting import Settings, forecast_recording

    settings = Settings(options.network, options.every, options.seed)
    results = []
    for index, (path, folder) in enumerate(zip(paths, folders, strict=True)):
        of_all = f" ({index + 1} of {len(paths)})" if len(paths) > 1 else ""
        progress = Progress(f"{one_line(path.name)}{of_all}", quiet=options.quiet)
        progress.say("reading")
        result: dict[str, Any] = {"file": str(path), "folder": str(folder), "fault": None, "answer": None}
        results.append(result)
        try:
            found = examine(path, reading, networks, progress.say)
            answer = forecast_recording(found, reading, settings, folder, progress)
        except (UsageError, ModuleNotFoundError):
            raise
        except Exception as error:
            if not isinstance(error, ValueError | OSError):
                traceback.print_exc()
            result["fault"] = one_line(error) or type(error).__name__
            print(f"{one_line(path)}: not forecast: {result['fault']}", file=sys.stderr)
            continue
        result["answer"] = answer.to_json()
        if not options.json:
            print(describe_answer(answer, str(folder)) + "\n", flush=True)
        if options.open:
            webbrowser.open((folder / PAGE).resolve().as_uri())
    if options.json:
        print(json.dumps({"schema": SCHEMA, "recordings": results}, indent=1))
    return 1 if any(one["fault"] is not None for one in results) else 0


def check_every(every_s: float | None, networks: Sequence[Candidate]) -> None:
    """Check that the time between two forecasts is a whole number of bins of each network.

    Raises:
        UsageError: It is not.
    """
    for bin_ms in {one.lengths.bin_ms for one in networks if every_s is not None}:
        bins = round((every_s or 0.0) * 1000 / bin_ms, 6)
        if bins != int(bins) or bins < 1:
            raise UsageError(
                f"--every {every_s:g} is no whole number of bins; expected a multiple of {bin_ms / 1000:g} s, such as "
                f"{max(int(bins), 1) * bin_ms / 1000:g}"
            )


def folders_of(paths: Sequence[Path | Address], output: Path | None) -> list[Path]:
    """Return the folder of the results of each recording.

    Raises:
        UsageError: Two recordings have one name.
    """
    names = [path.stem for path in paths]
    if repeated := [one for one, times in Counter(names).items() if times > 1]:
        raise UsageError(
            f"several recordings are named {repeated[0]}.nwb, and each needs its own folder; forecast them one by one "
            "with --output"
        )
    return [Path(f"{one}_forecast") if output is None else output / one for one in names]
