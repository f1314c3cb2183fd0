# Shared by all rules: the configuration, the cohort, and the fingerprint of the code that each rule calls.
import os
import sys
from functools import cache
from pathlib import Path

ROOT = Path(str(workflow.current_basedir)).parent
sys.path[:0] = [str(ROOT), str(ROOT / "workflow")]

from fingerprint import Code, KeptFingerprints
from layout import Layout, section
from one_timer import keep_one_timer
from orphaned_jobs import cancel_orphaned
from progress import lines_at_error, lines_at_start, lines_at_success, reasons
from resources import group_of, resources_of, start_on_nodes
from snakemake.utils import update_config
from stale_lock import STALE, hold_folder, remove_parts

from neurohorizon.cohort import NAME_CHARACTERS, CohortError, Row, check_excluded, read_cohort, sessions_in_use
from neurohorizon.config import Config, ConfigError, expand_folder, parse_config, with_preset
from neurohorizon.files import RECORDED_FOLDER, full_disks
from neurohorizon.methods import ADAPTIVE, CLOSED_FORM, ENSEMBLE, FORECASTER, LATENT_READOUT, NETWORKS, REGRESSIONS
from neurohorizon.sources import IBL_ARCHIVE_VERSIONS, SOURCES
from neurohorizon.starting_weights import StartError
from neurohorizon.strict_yaml import YamlError, parse_yaml, read_yaml

LOCK_LINES = hold_folder(Path.cwd(), cancel_orphaned) if workflow.is_main_process else ""
if LOCK_LINES:
    print(LOCK_LINES, file=sys.stderr)


def shipped(path: str) -> str:
    """Return a path of the working directory, or, if it does not exist, the workflow's own file of that name."""
    return path if Path(path).exists() or not (ROOT / path).exists() else str(ROOT / path)


def typed(values: object) -> object:
    """Parse the leaves of ``--config`` as YAML, since Snakemake keeps leaves below the first level as text."""
    if isinstance(values, dict):
        return {key: typed(value) for key, value in values.items()}
    if isinstance(values, list):
        return [typed(value) for value in values]
    return parse_yaml(values) if isinstance(values, str) else values


def checked() -> Config:
    """Check the configuration first, so that a typo stops even a dry run.

    Its files are read again, since Snakemake also takes aliases, tags and keys that are there twice.
    """
    values = {}
    try:
        for path in workflow.configfiles:
            update_config(values, read_yaml(path))
        update_config(values, typed(workflow.config_settings.config or {}))
        values = with_preset(values)  # below all files, in any order
        found = parse_config(values)
    except (ConfigError, YamlError) as error:
        raise WorkflowError(str(error)) from None
    update_config(config, values)  # captions of the report are filled in from it
    return found


# a --configfile replaces the paper's configuration, it is not added to it
if not workflow.configfiles:

    configfile: shipped("config/config.yaml")


# Jobs of a group run one after the other also inside of their submission, which does not receive limits of resources
if not workflow.is_main_process:
    workflow.register_resource("in_turn", 1)

CONFIG = checked()
RESULTS = CONFIG.run.results
COHORT = shipped(CONFIG.cohort.table)
if STALE in LOCK_LINES:
    remove_parts(Path(RESULTS))

# Each job uses its own environment and this package, and no package of the user. On a cluster with Slurm, a job is one
# task, and this name is Lightning's option to start the processes of several devices itself. Files of the results have
# a record of their content. START begins the command of a training on several nodes, in its job only. Modules are
# compiled once, not by each job: many containers forbid it by this variable.
shell.prefix(
    f"set -euo pipefail; export CALL='{ROOT}/workflow/scripts/call.py' CHECK='{ROOT}/workflow/scripts/check.py'"
    f" START='{start_on_nodes(CONFIG.training)}'"
    f" PYTHONPATH='{ROOT}' {RECORDED_FOLDER}='{os.path.abspath(RESULTS)}'"
    " PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE= MPLBACKEND=agg SLURM_JOB_NAME=interactive; "
)
REVIEW = globals().get("REVIEW", False)  # set by profiles/review/Snakefile: use only files of sums
COHORT_IS_MADE = not (REVIEW or Path(COHORT).exists()) and CONFIG.cohort.is_made
# as a parameter, the fingerprint of a function makes its code a dependency
code = KeptFingerprints(Code(ROOT), Path(".snakemake", "fingerprints.json")).fingerprint


@cache
def _read_cohort() -> tuple[Row, ...]:
    try:
        rows = read_cohort(COHORT)
        check_excluded(rows, CONFIG.cohort.exclude_units)
        return sessions_in_use(rows, CONFIG.sources)
    except (CohortError, FileNotFoundError) as error:
        raise WorkflowError(f"cohort.table {COHORT}: {error}") from None


def cohort() -> tuple[Row, ...]:
    """Return the sessions of this run; if the table does not exist yet, the job that makes it runs first."""
    if not Path(COHORT).exists() and COHORT_IS_MADE:
        checkpoints.make_cohort.get()
    return _read_cohort()


# a review needs no table, and the target `dandi_cohort` needs none since it writes the draft of one
if not COHORT_IS_MADE and (Path(COHORT).exists() or not (REVIEW or CONFIG.sources.dandi)):
    cohort()  # an error in the table stops even a dry run


def print_downloads(lines_of) -> None:
    """Print lines about the downloads of this run; while its table is not made, there are no sessions to count."""
    for line in lines_of(CONFIG, _read_cohort() if Path(COHORT).exists() else None):
        print(line, file=sys.stderr)


def dinov2_card_file() -> str:
    """Return the record of whether DINOv2 weights are available; the archive has it for a review."""
    return f"{RESULTS}/weights/dinov2.json" if REVIEW else str(checkpoints.dinov2_weights.get().output.card)


LAYOUT = Layout(CONFIG, cohort, dinov2_card_file)

# weights that do not fit stop even a dry run
if CONFIG.training.start_from and not REVIEW and Path(COHORT).exists():
    try:
        for _fold in LAYOUT.folds():
            LAYOUT.start_of(_fold)
    except StartError as error:
        raise WorkflowError(str(error)) from None


def declared(rule: str) -> dict:
    """Return the resources of a rule, all from one table."""
    return resources_of(rule, CONFIG.training)


def tried_again(times: int) -> int:
    """Return the retries of a rule. The process of a job on a cluster does not retry: its memory and time are fixed."""
    return times if workflow.is_main_process else 0


def on_a_cluster(group: str):
    """Return a function of the group of a rule's jobs: how they run is not set yet when Snakemake reads the rules."""

    def group_of_job(wildcards) -> str | None:
        return group if workflow.non_local_exec else None

    return group_of_job


def output_folder(wildcards, output) -> str:
    """Return the folder of a job's outputs, which one call writes."""
    return os.path.dirname(output[0])


# Before all rules: version 9.27.1 of Snakemake takes the constraints of files in a bucket away if it reads more later.
wildcard_constraints:
    source="|".join(SOURCES),
    session=rf"[{NAME_CHARACTERS}]+",
    fold=r"[\w.-]+",
    model="|".join([FORECASTER, *NETWORKS]),
    seed=r"\d+",
    encoder=r"\w+",
    experiment="scaling|ablations",
    point=r"[\w-]+_seed-\d+",
