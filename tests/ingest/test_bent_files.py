"""NWB files bent at random: right, a finding, or a refusal in words; never a traceback, never silence."""

import datetime
import json
import resource
import shutil

import h5py
import numpy as np
import pynwb
import pytest
from factories.bent_sessions import NO_EXCLUSIONS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurohorizon.cohort import Row
from neurohorizon.config import NwbSource, Splits, Timeline
from neurohorizon.ingest.nwb import preprocess_nwb
from neurohorizon.ingest.validation import validate_session
from neurohorizon.session import SessionError, read_session
from neurohorizon.timeline import to_us

ROW = Row("made", "nwb", "Ada", "", "", "heldout", "ada", "")
SPLITS = Splits(reference_fraction=0.5, reference_maximum_s=None, validation_fraction=0.2, gap_s=2.0)
TIMELINE = Timeline(bin_ms=20, context_bins=25, horizon_bins=25, evaluation_stride_bins=25)
LENGTH_S, UNITS = 240.0, 6
POSITION = "processing/behavior/Position/position"
SOURCE = NwbSource.model_validate_json(
    json.dumps(
        {
            "folder": ".",
            "valid_time": "obs_intervals",
            "region": "location",
            "behaviour": {"position": POSITION},
            "trials": True,
            "unit_filters": {},
        }
    )
)
SPIKES = ("units/spike_times", "units/spike_times_index")
TIMES = (
    "units/spike_times",
    "units/obs_intervals",
    "intervals/trials/start_time",
    "intervals/trials/stop_time",
    f"{POSITION}/timestamps",
)
NUMBERS = (
    *TIMES,
    "units/spike_times_index",
    "units/obs_intervals_index",
    "units/electrodes",
    "units/electrodes_index",
    "units/id",
    f"{POSITION}/data",
    "general/extracellular_ephys/electrodes/id",
)
PLACES = (
    *NUMBERS,
    "units/electrode_group",
    "intervals/epochs/start_time",
    "general/extracellular_ephys/electrodes/location",
    "general/extracellular_ephys/electrodes/group",
    "general/extracellular_ephys/electrodes/group_name",
    "general/extracellular_ephys/probe0",
    "general/extracellular_ephys/electrodes",
    "general/subject/subject_id",
    "session_start_time",
    "identifier",
    "intervals/trials",
    "intervals",
    "units",
    "general",
    POSITION,
)
READ_BY = {
    "spikes": ("units", "session_start_time", "general"),
    "trials": ("intervals", "units/obs", "session_start_time"),
    "behaviour": ("processing", "units/obs", "session_start_time"),
}
"""Parts of a file whose bending may change a part of the session."""


@pytest.fixture(scope="module")
def sound_file(tmp_path_factory):
    rng = np.random.default_rng(8)
    nwb = pynwb.NWBFile(
        session_description="made",
        identifier="made",
        session_start_time=datetime.datetime(2024, 3, 5, tzinfo=datetime.UTC),
    )
    nwb.subject = pynwb.file.Subject(subject_id="Ada", species="Mus musculus")
    device = nwb.create_device("probe")
    groups = [nwb.create_electrode_group(f"probe{i}", "shank", "hippocampus", device) for i in range(2)]
    for unit in range(UNITS):
        nwb.add_electrode(location=f"CA{unit // 2}", group=groups[unit // 3])
    for unit in range(UNITS):
        times = np.round(np.sort(rng.uniform(0.01, LENGTH_S, rng.poisson(5 * LENGTH_S))), 6)
        nwb.add_unit(
            id=unit,
            spike_times=times,
            obs_intervals=np.array([(0.0, LENGTH_S)]),
            electrodes=[unit],
            electrode_group=groups[unit // 3],
        )
    for trial in range(60):
        nwb.add_trial(start_time=4.0 * trial, stop_time=4.0 * trial + 2)
    nwb.add_epoch(0.0, 100.0, ["run"])
    times_s = np.arange(int(LENGTH_S * 30)) / 30
    position = pynwb.behavior.Position()
    position.create_spatial_series(
        name="position", data=np.stack([times_s, -times_s], axis=1), timestamps=times_s, reference_frame="corner"
    )
    nwb.create_processing_module("behavior", "tracking").add(position)
    path = tmp_path_factory.mktemp("sound") / "made.nwb"
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwb)
    return path


def put(file, place, values, **options):
    """Replace a dataset; its attributes and the index that points to it are kept."""
    kept = dict(file[place].attrs)
    del file[place]
    made = file.create_dataset(place, data=values, **options)
    for key, value in kept.items():
        made.attrs[key] = value
    if f"{place}_index" in file:
        file[f"{place}_index"].attrs["target"] = made.ref


def flip(file, place, at, bit):
    values = file[place][()]
    raw = bytearray(values.tobytes())
    raw[at % len(raw)] ^= 1 << bit
    file[place][...] = np.frombuffer(bytes(raw), values.dtype).reshape(values.shape)


def one(file, place, at, value):
    values = file[place][()]
    with np.errstate(invalid="ignore"):
        values.reshape(-1)[at % values.size] = np.asarray(value).astype(values.dtype)
    file[place][...] = values


def cast(file, place, kind):
    values = file[place][()]
    with np.errstate(invalid="ignore", over="ignore"):
        if kind == "text":
            put(file, place, values.astype(str).astype(object), dtype=h5py.string_dtype())
        elif kind == "reference":
            made = np.full(values.shape, file["units"].ref, dtype=h5py.ref_dtype)
            put(file, place, made, dtype=h5py.ref_dtype)
        else:
            put(file, place, values.astype(kind))


SHAPES = {
    "transposed": lambda values: values.T,
    "column": lambda values: values.reshape(-1, 1),
    "row": lambda values: values.reshape(1, -1),
    "cube": lambda values: values.reshape(*values.shape, 1, 1),
    "scalar": lambda values: values.reshape(-1)[0],
    "short": lambda values: values[:-1],
    "long": lambda values: np.concatenate([values, values[-1:]]),
    "empty": lambda values: values[:0],
    "turned": lambda values: values[::-1],
}
INDICES = {
    "counts": lambda stops: np.diff(stops.astype(np.int64), prepend=0),
    "wrapped": lambda stops: stops.astype(np.uint8),
    "decreasing": lambda stops: stops[::-1],
    "too short": lambda stops: stops[:-1],
    "starts": lambda stops: np.append(0, stops[:-1]),
    "negative": lambda stops: -stops.astype(np.int64),
    "float": lambda stops: stops.astype(float),
}


def link(file, place, kind):
    del file[place]
    targets = {
        "soft": h5py.SoftLink("/nowhere"),
        "loop": h5py.SoftLink(f"/{place}"),
        "absent": h5py.ExternalLink("absent.nwb", "/units"),
        "outside": h5py.ExternalLink("../../etc/passwd", "/units"),
    }
    file[place] = targets[kind]


def delete_attribute(file, place, at):
    names = sorted(file[place].attrs)
    if names:
        del file[place].attrs[names[at % len(names)]]


def swap(file, places):
    first, second = (file[place][()] for place in places)
    put(file, places[0], second)
    put(file, places[1], first)


number = st.integers(0, 100_000)
scales = st.sampled_from([1e-3, 60.0, 1e3, 3e4, 1e6, 1e9, -1.0])
huge = st.sampled_from([1e7, 1e8, 1e12, 1e18, 1e300, np.nan, np.inf, -np.inf, -1e9])
BENDS = {
    "flip": (flip, NUMBERS, (number, st.integers(0, 7))),
    "one": (one, NUMBERS, (number, huge)),
    "cast": (cast, NUMBERS, (st.sampled_from(["f4", "i4", "S8", "text", "reference", "u1", "c16"]),)),
    "scale": (lambda file, place, by: put(file, place, file[place][()] * by), TIMES, (scales,)),
    "shift": (lambda file, place, by: put(file, place, file[place][()] + by), TIMES, (scales,)),
    "shape": (
        lambda file, place, how: put(file, place, SHAPES[how](file[place][()])),
        NUMBERS,
        (st.sampled_from(sorted(SHAPES)),),
    ),
    "index": (
        lambda file, place, how: put(file, place, INDICES[how](file[place][()])),
        tuple(f"units/{name}_index" for name in ("spike_times", "obs_intervals", "electrodes")),
        (st.sampled_from(sorted(INDICES)),),
    ),
    "delete": (lambda file, place: file.__delitem__(place), PLACES, ()),
    "attribute": (delete_attribute, PLACES, (number,)),
    "link": (link, PLACES, (st.sampled_from(["soft", "loop", "absent", "outside"]),)),
    "ids": (lambda file, place: file[place].__setitem__(..., 3), ("units/id",), ()),
}
bends = st.sampled_from(sorted(BENDS)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(BENDS[name][1]), *BENDS[name][2])
)


def outcome(path, on_fatal="stop"):
    """Return the session and the codes of its findings, or the text of its refusal."""
    output = path.with_suffix(".h5")
    output.unlink(missing_ok=True)
    try:
        preprocess_nwb(
            recordings=[path],
            row=ROW,
            nwb=SOURCE,
            timeline=TIMELINE,
            splits=SPLITS,
            exclusions=NO_EXCLUSIONS,
            on_fatal=on_fatal,
            output=output,
        )
    except SessionError as error:
        return None, str(error)
    session = read_session(output)
    return session, {found.code for found in validate_session(session, timeline=TIMELINE, splits=SPLITS).findings}


def same_part(part, session, sound):
    if part == "spikes":
        return (
            np.array_equal(session.spike_times_us, sound.spike_times_us)
            and np.array_equal(session.spike_unit, sound.spike_unit)
            and session.units["id"].tolist() == sound.units["id"].tolist()
            and session.units["region"].tolist() == sound.units["region"].tolist()
        )
    if part == "trials":
        return all(np.array_equal(session.trials[name], sound.trials[name]) for name in ("start", "end"))
    series, right = session.behaviour.get("position"), sound.behaviour["position"]
    return (
        series is not None
        and np.array_equal(series.times_s, right.times_s)
        and np.array_equal(series.values, right.values)
    )


def assert_refused_in_words(text):
    assert "made" in text
    assert text.count("\n") < 3
    assert "cannot be read: " not in text or "please report it" not in text, text


def assert_right_or_named(path, sound, bent):
    """Assert that what was not bent is right, and that no spike is lost in silence."""
    session, found = outcome(path)
    if session is None:
        assert_refused_in_words(found)
        left_out, _ = outcome(path, "leave_out")
        assert left_out.left_out == found
        return
    for part, places in READ_BY.items():
        if not any(place.startswith(places) or places[0].startswith(place) for place in bent):
            assert same_part(part, session, sound), f"{part} changed"
    with h5py.File(path) as file:
        times_s = np.asarray(file["units/spike_times"][()], dtype=np.float64).reshape(-1)
    dropped = len(times_s) - len(session.spike_times_us)
    counted = sum(session.repairs.get(code, 0) for code in ("not_finite", "outside_domain"))
    assert dropped == counted
    assert not dropped or found & {"not_finite", "outside_domain"}
    kept = np.sort(to_us(times_s[np.isfinite(times_s) & (np.abs(times_s) < 1e6)]))
    assert np.isin(session.spike_times_us, kept).all()


@pytest.fixture(scope="module")
def sound(sound_file):
    session, found = outcome(sound_file)
    assert found == set()
    return session


@pytest.mark.slow
@settings(
    max_examples=200,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(bending=st.lists(bends, min_size=1, max_size=2))
def test_a_bent_file_is_right_or_named(bending, sound_file, sound, tmp_path):
    path = tmp_path / "made.nwb"
    shutil.copyfile(sound_file, path)
    bent = []
    with h5py.File(path, "a") as file:
        for name, place, *values in bending:
            try:
                BENDS[name][0](file, place, *values)
            except (KeyError, ValueError, TypeError, IndexError, AttributeError):
                continue  # an earlier bend took the place away, or the values do not allow this one
            finally:
                bent.append(place)
    assert_right_or_named(path, sound, bent)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.99])
def test_a_truncated_file_is_refused_by_name(share, sound_file, tmp_path):
    path = tmp_path / "made.nwb"
    path.write_bytes(sound_file.read_bytes()[: int(sound_file.stat().st_size * share)])
    session, refusal = outcome(path)
    assert session is None
    assert_refused_in_words(refusal)


SPIKE_TIMES = "units/spike_times"
GROSS = {
    **{f"scaled by {by:g}": ("scale", SPIKE_TIMES, by) for by in (1e-3, 60.0, 1e3, 3e4, 1e6, 1e9)},
    **{f"index of {how}": ("index", "units/spike_times_index", how) for how in INDICES},
    "shifted far": ("shift", SPIKE_TIMES, 1e6),
    "integers": ("cast", SPIKE_TIMES, "i4"),
    "repeated ids": ("ids", "units/id"),
}


@pytest.mark.parametrize("name", GROSS)
def test_spikes_bent_as_a_whole_are_never_read_in_silence(name, sound_file, sound, tmp_path):
    path = tmp_path / "made.nwb"
    shutil.copyfile(sound_file, path)
    bend, place, *values = GROSS[name]
    with h5py.File(path, "a") as file:
        BENDS[bend][0](file, place, *values)
    session, found = outcome(path)
    if session is None:
        assert_refused_in_words(found)
    else:
        assert found or same_part("spikes", session, sound)


@pytest.mark.slow
@pytest.mark.parametrize("place", TIMES)
def test_one_huge_number_does_not_fill_the_memory(place, sound_file, tmp_path):
    path = tmp_path / "made.nwb"
    for value in (1e8, 1e12, 1e300, np.inf):
        shutil.copyfile(sound_file, path)
        with h5py.File(path, "a") as file:
            one(file, place, -1, value)
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        session, found = outcome(path)
        assert found
        if session is None:
            assert_refused_in_words(found)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 500 * 1024
