"""When probes recorded together, by numbers worked out by hand."""

import numpy as np
import pytest

from neurohorizon.ingest.findings import Notes
from neurohorizon.ingest.probe_spans import (
    ProbeSpan,
    count_trimmed,
    note_short_probes,
    recorded_span,
    shared_time,
    silent_spans,
    without_dropouts,
)
from neurohorizon.session import SessionError
from neurohorizon.timeline import Intervals

FULL = np.arange(0.25, 180, 0.5)


def span(probe: str, first_s: float, last_s: float) -> ProbeSpan:
    return ProbeSpan(probe, first_s, last_s)


def codes(notes: Notes) -> list[str]:
    return [finding.code for finding in notes.findings]


@pytest.mark.parametrize("strays", [[1e6], [-1e6], [1e5, 1e6, 1e7], [-500.0, 300.0], [np.nan, np.inf]])
def test_spikes_far_from_all_others_do_not_count(strays):
    notes = Notes()
    found = recorded_span("a", np.random.default_rng(0).permutation([*FULL, *strays]), notes)
    assert (found.first_s, found.last_s) == (0.25, 179.75)
    assert codes(notes) == (["stray_spikes"] if np.isfinite(strays).all() else [])
    assert [finding.count for finding in notes.findings] == [np.isfinite(strays).sum()][: len(notes.findings)]


@pytest.mark.parametrize(
    "times_s",
    [
        [*FULL, 230.0],  # a pause of 50 s happens
        [*FULL, 300.0, 301.0, 302.0, 303.0],  # four of 360 are a part of the recording
        [1.0, 2.0, 500.0],  # too few to tell
        [*FULL, *(FULL + 3600)],
    ],
)
def test_a_pause_in_a_recording_ends_nothing(times_s):
    notes = Notes()
    found = recorded_span("a", np.array(times_s), notes)
    assert (found.first_s, found.last_s) == (min(times_s), max(times_s))
    assert not notes.findings


def test_shared_time_is_whole_seconds_of_all_probes_within_bounds():
    spans = [span("a", 0.25, 179.75), span("b", 3.0, 200.5)]
    assert shared_time("s", spans) == (3_000_000, 179_000_000)
    assert shared_time("s", spans, first_s=10.2, last_s=100.9) == (11_000_000, 100_000_000)


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        (
            [span("a", 0, 50), span("b", 60, 90)],
            r"share no second .*: a from 0 to 50 s, b from 60 to 90 s; name the probes",
        ),
        ([span("a", 0, 200_000)], r"a from 0 to 200000 s; expected seconds, less than a day"),
        ([span("a", 1.7e18, 1.7e18 + 60)], r"expected seconds"),
        ([span("a", 0.2, 0.9)], r"share no second"),
    ],
)
def test_probes_without_a_common_second_are_refused_with_their_spans(spans, message):
    with pytest.raises(SessionError, match=message):
        shared_time("s", spans)


def test_each_short_probe_is_named_with_the_seconds_that_it_costs():
    notes = Notes()
    note_short_probes([span("a", 0, 180), span("b", 2, 179), span("c", 0, 60), span("d", 90, 180)], notes)
    assert codes(notes) == ["short_probe", "short_probe"]
    # a and b share 2 to 179 s; c leaves 2 to 60, d leaves 90 to 179
    assert [finding.count for finding in notes.findings] == [177 - 58, 177 - 89]
    assert "c recorded from 0 to 60 s and costs the session 119 s of the 177 s of a, b" in notes.findings[0].message
    assert notes.findings[0].message.endswith("column probes to a,b")


def test_probes_that_end_within_a_tenth_of_one_another_are_not_named():
    notes = Notes()
    note_short_probes([span("a", 0, 100), span("b", 5, 96)], notes)
    # both end with the stimuli
    note_short_probes([span("a", 0, 100), span("b", 0, 60)], notes, first_s=0, last_s=60)
    assert not notes.findings


def test_trimmed_spikes_are_counted_by_probe_and_a_finding_only_beyond_the_rounding():
    a, b = np.array([0.5, 1.0, 30.0, 59.9, 60.0, 99.5]), np.array([0.9, 2.0, 60.2, np.nan])
    spans, notes = [span("a", 0.5, 99.5), span("b", 0.9, 60.2)], Notes()
    count_trimmed(spans, {"a": a, "b": b}, notes, start_us=1_000_000, stop_us=60_000_000)
    assert notes.repairs == {"trimmed_a": 3, "trimmed_b": 2}
    assert codes(notes) == ["trimmed_spikes"]
    assert notes.findings[0].count == 1  # that at 60 s: 0.5 and 99.5 s go with the rounding of a
    assert "outside 1 to 60 s" in notes.findings[0].message
    assert "3 of 6 of a, 2 of 4 of b" in notes.findings[0].message
    notes = Notes()
    count_trimmed(spans[1:], {"b": b}, notes, start_us=1_000_000, stop_us=60_000_000)
    assert (notes.repairs, notes.findings) == ({"trimmed_b": 2}, [])


def silent(times_s: np.ndarray) -> np.ndarray:
    return silent_spans(times_s, span("a", times_s.min(), times_s.max()))


def test_a_silence_that_a_steady_probe_cannot_have_is_found_to_its_edges():
    rng = np.random.default_rng(0)
    times_s = np.sort(rng.uniform(0, 600, 60_000))
    assert not len(silent(times_s))
    with_hole = times_s[(times_s < 150) | (times_s > 154.6)]
    (found,) = silent(rng.permutation(with_hole))
    assert found == pytest.approx([150, 154.6], abs=0.1)
    assert found[0] in times_s
    # strays at other times, which would be long pauses, are outside of the recorded span
    (same,) = silent_spans(np.append(with_hole, [1e12, np.nan]), span("a", with_hole.min(), with_hole.max()))
    assert same.tolist() == found.tolist()
    # two seconds of a probe with two spikes a second happen
    assert not len(silent(np.sort(rng.uniform(0, 600, 1200))))


def test_pauses_of_sleep_and_anaesthesia_are_not_taken_for_dropouts():
    rng = np.random.default_rng(1)
    times_s = np.sort(rng.uniform(0, 900, 180_000))
    # up and down states of all neurons, and suppression of seconds between bursts
    for longest_s, period_s in ((0.8, 2.0), (3.0, 6.0)):
        down_s = rng.uniform(0.3, longest_s, 1000)
        place = times_s % period_s
        kept = place > down_s[(times_s // period_s).astype(int)]
        assert not len(silent(times_s[kept]))


def test_dropouts_of_each_probe_are_taken_out_of_valid_time_in_whole_seconds():
    domain, notes = Intervals(np.array([1_000_000]), np.array([200_000_000])), Notes()
    silences = {
        "probe00": np.array([[150.2, 154.6], [0.2, 0.9]]),
        "probe01": np.array([[152.0, 160.5]]),
        "probe02": np.zeros((0, 2)),
    }
    found = without_dropouts(domain, silences, notes)
    assert list(found) == [(1_000_000, 150_000_000), (161_000_000, 200_000_000)]
    assert [finding.code for finding in notes.findings] == ["dropout", "dropout"]
    assert "probe00 has no spike at 150.2 to 154.6 s" in notes.findings[0].message
    assert "5 s are taken out" in notes.findings[0].message
    assert "probe01 has no spike at 152.0 to 160.5 s" in notes.findings[1].message
    assert list(without_dropouts(domain, {}, notes)) == list(domain)
