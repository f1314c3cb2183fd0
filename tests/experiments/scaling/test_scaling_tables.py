"""Tables and figures of the scaling experiment, from made score files whose laws are known."""

import inspect
import json

import numpy as np
import pandas as pd
import pytest
from factories.scaling import BIN_US, BINS, FADE, LABS, TOP, MadeScaling, write_scaling

from neurohorizon.analysis.statistics import holm
from neurohorizon.analysis.style import render_png, save_figure
from neurohorizon.analysis.tables import Resampling, TableError
from neurohorizon.experiments.scaling.figures import draw_curve, draw_horizon, draw_main
from neurohorizon.experiments.scaling.narrative import describe_parts, describe_prediction, describe_results
from neurohorizon.experiments.scaling.tables import (
    DECLARED,
    comparison_table,
    make_tables,
    read_points,
    sessions_text,
    whole_horizon,
)

RESAMPLING = Resampling(draws=500, interval=0.95, seed=0)
HORIZONS_MS = (200, 600, 5000)
MADE = MadeScaling(lost=("animal-03_1",), seeds=(0, 1))
HORIZON_MS = BINS * BIN_US / 1000


def made_tables(folder, made, horizons_ms=HORIZONS_MS):
    paths = write_scaling(folder, made)
    make_tables(scores=paths, horizons_ms=horizons_ms, folder=folder / "tables", resampling=RESAMPLING)
    return {path.stem: pd.read_parquet(path) for path in (folder / "tables").glob("*.parquet")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scaling")


@pytest.fixture(scope="module")
def tables(folder):
    return made_tables(folder, MADE)


def test_the_curve_is_the_planted_law(tables):
    curve = whole_horizon(tables["curve"]).set_index("size")
    assert curve.index.tolist() == ["10", "50", "100", "200", "max"]
    assert curve["sessions_trained"].tolist() == [10, 50, 100, 200, TOP]
    planted = MADE.law(curve["sessions_trained"]) * FADE.mean()
    # all sessions of a run share the levels of its animals; what is left is luck
    apart = curve["bits_per_spike"] - planted
    assert np.ptp(apart) < 0.006
    assert (np.diff(curve["bits_per_spike"]) > 0).all()
    assert (curve["lower"] < curve["bits_per_spike"]).all()
    assert curve["draws"].tolist() == [3, 3, 3, 3, 1]
    assert np.isnan(curve.loc["max", "draw_sd"])
    assert curve.loc["10", "draw_sd"] == pytest.approx(MADE.luck, rel=0.9)
    assert (curve["null"] == "reference").all()
    assert (curve["seeds"] == 2).all()
    assert curve.loc["max", "animals_trained"] == TOP / 2
    assert curve.loc["max", "recorded_h"] == pytest.approx(TOP / 6)


def test_a_part_of_the_horizon_holds_all_bins_up_to_its_end(tables):
    curve = tables["curve"]
    assert curve["last_ms"].unique().tolist() == [200, 600, HORIZON_MS]
    of_top = curve[curve["size"] == "max"].set_index("last_ms")["bits_per_spike"]
    # every bin has as many spikes, so a part is the plain mean of its bins
    assert of_top[600] / of_top[200] == pytest.approx(FADE[:3].mean() / FADE[0])
    assert of_top[HORIZON_MS] / of_top[200] == pytest.approx(FADE.mean() / FADE[0])
    horizon = tables["horizon"].query("size == 'max'").set_index("horizon_ms")["bits_per_spike"]
    np.testing.assert_allclose(horizon / horizon.iloc[0], FADE)


@pytest.mark.slow
def test_sums_are_pooled_over_units_before_the_ratio(folder, tables):
    points = read_points(sorted(folder.glob("main/*/scores.parquet")), horizons_ms=HORIZONS_MS)
    raw = pd.read_parquet(folder / "main" / "sessions-max_draw-0_seed-1" / "scores.parquet")
    raw = pd.concat([raw, pd.read_parquet(folder / "main" / "sessions-max_draw-0_seed-0" / "scores.parquet")])
    raw = raw[(raw["session"] == "animal-05_1") & (raw["horizon_bin"] < 3)]
    sums = raw.groupby("seed")[["model_nats", "reference_nats", "spikes"]].sum()
    expected = ((sums["model_nats"] - sums["reference_nats"]) / sums["spikes"] / np.log(2)).mean()
    found = points.scores.query("session == 'animal-05_1' and size == 'max' and last_ms == 600")
    assert found["bits_per_spike"].item() == pytest.approx(expected)
    assert found["seeds"].item() == 2


def test_the_planted_law_is_best_by_aicc_and_predicts_the_top(tables):
    fits = whole_horizon(tables["fits"]).set_index("law")
    assert fits.loc["power", "best"]
    assert fits.loc["power", "not_identified"] == ""
    assert fits["weight"].sum() == pytest.approx(1)
    assert fits.loc["power", "delta_aicc"] == 0
    assert fits.loc["power", "points"] == 4 * MADE.draws + 1
    # the exponent belongs to the law, whatever the level and the part of the horizon
    for alpha in tables["fits"].query("law == 'power'").itertuples():
        assert alpha.alpha_lower < 0.6 < alpha.alpha_upper
    predicted = whole_horizon(tables["predictions"]).set_index("law")
    assert predicted.loc["power", "chosen"]
    assert predicted.loc["power", "holds"]
    assert not predicted.loc["log_linear", "holds"]
    assert (predicted["top"] == TOP).all()
    assert (predicted["fitted_up_to"] == 200).all()
    top = whole_horizon(tables["curve"]).set_index("size").loc["max", "bits_per_spike"]
    assert predicted.loc["power", "observed"] == pytest.approx(top)


def test_lines_are_drawn_through_what_was_fitted(tables):
    lines = whole_horizon(tables["lines"])
    assert set(lines["fitted_to"]) == {"all", "smaller"}
    told = whole_horizon(tables["predictions"]).set_index("law")
    for law, line in lines[lines["fitted_to"] == "smaller"].groupby("law"):
        assert line["sessions_trained"].iloc[-1] == pytest.approx(TOP)
        assert line["bits_per_spike"].iloc[-1] == pytest.approx(told.loc[law, "predicted"])


def test_arms_differ_by_what_was_planted(tables):
    found = tables["comparisons"].set_index("comparison")
    assert found.index.tolist() == list(DECLARED)
    # a third of the sessions are of the lab that was trained in
    expected = {"same_lab": (2 * MADE.same_lab + MADE.own_lab) / 3, "same_region": MADE.same_region}
    for arm, difference in expected.items():
        assert found.loc[arm, "difference"] == pytest.approx(difference * FADE.mean(), abs=0.004)
        assert found.loc[arm, "draw_lowest"] <= found.loc[arm, "difference"] <= found.loc[arm, "draw_highest"]
        assert found.loc[arm, "draws"] == MADE.draws
    tenfolds = np.log10(27_000_000 / 250_000)
    assert found.loc["more_parameters", "difference"] == pytest.approx(MADE.tenfold * tenfolds * FADE.mean(), abs=0.005)
    assert found.loc["more_sessions", "sessions_better"] == 23
    np.testing.assert_allclose(found["p_holm"], holm(found["p"]))
    arms = whole_horizon(tables["arms"]).set_index("arm")
    assert arms.loc["same_lab", "labs_trained"] == 1
    assert arms.loc["random", "labs_trained"] == len(LABS)
    assert arms.loc["same_region", "region_distance"] == pytest.approx(0.1)
    differences = arms["bits_per_spike"] - arms.loc["random", "bits_per_spike"]
    for arm in expected:
        assert differences[arm] == pytest.approx(found.loc[arm, "difference"])


def test_held_out_sessions_of_the_lab_that_was_trained_in_are_told_apart(tables):
    found = tables["own_lab"].set_index("heldout_lab")
    assert found.loc["own", "difference"] == pytest.approx(MADE.own_lab * FADE.mean(), abs=0.004)
    assert found.loc["other", "difference"] == pytest.approx(MADE.same_lab * FADE.mean(), abs=0.004)
    assert found.loc["own", "draws"] == MADE.draws


def test_parameters_stand_in_their_order_with_the_network_of_the_run_among_them(tables):
    found = whole_horizon(tables["parameters"]).set_index("name")
    assert found["parameters"].is_monotonic_increasing
    assert set(found.index) == {"tiny", "small", "run", "base"}
    assert found.loc["tiny", "over_fewest"] == 0
    expected = MADE.tenfold * np.log10(5_000_000 / 250_000) * FADE.mean()
    for name in ("small", "run"):
        assert found.loc[name, "over_fewest"] == pytest.approx(expected, abs=0.005)


def test_the_network_of_the_run_may_be_the_largest(tmp_path):
    found = made_tables(tmp_path, MadeScaling(networks=(("tiny", 250_000), ("less", 900_000))), horizons_ms=(1000,))
    row = found["comparisons"].set_index("comparison").loc["more_parameters"]
    assert (row["what"], row["against"]) == ("run", "tiny")
    assert row["difference"] == pytest.approx(MADE.tenfold * np.log10(20) * FADE.mean(), abs=0.005)
    assert found["parameters"]["name"].tolist() == ["tiny", "less", "run"]
    text = describe_results(tmp_path / "tables")
    assert "the most parameters (the network of the run, 5 million)" in text
    assert "The highest mean is that of the network of the run." in text


def test_a_session_without_a_score_at_some_point_counts_at_none(tmp_path):
    paths = write_scaling(tmp_path, MadeScaling(animals=4, lost=("animal-03_1",)))
    short = next(path for path in paths if "sessions-50_draw-1" in str(path))
    table = pd.read_parquet(short)
    table[table["session"] != "animal-02_0"].to_parquet(short)
    points = read_points(paths, horizons_ms=HORIZONS_MS)
    assert set(points.left_out["session"]) == {"animal-03_1", "animal-02_0"}
    assert "some point" in points.left_out.set_index("session").loc["animal-02_0", "reason"]
    assert "no spikes" in points.left_out.set_index("session").loc["animal-03_1", "reason"]
    for table in (points.scores, points.bins):
        assert table["session"].nunique() == 6


def test_a_run_without_arms_sizes_or_draws_has_what_it_can_have(tmp_path):
    made = MadeScaling(draws=1, sizes=(10, 50), networks=(), animals=3)
    paths = [path for path in write_scaling(tmp_path, made) if "same_" not in str(path)]
    make_tables(scores=paths, horizons_ms=(1000,), folder=tmp_path / "tables", resampling=RESAMPLING)
    comparisons = pd.read_parquet(tmp_path / "tables" / "comparisons.parquet")
    assert comparisons["comparison"].tolist() == ["more_sessions"]
    fits = pd.read_parquet(tmp_path / "tables" / "fits.parquet").set_index("law")
    assert "points are too few" in fits.loc["power", "not_identified"]
    assert pd.read_parquet(tmp_path / "tables" / "own_lab.parquet").empty
    assert pd.read_parquet(tmp_path / "tables" / "parameters.parquet")["name"].tolist() == ["run"]
    assert "all sessions - 10 sessions" in (tmp_path / "tables" / "summary.txt").read_text()


def test_sizes_that_are_the_same_are_refused(tmp_path):
    paths = write_scaling(tmp_path, MadeScaling(sizes=(10, TOP), animals=2))
    with pytest.raises(TableError, match=r"370 and max were trained on the same number of sessions.*scaling\.sessions"):
        make_tables(scores=paths, horizons_ms=(1000,), folder=tmp_path / "tables", resampling=RESAMPLING)


def test_nothing_to_make_tables_of_is_an_error(tmp_path):
    with pytest.raises(TableError, match="no score file"):
        read_points([], horizons_ms=HORIZONS_MS)
    everyone = tuple(f"animal-{animal:02d}_{number}" for animal in range(2) for number in range(2))
    paths = write_scaling(tmp_path, MadeScaling(animals=2, lost=everyone))
    with pytest.raises(TableError, match="no held-out session has a score at every point"):
        read_points(paths, horizons_ms=HORIZONS_MS)


@pytest.mark.slow
def test_one_animal_gives_numbers_without_intervals(tmp_path):
    found = made_tables(tmp_path, MadeScaling(animals=1), horizons_ms=(1000,))
    assert found["curve"]["lower"].isna().all()
    assert found["predictions"]["holds"].isna().all()
    assert "one animal" in found["fits"].set_index("law").loc["power", "not_identified"]


def test_the_summary_names_null_counts_and_verdicts(folder, tables):
    text = (folder / "tables" / "summary.txt").read_text()
    assert "23 held-out sessions of 12 animals" in text
    assert "reference-window mean rate" in text
    assert "power: B - A * D ** -alpha" in text
    assert "not identified" in text
    assert "holds" in text
    assert "Left out: 1 session" in text


def test_the_trained_sessions_are_counted_as_the_card_says_not_as_the_point_is_called(tmp_path):
    paths = write_scaling(tmp_path, MadeScaling(animals=2))
    for path in paths:
        if "sessions-100_" in str(path):
            card = json.loads(path.with_name("point.json").read_text())
            path.with_name("point.json").write_text(json.dumps(card | {"sessions": card["sessions"][:-3]}))
    points = read_points(paths, horizons_ms=(1000,))
    assert (points.trained.query("size == '100' and kind == 'sessions'")["sessions_trained"] == 97).all()
    assert comparison_table(points, RESAMPLING)["comparison"].tolist() == list(DECLARED)


def figure_tables(draw, tables):
    return {name: tables[name] for name in inspect.signature(draw).parameters}


@pytest.mark.slow
@pytest.mark.parametrize("draw", [draw_main, draw_curve, draw_horizon])
def test_figures_are_drawn_and_the_same_twice(draw, tables, tmp_path):
    figure = draw(**figure_tables(draw, tables))
    assert render_png(figure) == render_png(draw(**figure_tables(draw, tables)))
    save_figure(figure, [tmp_path / f"figure.{suffix}" for suffix in ("svg", "pdf", "png")])


def test_the_curve_shows_means_and_laws_where_the_tables_have_them(tables):
    figure = draw_curve(**figure_tables(draw_curve, tables))
    axes = figure.axes[0]
    curve = whole_horizon(tables["curve"])
    drawn = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
    power = whole_horizon(tables["lines"]).query("law == 'power' and fitted_to == 'all'")
    np.testing.assert_allclose(drawn["power law, best AICc"], power[["sessions_trained", "bits_per_spike"]])
    means = next(one for one in axes.containers if one.get_label() == "mean of draws").lines[0].get_xydata()
    np.testing.assert_allclose(means, curve[["sessions_trained", "bits_per_spike"]])
    assert len(drawn["a draw"]) == 4 * MADE.draws + 1
    assert "training sessions" in axes.get_xlabel()
    assert "bits/spike" in axes.get_ylabel()
    assert "23 held-out sessions, 12 animals" in figure.get_suptitle()


def test_a_figure_of_a_run_without_arms_and_sizes_says_so(tmp_path):
    made = MadeScaling(draws=1, sizes=(10,), networks=(), animals=1)
    paths = [path for path in write_scaling(tmp_path, made) if "same_" not in str(path)]
    make_tables(scores=paths, horizons_ms=(1000,), folder=tmp_path / "tables", resampling=RESAMPLING)
    few = {path.stem: pd.read_parquet(path) for path in (tmp_path / "tables").glob("*.parquet")}
    figure = draw_main(**figure_tables(draw_main, few))
    said = " ".join(text.get_text() for axes in figure.axes for text in axes.texts)
    for part in ("too few sizes", "no other choice", "no other size"):
        assert part in said
    text = describe_results(tmp_path / "tables")
    assert "too few" in text
    assert "nan" not in text
    assert "no interval" in text


def test_the_paper_says_what_was_planted(folder, tables):
    text = describe_results(folder / "tables")
    row = whole_horizon(tables["fits"]).set_index("law").loc["power"]
    for part in (
        "10, 50, 100, 200, 370 sessions",
        "2 seeds",
        "23 held-out sessions of 12 animals",
        "By AICc a power law fits best.",
        f"exponent of **{row['alpha']:.2f}**",
        "the prediction **holds**",
        "from one lab",
        "brain regions",
        "The highest mean is that of base.",
    ):
        assert part in text
    assert "not identified" not in text
    assert "1 session could not be used" in text


@pytest.mark.slow
def test_what_is_not_decided_is_said(tmp_path):
    flat = made_tables(tmp_path, MadeScaling(law=lambda d: 0.1 + 0 * d, luck=0.01))
    text = describe_results(tmp_path / "tables")
    assert "**not identified**" in text
    assert "exponent of" not in text
    assert not whole_horizon(flat["fits"]).set_index("law").loc["power", "best"]


def test_a_prediction_that_fails_is_called_so(tables):
    wrong = tables["predictions"].assign(chosen=tables["predictions"]["law"] == "constant")
    assert "**fails**" in describe_prediction(wrong)
    assert "more than predicted" in describe_prediction(wrong)


@pytest.mark.parametrize(("number", "text"), [(2.0, "2"), (22 / 3, "7.3"), (459.0, "459")])
def test_a_mean_of_sessions_over_folds_is_short(number, text):
    assert sessions_text(number) == text


def test_parts_of_the_horizon_are_named_with_their_change(tables):
    curve = tables["curve"]
    of_part = curve[curve["last_ms"] == 200]["bits_per_spike"]
    assert f"{of_part.iloc[-1] - of_part.iloc[0]:+.3f} up to 200 ms" in describe_parts(curve)
