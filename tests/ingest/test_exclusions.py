"""Units that are no single neuron are found, proposed with a line to paste, and excluded."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from factories.bent_sessions import COPIED, NO_EXCLUSIONS, NOISE, SPLITS, TIMELINE, UNRELATED, session

from neurohorizon.cohort import CohortError, Row, check_excluded
from neurohorizon.config import Cohort, Exclusions, NwbSource, Splits
from neurohorizon.ingest.exclusions import exclude_units
from neurohorizon.ingest.leave_out import write_ingested
from neurohorizon.ingest.nwb import ingest_nwb
from neurohorizon.ingest.unit_checks import contamination, find_duplicates, find_refractory, propose_exclusions
from neurohorizon.ingest.validation import validate_session
from neurohorizon.ingest.validation_figure import draw_report
from neurohorizon.session import Session, SessionError, read_excluded_units, read_session

ROW = Row("bent", "nwb", "m", "", "", "heldout", "m", "")


def reasons(found: Session) -> list[tuple[str, str]]:
    return [(one.unit, one.reason) for one in propose_exclusions(found)]


def excluded(found: Session, *units: str, **settings: object) -> Session:
    return exclude_units(found, NO_EXCLUSIONS.model_copy(update={"units": units, **settings}))


def poisson(rate_hz: float, seconds: float = 4000.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0, seconds, rng.poisson(rate_hz * seconds)))


def refractory(rate_hz: float, seed: int, seconds: float = 4000.0, period_s: float = 0.002) -> np.ndarray:
    rng = np.random.default_rng(seed)
    times_s = np.cumsum(period_s + rng.exponential(1 / rate_hz - period_s, int(rate_hz * seconds)))
    return times_s[times_s < seconds]


def violations_of(times_s: np.ndarray) -> int:
    return int(np.count_nonzero(np.diff(np.sort(times_s)) < 0.0015))


# contamination


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_contamination_is_the_share_of_spikes_of_another_neuron(share):
    # Hill et al. 2011 derive the formula for spikes of two neurons in one unit
    times_s = np.concatenate([refractory(40 * (1 - share), seed=1), refractory(40 * share, seed=2)])
    counts = np.array([violations_of(times_s)]), np.array([len(times_s)])
    found = contamination(*counts, valid_s=4000.0, refractory_s=0.0015, censored_s=0.0)
    assert found[0] == pytest.approx(share, abs=0.015)


def test_contamination_is_half_where_the_formula_has_no_solution_and_zero_without_a_violation():
    times_s = poisson(30)
    options = {"valid_s": 4000.0, "refractory_s": 0.0015, "censored_s": 0.0}
    found = contamination(np.array([violations_of(times_s), 0, 0]), np.array([len(times_s), 500, 0]), **options)
    assert found.tolist() == [0.5, 0, 0]


def test_a_censored_period_leaves_less_time_for_violations():
    counts = np.array([30]), np.array([10_000])
    options = {"valid_s": 1000.0, "refractory_s": 0.0015}
    open_s = contamination(*counts, censored_s=0.0, **options)[0]
    censored = contamination(*counts, censored_s=0.0005, **options)[0]
    assert open_s < censored
    for found, length_s in ((open_s, 0.0015), (censored, 0.001)):
        assert 2 * length_s * 1e4**2 * (1 - found) * found / 1000 == pytest.approx(30)


def test_intervals_across_blocks_of_memory_count_once(monkeypatch):
    found = session(more=UNRELATED)
    whole = find_refractory(found), find_duplicates(session(more=COPIED))
    monkeypatch.setattr("neurohorizon.timeline.BLOCK", 7)
    parts = find_refractory(found), find_duplicates(session(more=COPIED))
    np.testing.assert_array_equal(parts[0].violations, whole[0].violations)
    np.testing.assert_array_equal(parts[0].contamination, whole[0].contamination)
    assert whole[0].violations.sum() > 500
    assert parts[1] == whole[1] != []


# proposals


def test_a_sound_session_has_no_proposal():
    assert reasons(session()) == []
    report = validate_session(session(), timeline=TIMELINE, splits=SPLITS)
    assert (report.proposals, report.exclude) == ((), "")


def test_each_kind_of_unit_is_proposed_with_its_value_and_threshold():
    assert reasons(session(more=NOISE))[0] == ("d", "rate")
    (rate, *_) = propose_exclusions(session(more=NOISE))
    assert rate.value == pytest.approx(107 + 8, abs=0.5)
    assert rate.threshold == 100
    contaminated = tuple((time, 3) for time in poisson(20, 120))
    (violating,) = propose_exclusions(session(more=contaminated))
    assert (violating.unit, violating.reason, violating.value) == ("d", "refractory", 0.5)
    copied = session(more=COPIED, drop=lambda times_s, unit: unit == 3)
    (twice,) = propose_exclusions(copied)
    assert (twice.unit, twice.reason, twice.value) == ("d", "duplicate", 1.0)
    assert "unit b" in twice.detail


def test_of_two_units_the_one_with_fewer_spikes_is_the_duplicate():
    half = COPIED[::2]
    assert reasons(session(more=half, drop=lambda times_s, unit: unit == 3)) == [("d", "duplicate")]
    shifted = tuple((time + 2e-4, unit) for time, unit in COPIED)
    assert reasons(session(more=shifted, drop=lambda times_s, unit: unit == 3)) == [], "0.2 ms apart"


def test_times_on_a_coarse_clock_show_no_duplicates():
    ticks_us = np.arange(0, 120_000_000, 150_000)

    def copies(units: int) -> Session:
        times_us, unit = np.repeat(ticks_us, units), np.tile(np.arange(units), len(ticks_us))
        return session(spike_times_us=times_us, spike_unit=unit)

    assert find_duplicates(copies(2)) == [(1, 0, 1.0)]
    assert find_duplicates(copies(6)) == [], "most times are those of another spike"


def test_a_session_without_any_refractory_period_has_a_finding_and_no_proposal():
    found = session(more=UNRELATED)
    assert reasons(found) == []
    codes = {one.code for one in validate_session(found, timeline=TIMELINE, splits=SPLITS).findings}
    assert "no_refractory_period" in codes
    assert "refractory_violations" not in codes


def test_slow_electrodes_with_several_neurons_each_are_not_proposed():
    bursts = tuple((time + lag, unit) for unit in range(4) for time in range(1, 60) for lag in (0.0, 0.001))
    found = find_refractory(session(more=bursts))
    assert not found.tested.any(), "at 5 to 8 Hz, unrelated spikes have too few violations to be found"
    assert np.flatnonzero(found.violating).tolist() == [0, 1, 2, 3]
    assert reasons(session(more=bursts)) == []
    assert reasons(session(more=bursts[:118])) == [("a", "refractory")]


def test_the_proposed_line_excludes_what_was_proposed(tmp_path):
    found = session(more=NOISE, units={"id": np.array(["0", "1", "02", "u-3", "4", "5"]), "region": np.full(6, "")})
    report = validate_session(found, timeline=TIMELINE, splits=SPLITS)
    values = yaml.safe_load(f"cohort:\n  {report.exclude}")["cohort"]
    assert values == {"exclude_units": {"bent": ["u-3"]}}
    rest = {
        "table": "t",
        "on_fatal": "stop",
        **dict.fromkeys(("heldout_fraction", "maximum_rate_hz", "arrays", "note")),
    }
    cohort = Cohort.model_validate_json(json.dumps({**rest, **values, "exclude_proposed": False}))
    assert exclude_units(found, cohort.exclusions("bent")).units["id"].tolist() == ["0", "1", "02", "4", "5"]
    assert cohort.exclusions("another") == NO_EXCLUSIONS
    more = excluded(found, "1", "02")
    assert validate_session(more, timeline=TIMELINE, splits=SPLITS).exclude.endswith('[1, "02", "u-3"]}')
    draw_report(tmp_path / "picture.svg", found, report)
    text = (tmp_path / "picture.svg").read_text()
    assert "proposed to be excluded: u-3 (rate: " in text
    assert 'exclude_units: {"bent": ["u-3"]}' in text


# exclusion


def test_an_excluded_unit_is_in_no_part_of_the_session_and_is_recorded():
    found = session()
    left = excluded(found, "b", "e")
    assert left.units["id"].tolist() == ["a", "c", "d", "f"]
    names, before = left.units["id"][left.spike_unit], found.units["id"][found.spike_unit]
    kept = np.isin(before, ["a", "c", "d", "f"])
    assert names.tolist() == before[kept].tolist()
    np.testing.assert_array_equal(left.spike_times_us, found.spike_times_us[kept])
    assert set(json.loads(left.provenance["excluded_units"])) == {"b", "e"}
    messages = [one.message for one in validate_session(left, timeline=TIMELINE, splits=SPLITS).findings]
    assert messages == ["units excluded by the configuration: 2; the session file has the reasons"]
    assert excluded(found) is found


def test_an_id_that_is_absent_is_refused_with_the_ids_that_there_are():
    with pytest.raises(SessionError, match=r"bent has no unit z, .* its units are a, b, c, d, e, f"):
        excluded(session(), "a", "z")
    with pytest.raises(SessionError, match="all 6 units are excluded"):
        excluded(session(), maximum_rate_hz=0.1)


def test_a_maximum_rate_and_the_proposals_exclude_by_key():
    assert excluded(session(), maximum_rate_hz=8.5).units["id"].tolist() == ["a", "b", "c", "d"]
    noisy = session(more=NOISE)
    left = excluded(noisy, proposed=True)
    assert left.units["id"].tolist() == ["a", "b", "c", "e", "f"]
    assert json.loads(left.provenance["excluded_units"])["d"].startswith("rate: 11")


def test_a_session_file_names_its_excluded_units(tmp_path):
    options = {"on_fatal": "stop", "timeline": TIMELINE, "splits": SPLITS, "row": ROW}
    write_ingested(tmp_path / "all.h5", session, exclusions=NO_EXCLUSIONS, **options)
    assert read_excluded_units(tmp_path / "all.h5") == {}
    listed = NO_EXCLUSIONS.model_copy(update={"units": ("b",), "maximum_rate_hz": 9.5})
    write_ingested(tmp_path / "some.h5", session, exclusions=listed, **options)
    assert read_session(tmp_path / "some.h5").units["id"].tolist() == ["a", "c", "d", "e"]
    assert read_excluded_units(tmp_path / "some.h5") == {
        "b": "listed in cohort.exclude_units (6.0 Hz)",
        "f": "10.0 Hz, above cohort.maximum_rate_hz",
    }
    wrong = NO_EXCLUSIONS.model_copy(update={"units": ("z",)})
    write_ingested(tmp_path / "wrong.h5", session, exclusions=wrong, **options | {"on_fatal": "leave_out"})
    assert "has no unit z" in read_session(tmp_path / "wrong.h5").left_out


def test_a_session_that_is_not_in_the_table_is_refused():
    rows = [ROW, replace(ROW, session="other")]
    check_excluded(rows, {"bent": (1,)})
    with pytest.raises(CohortError, match="'bend', which is not in the table; did you mean 'bent'"):
        check_excluded(rows, {"bend": (1,)})


def test_the_noise_unit_of_a_real_recording_is_proposed_and_excluded(recordings):
    splits = Splits(reference_fraction=0.5, reference_maximum_s=None, validation_fraction=0.2, gap_s=2.0)
    source = NwbSource(
        folder=".", valid_time="obs_intervals", region="location", behaviour={}, trials=False, unit_filters={}
    )
    row = Row("nelpy_w-maze", "nwb", "nelpy", "nelpy", "2007-01-01", "heldout", "nelpy", "")
    found = ingest_nwb(recordings / "nelpy_w-maze.nwb", row, source=source, splits=splits)
    proposed = {(one.unit, one.reason): one.value for one in propose_exclusions(found)}
    assert proposed[("19", "rate")] == pytest.approx(107.1, abs=0.1)
    assert proposed[("19", "refractory")] == 0.5
    assert proposed[("20", "duplicate")] > 0.99
    left = exclude_units(found, Exclusions(units=("19",), maximum_rate_hz=None, proposed=False))
    assert left.n_units == found.n_units - 1
    assert not {"19"} & {one.unit for one in propose_exclusions(left)}
