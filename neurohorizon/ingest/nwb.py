"""Any NWB file, on disk or downloaded from DANDI, to a :class:`~neurohorizon.session.Session`.

What is read: the ``units`` table with ``spike_times``; valid time from ``obs_intervals`` or a table of intervals, as
configured; regions; named behaviour series; the trials table; the subject. What a file lacks beyond spikes and valid
time is a finding and does not stop it.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from unicodedata import normalize

import h5py
import numpy as np

from neurohorizon.cohort import Row
from neurohorizon.config import DandiSource, Exclusions, NwbReading, NwbSource, Splits, Timeline, ValidTime, ValueRange
from neurohorizon.ingest.checks import check_spikes
from neurohorizon.ingest.findings import Notes, decode_findings, encode_findings, list_names
from neurohorizon.ingest.leave_out import OnFatal, write_ingested
from neurohorizon.ingest.listed_files import listed_file
from neurohorizon.ingest.nwb_file import LinkedFileGone, NwbFile, RemoteBytes, Table, open_nwb, text
from neurohorizon.ingest.spike_checks import RawSpikes
from neurohorizon.ingest.thresholds import limit
from neurohorizon.ingest.valid_time import close_pauses
from neurohorizon.session import Series, Session, SessionError, order_spikes
from neurohorizon.timeline import MICROSECONDS, Intervals, split_domain, to_us
from neurohorizon.timeline import Splits as SessionSplits

WHOLE = "whole"
"""Choice of ``valid_time``: from the first to the last spike."""
_UNKNOWN_REGIONS = {"", "nan", "none", "unknown", "n/a"}
_ELECTRODES = "general/extracellular_ephys/electrodes"


def preprocess_nwb(
    *,
    recordings: Sequence[Path],
    row: Row,
    nwb: NwbSource,
    timeline: Timeline,
    splits: Splits,
    exclusions: Exclusions,
    on_fatal: OnFatal,
    output: Path,
) -> None:
    """Turn one NWB file into a session file, or into one that holds the reason why it is left out.

    Args:
        recordings: NWB files of the session, mostly one.
        row: Row of the cohort table.
        nwb: The section ``sources.nwb`` of the configuration.
        timeline: The section ``timeline``.
        splits: The section ``splits``.
        exclusions: Units of the session that are excluded.
        on_fatal: Effect of a fatal fault.
        output: Session file.
    """
    ingest = partial(ingest_nwb, recordings, row, source=nwb, splits=splits)
    write_ingested(output, ingest, row=row, on_fatal=on_fatal, exclusions=exclusions, timeline=timeline, splits=splits)


def preprocess_dandi(
    *,
    manifest: Path,
    row: Row,
    dandi: DandiSource,
    timeline: Timeline,
    splits: Splits,
    exclusions: Exclusions,
    on_fatal: OnFatal,
    output: Path,
) -> None:
    """Turn the downloaded assets of a session into a session file, or into one that holds why it is left out.

    Args:
        manifest: List of the session's files; see :func:`neurohorizon.ingest.dandi.download_session`.
        row: Row of the cohort table.
        dandi: The section ``sources.dandi`` of the configuration.
        timeline: The section ``timeline``.
        splits: The section ``splits``.
        exclusions: Units of the session that are excluded.
        on_fatal: Effect of a fatal fault.
        output: Session file.
    """
    ingest = partial(ingest_assets, manifest, row, source=dandi, splits=splits)
    write_ingested(
        output,
        ingest,
        row=row,
        on_fatal=on_fatal,
        timeline=timeline,
        splits=splits,
        manifest=manifest,
        exclusions=exclusions,
    )


def ingest_assets(manifest: Path, row: Row, *, source: DandiSource, splits: Splits) -> Session:
    """Read the downloaded assets of a session, after their hashes were compared with the list of files.

    Args:
        manifest: List of the session's files.
        row: The session's row of the cohort table.
        source: What to read and from where in the files.
        splits: How valid time is split.

    Raises:
        SessionError: A file is absent, was changed, or cannot be read or used.
    """
    listed = json.loads(manifest.read_text())
    folder = Path(source.folder)
    paths = [listed_file(one, folder, session=row.session, kind="sha256") for one in listed["files"].values()]
    session = ingest_nwb(paths, row, source=source, splits=splits)
    notes = Notes(list(decode_findings(session.provenance["findings"])))
    if listed["version"] == "draft":
        notes.add(
            "draft_version",
            f"{', '.join(listed['files'])} is of the draft of dandiset {listed['dandiset']}, which can change; name a "
            "published version in sources.dandi.version",
        )
    origin = {
        "dandiset": f"{listed['dandiset']}/{listed['version']}",
        "assets": json.dumps({path: entry["asset"] for path, entry in listed["files"].items()}),
        "findings": encode_findings(notes.findings),
    }
    return replace(session, provenance={**session.provenance, **origin})


def ingest_nwb(
    paths: str | Path | RemoteBytes | Sequence[str | Path], row: Row, *, source: NwbReading, splits: Splits | None
) -> Session:
    """Read the NWB file of a session, or its files.

    Subject, lab and date are those of the cohort table. A file that names another subject than the table's column
    ``file_subject``, or ``subject`` without one, is refused, since the split of animals depends on it; another date
    (often made up to hide the real one) or lab is a finding.

    Several files of a session, such as one per probe and one of behaviour, must have one clock. Units are those of all
    files; a time is valid where it is valid for the units of every file; a table or a series comes from the first
    file that has it.

    Args:
        paths: The file, an open remote file, or several files.
        row: The session's row of the cohort table.
        source: What to read and from where in the file.
        splits: How valid time is split; None: not split.

    Raises:
        SessionError: The file cannot be read or used: what was found, what was expected and what to do.
    """
    with ExitStack() as opened:
        listed = paths if isinstance(paths, Sequence) and not isinstance(paths, str) else [paths]
        files = [opened.enter_context(open_nwb(Path(one) if isinstance(one, str) else one)) for one in listed]
        notes = Notes()
        readers = [_Reader(file, row, source, notes) for file in files]
        return _session(readers, row, source, splits, notes)


def _session(readers: "list[_Reader]", row: Row, source: NwbReading, splits: Splits | None, notes: Notes) -> Session:
    first = readers[0]
    _check_clocks([reader.file for reader in readers])
    began = first.file.text("session_start_time")[:10]
    for reader in readers:
        reader.check_identity(began)
    with_units = [reader for reader in readers if reader.has("units/spike_times")] or [first]
    units = {reader: _Units(reader.file, source) for reader in with_units}
    spikes = [one.spikes() for one in units.values()]
    domain = _domain(readers, units, source, [times_s for times_s, _ in spikes])
    ids, columns = _units_of_all(units, notes)
    before = np.cumsum([0, *(len(one) for one in units.values())])
    times_s = np.concatenate([times for times, _ in spikes])
    unit = np.concatenate([unit + offset for (_, unit), offset in zip(spikes, before, strict=False)])
    notes.findings += check_spikes(RawSpikes(times_s, unit, ids, columns.get("probe"), domain))
    try:
        parts = split_domain(domain, splits) if splits else SessionSplits.empty()
    except ValueError as error:
        fatal = [finding.message for finding in notes.findings if finding.severity == "fatal"]
        raise SessionError(f"{first.file.path.name}: {(fatal or [str(error)])[0]}") from error
    spike_times_us, spike_unit, found = order_spikes(times_s, unit, domain=domain)
    behaviour = {}
    for name, inside in source.behaviour.items():
        series = _holder(readers, inside).behaviour(name, inside, domain)
        if series is not None:
            behaviour[name] = series
    trials = _holder(readers, "intervals/trials").trials(domain) if source.trials else {}
    return Session(
        session_id=row.session,
        source=row.source,
        subject=row.subject,
        lab=row.lab,
        date=row.date or began,
        spike_times_us=spike_times_us,
        spike_unit=spike_unit,
        units={"id": ids, **columns},
        domain=domain,
        splits=parts,
        behaviour=behaviour,
        trials=trials,
        provenance={
            **first.provenance(),
            "files": json.dumps({reader.file.path.name: reader.file.fingerprint() for reader in readers}),
            "findings": encode_findings(notes.findings),
        },
        repairs={**found, "filtered_units": sum(one.filtered for one in units.values()), **notes.repairs},
    )


def _holder(readers: "list[_Reader]", inside: str) -> "_Reader":
    """Return the reader of the first file that has an object; of the first file where none has it."""
    return next((reader for reader in readers if reader.has(inside)), readers[0])


def _check_clocks(files: list[NwbFile]) -> None:
    """Check that files of one session have one zero of time."""
    zeros = {
        file.path.name: file.text("timestamps_reference_time") or file.text("session_start_time") for file in files
    }
    if len(set(zeros.values())) > 1:
        raise SessionError(
            f"files of one session have {len(set(zeros.values()))} clocks: "
            + ", ".join(f"{name} begins {zero}" for name, zero in zeros.items())
            + "; export them with one timestamps_reference_time"
        )


def _domain(
    readers: "list[_Reader]", units: "dict[_Reader, _Units]", source: NwbReading, times_s: list[np.ndarray]
) -> Intervals:
    """Return the valid time of the units of all files; ``times_s`` are the spike times of each file, [spike]."""
    if source.valid_time in ("obs_intervals", WHOLE):
        if source.valid_time == WHOLE:
            parts = [reader.spanned(own) for reader, own in zip(units, times_s, strict=True)]
        else:
            parts = [reader.observed(one) for reader, one in units.items()]
        domain = parts[0]
        for part in parts[1:]:
            domain = domain.intersect(part)
    else:
        chosen = source.valid_time
        table, tags = (chosen, ()) if isinstance(chosen, str) else (chosen.table, chosen.tags)
        domain = _holder(readers, f"intervals/{table}").intervals_of(table, tags)
    for reader in readers:
        domain = domain.without(reader.invalid())
    name, chosen = readers[0].file.path.name, _named(source.valid_time)
    if not len(domain):
        raise SessionError(
            f"{name}: {chosen} leave no valid time for its {sum(map(len, units.values()))} units; "
            f"{what_there_is(readers[0].file)}; choose another {source.option('valid_time')}{_or_whole(source)}"
        )
    first_s, last_s = domain.hull_s
    span_s = last_s - first_s
    valid_s = domain.duration_us / MICROSECONDS
    if span_s > limit("longest_span_s") or valid_s > limit("longest_interval_s"):
        raise SessionError(
            f"{name}: valid time ({chosen}) is {valid_s:g} s within {span_s:g} s; expected seconds of one recording, "
            f"at most {limit('longest_interval_s'):g} s: are its times in another unit?"
        )
    return domain


def _units_of_all(units: "dict[_Reader, _Units]", notes: Notes) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return ids and columns of the units of all files, [unit]; a column must be in every file."""
    parts = [(reader, one.ids(notes), reader.unit_columns(one)) for reader, one in units.items()]
    ids = np.concatenate([own for _, own, _ in parts])
    if len(set(ids.tolist())) < len(ids):
        ids = np.concatenate([np.char.add(f"{reader.file.path.stem}:", own) for reader, own, _ in parts])
        notes.add("repeated_ids", "unit ids occur in more than one file; each got the name of its file", len(ids))
    shared = [name for name in parts[0][2] if all(name in columns for _, _, columns in parts)]
    return ids, {name: np.concatenate([columns[name] for _, _, columns in parts]) for name in shared}


@dataclass(eq=False)
class _Reader:
    """Reads one file."""

    file: NwbFile
    row: Row
    source: NwbReading
    notes: Notes

    def has(self, inside: str) -> bool:
        """Return whether the file has an object at a path; a link that leads nowhere counts as one."""
        try:
            return self.file.find(inside) is not None
        except LinkedFileGone:
            return True

    def check_identity(self, began: str) -> None:
        """Compare subject, date and lab of the file with the cohort table."""
        file, row = self.file, self.row
        named = file.text("general/subject/subject_id")
        # one letter may be one character or two
        expected = row.extras.get("file_subject") or row.subject
        if named.strip() and normalize("NFC", named.strip()) != normalize("NFC", expected):
            raise SessionError(
                f"{file.path.name} is of subject {named!r}, the cohort table has {expected!r} for {row.session}: "
                "correct the table, or put the right file there"
            )
        if not named.strip():
            self.notes.add("no_subject", f"the file names no subject; {row.subject} is the cohort table's")
        if row.date and began != row.date:
            self.notes.add("other_date", f"the file's date is {began or 'absent'}, the cohort table's {row.date}")
        lab = file.text("general/lab")
        if lab and row.lab and lab != row.lab:
            self.notes.add("other_lab", f"the file's lab is {lab!r}, the cohort table's {row.lab!r}")

    def invalid(self) -> Intervals:
        """Return the time that the file declares invalid."""
        table = self.file.table("intervals/invalid_times")
        return self._union(table) if table is not None and table.rows else Intervals.empty()

    def spanned(self, times_s: np.ndarray) -> Intervals:
        """Return the time from the first to the last spike, and note it; nothing if no spike has a time."""
        finite_s = times_s[np.isfinite(times_s)]
        if not len(finite_s):
            return Intervals.empty()
        first_s, last_s = float(finite_s.min()), float(finite_s.max())
        message = (
            f"{self.source.option('valid_time')} is {WHOLE}: all time from the first to the last spike, {first_s:g} to "
            f"{last_s:g} s, counts as recorded; a pause of the recording would count as silence"
        )
        self.notes.add("whole_valid_time", message)
        if self.source.reports:
            print(f"{self.file.path.name}: {message}", file=sys.stderr)
        if max(abs(first_s), abs(last_s)) > limit("far_recording_s"):
            raise self.file.fault("units/spike_times", f"reach {last_s:g}", "convert them to seconds")
        first_us, last_us = to_us(np.array([first_s, last_s]))
        return Intervals(np.array([first_us]), np.array([last_us + 1]))

    def observed(self, units: "_Units") -> Intervals:
        """Return the time in which every kept unit was observed; name the units that cost the others most."""
        file = self.file
        if "obs_intervals" not in units.table.names:
            raise SessionError(
                f"{file.path.name}: {self.source.option('valid_time')} is obs_intervals, which its units lack; "
                f"{what_there_is(file)}; choose one of these tables{_or_whole(self.source)}"
            )
        ids = units.table.ids()
        of_unit, cache = [], {}
        for row, values in zip(units.rows, units.ragged("obs_intervals"), strict=True):
            if values.dtype.kind not in "biuf" or values.ndim != 2 or values.shape[1] != 2:
                raise file.fault(
                    "units/obs_intervals",
                    f"has shape {values.shape} for unit {ids[row]}, expected [interval, 2]",
                    "export them as starts and stops",
                )
            if values.tobytes() not in cache:
                finite = np.isfinite(values.astype(np.float64)).all()
                if not finite or not len(values) or not (values[:, 1] > values[:, 0]).any():
                    what = "are not finite" if not finite else "hold no time"
                    raise file.fault(
                        "units/obs_intervals",
                        f"{what} for unit {ids[row]} ({values.tolist()[:2]})",
                        f"drop the unit with {self.source.option('unit_filters')} (id), or choose another "
                        f"{self.source.option('valid_time')}",
                    )
                cache[values.tobytes()] = self._merged(values[:, 0], values[:, 1], "units/obs_intervals")
            of_unit.append(cache[values.tobytes()])
        domain = of_unit[0]
        for own in cache.values():
            domain = domain.intersect(own)
        hull = Intervals.merged(
            *(np.concatenate([getattr(one, edge) for one in cache.values()]) for edge in ("start_us", "stop_us"))
        )
        cost_s = (hull.duration_us - domain.duration_us) / MICROSECONDS
        if cost_s > limit("partial_share") * hull.duration_us / MICROSECONDS:
            observed_s = np.array([own.duration_us for own in of_unit]) / MICROSECONDS
            shortest = np.argsort(observed_s, kind="stable")
            short = [
                index for index in shortest if observed_s[index] < observed_s.max() * (1 - limit("partial_share"))
            ] or shortest
            named = [f"{ids[units.rows[index]]} ({observed_s[index]:g} s)" for index in short]
            self.notes.add(
                "short_units",
                f"{domain.duration_us / MICROSECONDS:g} s of the {hull.duration_us / MICROSECONDS:g} s observed are "
                f"valid, since each time must be observed for every unit; observed least: {list_names(named)}; drop "
                f"them with {self.source.option('unit_filters')} (id) to keep the rest",
                len(short),
            )
        return domain

    def intervals_of(self, name: str, tags: tuple[str, ...]) -> Intervals:
        """Return the union of the rows of a table of intervals, of those with one of the tags if there are any."""
        file = self.file
        table = file.table(f"intervals/{name}")
        if table is None or not table.rows:
            raise SessionError(
                f"{file.path.name}: {self.source.option('valid_time')} is {name}, which it does not have; "
                f"{what_there_is(file)}; choose one of these tables{_or_whole(self.source)}"
            )
        kept = np.ones(table.rows, bool)
        if tags:
            plain = table.plain("tags")
            if plain is None and not table.is_ragged("tags"):
                raise file.fault(
                    table.inside, f"has no tags, only {table.names}", f"drop {self.source.option('valid_time')}.tags"
                )
            of_row = (
                [set(map(text, row.tolist())) for row in table.ragged("tags")]
                if plain is None
                else [set(str(one).split(",")) for one in plain]
            )
            kept = np.array([bool(set(tags) & {tag.strip() for tag in row}) for row in of_row])
            if not kept.any():
                present = sorted(set().union(*of_row))
                raise file.fault(
                    table.inside, f"has no row with the tags {list(tags)}", f"it has {list_names(present)}"
                )
        return self._union(table, kept, join=True)

    def _union(self, table: Table, kept: np.ndarray | None = None, *, join: bool = False) -> Intervals:
        """Return the union of the rows of a table; rows without both times are counted and left out."""
        start_s, stop_s = table.seconds("start_time"), table.seconds("stop_time")
        if kept is not None:
            start_s, stop_s = start_s[kept], stop_s[kept]
        name = table.inside.rsplit("/", 1)[1]
        timed = np.isfinite(start_s) & np.isfinite(stop_s)
        if not timed.all():
            lacks = "stop_time" if np.isfinite(start_s).all() else "start_time or stop_time"
            message = f"{np.count_nonzero(~timed)} of {len(timed)} {name} have no {lacks}"
            if not timed.any():
                raise SessionError(
                    f"{self.file.path.name}: {message}; choose another {self.source.option('valid_time')}"
                )
            self.notes.drop("intervals_without_times", f"{message}; they are not valid time", int((~timed).sum()))
        return self._merged(start_s[timed], stop_s[timed], table.inside, join=join)

    def _merged(self, start_s: np.ndarray, stop_s: np.ndarray, inside: str, *, join: bool = False) -> Intervals:
        start_s, stop_s = np.asarray(start_s, dtype=np.float64), np.asarray(stop_s, dtype=np.float64)
        lengths_s = stop_s - start_s
        long, backward = lengths_s > limit("longest_interval_s"), lengths_s < 0
        if (long | backward).all() and len(long):
            raise self.file.fault(
                inside,
                f"has intervals of {lengths_s.min():g} to {lengths_s.max():g} s",
                f"expected positive seconds, at most {limit('longest_interval_s'):g}: are its times in another unit?",
            )
        for code, which, what in (
            ("intervals_too_long", long, f"are longer than {limit('longest_interval_s'):g} s"),
            ("intervals_backward", backward, "stop before they start"),
        ):
            if which.any():
                self.notes.drop(
                    code, f"{which.sum()} of {len(which)} intervals of {inside} {what}; not used", int(which.sum())
                )
        start_s, stop_s = start_s[~(long | backward)], stop_s[~(long | backward)]
        try:
            merged = Intervals.merged(to_us(start_s), to_us(stop_s))
        except ValueError as error:
            raise SessionError(f"{self.file.path.name}: {inside}: {error}") from error
        pauses_us = merged.start_us[1:] - merged.stop_us[:-1]
        short = pauses_us <= limit("joined_pause_s") * MICROSECONDS
        if join and short.any():
            self.notes.add(
                "joined_pauses",
                f"{short.sum()} pauses of at most {pauses_us[short].max()} us between intervals of {inside} are closed",
                int(short.sum()),
            )
            merged = close_pauses(merged)
        return merged

    def unit_columns(self, units: "_Units") -> dict[str, np.ndarray]:
        """Return the region and all plain columns of the kept units, [unit]."""
        columns = {"region": self._regions(units)}
        probe = units.probes()
        read = ("spike_times", "obs_intervals", "electrodes", "electrode_group", self.source.region)
        others, replaced, skipped = _other_columns(units.table, read=read, reserved=("id", "region"))
        columns |= {name: values[units.rows] for name, values in others.items()}
        if probe is not None and "probe" not in columns:
            columns["probe"] = probe
        if replaced:
            self.notes.add("unit_columns_replaced", f"columns of units replaced: {list_names(replaced)}", len(replaced))
        if skipped:
            message = f"columns of units that are not single values, not kept: {list_names(skipped)}"
            self.notes.add("unit_columns_skipped", message, len(skipped))
        return columns

    def _regions(self, units: "_Units") -> np.ndarray:
        column, file = self.source.region, self.file
        if column is None:
            return np.full(len(units), "")
        named = units.table.plain(column)
        if named is not None:
            return np.array([_region(named[row]) for row in units.rows], dtype=str)
        electrodes = file.table(_ELECTRODES)
        of_electrodes, by_electrode, names = [], None, None
        if electrodes is not None:
            of_electrodes, by_electrode = electrodes.names, electrodes.plain(column)
            names = electrodes.plain("group_name")
        groups = units.groups()
        of_group = [text(one.attrs.get(column, "")) if one is not None else "" for one in groups]
        if electrodes is not None and by_electrode is not None and "electrodes" in units.table.names:
            regions = [_most_common(by_electrode[rows]) for rows in units.electrodes(electrodes)]
        elif by_electrode is not None and names is not None and any(groups):
            regions = [_most_common(by_electrode[names == _group_name(one)]) for one in groups]
        elif any(of_group) or not of_electrodes:
            regions = [""] * len(units)
        else:
            raise SessionError(
                f"{file.path.name}: {self.source.option('region')} is {column!r}, which is neither a column of the "
                f"units {units.table.names} nor one of electrodes that units point to {of_electrodes}; name one of "
                "these, or null for none"
            )
        if not any(regions) and any(map(_region, of_group)):
            regions = [_region(one) for one in of_group]
            message = f"units have the {column} of their electrode group, since no electrode has one"
            self.notes.add("regions_of_groups", message, sum(map(bool, regions)))
        if not any(regions) and not of_electrodes:
            self.notes.add(
                "no_region_column", f"neither units nor electrodes have a column {column}; no unit has a region"
            )
        return np.array(regions, dtype=str)

    def behaviour(self, name: str, inside: str, domain: Intervals) -> Series | None:
        """Return a behaviour series, None where the file has none at its place."""
        file = self.file
        try:
            found = file.find(inside)
            data, stamps = (file.find(f"{inside}/{part}") for part in ("data", "timestamps"))
        except LinkedFileGone as error:
            self.notes.add("behaviour_absent", f"no behaviour series {name}: {error}")
            return None
        if found is None:
            self.notes.add("behaviour_absent", f"no behaviour series {inside}")
            return None
        if not isinstance(found, h5py.Group) or not isinstance(data, h5py.Dataset):
            kind = text(found.attrs.get("neurodata_type", "")) or "plain dataset"
            among = sorted(found) if isinstance(found, h5py.Group) else []
            if kind.endswith("Series"):
                self.notes.add("behaviour_absent", f"behaviour series {inside} has no data")
                return None
            raise SessionError(
                f"{file.path.name}: {inside} is a {kind}, not a time series; inside are {among}; name one in "
                f"{self.source.option('behaviour')}"
            )
        if data.ndim > 2:
            raise file.fault(inside, f"has shape {data.shape}, expected [sample, channel]", "name another series")
        values = file.numbers(f"{inside}/data", data)
        values = values.reshape(-1, 1) if values.ndim <= 1 or values.size == max(values.shape) else values
        times_s = self._sample_times(inside, stamps, values)
        if len(times_s) != len(values):
            turned = ": stored [channel, sample]?" if len(times_s) in values.shape[1:] else ""
            raise file.fault(
                inside, f"has {len(values)} samples and {len(times_s)} times{turned}", "export it as [sample, channel]"
            )
        length_s, (samples, channels) = domain.duration_us / MICROSECONDS, values.shape
        if stamps is None and channels > samples and channels / samples > 10 and length_s > 0:
            raise file.fault(
                inside,
                f"has {samples} samples of {channels} channels in {length_s:g} s of valid time: it seems to be "
                "stored [channel, sample]",
                "export it as [sample, channel]",
            )
        timed = np.isfinite(times_s)
        if not timed.any():
            self.notes.add("behaviour_absent", f"behaviour series {inside} is empty")
            return None
        near = timed.copy()
        near[timed] = self._near(times_s[timed], domain, inside)
        order = np.argsort(times_s[near], kind="stable")
        if not near.all():
            self.notes.drop(
                "samples_dropped",
                f"{(~near).sum()} of {len(near)} samples of {inside} have no time near the recording; dropped",
                int((~near).sum()),
            )
        if (np.diff(order) < 0).any():
            back = int((np.diff(times_s[near]) < 0).sum())
            self.notes.add(
                "samples_unsorted", f"behaviour series {inside} had unsorted times ({back} go back); sorted", back
            )
        conversion, offset = (
            float(np.asarray(data.attrs.get(key, default)).reshape(-1)[0])
            for key, default in (("conversion", 1.0), ("offset", 0.0))
        )
        if not np.isfinite([conversion, offset]).all():
            raise file.fault(inside, f"has conversion {conversion} and offset {offset}", "export finite numbers")
        return Series(times_s[near][order], values[near][order] * conversion + offset, text(data.attrs.get("unit", "")))

    def _sample_times(self, inside: str, stamps: h5py.Dataset | None, values: np.ndarray) -> np.ndarray:
        if isinstance(stamps, h5py.Dataset):
            return self.file.seconds(f"{inside}/timestamps", stamps)
        start = self.file.find(f"{inside}/starting_time")
        if not isinstance(start, h5py.Dataset):
            raise self.file.fault(
                inside, "has neither timestamps nor a starting_time with a rate", "export one of them"
            )
        first_s = float(self.file.numbers(f"{inside}/starting_time", start).reshape(-1)[0])
        rate_hz = float(np.asarray(start.attrs.get("rate", np.nan)).reshape(-1)[0])
        if not (np.isfinite(rate_hz) and rate_hz > 0 and np.isfinite(first_s)):
            raise self.file.fault(
                inside,
                f"has a rate of {rate_hz:g} Hz from {first_s:g} s for {len(values)} samples",
                "export its timestamps, or a positive rate",
            )
        return first_s + np.arange(len(values)) / rate_hz

    def _near(self, times_s: np.ndarray, domain: Intervals, inside: str) -> np.ndarray:
        """Return which times lie within reach of the valid time.

        Raises:
            SessionError: Most do not.
        """
        first_s, last_s = domain.hull_s
        reach_s = limit("far_spans") * (last_s - first_s)
        near = (times_s > first_s - reach_s) & (times_s < last_s + reach_s)
        if np.count_nonzero(near) * 2 < len(times_s):
            raise self.file.fault(
                inside,
                f"has times from {times_s.min():g} to {times_s.max():g} s; valid time is {first_s:g} to {last_s:g} s",
                "convert them to seconds on the clock of the spikes",
            )
        return near

    def trials(self, domain: Intervals) -> dict[str, np.ndarray]:
        """Return the columns of the trials table, [trial], sorted by start."""
        table = self.file.table("intervals/trials")
        if table is None or not table.rows:
            return {}
        start_s, stop_s = table.seconds("start_time"), table.seconds("stop_time")
        timed = np.isfinite(start_s) & np.isfinite(stop_s)
        if not timed.all():
            message = f"{np.count_nonzero(~timed)} of {len(timed)} trials have no start or stop; not kept"
            self.notes.drop("trials_without_times", message, int((~timed).sum()))
        kept = np.flatnonzero(timed)
        if len(kept):
            near = self._near(start_s[kept], domain, table.inside) & (
                stop_s[kept] - start_s[kept] <= limit("longest_interval_s")
            )
            if not near.all():
                message = f"{(~near).sum()} trials start or stop far from the valid time; not kept"
                self.notes.drop("trials_far", message, int((~near).sum()))
            kept = kept[near]
        kept = kept[np.argsort(start_s[kept], kind="stable")]
        columns, replaced, skipped = _other_columns(table, read=("start_time", "stop_time"), reserved=("start", "end"))
        if skipped:
            message = f"columns of trials that are not single values were not kept: {', '.join(skipped)}"
            self.notes.add("trial_columns_skipped", message, len(skipped))
        if replaced:
            message = f"columns of trials replaced by start_time and stop_time: {', '.join(replaced)}"
            self.notes.add("trial_columns_replaced", message, len(replaced))
        of_kept = {name: values[kept] for name, values in columns.items()}
        return {**of_kept, "start": start_s[kept], "end": stop_s[kept]}

    def provenance(self) -> dict[str, str]:
        """Return texts that describe the recording."""
        return {
            "source": "nwb",
            "identifier": self.file.text("identifier"),
            "description": self.file.text("session_description"),
            "species": self.file.text("general/subject/species"),
            "valid_time": _named(self.source.valid_time),
        }


def _other_columns(
    table: Table, *, read: Sequence[str | None], reserved: Sequence[str]
) -> tuple[dict[str, np.ndarray], list[str], list[str]]:
    """Return the plain columns of a table that are not read elsewhere, [row], by name.

    Also the names of those that the record replaces by its own, and of those that are not single values.
    """
    values = {name: table.plain(name) for name in table.names if name not in read}
    plain = {name: column for name, column in values.items() if column is not None}
    replaced = [name for name in plain if name in reserved]
    skipped = [name for name in values if name not in plain]
    return {name: column for name, column in plain.items() if name not in reserved}, replaced, skipped


class _Units:
    """The units table after its filters."""

    def __init__(self, file: NwbFile, source: NwbReading) -> None:
        table = file.table("units")
        if table is None or "spike_times" not in table.names:
            elsewhere = [
                f"processing/{module}/{name}"
                for module in file.names("processing")
                for name in file.names(f"processing/{module}")
                if file.find(f"processing/{module}/{name}/spike_times") is not None
            ]
            where = f"; units lie in {elsewhere[0]}, expected in units: export them there" if elsewhere else ""
            raise SessionError(f"{file.path.name} has no units with spike_times; {what_there_is(file)}{where}")
        if not table.rows:
            raise SessionError(
                f"{file.path.name}: its units table is empty, it has columns and no row; sort the spikes"
            )
        self.file = file
        self.table = table
        kept = np.ones(table.rows, bool)
        for name, wanted in source.unit_filters.items():
            values = table.plain(name)
            if values is None:
                raise SessionError(
                    f"{file.path.name}: {source.option('unit_filters')} names {name!r}, no column of single values of "
                    f"its units; they have {table.names}"
                )
            kept &= passes(values, wanted)
        if not kept.any():
            raise SessionError(
                f"{file.path.name}: none of its {len(kept)} units passes {source.option('unit_filters')} "
                f"{ {name: _plain(wanted) for name, wanted in source.unit_filters.items()} }"
            )
        self.rows = np.flatnonzero(kept)
        self.filtered = len(kept) - len(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def ragged(self, name: str) -> list[np.ndarray]:
        """Return the values of a ragged column, one array per kept unit."""
        values = self.table.ragged(name)
        return [values[row] for row in self.rows]

    def spikes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the time in seconds and the unit of every spike of the kept units, [spike]."""
        times, inside = self.ragged("spike_times"), "units/spike_times"
        unit, times_s = np.repeat(np.arange(len(times)), [len(one) for one in times]), np.concatenate(times)
        if times_s.ndim != 1:
            raise self.file.fault(inside, f"has shape {times_s.shape}, expected one axis", "export a vector")
        return self.file.as_seconds(inside, self.file.find(inside), times_s), unit

    def ids(self, notes: Notes) -> np.ndarray:
        """Return the id of each kept unit, [unit]; ids that occur more than once get their row added."""
        ids = self.table.ids()
        if len(set(ids)) < len(ids):
            notes.add("repeated_ids", "unit ids occur more than once in the file; each got its row added", len(ids))
            ids = [f"{identity}_row-{row}" for row, identity in enumerate(ids)]
        return np.array(ids, dtype=str)[self.rows]

    def groups(self) -> list[h5py.Group | None]:
        """Return the electrode group of each kept unit; None where it has none."""
        if "electrode_group" not in self.table.names:
            electrodes = self.file.table(_ELECTRODES)
            if electrodes is None or "group" not in electrodes.names or "electrodes" not in self.table.names:
                return [None] * len(self)
            groups = electrodes.references("group")
            return [groups[rows[0]] if len(rows) else None for rows in self.electrodes(electrodes)]
        groups = self.table.references("electrode_group")
        return [groups[row] for row in self.rows]

    def probes(self) -> np.ndarray | None:
        """Return the name of the electrode group of each kept unit, [unit]; None where no unit has one."""
        groups = self.groups()
        return np.array([_group_name(one) for one in groups], dtype=str) if any(groups) else None

    def electrodes(self, table: Table) -> list[np.ndarray]:
        """Return the rows of the electrodes of each kept unit; negative rows, which mean unknown, are left out.

        Raises:
            SessionError: A row is not in the table of electrodes.
        """
        listed = self.ragged("electrodes")
        if any(one.dtype.kind not in "iuf" or (one != np.rint(one)).any() for one in listed):
            raise self.file.fault(
                "units/electrodes", f"holds {listed[0].dtype}, expected rows of the electrodes table", "export it again"
            )
        rows = [values.astype(np.int64) for values in listed]
        largest = max((int(values.max(initial=-1)) for values in rows), default=-1)
        if largest >= table.rows:
            ids = set(table.ids())
            hint = ": they are ids, not rows" if all(str(one) in ids for values in rows for one in values) else ""
            raise self.file.fault(
                "units/electrodes",
                f"names row {largest} of {table.rows} electrodes{hint}",
                "export rows, or set the region in the configuration to a column of the units or to null",
            )
        return [values[values >= 0] for values in rows]


def passes(values: np.ndarray, wanted: object) -> np.ndarray:
    """Return which values of a column pass a filter: a value, a list of values, or a range; bool [row]."""
    if isinstance(wanted, ValueRange):
        if values.dtype.kind not in "biuf":
            raise SessionError(f"a filter with a minimum or a maximum needs numbers, found {values[:3].tolist()}")
        low = -np.inf if wanted.minimum is None else wanted.minimum
        high = np.inf if wanted.maximum is None else wanted.maximum
        return (values >= low) & (values <= high)
    if isinstance(wanted, tuple | list):
        return np.any([passes(values, one) for one in wanted], axis=0)
    if values.dtype.kind in "US" or isinstance(wanted, str):
        return values.astype(str) == str(wanted)
    return values == wanted


def what_there_is(file: NwbFile) -> str:
    """Return the units' columns and the tables of intervals of a file, for errors."""
    units = file.table("units")
    shown = f"units with {units.names}" if units is not None and units.names else "no units"
    rows = dict.fromkeys(("trials", "epochs"), 0)
    for name in file.names("intervals"):
        table = file.table(f"intervals/{name}")
        rows[name] = table.rows if table is not None else 0
    return f"it has {shown}, " + ", ".join(f"{count} {name}" for name, count in rows.items())


def _or_whole(source: NwbReading) -> str:
    """Return the end of an error about valid time: the choice that every file with spikes allows."""
    return "" if source.valid_time == WHOLE else f", or {WHOLE} (from the first to the last spike)"


def _named(valid_time: str | ValidTime) -> str:
    return valid_time if isinstance(valid_time, str) else f"{valid_time.table} tagged {', '.join(valid_time.tags)}"


def _plain(wanted: object) -> object:
    return wanted.model_dump(exclude_none=True) if isinstance(wanted, ValueRange) else wanted


def _group_name(group: h5py.Group | None) -> str:
    """Return the name of a group, "" for none and for one that was deleted and is only referred to."""
    return "" if group is None else (group.name or "").rsplit("/", 1)[-1]


def _region(value: object) -> str:
    label = text(value).strip()
    return "" if label.lower() in _UNKNOWN_REGIONS else label


def _most_common(values: np.ndarray) -> str:
    regions = Counter(_region(value) for value in values.tolist())
    return regions.most_common(1)[0][0] if regions else ""
