"""NWB files of one recording, with as much or as little as a laboratory writes."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pynwb

LENGTH_S = 80.0


def spike_trains(n_units: int = 6, *, length_s: float = LENGTH_S, seed: int = 0) -> list[np.ndarray]:
    """Draw spike times in seconds: unit n fires at 3 + n Hz on average, and all units share a rhythm."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(0.0, length_s, 0.002)
    rhythm = 1 + 0.9 * np.sin(2 * np.pi * time_s / 1.7)
    return [time_s[rng.random(time_s.size) < 0.002 * (3 + unit) * rhythm] + 1e-4 * unit for unit in range(n_units)]


def write_recording(
    path: Path,
    trains: Sequence[np.ndarray],
    *,
    subject: str = "Ada",
    observed: Sequence[Sequence[Sequence[float]]] | None = None,
    trials: Sequence[tuple[float, float]] = (),
    epochs: Sequence[tuple[float, float]] = (),
    invalid: Sequence[tuple[float, float]] = (),
    regions: Sequence[str] = (),
    region_column: str = "location",
    columns: Mapping[str, Sequence] = {},
    raw: np.ndarray | None = None,
) -> Path:
    """Write a file; unit n has the id 10 + n, and ``observed[n]`` are the intervals in which it was observed.

    ``columns`` are further columns of units by name, [unit].
    ``raw`` are voltages of one electrode, [time, 1].
    """
    nwb = pynwb.NWBFile(
        session_description="made",
        identifier="made",
        session_start_time=datetime.datetime(2020, 1, 2, 12, tzinfo=datetime.UTC),
    )
    if subject:
        nwb.subject = pynwb.file.Subject(subject_id=subject, species="Mus musculus")
    if regions:
        nwb.add_unit_column(region_column, "region")
    for name in columns:
        nwb.add_unit_column(name, "made")
    for unit, times_s in enumerate(trains):
        values: dict = {name: column[unit] for name, column in columns.items()}
        if regions:
            values[region_column] = regions[unit]
        if observed is not None:
            values["obs_intervals"] = observed[unit]
        nwb.add_unit(id=10 + unit, spike_times=times_s, **values)
    if raw is not None:
        group = nwb.create_electrode_group("shank", "shank", "CA1", nwb.create_device("probe"))
        nwb.add_electrode(location="CA1", group=group)
        electrodes = nwb.create_electrode_table_region([0], "all")
        nwb.add_acquisition(pynwb.ecephys.ElectricalSeries(name="raw", data=raw, electrodes=electrodes, rate=30000.0))
    for start_s, stop_s in trials:
        nwb.add_trial(start_time=start_s, stop_time=stop_s)
    for start_s, stop_s in epochs:
        nwb.add_epoch(start_s, stop_s)
    for start_s, stop_s in invalid:
        nwb.add_invalid_time_interval(start_s, stop_s)
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwb)
    return path
