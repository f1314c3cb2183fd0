import hashlib
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from factories import ROOT
from scipy.stats import gamma, kstest

from neurohorizon.cohort import heldout_sessions, read_cohort, training_sessions
from neurohorizon.config import SimulatedSource, Timeline, read_config
from neurohorizon.ingest.simulated.ibl import DUPLICATED_SPIKES, SILENT_SHARE, simulate_release, simulated_sessions
from neurohorizon.ingest.simulated.spiking import CELL_TYPES, IntervalLaw, interval_law

TIMELINE = Timeline(bin_ms=20, context_bins=50, horizon_bins=50, evaluation_stride_bins=25)
BIN_S = 0.02


def source(**changes) -> SimulatedSource:
    usual = {
        "labs": 2,
        "animals_per_lab": 1,
        "sessions_per_animal": 1,
        "units": (20, 30),
        "duration_s": 120.0,
        "latents": 4,
        "drift": 0.2,
        "silent_units": 2,
    }
    return SimulatedSource(**(usual | changes))


def simulate(folder: Path, *, seed: int = 0, **changes) -> Path:
    simulate_release(folder / "release", folder / "truth", simulated=source(**changes), timeline=TIMELINE, seed=seed)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Two sessions of two labs."""
    return simulate(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def long(tmp_path_factory) -> Path:
    """One session with units and time enough for statistics."""
    return simulate(tmp_path_factory.mktemp("long"), labs=1, units=(120, 120), duration_s=600.0, seed=3)


def fingerprints(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def probes(release: Path) -> list[Path]:
    return sorted(release.glob("*/Subjects/*/*/*/alf/probe*/pykilosort"))


def good_spikes(folder: Path, session) -> dict[str, np.ndarray]:
    """Spike times by unit id, read from the ALF files without the package."""
    found = {}
    for place in probes(folder / "release"):
        if session.subject not in place.parts or session.date not in place.parts:
            continue
        times, clusters = np.load(place / "spikes.times.npy"), np.load(place / "spikes.clusters.npy")
        labels = pd.read_parquet(place / "clusters.metrics.pqt")["label"]
        names = pd.read_csv(place / "clusters.uuids.csv")["uuids"]
        probe = place.parent.name
        found |= {f"{probe}:{names[c]}": times[clusters == c] for c in np.flatnonzero(labels == 1)}
    return found


def truth(folder: Path, session) -> tuple[np.ndarray, list[str], np.ndarray]:
    with h5py.File(folder / "truth" / f"{session.session}.h5") as file:
        return file["expected_counts"][:], file["unit_id"].asstr()[:].tolist(), file["cell_type"].asstr()[:]


def counted(folder: Path, session) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observed and expected counts [bin, unit], and cell types, in one unit order."""
    expected, ids, kinds = truth(folder, session)
    spikes = good_spikes(folder, session)
    edges_us = np.arange(len(expected) + 1) * 20_000
    observed = np.column_stack(
        [np.histogram(np.rint(spikes[unit] * 1e6).astype(np.int64), edges_us)[0] for unit in ids]
    )
    return observed, expected, kinds


def operational_intervals(folder: Path, session) -> dict[str, np.ndarray]:
    """Intervals of each cell type's units in the integral of the rate, pooled."""
    expected, ids, kinds = truth(folder, session)
    spikes = good_spikes(folder, session)
    integral = np.concatenate([np.zeros((1, len(ids))), np.cumsum(expected, axis=0, dtype=float)])
    edges_s = np.arange(len(integral)) * BIN_S
    pooled = {kind: [] for kind in CELL_TYPES}
    for column, (unit, kind) in enumerate(zip(ids, kinds, strict=True)):
        pooled[kind].append(np.diff(np.interp(spikes[unit], edges_s, integral[:, column])))
    return {kind: np.concatenate(intervals) for kind, intervals in pooled.items()}


def test_the_same_seed_gives_the_same_bytes_of_every_file(made, tmp_path):
    again = simulate(tmp_path)
    assert fingerprints(again) == fingerprints(made)
    assert {"sessions.pqt", "datasets.pqt"} <= {path.name for path in (again / "release").iterdir()}


def test_another_seed_gives_other_spikes(made, tmp_path):
    other = simulate(tmp_path, seed=1)
    session = simulated_sessions(source())[0]
    mine, theirs = good_spikes(made, session), good_spikes(other, session)
    assert not set(mine) & set(theirs)


def test_a_session_does_not_depend_on_the_others(made, tmp_path):
    alone = simulate(tmp_path, labs=1)
    mine = fingerprints(alone / "release" / "sim_lab_1")
    assert mine == fingerprints(made / "release" / "sim_lab_1")
    assert (alone / "truth").is_dir()


def test_a_smaller_release_leaves_nothing_of_a_larger_one(tmp_path):
    simulate(tmp_path, duration_s=30.0)
    simulate(tmp_path, duration_s=30.0, labs=1)
    assert [path.name for path in sorted((tmp_path / "release").iterdir())] == [
        "datasets.pqt",
        "sessions.pqt",
        "sim_lab_1",
    ]


def test_the_files_are_those_of_an_alf_release(made):
    place = probes(made / "release")[0]
    names = {path.name for path in place.iterdir()}
    assert {"spikes.times.npy", "spikes.clusters.npy", "spikes.amps.npy", "spikes.depths.npy"} <= names
    assert {"clusters.channels.npy", "clusters.metrics.pqt", "clusters.uuids.csv"} <= names
    assert "channels.brainLocationIds_ccf_2017.npy" in names
    times = np.load(place / "spikes.times.npy")
    assert (np.diff(times) >= 0).all()
    assert times.min() >= 0
    assert times.max() < 120
    metrics = pd.read_parquet(place / "clusters.metrics.pqt")
    assert 0 < (metrics["label"] < 1).sum() < len(metrics)
    assert len(np.load(place / "clusters.channels.npy")) == len(metrics)


@pytest.mark.parametrize("kind", CELL_TYPES)
@pytest.mark.parametrize("rate_hz", [0.5, 20.0])
def test_the_first_event_follows_the_equilibrium_law(kind, rate_hz):
    rng = np.random.default_rng(5)
    law = interval_law(kind, rate_hz=rate_hz, slowness=0.7, rng=rng)
    firsts = np.array([law.draw_first(rng) for _ in range(4000)])
    # residual life: P(first < x) = integral of the survival function, as the mean interval is 1
    grid = np.concatenate([np.linspace(0, 1, 20001), np.linspace(1, 60, 60001)[1:]])
    survival = sum(
        weight * gamma.sf(grid - dead, shape, scale=scale)
        for weight, dead, shape, scale in zip(law.weights, law.dead, law.shape, law.scale, strict=True)
    )
    cdf = np.concatenate([[0], np.cumsum((survival[1:] + survival[:-1]) / 2 * np.diff(grid))])
    assert cdf[-1] == pytest.approx(1, abs=1e-3)
    assert kstest(firsts, lambda x: np.interp(x, grid, cdf)).pvalue > 1e-3


@pytest.mark.parametrize("kind", CELL_TYPES)
def test_expected_events_in_any_span_equal_its_length(kind):
    rng = np.random.default_rng(6)
    law = interval_law(kind, rate_hz=10.0, slowness=0.5, rng=rng)
    runs = [law.events(3.0, rng) for _ in range(6000)]
    for start, stop in ((0.0, 0.2), (0.2, 1.0), (2.5, 3.0)):
        counts = np.array([((run >= start) & (run < stop)).sum() for run in runs])
        assert abs(counts.mean() - (stop - start)) < 4.5 * counts.std() / np.sqrt(len(runs))


def test_a_law_of_another_mean_is_refused():
    with pytest.raises(ValueError, match="mean 1, found 2"):
        IntervalLaw(np.array([1.0]), np.array([0.0]), np.array([1.0]), np.array([2.0]))


def test_expected_counts_add_up_to_observed_ones(long):
    session = simulated_sessions(source(labs=1))[0]
    observed, expected, kinds = counted(long, session)
    assert expected.shape == (30_000, 120)
    # long-run variance of a renewal count is its squared coefficient of variation times the mean
    spread = {kind: np.std(values) for kind, values in operational_intervals(long, session).items()}
    deviation = np.sqrt(expected.sum(axis=0)) * [spread[kind] for kind in kinds]
    z = (observed.sum(axis=0) - expected.sum(axis=0)) / np.maximum(deviation, 1)
    assert np.abs(z).max() < 5
    assert 0.6 < z.std() < 1.4
    halves = observed[:15_000].sum() - expected[:15_000].sum(dtype=float)
    assert abs(halves) < 5 * np.sqrt((deviation**2).sum())


def test_expected_counts_are_on_the_spikes_own_bins(long):
    observed, expected, _ = counted(long, simulated_sessions(source(labs=1))[0])
    rate = np.maximum(expected, 1e-6)

    def log_likelihood(shift: int) -> float:
        return float((observed[10:-10] * np.log(np.roll(rate, shift, axis=0)[10:-10])).sum())

    assert log_likelihood(0) > max(log_likelihood(-1), log_likelihood(1)) + 100


def test_intervals_show_the_cell_types(long):
    intervals = operational_intervals(long, simulated_sessions(source(labs=1))[0])
    variation = {kind: values.std() / values.mean() for kind, values in intervals.items()}
    assert 0.4 < variation["refractory"] < 0.8
    assert 0.93 < variation["poisson"] < 1.07
    assert variation["bursty"] > 1.2
    early = {kind: (values < 0.02).mean() for kind, values in intervals.items()}
    assert early["refractory"] < 0.003
    assert early["bursty"] > 4 * early["poisson"]


def test_what_a_unit_shows_alone_carries_some_of_its_tuning(long):
    _, expected, kinds = counted(long, simulated_sessions(source(labs=1))[0])
    active = expected[:300].sum(axis=0) > 0
    log_rate = np.log(expected[:, active])
    log_rate = (log_rate - log_rate.mean(axis=0)) / log_rate.std(axis=0)
    half_second = (log_rate[25:] * log_rate[:-25]).mean(axis=0)
    slow = {kind: half_second[kinds[active] == kind].mean() for kind in CELL_TYPES}
    assert slow["refractory"] + 0.03 < slow["poisson"] < slow["bursty"] - 0.03


def test_units_share_their_drive(long):
    _, expected, _ = counted(long, simulated_sessions(source(labs=1))[0])
    active = expected[:300].sum(axis=0) > 0
    log_rate = np.log(expected[:, active])
    share = np.linalg.svd(log_rate - log_rate.mean(axis=0), compute_uv=False) ** 2
    assert share[:10].sum() > 0.5 * share.sum()


def test_silent_units_are_good_and_silent_for_the_first_part(made):
    session = simulated_sessions(source())[0]
    expected, ids, _ = truth(made, session)
    silent_until = SILENT_SHARE * 120
    spikes = good_spikes(made, session)
    silent = [unit for unit in ids if not (spikes[unit] < silent_until).any()]
    assert len(silent) == 2
    columns = [ids.index(unit) for unit in silent]
    assert not expected[: round(silent_until / BIN_S), columns].any()
    assert (expected[round(silent_until / BIN_S) :, columns].sum(axis=0) > 0).all()


def test_rates_spread_as_in_recordings(long):
    observed, _, _ = counted(long, simulated_sessions(source(labs=1))[0])
    rate_hz = observed.mean(axis=0) / BIN_S
    assert 1.5 < np.median(rate_hz) < 6
    assert np.quantile(rate_hz, 0.05) < 1.2
    assert np.quantile(rate_hz, 0.95) > 6


def test_the_wheel_turns_to_the_choice_and_most_choices_are_right(long):
    alf = next((long / "release").glob("*/Subjects/*/*/*/alf"))
    trials = pd.read_parquet(alf / "_ibl_trials.table.pqt")
    times, position = np.load(alf / "_ibl_wheel.timestamps.npy"), np.load(alf / "_ibl_wheel.position.npy")
    assert (np.diff(times) > 0).all()
    first, last = (
        np.interp(trials[name] + late, times, position)
        for name, late in (("firstMovement_times", 0), ("response_times", 0.05))
    )
    assert (np.sign(last - first) == trials["choice"]).mean() > 0.95
    assert 0.6 < (trials["feedbackType"] > 0).mean() < 0.98
    assert (trials["contrastLeft"].notna() ^ trials["contrastRight"].notna()).all()
    assert (trials["intervals_0"].to_numpy()[1:] > trials["intervals_1"].to_numpy()[:-1]).all()
    assert (trials["stimOn_times"] < trials["firstMovement_times"]).all()


def test_one_session_has_spikes_written_twice(made):
    twice = [
        sum((np.diff(times) == 0).sum() for times in good_spikes(made, session).values())
        for session in simulated_sessions(source())
    ]
    assert twice == [DUPLICATED_SPIKES, 0]


def test_a_bin_that_cuts_a_step_of_the_rate_is_refused(tmp_path):
    timeline = TIMELINE.model_copy(update={"bin_ms": 25})
    with pytest.raises(ValueError, match="multiple of 10"):
        simulate_release(tmp_path / "r", tmp_path / "t", simulated=source(), timeline=timeline, seed=0)


def test_the_demo_cohort_names_what_the_simulator_makes():
    config = read_config(ROOT / "config" / "demo.yaml")
    rows = [row for row in read_cohort(ROOT / config.cohort.table) if row.source == "ibl"]
    made = simulated_sessions(config.sources.simulated)
    assert [(row.session, row.subject, row.lab, row.date, row.extras["number"]) for row in rows] == [
        (session.session, session.subject, session.lab, session.date, str(session.number)) for session in made
    ]
    held_out = {row.subject: row.lab for row in heldout_sessions(rows, "main")}
    assert sorted(held_out.values()) == sorted({session.lab for session in made})
    assert not set(held_out) & {row.subject for row in training_sessions(rows, "main")}
