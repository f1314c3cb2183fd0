"""Paths of a run: each list has the files of the right sessions, in the same order for every kind of file."""

import hashlib
import json
from dataclasses import replace
from pathlib import PurePath
from types import SimpleNamespace

import pytest
from factories import ROOT
from layout import Layout

from neurohorizon.cohort import RELEASED, read_cohort
from neurohorizon.config import read_config
from neurohorizon.starting_weights import StartError

COHORT = read_cohort(ROOT / "config/cohorts/demo.tsv")
CONFIG = read_config(ROOT / "config/demo.yaml")
FOLD = "main"
TRAINED = [row for row in COHORT if row.role == "train"]
HELD_OUT = [row for row in COHORT if row.role == "heldout"]


def wildcards(**values: str) -> SimpleNamespace:
    return SimpleNamespace(**{"fold": FOLD} | values)


def sessions(paths: list[str]) -> list[str]:
    return [PurePath(path).stem for path in paths]


def layout_of(tmp_path, *, available: bool = True, config=CONFIG) -> Layout:
    card = tmp_path / "dinov2.json"
    card.write_text(json.dumps({"available": available}))
    return Layout(config, lambda: COHORT, lambda: str(card))


@pytest.fixture
def layout(tmp_path):
    return layout_of(tmp_path)


def test_files_of_different_kinds_are_in_the_same_order_of_sessions(layout):
    found = [layout.training(kind)(wildcards()) for kind in ("sessions", "features", "readouts")]
    assert [sessions(paths) for paths in found] == [[row.session for row in TRAINED]] * 3
    assert found[1][0] == f"results/demo/features/{TRAINED[0].source}/{TRAINED[0].session}.h5"


def test_a_fold_trains_on_no_session_that_it_holds_out(layout):
    trained, held_out = (set(sessions(one("sessions")(wildcards()))) for one in (layout.training, layout.heldout))
    assert trained and held_out == {row.session for row in HELD_OUT}
    assert not trained & held_out


def test_a_recording_has_its_own_file_names_or_that_of_the_session(layout):
    layout.cohort = lambda: [replace(COHORT[0], extras={"file": "sub-1/x+y.nwb; z.nwb"}), COHORT[1]]
    found = layout.recordings("data")
    assert found(wildcards(session=COHORT[0].session)) == ["data/sub-1/x+y.nwb", "data/z.nwb"]
    assert found(wildcards(session=COHORT[1].session)) == [f"data/{COHORT[1].session}.nwb"]
    with pytest.raises(ValueError, match="session other does not take part"):
        found(wildcards(session="other"))


def test_only_a_fold_that_holds_out_no_training_session_of_its_start_has_one(tmp_path, layout):
    assert layout.start(wildcards()) == "null"
    training = CONFIG.training.model_copy(update={"start_from": str(tmp_path)})
    values = {name: json.loads(getattr(CONFIG, name).model_dump_json()) for name in ("timeline", "features", "model")}
    (tmp_path / "model.safetensors").write_bytes(b"tensors")

    def started_on(row) -> Layout:
        card = {"method": "neurohorizon", **values, "sessions": ["other"], "subjects": [row.subject]}
        (tmp_path / "model.json").write_text(json.dumps(card))
        return layout_of(tmp_path, config=CONFIG.model_copy(update={"training": training}))

    found = json.loads(started_on(TRAINED[0]).start(wildcards()))
    assert found["sha256"] == hashlib.sha256(b"tensors").hexdigest()
    with pytest.raises(StartError, match=HELD_OUT[0].session):
        started_on(HELD_OUT[0]).start(wildcards())


def test_points_of_experiments_start_from_random_weights(tmp_path):
    training = CONFIG.training.model_copy(update={"start_from": "hippocampus"})
    layout = layout_of(tmp_path, config=CONFIG.model_copy(update={"training": training}))
    for experiment, point in (("scaling", "sessions-4_draw-0_seed-0"), ("ablations", "rate_only_seed-0")):
        settings = layout.point_section("training")(wildcards(experiment=experiment, point=point))
        assert json.loads(settings)["start_from"] is None


def test_one_source_may_be_selected(layout):
    found = layout.training("sessions", "allen")(wildcards())
    assert sessions(found) == [row.session for row in TRAINED if row.source == "allen"] != []


def test_every_held_out_session_has_one_file_in_its_fold(layout):
    found = layout.every("scores/{fold}/{session}.parquet")(wildcards())
    assert found == [f"results/demo/scores/{FOLD}/{row.session}.parquet" for row in HELD_OUT]


def test_a_path_with_a_seed_has_one_file_for_each_seed_and_one_without_a_session_one_for_each_fold(tmp_path):
    run = CONFIG.run.model_copy(update={"seeds": (3, 4)})
    layout = layout_of(tmp_path, config=CONFIG.model_copy(update={"run": run}))
    names = [row.session for row in HELD_OUT]
    found = layout.every("a/{fold}/{session}/seed-{seed}.h5")(wildcards())
    assert found == [f"results/demo/a/{FOLD}/{name}/seed-{seed}.h5" for seed in (3, 4) for name in names]
    assert layout.every("a/{fold}/seed-{seed}.h5")(wildcards()) == [
        f"results/demo/a/{FOLD}/seed-{seed}.h5" for seed in (3, 4)
    ]


def test_the_network_of_own_history_reads_no_population_readout(layout):
    readouts = layout.with_population(layout.training("readouts"))
    assert readouts(wildcards(model="own_history")) == []
    assert len(readouts(wildcards(model="neurohorizon"))) == len(TRAINED)


def test_only_simulated_sessions_have_true_rates(layout, tmp_path):
    real = CONFIG.model_copy(update={"sources": CONFIG.sources.model_copy(update={"simulated": None})})
    for row in HELD_OUT:
        asked = wildcards(session=row.session)
        assert layout.oracle(asked) == [f"results/demo/forecasts/{FOLD}/{row.session}/oracle.h5"]
        assert bool(layout_of(tmp_path, config=real).oracle(asked)) == (row.source == "allen")
    assert sessions(layout.truths("ibl")) == sorted(row.session for row in HELD_OUT if row.source == "ibl")


def test_a_larger_point_of_scaling_trains_on_all_sessions_of_a_smaller_one(layout):
    def of(size: int) -> set[str]:
        point = wildcards(experiment="scaling", point=f"sessions-{size}_draw-0_seed-0")
        return set(sessions(layout.point_training("sessions")(point)))

    assert len(of(2)) == 2 and len(of(4)) == 4 and of(2) < of(4)


def test_a_point_without_enough_sessions_is_refused(layout):
    with pytest.raises(ValueError, match="900"):
        layout.point_training("sessions")(wildcards(experiment="scaling", point="sessions-900_draw-0_seed-0"))


def test_points_of_scaling_use_one_source_and_ablations_use_all(layout):
    for experiment, point, sources in (
        ("scaling", "sessions-2_draw-0_seed-0", {CONFIG.scaling.source}),
        ("ablations", "full_seed-0", {"ibl", "allen"}),
    ):
        found = layout.point_heldout("sessions")(wildcards(experiment=experiment, point=point))
        assert {PurePath(path).parent.name for path in found} == sources


def test_only_the_ablation_of_the_population_reads_no_readouts(layout):
    for name, number in (("no_population", 0), ("full", len(TRAINED))):
        point = wildcards(experiment="ablations", point=f"{name}_seed-0")
        assert len(layout.point_training("readouts")(point)) == number


def test_every_point_has_scores_and_a_card_and_matched_ones_their_choice(layout):
    scores, found = layout.scaling_scores(wildcards()), layout.scaling_cards(wildcards())
    assert len(set(scores)) == len(scores) and len(set(found)) == len(found)
    assert [path.replace("scores.parquet", "point.json") for path in scores] == found[: len(scores)]
    matched = [path for path in found if path.endswith("sessions.json")]
    assert matched and all("/same_region-" in path for path in matched)


def test_an_encoder_without_weights_is_excluded(tmp_path):
    assert layout_of(tmp_path).image_encoders() == CONFIG.multimodal.images.encoders
    without = layout_of(tmp_path, available=False)
    assert without.image_encoders() == tuple(name for name in CONFIG.multimodal.images.encoders if name != "dinov2")
    assert without.primary_encoder() == without.image_encoders()[0]


def test_images_belong_to_sessions_that_were_shown_them(layout):
    allen, ibl = (next(row for row in HELD_OUT if row.source == source) for source in ("allen", "ibl"))
    primary = layout.primary_encoder()
    assert "image" in layout.conditions(wildcards(session=allen.session, encoder=primary))
    assert "image" not in layout.conditions(wildcards(session=ibl.session, encoder=primary))
    assert len(layout.condition_forecasts(wildcards(session=allen.session))) == len(layout.image_encoders())
    assert len(layout.condition_forecasts(wildcards(session=ibl.session))) == 1
    assert layout.psth_forecast(wildcards(session=ibl.session)) == []


def test_a_session_has_the_reference_windows_of_its_role(layout):
    assert layout.reference_uses(wildcards(session=TRAINED[0].session)) == ["early", "late", "validation"]
    assert layout.reference_uses(wildcards(session=HELD_OUT[0].session)) == ["test"]


def test_all_held_out_sessions_are_decoded_and_a_few_others(layout):
    rows = layout.downstream_rows(FOLD)
    source, most = CONFIG.downstream.source, CONFIG.downstream.training_sessions
    assert [row for role, row in rows if role == "heldout"] == [row for row in HELD_OUT if row.source == source]
    chosen = [row for role, row in rows if role == "train"]
    assert 0 < len(chosen) <= most and len({row.session for row in chosen}) == len(chosen)


def test_poyo_decodes_no_session_for_the_probes_that_it_was_trained_on(tmp_path):
    downstream = CONFIG.downstream.model_copy(update={"poyo_latents": True})
    layout = layout_of(tmp_path, config=CONFIG.model_copy(update={"downstream": downstream}))
    (session, *_) = (row.session for row in HELD_OUT if row.source == CONFIG.poyo.source)
    assert len(layout.poyo_of_session(wildcards(role="heldout", session=session, seed="0"))) == 2
    assert layout.poyo_of_session(wildcards(role="train", session=session, seed="0")) == []
    assert layout_of(tmp_path).poyo_of_session(wildcards(role="heldout", session=session, seed="0")) == []


def test_animals_on_both_sides_of_a_fold_are_named(layout, tmp_path):
    assert layout.shared_subjects() == []
    rows = read_cohort(ROOT / "config/cohorts/hippocampus.tsv")
    config = read_config(ROOT / "config/hippocampus.yaml")
    assert Layout(config, lambda: rows, lambda: "").shared_subjects()


def test_a_session_is_forecast_by_every_method_once_and_the_oracle_is_last(layout):
    found = sessions(layout.session_forecasts(wildcards(session=HELD_OUT[0].session)))
    assert len(set(found)) == len(found)
    assert found[0] == "reference_mean" and found[-1] == "oracle"
    assert {"neurohorizon_seed-0", "coupled_glm", "own_history_seed-0"} <= set(found)


def test_rollouts_have_forecast_files_only_if_every_window_is_sampled(tmp_path):
    for every, number in ((1, len(CONFIG.rollout.decodings)), (2, 0)):
        rollout = CONFIG.rollout.model_copy(update={"every_windows": every})
        assert len(layout_of(tmp_path, config=CONFIG.model_copy(update={"rollout": rollout})).rollouts()) == number


def test_a_point_has_the_sections_of_its_network(layout):
    def point(name: str) -> SimpleNamespace:
        return wildcards(experiment="ablations", point=f"{name}_seed-3")

    assert (layout.point_name(point("full")), layout.point_seed(point("full"))) == ("full", 3)
    assert json.loads(layout.point_section("features")(point("rate_only")))["groups"] == ["rate"]
    assert layout.point_method(point("no_population")) == "own_history"
    assert layout.point_rollout(point("no_population")) == "null" != layout.point_rollout(point("full"))


def test_the_row_of_a_session_does_not_depend_on_its_role(layout):
    values = json.loads(layout.row_json(wildcards(session=HELD_OUT[0].session)))
    assert values["session"] == HELD_OUT[0].session and values["subject"] == HELD_OUT[0].subject
    assert values["role"] == values["fold"] == values["why"] == ""


def test_only_the_session_of_an_excluded_unit_depends_on_it(tmp_path):
    first, second = HELD_OUT[:2]
    changed = CONFIG.model_copy(
        update={"cohort": CONFIG.cohort.model_copy(update={"exclude_units": {first.session: (19, "b")}})}
    )
    before, after = layout_of(tmp_path), layout_of(tmp_path, config=changed)
    assert json.loads(after.exclusions(wildcards(session=first.session)))["units"] == ["19", "b"]
    assert after.exclusions(wildcards(session=second.session)) == before.exclusions(wildcards(session=second.session))


def test_only_dinov2_reads_weights(layout):
    assert layout.encoder_weights(wildcards(encoder="pixels")) == []
    assert layout.encoder_weights_name(wildcards(encoder="pixels")) == ""
    (folder,) = layout.encoder_weights(wildcards(encoder="dinov2"))
    assert PurePath(folder).name == "dinov2"


def test_released_weights_are_of_the_only_fold_or_of_all_sessions_where_each_is_held_out_once(layout):
    assert layout.released_fold() == FOLD
    layout.cohort = lambda: [replace(row, role="rotate", fold=f"fold-{place % 2}") for place, row in enumerate(COHORT)]
    assert layout.released_fold() == RELEASED
    assert sessions(layout.released_training("sessions")(wildcards())) == [row.session for row in COHORT]
    assert layout.released("baselines.json")(wildcards()) == [f"results/demo/models/{RELEASED}/baselines.json"]
