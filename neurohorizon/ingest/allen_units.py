"""Units and spikes of an Allen session, straight from its NWB file.

AllenSDK makes a table of all units with their spikes, amplitudes and waveforms, several times: three times the size of
the file. Here only the columns that are kept are read, and the spikes of the units that pass the filters. The filters
are those of ``EcephysSession.units``: quality ``good``, a valid peak channel in the brain, and the three limits; a unit
whose metric is not a number fails.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from neurohorizon.cohort import Row
from neurohorizon.config import AllenSource
from neurohorizon.hdf5_storage import ForeignValuesError, require_own_values
from neurohorizon.session import SessionError

QUALITY = ("isi_violations", "amplitude_cutoff", "presence_ratio")
_OUT_OF_BRAIN = ("", "None")


@dataclass(frozen=True, eq=False)
class AllenUnits:
    """Units that are kept, in the order of their probes' names, then of their ids.

    Attributes:
        id: Number in the release, int64 [unit].
        probe: Name of the probe, [unit].
        region: Acronym of the structure of the peak channel, without its subdivision as in AllenSDK, [unit].
        quality: Metrics by name, float64 [unit].
        counts: Number of spikes, int64 [unit].
        times_s: Spike times, those of one unit after those of the other, float64 [spike].
    """

    id: np.ndarray
    probe: np.ndarray
    region: np.ndarray
    quality: dict[str, np.ndarray]
    counts: np.ndarray
    times_s: np.ndarray

    def of_probe(self, name: str) -> np.ndarray:
        """Return the spike times of a probe, a view [spike]; units of a probe follow each other."""
        edges = np.append(0, np.cumsum(self.counts))
        units = np.flatnonzero(self.probe == name)
        return self.times_s[edges[units[0]] : edges[units[-1] + 1]]


def read_units(path: Path, row: Row, *, source: AllenSource) -> AllenUnits:
    """Read the units of a session that pass the filters, and their spikes.

    Args:
        path: NWB file of the release.
        row: Row of the cohort table; ``probes``, comma-separated, restricts the probes.
        source: The section ``sources.allen`` of the configuration.

    Raises:
        SessionError: No unit passes, a probe of the cohort table has none, or the file takes values from another file.
        KeyError, OSError, ValueError: The file is not as it should be.
    """
    with h5py.File(path, "r") as file:
        try:
            require_own_values(file)  # before AllenSDK reads the file too
        except ForeignValuesError as error:
            raise SessionError(f"session {row.session}: {path.name}: {error}; refused: download it again") from None
        table, sites = file["units"], file["general/extracellular_ephys/electrodes"]
        site = _sites_of(table["peak_channel_id"][:], sites["id"][:])
        location, probe = (sites[name].asstr()[:].astype(str)[site] for name in ("location", "group_name"))
        quality = {name: np.asarray(table[name][:], np.float64) for name in QUALITY}
        good = (
            (site >= 0)
            & sites["valid_data"][:].astype(bool)[site]
            & ~np.isin(location, _OUT_OF_BRAIN)
            & (table["quality"].asstr()[:] == "good")
            & (quality["isi_violations"] <= source.isi_violations_maximum)
            & (quality["amplitude_cutoff"] <= source.amplitude_cutoff_maximum)
            & (quality["presence_ratio"] >= source.presence_ratio_minimum)
        )
        kept = _of_probes(np.flatnonzero(good), probe, row)
        ids = np.asarray(table["id"][:], np.int64)
        kept = kept[np.lexsort((ids[kept], probe[kept]))]
        counts, times_s = _read_spikes(table, kept)
    return AllenUnits(
        id=ids[kept],
        probe=probe[kept],
        region=np.array([name.split("-")[0] for name in location[kept]], dtype=str),
        quality={name: values[kept] for name, values in quality.items()},
        counts=counts,
        times_s=times_s,
    )


def _sites_of(channel: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the row of the electrodes of each unit's peak channel, -1 where there is none, [unit]."""
    rows = {int(number): row for row, number in enumerate(known)}
    return np.array([rows.get(int(number), -1) for number in channel], dtype=np.int64)


def _of_probes(kept: np.ndarray, probe: np.ndarray, row: Row) -> np.ndarray:
    """Return the units of the probes that the cohort names; of all probes where it names none."""
    if not len(kept):
        raise SessionError(
            f"session {row.session} has no unit that passes isi_violations_maximum, amplitude_cutoff_maximum and "
            "presence_ratio_minimum of sources.allen; relax them or leave the session out"
        )
    asked = row.probe_names
    found = sorted(set(probe[kept]))
    absent = [name for name in asked if name not in found]
    if absent:
        raise SessionError(
            f"session {row.session} has no good unit of {', '.join(absent)}, which the cohort table's column probes "
            f"names; probes with good units: {', '.join(found)}"
        )
    return kept[np.isin(probe[kept], asked)] if asked else kept


def _read_spikes(table: h5py.Group, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read the spikes of some units, in their order: number of each unit's, [unit], and times in seconds, [spike]."""
    stop = np.asarray(table["spike_times_index"][:], np.int64)
    start = np.append(0, stop[:-1])
    if len(stop) != len(table["id"]) or (stop < start).any() or stop[-1] > len(table["spike_times"]):
        raise ValueError("spike_times_index does not fit spike_times")
    counts = (stop - start)[kept]
    first = np.append(0, np.cumsum(counts)[:-1])
    times_s = np.empty(counts.sum(), np.float64)
    # in the order of the file, so that each of its chunks is read once
    for number in np.argsort(start[kept], kind="stable"):
        unit, count = kept[number], counts[number]
        if count:
            table["spike_times"].read_direct(
                times_s, np.s_[start[unit] : stop[unit]], np.s_[first[number] : first[number] + count]
            )
    return counts, times_s
