"""Write made recordings for the tutorials: ``mouse.nwb``, and four files of two animals in ``recordings/``.

Run it in an empty folder. It needs numpy, scipy and pynwb, and takes seconds.
"""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pynwb import NWBHDF5IO, NWBFile
from pynwb.file import Subject
from scipy.signal import lfilter

STEP_S = 0.005
REGIONS = ("CA1", "CA3")


def simulate(units: int, length_s: float, seed: int) -> list[np.ndarray]:
    """Draw sorted spike times in seconds, one array for each unit, of units that share slow changes of their rates."""
    rng = np.random.default_rng(seed)
    steps = int(length_s / STEP_S)
    shared = np.zeros((steps, 3))
    for column, seconds in enumerate((0.3, 2.0, 20.0)):  # how long each of three shared changes lasts
        keep = np.exp(-STEP_S / seconds)
        noise = rng.normal(0, np.sqrt(1 - keep**2), steps)
        shared[:, column] = lfilter([1.0], [1.0, -keep], noise)
    base_hz = rng.lognormal(np.log(3.0), 0.6, units)
    gain = rng.normal(0, (0.6, 0.6, 0.3), (units, 3))
    rate_hz = base_hz * np.exp(shared @ gain.T - (gain**2).sum(axis=1) / 2)
    fires = rng.random((steps, units)) < rate_hz * STEP_S
    return [(np.flatnonzero(one) + rng.random(one.sum())) * STEP_S for one in fires.T]


def write(path: Path, *, subject: str, units: int, length_s: float, seed: int) -> None:
    """Write one recording, observed from 0 s to its end."""
    nwb = NWBFile(
        session_description="made for a tutorial",
        identifier=f"made {seed}",
        session_start_time=datetime(2026, 1, 1 + seed, 12, tzinfo=UTC),
        subject=Subject(subject_id=subject, species="Mus musculus"),
    )
    nwb.add_unit_column("location", "region of the unit")
    regions = np.repeat(REGIONS, -(-units // len(REGIONS)))
    for unit, times_s in enumerate(simulate(units, length_s, seed)):
        nwb.add_unit(
            id=unit,
            spike_times=times_s,
            obs_intervals=[[0.0, length_s]],
            location=regions[unit],
        )
    with NWBHDF5IO(path, "w") as io:
        io.write(nwb)


if __name__ == "__main__":
    write(Path("mouse.nwb"), subject="Mia", units=20, length_s=600.0, seed=0)
    Path("recordings").mkdir(exist_ok=True)
    for seed, name in enumerate(("ada_day1", "ada_day2", "bo_day1", "bo_day2"), 1):
        subject = name.split("_")[0].title()
        write(Path(f"recordings/{name}.nwb"), subject=subject, units=10, length_s=240.0, seed=seed)
