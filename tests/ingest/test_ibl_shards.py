"""Arrays of the IBL's public archive: exact to their resolution, and refused where they do not fit together."""

import json

import numpy as np
import pytest
from factories.ibl_archive import compress, write_behaviour_shard
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import Blosc

from neurohorizon.ingest.ibl_shards import decode_array, decode_spikes, decode_wheel

TIMES_S = np.array([3.00004, 3.00004, 3.5, 3.50016, 12.0])
ROW = np.array([1, 0, 1, 1, 0], np.int32)


def shard(times_s=TIMES_S, row=ROW, clusters=(4, 9), kind=np.uint32, **changes) -> tuple[bytes, dict[str, bytes]]:
    """Return ``meta.json`` and the files next to it."""
    deltas = np.diff(np.rint((times_s - times_s[0]) * 1e4).astype(np.int64), prepend=0).astype(kind)
    arrays = {
        "spike_times_delta_ticks": deltas,
        "spike_clusters": row,
        "cluster_ids": np.array(clusters, np.int32),
        "cluster_spike_counts": np.bincount(row, minlength=len(clusters)).astype(np.int32),
    } | {name: changes.pop(name) for name in tuple(changes) if name.startswith(("spike_", "cluster_ids", "cluster_sp"))}
    files, specs = {}, {}
    for name, values in arrays.items():
        files[f"{name}.blosc"], spec = compress(values)
        specs[name] = spec | {"entry": f"{name}.blosc"}
    meta = {
        "n_spikes": len(times_s),
        "time_encoding": "delta_int_ticks",
        "time_quantization_us": 100,
        "cluster_encoding": "dense_local_indices",
        "time_origin_seconds": float(times_s[0]),
        "time_origin_ticks": int(np.rint(times_s[0] * 1e4)),
        "arrays": specs,
    }
    return json.dumps(meta | changes).encode(), files


def decode(made: tuple[bytes, dict[str, bytes]]):
    return decode_spikes(made[0], made[1].__getitem__)


def test_spikes_are_within_half_a_tick():
    found = decode(shard())
    assert np.abs(found.times_s - TIMES_S).max() <= 50e-6 + 1e-12
    assert found.row.tolist() == ROW.tolist()
    assert found.clusters.tolist() == [4, 9]


@given(st.lists(st.floats(0.0, 9000.0), min_size=1, max_size=200), st.sampled_from([np.uint32, np.int64]))
def test_any_spikes_are_within_half_a_tick(times, kind):
    times_s = np.sort(np.array(times))
    found = decode(shard(times_s, np.zeros(len(times_s), np.int32), (0,), kind))
    assert np.abs(found.times_s - times_s).max() <= 50e-6 + 1e-9


def test_sums_of_small_deltas_are_not_small():
    times_s = np.arange(0.0, 20.0, 0.5)
    found = decode(shard(times_s, np.zeros(len(times_s), np.int32), (0,), np.uint16))
    np.testing.assert_allclose(found.times_s, times_s, atol=1e-9)


def test_without_the_exact_first_time_the_rounded_one_is_used():
    meta, files = shard()
    described = json.loads(meta)
    del described["time_origin_seconds"]
    found = decode_spikes(json.dumps(described).encode(), files.__getitem__)
    assert found.times_s[0] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time_encoding": "int_ticks"}, "time_encoding is 'int_ticks'; expected 'delta_int_ticks'"),
        ({"cluster_encoding": "raw"}, "cluster_encoding is 'raw'"),
        ({"n_spikes": 6}, "5 times and 5 clusters of 6 spikes"),
        ({"cluster_ids": np.array([9, 4], np.int32)}, "do not rise"),
        ({"cluster_ids": np.array([4], np.int32)}, r"spikes of clusters 0 to 1; expected 0 to 0"),
        ({"cluster_spike_counts": np.array([3, 2], np.int32)}, "the listed numbers of spikes"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        decode(shard(**changes))


def test_bytes_that_are_no_array_are_refused():
    payload, spec = compress(np.arange(1000))
    np.testing.assert_array_equal(decode_array(payload, spec), np.arange(1000))
    with pytest.raises(ValueError, match="no array that Blosc can read"):
        decode_array(payload[:100], spec)
    with pytest.raises(ValueError, match=r"8000 bytes; expected 8008, \(1001,\) of int64"):
        decode_array(payload, spec | {"shape": [1001]})
    with pytest.raises(ValueError, match="expected numbers"):
        decode_array(payload, spec | {"dtype": "|O"})


def test_an_array_is_one_frame_that_every_blosc_of_version_1_reads():
    payload, _ = compress(np.arange(1000, dtype=np.uint16))
    assert payload[0] == 2, "the version of the format"
    assert payload[2] & 1, "bytes are shuffled"
    assert payload[2] >> 5 == 4, "Zstandard"
    assert payload[3] == 2, "bytes of an element"
    assert Blosc().decode(payload) == np.arange(1000, dtype=np.uint16).tobytes()


def test_an_empty_array_is_empty():
    payload, spec = compress(np.zeros((0, 3)))
    assert decode_array(payload, spec).shape == (0, 3)


def test_a_wheel_is_exact_to_its_steps(tmp_path):
    times_s = 7.123456 + np.arange(500) / 100
    position = np.cumsum(np.random.default_rng(1).standard_normal(500))
    position[7] = np.nan
    write_behaviour_shard(tmp_path / "s.zip", {"wheel.timestamps": times_s, "wheel.position": position}, eid="e")
    found_s, found = decode_wheel((tmp_path / "s.zip").read_bytes())
    np.testing.assert_allclose(found_s, times_s, atol=0.0005)
    np.testing.assert_allclose(found, position, atol=0.0005 + 1e-12)


def test_a_session_without_a_wheel_has_none(tmp_path):
    write_behaviour_shard(tmp_path / "s.zip", {}, eid="e")
    assert decode_wheel((tmp_path / "s.zip").read_bytes()) is None


def test_other_bytes_are_no_wheel(tmp_path):
    with pytest.raises(ValueError, match="BadZipFile"):
        decode_wheel(b"other")
    import zipfile

    with zipfile.ZipFile(tmp_path / "s.zip", "w") as packed:
        packed.writestr("meta.json", json.dumps({"format": "ibl_ai_agent_behavior_session_shard_v3"}))
    with pytest.raises(ValueError, match="shard_v3'; expected 'ibl_ai_agent_behavior_session_shard_v2'"):
        decode_wheel((tmp_path / "s.zip").read_bytes())
