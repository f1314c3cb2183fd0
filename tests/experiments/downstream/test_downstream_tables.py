"""Tables, figures and sentences of downstream decoding, from made scores whose means are known."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from neurohorizon.analysis.statistics import holm
from neurohorizon.analysis.style import render_png
from neurohorizon.analysis.tables import Resampling
from neurohorizon.experiments.downstream.figures import draw_scores, draw_sessions
from neurohorizon.experiments.downstream.narrative import (
    describe_counts,
    describe_declared,
    describe_latents,
    describe_left_out,
    describe_results,
)
from neurohorizon.experiments.downstream.tables import (
    comparison_table,
    format_summary,
    left_out_table,
    make_tables,
    session_table,
    summary_table,
)

RESAMPLING = Resampling(draws=300, interval=0.9, seed=0)
METHODS = ("latents", "raw_counts", "normalised_counts", "poyo_latents")
TARGETS = ("choice", "wheel_speed")


def score(method: str, target: str, animal: int, session: int, seed: int) -> float:
    """A made score: latents know the choice and nothing of the wheel, counts both; sessions and seeds differ."""
    known = {"choice": (0.7, 0.6, 0.65, 0.55), "wheel_speed": (-0.1, 0.3, 0.35, 0.1), "block": (0, 0, 0, 0)}[target]
    return known[METHODS.index(method)] + 0.01 * (animal + 2 * session) * (1 + METHODS.index(method)) + 0.004 * seed


def row(role: str, method: str, target: str, animal: int, session: int, seed: int, **values: object) -> dict:
    """A row of a score file."""
    trial = target == "choice"
    return {
        **{"fold": "main", "role": role, "session": f"{role}-{animal}-{session}", "subject": f"animal-{animal}"},
        **{"lab": role, "source": "ibl", "target": target, "method": method, "class": "fitted", "seed": seed},
        **{"score": score(method, target, animal, session, seed), "chance": 0.52 if trial else 0.0},
        **{"chance_upper": 0.6 if trial else 0.0, "auc": 0.6 if trial else np.nan, "windows": 80.0, "positive": 40.0},
        **{"runs": 20.0, "units": 30.0, "inputs": 90.0, "metric": "balanced accuracy" if trial else "R2"},
        **{"null": "labels shifted within blocks of time" if trial else "mean of the labels", "penalties": "1"},
        **{"saw": "", "left_out": "", "code": "abc"},
        **values,
    }


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[Path]:
    """Score files of three held-out animals and two training ones, two seeds each; one session has no blocks."""
    folder, files = tmp_path_factory.mktemp("scores"), []
    for role, animals in (("heldout", 3), ("train", 2)):
        for animal, session, seed in product(range(animals), range(2), range(2)):
            methods = METHODS if role == "heldout" else METHODS[:3]
            rows = [row(role, *what, animal, session, seed) for what in product(methods, TARGETS)]
            gone = {"score": np.nan, "left_out": "2 runs of equal labels", "metric": "", "null": ""}
            rows += [row(role, method, "block", animal, session, seed, **gone) for method in methods] if session else []
            files.append(folder / f"{role}-{animal}-{session}-{seed}.parquet")
            pd.DataFrame(rows).to_parquet(files[-1], index=False)
    return files


def test_seeds_are_averaged_within_a_session_before_sessions_are(paths):
    summary = summary_table(session_table(paths), RESAMPLING)
    found = summary.set_index(["role", "target", "method"])
    for role, animals in (("heldout", 3), ("train", 2)):
        for target, method in product(TARGETS, METHODS[:3]):
            values = [score(method, target, *one) for one in product(range(animals), range(2), range(2))]
            one = found.loc[(role, target, method)]
            assert one["score"] == pytest.approx(np.mean(values))
            assert one["above_chance"] == pytest.approx(np.mean(values) - (0.52 if target == "choice" else 0))
            assert (one["sessions"], one["animals"], one["seeds"]) == (2 * animals, animals, 2)
            assert one["lower"] <= one["score"] <= one["upper"]
    assert ("train", "choice", "poyo_latents") not in found.index
    assert (summary["class"] == "fitted").all() and (summary["null"] != "").all()
    assert found.loc[("heldout", "choice", "latents"), "sessions_above"] == 6
    raw = [
        np.mean([score("raw_counts", "choice", a, s, seed) for seed in range(2)])
        for a, s in product(range(3), range(2))
    ]
    assert found.loc[("heldout", "choice", "raw_counts"), "sessions_above"] == np.sum(np.array(raw) > 0.6)


def test_comparisons_are_paired_and_adjusted_over_the_declared_family_alone(paths):
    table = comparison_table(session_table(paths), RESAMPLING)
    declared = table[table["declared"].astype(bool)]
    assert set(zip(declared["target"], declared["against"], strict=True)) == set(
        product(TARGETS, ("chance", "normalised_counts", "raw_counts", "poyo_latents"))
    )
    assert (declared["role"] == "heldout").all() and (declared["method"] == "latents").all()
    np.testing.assert_allclose(declared["p_holm"], holm(declared["p"].to_numpy()))
    others = table[~table["declared"].astype(bool)]
    assert others["p_holm"].isna().all() and others["p"].isna().all() and len(others)
    one = declared.set_index(["target", "against"]).loc[("choice", "raw_counts")]
    by_animal = [
        [np.mean([score(m, "choice", a, *rest) for rest in product(range(2), range(2))]) for a in range(3)]
        for m in ("latents", "raw_counts")
    ]
    assert one["difference"] == pytest.approx(np.mean(np.subtract(*by_animal)))
    # Cohen's d of paired data is t over the root of n
    assert one["effect_size"] == pytest.approx(ttest_rel(*by_animal).statistic / np.sqrt(3))
    assert (one["sessions"], one["animals"]) == (6, 3)
    against_chance = declared.set_index(["target", "against"]).loc[("choice", "chance"), "difference"]
    values = [score("latents", "choice", *one) for one in product(range(3), range(2), range(2))]
    assert against_chance == pytest.approx(np.mean(values) - 0.52)


def test_what_was_left_out_is_listed_once_with_its_reason(paths):
    table = left_out_table(session_table(paths))
    assert len(table) == 5 and (table["target"] == "block").all()
    assert set(table["left_out"]) == {"2 runs of equal labels"}
    assert table["method"].iloc[0] == "latents normalised_counts raw_counts poyo_latents"
    assert "block of 5 sessions (such as: 2 runs of equal labels)" in describe_left_out(table)


def test_sentences_follow_the_numbers(paths):
    sessions = session_table(paths)
    summary, comparisons = summary_table(sessions, RESAMPLING), comparison_table(sessions, RESAMPLING)
    text = describe_latents(summary)
    assert text.index("above chance") < text.index("choice") < text.index("They do not") < text.index("wheel speed")
    turned = summary.assign(above_chance_lower=-summary["above_chance_lower"].abs())
    assert "**do not** decode choice" in describe_latents(turned)
    text = describe_counts(comparisons)
    assert "better than raw counts for choice" in text and "worse** than raw counts for wheel speed" in text
    flipped = describe_counts(comparisons.assign(difference=-comparisons["difference"]))
    assert "better than raw counts for wheel speed" in flipped
    assert "latents minus chance" in describe_declared(comparisons)


def test_tables_are_written_and_read_as_results(paths, tmp_path):
    make_tables(scores=paths, resampling=RESAMPLING, folder=tmp_path)
    for name in ("sessions", "summary", "comparisons", "left_out"):
        assert len(pd.read_parquet(tmp_path / f"{name}.parquet")) == len(
            pd.read_csv(tmp_path / f"{name}.tsv", sep="\t")
        )
    text = (tmp_path / "summary.txt").read_text()
    assert "Animals never seen in training:" in text and "POYO's latents" in text
    results = describe_results(tmp_path)
    assert "6 sessions of 3 animals never seen in training" in results and "0.25" in results
    assert results.count("\n\n") == 2


def test_the_order_of_score_files_changes_nothing(paths):
    first, second = (summary_table(session_table(files), RESAMPLING) for files in (paths, paths[::-1]))
    pd.testing.assert_frame_equal(first, second)


def test_figures_show_every_representation_and_are_the_same_each_time(paths):
    sessions = session_table(paths)
    summary = summary_table(sessions, RESAMPLING)
    figure = draw_scores(summary=summary)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["choice", "wheel speed"]
    assert "(6 sessions, 3)" in figure.axes[0].get_xticklabels()[0].get_text()
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[0] == "NeuroHorizon's latents (fitted)" and names[-1] == "chance"
    assert render_png(figure) == render_png(draw_scores(summary=summary))
    assert render_png(draw_sessions(sessions=sessions))


def test_a_run_in_which_nothing_could_be_decoded_has_tables_and_figures_too(tmp_path):
    gone = {"score": np.nan, "left_out": "no trials", "metric": "", "null": ""}
    path = tmp_path / "x.parquet"
    pd.DataFrame([row("heldout", method, "choice", 0, 0, 0, **gone) for method in METHODS]).to_parquet(path)
    make_tables(scores=[path], resampling=RESAMPLING, folder=tmp_path)
    tables = {name: pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("summary", "comparisons", "sessions")}
    assert tables["summary"].empty and tables["comparisons"].empty
    assert render_png(draw_scores(summary=tables["summary"]))
    assert render_png(draw_sessions(sessions=tables["sessions"]))
    assert "Nothing could be decoded" in describe_results(tmp_path)
    lines = format_summary(tables["summary"], tables["comparisons"], None, 0.9)
    assert lines == ["nothing could be decoded; left_out.tsv has the reasons"]
