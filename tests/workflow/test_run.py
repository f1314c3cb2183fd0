"""One small run through every rule, and effects of later edits and kills."""

import ast
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from factories import ROOT
from factories.tiny_run import GHOST, HELD_OUT, RESULTS, write_miniature
from factories.workflow import Workflow, copy_workflow, files_with

from neurohorizon.experiments.catalogue import CATALOGUE
from neurohorizon.experiments.downstream.poyo_tables import METHOD_ORDER
from neurohorizon.forecasts.release import read_release
from neurohorizon.methods import ENSEMBLE, METHODS
from neurohorizon.models.weights import load_forecaster

pytestmark = pytest.mark.slow

MINIATURE = ("--configfile", "config/miniature.yaml")
TABLE_FUNCTIONS = {one.table_function for one in CATALOGUE.values() if one.code}
NOT_IN_THE_MINIATURE = {
    "neurohorizon.forecasts.ensemble:forecast_with_ensemble",
    "neurohorizon.ingest.array_cohort:make_array_cohort",
    "neurohorizon.agreement.brain_wide_bench:audit",
    "neurohorizon.ingest.allen_release:fetch_allen_release",
    "neurohorizon.ingest.first_session:check_first_session",
    "neurohorizon.ingest.ibl_archive:download_ibl_archive",
    "neurohorizon.ingest.ibl_archive:fetch_archive_insertions",
    "neurohorizon.ingest.ibl_archive:list_ibl",
    "neurohorizon.ingest.ibl_release:fetch_ibl_release",
    "neurohorizon.ingest.dandi:download_dandi",
    "neurohorizon.ingest.dandi:draft_cohort",
    "neurohorizon.ingest.nwb:preprocess_dandi",
    "neurohorizon.ingest.nwb:preprocess_nwb",
    "neurohorizon.ingest.paper_cohort:make_cohort",
    "neurohorizon.models.images.dinov2_weights:fetch_dinov2",
    "neurohorizon.report.archive:restore_scores",
    "neurohorizon.report.archive:write_archive",
}
"""Functions of rules of other sources and of other targets."""
OF_OTHER_TARGETS = {"archive_scores", "describe_release", "write_release", "sum_releases"}
OF_OTHER_TARGETS |= {"typeset_paper", "notebook_paper", "make_poyo_tables", "draw_poyo_decoding"}
OF_OTHER_TARGETS |= {"decode_training", "probe_session"}
"""Rules of the miniature that the default target does not need."""

RELEASE = {
    "name": "miniature",
    "version": "1",
    "summary": "Simulated sessions",
    "species": ["mouse"],
    "preparation": "simulated",
    "held_out": "one animal of each source",
    "data": [{"name": "simulations", "sessions": ["*"], "licence": "MIT", "citation": "none"}],
}

CREDENTIALS = {
    name: f"credential-of-{name}"
    for name in ("ALYX_LOGIN", "ALYX_PWD", "ALYX_TOKEN", "DANDI_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY")
}

# the command of the copy first writes the interpreter that runs it
WITNESS = (
    "import importlib.metadata, json, pathlib, sys; "
    "pathlib.Path({folder!r}, sys.argv[1]).write_text("
    "json.dumps([sys.prefix, importlib.metadata.version('numpy')]))\n"
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Workflow:
    """Copy the project and run the miniature in it."""
    project = copy_workflow(tmp_path_factory.mktemp("run") / "project")
    write_miniature(project.root, release=RELEASE)
    witnesses = project.root / "witnesses"
    witnesses.mkdir()
    command = project.root / "workflow" / "scripts" / "call.py"
    command.write_text(WITNESS.format(folder=str(witnesses)) + command.read_text())
    done = project.snakemake("all", "weights", "poyo", "paper", *MINIATURE, **CREDENTIALS)
    assert done.returncode == 0, done.stdout
    assert not [value for value in CREDENTIALS.values() if value in done.stdout]
    return project


def functions_of_environments() -> dict[str, set[str]]:
    """Return environment -> the functions of its rules, read from the rules."""
    found: dict[str, set[str]] = {}
    for path in ROOT.glob("rules/**/*.smk"):
        for body in re.split(r"^ *(?:rule|checkpoint)(?: \w+)?:$", path.read_text(), flags=re.M)[1:]:
            function = re.search(r'"\$CALL" ([\w.]+:\w+|\{params.function\})', body)
            if function:
                named = {function[1]} if ":" in function[1] else TABLE_FUNCTIONS
                found.setdefault(re.search(r"envs/(\w+)\.yaml", body)[1], set()).update(named)
    return found


def test_every_rule_ran_in_the_interpreter_of_its_environment(finished):
    witnesses = {path.name: json.loads(path.read_text()) for path in (finished.root / "witnesses").iterdir()}
    listed = finished.snakemake("--list-conda-envs", *MINIATURE).stdout
    prefixes = dict(re.findall(r"envs/(\w+)\.yaml\s+(\S*/\.snakemake/conda/\w+)", listed))
    environments = functions_of_environments()
    assert witnesses.keys() == set.union(*environments.values()) - NOT_IN_THE_MINIATURE
    for environment, functions in environments.items():
        pinned = re.search(r"numpy==(\S+)", (ROOT / "envs" / f"{environment}.yaml").read_text())[1]
        for function in functions & witnesses.keys():
            prefix, numpy = witnesses[function]
            assert Path(prefix) == (finished.root / prefixes[environment]).resolve(), function
            assert numpy == pinned, function
    assert len({prefix for prefix, _ in witnesses.values()}) == 6, (
        "all except nwb and dandi, which have no session here"
    )


def test_no_file_of_a_run_has_a_credential_of_the_environment(finished):
    written = {path.parts[0] for path in (one.relative_to(finished.root) for one in finished.root.rglob("*.*"))}
    assert {"results", ".snakemake"} <= written
    assert files_with(finished.root, *CREDENTIALS.values()) == []


def test_the_released_weights_are_the_experts_of_the_run_with_their_scores(finished):
    folder = finished.root / "weights"
    release = read_release(folder / "miniature.safetensors")
    run = finished.root / "results" / "miniature"
    (weights,) = run.glob("models/*/neurohorizon_seed-0/model.safetensors")
    network, card = load_forecaster(weights)
    assert release.card == card
    for name, value in network.state_dict().items():
        assert torch.equal(release.networks["neurohorizon"].state_dict()[name], value), name
    summary = pd.read_parquet(run / "cross_session" / "tables" / "summary.parquet")
    rows = summary[(summary["source"] == "all") & (summary["null"] == "reference")].set_index("method")
    found = {one["method"]: one["bits_per_spike"] for one in release.about.scores}
    assert {"neurohorizon_adaptive", "reference_mean"} <= found.keys()
    assert found == {name: rows.loc[name, "bits_per_spike"] for name in found}
    assert release.about.data[0]["recordings"] == len(card.sessions)
    assert "miniature.json" in (folder / "SHA256SUMS").read_text()


def test_a_second_run_has_nothing_to_do(finished):
    assert "Nothing to be done" in finished.snakemake(*MINIATURE).stdout


def test_the_tables_list_every_method_and_every_session(finished):
    tables = finished.root / RESULTS / "cross_session" / "tables"
    header, *lines = (line.split("\t") for line in (tables / "summary.tsv").read_text().splitlines())
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    expected = {name: one.kind for name, one in METHODS.items() if name != ENSEMBLE}  # which needs several seeds
    assert {row["method"]: row["class"] for row in rows} == expected
    assert all(row["null"] for row in rows)
    assert (tables / "summary.txt").read_text().count("oracle") >= 1
    sessions = (tables / "sessions.tsv").read_text()
    assert all(subject in sessions for subject in HELD_OUT)
    assert GHOST in (tables / "left_out.tsv").read_text()


def test_the_multimodal_tables_list_both_sources_and_every_encoder_and_condition(finished):
    tables = finished.root / RESULTS / "multimodal" / "tables"
    header, *lines = (line.split("\t") for line in (tables / "gain.tsv").read_text().splitlines())
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    found = {(row["source"], row["encoder"], row["condition"]) for row in rows}
    controls = {"behaviour_shifted", "image_shuffled", "image_ahead_shuffled"}
    read = {"behaviour", "image", "image_ahead", "both"}
    assert {
        condition for source, encoder, condition in found if (source, encoder) == ("allen", "dinov2")
    } >= read | controls
    assert {condition for source, encoder, condition in found if (source, encoder) == ("allen", "pixels")} >= {"image"}
    assert {condition for source, encoder, condition in found if (source, encoder) == ("ibl", "dinov2")} >= {
        "behaviour"
    }
    assert "DINOv2" in (tables / "summary.txt").read_text()


def test_the_tables_of_decoding_list_every_decoder_and_every_excluded_session(finished):
    tables = finished.root / RESULTS / "poyo" / "tables"
    header, *lines = (line.split("\t") for line in (tables / "sessions.tsv").read_text().splitlines())
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    found = {(row["part"], row["method"]) for row in rows if row["r2"]}
    assert found == {
        ("validation", "poyo"),
        *(("test", name) for name in METHOD_ORDER),
    }
    assert all(row["source"] == "ibl" for row in rows)
    assert "is not in the release" in {row["session"]: row for row in rows}[GHOST]["left_out"]


def test_tables_are_made_again_from_only_the_score_archive(finished, tmp_path):
    assert finished.snakemake("archive_scores", *MINIATURE).returncode == 0
    fresh = copy_workflow(tmp_path / "project")
    write_miniature(fresh.root, release=RELEASE)
    review = [*MINIATURE, "--workflow-profile", "profiles/review"]
    archive = str(finished.root / RESULTS / "scores.tar")
    done = fresh.snakemake("restore_scores", *review, SCORES=archive)
    assert done.returncode == 0, done.stdout
    tables = sorted(path.relative_to(finished.root) for path in (finished.root / RESULTS).rglob("tables/*.tsv"))
    assert len(tables) > 20
    done = fresh.snakemake(*tables, *review)
    assert done.returncode == 0, done.stdout
    for table in tables:
        assert (fresh.root / table).read_bytes() == (finished.root / table).read_bytes(), table


def test_the_recorded_configuration_is_complete(finished):
    recorded = yaml.safe_load((finished.root / RESULTS / "config.yaml").read_text())
    assert recorded == yaml.safe_load((finished.root / "config" / "miniature.yaml").read_text())


def test_the_report_is_one_file_with_captions_figures_and_the_configuration(finished):
    report = finished.root / "report.html"
    done = finished.snakemake("--report", report, *MINIATURE)
    assert done.returncode == 0, done.stdout
    html = report.read_text()
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=.https?:", html), "needs no network"
    for name in ("main.svg", "paired.svg", "horizon.svg", "example.svg", "summary.tsv", "left_out.tsv"):
        assert name in html
    for part in (
        "cross_session.html",
        "config.yaml",
        "1 Unseen animals",
        "3 Horizons",
        "4 Behaviour and images",
        "5 Decoding",
        "Recordings",
        "Configuration",
    ):
        assert part in html
    assert "this file and the commit reproduce the run" in html, "a caption"


def rerun(project: Workflow) -> dict[str, str]:
    """Return the rules that would run now -> the reason."""
    plan = project.snakemake("-n", *MINIATURE).stdout
    return dict(re.findall(r"^rule (\w+):\n(?:    .*\n)*?    reason: (.*)\n", plan, flags=re.M))


def edited(source: str, function: str) -> str:
    """Insert a statement without effect at the start of a function's body."""
    (definition,) = (node for node in ast.parse(source).body if getattr(node, "name", "") == function)
    first = definition.body[1 if ast.get_docstring(definition) else 0]
    lines = source.splitlines(keepends=True)
    lines.insert(first.lineno - 1, " " * first.col_offset + "str()\n")
    return "".join(lines)


REWRITTEN = {"make_planted_effects_tables", "write_results", "write_page", "write_run_page", "all"}
"""The results of all experiments together depend on the tables of each."""
TOLD = {f"draw_cross_session_{name}" for name in ("main", "paired", "horizon")}
TOLD |= {"make_cross_session_tables", "notebook_cross_session", *REWRITTEN}
SHOWN = {f"draw_multimodal_{name}" for name in ("main", "regions", "horizon", "conditions", "psth")}
SHOWN |= {"make_multimodal_tables", "notebook_multimodal", *REWRITTEN}
DEFINED = {"score_definitions", "make_definitions_tables"}
CALIBRATED = {"sample_paths", "make_calibration_tables", "draw_calibration_calibration", "draw_calibration_paths"}
CONDITIONS = {"forecast_conditions", "forecast_psth", "score_conditions"}
"""Forecasts under conditions are not kept, so to score them again all of them are made again."""
CURVES = {f"draw_curves_{name}" for name in ("elapsed", "matched_regions", "population", "reference_length")}
CURVES |= {"make_curves_tables", "score_elapsed"}
AHEAD = {f"draw_horizons_{name}" for name in ("calibration", "curves", "horizons", "main", "teacher_forced")}
AHEAD |= {"make_horizons_tables", "notebook_horizons"}
COMPARED = {f"draw_scaling_{name}" for name in ("curve", "horizon", "main")}
COMPARED |= {f"draw_ablations_{name}" for name in ("forest", "horizons")}
COMPARED |= {"make_scaling_tables", "make_ablations_tables", "notebook_scaling", "notebook_ablations"}
BEFORE_SESSIONS = {
    *("simulate_release", "simulate_allen_release", "download_ibl", "download_allen"),
    *("export_images", "embed_images", "record_config"),
}
"""Rules that read no session file."""


@pytest.mark.parametrize(
    ("file", "function", "changed", "downstream"),
    [
        ("forecasts/scoring.py", "_score", {"score", "score_point"}, TOLD | COMPARED),
        (
            *("forecasts/without_network.py", "forecast_with_oracle", {"forecast_oracle"}),
            TOLD | SHOWN | CONDITIONS | DEFINED | CURVES | AHEAD | {"score", "score_teacher_forcing"},
        ),
        (
            *("forecasts/forecast.py", "forecast_conditions", {"forecast_conditions"}),
            SHOWN | CONDITIONS - {"forecast_conditions"},
        ),
        (
            *("models/images/encoders.py", "embed", {"embed_images"}),
            SHOWN | CONDITIONS | {"modality_readouts", "train_multimodal"},
        ),
        (
            "baselines/closed_form.py",
            "gamma_poisson",
            {"tune_baselines", "preview"},
            TOLD
            | CALIBRATED
            | DEFINED
            | CURVES
            | AHEAD
            | {"forecast_baselines", "forecast_adaptive", "score", "make_tuning_tables", "score_curves"}
            | {"make_example", "draw_cross_session_example"},
        ),
        ("experiments/scaling/figures.py", "draw_curve", {"draw_scaling_curve"}, {"all"}),
        (
            *("experiments/cross_session/curve_narrative.py", "describe_gap"),
            {"write_results", "notebook_cross_session"},
            {"write_page", "write_run_page", "all"},
        ),
    ],
)
def test_an_edit_reruns_exactly_the_rules_that_depend_on_it(finished, file, function, changed, downstream):
    reasons = rerun_after_edit(finished, file, function)
    assert changed_by_parameters(reasons) == changed
    assert reasons.keys() == changed | downstream
    assert rerun(finished) == {}


def test_an_edit_of_ingestion_reruns_every_rule_that_reads_sessions(finished):
    ran = {path.stem for path in (finished.root / RESULTS / "logs").iterdir()} - OF_OTHER_TARGETS
    assert ran > BEFORE_SESSIONS
    reasons = rerun_after_edit(finished, "session.py", "order_spikes")
    assert changed_by_parameters(reasons) == {"preprocess_ibl", "preprocess_allen"}
    assert reasons.keys() == ran - BEFORE_SESSIONS | {"all"}


def rerun_after_edit(project: Workflow, file: str, function: str) -> dict[str, str]:
    """Return the rules that would run after an edit of a function -> the reason; the edit is undone."""
    path = project.root / "neurohorizon" / file
    before = path.read_text()
    try:
        path.write_text(edited(before, function))
        return rerun(project)
    finally:
        path.write_text(before)


def changed_by_parameters(reasons: dict[str, str]) -> set[str]:
    return {rule for rule, reason in reasons.items() if "Params have changed" in reason}


def test_better_docstrings_and_comments_rerun_nothing(finished):
    before = {path: path.read_text() for path in (finished.root / "neurohorizon").rglob("*.py")}
    try:
        for path, source in before.items():
            better = re.sub(r'^( *)"""(?=\w)', r'\1"""Better: ', source, flags=re.M)
            path.write_text(better + "# the end\n")
        assert any(path.read_text().count("Better: ") > 5 for path in before)
        assert rerun(finished) == {}
    finally:
        for path, source in before.items():
            path.write_text(source)


def test_other_settings_rerun_the_rules_that_read_them(finished):
    config = finished.root / "config" / "miniature.yaml"
    before = config.read_text()
    try:
        config.write_text(before.replace("interval: 0.95", "interval: 0.9"))
        reasons = rerun(finished)
    finally:
        config.write_text(before)
    resampled = {one.name for one in CATALOGUE.values() if one.code and one.resampled}
    resampled -= {"planted_effects"}  # it reads tables that are made again, which is the reason that Snakemake gives
    resampled -= {"poyo"}  # the default target does not need it
    assert changed_by_parameters(reasons) == {f"make_{name}_tables" for name in resampled} | {"record_config"}
    assert "train" not in reasons


def test_a_killed_training_resumes_from_its_checkpoint(finished):
    target = RESULTS / "models" / "unseen" / "neurohorizon_seed-7" / "model.safetensors"
    longer = ["--config", "training={steps: 400, validate_every_steps: 20, patience: 100}"]
    command = [finished.tools / "snakemake", "--cores", "1", "--conda-prefix", ROOT / ".snakemake" / "conda"]
    arguments = [target, *MINIATURE, *longer]
    running = subprocess.Popen(
        [*command, *arguments],
        cwd=finished.root,
        env=finished.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    checkpoints = finished.root / RESULTS / "checkpoints" / "unseen" / "neurohorizon_seed-7"
    deadline = time.monotonic() + 300
    while not list(checkpoints.rglob("last.ckpt")) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.2)
    os.killpg(running.pid, signal.SIGSTOP)  # so that it does not end meanwhile
    second = finished.snakemake(*arguments)
    assert second.returncode != 0 and "Directory cannot be locked" in second.stdout
    assert str(running.pid) in re.search(r"is kept: process ([\d, ]+) works here", second.stdout)[1].split(", ")
    assert running.poll() is None
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert list(checkpoints.rglob("last.ckpt")), "killed in the middle"
    assert not (finished.root / target).exists()

    done = finished.snakemake(*arguments)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("was killed and left its lock; no process holds it") == 1
    log = (finished.root / RESULTS / "logs" / "train" / "unseen" / "neurohorizon_seed-7.log").read_text()
    assert "Restor" in log, "the second job resumes where the first stopped"
    assert (finished.root / target).exists()
