"""Experiment 3: the same windows for all decodings, and teacher-forced scores that are no forecasts."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from factories.calibration import network, run
from factories.sessions import made_files, made_session, small_config

from neurohorizon.analysis.style import render_png
from neurohorizon.analysis.tables import Resampling, TableError, horizon_ends_ms, horizon_parts
from neurohorizon.experiments.horizons.calibration import PIT_BINS, POPULATION, UNIT
from neurohorizon.experiments.horizons.calibration_scores import SCHEMA as CALIBRATION_SCHEMA
from neurohorizon.experiments.horizons.calibration_tables import read_calibration
from neurohorizon.experiments.horizons.figures import (
    draw_calibration,
    draw_curves,
    draw_horizons,
    draw_main,
    draw_teacher_forced,
)
from neurohorizon.experiments.horizons.narrative import describe_dependence, describe_reach, describe_results
from neurohorizon.experiments.horizons.tables import (
    TEACHER_FORCED,
    _many_nats,
    comparison_table,
    make_tables,
    mean_table,
    reach_table,
    read_sums,
    session_table,
)
from neurohorizon.experiments.horizons.teacher_forcing import NOT_A_FORECAST, SCHEMA, score_teacher_forcing
from neurohorizon.forecasts.forecast import forecast_windows
from neurohorizon.forecasts.forecast_file import Forecast, ForecastFileError, read_forecast, write_forecast
from neurohorizon.forecasts.without_network import forecast_with_baselines
from neurohorizon.inputs.batches import collate, session_block
from neurohorizon.inputs.sessions import load_inputs
from neurohorizon.inputs.windows import WindowShape, evaluation_origins
from neurohorizon.methods import DECODINGS
from neurohorizon.models.batch import Tensors
from neurohorizon.models.count_feedback import FedBackCounts
from neurohorizon.models.weights import save_forecaster

CONFIG = small_config()
SHAPE = WindowShape.of(CONFIG.timeline, CONFIG.model)
EVERY = 3


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    made = made_files(folder, made_session("s0", CONFIG.splits, n_units=6), CONFIG)
    baselines = folder / "baselines.json"
    tuned = {"reference_mean": {}, "trailing_mean": {"bins": 5}, "shrinkage": {"bins": 5, "weight": 0.3}}
    tuned["gamma_poisson"] = {"shape": 2.0, "discount": 0.9}
    baselines.write_text(json.dumps({name: {"settings": one} for name, one in tuned.items()}))
    return folder, made, baselines


@pytest.fixture(scope="module")
def forced(files):
    """Teacher-forced sums, beside the trailing mean in the place of the true rates."""
    folder, made, baselines = files
    forecast_with_baselines(
        baselines=baselines, paths=made.paths, fold="f", timeline=CONFIG.timeline, code="c", output_folder=folder / "o"
    )
    weights = folder / "forced" / "model.safetensors"
    weights.parent.mkdir()
    save_forecaster(weights, *network())
    return score(weights, [made.paths], [folder / "o" / "trailing_mean.h5"], folder / "forced.parquet")


def score(weights, paths, oracles, output, **options):
    settings = {"every_windows": EVERY, "minimum_rate_hz": 0.1} | options
    score_teacher_forcing(
        weights=weights,
        paths=paths,
        oracles=oracles,
        fold="f",
        method="neurohorizon",
        seed=3,
        timeline=CONFIG.timeline,
        code="c",
        output=output,
        **settings,
    )
    return output


def test_a_teacher_forced_bin_receives_the_counts_of_the_bins_before_it_and_no_others(files):
    _, made, _ = files
    forecaster, card = network()
    inputs = load_inputs(made.paths, "test", groups=card.features.groups, readout=card.model.readout)
    origins = evaluation_origins(inputs.part, SHAPE, 7)[:4]
    found = forecast_windows(forecaster, inputs, origins, SHAPE, fed_back=FedBackCounts.observed)
    x = Tensors.of(collate([session_block(inputs, origins, SHAPE)]))
    assert x.counts.sum() > 0
    for place in range(CONFIG.timeline.horizon_bins):
        is_given = x.target_mask.clone()
        is_given[:, :, place:] = False  # nothing from this bin on
        fed_back = FedBackCounts(x.counts * is_given[..., None], is_given)
        with torch.inference_mode():
            expected = forecaster.decode_given(forecaster.encode(x), x, fed_back).log_rate[0, :, place]
        np.testing.assert_allclose(found[:, place], expected, atol=1e-6)
    with torch.inference_mode():
        parallel = forecaster(x).log_rate[0].numpy()
    np.testing.assert_allclose(found[:, 0], parallel[:, 0], atol=1e-6)
    assert np.abs(found[:, 1:] - parallel[:, 1:]).max() > 1e-3


def test_teacher_forcing_is_scored_in_the_windows_that_paths_are_drawn_for(files, forced):
    folder, made, baselines = files
    sums = pd.read_parquet(run(folder, made, baselines, name="thin", every_windows=EVERY).sums)
    drawn = sums[(sums["method"] == "neurohorizon") & (sums["target"] == "unit") & (sums["paths"] > 0)]
    table = pd.read_parquet(forced)
    assert set(table["method"]) == {TEACHER_FORCED, "trailing_mean"}
    for _, rows in table.groupby("method"):
        for name in ("units", "unscored_units", "windows", "spikes", "bin_us"):
            assert list(rows[name]) == list(drawn[name]), name
        np.testing.assert_allclose(rows["reference_nats"], drawn["reference_nats"], rtol=1e-9)
    # the first bin receives no counts, so it is the parallel forecast's
    own = table[table["method"] == TEACHER_FORCED]
    assert own["model_nats"].iloc[0] == pytest.approx(drawn["model_nats"].iloc[0], rel=1e-6)
    assert set(own["class"]) == {NOT_A_FORECAST} and set(own["seed"]) == {3}


def test_true_rates_are_scored_in_the_same_windows(files, forced):
    folder, _, _ = files
    forecast = read_forecast(folder / "o" / "trailing_mean.h5")
    scored = np.exp(forecast.reference_log_rate) >= 0.1 * SHAPE.bin_us / 1e6
    log_rate = forecast.log_rate[::EVERY][..., scored].astype(float)
    counts = forecast.counts[::EVERY][..., scored]
    expected = np.where(forecast.target_mask[::EVERY, :, None], counts * log_rate - np.exp(log_rate), 0).sum((0, 2))
    table = pd.read_parquet(forced)
    rows = table[table["method"] == "trailing_mean"]
    np.testing.assert_allclose(rows["model_nats"], expected, rtol=1e-6)
    assert set(rows["class"]) == {"zero_shot"} and rows["seed"].isna().all()


def test_true_rates_of_other_windows_are_refused(files, forced, tmp_path):
    folder, made, _ = files
    kept = read_forecast(folder / "o" / "trailing_mean.h5")
    write_forecast(tmp_path / "moved.h5", replace(kept, start_us=kept.start_us + 1))
    weights = folder / "forced" / "model.safetensors"
    with pytest.raises(ValueError, match="not of the windows that are scored"):
        score(weights, [made.paths], [tmp_path / "moved.h5"], tmp_path / "t.parquet")


def test_a_session_without_a_scored_unit_is_named_with_the_reason(files, tmp_path, forced):
    folder, made, _ = files
    weights = folder / "forced" / "model.safetensors"
    output = score(weights, [made.paths], [], tmp_path / "none.parquet", minimum_rate_hz=1e6)
    assert pd.read_parquet(output).empty
    assert "none of 6 units" in json.loads(pq.read_schema(output).metadata[b"left_out"])["s0"]


def test_a_network_without_feedback_has_no_teacher_forced_score(files, forced, tmp_path):
    folder, made, _ = files
    weights = tmp_path / "model.safetensors"
    save_forecaster(weights, *network(feedback=False))
    oracles = [folder / "o" / "trailing_mean.h5"]
    output = score(weights, [made.paths], oracles, tmp_path / "plain.parquet")
    assert set(pd.read_parquet(output)["method"]) == {"trailing_mean"}
    assert pd.read_parquet(score(weights, [made.paths], [], tmp_path / "none.parquet")).empty


def test_a_forecast_file_refuses_what_is_no_forecast():
    names = {"session": "s", "subject": "a", "lab": "l", "source": "ibl", "fold": "f", "bin_us": 1, "left_out": "none"}
    with pytest.raises(ForecastFileError, match=NOT_A_FORECAST):
        Forecast(**names, method=TEACHER_FORCED, method_class=NOT_A_FORECAST)


# --- tables, from made sums whose scores are known

BINS, BIN_US, WINDOWS, SPIKES, UNITS = 10, 20_000, 40, 100, 5
RESAMPLING = Resampling(draws=200, interval=0.95, seed=0)
NULL_NATS = -500.0
GAIN_BITS = {  # method: gain of the first bin, fall per bin
    "reference_mean": (0.0, 0.0),
    "gamma_poisson": (0.25, 0.03),
    "neurohorizon": (0.35, 0.02),
    DECODINGS[0]: (0.35, 0.06),
    DECODINGS[1]: (0.35, 0.03),
    DECODINGS[2]: (0.35, 0.04),
}
NOISE_BITS = 0.01  # what half of the paths cost a decoding more than all of them
FORCED = {TEACHER_FORCED: (0.5, 0.0), "oracle": (0.8, 0.0)}


def gain_bits(method, bin_, session):
    """Known gain of a bin; the second animal's are a little higher."""
    first, fall = (GAIN_BITS | FORCED)[method]
    return first - fall * bin_ + (0.02 * (session // 2) if method != "reference_mean" else 0.0)


def nats(method, bin_, session):
    return NULL_NATS + gain_bits(method, bin_, session) * SPIKES * np.log(2)


def identity(session, method, kind="zero_shot", seed=0):
    names = {"fold": "f", "session": f"s{session}", "subject": f"a{session // 2}", "lab": "l", "source": "ibl"}
    return names | {"method": method, "class": kind, "seed": seed, "code": "c", "bin_us": BIN_US, "units": UNITS}


def write_calibration(path, session, seed=0, noise=0.0):
    rows = []
    for method in GAIN_BITS:
        for target in (UNIT, POPULATION):
            for paths in (0, 16):
                for bin_ in range(BINS):
                    row = dict.fromkeys(CALIBRATION_SCHEMA.names, 0) | identity(session, method, seed=seed)
                    row |= {"target": target, "first_bin": bin_, "last_bin": bin_ + 1, "paths": paths}
                    row |= {"windows": WINDOWS, "cases": WINDOWS * PIT_BINS, "spikes": SPIKES, "crps": 1.0 + bin_}
                    row |= {f"pit_{index:02d}": WINDOWS for index in range(PIT_BINS)}
                    has_nats = target == UNIT
                    row["model_nats"] = nats(method, bin_, session) + noise if has_nats else np.nan
                    row["reference_nats"] = NULL_NATS if has_nats else np.nan
                    drawn = has_nats and method in DECODINGS
                    row["half_nats"] = row["model_nats"] - NOISE_BITS * SPIKES * np.log(2) if drawn else np.nan
                    rows.append(row)
    table = pa.Table.from_pylist(rows, schema=CALIBRATION_SCHEMA)
    pq.write_table(table.replace_schema_metadata({"session": f"s{session}"}), path)
    return path


def write_forced(path, sessions, seed=0, **changes):
    rows = []
    for session in sessions:
        for method in FORCED:
            for bin_ in range(BINS):
                kind = "ceiling" if method == "oracle" else NOT_A_FORECAST
                row = identity(session, method, kind, None if method == "oracle" else seed)
                row |= {"horizon_bin": bin_, "unscored_units": 0, "windows": WINDOWS, "spikes": SPIKES}
                row |= {"model_nats": nats(method, bin_, session), "reference_nats": NULL_NATS}
                rows.append(row | changes)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    return path


def made_sums(folder, sessions=(0, 1, 2, 3), **changes):
    calibration = [write_calibration(folder / f"c{session}.parquet", session) for session in sessions]
    return calibration, [write_forced(folder / "forced.parquet", sessions, **changes)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("horizons")
    calibration, forced = made_sums(folder)
    make_tables(
        calibration=calibration,
        teacher_forced=forced,
        horizons_ms=(60, 100, 500),
        block_bins=3,
        folder=folder / "tables",
        resampling=RESAMPLING,
    )
    return folder / "tables"


def read(folder, name):
    return pd.read_parquet(folder / f"{name}.parquet")


def test_a_horizon_holds_all_bins_up_to_its_end(folder):
    table = read(folder, "horizons").set_index(["method", "last_ms"])["bits_per_spike"]
    for last_ms, bins in ((60, 3), (100, 5), (200, 10)):
        mean = np.mean([gain_bits("neurohorizon", bin_, session) for session in range(4) for bin_ in range(bins)])
        assert table["neurohorizon", last_ms] == pytest.approx(mean)
    # the configured 500 ms are more than was forecast: the whole horizon stands in their place
    assert set(table.index.get_level_values("last_ms")) == {60, 100, 200}


def test_ends_beyond_what_was_forecast_are_the_whole_horizon():
    assert horizon_ends_ms((100, 200, 500, 1000), 1000) == [100, 200, 500, 1000]
    assert horizon_ends_ms((100, 500), 240) == [100, 240]
    assert horizon_ends_ms((100,), 60) == [60]


def test_parts_of_the_horizon_follow_each_other_and_the_last_is_all_of_it():
    assert horizon_parts((100, 200, 500, 1000), 1000) == [(0, 100), (100, 200), (200, 500), (500, 1000), (0, 1000)]
    assert horizon_parts((100, 200, 500, 1000), 300) == [(0, 100), (100, 200), (200, 300), (0, 300)]
    assert horizon_parts((100, 200), 100) == [(0, 100)]


def test_curves_are_by_single_bin_and_shares_of_the_ceiling(folder):
    bins = read(folder, "bins").set_index(["method", "horizon_ms"])
    for bin_ in range(BINS):
        row = bins.loc[(DECODINGS[1], 20.0 * (bin_ + 1))]
        mean, ceiling = (
            np.mean([gain_bits(name, bin_, session) for session in range(4)]) for name in (DECODINGS[1], "oracle")
        )
        assert row["bits_per_spike"] == pytest.approx(mean)
        assert row["share_of_oracle"] == pytest.approx(mean / ceiling)
        assert row["lower"] <= mean <= row["upper"] and row["animals"] == 2 and row["sessions"] == 4


def test_the_interval_first_touches_zero_where_the_lower_animal_does(folder):
    reach = read(folder, "reach").set_index(["over", "method"])
    # with two animals the bounds are the animals: 0.35 - 0.06 * 5 > 0 and 0.35 - 0.06 * 6 < 0
    rollout = reach.loc[("reference_mean", DECODINGS[0])]
    assert (rollout["touches_ms"], rollout["above_ms"], rollout["bins_above"]) == (140, 120, 6)
    parallel = reach.loc[("reference_mean", "neurohorizon")]
    assert np.isnan(parallel["touches_ms"]) and parallel["above_ms"] == 200 and parallel["bins_above"] == BINS
    # 0.10 - 0.03 * bin over the filter, whose animals differ as much
    assert reach.loc[("gamma_poisson", DECODINGS[0])]["touches_ms"] == 100
    assert ("reference_mean", "reference_mean") not in reach.index and (
        "gamma_poisson",
        "gamma_poisson",
    ) not in reach.index


def test_a_curve_that_rises_again_touched_zero_all_the_same():
    line = pd.DataFrame({"horizon_ms": [20.0, 40.0, 60.0], "lower": [0.1, 0.0, 0.2]})
    line = line.assign(method="m", null="reference", interval=0.95, sessions=4, animals=2)
    line["class"] = "zero_shot"
    row = reach_table({"reference_mean": line}).iloc[0]
    assert (row["touches_ms"], row["above_ms"], row["bins_above"]) == (40, 20, 2)
    unknown = reach_table({"reference_mean": line.assign(lower=np.nan)}).iloc[0]
    assert np.isnan([unknown["touches_ms"], unknown["above_ms"], unknown["bins_above"]]).all()


def test_nothing_is_compared_within_the_first_step(folder):
    comparisons = read(folder, "comparisons")
    found = set(zip(comparisons["method"], comparisons["last_ms"], strict=True))
    assert found == {(DECODINGS[0], 60), *((method, end) for method in DECODINGS for end in (100, 200))}
    assert set(comparisons["against"]) == {"neurohorizon"}
    row = comparisons.set_index(["method", "last_ms"]).loc[(DECODINGS[0], 200)]
    assert row["difference"] == pytest.approx(-0.04 * np.mean(range(BINS)))
    assert row["sessions_better"] == 0 and row["animals"] == 2
    # seven tests of two animals, each with the smallest p there is
    assert comparisons["p"].eq(0.5).all() and comparisons["p_holm"].eq(1.0).all()


def test_the_noise_of_few_paths_is_taken_off_where_paths_are_drawn(folder):
    horizons = read(folder, "horizons").set_index(["method", "last_ms"])
    for method in GAIN_BITS:
        row = horizons.loc[(method, 200)]
        # half as many paths lose as much again, so endlessly many lose that much less
        assert row["many_paths"] == pytest.approx(row["bits_per_spike"] + (NOISE_BITS if method in DECODINGS else 0))
    row = read(folder, "comparisons").set_index(["method", "last_ms"]).loc[(DECODINGS[0], 200)]
    assert row["many_paths"] == pytest.approx(row["difference"] + NOISE_BITS)
    assert row["many_paths_lower"] <= row["many_paths"] <= row["many_paths_upper"]
    share = NOISE_BITS / -row["difference"]
    assert f"{share:.0%} for the autoregressive rollout" in describe_results(folder)


def test_the_extrapolation_finds_what_more_paths_reach():
    """A forecast that is a mean over n noisy rates, scored with n, with halves, and with very many."""
    rng = np.random.default_rng(0)
    windows, few, many = 200_000, 8, 2048
    mean, shape = 0.5, 2.0
    counts = rng.poisson(mean, windows)

    def score(rates):
        return float((counts * np.log(rates) - rates).sum())

    rates = rng.gamma(shape, mean / shape, (windows, few))
    halves = [score(half.mean(axis=1)) for half in np.split(rates, 2, axis=1)]
    drawn = pd.DataFrame({"paths": [few], "model_nats": score(rates.mean(axis=1)), "half_nats": np.mean(halves)})
    reached = score(rng.gamma(shape * many, mean / shape / many, windows))
    found = _many_nats(drawn).iloc[0]
    assert abs(found - reached) < 0.15 * (reached - drawn["model_nats"].iloc[0])


def test_teacher_forced_scores_stand_in_no_table_of_forecasts(folder):
    for name in ("horizons", "bins", "bins_over_filter", "reach", "comparisons", "calibration", "sessions"):
        table = read(folder, name)
        assert TEACHER_FORCED not in set(table["method"]), name
        assert not {TEACHER_FORCED, NOT_A_FORECAST} & set(table.astype(str).to_numpy().ravel()), name
    for name in ("teacher_forced", "teacher_forced_bins", "teacher_forced_sessions"):
        assert set(read(folder, name)["class"]) == {NOT_A_FORECAST}
    row = read(folder, "teacher_forced").set_index("last_ms").loc[200]
    rollout = np.mean([gain_bits(DECODINGS[0], bin_, session) for session in range(4) for bin_ in range(BINS)])
    assert row["bits_per_spike"] == pytest.approx(0.51)
    assert row["over_autoregressive"] == pytest.approx(0.51 - rollout)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"windows": WINDOWS + 1}, "windows of session"),
        ({"spikes": SPIKES - 1}, "spikes of session"),
        ({"reference_nats": NULL_NATS + 1}, "reference_nats of session"),
        ({"units": UNITS + 1}, "units of session"),
    ],
)
def test_sums_of_other_windows_or_units_are_refused(tmp_path, changes, words):
    calibration, forced = made_sums(tmp_path, **changes)
    with pytest.raises(TableError, match=words):
        read_sums(read_calibration(calibration), forced)


def test_sums_of_other_sessions_are_refused(tmp_path):
    calibration, _ = made_sums(tmp_path)
    with pytest.raises(TableError, match="not of the same sessions"):
        read_sums(read_calibration(calibration), [write_forced(tmp_path / "fewer.parquet", (0, 1, 2))])


def test_seeds_are_averaged_within_a_session(tmp_path):
    paths = [
        write_calibration(tmp_path / f"{session}-{seed}.parquet", session, seed=seed, noise=10.0 * seed)
        for session in (0, 2)
        for seed in (0, 1)
    ]
    forced = [write_forced(tmp_path / f"forced-{seed}.parquet", (0, 2), seed=seed) for seed in (0, 1)]
    by_session = session_table(read_sums(read_calibration(paths), forced), (200,))
    row = by_session[(by_session["method"] == "neurohorizon") & (by_session["session"] == "s0")].iloc[0]
    alone = np.mean([gain_bits("neurohorizon", bin_, 0) for bin_ in range(BINS)])
    assert row["bits_per_spike"] == pytest.approx(alone + 5.0 / (SPIKES * np.log(2)))
    assert row["seeds"] == 2 and row["spikes"] == BINS * SPIKES
    means = mean_table(by_session, "last_ms", RESAMPLING).set_index("method")
    assert means.loc["neurohorizon", "sessions"] == 2


def test_calibration_is_told_up_to_each_horizon(folder):
    calibration = read(folder, "calibration")
    assert set(calibration["last_ms"]) == {60, 100, 200} and set(calibration["first_ms"]) == {0}
    assert set(calibration["target"]) == {UNIT, POPULATION}
    # the PIT is flat, so intervals cover what they claim
    assert np.allclose(calibration["coverage_90"], 0.9) and np.allclose(calibration["coverage_50"], 0.5)
    cases = calibration.set_index(["target", "method", "last_ms"])["cases"]
    assert cases[UNIT, "neurohorizon", 100] == 4 * 5 * WINDOWS * PIT_BINS


@pytest.mark.slow
def test_one_animal_gives_no_interval_and_no_reach(tmp_path):
    calibration, forced = made_sums(tmp_path, sessions=(0, 1))
    by_session = session_table(read_sums(read_calibration(calibration), forced), (200,))
    assert mean_table(by_session, "last_ms", RESAMPLING)["lower"].isna().all()
    compared = comparison_table(by_session, dict.fromkeys(DECODINGS, 20.0), RESAMPLING)
    assert compared["p"].isna().all() and len(compared) == len(DECODINGS)
    make_tables(
        calibration=calibration,
        teacher_forced=forced,
        horizons_ms=(200,),
        block_bins=3,
        folder=tmp_path / "tables",
        resampling=RESAMPLING,
    )
    assert "Without intervals" in describe_reach(read(tmp_path / "tables", "reach"))
    assert "nothing follows for other animals" in describe_results(tmp_path / "tables")
    render_png(draw_main(**drawn_from(tmp_path / "tables")))


@pytest.mark.slow
@pytest.mark.parametrize("methods", [["oracle"], []])
def test_a_run_without_rollouts_has_the_other_tables_and_figures(tmp_path, methods):
    calibration, forced = made_sums(tmp_path)
    for path in calibration:
        kept = pq.read_table(path)
        pq.write_table(kept.filter(pc.invert(pc.is_in(kept["method"], pa.array(DECODINGS)))), path)
    kept = pq.read_table(forced[0])
    pq.write_table(kept.filter(pc.is_in(kept["method"], pa.array(methods, pa.string()))), forced[0])
    tables = tmp_path / "tables"
    make_tables(
        calibration=calibration,
        teacher_forced=forced,
        horizons_ms=(60, 200),
        block_bins=3,
        folder=tables,
        resampling=RESAMPLING,
    )
    assert set(read(tables, "horizons")["method"]) == {"reference_mean", "gamma_poisson", "neurohorizon", *methods}
    assert read(tables, "comparisons").empty and read(tables, "teacher_forced").empty
    assert "This run has no rollouts" in describe_results(tables)
    drawn = drawn_from(tables)
    render_png(draw_main(**drawn))
    render_png(draw_teacher_forced(teacher_forced_bins=drawn["teacher_forced_bins"], bins=drawn["bins"]))


def drawn_from(folder):
    names = ("bins", "horizons", "reach", "teacher_forced_bins", "calibration")
    return {name: read(folder, name) for name in names}


@pytest.mark.slow
def test_every_figure_is_drawn_from_its_tables(folder):
    table = drawn_from(folder)
    figures = [
        draw_main(**table),
        draw_curves(bins=table["bins"], reach=table["reach"]),
        draw_horizons(horizons=table["horizons"]),
        draw_teacher_forced(teacher_forced_bins=table["teacher_forced_bins"], bins=table["bins"]),
        draw_calibration(calibration=table["calibration"]),
    ]
    assert len({render_png(figure) for figure in figures}) == len(figures)
    first, last = figures[0].axes[0], figures[0].axes[1]
    lines = {tuple(line.get_ydata()) for line in first.get_lines()}
    parallel = table["bins"][table["bins"]["method"] == "neurohorizon"]["bits_per_spike"]
    assert tuple(parallel) in lines
    assert 140.0 in {line.get_xdata()[0] for line in first.get_lines() if len(line.get_xdata()) == 1}, "touches zero"
    assert [label.get_text() for label in last.get_xticklabels()] == ["60", "100", "200"]
    forced = table["teacher_forced_bins"]["bits_per_spike"]
    for axes in figures[0].axes[:2]:
        assert tuple(forced) not in {tuple(line.get_ydata()) for line in axes.get_lines()}


def test_sentences_follow_the_numbers(folder, tmp_path):
    text = describe_results(folder)
    assert "it **falls** with the horizon" in text and "**not a forecast**" in text
    assert "the autoregressive rollout first includes zero at **140 ms**" in text
    assert re.search(r"autoregressive rollout loses 0\.1800 bits/spike .*?\*\*worse\*\*", text)
    turned = {
        name: read(folder, name)
        for name in ("horizons", "reach", "comparisons", "teacher_forced", "calibration", "joint")
    }
    scores = turned["horizons"]
    scores["bits_per_spike"] = np.where(scores["last_ms"] == 200, 0.9, 0.1)
    for name in ("difference", "lower", "upper"):
        turned["comparisons"][name] = turned["comparisons"][name].abs()
    turned["comparisons"][["lower", "upper"]] = np.sort(turned["comparisons"][["lower", "upper"]])
    turned["calibration"]["coverage_90"] = 0.8
    for name, table in turned.items():
        table.to_parquet(tmp_path / f"{name}.parquet")
    text = describe_results(tmp_path)
    assert "**does not fall**" in text and "**better**" in text and "**too narrow**" in text
    assert "**worse**" not in text and "loses" not in text


def test_the_contribution_of_dependence_is_a_number_of_the_joint_table():
    methods = ["neurohorizon", "neurohorizon_shared_gain", "neurohorizon_shared_gain_exchanged"]
    joint = pd.DataFrame({"method": methods, "crps_population_total": [4.0, 3.0, 3.6]})
    joint["coverage_90_population_total"] = [0.5, 0.88, 0.61]
    joint["adapted_coverage_90_population_total"] = [0.7, 0.89, 0.72]
    joint["dependence_energy_unit_total"] = [np.nan, 0.0123, np.nan]
    joint["dependence_energy_population"] = [np.nan, -0.04, np.nan]
    text = describe_dependence(joint)
    assert "sums of single units by -1.23%" in text and "bins of all units by +4.00%" in text
    assert "independent counts cover 50.0%" in text and "changes by -25.0%" in text and "they cover 61.0%" in text
    assert describe_dependence(joint[:2]) == ""
