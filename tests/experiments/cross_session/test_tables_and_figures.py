"""From forecast files to figures, on a made-up run whose expected scores are known."""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import yaml
from factories import ROOT
from scipy.stats import poisson

pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")

from factories.forecasts import (  # noqa: E402
    BIN_US,
    CONTEXT_BINS,
    EVERY_METHOD,
    KNOWLEDGE,
    expected_bits_per_spike,
    forecast_of,
    make_session,
    write_made_session,
    write_run,
)

from neurohorizon.analysis.session_list import write_session_list  # noqa: E402
from neurohorizon.analysis.tables import Resampling, TableError, left_out_table  # noqa: E402
from neurohorizon.analysis.wording import influence_sentence  # noqa: E402
from neurohorizon.cohort import Row, write_cohort  # noqa: E402
from neurohorizon.config import read_config  # noqa: E402
from neurohorizon.experiments.catalogue import CATALOGUE  # noqa: E402
from neurohorizon.experiments.cross_session.narrative import (  # noqa: E402
    describe_adaptive,
    describe_comparison,
    describe_data,
    describe_encoder,
    describe_horizon,
    describe_others,
    describe_result,
    describe_sources,
)
from neurohorizon.experiments.cross_session.tables import (  # noqa: E402
    comparison_table,
    format_summary,
    make_tables,
    pool_scores,
    session_table,
    summary_table,
)
from neurohorizon.forecasts.example import make_example, read_example  # noqa: E402
from neurohorizon.forecasts.forecast_file import ForecastFileError, read_forecast, write_forecast  # noqa: E402
from neurohorizon.forecasts.scoring import ScoringError, left_out_reason, score_session  # noqa: E402
from neurohorizon.forecasts.typical import median_count_window, spread_by_spikes  # noqa: E402
from neurohorizon.methods import BASELINES, EXPERTS, METHODS, method_label  # noqa: E402
from neurohorizon.scores import bits_per_spike, poisson_d2, sum_scores  # noqa: E402
from neurohorizon.session import left_out_session, write_session  # noqa: E402

RESAMPLING = Resampling(draws=1000, interval=0.95, seed=3)
SESSIONS, SEEDS = 8, (0, 1)


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """Forecasts, scores, tables and an example of eight sessions of four animals, and one left out."""
    folder = tmp_path_factory.mktemp("made")
    scores = write_run(folder, sessions=SESSIONS, seeds=SEEDS, left_out=1)
    make_tables(scores=scores, folder=folder / "tables", resampling=RESAMPLING, shared_subjects=["animal-1"])
    made = make_session(0)
    write_made_session(folder / "session.h5", made)
    make_example(
        sessions=[folder / "session.h5"],
        forecasts=[folder / "forecasts" / made.name / "neurohorizon_seed-0.h5"],
        rivals=[folder / "forecasts" / made.name / "own_history_seed-0.h5"],
        context_bins=CONTEXT_BINS,
        units=10,
        minimum_rate_hz=0.1,
        output=folder / "tables" / "example.h5",
    )
    return folder


@pytest.fixture(scope="module")
def every(tmp_path_factory) -> Path:
    """Tables of a run of two animals with every method that there is."""
    folder = tmp_path_factory.mktemp("every")
    scores = write_run(folder, sessions=4, methods=tuple(EVERY_METHOD))
    make_tables(scores=scores, folder=folder / "tables", resampling=replace(RESAMPLING, draws=200))
    return folder


def _table(run: Path, name: str) -> "pd.DataFrame":
    return pd.read_parquet(run / "tables" / f"{name}.parquet")


# forecast file


def test_a_forecast_file_gives_back_what_was_written(tmp_path):
    written = forecast_of(make_session(1), "neurohorizon", seed=4)
    write_forecast(tmp_path / "forecast.h5", written)
    read = read_forecast(tmp_path / "forecast.h5")
    for name, value in vars(written).items():
        np.testing.assert_array_equal(getattr(read, name), value, err_msg=name)
    assert read.seed == 4
    with h5py.File(tmp_path / "forecast.h5") as file:
        assert file["log_rate"].attrs["axes"].tolist() == ["window", "horizon_bin", "unit"]
    assert [path.name for path in tmp_path.iterdir()] == ["forecast.h5"]


def test_counts_above_255_survive_the_file(tmp_path):
    forecast = forecast_of(make_session(1), "oracle")
    observed = forecast.counts.astype(np.int64)
    observed[2, 3, 4] = 300
    write_forecast(tmp_path / "forecast.h5", replace(forecast, counts=observed))
    np.testing.assert_array_equal(read_forecast(tmp_path / "forecast.h5").counts, observed)


def test_a_forecast_of_the_wrong_shape_or_class_is_refused(tmp_path):
    forecast = forecast_of(make_session(1), "oracle")
    with pytest.raises(ForecastFileError, match="target_mask"):
        replace(forecast, target_mask=forecast.target_mask[:, :-1])
    with pytest.raises(ForecastFileError, match="not one of"):
        replace(forecast, method_class="zero-shot")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["spikes"] = [1]
    with pytest.raises(ForecastFileError, match="lacks session"):
        read_forecast(tmp_path / "other.h5")


# score file


def _write_pair(folder: Path, first, second) -> list[Path]:
    paths = [folder / "first.h5", folder / "second.h5"]
    for path, forecast in zip(paths, (first, second), strict=True):
        write_forecast(path, forecast)
    return paths


def test_the_score_file_holds_the_sums_of_every_method_unit_and_bin(run):
    made = make_session(2)
    scores = pd.read_parquet(run / "scores" / f"{made.name}.parquet")
    assert len(scores) == (len(KNOWLEDGE) + 2) * 50 * 18  # two methods have two seeds
    rows = scores[(scores["method"] == "own_history") & (scores["seed"] == 1)]
    forecast = forecast_of(made, "own_history", seed=1)
    sums = sum_scores(
        counts=forecast.counts,
        log_rate=forecast.log_rate,
        mask=forecast.target_mask,
        reference_log_rate=forecast.reference_log_rate,
    )
    for name in ("spikes", "model_nats", "reference_nats", "evaluation_nats", "saturated_nats"):
        found = rows.pivot(index="horizon_bin", columns="unit_id", values=name).to_numpy()
        np.testing.assert_array_equal(found, getattr(sums, name))
    assert rows.groupby("horizon_bin")["windows"].first().iloc[[0, 45]].tolist() == [94, 93]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("start_us", lambda forecast: forecast.start_us + 1),
        ("target_mask", lambda forecast: ~forecast.target_mask),
        ("counts", lambda forecast: np.roll(forecast.counts, 1, axis=1)),
        ("reference_log_rate", lambda forecast: forecast.reference_log_rate + 0.1),
        ("unit_id", lambda forecast: forecast.unit_id[::-1]),
        ("fold", lambda forecast: "another"),
        ("session", lambda forecast: "another"),
        ("bin_us", lambda forecast: 10_000),
    ],
)
def test_methods_that_were_asked_different_questions_are_not_compared(tmp_path, name, change):
    made = make_session(1)
    other = forecast_of(made, "shrinkage")
    paths = _write_pair(tmp_path, forecast_of(made, "oracle"), replace(other, **{name: change(other)}))
    with pytest.raises(ScoringError, match=name):
        score_session(forecasts=paths, output=tmp_path / "scores.parquet")
    assert not (tmp_path / "scores.parquet").exists()


def test_a_method_counts_once(tmp_path):
    forecast = forecast_of(make_session(1), "oracle")
    with pytest.raises(ScoringError, match="repeats"):
        score_session(forecasts=_write_pair(tmp_path, forecast, forecast), output=tmp_path / "scores.parquet")


def test_a_left_out_session_is_an_empty_table_with_the_reason(run):
    path = run / "scores" / f"{make_session(SESSIONS).name}.parquet"
    assert len(pd.read_parquet(path)) == 0
    assert left_out_reason(path)["left_out"] == "no spikes in the reference window"
    assert left_out_reason(path)["session"] == make_session(SESSIONS).name
    assert left_out_reason(run / "scores" / f"{make_session(0).name}.parquet") is None
    assert _table(run, "left_out")["reason"].tolist() == ["no spikes in the reference window"]


def test_training_sessions_that_were_left_out_are_listed_too(run, tmp_path):
    identity = {"source": "nwb", "subject": "Cori", "lab": "", "date": "2016-12-14"}
    write_session(tmp_path / "bad.h5", left_out_session(session_id="bad", reason="clock jumps", **identity))
    write_made_session(tmp_path / "good.h5", make_session(0))
    made = make_session(0)
    rest = {"lab": "", "date": "", "why": ""}
    rows = [
        Row(session="bad", source="nwb", subject="Cori", role="train", fold="", **rest),
        Row(session=made.name, source="ibl", subject=made.subject, role="heldout", fold="unseen", **rest),
    ]
    write_cohort(tmp_path / "cohort.tsv", rows)
    listed = tmp_path / "sessions.parquet"
    files = [tmp_path / "bad.h5", tmp_path / "good.h5"]
    write_session_list(files, tmp_path / "cohort.tsv", [listed, tmp_path / "sessions.tsv"])
    good, bad = pd.read_parquet(listed).to_dict("records")
    assert (good["role"], good["fold"], good["left_out"]) == ("heldout", "unseen", "")
    assert (good["units"], good["spikes"]) == (made.counts.shape[1], made.counts.sum())
    assert good["recorded_s"] == pytest.approx(len(made.counts) * BIN_US / 1e6)
    assert (bad["role"], bad["units"], bad["recorded_s"]) == ("train", 0, 0)
    assert (tmp_path / "sessions.tsv").read_text().count("clock jumps") == 1
    table = left_out_table([], listed)
    assert table[["session", "reason", "fold"]].to_numpy().tolist() == [["bad", "clock jumps", ""]]


# tables


def test_the_reference_mean_scores_exactly_zero_in_every_table(run):
    for name in ("sessions", "horizon_sessions", "horizon", "regions_sessions", "regions", "summary"):
        table = _table(run, name)
        rows = table[(table["method"] == "reference_mean") & (table["null"] == "reference")]
        assert len(rows)
        assert (rows["bits_per_spike"] == 0).all(), name


def test_scores_are_those_that_the_true_rates_lead_to_expect(run):
    sessions = _table(run, "sessions").query("null == 'reference'")
    for method in KNOWLEDGE:
        expected = np.mean([expected_bits_per_spike(make_session(number), method) for number in range(SESSIONS)])
        found = sessions.loc[sessions["method"] == method, "bits_per_spike"].mean()
        assert found == pytest.approx(expected, abs=0.01), method


def test_a_session_row_is_the_ratio_of_its_sums(run):
    made = make_session(3)
    scores = pd.read_parquet(run / "scores" / f"{made.name}.parquet").query("method == 'oracle'")
    rows = _table(run, "sessions").query("method == 'oracle' and session == @made.name").set_index("null")
    for null in ("reference", "evaluation"):
        expected = bits_per_spike(
            model_nats=scores["model_nats"].sum(),
            null_nats=scores[f"{null}_nats"].sum(),
            spikes=scores["spikes"].sum(),
        )
        assert rows.loc[null, "bits_per_spike"] == pytest.approx(expected, abs=1e-12)
    units = scores.groupby("unit_id")[["model_nats", "evaluation_nats", "saturated_nats"]].sum()
    d2 = poisson_d2(**{name: units[name].to_numpy() for name in units})
    assert rows.loc["evaluation", "poisson_d2"] == pytest.approx(np.nanmean(d2), abs=1e-12)
    assert np.isnan(rows.loc["reference", "poisson_d2"])
    assert set(rows.index) == {"reference", "evaluation"}


def test_the_unit_mean_gives_each_unit_of_each_session_the_same_weight(run):
    sessions = _table(run, "sessions").query("method == 'own_history'").set_index(["session", "null"])
    every = []
    for number in range(SESSIONS):
        name = make_session(number).name
        scores = pd.read_parquet(run / "scores" / f"{name}.parquet").query("method == 'own_history'")
        sums = scores.groupby(["seed", "unit_id"])[["model_nats", "reference_nats", "spikes"]].sum()
        gain_bits = (sums["model_nats"] - sums["reference_nats"]) / np.log(2)
        units = (gain_bits / sums["spikes"])[sums["spikes"] > 0].groupby("unit_id").mean()
        assert sessions.loc[(name, "reference"), "unit_mean"] == pytest.approx(units.mean(), abs=1e-12)
        assert sessions.loc[(name, "reference"), "spiking_units"] == len(units)
        every += units.tolist()
    summary = _table(run, "summary").query("null == 'reference'").set_index("method").loc["own_history"]
    assert summary["unit_mean"] == pytest.approx(np.mean(every), abs=1e-12)
    assert summary["unit_mean_lower"] <= summary["unit_mean"] <= summary["unit_mean_upper"]


def test_the_unit_with_most_spikes_is_named_with_the_score_without_it(run):
    made = make_session(5)
    scores = pd.read_parquet(run / "scores" / f"{made.name}.parquet").query("method == 'neurohorizon' and seed == 0")
    spikes = scores.groupby("unit_id")["spikes"].sum()
    largest = spikes.idxmax()
    table = _table(run, "unit_influence").query("session == @made.name").set_index("method")
    assert set(table["unit_id"]) == {largest}, "spikes are the same for every method"
    assert table["spike_share"].tolist() == pytest.approx([spikes.max() / spikes.sum()] * len(table))
    others = pd.read_parquet(run / "scores" / f"{made.name}.parquet").query(
        "method == 'neurohorizon' and unit_id != @largest"
    )
    sums = others.groupby("seed")[["model_nats", "reference_nats", "spikes"]].sum()
    by_seed = (sums["model_nats"] - sums["reference_nats"]) / (sums["spikes"] * np.log(2))
    assert table.loc["neurohorizon", "bits_per_spike_without"] == pytest.approx(np.mean(by_seed), abs=1e-12)
    whole = _table(run, "sessions").query("session == @made.name and null == 'reference'").set_index("method")
    pd.testing.assert_series_equal(table["bits_per_spike"], whole["bits_per_spike"][table.index])


def test_a_session_that_one_unit_carries_is_named_in_a_sentence(run):
    table = _table(run, "unit_influence")
    assert influence_sentence(table) == "", "no unit has half of the spikes"
    first = table["session"].iloc[0]
    table.loc[table["session"] == first, ["unit_id", "spike_share", "bits_per_spike"]] = ["19", 0.91, 0.098]
    table.loc[table["session"] == first, "bits_per_spike_without"] = 0.402
    assert influence_sentence(table) == (
        f"In 1 of {SESSIONS} sessions one unit has more than half of the scored spikes: {first} (unit 19: 91%; +0.098 "
        "bits/spike with it, +0.402 without it)."
    )
    table.loc[table["session"] == first, "bits_per_spike_without"] = np.nan
    assert "no other spike is scored" in influence_sentence(table)
    summary, comparisons, left_out = (_table(run, name) for name in ("summary", "comparisons", "left_out"))
    assert influence_sentence(table) in format_summary(summary, comparisons, left_out, table)


def test_horizon_bins_and_regions_add_up_to_the_session(run):
    whole = _table(run, "sessions").query("null == 'reference'").set_index(["session", "method"])
    for name in ("horizon_sessions", "regions_sessions"):
        parts = _table(run, name).groupby(["session", "method"])[["gain_nats", "spikes"]].sum()
        parts = parts.loc[whole.index]
        np.testing.assert_allclose(parts["gain_nats"], whole["gain_nats"], rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(parts["spikes"], whole["spikes"])


def test_the_first_horizon_bin_reaches_to_its_end(run):
    horizon = _table(run, "horizon")
    assert horizon["horizon_ms"].min() == 20.0
    assert horizon["horizon_ms"].max() == 1000.0


def test_seeds_are_averaged_within_a_session_and_their_spread_is_kept(run):
    made = make_session(0)
    scores = pd.read_parquet(run / "scores" / f"{made.name}.parquet").query("method == 'neurohorizon'")
    sums = scores.groupby("seed")[["model_nats", "reference_nats", "spikes"]].sum()
    by_seed = bits_per_spike(
        model_nats=sums["model_nats"].to_numpy(),
        null_nats=sums["reference_nats"].to_numpy(),
        spikes=sums["spikes"].to_numpy(),
    )
    row = _table(run, "sessions").query("method == 'neurohorizon' and session == @made.name and null == 'reference'")
    assert row["bits_per_spike"].item() == pytest.approx(by_seed.mean(), abs=1e-12)
    assert row["seed_sd"].item() == pytest.approx(by_seed.std(ddof=1), abs=1e-12)
    assert row["seeds"].item() == 2
    assert (_table(run, "summary").query("method == 'neurohorizon'")["sessions"] == SESSIONS).all()


def test_the_summary_counts_animals_orders_methods_and_names_its_null(run):
    summary = _table(run, "summary").query("null == 'reference'").set_index("method")
    assert summary.index.tolist() == list(KNOWLEDGE)
    assert (summary["animals"] == 4).all()
    assert summary.loc["oracle", "share_of_oracle"] == 1.0
    expected = summary.loc["shrinkage", "bits_per_spike"] / summary.loc["oracle", "bits_per_spike"]
    assert summary.loc["shrinkage", "share_of_oracle"] == pytest.approx(expected)
    inside = (summary["lower"] <= summary["bits_per_spike"]) & (summary["bits_per_spike"] <= summary["upper"])
    assert inside.all()


def test_sources_are_told_apart_where_there_are_several(run):
    sessions = _table(run, "sessions")
    assert set(_table(run, "summary")["source"]) == {"all"}, "one source is all there is"
    assert describe_sources(_table(run, "summary")) == ""
    sessions["source"] = np.where(sessions["subject"] == "animal-1", "allen", "ibl")
    comparisons = comparison_table(sessions, RESAMPLING)
    summary = summary_table(sessions, comparisons, RESAMPLING, ["animal-1"])
    assert summary["source"].unique().tolist() == ["all", "allen", "ibl"]
    whole = summary[summary["source"] == "all"].reset_index(drop=True)
    pd.testing.assert_frame_equal(whole, _table(run, "summary"))
    rows = summary.query("method == 'neurohorizon' and null == 'reference'").set_index("source")
    assert rows["sessions"].tolist() == [SESSIONS, 2, SESSIONS - 2]
    assert rows["animals"].tolist() == [4, 1, 3]
    assert np.isnan(rows.loc["allen", "lower"]), "one animal gives no interval"
    assert rows["over_shrinkage_p_holm"].notna().tolist() == [True, False, False], "declared over all sessions"
    primary = sessions.query("method == 'neurohorizon' and null == 'reference'").set_index("source")["bits_per_spike"]
    for source in ("allen", "ibl"):
        assert rows.loc[source, "bits_per_spike"] == pytest.approx(primary[source].mean())
    left_out = _table(run, "left_out")
    influence = _table(run, "unit_influence")
    lines = format_summary(summary, comparisons, left_out, influence)
    assert f"ibl     neurohorizon  {rows.loc['ibl', 'bits_per_spike']:+.4f}" in "\n".join(lines)
    # what is not by source is as it was without them
    assert set(format_summary(whole, comparisons, left_out, influence)) <= set(lines)
    assert f"{rows.loc['allen', 'bits_per_spike']:+.3f} in 2 sessions of 1 animal of source allen" in (
        describe_sources(summary)
    )
    assert describe_result(summary) == describe_result(whole)
    assert describe_data(summary, left_out) == describe_data(whole, left_out)
    figures = pytest.importorskip("neurohorizon.experiments.cross_session.figures")
    (bars,) = figures.draw_paired(sessions, summary).axes[0].containers
    assert len(bars.lines[0].get_xdata()) == len(KNOWLEDGE) - 1


def test_methods_stand_by_class_the_forecaster_after_what_it_is_measured_against(every):
    summary = _table(every, "summary").query("null == 'reference'")
    assert set(summary["method"]) == set(EVERY_METHOD)
    assert summary["class"].drop_duplicates().tolist() == ["zero_shot", "fitted", "control", "ceiling"]
    zero_shot = summary.loc[summary["class"] == "zero_shot", "method"].tolist()
    assert zero_shot.index("neurohorizon") == len(BASELINES)
    assert all(name.startswith("neurohorizon_") for name in zero_shot[len(BASELINES) + 1 :])


def test_the_gap_closed_is_the_share_of_what_a_fit_of_the_session_gains(every, run):
    summary = _table(every, "summary")
    for _, rows in summary.groupby("null"):
        rows = rows.set_index("method")
        assert rows.loc["reference_mean", "gap_closed"] == 0
        assert rows.loc["learned_embedding", "gap_closed"] == 1
        bottom, top = (rows.loc[name, "bits_per_spike"] for name in ("reference_mean", "learned_embedding"))
        expected = (rows.loc["neurohorizon", "bits_per_spike"] - bottom) / (top - bottom)
        assert rows.loc["neurohorizon", "gap_closed"] == pytest.approx(expected)
        assert rows.loc["neurohorizon", "gap_closed_lower"] < expected < rows.loc["neurohorizon", "gap_closed_upper"]
    assert f"closes {expected:.0%} of the gap" in describe_result(summary)
    assert f"  {expected:.0%}\n" in (every / "tables" / "summary.txt").read_text()
    assert _table(run, "summary")["gap_closed"].isna().all(), "nothing was fitted on the session"
    assert "gap" not in describe_result(_table(run, "summary")) + (run / "tables" / "summary.txt").read_text()


def test_the_adaptive_mixture_is_compared_with_each_of_its_experts(every):
    comparisons, sessions = _table(every, "comparisons"), _table(every, "sessions")
    rows = comparisons.query("method == 'neurohorizon_adaptive'").set_index("against")
    assert set(rows.index) == set(EXPERTS) and not rows["declared"].any()
    wide = sessions.query("null == 'reference'").pivot(index="session", columns="method", values="bits_per_spike")
    expected = (wide["neurohorizon_adaptive"] - wide["own_history"]).mean()
    assert rows.loc["own_history", "difference"] == pytest.approx(expected)
    text = describe_adaptive(_table(every, "summary"), comparisons)
    assert f"scores **{wide['neurohorizon_adaptive'].mean():+.3f} bits/spike**" in text
    assert "The closest of its experts is" in text and "the adaptive mixture loses" in text
    assert describe_adaptive(_table(every, "summary"), comparisons.query("method == 'neurohorizon'")) == ""


@pytest.mark.parametrize(
    ("difference", "lower", "says"),
    [
        (0.018, -0.007, "A gain cannot be shown"),
        (-0.003, -0.01, "A gain cannot be shown"),
        (-0.03, -0.05, "It lowers the score"),
        (0.006, 0.005, "less than 0.01"),
        (0.03, 0.01, None),
        (0.03, float("nan"), "A gain cannot be shown"),
    ],
)
def test_the_text_states_what_the_encoder_adds(every, difference, lower, says):
    comparisons = _table(every, "comparisons")
    row = (comparisons["method"] == "neurohorizon") & (comparisons["against"] == "own_history_readout")
    assert row.sum() == 1
    comparisons.loc[row, ["difference", "lower", "upper"]] = difference, lower, difference + 0.01
    text = describe_encoder(comparisons)
    assert f"adds {difference:+.3f} bits/spike" in text and text.count(". ") == (says is not None)
    assert says is None or says in text
    assert describe_encoder(comparisons[~row]) == ""
    assert "no population encoder" in describe_encoder(comparisons, present=False)


def test_what_fits_the_session_controls_and_other_decodings_have_no_adjusted_p(every):
    comparisons = _table(every, "comparisons").query("method == 'neurohorizon'").set_index("against")
    declared = comparisons[comparisons["declared"]]
    assert len(declared) == 9
    assert (declared["against_class"] == "zero_shot").all()
    assert declared["p_holm"].notna().all()
    apart = comparisons[~comparisons["declared"]]
    assert set(apart.index) == {
        *("neurohorizon_autoregressive", "neurohorizon_blockwise", "neurohorizon_coarse_to_fine", "history_glm"),
        *("coupled_glm", "learned_embedding", "shuffled_identity", "mean_identity", "oracle"),
        *("neurohorizon_adaptive", "neurohorizon_ensemble", "neurohorizon_latent_readout"),
    }
    assert apart["p_holm"].isna().all()
    text = describe_others(comparisons.reset_index())
    assert text.index("its blockwise decoding") < text.index("the coupled GLM") < text.index("the identities of units")
    assert "oracle" not in text, "a ceiling is no rival"
    assert describe_others(comparisons[comparisons["declared"]].reset_index()) == ""


def test_the_comparisons_are_paired_and_adjusted_over_the_declared_family_alone(run):
    comparisons = _table(run, "comparisons").set_index("against")
    assert comparisons.loc["shrinkage", "lower"] > 0
    assert comparisons.loc["shrinkage", "p"] == 2.0**-3
    assert comparisons.loc["shrinkage", "p_holm"] == 5 * 2.0**-3
    assert not comparisons.loc["oracle", "declared"]
    assert np.isnan(comparisons.loc["oracle", "p_holm"])
    summary = _table(run, "summary").query("null == 'reference'").set_index("method")
    assert summary.loc["neurohorizon", "over_shrinkage"] == comparisons.loc["shrinkage", "difference"]
    assert summary.loc["neurohorizon", "over_shrinkage_p_holm"] == comparisons.loc["shrinkage", "p_holm"]


def test_an_interval_does_not_depend_on_which_other_methods_were_run(run):
    sessions = _table(run, "sessions")
    few = sessions[sessions["method"].isin(["neurohorizon", "shrinkage"])]
    comparisons = comparison_table(few, RESAMPLING)
    alone = summary_table(few, comparisons, RESAMPLING).set_index(["null", "method"])
    among = _table(run, "summary").set_index(["null", "method"])
    row = ("reference", "neurohorizon")
    for name in ("bits_per_spike", "lower", "upper", "pooled_lower", "over_shrinkage_upper"):
        assert alone.loc[row, name] == among.loc[row, name]
    assert "share_of_oracle" not in alone
    assert comparisons["p_holm"].tolist() == comparisons["p"].tolist()


def test_animals_of_one_name_in_two_labs_are_two_animals(run):
    sessions = _table(run, "sessions")
    sessions["lab"] = sessions["session"].str[-2:]  # each session of an animal in a lab of its own
    summary = summary_table(sessions, comparison_table(sessions, RESAMPLING), RESAMPLING)
    assert (summary["animals"] == SESSIONS).all()


def test_tsv_and_text_say_what_the_parquet_says(run):
    summary = pd.read_csv(run / "tables" / "summary.tsv", sep="\t")
    np.testing.assert_allclose(summary["bits_per_spike"], _table(run, "summary")["bits_per_spike"], rtol=1e-9)
    text = (run / "tables" / "summary.txt").read_text()
    oracle = _table(run, "summary").query("method == 'oracle' and null == 'reference'")["bits_per_spike"].item()
    assert f"{oracle:+.4f}" in text
    assert "Left out: 1 session," in text
    assert "animal-1 were trained on" in text
    assert "With 4 animals no Holm-adjusted p can be below 0.62: none is given." in text
    assert "Holm p" not in text


@pytest.mark.slow
def test_the_same_scores_in_any_order_give_the_same_bytes(run, tmp_path):
    scores = sorted((run / "scores").glob("*.parquet"), reverse=True)
    make_tables(scores=scores, folder=tmp_path, resampling=RESAMPLING, shared_subjects=["animal-1"])
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (run / "tables" / path.name).read_bytes(), path.name
    make_tables(scores=scores, folder=tmp_path, resampling=RESAMPLING, shared_subjects=["animal-1"], note="In a dish.")
    assert (tmp_path / "summary.txt").read_text() == "In a dish.\n" + (run / "tables" / "summary.txt").read_text()


def test_a_session_scored_twice_is_an_error(run):
    path = run / "scores" / f"{make_session(0).name}.parquet"
    with pytest.raises(TableError, match="more than one score file"):
        pool_scores([path, path])


def test_a_run_without_any_session_says_so(run):
    with pytest.raises(TableError, match="all sessions were left out"):
        pool_scores([run / "scores" / f"{make_session(SESSIONS).name}.parquet"])


def test_a_score_of_minus_infinity_reaches_the_tables(tmp_path):
    made = make_session(1)
    forecast = forecast_of(made, "neurohorizon", seed=0)
    log_rate = forecast.log_rate.copy()
    log_rate[..., 5] = -np.inf  # a unit that fires
    paths = _write_pair(tmp_path, replace(forecast, log_rate=log_rate), forecast_of(made, "shrinkage"))
    score_session(forecasts=paths, output=tmp_path / "scores.parquet")
    sessions = session_table(pool_scores([tmp_path / "scores.parquet"])).set_index(["null", "method"])
    assert sessions.loc[("reference", "neurohorizon"), "bits_per_spike"] == -np.inf
    assert np.isfinite(sessions.loc[("reference", "shrinkage"), "bits_per_spike"])


def test_slow_units_are_chosen_by_the_reference_window_and_scored_by_no_method(tmp_path):
    made = make_session(1)
    paths = _write_pair(tmp_path, forecast_of(made, "oracle"), forecast_of(made, "shrinkage"))
    rate_hz = np.exp(made.reference_log_rate) / 0.02
    limit = float(np.sort(rate_hz)[2])  # that of the third slowest: a unit at the limit counts
    score_session(forecasts=paths, output=tmp_path / "some.parquet", minimum_rate_hz=limit)
    score_session(forecasts=paths, output=tmp_path / "all.parquet")
    some, whole = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("some", "all"))
    fast = read_forecast(paths[0]).unit_id[rate_hz >= limit]
    assert (some["unscored_units"] == 2).all()
    assert set(some["unit_id"]) == set(fast)
    pd.testing.assert_frame_equal(
        some.drop(columns="unscored_units"),
        whole[whole["unit_id"].isin(fast)].drop(columns="unscored_units").reset_index(drop=True),
    )
    score_session(forecasts=paths, output=tmp_path / "none.parquet", minimum_rate_hz=1e6)
    assert "reaches 1000000.0 Hz" in left_out_reason(tmp_path / "none.parquet")["left_out"]


# example


def test_the_example_window_has_the_median_score_of_busy_windows(run):
    made = make_session(0)
    example = read_example(run / "tables" / "example.h5")
    forecast = forecast_of(made, "neurohorizon", seed=0)
    fast = np.exp(made.reference_log_rate) * 50 >= 0.1
    counts, log_rate = forecast.counts[..., fast].astype(float), forecast.log_rate[..., fast].astype(float)
    null = made.reference_log_rate[fast]
    gain = (counts * (log_rate - null) - np.exp(log_rate) + np.exp(null)).sum((1, 2)) / np.log(2)
    spikes = counts.sum((1, 2))
    whole = forecast.target_mask.all(1)
    busy = whole & (spikes >= np.median(spikes[whole]))
    scores = gain / spikes
    window = np.flatnonzero(made.starts == round(example.origin_s * 50))[0]
    assert busy[window]
    assert example.score == pytest.approx(scores[window], rel=1e-4)
    assert abs(scores[window] - np.median(scores[busy])) == np.abs(scores[busy] - np.median(scores[busy])).min()


def test_the_window_of_sample_paths_has_the_median_spike_count_and_is_valid_throughout():
    observed = np.zeros((6, 4, 2), np.uint8)
    observed[:, 0, 0] = [9, 4, 1, 6, 5, 2]
    target_mask = np.ones((6, 4), bool)
    target_mask[4, 3] = False
    context_valid = np.array([True, True, True, True, True, False])
    # windows 0-3 are whole, with 9, 4, 1 and 6 spikes: the lower median is 4
    assert median_count_window(observed=observed, target_mask=target_mask, context_valid=context_valid) == 1


def test_the_units_of_the_example_have_spread_ranks_among_those_that_fired():
    spikes = np.array([0, 7, 1, 0, 5, 3, 9, 2, 4])
    np.testing.assert_array_equal(spikes[spread_by_spikes(spikes, 3)], [9, 4, 1])
    np.testing.assert_array_equal(spikes[spread_by_spikes(spikes, 20)], [9, 7, 5, 4, 3, 2, 1])
    assert not spread_by_spikes(np.zeros(3, int), 4).size


def test_the_example_shows_the_spikes_of_the_session_around_the_origin_and_both_forecasts(run):
    made = make_session(0)
    example = read_example(run / "tables" / "example.h5")
    first = round(example.origin_s * 50)
    assert first in made.starts
    shown = [int(name[-3:]) for name in example.unit_id]
    bins = np.floor(example.spike_time_ms / 20).astype(int) + CONTEXT_BINS
    counts = np.zeros((2 * CONTEXT_BINS, len(shown)), int)
    np.add.at(counts, (bins, example.spike_unit), 1)
    np.testing.assert_array_equal(counts, made.counts[first - CONTEXT_BINS : first + CONTEXT_BINS][:, shown])
    window = np.flatnonzero(made.starts == first)[0]
    for name, method in (("rate_hz", "neurohorizon"), ("rival_hz", "own_history")):
        expected = np.exp(forecast_of(made, method, seed=0).log_rate[window][:, shown]) * 50
        np.testing.assert_allclose(getattr(example, name), expected, rtol=1e-6)
    np.testing.assert_array_equal(example.observed, counts[CONTEXT_BINS:].reshape(10, 5, -1).sum(1))
    means = example.rate_hz.reshape(10, 5, -1).sum(1) / 50
    inside = poisson.cdf(example.high, means) - poisson.cdf(example.low - 1, means)
    assert (inside >= 0.9).all() and (poisson.cdf(example.low - 1, means) < 0.05).all()
    assert example.population.sum() == made.counts[first : first + 50, 2:].sum()  # without the two slow units


def test_the_example_skips_a_session_that_was_left_out(run, tmp_path):
    left_out = make_session(SESSIONS).name
    names = [left_out, make_session(0).name]
    make_example(
        sessions=[tmp_path / "never-opened.h5", run / "session.h5"],
        forecasts=[run / "forecasts" / name / "neurohorizon_seed-0.h5" for name in names],
        rivals=[run / "forecasts" / name / "own_history_seed-0.h5" for name in names],
        context_bins=10,
        units=4,
        minimum_rate_hz=0.1,
        output=tmp_path / "example.h5",
    )
    assert read_example(tmp_path / "example.h5").session == names[1]


# sentences


def _comparison(*, difference: float, lower: float, upper: float, animals: int = 9) -> "pd.Series":
    return pd.Series(
        {
            "method": "neurohorizon",
            "against": "own_history",
            "difference": difference,
            "lower": lower,
            "upper": upper,
            "interval": 0.95,
            "p_holm": 0.5,
            "sessions": 12,
            "animals": animals,
            "sessions_better": 4,
            "animals_better": 3,
        }
    )


@pytest.mark.parametrize(
    ("numbers", "said", "unsaid"),
    [
        ({"difference": 0.02, "lower": 0.01, "upper": 0.03}, "gains 0.020 bits/spike", "too few"),
        ({"difference": 0.02, "lower": 0.01, "upper": 0.03, "animals": 3}, "too few to represent others", "worse"),
        ({"difference": 0.02, "lower": -0.01, "upper": 0.05}, "**cannot be distinguished**", "better than"),
        (
            {"difference": -0.02, "lower": -0.03, "upper": -0.01},
            "it is **worse** than the own-history network",
            "NeuroHorizon gains",
        ),
        ({"difference": 0.02, "lower": np.nan, "upper": np.nan, "animals": 1}, "no interval", "excludes"),
    ],
)
def test_a_sentence_says_what_its_numbers_say_good_or_bad(numbers, said, unsaid):
    sentence = describe_comparison(_comparison(**numbers))
    assert said in sentence
    assert unsaid not in sentence
    assert "4 of 12 sessions" in sentence


def test_the_notebook_names_the_better_baseline_when_there_is_one(run):
    summary, horizon = _table(run, "summary"), _table(run, "horizon")
    names = {"neurohorizon": "own_history", "own_history": "neurohorizon"}
    swapped = summary.assign(method=summary["method"].replace(names))
    assert "best static zero-shot method of this run is the own-history network" in describe_result(swapped)
    assert "best zero-shot" not in describe_result(summary)
    turned = horizon.assign(method=horizon["method"].replace(names))
    assert "(the own-history network) in 50 of 50 bins, at 20 ms first" in describe_horizon(turned)
    assert "at least that of every other" in describe_horizon(horizon)


def test_the_notebook_says_on_what_it_stands(run):
    text = describe_data(_table(run, "summary"), _table(run, "left_out"))
    assert text.startswith("8 held-out sessions of 4 animals were forecast.")
    assert "unseen recordings, not unseen animals" in text
    assert "p cannot be below 0.12" in text


@pytest.mark.slow
def test_the_notebook_runs_on_the_tables_and_computes_nothing_else(run):
    notebook = json.loads((ROOT / "notebooks" / "cross_session.ipynb").read_text())
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell.get("outputs", []) == [] for cell in notebook["cells"])
    pytest.importorskip("IPython")
    names = {}
    exec("\n".join(code).replace("results/demo/cross_session/tables", str(run / "tables")), names)
    assert names["folder"] == run / "tables"


# figures


TABLES_OF = {
    "paired": ("sessions", "summary"),
    "horizon": ("horizon",),
    "example": ("example",),
    "main": ("example", "horizon", "sessions", "summary"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES_OF)
def test_every_figure_is_drawn_in_three_formats_the_same_bytes_each_time(run, tmp_path, name):
    figures = pytest.importorskip("neurohorizon.experiments.cross_session.figures")
    style = pytest.importorskip("neurohorizon.analysis.style")
    example = read_example(run / "tables" / "example.h5")
    tables = {table: example if table == "example" else _table(run, table) for table in TABLES_OF[name]}
    signatures = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}
    for time in ("first", "again"):
        style.save_figure(
            getattr(figures, f"draw_{name}")(**tables), [tmp_path / time / f"{name}.{suffix}" for suffix in signatures]
        )
    for suffix, signature in signatures.items():
        content = (tmp_path / "first" / f"{name}.{suffix}").read_bytes()
        assert content.startswith(signature)
        assert content == (tmp_path / "again" / f"{name}.{suffix}").read_bytes()
        assert b"CreationDate" not in content
        assert b"dc:date" not in content


@pytest.mark.slow
def test_the_command_line_draws_what_the_function_draws(run, tmp_path):
    figures = pytest.importorskip("neurohorizon.experiments.cross_session.figures")
    style = pytest.importorskip("neurohorizon.analysis.style")
    names = TABLES_OF["main"]
    files = [run / "tables" / ("example.h5" if name == "example" else f"{name}.parquet") for name in names]
    command = [
        sys.executable,
        ROOT / "workflow" / "scripts" / "call.py",
        "neurohorizon.analysis.drawing:draw_files",
        "--draw",
        CATALOGUE["cross_session"].figure_function("main"),
    ]
    command += ["--tables", *files, "--output", tmp_path / "there.svg"]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    example = read_example(run / "tables" / "example.h5")
    tables = {name: example if name == "example" else _table(run, name) for name in names}
    style.save_figure(figures.draw_main(**tables), [tmp_path / "here.svg"])
    assert (tmp_path / "there.svg").read_bytes() == (tmp_path / "here.svg").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sessions", "methods"),
    [
        (1, tuple(KNOWLEDGE)),
        (3, ("reference_mean", "neurohorizon")),
        (30, ("reference_mean", "shrinkage", "neurohorizon")),
    ],
)
def test_figures_stand_one_session_thirty_and_missing_methods(tmp_path, sessions, methods):
    figures = pytest.importorskip("neurohorizon.experiments.cross_session.figures")
    scores = write_run(tmp_path, sessions=min(sessions, 3), methods=methods)
    make_tables(scores=scores, folder=tmp_path / "tables", resampling=RESAMPLING)
    table, summary, horizon = (_table(tmp_path, name) for name in ("sessions", "summary", "horizon"))
    if sessions == 30:  # copies of the same animals under other names
        copies = [table.assign(session=table["session"] + str(n), subject=table["subject"] + str(n)) for n in range(15)]
        table = pd.concat(copies, ignore_index=True)
        summary = summary_table(table, comparison_table(table, RESAMPLING), RESAMPLING)
    figure = figures.draw_paired(table, summary)
    (axes,) = figure.axes
    shown = [method for method in methods if method != "reference_mean"]
    assert len(axes.get_yticklabels()) == len(shown)
    assert "bits/spike over\nreference-window" in axes.get_xlabel()
    lines = figures.draw_horizon(horizon).axes[0].get_legend_handles_labels()[1]
    assert len(lines) == len(shown)


def test_the_paired_figure_shows_the_numbers_of_its_tables(run):
    figures = pytest.importorskip("neurohorizon.experiments.cross_session.figures")
    sessions, summary = _table(run, "sessions"), _table(run, "summary").query("null == 'reference'")
    axes = figures.draw_paired(sessions, _table(run, "summary")).axes[0]
    (bars,) = axes.containers
    means = summary.loc[summary["method"] != "reference_mean", "bits_per_spike"].to_numpy()
    np.testing.assert_allclose(bars.lines[0].get_xdata(), means)
    ends = np.array([segment[:, 0] for segment in bars.lines[2][0].get_segments()])
    bounds = summary.loc[summary["method"] != "reference_mean", ["lower", "upper"]].to_numpy()
    np.testing.assert_allclose(ends, bounds)
    drawn = np.sort(np.concatenate([line.get_xdata() for line in axes.lines if line.get_marker() in ("o", "s", "^")]))
    expected = sessions.query("null == 'reference' and method != 'reference_mean'")["bits_per_spike"]
    np.testing.assert_allclose(drawn, np.sort(expected))


def test_every_method_has_a_label_and_a_line_of_its_own():
    style = pytest.importorskip("neurohorizon.analysis.style")
    assert set(METHODS) == set(EVERY_METHOD)
    assert len({str(style.method_line(name)) for name in METHODS}) == len(METHODS)
    assert len({method_label(name) for name in METHODS}) == len(METHODS)


def test_of_many_methods_few_are_drawn_by_horizon_and_all_by_session(every):
    figures = pytest.importorskip("neurohorizon.experiments.cross_session.figures")
    sessions, summary = _table(every, "sessions"), _table(every, "summary")
    axes = figures.draw_horizon(_table(every, "horizon")).axes[0]
    lines = axes.get_legend_handles_labels()[1]
    few = [name for name, one in METHODS.items() if one.short]
    assert len(lines) == len(few) == 10
    axes.figure.draw_without_rendering()
    legend = axes.get_legend().get_window_extent()
    assert axes.figure.bbox.x0 <= legend.x0 and legend.x1 <= axes.figure.bbox.x1, "the legend is cut off"
    further = len(METHODS) - 1 - len(few)
    assert axes.get_legend().get_title().get_text() == f"{further} further methods in the tables"
    labels = [label.get_text() for label in figures.draw_paired(sessions, summary).axes[0].get_yticklabels()]
    assert len(labels) == len(EVERY_METHOD) - 1
    assert {"coupled GLM (fitted)", "mean identity (control)", *lines} <= set(labels)
    figure = figures.draw_paired(sessions, summary)
    figure.draw_without_rendering()
    assert figure.bbox.x0 <= figure.get_tightbbox().x0 * figure.dpi, "cut off on the left"
    assert figure.get_tightbbox().x1 * figure.dpi <= figure.bbox.x1, "cut off on the right"
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(above.y0 > below.y1 - 1 for above, below in itertools.pairwise(boxes)), "labels overlap"


def test_a_score_that_cannot_be_drawn_is_counted_in_the_figure(run):
    figures = pytest.importorskip("neurohorizon.experiments.cross_session.figures")
    sessions = _table(run, "sessions")
    hit = (sessions["method"] == "shrinkage") & (sessions["null"] == "reference") & (sessions["subject"] == "animal-2")
    sessions.loc[hit, "bits_per_spike"] = -np.inf
    comparisons = comparison_table(sessions, RESAMPLING)
    axes = figures.draw_paired(sessions, summary_table(sessions, comparisons, RESAMPLING)).axes[0]
    assert "not drawn: 2 scores of minus infinity" in [text.get_text() for text in axes.texts]


def test_a_baseline_far_below_the_null_is_named_and_does_not_flatten_the_rest(run):
    figures = pytest.importorskip("neurohorizon.experiments.cross_session.figures")
    horizon = _table(run, "horizon")
    far = horizon["method"] == "trailing_mean"
    horizon.loc[far, ["bits_per_spike", "lower", "upper"]] -= 5
    axes = figures.draw_horizon(horizon).axes[0]
    assert axes.get_ylim()[0] > -1
    assert any("trailing mean, at -4.9" in text.get_text() for text in axes.texts)
    own = horizon["method"] == "neurohorizon"
    horizon.loc[own, ["bits_per_spike", "lower", "upper"]] -= 3
    assert figures.draw_horizon(horizon).axes[0].get_ylim()[0] < -2.5


def test_a_mean_beyond_the_axis_is_written_in_the_row_of_its_method(run):
    figures = pytest.importorskip("neurohorizon.experiments.cross_session.figures")
    sessions = _table(run, "sessions")
    sessions.loc[sessions["method"].isin(["trailing_mean", "shrinkage"]), "bits_per_spike"] -= 5
    comparisons = comparison_table(sessions, RESAMPLING)
    axes = figures.draw_paired(sessions, summary_table(sessions, comparisons, RESAMPLING)).axes[0]
    rows = {label.get_text(): label.get_position()[1] for label in axes.get_yticklabels()}
    written = {text.xy[1]: text.get_text() for text in axes.texts if text.get_text().startswith("\u2190")}
    assert written.keys() == {rows["trailing mean (zero-shot)"], rows["shrinkage (zero-shot)"]}
    assert all(text.startswith("\u2190 -4.") or text.startswith("\u2190 -5.") for text in written.values())


def test_a_figure_is_not_saved_in_a_format_with_dates(tmp_path):
    style = pytest.importorskip("neurohorizon.analysis.style")
    figures = pytest.importorskip("matplotlib.figure")
    with pytest.raises(ValueError, match=r"\.svg, \.pdf, \.png"):
        style.save_figure(figures.Figure(), [tmp_path / "figure.tiff"])


# captions


CAPTIONS = {
    one.caption(kind, name): one
    for one in CATALOGUE.values()
    for kind, names in (("table", one.shown), ("figure", one.figures))
    for name in names
}


@pytest.mark.parametrize(
    "caption", sorted((ROOT / "report").rglob("*.rst")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_caption_finds_what_it_quotes_in_every_shipped_config_that_has_it(caption):
    jinja2 = pytest.importorskip("jinja2")
    template = jinja2.Template(caption.read_text(), undefined=jinja2.StrictUndefined)
    entry = CAPTIONS.get(str(caption.relative_to(ROOT / "report")))
    for path in sorted((ROOT / "config").glob("*.yaml")):
        config = yaml.safe_load(path.read_text())
        if entry is None or entry.is_on(read_config(path)):
            assert "{" not in template.render(snakemake=SimpleNamespace(config=config), files=[])
