"""Parts that all tables, sentences and panels share keep to their numbers."""

import numpy as np
import pandas as pd
import pytest

from neurohorizon.analysis.panels import column_figure, count_text, error_bar, letters
from neurohorizon.analysis.statistics import bootstrap_mean, bootstrap_ratio, compare_paired, holm
from neurohorizon.analysis.tables import (
    SESSION,
    Resampling,
    TableError,
    comparison_cells,
    grouped_rows,
    ordered,
    read_scored,
    require_once,
    text_table,
    whole_horizon,
    with_holm,
)
from neurohorizon.analysis.wording import few_animals, interval_text, outcome, smallest_p, verdict

RESAMPLING = Resampling(draws=200, interval=0.9, seed=3)


@pytest.fixture
def sessions() -> pd.DataFrame:
    """Scores of four sessions of three animals, two of which have the same name in two labs."""
    names = [("s1", "x", "a"), ("s2", "x", "a"), ("s3", "x", "b"), ("s4", "y", "b")]
    rows = [dict(zip(("session", "subject", "lab"), name, strict=True)) for name in names]
    table = pd.DataFrame(rows).assign(fold="f", source="made", bits_per_spike=[0.1, 0.3, 0.5, 0.2])
    return table.assign(other=[0.0, 0.1, 0.6, 0.1])[[*SESSION, "bits_per_spike", "other"]]


def test_rows_have_the_numbers_of_the_statistics(sessions):
    animals, options = ["a/x", "a/x", "b/x", "b/y"], RESAMPLING.options
    mean = bootstrap_mean(sessions["bits_per_spike"].to_numpy(), animals, RESAMPLING.rng(), **options)
    row = RESAMPLING.mean_row(sessions)
    assert row["bits_per_spike"] == mean.value == pytest.approx(0.275)
    assert (row["lower"], row["upper"], row["sessions"], row["animals"]) == (mean.lower, mean.upper, 4, 3)
    ratio = bootstrap_ratio(sessions["other"], sessions["bits_per_spike"], animals, RESAMPLING.rng(), **options)
    share = RESAMPLING.share("share", sessions, sessions["other"], sessions["bits_per_spike"])
    assert share == {"share": ratio.value, "share_lower": ratio.lower, "share_upper": ratio.upper}
    paired = compare_paired(sessions["bits_per_spike"], sessions["other"], animals, RESAMPLING.rng(), **options)
    found = RESAMPLING.compare(sessions, "bits_per_spike", "other")
    np.testing.assert_equal(found, paired.columns(0.9))


def test_without_sessions_or_a_gain_there_is_no_number(sessions):
    assert np.isnan(list(RESAMPLING.mean_bounds("lost", sessions[:0], sessions["other"][:0]).values())).all()
    assert np.isnan(list(RESAMPLING.share("share", sessions, sessions["other"], -sessions["other"]).values())).all()
    assert RESAMPLING.compare(sessions, "bits_per_spike", "absent") is None
    assert RESAMPLING.compare(sessions.assign(other=np.nan), "bits_per_spike", "other") is None


def test_an_adjusted_p_counts_the_family_only():
    table = with_holm(pd.DataFrame({"p": [0.01, 0.02, 0.03]}), pd.Series([True, False, True]))
    np.testing.assert_allclose(table["p_holm"], [*holm([0.01, 0.03])[:1], np.nan, holm([0.01, 0.03])[1]])


def test_rows_are_ordered_by_class_then_by_the_order_of_methods_then_by_name():
    methods = ["oracle", "zebra", "neurohorizon", "shrinkage", "aardvark"]
    table = pd.DataFrame({"method": methods, "class": ["ceiling", *["zero_shot"] * 4], "size": [1, 1, 1, 1, 1]})
    assert ordered(table, ["method"])["method"].tolist() == [
        *("shrinkage", "neurohorizon", "aardvark", "zebra", "oracle"),
    ]
    by_size = ordered(pd.DataFrame({"size": ["b", "c", "a", "d"]}), ["size"], size=("c", "b"))
    assert by_size["size"].tolist() == ["c", "b", "a", "d"]


def test_a_group_gives_a_row_in_order_of_appearance_and_missing_keys_count():
    table = pd.DataFrame({"size": [2.0, np.nan, 2.0], "value": [1, 2, 3]})
    rows = grouped_rows(table, ["size"], lambda group: {"value": group["value"].sum()})
    np.testing.assert_equal(rows.to_dict("list"), {"size": [2.0, np.nan], "value": [4, 2]})


def test_a_text_has_aligned_columns_and_no_cell_for_a_missing_number():
    row = {"difference": 0.5, "lower": 0.25, "upper": 0.75, "sessions_better": 2, "sessions": 3, "extra": np.nan}
    table = pd.DataFrame([row | {"p_holm": 0.25}, row | {"p_holm": np.nan}, row | {"p_holm": np.nan}])
    table = table.assign(declared=[True, True, False])
    lines = text_table(table, {"extra": "{extra:.2f}"} | comparison_cells("90% interval"))
    assert lines[0] == ""
    assert " ".join(lines[1].split()) == "extra bits/spike 90% interval Holm p sessions better"
    assert [line.split() for line in lines[3:]] == [
        ["+0.5000", "[+0.2500,", "+0.7500]", "0.25", "2", "of", "3"],
        ["+0.5000", "[+0.2500,", "+0.7500]", "none", "2", "of", "3"],
        ["+0.5000", "[+0.2500,", "+0.7500]", "2", "of", "3"],
    ]
    assert {line.index("+0.5000") for line in lines[3:]} == {lines[1].index("bits/spike")}
    assert text_table(table[:0], {"extra": "{extra}"}) == []


def test_the_whole_horizon_begins_at_the_origin():
    parts = pd.DataFrame({"first_ms": [0, 100, 0], "last_ms": [100, 200, 200]})
    assert whole_horizon(parts).index.tolist() == [2]
    assert whole_horizon(parts.drop(columns="first_ms")).index.tolist() == [1, 2]
    assert whole_horizon(pd.DataFrame({"horizon_ms": [20, 40]})).index.tolist() == [1]


def test_repeated_and_absent_scores_are_errors(sessions):
    twice = pd.concat([sessions, sessions[1:2]])
    with pytest.raises(TableError, match="session s2 of fold 'f' is in more than one score file"):
        require_once(twice, ["fold", "session"])
    with pytest.raises(TableError, match="no session has a score"):
        read_scored([])


@pytest.mark.parametrize(
    ("lower", "upper", "expected", "words"),
    [
        (0.1, 0.2, "better", "**better** than the null in these 3 animals"),
        (-0.2, -0.1, "worse", "**worse** than the null in these 3 animals"),
        (-0.1, 0.1, "unclear", "which **cannot be distinguished** from zero"),
        (np.nan, np.nan, "unknown", "so nothing follows for other animals"),
    ],
)
def test_a_verdict_is_that_of_the_interval(lower, upper, expected, words):
    row = {"lower": lower, "upper": upper, "animals": 3, "interval": 0.9}
    assert outcome(row) == expected
    assert verdict(row, "the null") == words
    named = {"change_lower": lower, "change_upper": upper, "interval": 0.9}
    assert outcome(named, "change") == expected
    assert interval_text(named, "change").startswith("no interval" if expected == "unknown" else "90% interval [")


def test_few_animals_are_named_with_the_smallest_p():
    assert few_animals(6) == ""
    assert "One animal gives no interval" in few_animals(1)
    assert few_animals(4).startswith(smallest_p(4)) and "0.12" in smallest_p(4)


def test_panels_show_intervals_and_counts(sessions):
    rows = sessions.assign(lower=[0.0, np.nan, 0.4, 0.1], upper=[0.3, np.nan, 0.7, 0.2], interval=0.9)
    figure = column_figure(2.0)
    axes = figure.add_subplot()
    error_bar(axes, range(4), rows)
    ends = [path.vertices[:, 1] for path in axes.collections[0].get_paths()]
    np.testing.assert_allclose(ends, [[0.0, 0.3], [0.3, 0.3], [0.4, 0.7], [0.1, 0.2]])
    letters([axes])
    assert axes.get_title(loc="left") == "a"
    assert (
        count_text(rows.assign(sessions=[1, 2, 4, 4], animals=3)) == "4 sessions, 3 animals; 90% interval over animals"
    )
    assert count_text(rows.assign(sessions=1, animals=1, lower=np.nan)).endswith("no interval")
