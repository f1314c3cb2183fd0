"""A session file of the Allen release with as many spikes as a real one, made from a simulated one."""

from pathlib import Path

import h5py
import numpy as np

CHANNELS, SAMPLES = 384, 82
"""Size of a unit's waveform in the release."""


def enlarge(path: Path, *, spikes_per_unit: int, seed: int = 0) -> tuple[int, int]:
    """Give every unit of a session file many spikes with amplitudes, and a waveform on all channels.

    Returns:
        Bytes of the spike times of all units, and of those that pass the filters.
    """
    rng = np.random.default_rng(seed)
    with h5py.File(path, "r+") as file:
        units = file["units"]
        last_s = float(units["spike_times"][:].max())
        count = len(units["id"])
        index = np.arange(1, count + 1) * spikes_per_unit
        for name in ("spike_times", "spike_amplitudes"):
            made = _replaced(units, name, (count * spikes_per_unit,))
            for unit in range(count):
                values = rng.random(spikes_per_unit)
                made[index[unit] - spikes_per_unit : index[unit]] = (
                    np.sort(values) * last_s if name == "spike_times" else values
                )
            stops = _replaced(units, f"{name}_index", (count,), np.uint32)
            stops[:] = index
            stops.attrs["target"] = made.ref
        _replaced(units, "waveform_mean", (count, CHANNELS, SAMPLES))[:] = 0.0
        good = units["quality"].asstr()[:] == "good"
        for name, limit, sign in (
            ("isi_violations", 0.5, 1),
            ("amplitude_cutoff", 0.1, 1),
            ("presence_ratio", 0.95, -1),
        ):
            good &= sign * units[name][:] <= sign * limit
        return 8 * count * spikes_per_unit, 8 * int(good.sum()) * spikes_per_unit


def _replaced(group: h5py.Group, name: str, shape: tuple[int, ...], kind: type = np.float64) -> h5py.Dataset:
    attributes = dict(group[name].attrs)
    del group[name]
    made = group.create_dataset(name, shape, kind)
    for key, value in attributes.items():
        made.attrs[key] = value
    return made
