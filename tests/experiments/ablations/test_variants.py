"""Points of the scaling and ablation experiments: what is changed in each, and how they are scored."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from factories.sessions import made_files, made_session, small_config
from factories.trainings import train_network

from neurohorizon.ablations import ABLATIONS, FULL
from neurohorizon.experiments.ablations.variants import ablation, scaled, trained_ablations
from neurohorizon.files import RECORDED_FOLDER
from neurohorizon.forecasts.forecast import forecast_with_controls, forecast_with_network
from neurohorizon.forecasts.points import score_point
from neurohorizon.forecasts.scoring import score_session
from neurohorizon.models.weights import load_forecaster
from neurohorizon.session import left_out_session, write_session

CONFIG = small_config()


def differences(first: dict, second: dict, path: str = "") -> set[str]:
    found = set()
    for key, value in first.items():
        if isinstance(value, dict):
            found |= differences(value, second[key], f"{path}{key}.")
        elif value != second[key]:
            found.add(f"{path}{key}")
    return found


def stated(changes: dict, path: str = "") -> set[str]:
    """Keys that a row of the table states."""
    found = set()
    for key, value in changes.items():
        found |= stated(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}"}
    return found


TRAINED = [name for name, one in ABLATIONS.items() if not one.of_full]


@pytest.mark.parametrize("name", TRAINED)
def test_an_ablation_takes_one_part_away_and_nothing_else(name):
    full, found = ablation(CONFIG, FULL), ablation(CONFIG, name)
    changed = set()
    for part in ("features", "model", "training"):
        changed |= differences(getattr(full, part).model_dump(), getattr(found, part).model_dump(), f"{part}.")
    assert changed == stated(ABLATIONS[name].changes)
    assert (found.method != "neurohorizon") is (name == "no_population")
    assert len({part.split(".")[0] for part in changed}) == (name != "no_population"), "one section, or a network"


def test_every_ablation_is_trained_or_made_of_the_whole_networks_weights():
    made_of = {*trained_ablations(CONFIG), *ablation(CONFIG, FULL).uses} - {"autoregressive"}
    assert made_of == {FULL, *CONFIG.ablations.variants}
    assert ablation(CONFIG, "teacher_forcing_only").training.feedback.sampled_share == 0
    assert ablation(CONFIG, "noncausal_decoder").model.causal is False
    assert ablation(CONFIG, "negative_binomial").model.likelihood == "negative_binomial"
    assert ablation(CONFIG, FULL).uses[-1] == ablation(CONFIG, "teacher_forcing_only").uses[-1] == "autoregressive"
    assert ablation(CONFIG, "rate_only").features.groups == ("rate",)
    assert "relational" not in ablation(CONFIG, "no_relational").features.groups
    with pytest.raises(ValueError, match=r"'shuffled_identity'; there are \('full'"):
        ablation(CONFIG, "shuffled_identity")


def test_a_point_trains_for_its_experiments_steps_and_a_size_changes_what_a_size_decides():
    assert ablation(CONFIG, FULL).training.steps == CONFIG.ablations.steps
    assert scaled(CONFIG).training.steps == CONFIG.scaling.steps
    assert scaled(CONFIG).model == CONFIG.model
    name, size = next(iter(CONFIG.scaling.sizes.items()))
    model = scaled(CONFIG, name).model.model_dump()
    assert differences(CONFIG.model.model_dump(), model) <= set(size.model_dump())
    assert model == CONFIG.model.model_dump() | size.model_dump()
    with pytest.raises(ValueError, match=f"no 'huge'; it has {name}"):
        scaled(CONFIG, "huge")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    files = [made_files(folder, made_session(f"s{i}", CONFIG.splits, n_units=5 + i, seed=i), CONFIG) for i in range(4)]
    return train_network(folder, files[:2], CONFIG, seed=3), files


def scored(made, folder, *, uses=(), sessions=None, **changes):
    weights, files = made
    settings = {
        "timeline": CONFIG.timeline,
        "splits": CONFIG.splits,
        "features": CONFIG.features,
        "rollout": CONFIG.rollout,
        "learned_embedding": CONFIG.baselines.learned_embedding,
        "minimum_rate_hz": 3.0,
    }
    score_point(
        weights=weights,
        method="full",
        fold="main",
        seed=3,
        uses=uses,
        paths=[one.paths for one in files[2:]] if sessions is None else sessions,
        threads=1,
        code="c0de",
        parts=folder / "parts",
        output=folder / "scores.parquet",
        **settings | changes,
    )
    return pd.read_parquet(folder / "scores.parquet")


def test_a_point_is_scored_as_forecast_files_are(made, tmp_path):
    weights, files = made
    found = scored(made, tmp_path, uses=["shuffled_identity"])
    for one in files[2:]:
        folder = tmp_path / one.session.session_id
        options = {"weights": weights, "paths": one.paths, "fold": "main", "seed": 3, "timeline": CONFIG.timeline}
        forecast_with_network(**options, method="full", code="c0de", output=folder / "full.h5")
        forecast_with_controls(**options, controls=["shuffled_identity"], code="c0de", output_folder=folder)
        forecasts = [folder / "full.h5", folder / "shuffled_identity_seed-3.h5"]
        score_session(forecasts=forecasts, output=folder / "sums.parquet", minimum_rate_hz=3.0)
        expected = pd.read_parquet(folder / "sums.parquet")
        rows = found[found["session"] == one.session.session_id].reset_index(drop=True)
        pd.testing.assert_frame_equal(rows, expected)
    assert (found["unscored_units"] > 0).any()


def test_a_point_says_what_it_was_trained_on(made, tmp_path):
    weights, files = made
    scored(made, tmp_path)
    point = json.loads((tmp_path / "point.json").read_text())
    trained = [one.session for one in files[:2]]
    assert point["sessions"] == ["s0", "s1"]
    assert point["animals"] == 2
    assert point["labs"] == {"made": 2}
    assert point["units"] == 5 + 6
    assert point["recorded_s"] == pytest.approx(sum(one.splits.train.duration_us for one in trained) / 1e6)
    assert point["spikes"] == sum(int(one.splits.train.contains(one.spike_times_us).sum()) for one in trained)
    forecaster, card = load_forecaster(weights)
    assert point["parameters"] == sum(one.numel() for one in forecaster.parameters())
    assert (point["point"], point["fold"], point["seed"]) == ("full", "main", 3)
    assert point["steps"] == card.scores["steps"] == CONFIG.training.steps


@pytest.mark.slow
def test_other_uses_of_the_weights_have_rows_and_classes_of_their_own(made, tmp_path):
    uses = ["autoregressive", "learned_embedding"]
    rollout = CONFIG.rollout.model_copy(update={"every_windows": 3})
    found = scored(made, tmp_path, uses=uses, rollout=rollout)
    classes = found.groupby("method")["class"].unique().str[0].to_dict()
    assert classes == {"full": "zero_shot", "full_autoregressive": "zero_shot", "learned_embedding": "fitted"}
    windows = found.groupby(["method", "session"])["windows"].first().unstack()
    assert (windows.loc["full_autoregressive"] == np.ceil(windows.loc["full"] / 3)).all()
    spikes = found.groupby("method")["spikes"].sum()
    assert spikes["learned_embedding"] == spikes["full"] > spikes["full_autoregressive"]
    with pytest.raises(ValueError, match="not scored as 'parallel'; expected one of autoregressive"):
        scored(made, tmp_path, uses=["parallel"])


def test_a_killed_job_goes_on_with_the_next_session(made, tmp_path):
    _, files = made
    whole = scored(made, tmp_path)
    (tmp_path / "scores.parquet").unlink()
    gone = replace(files[3].paths, features=tmp_path / "not_there.h5")
    with pytest.raises((OSError, ValueError)):
        scored(made, tmp_path, sessions=[files[2].paths, gone])
    assert len(list((tmp_path / "parts").glob("*/s2.parquet"))) == 1
    assert not (tmp_path / "scores.parquet").exists()
    # what was done is not asked for again: its features may be gone too
    done = replace(files[2].paths, features=tmp_path / "not_there.h5")
    again = scored(made, tmp_path, sessions=[done, files[3].paths])
    pd.testing.assert_frame_equal(again, whole)
    assert not list((tmp_path / "parts").glob("*"))


def test_a_session_without_a_score_is_listed_with_its_reason(made, tmp_path):
    _, files = made
    session = left_out_session(
        session_id="gone", source="nwb", subject="a", lab="l", date="2020-01-01", provenance={}, reason="no spikes"
    )
    path = tmp_path / "gone.h5"
    write_session(path, session)
    paths = replace(files[2].paths, session=path)
    found = scored(made, tmp_path, sessions=[paths, files[3].paths])
    assert set(found["session"]) == {"s3"}
    metadata = pq.read_schema(tmp_path / "scores.parquet").metadata
    assert json.loads(metadata[b"left_out"]) == {"gone": "no spikes"}


def test_a_session_that_was_trained_on_is_refused(made, tmp_path):
    with pytest.raises(ValueError, match="trained on s1"):
        scored(made, tmp_path, sessions=[made[1][1].paths])


def test_sums_of_a_session_that_are_damaged_are_computed_again(made, tmp_path, monkeypatch):
    monkeypatch.setenv(RECORDED_FOLDER, str(tmp_path))
    _, files = made
    whole = scored(made, tmp_path)
    gone = replace(files[3].paths, features=tmp_path / "not_there.h5")
    with pytest.raises((OSError, ValueError)):
        scored(made, tmp_path, sessions=[files[2].paths, gone])
    (part,) = (tmp_path / "parts").glob("*/s2.parquet")
    content = pd.read_parquet(part)
    content.assign(model_nats=content["model_nats"] + 1.0).to_parquet(part)
    pd.testing.assert_frame_equal(scored(made, tmp_path), whole)
