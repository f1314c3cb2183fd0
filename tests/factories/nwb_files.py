"""NWB files with everything that the reader reads."""

import datetime

import numpy as np
import pynwb


def spike_train(unit):
    """A ramp that speeds up, different for each unit."""
    return np.round(np.cumsum(0.05 * (unit + 1) / (1 + np.arange(300) / 100)) + 0.001 * unit, 6)


def make_file(path, *, units=4, subject="Ada", observed=True, trials=True, epochs=True, invalid=False):
    """Two probes, four units with regions on their electrodes, trials, epochs, position and wheel."""
    nwb = pynwb.NWBFile(
        session_description="made",
        identifier="made",
        session_start_time=datetime.datetime(2020, 1, 2, 12, tzinfo=datetime.UTC),
        lab="lab",
    )
    if subject:
        nwb.subject = pynwb.file.Subject(subject_id=subject, species="Mus musculus")
    device = nwb.create_device("probe")
    groups = [nwb.create_electrode_group(f"shank{i}", "shank", "brain", device) for i in range(2)]
    for electrode in range(6):
        nwb.add_electrode(
            location=["CA1", "CA1", "CA3", "DG", "DG", "unknown"][electrode], group=groups[electrode // 3]
        )
    if units:
        nwb.add_unit_column("quality", "released label")
        nwb.add_unit_column("firing_rate", "Hz")
    for unit in range(units):
        # unit 1 was lost from 4 s to 5 s; the others were seen in two pieces that touch
        seen = [[0.0, 4.0], [5.0, 12.0]] if unit == 1 else [[0.0, 6.0], [6.0, 11.0]]
        nwb.add_unit(
            id=100 + unit,
            spike_times=spike_train(unit),
            electrodes=[[0, 1, 2], [2, 2, 3], [3, 4], [5]][unit],
            electrode_group=groups[unit // 2],
            quality=["good", "noise", "good", "good"][unit],
            firing_rate=float(unit),
            **({"obs_intervals": seen} if observed else {}),
        )
    if trials:
        nwb.add_trial_column("side", "of the stimulus")
        nwb.add_trial_column("licks", "times", index=True)
        for trial in range(11, 0, -1):
            nwb.add_trial(start_time=trial + 0.1, stop_time=trial + 0.5, side="LR"[trial % 2], licks=[1.0] * trial)
    if epochs:
        nwb.add_epoch(0.0, 3.0)
        nwb.add_epoch(2.5, 10.0)
    if invalid:
        nwb.add_invalid_time_interval(1.0, 1.25)
    times_s = np.arange(100) / 8
    position = pynwb.behavior.Position()
    position.create_spatial_series(
        name="track",
        data=np.stack([np.arange(100), -np.arange(100)], axis=1),
        timestamps=times_s[::-1],
        reference_frame="corner",
        unit="m",
        conversion=0.01,
    )
    nwb.create_processing_module("behavior", "tracking").add(position)
    nwb.add_acquisition(
        pynwb.TimeSeries(name="wheel", data=np.arange(50.0), rate=10.0, starting_time=-1.0, unit="rad/s", offset=2.0)
    )
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwb)
    return path


def make_long_file(path, *, subject, length_s=120.0, units=6, day=2, observed=True, trial_s=None):
    """Write a file that has room for every window: units at 5 to 10 Hz, observed all the time.

    With ``trial_s`` there are spikes only within trials of this length, which begin every two seconds.
    """
    nwb = pynwb.NWBFile(
        session_description="made",
        identifier="made",
        session_start_time=datetime.datetime(2020, 1, day, 12, tzinfo=datetime.UTC),
        subject=subject and pynwb.file.Subject(subject_id=subject, species="Mus musculus"),
    )
    for unit in range(units):
        times_s = np.arange(0.0137 * (unit + 1), length_s, 1 / (5 + unit))
        if trial_s is not None:
            times_s = times_s[times_s % 2.0 < trial_s]
        nwb.add_unit(spike_times=times_s, **({"obs_intervals": [[0.0, length_s]]} if observed else {}))
    if trial_s is not None:
        for start_s in np.arange(0.0, length_s, 2.0):
            nwb.add_trial(start_s, start_s + trial_s)
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwb)
    return path
