"""The description of released weights: data sets, ranges of features and held-out scores."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from factories.sessions import made_files, made_session, small_config

from neurohorizon.config import Release
from neurohorizon.report.released_weights import QUANTILES, WINDOW, ReleaseError, describe_release
from neurohorizon.starting_weights import find_start
from neurohorizon.units.reference import read_reference

CONFIG = small_config()


def release(**changes) -> Release:
    values = {
        "name": "toy",
        "version": "1",
        "summary": "Two made animals",
        "species": ("rat",),
        "preparation": "simulated",
        "held_out": "leave one out",
        "data": [
            {"name": "A", "sessions": ["a*"], "licence": "MIT", "citation": "A (2001)"},
            {"name": "B", "sessions": ["b*", "c*"], "licence": "CC0", "citation": "B (2002)"},
        ],
    }
    return Release.model_validate_json(json.dumps(values | changes))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("released")
    names = ("a1", "b1", "c1")
    return [
        made_files(folder / name, made_session(name, CONFIG.splits, seed=seed), CONFIG).paths
        for seed, name in enumerate(names)
    ]


@pytest.fixture
def describe(files, tmp_path):
    summary = tmp_path / "summary.parquet"
    rows = [
        ("all", "reference_mean", "zero_shot", "reference", 0.0, 0.0, 0.0, 6),
        ("all", "neurohorizon", "zero_shot", "reference", 0.2, 0.1, 0.3, 6),
        ("all", "neurohorizon", "zero_shot", "evaluation", 0.1, 0.0, 0.2, 6),
        ("nwb", "neurohorizon", "zero_shot", "reference", 0.9, 0.8, 1.0, 2),
        ("all", "coupled_glm", "fitted", "reference", 0.4, 0.3, 0.5, 6),
        ("all", "neurohorizon_adaptive", "zero_shot", "reference", 0.3, 0.2, 0.4, 6),
    ]
    columns = ["source", "method", "class", "null", "bits_per_spike", "lower", "upper", "sessions"]
    pd.DataFrame(rows, columns=columns).to_parquet(summary)

    def run(start=None, **changes) -> dict:
        describe_release(
            sessions=[one.session for one in files],
            features=[one.features for one in files],
            summary=summary,
            release=release(**changes),
            start=start,
            command="snakemake weights",
            output=tmp_path / "about.json",
        )
        return json.loads((tmp_path / "about.json").read_text())

    return run


def test_every_training_session_is_counted_in_its_data_set(describe):
    found = {one["name"]: (one["recordings"], one["animals"], one["licence"]) for one in describe()["data"]}
    assert found == {"A": (1, 1, "MIT"), "B": (2, 2, "CC0")}


def test_data_of_the_weights_that_training_started_from_are_listed_too(describe):
    arrays = find_start("arrays")
    found = describe(start=arrays)["data"]
    assert [one["name"] for one in found[:2]] == ["A", "B"]
    assert found[2:] == json.loads(Path(arrays.path).with_suffix(".json").read_text())["about"]["data"]


@pytest.mark.parametrize("patterns", [["b*"], ["b*", "c*", "a*"]], ids=["of none", "of two"])
def test_a_session_of_no_or_of_two_data_sets_is_refused(describe, patterns):
    data = [
        {"name": "A", "sessions": ["a*"], "licence": "MIT", "citation": "A"},
        {"name": "B", "sessions": patterns, "licence": "CC0", "citation": "B"},
    ]
    with pytest.raises(ReleaseError, match=r"belongs to .* of release\.data; expected one"):
        describe(data=data)


def test_ranges_are_quantiles_over_the_units_of_all_training_sessions(describe, files):
    windows = [read_reference(one.features, WINDOW) for one in files]
    values = np.concatenate([one.values for one in windows])
    found = describe()["feature_range"]
    assert list(found) == list(windows[0].names)
    for column, name in enumerate(found):
        ordered = np.sort(values[:, column].astype(float))
        place = np.array(QUANTILES) * (len(ordered) - 1)
        np.testing.assert_allclose(found[name], np.interp(place, np.arange(len(ordered)), ordered))


def test_scores_are_those_of_zero_shot_methods_over_all_sessions_best_first(describe):
    found = describe()["scores"]
    assert [one["method"] for one in found] == ["neurohorizon_adaptive", "neurohorizon", "reference_mean"]
    assert found[1]["bits_per_spike"] == 0.2
    assert {one["heldout"] for one in found} == {"leave one out"}
