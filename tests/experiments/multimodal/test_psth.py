"""What repeats of a movie say of each other, on made spikes whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from factories.conditions import BIN_US, FRAME_US, condition_of, made_stimuli, make_conditions

from neurohorizon.experiments.multimodal.psth import (
    R2_PHASE_US,
    STRENGTHS,
    Repeat,
    choose_strength,
    example_unit,
    find_repeats,
    forecast_psth,
    movie_counts,
    movie_targets,
    psth_rates,
    repeat_sums,
)
from neurohorizon.forecasts.forecast_file import read_forecast, write_forecast
from neurohorizon.modalities.signals import movie_intervals
from neurohorizon.session import Session, write_session
from neurohorizon.timeline import Intervals, Splits

PARTS_MS = ((0, 100), (200, 500), (0, 1000))
MOVIE_US = 180 * FRAME_US  # six seconds, less what frames are rounded by


def _span(first_us: int, last_us: int) -> Intervals:
    return Intervals(np.array([first_us]), np.array([last_us]))


def _session(times_us: np.ndarray, unit: np.ndarray, *, domain: Intervals | None = None, units: int = 2) -> Session:
    """A session of four blocks with three repeats each, whose reference window is the first two."""
    stimuli = made_stimuli(4)
    stop_us = int(stimuli["end"][-1] * 1e6) // BIN_US * BIN_US
    half_us = int(stimuli["end"][stimuli["block"] == 1][-1] * 1e6) // BIN_US * BIN_US
    domain = domain or _span(0, stop_us)
    kept = domain.contains(times_us)
    order = np.argsort(times_us[kept], kind="stable")
    parts = Splits(
        reference=domain.clip(0, half_us),
        test=domain.clip(half_us, stop_us),
        train=domain.clip(0, half_us),
        validation=domain.clip(half_us, stop_us),
    )
    return Session(
        session_id="made",
        source="allen",
        subject="animal",
        lab="lab",
        date="2020-01-01",
        spike_times_us=times_us[kept][order],
        spike_unit=unit[kept][order],
        units={"id": np.array([f"unit-{one}" for one in range(units)]), "region": np.array(["VISp"] * units)},
        domain=domain,
        splits=parts,
        stimuli=stimuli,
    )


def _regular(repeats: list[Repeat], *, first_us: int, last_us: int, every_us: int) -> np.ndarray:
    """Times of spikes at the same phases of every repeat, in phases from first to last."""
    phases_us = np.arange(first_us + every_us // 2, last_us, every_us)
    return np.concatenate([repeat.time_us[0] + phases_us for repeat in repeats])


# repeats


def test_every_showing_of_a_movie_is_a_repeat_and_nothing_else_is():
    stimuli = made_stimuli(2)
    stimuli["name"][stimuli["block"] == 1] = "natural_movie_one_more_repeats"  # the same images under another name
    repeats = find_repeats(stimuli)
    first = np.flatnonzero((stimuli["image_set"] == "natural_movie_one") & (stimuli["frame"] == 0))
    assert [repeat.movie for repeat in repeats] == ["natural_movie_one"] * 6
    np.testing.assert_allclose([repeat.time_us[0] for repeat in repeats], stimuli["start"][first] * 1e6, atol=0.6)
    for repeat in repeats:
        assert repeat.phase_us[0] == 0
        assert repeat.phase_us[-1] == pytest.approx(MOVIE_US, abs=100)
        assert repeat.phase_at(repeat.time_us[0] + 1_234_567) == pytest.approx(1_234_567, abs=100)


def test_a_repeat_ends_where_the_movie_stops_starts_anew_or_pauses():
    stimuli = {name: column.copy() for name, column in made_stimuli(1).items()}
    movie = np.flatnonzero(stimuli["image_set"] == "natural_movie_one")
    shuffled = movie[:180]
    stimuli["image_set"][shuffled], stimuli["frame"][shuffled] = "", -1  # shuffled: no frame is known
    for name in ("start", "end"):
        stimuli[name][movie[180] + 100 :] += 2.0  # a pause within the second repeat
    repeats = find_repeats(stimuli)
    assert [len(repeat.time_us) - 1 for repeat in repeats] == [100, 80, 180]
    assert repeats[1].phase_us[0] == pytest.approx(100 * FRAME_US, abs=100)
    assert repeats[1].phase_at(repeats[1].time_us[0] - 1e6) == repeats[1].phase_us[0]


def test_a_dropped_frame_leaves_the_phases_after_it_where_they_are():
    stimuli = made_stimuli(1)
    dropped = np.flatnonzero(stimuli["image_set"] == "natural_movie_one")[30]
    kept = np.arange(len(stimuli["start"])) != dropped
    repeat = find_repeats({name: column[kept] for name, column in stimuli.items()})[0]
    assert repeat.phase_at(repeat.time_us[0] + 3_000_000) == pytest.approx(3_000_000, abs=200)


# the forecast by other repeats


def test_bins_are_forecast_by_what_came_at_their_phase_in_other_repeats():
    repeats = find_repeats(made_stimuli(4))
    times_us = _regular(repeats, first_us=1_000_000, last_us=2_000_000, every_us=10_000)
    session = _session(times_us, np.zeros(len(times_us), np.int64))
    assert len({repeat.time_us[0] % BIN_US for repeat in repeats}) > 3, "repeats lie differently on the grid of bins"
    start_us = np.arange(0, session.domain.stop_us[0], BIN_US)
    rates = psth_rates(session, start_us, mean=np.array([0.3, 0.2]), bin_us=BIN_US)
    centre_us = start_us + BIN_US // 2
    is_movie = np.zeros(len(start_us), bool)
    for repeat in repeats:
        here = (centre_us >= repeat.time_us[0]) & (centre_us < repeat.time_us[-1])
        phase_us = repeat.phase_at(centre_us[here])
        inside = (phase_us > 1_090_000) & (phase_us < 1_910_000)
        np.testing.assert_allclose(rates[here, 0][inside], 2.0, rtol=0.1)  # two spikes a bin, drawn to the mean
        outside = (phase_us < 910_000) | (phase_us > 2_090_000)
        assert rates[here, 0][outside].max() < 0.05
        # the smoothed edge passes one half of its height at the edge itself
        edge = np.interp([1_000_000, 2_000_000], phase_us, rates[here, 0])
        np.testing.assert_allclose(edge, rates[here, 0].max() / 2, rtol=0.12)
        is_movie |= here
    assert (rates[~is_movie] == [0.3, 0.2]).all(), "elsewhere it is the reference mean"


def test_a_repeat_does_not_forecast_itself():
    repeats = find_repeats(made_stimuli(4))
    own = repeats[8]
    times_us = _regular([own], first_us=1_000_000, last_us=2_000_000, every_us=10_000)
    session = _session(times_us, np.zeros(len(times_us), np.int64))
    phases_us = np.arange(1_100_000, 1_900_000, BIN_US)
    mean = np.array([0.3, 0.3])
    in_own = psth_rates(session, own.time_us[0] + phases_us, mean=mean, bin_us=BIN_US)
    in_other = psth_rates(session, repeats[9].time_us[0] + phases_us, mean=mean, bin_us=BIN_US)
    np.testing.assert_allclose(in_own[:, 0], in_own[:, 1], rtol=1e-6)  # as a unit that never fires
    assert (in_other[:, 0] > in_other[:, 1]).all()


def test_time_that_is_not_valid_is_not_seen_rather_than_silent():
    repeats = find_repeats(made_stimuli(4))
    times_us = _regular(repeats, first_us=0, last_us=MOVIE_US, every_us=10_000)
    unit = np.zeros(len(times_us), np.int64)
    stop_us = int(made_stimuli(4)["end"][-1] * 1e6) // BIN_US * BIN_US
    gap = _span(int(repeats[1].time_us[0]) + 2_000_000, int(repeats[1].time_us[0]) + 4_000_000)
    gapped = _session(times_us, unit, domain=_span(0, stop_us).without(gap))
    start_us = repeats[9].time_us[0] + np.arange(500_000, 5_500_000, BIN_US)
    rates = [
        psth_rates(session, start_us, mean=np.array([2.0, 0.1]), bin_us=BIN_US)[:, 0]
        for session in (_session(times_us, unit), gapped)
    ]
    np.testing.assert_allclose(rates[0], 2.0, rtol=0.01)
    np.testing.assert_allclose(rates[1], 2.0, rtol=0.01)
    counts = movie_counts(gapped, repeats, gapped.domain)
    np.testing.assert_allclose(counts.seen[1, 401:799], 0.0, atol=1e-9)
    np.testing.assert_allclose(counts.seen[1, :399], 1.0, atol=0.01)


def test_units_that_follow_the_movie_are_trusted_and_others_are_not():
    made = make_conditions(0)
    session = made.session
    mean = np.exp(made.mean) * 4
    counts = [movie_counts(session, find_repeats(session.stimuli), session.splits.reference)]
    strength = choose_strength(counts, mean=mean, bin_us=BIN_US)
    visual = np.isin(session.units["region"], ["VISp", "LGd", "VISl"])
    assert strength[visual].max() < strength[~visual].min()
    assert set(strength) <= set(STRENGTHS)
    few = movie_counts(session, find_repeats(session.stimuli)[:1], session.splits.reference)
    assert (choose_strength([few], mean=mean, bin_us=BIN_US) == STRENGTHS[-1]).all(), "one repeat says nothing"
    assert (choose_strength([], mean=mean, bin_us=BIN_US) == STRENGTHS[-1]).all()


def test_how_far_repeats_are_trusted_is_chosen_on_the_reference_window_alone():
    session = make_conditions(0).session
    mean = np.linspace(0.1, 0.4, session.n_units)
    chosen = []
    for one in (session, _with_other_test_spikes(session)):
        counts = [movie_counts(one, find_repeats(one.stimuli), one.splits.reference)]
        chosen.append(choose_strength(counts, mean=mean, bin_us=BIN_US))
    np.testing.assert_array_equal(*chosen)


def _with_other_test_spikes(session: Session) -> Session:
    """After the reference window a unit of another region alone fires, and follows the movie exactly."""
    stop_us = session.splits.reference.stop_us[-1]
    before = session.spike_times_us < stop_us
    repeats = [repeat for repeat in find_repeats(session.stimuli) if repeat.time_us[0] > stop_us]
    times_us = _regular(repeats, first_us=1_000_000, last_us=2_000_000, every_us=5_000)
    unit = np.full(len(times_us), np.flatnonzero(session.units["region"] == "CA1")[0], session.spike_unit.dtype)
    return replace(
        session,
        spike_times_us=np.append(session.spike_times_us[before], times_us),
        spike_unit=np.append(session.spike_unit[before], unit),
    )


def test_the_example_unit_is_chosen_on_the_reference_window_alone():
    session = make_conditions(0).session
    everyone = np.ones(session.n_units, bool)
    chosen = example_unit(session, everyone)
    assert session.units["region"][chosen] in ("VISp", "LGd", "VISl")
    assert example_unit(_with_other_test_spikes(session), everyone) == chosen
    other = everyone.copy()
    other[chosen] = False
    assert example_unit(session, other) != chosen
    assert example_unit(session, np.zeros(session.n_units, bool)) is None
    assert example_unit(replace(session, stimuli={}), everyone) is None


def test_the_file_of_the_forecast_by_repeats_says_what_it_is(tmp_path):
    made = make_conditions(0)
    write_session(tmp_path / "session.h5", made.session)
    task = condition_of(made, "spikes", seed=3)
    write_forecast(tmp_path / "task.h5", task)
    forecast_psth(session=tmp_path / "session.h5", task=tmp_path / "task.h5", code="abc", output=tmp_path / "psth.h5")
    written = read_forecast(tmp_path / "psth.h5")
    assert (written.method, written.method_class, written.seed) == ("psth", "fitted", None)
    assert (written.encoder, written.code) == ("", "abc")
    np.testing.assert_array_equal(written.counts, task.counts)
    rates = psth_rates(
        made.session,
        task.start_us[7] + np.arange(50) * BIN_US,
        mean=np.exp(task.reference_log_rate.astype(float)),
        bin_us=BIN_US,
    )
    np.testing.assert_allclose(np.exp(written.log_rate[7]), rates, rtol=1e-5)
    write_session(tmp_path / "other.h5", make_conditions(1).session)
    with pytest.raises(ValueError, match="differ in their units"):
        forecast_psth(session=tmp_path / "other.h5", task=tmp_path / "task.h5", code="", output=tmp_path / "no.h5")


# PSTH R2


def _brute_force(made, forecast, *, part_ms, heldout, against) -> tuple[np.ndarray, np.ndarray]:
    """Residual and total by loops over target bins, steps of phase and spikes."""
    session, mean = made.session, np.exp(forecast.reference_log_rate.astype(float))
    repeats, held = find_repeats(session.stimuli), movie_intervals(session.stimuli, ((2.0, 3.0),))
    steps = {}
    for window, start_us in enumerate(forecast.start_us.tolist()):
        for place in range(round(part_ms[0] / 20), round(part_ms[1] / 20)):
            centre_us = start_us + place * BIN_US + BIN_US // 2
            for repeat in repeats:
                if repeat.time_us[0] <= centre_us < repeat.time_us[-1] and forecast.target_mask[window, place]:
                    step = int(repeat.phase_at(centre_us) // R2_PHASE_US)
                    is_out = bool(held.contains(np.array([centre_us]))[0])
                    rate = np.exp(forecast.log_rate[window, place].astype(float))
                    steps.setdefault((step, is_out), []).append((rate, forecast.counts[window, place].astype(float)))
    before = [repeat for repeat in repeats if repeat.time_us[-1] <= session.splits.reference.stop_us[0]]
    psth, forecasts, weight = {}, {}, {}
    for (step, is_out), values in steps.items():
        rates, observed = (np.array(one) for one in zip(*values, strict=True))
        forecasts[step, is_out], weight[step, is_out] = rates.mean(axis=0), len(values)
        psth[step, is_out] = observed.mean(axis=0)
        if against == "other":
            first_us, found = step * R2_PHASE_US, np.zeros(len(mean))
            for repeat in before:
                inside = (session.spike_times_us >= repeat.time_us[0] + first_us) & (
                    session.spike_times_us < repeat.time_us[0] + first_us + R2_PHASE_US
                )
                found += np.bincount(session.spike_unit[inside], minlength=len(mean))
            length_us = min(R2_PHASE_US, MOVIE_US - first_us)
            psth[step, is_out] = found / len(before) / (length_us / BIN_US)
    average = sum(weight[key] * psth[key] for key in psth) / sum(weight.values())
    kept = [key for key in psth if key[1] == heldout]
    residual = sum(weight[key] * (psth[key] - forecasts[key]) ** 2 / mean for key in kept)
    return residual, sum(weight[key] * (psth[key] - average) ** 2 / mean for key in kept)


@pytest.mark.parametrize("against", ["same", "other"])
@pytest.mark.parametrize(("part_ms", "heldout"), [((0.0, 100.0), False), ((200.0, 500.0), True)])
def test_psth_r2_is_that_of_its_definition_by_loops(against, part_ms, heldout):
    made = make_conditions(0, blocks=4)
    # no repeat may lie partly before test time, so that a plain loop can leave it out as a whole
    repeats = find_repeats(made.session.stimuli)
    cut_us = int(repeats[6].time_us[0]) // BIN_US * BIN_US - 4 * BIN_US
    stop_us = int(made.session.domain.stop_us[0])
    test = _span(cut_us, stop_us)
    session = replace(made.session, splits=replace(made.session.splits, reference=_span(0, cut_us), test=test))
    made = replace(made, session=session, starts=np.arange(cut_us // 5000 + 200, stop_us // 5000 - 200, 100))
    forecast = condition_of(made, "image_ahead")
    mask = forecast.target_mask.copy()
    mask[::3, 2:13] = False
    forecast = replace(forecast, target_mask=mask, counts=np.where(mask[..., None], forecast.counts, 0))
    targets = movie_targets(session, forecast, movie_intervals(session.stimuli, ((2.0, 3.0),)))
    sums = {(one.against, one.heldout, one.part_ms): one for one in repeat_sums(targets, forecast, PARTS_MS)}
    residual, total = _brute_force(made, forecast, part_ms=part_ms, heldout=heldout, against=against)
    found = sums[against, heldout, part_ms]
    # spikes inside a step of phase are spread evenly: a few on its edges fall on the other side
    tolerance = {"rtol": 1e-6} if against == "same" else {"rtol": 0.12}
    np.testing.assert_allclose(found.residual, residual, **tolerance)
    np.testing.assert_allclose(found.total, total, **tolerance)


def test_true_rates_follow_the_psth_and_wrong_phases_do_not():
    made = make_conditions(0)
    heldout = movie_intervals(made.session.stimuli, ((2.0, 3.0),))
    scores = {}
    for name, forecast in {
        "oracle": condition_of(made, "oracle"),
        "spikes": condition_of(made, "spikes"),
        "late": replace(condition_of(made, "oracle"), log_rate=np.roll(condition_of(made, "oracle").log_rate, 10, 1)),
    }.items():
        targets = movie_targets(made.session, forecast, heldout)
        sums = [
            one
            for one in repeat_sums(targets, forecast, PARTS_MS)
            if one.against == "same" and one.part_ms == (0, 1000)
        ]
        visual = np.isin(forecast.region, ["VISp", "LGd", "VISl"])
        scores[name] = 1 - sum(one.residual[visual].sum() for one in sums) / sum(
            one.total[visual].sum() for one in sums
        )
    assert scores["oracle"] > 0.6
    assert abs(scores["spikes"]) < 0.2
    assert scores["late"] < 0


def test_the_row_of_repeats_in_r2_has_not_seen_the_repeats_of_test_time():
    made = make_conditions(0)
    session = made.session
    forecast = condition_of(made, "spikes")
    heldout = movie_intervals(session.stimuli, ((2.0, 3.0),))
    targets = movie_targets(session, forecast, heldout)
    silent = movie_targets(_with_other_test_spikes(session), forecast, heldout)
    np.testing.assert_array_equal(targets.expected, silent.expected)
    np.testing.assert_array_equal(targets.other, silent.other)
    elsewhere = np.isin(forecast.region, ["CA1", "DG", "APN"])
    mean = np.exp(forecast.reference_log_rate[elsewhere])
    np.testing.assert_allclose(targets.expected[:, elsewhere].mean(axis=0), mean, rtol=0.15)
    sums = repeat_sums(targets, replace(forecast, method="psth", method_class="fitted"), PARTS_MS)
    assert {one.against for one in sums} == {"same"}, "it is made of the other repeats"
    assert movie_targets(replace(session, stimuli={}), forecast, heldout) is None
