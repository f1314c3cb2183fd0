"""Allen Visual Coding Neuropixels sessions: download, ingestion into a Session, and the pictures that were shown.

With ``allen_release`` the only module that imports AllenSDK, which pins an old numpy and needs its own
environment; the import is inside functions, so that names and constants are available without it.

AllenSDK's cache has a habit to guard against: where a file cannot be read, it deletes the file and goes to the
network, even if the network then has nothing. So the cache is used only for places and downloads: files are
fetched to a temporary name, checked and renamed, and nothing that is there is ever written or deleted; they are read
by :class:`EcephysSession` itself, after their size and hash were found to be those of the download.

AllenSDK: https://allensdk.readthedocs.io/en/latest/visual_coding_neuropixels.html.
"""

import contextlib
import io
import json
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from textwrap import shorten
from typing import Any

import h5py
import numpy as np
import pandas as pd

from neurohorizon.cohort import Row
from neurohorizon.config import AllenSource, Timeline
from neurohorizon.config import Splits as SplitSettings
from neurohorizon.files import replacing
from neurohorizon.ingest.checks import check_spikes
from neurohorizon.ingest.findings import Notes, encode_findings
from neurohorizon.ingest.leave_out import OnFatal, SourceUnavailable, download_or_note, write_ingested
from neurohorizon.ingest.listed_files import file_hash, listed_file, path_within
from neurohorizon.ingest.probe_spans import clip, count_trimmed, note_short_probes, recorded_span, shared_time
from neurohorizon.ingest.spike_checks import RawSpikes
from neurohorizon.modalities.images import ImageSet, write_images
from neurohorizon.session import Series, Session, SessionError, order_spikes
from neurohorizon.timeline import Intervals, split_domain, to_us

TABLES = ("sessions", "probes", "channels", "units")
"""Tables of the whole release, ``{table}.csv``."""
MOVIES = {"natural_movie_one": 1, "natural_movie_three": 3}
"""Templates of movies, by image set: their number in the release."""
SCENES = 118
"""Templates of natural scenes."""
GRAY = 127
GRAY_SIDE_PX = (120, 240)

_MOVIE_NAME = re.compile(r"(natural_movie_(?:one|three))(?:_more_repeats)?")
_ORIENTED = re.compile(r"(drifting|static)_gratings.*")
_RETRY_WAIT_S = 5.0
_BROKEN = (OSError, ValueError, KeyError, EOFError, TypeError, IndexError, AttributeError)  # what readers raise


def download_allen(*, row: Row, allen: AllenSource, on_fatal: OnFatal, attempt: int, output: Path) -> None:
    """Fetch one Allen session through AllenSDK's cache and list its files, or note why it cannot be used.

    Args:
        row: Row of the cohort table.
        allen: The section ``sources.allen`` of the configuration.
        on_fatal: Effect of a fatal fault.
        attempt: Number of the attempt, from 0.
        output: List of the session's files; see :func:`download_session`.
    """
    download_or_note(partial(download_session, row, source=allen), manifest=output, on_fatal=on_fatal, attempt=attempt)


def download_session(row: Row, *, source: AllenSource) -> dict[str, Any]:
    """Fetch one session and the tables of the release, and return the list of its files.

    What is there already is not fetched again. The list has the session's id and type, and each file's
    path within ``source.folder``, size and sha256; no path of this machine.

    Args:
        row: The session; its name is its id in the release.

    Raises:
        SessionError: The session is not in the release, is another animal's, or its file cannot be read.
        SourceUnavailable: A file is not in the folder (local), the archive cannot be reached (remote), or a table of
            the release cannot be read.
    """
    cache = _Cache(source)
    session_id = _session_id(row)
    tables = {name: cache.table(name) for name in TABLES}
    sessions = pd.read_csv(tables["sessions"], dtype=str).set_index("id")
    if str(session_id) not in sessions.index:
        raise SessionError(
            f"session {row.session} is not in the release: {tables['sessions'].name} lists {len(sessions)} others"
        )
    found = sessions.loc[str(session_id)]
    if found["specimen_id"] != row.subject:
        raise SessionError(
            f"session {row.session} is of specimen {found['specimen_id']} in the release, the cohort table has "
            f"{row.subject}: correct the table"
        )
    recording = cache.session(session_id)
    return {
        "session": row.session,
        "id": session_id,
        "session_type": found["session_type"],
        "release": cache.release,
        "allensdk_version": version("allensdk"),
        "files": {
            name: _entry(path, Path(source.folder), row)
            for name, path in {"session": recording, "channels": tables["channels"]}.items()
        },
    }


def _session_id(row: Row) -> int:
    if not row.session.isdigit():
        raise SessionError(f"session {row.session}: an Allen session is named by its id, only digits")
    return int(row.session)


def _entry(path: Path, folder: Path, row: Row) -> dict[str, str | int]:
    return {
        "path": path_within(path, folder, session=row.session).as_posix(),
        "size": path.stat().st_size,
        "sha256": file_hash(path, "sha256"),
    }


class _Cache:
    """AllenSDK's project cache, used only for places and downloads."""

    def __init__(self, source: AllenSource) -> None:
        from allensdk.brain_observatory.ecephys.ecephys_project_cache import EcephysProjectCache

        self.source = source
        self.release = "local" if source.mode == "local" else "api.brain-map.org"
        place = Path(source.folder) / "manifest.json"
        if source.mode == "local" and not place.is_file():
            raise SourceUnavailable(
                f"sources.allen.folder {source.folder} is no AllenSDK cache: it has no manifest.json; give one that "
                "EcephysProjectCache.from_warehouse has filled, or set sources.allen.mode to remote"
            )
        if not place.is_file():
            # AllenSDK makes it where it is absent; sessions may be downloaded at once, and none may see half of it
            with replacing(place) as temporary:
                EcephysProjectCache.from_warehouse(manifest=str(temporary))
        self._cache = EcephysProjectCache.from_warehouse(manifest=str(place))

    def table(self, name: str) -> Path:
        """A table of the release."""
        fetch = getattr(self._cache.fetch_api, f"get_{name}")
        return self._have(Path(self._cache.get_cache_path(None, name)), fetch, _write_table, check=pd.read_csv)

    def session(self, session_id: int) -> Path:
        """The NWB file of a session; one that cannot be read is the session's fault."""
        path = Path(self._cache.get_cache_path(None, self._cache.SESSION_NWB_KEY, session_id, session_id))
        fetch = partial(self._cache.fetch_api.get_session_data, session_id)
        check = partial(_check_recording, session_id)
        return self._have(path, fetch, self._write_stream, check=check, fault=SessionError)

    def movie(self, number: int) -> np.ndarray:
        """Frames of a movie, [frame, y, x]."""
        path = Path(self._cache.get_cache_path(None, self._cache.NATURAL_MOVIE_KEY, number))
        fetch = partial(self._cache.fetch_api.get_natural_movie_template, number=number)
        return _read_movie(self._have(path, fetch, self._write_stream, check=_read_movie))

    def scene(self, number: int) -> np.ndarray:
        """A natural scene, [y, x]."""
        path = Path(self._cache.get_cache_path(None, self._cache.NATURAL_SCENE_KEY, number))
        fetch = partial(self._cache.fetch_api.get_natural_scene_template, number=number)
        return _read_scene(self._have(path, fetch, self._write_stream, check=_read_scene))

    def _write_stream(self, path: Path, stream: Any) -> None:
        self._cache.stream_writer(str(path), stream)

    def _have(
        self,
        path: Path,
        fetch: Callable,
        write: Callable,
        *,
        check: Callable,
        fault: type[Exception] = SourceUnavailable,
    ) -> Path:
        """A file of the cache, fetched if it is not there; one that is there is never touched.

        Raises:
            SourceUnavailable: It is not there, and cannot be had.
            Exception: ``fault``, where it is there and cannot be read.
        """
        if path.is_file():
            try:
                check(path)
            except _BROKEN as error:
                raise fault(
                    f"{path.name} cannot be read ({error}); it may be cut short: put the file back, or delete it and "
                    "set sources.allen.mode to remote to download it again"
                ) from error
            return path
        if self.source.mode == "local":
            raise SourceUnavailable(
                f"sources.allen.folder {self.source.folder} lacks {path.name}; put it there, or set "
                "sources.allen.mode to remote to download it"
            )
        for attempt in range(self.source.download_attempts):
            time.sleep(_RETRY_WAIT_S * attempt)
            try:
                with replacing(path) as temporary:
                    write(temporary, fetch())
                    check(temporary)
                return path
            except Exception as error:  # AllenSDK and the network raise what they please
                failure = shorten(f"{type(error).__name__}: {error}", 200)
        raise SourceUnavailable(
            f"{path.name} could not be had from {self.release} in {self.source.download_attempts} attempts "
            f"({failure}); check the network and run again: finished files are kept"
        )


def _write_table(path: Path, table: pd.DataFrame) -> None:
    table.to_csv(path)


def _check_recording(session_id: int, path: Path) -> None:
    """See that a file is whole enough to be opened, and is of the session.

    Raises:
        ValueError, OSError, KeyError: It is not.
    """
    with h5py.File(path, "r") as file:
        found = file["identifier"].asstr()[()]
        for name in ("units/spike_times", "intervals", "general/extracellular_ephys/electrodes"):
            file[name]
    if found != str(session_id):
        raise ValueError(f"it is of session {found}")


def _read_movie(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False)  # the name ends in .h5, and yet it is what np.save writes


def _read_scene(path: Path) -> np.ndarray:
    from skimage.io import imread

    return imread(path)


def preprocess_allen(
    *,
    manifest: Path,
    row: Row,
    allen: AllenSource,
    timeline: Timeline,
    splits: SplitSettings,
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
        on_fatal: Effect of a fatal fault.
        output: Session file.
    """
    ingest = partial(ingest_allen, manifest, row, source=allen, splits=splits)
    settings = {"row": row, "on_fatal": on_fatal, "timeline": timeline, "splits": splits}
    write_ingested(output, ingest, manifest=manifest, **settings)


def ingest_allen(manifest: Path, row: Row, *, source: AllenSource, splits: SplitSettings) -> Session:
    """Read a downloaded session: units that pass the filters, their spikes, behaviour and stimuli.

    Units are in the order of their probes' names, then of their ids. ``region`` is the acronym of the unit's
    peak channel in the release's table of channels.

    The domain starts when every probe has fired and the first stimulus is shown, and ends when a probe fires no more or
    the last stimulus is over: what follows in the release is light shone into the brain. It is rounded inward to whole
    seconds, and spans in which a probe failed are taken out. Where only the screen failed, the image is not known.
    ``probes`` in the cohort, comma-separated, restricts the probes. Spikes before and after the domain are counted in
    ``repairs`` as ``trimmed_{probe}``.

    ``running_speed`` (cm/s) has the times at which its samples end, so no sample depends on its future. ``pupil`` is
    the area of the pupil without blinks, where the eye was tracked.

    Args:
        manifest: Written by :func:`download_session`.

    Raises:
        SessionError: A file is absent or damaged, no unit is good enough, or the session is too short for its splits.
    """
    listed = json.loads(Path(manifest).read_text())
    files = {
        name: listed_file(entry, Path(source.folder), session=row.session, kind="sha256")
        for name, entry in listed["files"].items()
    }
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # AllenSDK warns of known facts for every session: invalid times, names of stimuli, no eye tracking
        warnings.simplefilter("ignore")
        try:
            with _opened(files["session"], source) as recording:
                return _session(recording, files["channels"], row, listed, splits)
        except _BROKEN as error:
            if isinstance(error, SessionError):
                raise
            raise SessionError(
                f"session {row.session}: {files['session'].name} is not as AllenSDK {listed['allensdk_version']} "
                f"expects it ({shorten(f'{type(error).__name__}: {error}', 200)}); delete the file and download it "
                "again, or leave the session out"
            ) from error


@contextlib.contextmanager
def _opened(path: Path, source: AllenSource) -> Iterator[Any]:
    """A session as AllenSDK reads it, with the units that pass the filters."""
    from allensdk.brain_observatory.ecephys.ecephys_session import EcephysSession
    from allensdk.brain_observatory.ecephys.ecephys_session_api import EcephysNwbSessionApi
    from pynwb import NWBHDF5IO

    filters = {
        "isi_violations_maximum": source.isi_violations_maximum,
        "amplitude_cutoff_maximum": source.amplitude_cutoff_maximum,
        "presence_ratio_minimum": source.presence_ratio_minimum,
    }
    # from a path, AllenSDK reads the whole file again for each table
    with NWBHDF5IO(str(path), "r", load_namespaces=True) as file:
        yield EcephysSession(api=EcephysNwbSessionApi.from_nwbfile(file.read(), **filters), test=True)


def _session(recording: Any, channels: Path, row: Row, listed: Mapping[str, Any], splits: SplitSettings) -> Session:
    units = recording.units.rename_axis("unit_id").reset_index()
    if not len(units):
        raise SessionError(
            f"session {row.session} has no unit that passes isi_violations_maximum, amplitude_cutoff_maximum and "
            "presence_ratio_minimum of sources.allen; relax them or leave the session out"
        )
    units = _of_probes(units, row).sort_values(["probe_description", "unit_id"], kind="stable").reset_index(drop=True)
    spikes = [np.asarray(recording.spike_times[unit], dtype=np.float64).reshape(-1) for unit in units["unit_id"]]
    notes = Notes()
    shown = _timed(recording.stimulus_presentations, row, notes)
    domain = _domain(recording, units, spikes, shown, row, notes)
    try:
        parts = split_domain(domain, splits)
    except ValueError as error:
        raise SessionError(f"session {row.session} is too short: {error}") from error
    times_s = np.concatenate(spikes)
    unit = np.repeat(np.arange(len(spikes)), [len(one) for one in spikes])
    # spikes before the domain and after are counted by probe; those in its gaps are counted as outside of it
    first_s, last_s = domain.hull_s
    trimmed = (times_s < first_s) | (times_s >= last_s)
    ids, probes = units["unit_id"].to_numpy().astype(str), units["probe_description"].to_numpy(str)
    notes.findings += check_spikes(RawSpikes(times_s[~trimmed], unit[~trimmed], ids, probes, domain))
    spike_times_us, spike_unit, found = order_spikes(times_s[~trimmed], unit[~trimmed], domain=domain)
    behaviour, missing = _behaviour(recording, notes)
    return Session(
        session_id=row.session,
        source="allen",
        subject=row.subject,
        lab=row.lab,
        date=row.date,
        spike_times_us=spike_times_us,
        spike_unit=spike_unit,
        units={
            "id": ids,
            "region": _regions(units["peak_channel_id"].to_numpy(), channels),
            "probe": probes,
            **{name: units[name].to_numpy(np.float64) for name in _QUALITY},
        },
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


_QUALITY = ("isi_violations", "amplitude_cutoff", "presence_ratio")


def _of_probes(units: pd.DataFrame, row: Row) -> pd.DataFrame:
    """Units of the probes that the cohort names; of all probes where it names none."""
    asked = row.extras.get("probes", "").replace(",", " ").split()
    found = sorted(set(units["probe_description"]))
    absent = [name for name in asked if name not in found]
    if absent:
        raise SessionError(
            f"session {row.session} has no good unit of {', '.join(absent)}, which the cohort table's column probes "
            f"names; probes with good units: {', '.join(found)}"
        )
    return units[units["probe_description"].isin(asked)] if asked else units


def _timed(shown: pd.DataFrame, row: Row, notes: Notes) -> pd.DataFrame:
    """Presentations with both times."""
    timed = np.isfinite(shown[["start_time", "stop_time"]].to_numpy(np.float64)).all(axis=1)
    if not timed.any():
        raise SessionError(f"session {row.session}: none of {len(shown)} stimuli has times: leave the session out")
    untimed = int(np.count_nonzero(~timed))
    message = f"{untimed} of {len(shown)} stimulus presentations have no start or no stop; dropped"
    notes.drop("stimuli_without_times", message, untimed)
    return shown[timed]


def _domain(
    recording: Any, units: pd.DataFrame, spikes: list[np.ndarray], shown: pd.DataFrame, row: Row, notes: Notes
) -> Intervals:
    """When every probe recorded and stimuli were shown; notes probes that cost much of it, and trimmed spikes."""
    probes = units["probe_description"].to_numpy(str)
    of_probe = {
        str(name): np.concatenate([one for one, probe in zip(spikes, probes, strict=True) if probe == name])
        for name in np.unique(probes)
    }
    spans = [recorded_span(name, times_s, notes) for name, times_s in of_probe.items() if np.isfinite(times_s).any()]
    if not spans:
        raise SessionError(f"session {row.session}: none of its {len(units)} units has a spike: leave the session out")
    shown_s = {"first_s": float(shown["start_time"].min()), "last_s": float(shown["stop_time"].max())}
    start_us, stop_us = shared_time(row.session, spans, **shown_s)
    note_short_probes(spans, notes, **shown_s)
    count_trimmed(clip(spans, **shown_s), of_probe, notes, start_us=start_us, stop_us=stop_us)
    whole = Intervals(np.array([start_us]), np.array([stop_us]))
    # tags: scope, id of what it holds for, and what failed: all probes, one by name, the screen, the laser
    failed = [
        (start_s, stop_s)
        for start_s, stop_s, tags in _invalid_times(recording)
        if "all_probes" in tags or set(tags) & set(probes)
    ]
    if not failed:
        return whole
    start_s, stop_s = np.array(failed).T
    return whole.without(Intervals.merged(to_us(start_s), to_us(stop_s)))


def _invalid_times(recording: Any) -> list[tuple[float, float, tuple[str, ...]]]:
    table = recording.invalid_times
    if not len(table):
        return []
    return list(zip(table["start_time"], table["stop_time"], map(tuple, table["tags"]), strict=True))


def _regions(peak_channel: np.ndarray, channels: Path) -> np.ndarray:
    """Acronym of each unit's peak channel, [unit]; "" where the release has none."""
    table = pd.read_csv(channels, index_col="id", usecols=["id", "ecephys_structure_acronym"])
    return table["ecephys_structure_acronym"].reindex(peak_channel).fillna("").to_numpy(str)


def _behaviour(recording: Any, notes: Notes) -> tuple[dict[str, Series], list[str]]:
    """Series by name, and the names of those that the session lacks."""
    behaviour = {}
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


def export_images(image_set: str, *, allen: AllenSource, output: Path) -> None:
    """Write the pictures of an image set, in the order of their numbers in the stimulus tables.

    Args:
        image_set: ``gray``, a movie of :data:`MOVIES`, or ``natural_scenes``.
        allen: The section ``sources.allen`` of the configuration.
        output: File of :func:`neurohorizon.modalities.images.write_images`.

    Raises:
        SessionError: There is no such set.
        SourceUnavailable: A template is not in the folder, cannot be read, or cannot be had.
    """
    known = ("gray", *MOVIES, "natural_scenes")
    if image_set not in known:
        raise SessionError(f"multimodal.images.sets names {image_set!r}; the release has {', '.join(known)}")
    if image_set == "gray":
        images = np.full((1, *GRAY_SIDE_PX), GRAY, np.uint8)
    elif image_set == "natural_scenes":
        cache = _Cache(allen)
        images = np.stack([cache.scene(number) for number in range(SCENES)])
    else:
        images = _Cache(allen).movie(MOVIES[image_set])
    write_images(output, ImageSet(name=image_set, images=np.ascontiguousarray(images)))
