"""What validation finds: each fault, made on purpose in a clean session, and nothing else."""

import dataclasses
import json

import matplotlib
import numpy as np
import pytest
from factories import bent_sessions
from factories.bent_sessions import SPLITS, TIMELINE

from neurohorizon.cohort import Row
from neurohorizon.config import NwbSource, Splits, Timeline
from neurohorizon.ingest.findings import Finding, encode_findings
from neurohorizon.ingest.nwb import ingest_nwb
from neurohorizon.ingest.validation import (
    count_windows,
    require_usable,
    validate_session,
    write_report,
)
from neurohorizon.ingest.validation_figure import draw_report
from neurohorizon.session import Series, SessionError, left_out_session, write_session
from neurohorizon.timeline import Intervals, to_s, to_us

LEFT_OUT = left_out_session(
    session_id="x", source="nwb", subject="m", lab="$\\frac$", date="2020-01-02", reason="its file is cut short"
)


def seconds(*edges):
    edges = np.array(edges, dtype=float).reshape(-1, 2)
    return Intervals(to_us(edges[:, 0]), to_us(edges[:, 1]))


def clean(domain=None, **changes):
    """Six units at 5 to 10 Hz, without a fault; ``drop(times_s, unit)`` gives the spikes to leave out."""
    if domain is not None:
        changes["valid_s"] = to_s(np.stack([domain.start_us, domain.stop_us], axis=1))
    return bent_sessions.session(**changes)


def found(session, timeline=TIMELINE):
    report = validate_session(session, timeline=timeline, splits=SPLITS)
    return {finding.code: finding for finding in report.findings}


def test_a_clean_session_has_no_findings():
    report = validate_session(clean(), timeline=TIMELINE, splits=SPLITS)
    assert report.findings == ()
    assert report.summary["spikes"] == len(clean().spike_times_us)
    assert report.summary["reference_s"] == 60
    assert report.summary["test_s"] == 58
    require_usable(clean(), timeline=TIMELINE, splits=SPLITS)


def test_windows_are_counted_where_they_fit():
    # 2 s windows every 0.5 s: 3.49 s has room for origins at 0, .5 and 1 s; 1.99 s for none
    assert count_windows(seconds(0, 3.49, 10, 11.99, 20, 22), TIMELINE) == 3 + 0 + 1
    assert count_windows(Intervals.empty(), TIMELINE) == 0


def test_silent_units_are_told_from_those_silent_in_a_part():
    def drop(times_s, unit):
        return (unit == 2) | ((unit == 4) & (times_s < 61)) | ((unit == 5) & (times_s > 55))

    findings = found(clean(drop=drop))
    assert set(findings) == {"empty_units", "silent_in_reference", "silent_in_test", "one_sided_units"}
    assert findings["empty_units"].message == "1 of 6 units never fire in valid time: c"
    assert findings["silent_in_reference"].message.endswith(": e")
    assert findings["silent_in_test"].message.endswith(": f")
    assert findings["one_sided_units"].message.endswith(": e, f")


def test_an_implausible_rate_is_a_warning():
    burst = np.arange(0.003, 119.9, 1 / 107)
    times_us = np.concatenate([clean().spike_times_us, to_us(burst)])
    unit = np.concatenate([clean().spike_unit, np.full(len(burst), 3)])
    order = np.argsort(times_us, kind="stable")
    findings = found(clean(spike_times_us=times_us[order], spike_unit=unit[order]))
    assert set(findings) == {"implausible_rate"}
    assert findings["implausible_rate"].severity == "warning"
    assert findings["implausible_rate"].message.endswith(": d")


def test_pauses_of_the_recording_are_gaps_not_silence():
    findings = found(clean(domain=seconds(0, 50, 57.5, 100, 101, 120)))
    assert set(findings) == {"gaps"}
    assert findings["gaps"].count == 2
    assert "pauses last 1 to 7.5 s" in findings["gaps"].message


def test_a_silence_of_all_units_within_valid_time_is_found():
    findings = found(clean(drop=lambda times_s, unit: (times_s > 31) & (times_s < 34.5)))
    assert set(findings) == {"silence"}
    assert findings["silence"].count == 1
    assert "from 30.9" in findings["silence"].message
    assert "to 34.5" in findings["silence"].message
    one_is_silent = clean(drop=lambda times_s, unit: (times_s > 31) & (times_s < 34.5) & (unit != 1))
    assert "silence" not in found(one_is_silent)


def test_a_few_quiet_neurons_may_fall_silent_together():
    # 0.5 spikes/s in all: 8 s without one is nothing odd, as 2.5 s are not of 45 spikes/s above
    sparse = np.arange(0.5, 120, 2)
    times_s = sparse[(sparse < 31) | (sparse > 37)]
    assert "silence" not in found(clean(spike_times_us=to_us(times_s), spike_unit=np.arange(len(times_s)) % 6))


def test_a_recording_that_dies_before_its_end_is_found():
    findings = found(clean(drop=lambda times_s, unit: times_s > 115))
    assert set(findings) == {"silence"}
    assert "to 120.000 s" in findings["silence"].message


def test_a_jump_of_the_behaviour_clock_is_found():
    times_s = np.arange(0, 120, 0.1)
    times_s = times_s + np.where(times_s > 40, 1.7, 0)
    findings = found(clean(behaviour={"wheel": Series(times_s, times_s, "rad/s")}))
    assert set(findings) == {"behaviour_pause"}
    assert "1.8 s, the first after 40.0" in findings["behaviour_pause"].message


def test_a_pause_of_behaviour_matters_only_within_valid_time():
    domain, times_s = seconds(0, 50, 60, 120), np.arange(0, 120, 0.1)
    for first_s, matters in ((51, False), (48, True)):
        kept = times_s[(times_s < first_s) | (times_s > 59)]
        findings = found(clean(domain=domain, behaviour={"wheel": Series(kept, kept, "rad/s")}))
        assert ("behaviour_pause" in findings) == matters


def test_behaviour_that_is_short_or_unknown_is_found():
    values = np.where(np.arange(1200) % 4 == 0, np.nan, 1.0)
    findings = found(clean(behaviour={"wheel": Series(np.arange(1200) * 0.05, values, "rad/s")}))
    assert set(findings) == {"behaviour_short", "behaviour_unknown"}
    assert "25.0%" in findings["behaviour_unknown"].message
    assert "50% of the valid time" in findings["behaviour_short"].message


def test_missing_tables_are_found():
    units = {"id": np.array(list("abcdef")), "region": np.array(["CA1", "", "", "CA1", "CA1", "CA1"])}
    findings = found(clean(behaviour={}, trials={}, units=units))
    assert set(findings) == {"no_behaviour", "no_trials", "no_region"}
    assert findings["no_region"].count == 2


def test_trials_that_make_no_sense_are_found():
    trials = {"start": np.array([1.0, 5, 6, 200]), "end": np.array([2.0, 7, 5.5, 201])}
    findings = found(clean(trials=trials))
    assert {code: finding.count for code, finding in findings.items()} == {
        "trials_end_first": 1,
        "trials_overlap": 1,
        "trials_outside": 1,
    }


def stimuli(**changes):
    """Thirty stimuli of 2 s from 10 s on, a movie's frames and then scenes, by the screen's own clock."""
    start = 10 + 2.00001 * np.arange(30)
    table = {
        "start": start,
        "end": start + 2.00005,
        "name": np.repeat(["natural_movie_one", "natural_scenes"], 15),
        "image_set": np.repeat(["natural_movie_one", "natural_scenes"], 15),
        "frame": np.arange(30),
        "block": np.repeat([0, 1], 15),
    }
    return {**table, **changes}


def test_a_session_with_stimuli_needs_no_trials():
    session = clean(trials={}, stimuli=stimuli())
    assert found(session) == {}
    assert validate_session(session, timeline=TIMELINE, splits=SPLITS).summary["presentations"] == 30


def test_stimuli_that_make_no_sense_are_found():
    backwards = stimuli()["end"]
    backwards[[3, 9]] -= 3
    failed = np.where(np.arange(30) == 7, "invalid_presentation", stimuli()["name"])
    overlapping = stimuli()["end"]
    overlapping[4] += 1
    for code, count, changes in (
        ("stimuli_end_first", 2, {"end": backwards}),
        ("stimuli_overlap", 1, {"end": overlapping}),
        ("stimuli_invalid", 1, {"name": failed}),
    ):
        findings = found(clean(stimuli=stimuli(**changes)))
        assert {name: finding.count for name, finding in findings.items()} == {code: count}


def test_what_the_release_lacks_is_reported():
    findings = found(clean(provenance={"missing": '["pupil", "running_speed"]'}))
    assert findings["missing"].message == "the release lacks pupil, running_speed"
    assert found(clean(provenance={"missing": "[]"})) == {}


def test_the_picture_names_what_was_on_the_screen(tmp_path):
    gray = np.where(np.arange(30) % 15 < 2, "gray", stimuli()["image_set"])
    texts = {}
    for name, shown in (("with", stimuli(image_set=gray)), ("without", {})):
        session = clean(stimuli=shown)
        report = validate_session(session, timeline=TIMELINE, splits=SPLITS)
        with matplotlib.rc_context({"svg.fonttype": "none"}):
            draw_report(tmp_path / f"{name}.svg", session, report)
        texts[name] = (tmp_path / f"{name}.svg").read_text()
    for words in ("on the screen", "natural movie one", "natural scenes", "gray"):
        assert f">{words}<" in texts["with"]
        assert f">{words}<" not in texts["without"]


def test_what_ingest_repaired_is_reported():
    repairs = {"unsorted": 4, "outside_domain": 3, "not_finite": 2, "filtered_units": 1, "duplicate": 0}
    read = [Finding("other_date", "warning", "the file's date is 2001-01-01", 1)]
    findings = found(clean(repairs=repairs, provenance={"findings": encode_findings(read)}))
    counts = {code: finding.count for code, finding in findings.items()}
    assert counts == {"unsorted": 4, "outside_domain": 3, "not_finite": 2, "filtered_units": 1, "other_date": 1}


def test_spikes_twice_and_spikes_outside_are_found_in_the_record_itself():
    session = clean()
    times_us = np.concatenate([session.spike_times_us, [125_000_000, 125_000_000, 125_000_000]])
    findings = found(clean(spike_times_us=times_us, spike_unit=np.concatenate([session.spike_unit, [1, 2, 1]])))
    assert {code: finding.count for code, finding in findings.items()} == {
        "duplicate_spikes": 1,
        "spikes_outside": 3,
    }


@pytest.mark.parametrize(
    ("session", "timeline", "complaint"),
    [
        (clean(domain=seconds(0, 19)), TIMELINE, "first half of train has 8 s"),
        (
            clean(),
            Timeline(bin_ms=20, context_bins=3000, horizon_bins=50, evaluation_stride_bins=25),
            r"no window of context and horizon \(61 s\) fits into test, validation, whose longest interval is 58 s",
        ),
        (clean(drop=lambda times_s, unit: times_s > 62), TIMELINE, "no unit fires in test"),
    ],
)
def test_a_session_without_room_or_spikes_is_fatal(session, timeline, complaint):
    report = validate_session(session, timeline=timeline, splits=SPLITS)
    assert report.fatal
    assert report.findings[0].severity == "fatal"
    with pytest.raises(SessionError, match=complaint):
        require_usable(session, timeline=timeline, splits=SPLITS)


def test_the_report_of_a_left_out_session_says_so(tmp_path):
    report = validate_session(LEFT_OUT, timeline=TIMELINE, splits=SPLITS)
    assert [finding.message for finding in report.fatal] == ["left out: its file is cut short"]
    write_report(tmp_path / "x.json", report)
    assert json.loads((tmp_path / "x.json").read_text())["left_out"] == "its file is cut short"


def test_the_json_holds_the_report(tmp_path):
    report = validate_session(clean(behaviour={}), timeline=TIMELINE, splits=SPLITS)
    write_report(tmp_path / "deep" / "x.json", report)
    read = json.loads((tmp_path / "deep" / "x.json").read_text())
    assert read["findings"] == [dataclasses.asdict(finding) for finding in report.findings]
    assert read["summary"] == report.summary
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.json"]


@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize(
    "session",
    [
        pytest.param(clean(), id="continuous"),
        pytest.param(clean(domain=seconds(0, 50, 57.5, 120)), id="gap"),
        pytest.param(clean(drop=lambda times_s, unit: times_s > 62), id="fatal"),
        pytest.param(LEFT_OUT, id="left_out"),
    ],
)
def test_every_kind_of_session_gets_its_picture(session, suffix, tmp_path):
    pytest.importorskip("matplotlib", reason="the picture is drawn in the environment with matplotlib")
    from neurohorizon.ingest.validation_figure import validate_file

    path = tmp_path / f"{session.session_id}.h5"
    write_session(path, session)
    for name in ("first", "again") if suffix == "png" else ("first",):
        report = validate_file(
            path,
            findings=tmp_path / f"{name}.json",
            picture=tmp_path / f"{name}.{suffix}",
            timeline=TIMELINE,
            splits=SPLITS,
        )
    assert report.session == session.session_id
    assert len((tmp_path / f"first.{suffix}").read_bytes()) > 5000
    if suffix == "png":
        assert (tmp_path / "first.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_real_recordings_are_usable_and_the_noise_unit_is_seen(recordings):
    splits = Splits(reference_fraction=0.5, reference_maximum_s=None, validation_fraction=0.2, gap_s=2.0)
    source = NwbSource(
        folder=".", valid_time="obs_intervals", region="location", behaviour={}, trials=False, unit_filters={}
    )
    row = Row("nelpy_w-maze", "nwb", "nelpy", "nelpy", "2007-01-01", "heldout", "nelpy", "")
    session = ingest_nwb(recordings / "nelpy_w-maze.nwb", row, source=source, splits=splits)
    report = validate_session(session, timeline=TIMELINE, splits=splits)
    assert not report.fatal
    assert "107 Hz" in {finding.code: finding.message for finding in report.findings}["implausible_rate"]
