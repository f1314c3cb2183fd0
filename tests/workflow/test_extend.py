"""The recipes of docs/extend.md work exactly as written, in a copy of the project."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from factories import ROOT
from factories.tiny_run import RESULTS, write_miniature
from factories.workflow import Workflow, copy_workflow, counts
from rule_graph import PAGES

pytestmark = pytest.mark.slow
MINIATURE = ("--configfile", "config/miniature.yaml")
TABLES = RESULTS / "cross_session" / "tables"
ACTIVITY = RESULTS / "activity"
OVERVIEW = RESULTS / "report" / "overview.html"
PYTHON = ROOT / ".venv-test" / "bin" / "python"
OFF = dict.fromkeys(
    ("rollout", "multimodal", "poyo", "regressions", "latent_readout", "cross_session", "scaling", "downstream")
)


def recipe(heading: str) -> list[tuple[str, str]]:
    """Return the steps of a recipe: the sentence with the edit, and its code, "" if it has none."""
    text = (ROOT / "docs" / "extend.md").read_text()
    section = re.split(r"^## ", text.split(f"## {heading}\n")[1], flags=re.M)[0]
    found = []
    for step in re.split(r"^\d+\. ", section, flags=re.M)[1:]:
        code = re.search(r"^( {3,4})```\w+\n(.*?)^\1```$", step, flags=re.M | re.S)
        sentence = " ".join(step.split("\n\n")[0].split())
        lines = re.sub(f"^{code[1]}", "", code[2], flags=re.M) if code else ""
        found.append((sentence.replace("\\`", "`"), lines))
    return found


def follow(project: Workflow, heading: str) -> set[str]:
    """Make all edits of a recipe; returns the files that it touches."""
    root, touched = project.root, set()
    for sentence, code in recipe(heading):
        edits = [sentence]
        if "; the same in" in sentence:
            first, others = sentence.split("; the same in")
            files = re.findall(r"`(config/[\w/]+\.yaml)`", others)
            edits = [first, f"`{files[0]}`, below `  nwb: null`"]
            edits += [f"`{name}`, above `  simulated: null`" for name in files[1:]]
        for edit in edits:
            name = re.match(r"`([^`]+)`", edit)[1]
            place = re.match(r"`[^`]+`, (below|above) (?:`([^`]+)`|\"([^\"]+)\")", edit)
            path = root / name
            touched.add(name)
            if "run `make schema`" in edit:
                write_schema(root)
                touched.add("config/schema_short.json")
            elif "run `make graph`" in edit:
                subprocess.run([PYTHON, "workflow/rule_graph.py"], cwd=root, env=project.environment, check=True)
                touched.update(PAGES)
            elif place:
                insert(path, place[1], place[2] or place[3], code)
            elif ", at the end" in edit:
                path.write_text(path.read_text() + code)
            else:
                assert not path.exists(), f"{name} is there already, and the recipe does not say where to edit"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(code)
    return touched


def insert(path: Path, side: str, anchor: str, code: str) -> None:
    lines = path.read_text().splitlines(keepends=True)
    (place,) = (number for number, line in enumerate(lines) if anchor.strip() in line)
    lines.insert(place + (side == "below"), code)
    path.write_text("".join(lines))


def write_schema(root: Path) -> None:
    for name, schema in (("schema", "Config.model_json_schema()"), ("schema_short", "short_schema()")):
        program = f"import json; from neurohorizon.config import Config, short_schema; print(json.dumps({schema}))"
        done = subprocess.run([PYTHON, "-c", program], cwd=root, check=True, capture_output=True, text=True)
        (root / "config" / f"{name}.json").write_text(done.stdout)


def changed_files(root: Path) -> set[str]:
    """Return the files of a copy that differ from the project's files."""
    names = [path.relative_to(root) for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(name) for name in names if not _same(root / name, ROOT / name)}


def _same(first: Path, second: Path) -> bool:
    return second.exists() and first.read_bytes() == second.read_bytes()


def passes(root: Path, *arguments: str) -> None:
    done = subprocess.run(
        [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def well_formed(root: Path) -> None:
    ruff = ["ruff", "check", "neurohorizon", "workflow", "tests"], ["ruff", "format", "--check", "."]
    for program, *arguments in (*ruff, ["lint-imports"]):
        done = subprocess.run([PYTHON.with_name(program), *arguments], cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Workflow:
    """Run the tables of a small run of one source, with a new baseline, a new ablation and a new experiment."""
    project = copy_workflow(tmp_path_factory.mktemp("extended") / "project")
    touched = {heading: follow(project, heading) for heading in ("A baseline", "An ablation", "An experiment")}
    assert [len(files) for files in touched.values()] == [4, 5, 13]
    assert changed_files(project.root) == set.union(*touched.values())
    well_formed(project.root)
    baselines = {"networks": [], "controls": [], "learned_embedding": None}
    sources = {"allen": None, "simulated_allen": None}
    ablations = {"variants": ["rate_only"]}
    path = write_miniature(project.root, sources=sources, baselines=baselines, ablations=ablations, **OFF)
    values = yaml.safe_load(path.read_text())
    values["ablations"]["variants"] = ["no_fano"]  # the project itself does not have it
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    tables = [TABLES / "summary.tsv", RESULTS / "ablations" / "tables" / "ablations.tsv"]
    done = project.snakemake(*tables, "activity", OVERVIEW, *MINIATURE)
    assert done.returncode == 0, done.stdout
    return project


def rows(path: Path) -> list[dict[str, str]]:
    header, *lines = (line.split("\t") for line in path.read_text().splitlines())
    return [dict(zip(header, line, strict=True)) for line in lines]


def test_a_new_baseline_is_in_the_summary_and_in_the_declared_comparisons(finished):
    summary = {row["method"]: row for row in rows(finished.root / TABLES / "summary.tsv")}
    assert summary["discounted_mean"]["class"] == "zero_shot"
    assert np.isfinite(float(summary["discounted_mean"]["bits_per_spike"]))
    assert summary["discounted_mean"]["bits_per_spike"] != summary["shrinkage"]["bits_per_spike"]
    compared = rows(finished.root / TABLES / "comparisons.tsv")
    declared = {row["method"]: row["declared"] for row in compared if row["against"] == "discounted_mean"}
    assert declared == {"neurohorizon": "True", "neurohorizon_adaptive": "False"}


def test_a_new_ablation_is_compared_with_the_full_network(finished):
    (row,) = rows(finished.root / RESULTS / "ablations" / "tables" / "ablations.tsv")
    assert (row["variant"], row["against"], row["declared"]) == ("no_fano", "full", "True")
    cards = (finished.root / RESULTS / "ablations").glob("*/no_fano_seed-0/model.json")
    for card in cards:
        assert "fano" not in json.loads(card.read_text())["features"]["groups"]


def test_a_new_experiment_has_its_table_figure_and_paragraph_in_the_report(finished):
    (row,) = rows(finished.root / ACTIVITY / "tables" / "activity.tsv")
    assert (row["sessions"], row["animals"]) == ("2", "2")
    assert float(row["difference"]) == pytest.approx(float(row["many"]) - float(row["few"]))
    results = json.loads((finished.root / OVERVIEW).with_name("results.json").read_text())
    section = {one["name"]: one for one in results["sections"]}["activity"]
    assert f"{float(row['difference']):+.3f}" in section["headline"]
    report = finished.root / "report.html"
    done = finished.snakemake("--report", report, "activity", OVERVIEW, *MINIATURE)
    assert done.returncode == 0, done.stdout
    html = report.read_text()
    for part in ("7 Activity", "activity.tsv", "activity.svg", "overview.html", "split at the median"):
        assert part in html
    assert re.search(r"<b>Activity.</b> (?!.*Not in this run)", (finished.root / OVERVIEW).read_text())


def test_the_tests_of_the_copy_include_the_new_rows(finished):
    tests = ["tests/test_methods.py", "tests/baselines/test_closed_form.py", "tests/experiments/activity"]
    tests += ["tests/experiments/ablations/test_ablations.py", "tests/experiments/test_catalogue.py"]
    tests += ["tests/workflow/test_report_files.py", "tests/workflow/test_rules.py"]
    modules = "test_methods or test_closed_form or test_activity or test_catalogue or test_report_files"
    passes(finished.root, *tests, "-k", f"{modules} or declared or forest or every_rule or gives_exactly")


def test_a_new_source_is_read_and_planned(tmp_path):
    project = copy_workflow(tmp_path / "project")
    path = write_miniature_with_npz(project.root)
    before = changed_files(project.root)
    touched = follow(project, "A data source")
    assert changed_files(project.root) - before == touched
    assert len(touched) <= 15
    well_formed(project.root)
    passes(project.root, "tests/ingest/test_npz.py", "tests/test_config.py", "-k", "npz or preset or short")
    planned = project.snakemake("-n", TABLES / "summary.tsv", "--configfile", path)
    done = project.snakemake(RESULTS / "sessions" / "npz" / "a.h5", "--configfile", path)
    assert done.returncode == 0, done.stdout
    assert (project.root / RESULTS / "sessions" / "npz" / "a.h5").exists()
    assert planned.returncode == 0, planned.stdout
    assert counts(planned.stdout)["preprocess_npz"] == 2


def write_miniature_with_npz(root: Path) -> Path:
    """Write a configuration and a cohort of two made recordings of the new source."""
    sources = {"ibl": None, "allen": None, "nwb": None, "dandi": None, "simulated": None, "simulated_allen": None}
    recordings = root / "recordings"
    recordings.mkdir()
    rng = np.random.default_rng(0)
    lines = ["session\tsource\tsubject\tlab\tdate\trole\tfold\twhy"]
    for name, role, fold in (("a", "train", ""), ("b", "heldout", "unseen")):
        times_s = np.sort(rng.uniform(0, 100, 400))
        np.savez(recordings / f"{name}.npz", spike_times_s=times_s, spike_unit=np.arange(400) % 4, duration_s=100.0)
        lines.append(f"{name}\tnpz\tanimal-{name}\tlab\t2020-01-01\t{role}\t{fold}\t")
    path = write_miniature(root, **OFF, ablations=None)
    values = yaml.safe_load(path.read_text())
    values["sources"] = sources | {"npz": {"folder": "recordings"}}
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    (root / values["cohort"]["table"]).write_text("\n".join(lines) + "\n")
    return path.relative_to(root)
