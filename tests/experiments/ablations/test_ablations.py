"""Experiment 6: each ablation against the whole network, on made scores whose differences are known."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from factories.ablations import BINS, EFFECTS, SPIKES, UNITS, WINDOWS, score_of, trained_networks, write_scores

from neurohorizon.ablations import ABLATIONS
from neurohorizon.analysis.statistics import holm, sign_flip_p
from neurohorizon.analysis.style import render_png
from neurohorizon.analysis.tables import Resampling, TableError
from neurohorizon.experiments.ablations.figures import draw_forest, draw_horizons
from neurohorizon.experiments.ablations.narrative import (
    describe_costliest,
    describe_identity,
    describe_parts,
    describe_results,
    describe_rollout,
)
from neurohorizon.experiments.ablations.tables import (
    COMPARISONS,
    ablation_table,
    difference_table,
    make_tables,
    read_scores,
    session_table,
)

SEEDS, SESSIONS = (0, 1), 6
RESAMPLING = Resampling(draws=200, interval=0.95, seed=0)
NAMES = ("ablations", "summary", "differences", "horizons", "sessions", "left_out")


def write_all(folder, *, names=None, seeds=SEEDS, **options):
    return [write_scores(folder, name, seed=seed, **options) for name in names or trained_networks() for seed in seeds]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablations")
    scores = write_all(folder, left_out="s9")
    make_tables(scores=scores, horizons_ms=(60, 500), folder=folder / "tables", resampling=RESAMPLING)
    return folder / "tables"


def read(folder, name):
    return pd.read_parquet(folder / f"{name}.parquet")


def expected(method, against, bins=BINS, sessions=range(SESSIONS)):
    """Difference of each animal, averaged over its sessions, seeds and bins, [animal]."""

    def mean(name, session):
        return np.mean([score_of(name, session, seed, bin_) for seed in SEEDS for bin_ in range(bins)])

    return np.array([mean(method, session) - mean(against, session) for session in sessions]).reshape(-1, 2).mean(1)


def test_every_ablation_of_the_configuration_is_compared_once_in_the_declared_family():
    declared = [one.variant for one in COMPARISONS if one.declared]
    assert sorted(declared) == sorted(ABLATIONS)
    assert {one.against for one in COMPARISONS if one.variant != "teacher_forcing_only"} == {"full"}


def test_differences_to_the_whole_network_come_back(folder):
    table = read(folder, "ablations").set_index("method")
    for one in COMPARISONS:
        by_animal, row = expected(one.method, one.against), table.loc[one.method]
        assert row["difference"] == pytest.approx(by_animal.mean()), one.method
        assert row["against"] == one.against and row["class"] == EFFECTS[one.method][0]
        # with three animals the bounds are the lowest and the highest
        assert (row["lower"], row["upper"]) == pytest.approx((by_animal.min(), by_animal.max())), one.method
        assert row["effect_size"] == pytest.approx(by_animal.mean() / by_animal.std(ddof=1))
        assert (row["sessions"], row["animals"], row["seeds"]) == (SESSIONS, SESSIONS // 2, len(SEEDS))
        assert row["animals_better"] == (by_animal > 0).sum() or np.isclose(by_animal, 0).any()
    assert table.loc["no_population", "share_kept"] == pytest.approx(
        table.loc["no_population", "bits_per_spike"] / table.loc["no_population", "against_bits_per_spike"]
    )


def test_holm_goes_over_the_declared_family_alone(folder):
    table = read(folder, "ablations")
    declared = table["declared"]
    assert declared.sum() == len(ABLATIONS) and list(table[~declared]["method"]) == ["teacher_forcing_only"]
    np.testing.assert_allclose(table.loc[declared, "p_holm"], holm(table.loc[declared, "p"]))
    assert table.loc[~declared, "p_holm"].isna().all() and table.loc[~declared, "p"].notna().all()
    row = table[table["method"] == "no_population"].iloc[0]
    differences = np.repeat(expected("no_population", "full"), 2)
    animals = np.repeat(["a", "b", "c"], 2)
    assert row["p"] == sign_flip_p(differences, animals, np.random.default_rng(0), draws=10)


def test_teacher_forcing_is_judged_by_its_rollout(folder):
    row = read(folder, "ablations").set_index(["variant", "declared"]).loc[("teacher_forcing_only", True)]
    assert row["method"] == "teacher_forcing_only_autoregressive" and row["against"] == "full_autoregressive"
    summary = read(folder, "summary").set_index("method")
    assert summary.loc["full", "windows"] == 4 * summary.loc["full_autoregressive", "windows"]
    assert summary.loc["full", "windows"] == SESSIONS * WINDOWS
    assert summary.index[0] == "full"


def test_seeds_are_averaged_within_a_session(folder):
    row = read(folder, "sessions").set_index(["method", "session"]).loc[("no_identity", "s4")]
    scores = [np.mean([score_of("no_identity", 4, seed, bin_) for bin_ in range(BINS)]) for seed in SEEDS]
    assert row["bits_per_spike"] == pytest.approx(np.mean(scores))
    assert row["seed_sd"] == pytest.approx(np.std(scores, ddof=1))
    assert row["seeds"] == 2 and row["spikes"] == BINS * UNITS * SPIKES and row["units"] == UNITS


def test_a_horizon_holds_the_bins_up_to_its_end(folder):
    table = read(folder, "horizons").set_index(["variant", "last_ms"])
    assert set(table.index.get_level_values("last_ms")) == {60, 200}
    for last_ms, bins in ((60, 3), (200, BINS)):
        mean = expected("no_own_history", "full", bins).mean()
        assert table.loc[("no_own_history", last_ms), "difference"] == pytest.approx(mean)
    assert table.loc[("no_own_history", 60), "difference"] < table.loc[("no_own_history", 200), "difference"]


def test_sessions_without_a_score_are_listed_once(folder):
    left_out = read(folder, "left_out")
    assert left_out.to_dict("records") == [{"session": "s9", "reason": "no spikes in the reference window"}]


def edited(path, change):
    table = pq.read_table(path)
    frame = table.to_pandas()
    pq.write_table(pa.Table.from_pandas(change(frame), table.schema, preserve_index=False), path)


@pytest.mark.parametrize("column", ["windows", "spikes", "reference_nats"])
def test_an_ablation_that_was_asked_something_else_is_refused(tmp_path, column):
    scores = write_all(tmp_path, names=("full", "no_identity"), seeds=(0,))
    edited(scores[1], lambda rows: rows.assign(**{column: rows[column] + (rows["session"] == "s2")}))
    with pytest.raises(TableError, match=f"{column} of session s2"):
        session_table(read_scores(scores))


def test_an_ablation_of_other_seeds_or_sessions_is_refused(tmp_path):
    scores = [write_scores(tmp_path, "full", seed=0), write_scores(tmp_path, "no_identity", seed=1)]
    with pytest.raises(TableError, match="same sessions and seeds"):
        session_table(read_scores(scores))
    scores = [write_scores(tmp_path, "full"), write_scores(tmp_path, "no_identity", sessions=4)]
    with pytest.raises(TableError, match="same sessions and seeds"):
        session_table(read_scores(scores))


def test_an_ablation_without_the_whole_network_is_refused(tmp_path):
    with pytest.raises(TableError, match="without full"):
        session_table(read_scores([write_scores(tmp_path, "rate_only")]))


def test_a_session_that_is_scored_twice_is_refused(tmp_path):
    first, second = write_scores(tmp_path / "a", "full"), write_scores(tmp_path / "b", "full")
    with pytest.raises(TableError, match="scored twice by full with seed 0"):
        read_scores([first, second])


def test_a_run_with_some_ablations_compares_those(tmp_path):
    scores = write_all(tmp_path, names=("full", "rate_only"))
    table = ablation_table(difference_table(session_table(read_scores(scores))), RESAMPLING)
    assert set(table["variant"]) == {"rate_only", "shuffled_identity", "learned_embedding"}
    np.testing.assert_allclose(table["p_holm"], holm(table["p"]))


def test_the_forest_marks_classes_and_shows_what_the_table_says(folder):
    table = {name: read(folder, name) for name in NAMES}
    figure = draw_forest(ablations=table["ablations"], differences=table["differences"])
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [one.label for one in ABLATIONS.values()]
    markers = {
        int(line.get_ydata()[0]): (float(line.get_xdata()[0]), line.get_marker())
        for line in axes.get_lines()
        if line.get_marker() in ("o", "D", "s")
    }
    rows = table["ablations"][table["ablations"]["declared"]].set_index("variant")
    for place, name in enumerate(ABLATIONS):
        marker = {"zero_shot": "o", "control": "D", "fitted": "s"}[rows.loc[name, "class"]]
        assert markers[place] == (pytest.approx(rows.loc[name, "difference"]), marker), name
    assert len({marker for _, marker in markers.values()}) == 3
    (beyond,) = [text.get_text() for text in axes.texts if "◂" in text.get_text()]
    exchanged = rows.loc["shuffled_identity"]
    assert (
        beyond.startswith(f"◂ \N{MINUS SIGN}{-exchanged['difference']:.2f} [")
        and exchanged["difference"] < axes.get_xlim()[0]
    )
    assert axes.get_xlim()[0] < rows.loc[rows["class"] != "control", "difference"].min()
    other = draw_horizons(horizons=table["horizons"])
    assert render_png(figure) != render_png(other)


@pytest.mark.slow
def test_one_animal_has_no_interval_and_no_verdict(tmp_path):
    scores = write_all(tmp_path, sessions=2, seeds=(0,))
    make_tables(scores=scores, horizons_ms=(100,), folder=tmp_path / "tables", resampling=RESAMPLING)
    table = {name: read(tmp_path / "tables", name) for name in NAMES}
    assert table["ablations"][["lower", "upper", "p", "p_holm"]].isna().all().all()
    text = describe_results(tmp_path / "tables")
    assert "nothing follows for other animals" in text and "**Worse**" not in text and "**Better**" not in text
    render_png(draw_forest(ablations=table["ablations"], differences=table["differences"]))
    assert "none" in (tmp_path / "tables" / "summary.txt").read_text()


def test_sentences_follow_the_numbers(folder):
    table = read(folder, "ablations")
    worse, rest = describe_parts(table).split("**Not distinguishable**")
    unclear, better = rest.split("**Better** than it")
    assert "without the population (-0.100" in worse and "one identity for all units" in worse
    assert "without relational features" in unclear
    assert "embeddings fitted to the session (+0.050" in better
    trained = table[table["declared"].astype(bool) & (table["class"] == "zero_shot")].set_index("variant")["difference"]
    assert f"**{trained.min():+.3f} bits/spike**" in describe_costliest(table)
    assert table["difference"].min() < trained.min(), "a control, which lacks no part, loses more"
    assert describe_results(folder).startswith(describe_costliest(table))
    assert "**helps**" in describe_identity(table) and "**helps** the rollout" in describe_rollout(table)
    turned = table.assign(difference=-table["difference"], lower=-table["upper"], upper=-table["lower"])
    assert "without the population (+0.100" in describe_parts(turned).split("**Better** than it")[1]
    assert "No ablation lowered the score" in describe_costliest(turned.assign(difference=turned["difference"].abs()))
    assert "**no evidence**" in describe_identity(turned) and "**harms** the rollout" in describe_rollout(turned)
