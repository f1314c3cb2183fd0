"""Arrays of the IBL's public archive of the Brain-Wide Map: spikes of a probe, wheel of a session.

An array is one frame of Blosc (Zstandard, bytes shuffled); its type and shape are in the ``meta.json`` next to it. The
format is read from the publisher's code (``int-brain-lab/ibl-ai-agent``: ``bwm_ephys``, ``bwm_behavior_compression``).

A reader raises ValueError, with what was found and expected, for all that differs from this format.
"""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numcodecs import Blosc

TIME_ENCODING, CLUSTER_ENCODING = "delta_int_ticks", "dense_local_indices"
SPIKE_ARRAYS = ("spike_times_delta_ticks", "spike_clusters", "cluster_ids", "cluster_spike_counts")
"""Arrays of a probe, each in the file ``{name}.blosc``."""
WHEEL_FORMATS = ("ibl_ai_agent_behavior_session_shard_v2", "ibl_agent_behavior_session_shard_v2")


@dataclass(frozen=True)
class ProbeSpikes:
    """Spikes of the good clusters of a probe.

    Attributes:
        times_s: float64 [spike], sorted.
        row: Row of ``clusters`` of each spike, [spike].
        clusters: Numbers of the clusters, [cluster], rising.
    """

    times_s: np.ndarray
    row: np.ndarray
    clusters: np.ndarray


def decode_array(payload: bytes, spec: Mapping[str, Any]) -> np.ndarray:
    """Return an array from its compressed bytes and its description.

    Args:
        payload: One frame of Blosc.
        spec: Its ``dtype`` and ``shape``.

    Raises:
        ValueError: The bytes are no such array.
    """
    kind, shape = np.dtype(spec["dtype"]), tuple(spec["shape"])
    if kind.kind not in "iuf":
        raise ValueError(f"an array of {kind}; expected numbers")
    if not (size := int(np.prod(shape)) * kind.itemsize):
        return np.zeros(shape, kind)
    try:
        raw = Blosc().decode(payload)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{len(payload)} bytes are no array that Blosc can read ({error})") from None
    if len(raw) != size:
        raise ValueError(f"{len(raw)} bytes; expected {size}, {shape} of {kind}")
    return np.frombuffer(raw, kind).reshape(shape)


def decode_spikes(meta: bytes, read: Callable[[str], bytes]) -> ProbeSpikes:
    """Return the spikes of a probe.

    A time is the first spike's plus a whole number of ticks of 100 us, so it is within half a tick of the original.

    Args:
        meta: Content of ``meta.json``.
        read: Returns the content of a file next to it.

    Raises:
        ValueError: The files are of another format, or do not fit together.
    """
    described = json.loads(meta)
    for name, expected in (("time_encoding", TIME_ENCODING), ("cluster_encoding", CLUSTER_ENCODING)):
        if described.get(name) != expected:
            raise ValueError(f"{name} is {described.get(name)!r}; expected {expected!r}")
    specs = described["arrays"]
    deltas, row, clusters, counts = (decode_array(read(specs[name]["entry"]), specs[name]) for name in SPIKE_ARRAYS)
    if not len(deltas) == len(row) == described["n_spikes"]:
        raise ValueError(f"{len(deltas)} times and {len(row)} clusters of {described['n_spikes']} spikes")
    if (np.diff(clusters) <= 0).any():
        raise ValueError("numbers of clusters do not rise")
    if len(row) and not 0 <= row.min() <= row.max() < len(clusters):
        raise ValueError(f"spikes of clusters {row.min()} to {row.max()}; expected 0 to {len(clusters) - 1}")
    if not np.array_equal(np.bincount(row, minlength=len(clusters)), counts):
        raise ValueError("the listed numbers of spikes of the clusters are not those of the spikes")
    tick_s = described["time_quantization_us"] / 1e6
    # the exact time of the first spike; rounded to a tick it would add a second error of half a tick to all
    first_s = described.get("time_origin_seconds", described.get("time_origin_ticks", 0) * tick_s)
    return ProbeSpikes(first_s + np.cumsum(deltas, dtype=np.int64) * tick_s, row, clusters)


def decode_wheel(shard: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """Return times in seconds and positions in radians of a session's wheel, [sample]; None if it has no wheel.

    Version 2.0.0 has positions every 10 ms, to 0.001 rad, at times to 1 ms.

    Args:
        shard: Content of ``sessions/{eid}.zip``.

    Raises:
        ValueError: The file is of another format.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(shard)) as packed:
            meta = json.loads(packed.read("meta.json"))
            if meta.get("format") not in WHEEL_FORMATS:
                raise ValueError(f"format {meta.get('format')!r}; expected {WHEEL_FORMATS[0]!r}")
            if not meta.get("wheel", {}).get("present"):
                return None
            arrays = meta["arrays"]
            times_s = _decode_signal(arrays["wheel.timestamps"], packed.read)
            position = _decode_signal(arrays["wheel.position"], packed.read)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    if times_s.shape != position.shape:
        raise ValueError(f"{len(times_s)} wheel times and {len(position)} positions")
    return times_s, position


def _decode_signal(spec: Mapping[str, Any], read: Callable[[str], bytes]) -> np.ndarray:
    """Return a signal, float64 [sample]; NaN where it has no value."""
    encoding = spec.get("encoding", {"kind": "raw_blosc"})
    kind = encoding["kind"]
    if kind == "raw_blosc":
        return decode_array(read(spec["entry"]), spec).astype(np.float64)
    if kind == "timestamp_fixed_rate":
        return encoding["start"] + np.arange(encoding["count"]) / encoding["rate_hz"]
    if kind == "timestamp_delta_ticks":
        # despite the name, ticks since the first sample
        ticks = decode_array(read(encoding["ticks_entry"]), encoding["ticks_spec"])
        return encoding["start"] + ticks * encoding["tick_s"]
    if kind == "scaled_numeric":
        steps = decode_array(read(encoding["entry"]), encoding["payload_spec"])
        return np.where(steps == np.iinfo(steps.dtype).min, np.nan, steps * float(encoding["precision"]))
    raise ValueError(f"a signal encoded as {kind!r}, which is not known")
