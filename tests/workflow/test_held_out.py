"""Held-out sessions are trained on in no configuration, fold, arm or subset, and in no job of the workflow."""

import hashlib
import importlib.util
import random
import re
from collections.abc import Iterable

import pytest
from factories import ROOT
from factories.workflow import counts

from neurohorizon.cohort import (
    Row,
    cohort_hash,
    folds,
    heldout_sessions,
    read_cohort,
    sessions_in_use,
    training_sessions,
    write_cohort,
)
from neurohorizon.config import read_config
from neurohorizon.experiments.scaling.points import matched_subset, nested_subset, parse_point, points, same_lab_subset
from neurohorizon.ingest.paper_cohort import (
    ALLEN_COLUMNS,
    IBL_COLUMNS,
    allen_rows,
    ibl_rows,
    read_release,
    read_reserved,
)

RESERVED = read_reserved(ROOT / "config" / "cohorts" / "bwb_heldout.txt")
CONFIGS = sorted(path for path in (ROOT / "config").glob("*.yaml"))
LEARNS = re.compile(r"train|tune|fit|choose")
"""Rules that learn from sessions, by name."""
ON_ONE_SESSION = {"fit_within_session"}
"""Rules that fit the session that is forecast, with only its reference window: class fitted."""


def test_the_list_is_that_of_the_benchmark():
    digest = hashlib.sha256("\n".join(sorted(RESERVED)).encode()).hexdigest()
    assert digest == "dcf222ab009d0c5c54d7ab02ddc0b83ffae4dfa5d3a439be632713d96509dd10"
    if importlib.util.find_spec("ibl_bwb_eval"):
        from ibl_bwb_eval import EVAL_RECORDING_IDS

        assert set(EVAL_RECORDING_IDS.read_text().split()) == RESERVED


def made_release() -> tuple[Row, ...]:
    """Make a release with the size and form of the real one; its animals have the reserved recordings too."""
    rng = random.Random(5)
    animals = [(f"lab-{number % 12}", f"mouse-{number}") for number in range(139)]
    others = [f"{rng.getrandbits(128):032x}" for _ in range(430)]
    eids = [re.sub(r"(.{8})(.{4})(.{4})(.{4})(.{12})", r"\1-\2-\3-\4-\5", name) for name in others]
    owners = [animals[number % 139] for number in range(430)]
    # 29 recordings of 13 animals
    eids += sorted(RESERVED)
    owners += [animals[3 * (number % 13)] for number in range(29)]
    insertions = []
    for number, (eid, (lab, subject)) in enumerate(zip(eids, owners, strict=True)):
        values = (f"pid-{number}", eid, "probe00", "1", f"2021-0{1 + number % 9}-{1 + number % 28:02d}", subject, lab)
        insertions.append(dict(zip(IBL_COLUMNS, values, strict=True)))
    rng.shuffle(insertions)
    sessions = [
        dict(zip(ALLEN_COLUMNS, (str(number), "2019-01-01", f"a-{number}", f"type-{number % 2}"), strict=True))
        for number in range(58)
    ]
    return _paper(insertions, sessions)


def _paper(insertions: list, sessions: list) -> tuple[Row, ...]:
    config = read_config(ROOT / "config" / "config.yaml")
    fraction, seed = config.cohort.heldout_fraction, config.run.seed
    ibl = ibl_rows(insertions, reserved=RESERVED, heldout_fraction=fraction, seed=seed)
    return (*ibl, *allen_rows(sessions, heldout_fraction=fraction, seed=seed))


@pytest.fixture(params=["made", "real"])
def paper(request) -> tuple[Row, ...]:
    """Return rows of the paper's cohort, from a made release and, if its tables are present, from the real one."""
    if request.param == "made":
        return made_release()
    tables = request.getfixturevalue("release_tables")
    return _paper(
        read_release(tables / "ibl_2023_12_bwm_release.csv", IBL_COLUMNS),
        read_release(tables / "allen_sessions.csv", ALLEN_COLUMNS),
    )


def held_out_names(rows: Iterable[Row], fold: str) -> tuple[set[str], set[str]]:
    """Return the sessions and animals that a fold must not be trained on."""
    apart = [*heldout_sessions(rows, fold), *(row for row in rows if row.role == "reserved")]
    return {row.session for row in apart} | RESERVED, {row.held_out_with for row in apart}


def check(rows: tuple[Row, ...], chosen: Iterable[Row], fold: str, what: str) -> None:
    chosen = list(chosen)
    sessions, animals = held_out_names(rows, fold)
    named = {row.session for row in chosen} | {row.extras.get("eid", "") for row in chosen}
    assert chosen, what
    assert not named & sessions, what
    assert not {row.held_out_with for row in chosen} & animals, what


def subsets(rows: tuple[Row, ...], fold: str, config) -> dict[str, tuple[Row, ...]]:
    """Return every point of the scaling experiment with its training sessions."""
    could = [row for row in training_sessions(rows, fold) if row.source == config.scaling.source]
    by_name = {row.session: row for row in could}
    heldout = {f"region-{number}": 10 for number in range(4)}
    regions = {name: {f"region-{place % 7}": 5} for place, name in enumerate(by_name)}
    chosen = {}
    for name in points(config.scaling):
        point = parse_point(name)
        options = {"size": point.size, "draw": point.draw, "seed": config.run.seed}
        if point.size is None:
            chosen[name] = tuple(could)
        elif point.kind == "same_region":
            chosen[name] = tuple(by_name[one] for one in matched_subset(regions, heldout, **options))
        else:
            chosen[name] = {"sessions": nested_subset, "same_lab": same_lab_subset}[point.kind](could, **options)
    return chosen


def test_no_fold_of_the_paper_and_no_subset_of_it_trains_on_held_out_sessions(paper):
    config = read_config(ROOT / "config" / "config.yaml")
    assert sum(row.role == "reserved" for row in paper) == 29
    used = sessions_in_use(paper, config.sources)
    assert not {row.session for row in used} & RESERVED, "the reserved recordings are not even opened"
    for fold in folds(paper):
        check(paper, training_sessions(paper, fold), fold, fold)
        found = subsets(paper, fold, config)
        assert len(found) > 25
        for name, chosen in found.items():
            check(paper, chosen, fold, name)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_no_shipped_configuration_trains_on_held_out_sessions(path):
    config = read_config(path)
    table = ROOT / config.cohort.table
    if not table.exists():
        assert config.cohort.is_made
        pytest.skip(f"{config.cohort.table} is made by a job; other tests make such tables")
    rows = read_cohort(table)
    for fold in folds(rows):
        check(rows, training_sessions(rows, fold), fold, fold)
        if config.scaling:
            for name, chosen in subsets(rows, fold, config).items():
                check(rows, chosen, fold, name)


def jobs(plan: str) -> list[tuple[str, set[str], str]]:
    """Return rule, input files and output of each job of a dry run."""
    found = re.findall(r"^rule (\w+):\n    input: (.*)\n    output: (.*)$", plan, flags=re.M)
    return [(rule, set(inputs.split(", ")), outputs) for rule, inputs, outputs in found]


def sessions_of(files: Iterable[str], rows: Iterable[Row]) -> set[str]:
    names = {row.session for row in rows}
    return {name for file in files for name in names if f"/{name}.h5" in file or f"/{name}/" in file}


@pytest.mark.slow
def test_no_job_that_learns_reads_a_held_out_session(workflow):
    # with one encoder that needs no weights, all jobs are known in advance
    encoder = "multimodal={images: {encoders: [pixels]}}"
    done = workflow.snakemake("all", "poyo", "-n", "--configfile", "config/demo.yaml", "--config", encoder)
    assert done.returncode == 0, done.stdout
    rows = read_cohort(ROOT / "config" / "cohorts" / "demo.tsv")
    heldout = heldout_sessions(rows, "main")
    learning = [job for job in jobs(done.stdout) if LEARNS.search(job[0]) and job[0] not in ON_ONE_SESSION]
    known = {"train", "train_point", "tune_baselines", "tune_regressions", "train_multimodal", "train_poyo"}
    assert known <= {rule for rule, _, _ in learning}
    for rule, inputs, output in learning:
        read = sessions_of(inputs, rows)
        if rule == "choose_sessions":
            continue  # reads regions of the units of held-out sessions, and no spike
        if {row.session for row in heldout} & read:
            # fits on only one session, for that session: its readout and its adapted decoder
            assert len(read) == 1, (rule, output)
            assert next(iter(read)) in output, (rule, output)
        else:
            assert read, (rule, output)


@pytest.mark.slow
def test_the_papers_plan_opens_no_reserved_recording(workflow, release_tables):
    rows = _paper(
        read_release(release_tables / "ibl_2023_12_bwm_release.csv", IBL_COLUMNS),
        read_release(release_tables / "allen_sessions.csv", ALLEN_COLUMNS),
    )
    table = workflow.root / "config" / "cohorts" / "paper.tsv"
    write_cohort(table, rows)
    assert cohort_hash(table) in (table.parent / "paper.tsv.sha256").read_text()
    point = "results/paper/scaling/main/sessions-50_draw-2_seed-0/scores.parquet"
    done = workflow.snakemake("-n", point, "--configfile", "config/config.yaml")
    assert done.returncode == 0, done.stdout
    assert counts(done.stdout)["train_point"] == 1
    assert not [eid for eid in RESERVED if eid in done.stdout]
    (job,) = (job for job in jobs(done.stdout) if job[0] == "train_point")
    assert len([file for file in job[1] if "/sessions/ibl/" in file]) == 50
    assert not sessions_of(job[1], heldout_sessions(rows, "main"))


@pytest.mark.slow
def test_the_table_of_arrays_is_made_from_their_manifest(workflow):
    manifest = workflow.root / "arrays" / "manifest.tsv"
    manifest.parent.mkdir()
    manifest.touch()
    plan = ("-n", "cohorts", "--configfile", "config/mea.yaml")
    done = workflow.snakemake(*plan, NEUROHORIZON_NWB=str(manifest.parent))
    assert done.returncode == 0, done.stdout
    assert counts(done.stdout)["make_cohort"] == 1
