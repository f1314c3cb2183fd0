"""Forecast one recording: the answer, its page, and the files with all numbers."""

import csv
import json
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from neurohorizon.answer.answer import Answer
from neurohorizon.answer.evaluate import answer_for
from neurohorizon.answer.page import write_page
from neurohorizon.command.examination import Examination
from neurohorizon.command.network_choice import choose_network
from neurohorizon.command.options import Reading
from neurohorizon.command.output_folder import ANSWER, FORECAST, PAGE, UNITS
from neurohorizon.command.progress import Progress
from neurohorizon.files import replacing_folder
from neurohorizon.printed_names import one_line
from neurohorizon.recordings.forecast import Forecast
from neurohorizon.recordings.recording import Recording
from neurohorizon.session import SessionError

_COLUMNS = ("unit", "region", "rate_hz", "scored", "spikes", "bits_per_spike", "low", "high", "features_outside")


@dataclass(frozen=True)
class Settings:
    """Settings of an answer.

    Attributes:
        network: Name of released weights or path of a network; None: chosen for each recording.
        every_s: Seconds between two forecast origins; None: one horizon.
        seed: Seed of intervals and samples.
    """

    network: str | None
    every_s: float | None
    seed: int


def forecast_recording(
    found: Examination, reading: Reading, settings: Settings, folder: Path, progress: Progress
) -> Answer:
    """Forecast a recording, and write its files.

    Args:
        found: The recording, examined.
        reading: How it was read.
        settings: Settings of the answer.
        folder: Folder of the files, which appears whole or not at all.
        progress: Prints what is done.

    Raises:
        SessionError: The recording cannot be forecast.
    """
    if found.recording is None or found.faults:
        raise SessionError("; ".join(found.faults))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        progress.say("reference window")
        choice = choose_network(found, reading, settings.network)
        recording = choice.network.fit_reference(found.recording.session, reading.reference)
        # so that the page has them too
        notes = (*found.notes, *filter(None, [found.noise_note]), *recording.notes)
        recording = replace(recording, notes=tuple(dict.fromkeys(notes)))
        kept: list[Forecast] = []
        answer = answer_for(
            recording,
            every_s=settings.every_s,
            minimum_rate_hz=reading.minimum_rate_hz,
            seed=settings.seed,
            progress=progress,
            chosen=choice.why,
            keep=kept.append,
        )
        if not kept:
            raise SessionError(answer.sentence)
        with replacing_folder(folder) as temporary:
            write_page(answer, temporary / PAGE)
            (temporary / ANSWER).write_text(json.dumps(answer.to_json(), indent=1) + "\n")
            progress.say("files")
            kept[0].save(temporary / FORECAST)
            write_units(recording, answer, temporary / UNITS)
    for line in dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, UserWarning)):
        if line not in recording.notes:
            progress.say(f"warning: {one_line(line)}")
    return answer


def write_units(recording: Recording, answer: Answer, path: Path) -> None:
    """Write one row for each unit: its region, mean rate in the reference window, and its score with the interval.

    ``features_outside`` is the number of its features outside of the range of the training units. A unit below the
    minimum rate is not scored; its columns of scores are empty.
    """
    scores = {one.unit: one for one in answer.units}
    with path.open("w", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(_COLUMNS)
        rows = zip(recording.unit_ids, recording.session.units["region"], recording.reference_rate_hz, strict=True)
        for unit, region, rate_hz in rows:
            one = scores.get(str(unit))
            found = [one.spikes, one.score.value, one.score.low, one.score.high, one.outside] if one else [None] * 5
            table.writerow([unit, region, f"{rate_hz:.6g}", "no" if one is None else "yes", *map(_cell, found)])


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
