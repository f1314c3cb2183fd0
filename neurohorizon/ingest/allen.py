"""Allen Visual Coding Neuropixels sessions: from a downloaded file to a Session.

Units and spikes are read by :mod:`neurohorizon.ingest.allen_units`; stimuli, behaviour and invalid times by AllenSDK,
with its renaming of stimuli. With the simulator the only module that imports AllenSDK, which pins an old numpy and
needs its own environment; the import is inside a function, so that names are available without it.

AllenSDK: https://allensdk.readthedocs.io/en/latest/visual_coding_neuropixels.html.
"""

import contextlib
import io
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd

from neurohorizon.cohort import Row
from neurohorizon.config import AllenSource, Exclusions, Timeline
from neurohorizon.config import Splits as SplitSettings
from neurohorizon.ingest.allen_units import AllenUnits, read_units
from neurohorizon.ingest.checks import check_spikes
from neurohorizon.ingest.findings import Notes, encode_findings
from neurohorizon.ingest.leave_out import OnFatal, write_ingested
from neurohorizon.ingest.listed_files import listed_file
from neurohorizon.ingest.probe_spans import (
    clip,
    count_trimmed,
    note_short_probes,
    recorded_span,
    shared_time,
    silent_spans,
    without_dropouts,
)
from neurohorizon.ingest.spike_checks import RawSpikes
from neurohorizon.session import Series, Session, SessionError, order_spikes
from neurohorizon.timeline import Intervals, compact, split_domain, to_us

_MOVIE_NAME = re.compile(r"(natural_movie_(?:one|three))(?:_more_repeats)?")
_ORIENTED = re.compile(r"(drifting|static)_gratings.*")
_BROKEN = (OSError, ValueError, KeyError, EOFError, TypeError, IndexError, AttributeError)  # what readers raise


def preprocess_allen(
    *,
    manifest: Path,
    row: Row,
    allen: AllenSource,
    timeline: Timeline,
    splits: SplitSettings,
    exclusions: Exclusions,
    on_fatal: OnFatal,
    output: Path,
) -> None:
    """Turn one downloaded Allen session into a session file, or into one that holds the reason why it is left out.

    Args:
        manifest: List of the session's files.
        row: Row of the cohort table.
        allen: The section ``sources.allen`` of the configuration.
        timeline: The section ``timeline``.
        splits: The section ``splits``.
        exclusions: Units of the session that are excluded.
        on_fatal: Effect of a fatal fault.
        output: Session file.
    """
    ingest = partial(ingest_allen, manifest, row, source=allen, splits=splits)
    write_ingested(
        output,
        ingest,
        manifest=manifest,
        row=row,
        on_fatal=on_fatal,
        timeline=timeline,
        splits=splits,
        exclusions=exclusions,
    )


def ingest_allen(manifest: Path, row: Row, *, source: AllenSource, splits: SplitSettings) -> Session:
    """Read a downloaded session: units that pass the filters, their spikes, behaviour and stimuli.

    Units are in the order of their probes' names, then of their ids. ``region`` is the acronym of the unit's
    peak channel in the file.

    The domain starts when every probe has fired and the first stimulus is shown, and ends when a probe fires no more or
    the last stimulus is over: what follows in the release is light shone into the brain. It is rounded inward to whole
    seconds. Spans in which a probe failed, and silences in which it cannot have recorded, are taken out. Where only the
    screen failed, the image is not known. ``probes`` in the cohort, comma-separated, restricts the probes. Spikes
    before and after the domain are counted in ``repairs`` as ``trimmed_{probe}``.

    ``running_speed`` (cm/s) has the times at which its samples end, so no sample depends on its future. ``pupil`` is
    the area of the pupil without blinks, where the eye was tracked.

    Args:
        manifest: Written by :func:`neurohorizon.ingest.allen_download.download_allen`.

    Raises:
        SessionError: A file is absent or damaged, no unit is good enough, or the session is too short for its splits.
    """
    listed = json.loads(Path(manifest).read_text())
    path = listed_file(listed["files"]["session"], Path(source.folder), session=row.session, kind="sha256")
    allensdk = version("allensdk")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # AllenSDK warns of known facts for every session: invalid times, names of stimuli, no eye tracking
        warnings.simplefilter("ignore")
        try:
            units = read_units(path, row, source=source)
            with _opened(path) as recording:
                return _session(recording, units, row, {**listed, "allensdk_version": allensdk}, splits)
        except _BROKEN as error:
            if isinstance(error, SessionError):
                raise
            raise SessionError(
                f"session {row.session}: {path.name} is not as AllenSDK {allensdk} expects it "
                f"({shorten(f'{type(error).__name__}: {error}', 200)}); delete the file and download it again, or "
                "leave the session out"
            ) from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A session as AllenSDK reads it; its units are not read, since they would take three times the file's memory."""
    from allensdk.brain_observatory.ecephys.ecephys_session import EcephysSession
    from allensdk.brain_observatory.ecephys.ecephys_session_api import EcephysNwbSessionApi
    from pynwb import NWBHDF5IO

    # from a path, AllenSDK reads the whole file again for each table
    with NWBHDF5IO(str(path), "r", load_namespaces=True) as file:
        yield EcephysSession(api=EcephysNwbSessionApi.from_nwbfile(file.read()), test=True)


def _session(recording: Any, units: AllenUnits, row: Row, listed: Mapping[str, Any], splits: SplitSettings) -> Session:
    notes = Notes()
    shown = _timed(recording.stimulus_presentations, row, notes)
    domain = _domain(recording, units, shown, row, notes)
    try:
        parts = split_domain(domain, splits)
    except ValueError as error:
        raise SessionError(f"session {row.session} is too short: {error}") from error
    ids = units.id.astype(str)
    spike_times_us, spike_unit, found = _ordered(units, ids, domain, notes)
    behaviour, missing = _behaviour(recording, notes)
    return Session(
        session_id=row.session,
        source="allen",
        subject=row.subject,
        lab=row.lab,
        date=row.date,
        spike_times_us=spike_times_us,
        spike_unit=spike_unit,
        units={"id": ids, "region": units.region, "probe": units.probe, **units.quality},
        domain=domain,
        splits=parts,
        behaviour=behaviour,
        stimuli=_stimuli(shown),
        provenance={
            "release": listed["release"],
            "session_type": listed["session_type"],
            "allensdk_version": listed["allensdk_version"],
            "missing": json.dumps(missing),
            "files": json.dumps({entry["path"]: f"sha256:{entry['sha256']}" for entry in listed["files"].values()}),
            "findings": encode_findings(notes.findings),
        },
        repairs={**found, **notes.repairs},
    )


def _ordered(
    units: AllenUnits, ids: np.ndarray, domain: Intervals, notes: Notes
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Check the spikes and return them as :func:`neurohorizon.session.order_spikes` does.

    The spikes of ``units`` are overwritten, since a session has up to a hundred million of them.
    """
    # spikes before the domain and after are counted by probe; those in its gaps are counted as outside of it
    first_s, last_s = domain.hull_s
    unit = np.repeat(np.arange(len(ids), dtype=np.uint16 if len(ids) <= 2**16 else np.uint32), units.counts)
    kept = ~((units.times_s < first_s) | (units.times_s >= last_s))
    times_s, unit = compact(units.times_s, kept), compact(unit, kept)
    del kept
    notes.findings += check_spikes(RawSpikes(times_s, unit, ids, units.probe, domain))
    return order_spikes(times_s, unit, domain=domain, overwrite=True)


def _timed(shown: pd.DataFrame, row: Row, notes: Notes) -> pd.DataFrame:
    """Presentations with both times."""
    timed = np.isfinite(shown[["start_time", "stop_time"]].to_numpy(np.float64)).all(axis=1)
    if not timed.any():
        raise SessionError(f"session {row.session}: none of {len(shown)} stimuli has times: leave the session out")
    untimed = int(np.count_nonzero(~timed))
    message = f"{untimed} of {len(shown)} stimulus presentations have no start or no stop; dropped"
    notes.drop("stimuli_without_times", message, untimed)
    return shown[timed]


def _domain(recording: Any, units: AllenUnits, shown: pd.DataFrame, row: Row, notes: Notes) -> Intervals:
    """When every probe recorded and stimuli were shown; notes probes that cost much of it, and trimmed spikes."""
    of_probe = {str(name): units.of_probe(name) for name in np.unique(units.probe)}
    spans = [recorded_span(name, times_s, notes) for name, times_s in of_probe.items() if np.isfinite(times_s).any()]
    if not spans:
        raise SessionError(
            f"session {row.session}: none of its {len(units.id)} units has a spike: leave the session out"
        )
    shown_s = {"first_s": float(shown["start_time"].min()), "last_s": float(shown["stop_time"].max())}
    start_us, stop_us = shared_time(row.session, spans, **shown_s)
    note_short_probes(spans, notes, **shown_s)
    count_trimmed(clip(spans, **shown_s), of_probe, notes, start_us=start_us, stop_us=stop_us)
    valid = Intervals(np.array([start_us]), np.array([stop_us]))
    # tags: scope, id of what it holds for, and what failed: all probes, one by name, the screen, the laser
    failed = [
        (start_s, stop_s)
        for start_s, stop_s, tags in _invalid_times(recording)
        if "all_probes" in tags or set(tags) & set(of_probe)
    ]
    if failed:
        start_s, stop_s = np.array(failed).T
        valid = valid.without(Intervals.merged(to_us(start_s), to_us(stop_s)))
    silent_s = {span.probe: silent_spans(of_probe[span.probe], span) for span in spans}
    return without_dropouts(valid, silent_s, notes)


def _invalid_times(recording: Any) -> list[tuple[float, float, tuple[str, ...]]]:
    table = recording.invalid_times
    if not len(table):
        return []
    return list(zip(table["start_time"], table["stop_time"], map(tuple, table["tags"]), strict=True))


def _behaviour(recording: Any, notes: Notes) -> tuple[dict[str, Series], list[str]]:
    """Series by name, and the names of those that the session lacks."""
    behaviour: dict[str, Series] = {}
    with contextlib.suppress(KeyError):  # no module of that name in the file
        running = recording.running_speed
        _add_series(behaviour, "running_speed", running["end_time"], running["velocity"], "cm/s", notes)
    gaze = recording.get_screen_gaze_data(include_filtered_data=True)
    if gaze is not None:
        _add_series(behaviour, "pupil", gaze.index, gaze["filtered_pupil_area"], "cm2", notes)
    return behaviour, [name for name in ("running_speed", "pupil") if name not in behaviour]


def _add_series(behaviour: dict[str, Series], name: str, times_s: Any, values: Any, unit: str, notes: Notes) -> None:
    times_s, values = (np.asarray(one, dtype=np.float64).reshape(-1) for one in (times_s, values))
    known = np.isfinite(times_s)
    untimed = int(np.count_nonzero(~known))
    notes.drop("samples_dropped", f"{untimed} of {len(known)} samples of {name} have no time; dropped", untimed)
    if known.any() and np.isfinite(values[known]).any():
        order = np.argsort(times_s[known], kind="stable")
        behaviour[name] = Series(times_s=times_s[known][order], values=values[known][order], unit=unit)


def _stimuli(shown: pd.DataFrame) -> dict[str, np.ndarray]:
    """AllenSDK's table of presentations as a session's stimuli."""
    shown = shown.sort_values("start_time", kind="stable")
    names = shown["stimulus_name"].astype(str).tolist()
    frames = _numbers(shown, "frame")
    blank = np.isnan(_numbers(shown, "orientation"))
    images = [image_shown(*values) for values in zip(names, frames, blank, strict=True)]
    return {
        "start": shown["start_time"].to_numpy(np.float64),
        "end": shown["stop_time"].to_numpy(np.float64),
        "name": np.array(names, dtype=str),
        "image_set": np.array([image_set for image_set, _ in images], dtype=str),
        "frame": np.array([frame for _, frame in images], dtype=np.int32),
        "block": np.nan_to_num(_numbers(shown, "stimulus_block"), nan=-1).astype(np.int32),
    }


def _numbers(shown: pd.DataFrame, column: str) -> np.ndarray:
    """A column in which AllenSDK writes "null" for what does not apply, float64 with NaN there, [presentation]."""
    if column not in shown:
        return np.full(len(shown), np.nan)
    return pd.to_numeric(shown[column], errors="coerce").to_numpy(np.float64)


def image_shown(name: str, frame: float, blank: bool) -> tuple[str, int]:
    """Image set and row in it of a presentation; ("", -1) where the image is not known.

    Args:
        name: Stimulus, as AllenSDK names it.
        frame: Its frame or scene; NaN where it has none. A natural scene of -1 is a blank sweep.
        blank: Whether it has no orientation; for gratings, a blank sweep.
    """
    movie = _MOVIE_NAME.fullmatch(name)
    if movie and frame >= 0:
        return movie[1], int(frame)
    if name == "natural_scenes" and frame >= 0:
        return "natural_scenes", int(frame)
    if name == "spontaneous" or (name == "natural_scenes" and frame == -1) or (_ORIENTED.fullmatch(name) and blank):
        return "gray", 0
    return "", -1
