"""Experiment 1 against what is known of a recording: sums, tables, and the sentences made of them."""

from dataclasses import replace
from itertools import combinations, pairwise, permutations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from factories.cards import made_card
from factories.sessions import made_files, made_session, small_config

from neurohorizon.analysis.tables import Resampling, TableError
from neurohorizon.config import CrossSession
from neurohorizon.experiments.cross_session.curve_figures import (
    draw_elapsed,
    draw_matched_regions,
    draw_population,
    draw_reference_length,
)
from neurohorizon.experiments.cross_session.curve_narrative import describe_results
from neurohorizon.experiments.cross_session.curve_scores import score_curves
from neurohorizon.experiments.cross_session.curve_tables import (
    FEWEST_PAIRS,
    curve_sessions,
    curve_table,
    elapsed_leads,
    elapsed_sessions,
    elapsed_table,
    gap_table,
    make_tables,
    match_rates,
    read_sums,
    region_sessions,
    region_table,
)
from neurohorizon.experiments.cross_session.elapsed_scores import score_elapsed
from neurohorizon.experiments.cross_session.reduced_session import begun_later, nested_units, with_units
from neurohorizon.forecasts.forecast import forecast_windows, forecast_with_network
from neurohorizon.forecasts.forecast_file import read_forecast, write_forecast
from neurohorizon.forecasts.scoring import left_out_reason, score_session
from neurohorizon.inputs.sessions import known_by, load_inputs
from neurohorizon.inputs.windows import WindowShape
from neurohorizon.models.weights import load_forecaster, save_forecaster
from neurohorizon.scores import sum_scores
from neurohorizon.session import left_out_session
from neurohorizon.timeline import Intervals, bin_domain, split_domain

CONFIG = small_config()
BIN_US = CONFIG.timeline.bin_ms * 1000
UNITS, DURATION_S = 9, 120.0
SETTINGS = CrossSession(
    reference_s=(12.0, 30.0, 500.0), units=(3, 6, 50), unit_draws=2, elapsed_edges_s=(10.0, 25.0), matched_units=2
)
MINIMUM_RATE_HZ = 3.0
RESAMPLING = Resampling(draws=300, interval=0.95, seed=0)


def trials(session):
    """The same session with valid time in pieces of odd lengths, as trials leave it."""
    start_us = np.arange(0, int(DURATION_S * 1e6), 3_310_000)
    domain = Intervals(start_us, np.minimum(start_us + 3_050_000, int(DURATION_S * 1e6)))
    inside = domain.contains(session.spike_times_us)
    return replace(
        session,
        spike_times_us=session.spike_times_us[inside],
        spike_unit=session.spike_unit[inside],
        domain=domain,
        splits=split_domain(domain, CONFIG.splits),
    )


def known(session):
    return known_by(
        session,
        session.splits.reference,
        session.splits.test,
        timeline=CONFIG.timeline,
        features=CONFIG.features,
        readout=CONFIG.model.readout,
    )


def same_inputs(first, second):
    arrays = [(getattr(first, name), getattr(second, name)) for name in ("features", "reference_log_rate")]
    fields = first.readout.__dataclass_fields__
    arrays += [(getattr(first.readout, name), getattr(second.readout, name)) for name in fields]
    return first.part == second.part and all(np.array_equal(one, two) for one, two in arrays)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("curves")


@pytest.fixture(scope="module")
def session():
    made = trials(made_session("held", CONFIG.splits, n_units=UNITS, duration_s=DURATION_S, seed=4))
    return replace(made, units=made.units | {"region": np.array([f"R{unit // 2}" for unit in range(UNITS)])})


@pytest.fixture(scope="module")
def files(folder, session):
    return made_files(folder, session, CONFIG)


@pytest.fixture(scope="module")
def weights(folder, files):
    """An untrained network whose forecasts are not those of the reference mean."""
    torch.manual_seed(0)
    card = made_card(CONFIG)
    forecaster = card.build()
    torch.nn.init.normal_(forecaster.head.rate_weights.weight, std=0.05)
    save_forecaster(folder / "model.safetensors", forecaster, card)
    return folder / "model.safetensors"


def forecast(weights, paths, output, method="neurohorizon"):
    forecast_with_network(
        weights=weights,
        paths=paths,
        fold="main",
        method=method,
        seed=0,
        timeline=CONFIG.timeline,
        code="c0de",
        output=output,
    )
    return output


@pytest.fixture(scope="module")
def whole(folder, weights, files):
    """Forecast files of the whole session: the network's, and one of the mean that it is compared with."""
    own = forecast(weights, files.paths, folder / "neurohorizon.h5")
    made = read_forecast(own)
    mean = np.broadcast_to(made.reference_log_rate, made.log_rate.shape).astype(np.float32)
    write_forecast(folder / "mean.h5", replace(made, method="reference_mean", log_rate=mean))
    return [own, folder / "mean.h5"]


def scored_curves(weights, paths, forecasts, output, random_seed=0):
    score_curves(
        weights=weights,
        paths=paths,
        forecasts=forecasts,
        cross_session=SETTINGS,
        timeline=CONFIG.timeline,
        features=CONFIG.features,
        minimum_rate_hz=MINIMUM_RATE_HZ,
        random_seed=random_seed,
        code="c0de",
        output=output,
    )
    return output


@pytest.fixture(scope="module")
def curves(folder, weights, files, whole):
    return scored_curves(weights, files.paths, whole, folder / "curves.parquet")


@pytest.fixture(scope="module")
def elapsed(folder, files, whole):
    paths = (folder / "elapsed.parquet", folder / "units.parquet")
    score_elapsed(
        session=files.paths.session,
        forecasts=whole,
        cross_session=SETTINGS,
        minimum_rate_hz=MINIMUM_RATE_HZ,
        elapsed=paths[0],
        by_unit=paths[1],
    )
    return SimpleNamespace(elapsed=paths[0], by_unit=paths[1])


@pytest.fixture(scope="module")
def scores(folder, whole):
    score_session(forecasts=whole, output=folder / "scores.parquet", minimum_rate_hz=MINIMUM_RATE_HZ)
    return pd.read_parquet(folder / "scores.parquet")


def sums_of(table, **where):
    for name, value in where.items():
        table = table[table[name].isna() if value is None else table[name] == value]
    return table.sort_values("horizon_bin")[["windows", "spikes", "model_nats", "reference_nats"]].to_numpy()


# a recording that is less


def test_a_session_is_known_in_memory_as_from_its_files(files, session):
    loaded = load_inputs(files.paths, "test", groups=CONFIG.features.groups, readout=CONFIG.model.readout)
    assert same_inputs(known(session), loaded)


def test_a_session_that_begins_later_keeps_exactly_the_last_bins_of_its_reference_part(session):
    bins = bin_domain(session.splits.reference, BIN_US).start_us
    for seconds in (10.0, 17.33, 40.0):
        kept = -(-round(seconds * 1e6) // BIN_US)
        cut = begun_later(session, seconds, bin_us=BIN_US)
        assert bin_domain(cut.splits.reference, BIN_US).start_us.tolist() == bins[-kept:].tolist()
        assert cut.splits.test == session.splits.test
        assert cut.domain.start_us[0] == bins[-kept] == cut.splits.reference.start_us[0]
        assert cut.spike_times_us.min() >= bins[-kept]
        assert np.count_nonzero(session.spike_times_us >= bins[-kept]) == cut.spike_times_us.size


def test_a_session_cannot_begin_before_it_does(session):
    reference_s = len(bin_domain(session.splits.reference, BIN_US)) * BIN_US / 1e6
    assert begun_later(session, reference_s, bin_us=BIN_US) is None
    assert begun_later(session, reference_s - BIN_US / 1e6, bin_us=BIN_US) is not None


def test_what_came_before_a_session_begins_is_not_known(session):
    cut = begun_later(session, 20.0, bin_us=BIN_US)
    before = session.spike_times_us < cut.domain.start_us[0]
    silent = replace(session, spike_times_us=session.spike_times_us[~before], spike_unit=session.spike_unit[~before])
    assert before.sum() > 100
    assert same_inputs(known(cut), known(begun_later(silent, 20.0, bin_us=BIN_US)))
    assert not same_inputs(known(cut), known(session))


def test_units_that_are_kept_keep_their_spikes_and_names(session):
    units = np.array([7, 2, 4])
    less = with_units(session, units)
    assert less.n_units == 3
    for place, unit in enumerate(units):
        assert less.units["id"][place] == session.units["id"][unit]
        own = less.spike_times_us[less.spike_unit == place]
        assert own.tolist() == session.spike_times_us[session.spike_unit == unit].tolist()
    everyone = with_units(session, np.arange(UNITS))
    assert np.array_equal(everyone.spike_times_us, session.spike_times_us)
    assert np.array_equal(everyone.spike_unit, session.spike_unit)


def test_populations_are_nested_and_hold_the_scored_units():
    scored = np.arange(40) % 4 != 0
    for seed in range(20):
        chosen, populations = nested_units(scored, (5, 12, 39, 40, 60), np.random.default_rng(seed))
        assert list(populations) == [5, 12, 39]
        assert scored[chosen].all()
        assert populations[5].tolist() == chosen.tolist()
        for size, units in populations.items():
            assert len(set(units)) == size
            assert units.tolist() == sorted(units)
        assert set(populations[5]) < set(populations[12]) < set(populations[39])
    assert nested_units(scored, (31,), np.random.default_rng(0))[1] == {}


def test_every_unit_is_drawn_as_often_as_others():
    scored = np.arange(12) < 8
    drawn = [nested_units(scored, (3, 6), np.random.default_rng(seed)) for seed in range(2000)]
    in_smallest = np.bincount(np.concatenate([chosen for chosen, _ in drawn]), minlength=12) / 2000
    np.testing.assert_allclose(in_smallest[:8], 3 / 8, atol=0.05)
    beside = np.concatenate([np.setdiff1d(one[6], one[3]) for _, one in drawn])
    np.testing.assert_allclose(np.bincount(beside, minlength=12)[8:] / 2000, 3 / 9, atol=0.05)


# sums


def test_all_that_is_known_scores_as_the_forecaster_does(curves, scores):
    table = pd.read_parquet(curves)
    for method in ("neurohorizon", "reference_mean"):
        of = scores[scores["method"] == method].groupby("horizon_bin")
        expected = of[["spikes", "model_nats", "reference_nats"]].sum()
        expected.insert(0, "windows", of["windows"].first())
        found = sums_of(table, curve="reference_s", whole=True, method=method)
        np.testing.assert_allclose(found, expected.to_numpy(), rtol=1e-12)


def test_a_shorter_reference_scores_as_a_recording_that_began_then(folder, curves, weights, session, whole):
    cut = begun_later(session, 30.0, bin_us=BIN_US)
    later = made_files(folder / "later", cut, CONFIG)
    began = read_forecast(forecast(weights, later.paths, folder / "later.h5"))
    full = read_forecast(whole[0])
    assert np.array_equal(began.start_us, full.start_us)
    scored = np.exp(full.reference_log_rate) >= MINIMUM_RATE_HZ * BIN_US / 1e6
    assert 0 < scored.sum() < UNITS
    rates = {
        "neurohorizon": began.log_rate,
        "reference_mean": np.broadcast_to(began.reference_log_rate, began.log_rate.shape),
    }
    for method, log_rate in rates.items():
        sums = sum_scores(
            counts=full.counts[..., scored],
            log_rate=log_rate[..., scored],
            mask=full.target_mask,
            reference_log_rate=full.reference_log_rate[scored],
        )
        found = sums_of(pd.read_parquet(curves), curve="reference_s", size=30.0, method=method)
        np.testing.assert_allclose(found[:, 2], sums.model_nats.sum(axis=1), rtol=1e-12)
        np.testing.assert_allclose(found[:, 3], sums.reference_nats.sum(axis=1), rtol=1e-12)
    assert not np.array_equal(began.reference_log_rate, full.reference_log_rate)


def test_the_null_and_the_spikes_do_not_depend_on_what_is_known(curves):
    table = pd.read_parquet(curves)
    for _, group in table.groupby(["curve", "draw", "horizon_bin"], dropna=False):
        assert group["spikes"].nunique() == group["units"].nunique() == 1
        np.testing.assert_allclose(group["reference_nats"], group["reference_nats"].iloc[0], rtol=1e-12)
    assert set(table.loc[table["curve"] == "reference_s", "size"]) >= {12.0, 30.0}
    assert 500.0 not in set(table["size"])
    assert set(table.loc[(table["curve"] == "units") & ~table["whole"], "size"]) == {3.0, 6.0}


def alone_nats(weights, session, units, scored, full):
    """Log-likelihood of some units by horizon bin, from a recording that has no more than these and a few others."""
    forecaster, card = load_forecaster(weights)
    less = with_units(session, units)
    log_rate = forecast_windows(forecaster, known(less), full.start_us, WindowShape.of(CONFIG.timeline, card.model))
    names = session.units["id"][scored]
    place = [list(less.units["id"]).index(name) for name in names]
    sums = sum_scores(
        counts=full.counts[..., scored],
        log_rate=log_rate[..., place],
        mask=full.target_mask,
        reference_log_rate=full.reference_log_rate[scored],
    )
    return sums.model_nats.sum(axis=1)


@pytest.mark.slow
def test_fewer_units_score_as_a_recording_of_those(curves, weights, session, whole):
    table = pd.read_parquet(curves)
    full = read_forecast(whole[0])
    scored = np.exp(full.reference_log_rate) >= MINIMUM_RATE_HZ * BIN_US / 1e6
    nats = {}
    for units in combinations(np.flatnonzero(scored), 3):
        chosen = np.array(units)
        sums = sum_scores(
            counts=full.counts[..., chosen],
            log_rate=full.log_rate[..., chosen],
            mask=full.target_mask,
            reference_log_rate=full.reference_log_rate[chosen],
        )
        nats[units] = sums.model_nats.sum()
    # which units a draw scores is found by its score with all known
    of_all = table[(table["curve"] == "units") & table["whole"] & (table["method"] == "neurohorizon")]
    for draw, group in of_all.groupby("draw"):
        (chosen,) = (units for units, total in nats.items() if np.isclose(total, group["model_nats"].sum(), rtol=1e-12))
        others = np.setdiff1d(np.arange(UNITS), chosen)
        for size, beside in ((3, [()]), (6, combinations(others, 3))):
            found = sums_of(table, curve="units", size=float(size), draw=draw)
            recordings = [np.sort([*chosen, *more]) for more in beside]
            totals = [alone_nats(weights, session, units, np.array(chosen), full) for units in recordings]
            # with six, one of all recordings that hold these three
            assert sum(np.allclose(found[:, 2], total, rtol=1e-12) for total in totals) == 1
            assert found[:, 2].sum() != pytest.approx(group["model_nats"].sum(), rel=1e-6)


def test_units_are_drawn_alike_for_all_networks_and_otherwise_for_another_seed(folder, weights, files, whole, curves):
    again = scored_curves(weights, files.paths, whole, folder / "again.parquet")
    other = scored_curves(weights, files.paths, whole, folder / "other.parquet", random_seed=1)
    first, again, other = (pd.read_parquet(path) for path in (curves, again, other))
    pd.testing.assert_frame_equal(first, again)
    totals = [one[one["curve"] == "units"].groupby("draw")["spikes"].sum().tolist() for one in (first, other)]
    assert totals[0] != totals[1]
    assert len(set(totals[0])) == SETTINGS.unit_draws


def test_a_session_that_was_left_out_has_no_curves_and_says_why(folder, weights):
    nothing = left_out_session(
        session_id="gone", source="nwb", subject="x", lab="made", date="", reason="no spike was found"
    )
    gone = made_files(folder / "gone", nothing, CONFIG)
    own = forecast(weights, gone.paths, folder / "gone.h5")
    output = scored_curves(weights, gone.paths, [own], folder / "gone.parquet")
    outputs = [output, folder / "gone-elapsed.parquet", folder / "gone-units.parquet"]
    score_elapsed(
        session=gone.paths.session,
        forecasts=[own],
        cross_session=SETTINGS,
        minimum_rate_hz=MINIMUM_RATE_HZ,
        elapsed=outputs[1],
        by_unit=outputs[2],
    )
    for path in outputs:
        assert left_out_reason(path)["left_out"] == "no spike was found"
        with pytest.raises(TableError, match="left out"):
            read_sums([path])


def test_windows_are_told_apart_by_the_time_since_the_reference_part(elapsed, whole, session, scores):
    table = pd.read_parquet(elapsed.elapsed)
    own = table[table["method"] == "neurohorizon"].sort_values("first_s")
    made = read_forecast(whole[0])
    since_s = (made.start_us - session.splits.reference.stop_us[-1]) / 1e6
    edges = [0, 10, 25, np.inf]
    expected = [np.count_nonzero((since_s >= low) & (since_s < high)) for low, high in pairwise(edges)]
    assert own["windows"].tolist() == expected
    assert min(expected) > 0
    assert own["first_s"].tolist() == [0, 10, 25]
    assert own["last_s"].isna().tolist() == [False, False, True]
    of = scores[scores["method"] == "neurohorizon"]
    for name in ("spikes", "model_nats", "reference_nats"):
        assert own[name].sum() == pytest.approx(of[name].sum(), rel=1e-12)
    # a null of each group's own means is at least as good as one mean for all
    assert own["evaluation_nats"].sum() > of["evaluation_nats"].sum()


def test_units_keep_their_sums_regions_and_reference_rates(elapsed, scores, session):
    table = pd.read_parquet(elapsed.by_unit).set_index(["method", "unit_id"])
    expected = scores.groupby(["method", "unit_id"])[["spikes", "model_nats", "reference_nats"]].sum()
    found = table[["spikes", "model_nats", "reference_nats"]].loc[expected.index]
    np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=1e-12)
    inside = session.splits.reference.contains(session.spike_times_us)
    bins = bin_domain(session.splits.reference, BIN_US)
    for unit, name in enumerate(session.units["id"]):
        if ("neurohorizon", name) not in table.index:
            continue
        own = session.spike_times_us[inside & (session.spike_unit == unit)]
        place = np.searchsorted(bins.start_us, own, side="right") - 1
        rate_hz = np.count_nonzero(own - bins.start_us[place] < BIN_US) / (len(bins) * BIN_US / 1e6)
        assert table.loc[("neurohorizon", name), "reference_rate_hz"] == pytest.approx(rate_hz, rel=1e-5)
        assert rate_hz >= MINIMUM_RATE_HZ
        assert table.loc[("neurohorizon", name), "region"] == session.units["region"][unit]


# tables

PLANTED = {10.0: 0.05, 60.0: 0.15, 0.0: 0.20}
"""Bits per spike by seconds of reference; 0 for the whole."""


def planted_curves(sessions=6, *, reached=None, within=0.25, seeds=(0, 1)):
    """Sums whose ratios are known; each session adds its own level to all, and seeds differ."""
    rows = []
    for number in range(sessions):
        named = {"fold": "main", "session": f"s{number}", "subject": f"a{number // 2}", "lab": "l", "source": "nwb"}
        level = 0.03 * (number - (sessions - 1) / 2)
        for seed in seeds:
            shift = 0.01 if seed else -0.01
            for size, bits in PLANTED.items():
                if size == 60.0 and reached is not None and number >= reached:
                    continue
                methods = {"neurohorizon": bits + level + shift}
                methods |= {"learned_embedding": within + level} if not size else {}
                for method, score in methods.items():
                    # the first bin scores higher and the last one lower, both together as planted
                    for horizon_bin, (spikes, share) in enumerate(((400, 1.5), (100, -0.5))):
                        gain = share * score * 500 * np.log(2)
                        rows.append(
                            named
                            | {
                                "method": method,
                                "class": "fitted" if method == "learned_embedding" else "zero_shot",
                                "seed": seed,
                                "curve": "reference_s",
                                "size": size or 300.0 + number,
                                "whole": not size,
                                "draw": None,
                                "units": 7,
                                "horizon_bin": horizon_bin,
                                "bin_us": 100_000,
                                "windows": 10,
                                "spikes": spikes,
                                "model_nats": -50.0 + gain,
                                "reference_nats": -50.0,
                            }
                        )
    return pd.DataFrame(rows).astype({"seed": "Int64", "draw": "Int64"})


def test_curves_are_means_over_sessions_of_ratios_of_sums_with_paired_differences():
    sessions = curve_sessions(planted_curves(), [100, 200, 1000])
    assert set(sessions["horizon_ms"]) == {100, 200}
    table = curve_table(sessions, RESAMPLING).set_index(["method", "horizon_ms", "size"])
    short, middle = table.loc[("neurohorizon", 200, 10.0)], table.loc[("neurohorizon", 200, 60.0)]
    assert short["bits_per_spike"] == pytest.approx(0.05)
    assert middle["bits_per_spike"] == pytest.approx(0.15)
    assert short["difference"] == pytest.approx(-0.15)
    # levels of sessions cancel in what is paired, and nowhere else
    assert short["difference_lower"] == pytest.approx(-0.15)
    assert short["difference_upper"] == pytest.approx(-0.15)
    assert short["lower"] < 0.04 < 0.06 < short["upper"]
    assert short["gap_closed"] == pytest.approx(0.05 / 0.25)
    assert (short["sessions"], short["animals"], short["units"]) == (6, 3, 42)
    whole = table.xs(("neurohorizon", 200), level=(0, 1)).query("whole").iloc[0]
    assert whole["bits_per_spike"] == pytest.approx(0.20)
    assert whole.name == pytest.approx(302.5)
    assert whole["difference"] == 0
    assert table.loc[("neurohorizon", 100, 10.0), "bits_per_spike"] == pytest.approx(1.5 * 0.05 * 500 / 400)


def test_sessions_that_are_too_short_are_missing_and_do_not_bend_the_difference():
    sessions = curve_sessions(planted_curves(reached=2), [200])
    row = curve_table(sessions, RESAMPLING).set_index(["method", "size"]).loc[("neurohorizon", 60.0)]
    assert row["sessions"] == 2
    assert row["difference"] == pytest.approx(-0.05)
    assert row["bits_per_spike"] == pytest.approx(row["whole_bits_per_spike"] - 0.05)
    assert row["whole_bits_per_spike"] < 0.15  # those two sessions are the lowest


def test_draws_add_their_sums_before_the_ratio():
    sums = planted_curves(sessions=2, seeds=(0,))
    draws = [sums.assign(draw=0), sums.assign(draw=1, spikes=sums["spikes"] * 3)]
    sessions = curve_sessions(pd.concat(draws, ignore_index=True), [200])
    one = curve_sessions(sums, [200])
    np.testing.assert_allclose(sessions["bits_per_spike"], one["bits_per_spike"] * 2 / 4)


def test_the_gap_is_the_ratio_of_mean_gains_and_there_is_none_where_nothing_is_gained():
    row = gap_table(curve_sessions(planted_curves(), [200]), RESAMPLING).iloc[-1]
    assert row["gap_closed"] == pytest.approx(0.20 / 0.25)
    assert row["gap_closed_lower"] < row["gap_closed"] < row["gap_closed_upper"]
    nothing = gap_table(curve_sessions(planted_curves(within=-0.1), [200]), RESAMPLING)
    assert nothing["gap_closed"].isna().all()


def planted_elapsed(sessions=4):
    rows = []
    bits = {"neurohorizon": (0.30, 0.26, 0.20), "own_history": (0.10, 0.10, 0.10), "gamma_poisson": (0.05, 0.09, 0.12)}
    bits |= {"shrinkage": (0.02, 0.02, 0.02), "reference_mean": (0, 0, 0), "learned_embedding": (0.31, 0.25, 0.18)}
    for number in range(sessions):
        for method, values in bits.items():
            for group, value in enumerate(values[: 2 if number == 0 else 3]):  # the first session is shorter
                gain = (value + 0.01 * number) * 1000 * np.log(2)
                rows.append(
                    {
                        **{"fold": "main", "session": f"s{number}", "subject": f"a{number}", "lab": "l"},
                        **{
                            "source": "nwb",
                            "method": method,
                            "class": "fitted" if method == "learned_embedding" else "zero_shot",
                        },
                        **{"seed": None, "code": "", "first_s": 60.0 * group, "units": 5, "windows": 50},
                        "last_s": 60.0 * (group + 1) if group < 2 else np.nan,
                        "spikes": 1000,
                        "model_nats": -900.0 + gain,
                        "reference_nats": -900.0,
                        "evaluation_nats": -900.0 + 10 * group * np.log(2),
                    }
                )
    return pd.DataFrame(rows).astype({"seed": "Int64"})


def test_change_with_time_is_paired_to_a_sessions_own_first_windows():
    table = elapsed_table(elapsed_sessions(planted_elapsed()), RESAMPLING).set_index(["null", "method", "first_s"])
    last = table.loc[("reference", "neurohorizon", 120.0)]
    assert last["sessions"] == 3
    assert last["change"] == pytest.approx(-0.10)
    # the null of the evaluation mean gained 0.02 bits meanwhile
    assert table.loc[("evaluation", "neurohorizon", 120.0), "change"] == pytest.approx(-0.12)
    assert table.loc[("reference", "neurohorizon", 0.0), "change"] == 0
    assert np.isnan(last["last_s"])


def test_leads_are_over_networks_the_fitted_network_and_the_best_of_the_others():
    leads = elapsed_leads(elapsed_sessions(planted_elapsed()), RESAMPLING)
    assert dict(leads[["against", "role"]].drop_duplicates().itertuples(index=False, name=None)) == {
        "gamma_poisson": "baseline",
        "own_history": "network",
        "learned_embedding": "within",
    }
    by_time = leads.set_index(["against", "first_s"])["difference"]
    np.testing.assert_allclose(by_time["own_history"], [0.20, 0.16, 0.10])
    np.testing.assert_allclose(by_time["gamma_poisson"], [0.25, 0.17, 0.08])
    np.testing.assert_allclose(by_time["learned_embedding"], [-0.01, 0.01, 0.02], atol=1e-12)
    assert leads.set_index(["against", "first_s"]).loc[("own_history", 120.0), "sessions"] == 3


# regions


def brute_force_pairs(rates, controls, ratio):
    """Most pairs within the ratio, and of those the smallest total difference in log rate."""
    best = (0, 0.0)
    places = [*range(len(controls)), *[None] * len(rates)]
    for chosen in set(permutations(places, len(rates))):
        apart = [abs(np.log(rate / controls[one])) for rate, one in zip(rates, chosen, strict=True) if one is not None]
        if all(one <= np.log(ratio) for one in apart):
            best = max(best, (len(apart), -sum(apart)))
    return best


def test_pairs_are_as_many_as_can_be_and_then_as_close():
    for seed in range(25):
        rng = np.random.default_rng(seed)
        rates, controls = np.exp(rng.normal(0, 0.3, 4)), np.exp(rng.normal(0, 0.3, 4))
        unit, control = match_rates(rates, controls)
        assert len(set(unit)) == len(set(control)) == len(unit)
        apart = np.abs(np.log(rates[unit] / controls[control]))
        assert (apart <= np.log(1.25)).all()
        number, total = brute_force_pairs(rates, controls, 1.25)
        assert len(unit) == number
        assert apart.sum() == pytest.approx(-total)
    assert [one.size for one in match_rates(np.zeros(0), np.ones(3))] == [0, 0]


def planted_units(bits_of, *, sessions=4, per_region=12, seeds=(0,)):
    """Units of three regions; A fires twice as fast as B and C, whose rates overlap with it."""
    rows = []
    for number in range(sessions):
        rng = np.random.default_rng(number)
        for region, fastest in (("A", 40.0), ("B", 20.0), ("C", 20.0), ("root", 10.0)):
            for place, rate in enumerate(np.exp(rng.uniform(np.log(2), np.log(fastest), per_region))):
                spikes = round(rate * 100)
                for seed in seeds:
                    gain = bits_of(region, rate, seed) * spikes * np.log(2)
                    rows.append(
                        {
                            **{"fold": "main", "session": f"s{number}", "subject": f"a{number}", "lab": "l"},
                            **{
                                "source": "nwb",
                                "method": "neurohorizon",
                                "class": "zero_shot",
                                "seed": seed,
                                "code": "",
                            },
                            **{"unit_id": f"{region}-{place}", "region": region, "reference_rate_hz": rate},
                            **{"windows": 10, "spikes": spikes, "model_nats": gain - 5.0, "reference_nats": -5.0},
                        }
                    )
    return pd.DataFrame(rows).astype({"seed": "Int64"})


def by_rate(region, rate, seed):
    return 0.05 * np.log2(rate)


def test_a_region_that_is_only_faster_is_not_better_than_units_of_its_rate():
    table = region_table(region_sessions(planted_units(by_rate), 20), RESAMPLING).set_index("region")
    assert table["all_bits_per_spike"]["A"] > table["all_bits_per_spike"]["B"] + 0.02
    assert abs(table["difference"]["A"]) < 0.01
    np.testing.assert_allclose(table["rate_hz"], table["control_rate_hz"], rtol=0.1)
    assert "root" not in table.index


def test_a_region_that_is_better_at_equal_rates_is_found():
    table = region_table(
        region_sessions(
            planted_units(lambda region, rate, seed: by_rate(region, rate, seed) + 0.1 * (region == "B")), 20
        ),
        RESAMPLING,
    )
    table = table.set_index("region")
    assert table["difference"]["B"] == pytest.approx(0.1, abs=0.02)
    assert table["lower"]["B"] > 0
    # what others are compared with is in part B, so they are worse than that
    assert (table["upper"][["A", "C"]] < 0).all()
    np.testing.assert_allclose(table["p"], 2.0**-3)
    np.testing.assert_allclose(table["p_holm"], 3 * 2.0**-3)


def test_small_regions_and_sessions_with_few_pairs_are_not_compared():
    units = planted_units(by_rate, per_region=12, sessions=2)
    assert region_sessions(units, 25).empty
    assert len(region_sessions(units, 24)) == 6
    few = units[(units["session"] == "s0") | (units["region"] != "B") | (units["unit_id"].isin(["B-0", "B-1"]))]
    sessions = region_sessions(few, 2).set_index(["session", "region"])
    assert sessions.loc[("s1", "B"), "pairs"] < FEWEST_PAIRS
    assert np.isnan(sessions.loc[("s1", "B"), "bits_per_spike"])
    table = region_table(sessions.reset_index(), RESAMPLING).set_index("region")
    assert (table.loc["B", "sessions"], table.loc["B", "all_sessions"]) == (1, 2)


def test_seeds_are_averaged_within_a_session():
    twice = region_sessions(planted_units(lambda region, rate, seed: 0.1 + 0.2 * seed, seeds=(0, 1)), 20)
    assert len(twice) == 4 * 3
    np.testing.assert_allclose(twice["bits_per_spike"], 0.2)
    assert (twice["units"] == 12).all()


# all of it


@pytest.fixture(scope="module")
def tables(folder, curves, elapsed):
    make_tables(
        curves=[curves],
        elapsed=[elapsed.elapsed],
        by_unit=[elapsed.by_unit],
        horizons_ms=[40, 120],
        matched_units=2,
        folder=folder / "tables",
        resampling=RESAMPLING,
    )
    return folder / "tables"


def test_every_table_names_null_and_class_and_how_many_animals(tables):
    found = {path.stem: pd.read_parquet(path) for path in tables.glob("*.parquet")}
    assert len(found) == 9
    for name, table in found.items():
        assert {"null", "class", "method"} <= set(table), name
        if not name.endswith("sessions"):
            assert {"sessions", "animals"} <= set(table), name
        assert (tables / f"{name}.tsv").is_file()
    assert "NeuroHorizon with a shorter reference window or fewer units" in (tables / "curves.txt").read_text()


def test_figures_are_drawn_even_of_one_animal_and_no_region(tables):
    read = {path.stem: pd.read_parquet(path) for path in tables.glob("*.parquet")}
    assert draw_reference_length(reference_length=read["reference_length"], curves_sessions=read["curves_sessions"])
    assert draw_population(population=read["population"], curves_sessions=read["curves_sessions"])
    assert draw_elapsed(elapsed=read["elapsed"], elapsed_leads=read["elapsed_leads"])
    assert draw_matched_regions(matched_regions=read["matched_regions"])


def test_of_more_regions_than_a_page_holds_those_of_most_animals_are_drawn():
    regions = pd.DataFrame(
        {
            "region": [f"R{number}" for number in range(60)],
            "animals": [1 + number % 5 for number in range(60)],
            **dict.fromkeys(("sessions", "pairs"), 5),
            **dict.fromkeys(("bits_per_spike", "control_bits_per_spike", "difference"), 0.1),
            **{"lower": 0.0, "upper": 0.2, "interval": 0.95},
        }
    )
    figure = draw_matched_regions(matched_regions=regions)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == 36 and all(label.endswith((" 3)", " 4)", " 5)")) for label in labels)
    assert "36 of 60 regions" in figure.get_suptitle()


def test_sentences_follow_the_numbers(folder, tables):
    one = describe_results(tables)
    assert "from one animal, which gives no interval" in one
    assert "has enough units" in one
    planted = folder / "planted"
    planted.mkdir()

    def told(**changes):
        made = {path.stem: pd.read_parquet(path) for path in tables.glob("*.parquet")} | changes
        for name, table in made.items():
            table.to_parquet(planted / f"{name}.parquet", index=False)
        return describe_results(planted)

    sessions = curve_sessions(planted_curves(), [200])
    length = curve_table(sessions, RESAMPLING)
    text = told(reference_length=length, gap=gap_table(sessions, RESAMPLING))
    assert "-0.150 (95% interval [-0.1500, -0.1500]), a loss: its interval lies below zero" in text
    assert "**80%**" in text
    assert "The mean loss shrinks with every step" in text
    worse = length.assign(difference=-length["difference"], difference_lower=0.1, difference_upper=0.2)
    assert "a gain: its interval lies above zero" in told(reference_length=worse)
    assert "does **not** shrink" in told(reference_length=worse)
    unsure = length.assign(difference_lower=-0.2, difference_upper=0.1)
    assert "cannot be distinguished" in told(reference_length=unsure)
    assert "no gap to close" in told(gap=gap_table(sessions, RESAMPLING).iloc[:0])
    leads = elapsed_sessions(planted_elapsed())
    text = told(elapsed=elapsed_table(leads, RESAMPLING), elapsed_leads=elapsed_leads(leads, RESAMPLING))
    assert "**-0.100 bits/spike**" in text
    assert "+0.200 in the first and +0.100" in text
    better = region_sessions(planted_units(lambda region, rate, seed: 0.1 + 0.1 * (region == "B")), 20)
    text = told(matched_regions=region_table(better, RESAMPLING))
    assert "excludes zero in B (+0.1" in text
    assert "no difference remains" in text
    alone = better[better["session"] == "s0"]
    assert "nothing follows for regions of other animals" in told(matched_regions=region_table(alone, RESAMPLING))
