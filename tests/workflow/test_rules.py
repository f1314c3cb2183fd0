"""The rule graph: plans and errors of dry runs, and files that they do not need."""

import ast
import re

import pytest
import yaml
from factories import ROOT
from factories.tiny_run import write_miniature
from factories.workflow import copy_workflow, counts

from neurohorizon.cohort import folds, heldout_sessions, read_cohort, training_sessions

RULES = sorted(ROOT.glob("rules/**/*.smk"))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Copy the project for tests of this file, which read and do not edit it."""
    return copy_workflow(tmp_path_factory.mktemp("workflow") / "project")


@pytest.fixture(scope="module")
def steinmetz(project, tmp_path_factory):
    """Return an environment with files of the right names, which a dry run does not open."""
    folder = tmp_path_factory.mktemp("recordings")
    for row in read_cohort(ROOT / "config/cohorts/steinmetz.tsv"):
        (folder / f"{row.session}.nwb").touch()
    return {"NEUROHORIZON_NWB": str(folder)}


def edited(project, name: str, path: tuple[str, ...], value: object) -> str:
    values = yaml.safe_load((project.root / "config" / f"{name}.yaml").read_text())
    section = values
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    target = project.root / "config" / f"edited_{path[-1]}.yaml"
    target.write_text(yaml.safe_dump(values))
    return str(target)


@pytest.mark.slow
def test_a_typo_stops_a_dry_run_and_names_the_nearest_key(project):
    config = project.root / "config" / "typo.yaml"
    demo = (project.root / "config" / "demo.yaml").read_text()
    config.write_text(demo.replace("horizon_bins:", "horizn_bins:"))
    done = project.snakemake("-n", "--configfile", config)
    assert done.returncode != 0
    assert "timeline.horizn_bins: unknown key; did you mean 'horizon_bins'?" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_a_typo_on_the_command_line_stops_a_dry_run_too(project):
    done = project.snakemake("-n", "--configfile", "config/demo.yaml", "--config", "evaluation={intervall: 0.9}")
    assert done.returncode != 0
    assert "evaluation.intervall: unknown key; did you mean 'interval'?" in done.stdout


@pytest.mark.slow
def test_a_value_on_the_command_line_reaches_the_rules(project, steinmetz):
    more = project.snakemake(
        "-n", "--configfile", "config/steinmetz.yaml", "--config", "run={seeds: [3, 4, 5]}", **steinmetz
    )
    assert "own_history_seed-5/model.safetensors" in more.stdout


@pytest.mark.slow
def test_each_fold_trains_forecasts_and_scores_its_own_sessions(project, steinmetz):
    done = project.snakemake("-n", "--configfile", "config/steinmetz.yaml", **steinmetz)
    assert done.returncode == 0, done.stdout
    found = counts(done.stdout)
    rows = read_cohort(ROOT / "config/cohorts/steinmetz.tsv")
    assert found["preprocess_nwb"] == found["reference_features"] == found["validate"] == len(rows)
    assert found["score"] == sum(len(heldout_sessions(rows, fold)) for fold in folds(rows))
    assert found["tune_baselines"] == len(folds(rows))
    assert found["train"] == 3 * len(folds(rows))
    assert "download_ibl" not in found
    assert "forecast_oracle" not in found, "true rates are known only for simulated sessions"


@pytest.mark.slow
def test_a_training_job_of_a_short_configuration_has_no_heldout_session_among_its_inputs(project, steinmetz):
    short = {
        "extends": "trials",
        "run": {"name": "short", "results": "results/short"},
        "cohort": {"table": "config/cohorts/steinmetz.tsv"},
        "sources": {"nwb": {"folder": "data/recordings"}},
    }
    path = project.root / "config" / "extends.yaml"
    path.write_text(yaml.safe_dump(short))
    # the preset lies below all files, in any order
    done = project.snakemake("-n", "--configfile", "config/sizes/tiny.yaml", path, **steinmetz)
    assert done.returncode == 0, done.stdout
    rows = read_cohort(ROOT / "config/cohorts/steinmetz.tsv")
    learning = r"^rule (?:train|tune_baselines|tune_regressions):\n    input: (.*)\n    output: (.*)$"
    jobs = re.findall(learning, done.stdout, flags=re.M)
    assert len(jobs) == 5 * len(folds(rows))
    for inputs, outputs in jobs:
        fold = re.search(r"/models/([^/]+)/", outputs)[1]
        read = set(re.findall(r"(steinmetz_\d\d)\.h5", inputs))
        assert read == {row.session for row in training_sessions(rows, fold)}
        assert not read & {row.session for row in heldout_sessions(rows, fold)}


@pytest.mark.slow
def test_the_catalog_entry_and_another_folder_plan_the_same_jobs(project, steinmetz, tmp_path):
    here = project.snakemake("-n", "--configfile", "config/steinmetz.yaml", **steinmetz)
    arguments = ["--configfile", project.root / "config" / "steinmetz.yaml", "--directory", tmp_path]
    there = project.snakemake("-n", "--snakefile", project.root / "workflow" / "Snakefile", *arguments, **steinmetz)
    assert there.returncode == 0, there.stdout
    assert counts(there.stdout) == counts(here.stdout)


@pytest.mark.slow
def test_a_configfile_replaces_the_papers_and_is_not_added_to_it(project, steinmetz):
    config = project.root / "config" / "short.yaml"
    values = yaml.safe_load((project.root / "config" / "steinmetz.yaml").read_text())
    del values["splits"]["gap_s"]  # the paper has one
    config.write_text(yaml.safe_dump(values))
    done = project.snakemake("-n", "--configfile", config, **steinmetz)
    assert done.returncode != 0
    assert "splits.gap_s: missing" in done.stdout


@pytest.mark.slow
def test_a_missing_recording_is_named_once_with_what_to_do_before_snakemakes_error(project, tmp_path):
    done = project.snakemake("-n", "--configfile", "config/steinmetz.yaml", NEUROHORIZON_NWB=str(tmp_path))
    assert done.returncode != 0
    message = (
        f"There is no file {tmp_path}/steinmetz_01.nwb; 0 of the 11 recordings of the cohort are in {tmp_path}: put "
        "them there, or set sources.nwb.folder or the environment variable NEUROHORIZON_NWB to their folder."
    )
    assert done.stdout.count("There is no file") == 1
    assert message in done.stdout.split("MissingInputException")[0]
    assert "Traceback" not in done.stdout


def test_a_fault_in_the_cohort_stops_a_dry_run(project):
    table = project.root / "config" / "cohorts" / "broken.tsv"
    text = (project.root / "config/cohorts/steinmetz.tsv").read_text()
    table.write_text(text.replace("rotate", "rotten", 1))
    config = edited(project, "steinmetz", ("cohort", "table"), "config/cohorts/broken.tsv")
    done = project.snakemake("-n", "--configfile", config)
    assert done.returncode != 0
    assert "unknown role 'rotten'" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_the_paper_plans_its_cohort_first_with_no_network_and_no_credentials(project):
    done = project.snakemake("-n", HOME=str(project.root / "nobody"))
    assert done.returncode == 0, done.stdout
    found = counts(done.stdout)
    assert found["make_cohort"] == found["fetch_ibl_table"] == found["fetch_allen_table"] == 1
    assert found["download_ibl_archive"] == 1, "the archive with the table of insertions"
    assert "download_ibl" not in found, "the sessions are not known yet"


@pytest.mark.slow
def test_the_papers_cohort_is_made_from_given_tables_and_then_planned_in_full(workflow, release_tables):
    tables = {
        "IBL_TABLE": str(release_tables / "ibl_2023_12_bwm_release.csv"),
        "ALLEN_TABLE": str(release_tables / "allen_sessions.csv"),
    }
    made = workflow.snakemake("cohorts", **tables)
    assert made.returncode == 0, made.stdout
    again = workflow.snakemake("cohorts")
    assert "Nothing to be done" in again.stdout
    # each seed repeats the same jobs, so the plan of one shows the whole
    found = counts(workflow.snakemake("-n", "--config", "run={seeds: [0]}").stdout)
    assert found["download_ibl"] == found["preprocess_ibl"] == 430, "459 sessions minus the 29 reserved ones"
    assert found["download_ibl_archive"] == 2, "two files for all sessions"
    assert found["download_allen"] == 58
    assert found["train"] == 3
    assert "make_cohort" not in found
    points = {"scaling": 4 * 5 + 1 + 2 * 5 + 3, "ablations": 10 * 3}
    assert found["train_point"] == found["score_point"] == sum(points.values())
    assert found["choose_sessions"] == 5, "sessions with matching regions are chosen, once for each draw"
    assert found["score"] == found["score_elapsed"] == 83, "held-out sessions"
    assert found["score_curves"] == found["sample_paths"] == 83
    assert sum(found.values()) < 5500, "the graph is built within a minute"


@pytest.mark.slow
def test_a_review_needs_only_the_archived_files(workflow):
    write_miniature(workflow.root)
    miniature = ["-n", "--configfile", "config/miniature.yaml"]
    plan = workflow.snakemake("archive_scores", *miniature).stdout
    assert "rule archive_scores" in plan, plan
    archived = re.search(r"^(?:local)?rule archive_scores:\n    input: (.*)$", plan, flags=re.M)[1].split(", ")
    for path in archived:
        (workflow.root / path).parent.mkdir(parents=True, exist_ok=True)
        (workflow.root / path).touch()
    review = workflow.snakemake(*miniature, "--workflow-profile", "profiles/review")
    assert review.returncode == 0, review.stdout
    shown = {name for name in counts(workflow.snakemake(*miniature, "--forceall").stdout) if SHOWS.match(name)}
    assert len(shown) > 18
    assert set(counts(review.stdout)) == {*shown, "figures"}


SHOWS = re.compile("make_(?!example).*|draw_|notebook_|tell_|typeset_|write_")
"""Return the rules that read files of sums."""


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_every_rule_that_computes_has_its_environment_log_benchmark_and_code(path):
    blocks = re.split(r"^ *(?:rule|checkpoint)(?: (\w+))?:$", path.read_text(), flags=re.M)[1:]
    for named, body in zip(blocks[::2], blocks[1::2], strict=True):
        name = named or re.search(r'f"(\w+)', body)[1]
        assert not re.search(r"^ *(run|script|notebook|wrapper):", body, flags=re.M), f"{name}: only shell"
        assert "lambda" not in body, name
        if "shell:" in body:
            for part in ("conda:", "log:", "benchmark:", "{log:q}"):
                assert part in body, f"{name} has no {part}"
            assert re.search(r"\bcode=code\(", body), f"{name} does not depend on its code"
            if function := re.search(r'"\$CALL" ([\w.]+:\w+)', body):
                assert f'code("{function[1]}"' in body, f"{name} depends on the code of another function"


COMMAND = re.compile(r'"\$CALL" ([\w.]+:\w+)(.*?)>\{log:q\}', flags=re.S)


def signature(function: str) -> tuple[list[str], list[str]]:
    """Return all parameters of a function of the form ``module:name``, and those that must be given."""
    module, name = function.split(":")
    tree = ast.parse(ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text())
    (found,) = (one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == name)
    given, defaults = found.args.args, found.args.defaults
    pairs = [*zip(given, [None] * (len(given) - len(defaults)) + defaults, strict=True)]
    pairs += zip(found.args.kwonlyargs, found.args.kw_defaults, strict=True)
    return [one.arg for one, _ in pairs], [one.arg for one, default in pairs if default is None]


@pytest.mark.parametrize("path", sorted(ROOT.glob("rules/**/*.smk")), ids=lambda path: path.stem)
def test_a_rule_gives_exactly_the_arguments_of_its_function(path):
    for function, options in COMMAND.findall(path.read_text()):
        given = {name.replace("-", "_") for name in re.findall(r"--([\w-]+)", options)}
        known, needed = map(set, signature(function))
        assert given <= known, f"{function}: {given - known} are no parameters"
        assert needed <= given, f"{function}: {needed - given} are not given"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["demo", "steinmetz"])
def test_snakemakes_own_linter_finds_nothing(project, steinmetz, name):
    lint = project.snakemake("--lint", "--configfile", f"config/{name}.yaml", **steinmetz)
    assert "your workflow is in a good condition" in lint.stdout, lint.stdout
