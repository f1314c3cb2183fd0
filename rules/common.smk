# What all rules share: the configuration, the cohort, and the code behind each script.
import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(str(workflow.current_basedir)).parent
sys.path[:0] = [str(ROOT), str(ROOT / "workflow")]

import yaml
from fingerprint import Code
from layout import Layout
from snakemake.utils import update_config

from neurohorizon.cohort import (
    CohortError,
    Row,
    folds,
    heldout_sessions,
    read_cohort,
    sessions_in_use,
    training_sessions,
)
from neurohorizon.config import Config, ConfigError, Section, parse_config
from neurohorizon.methods import CLOSED_FORM, FORECASTER, NETWORKS, OWN_HISTORY, REGRESSIONS, UPPER_BOUND
from neurohorizon.sources import SOURCES, WITH_IMAGES

# Each job sees its own environment and this package, and nothing of the user's.
shell.prefix(
    f"set -euo pipefail; export SCRIPTS='{ROOT}/workflow/scripts' PYTHONPATH='{ROOT}'"
    " PYTHONNOUSERSITE=1 MPLBACKEND=agg; "
)


def shipped(path: str) -> str:
    """Return a path of the working directory, or where it is not there the workflow's own file of that name."""
    return path if Path(path).exists() or not (ROOT / path).exists() else str(ROOT / path)


def typed(values: object) -> object:
    """Read the leaves of ``--config`` as YAML: Snakemake takes those below the first level as text."""
    if isinstance(values, dict):
        return {key: typed(value) for key, value in values.items()}
    if isinstance(values, list):
        return [typed(value) for value in values]
    return yaml.safe_load(values) if isinstance(values, str) else values


def checked(values: dict) -> Config:
    """Check the configuration at the door, so that a typo stops even a dry run."""
    try:
        return parse_config(values)
    except ConfigError as error:
        raise WorkflowError(str(error)) from None


# a --configfile replaces the paper's, it is not laid over it
if not workflow.configfiles:

    configfile: shipped("config/config.yaml")


update_config(config, typed(workflow.config_settings.config or {}))
CONFIG = checked(config)
RESULTS = CONFIG.run.results
COHORT = shipped(CONFIG.cohort.table)
REVIEW = globals().get("REVIEW", False)  # profiles/review/Snakefile: from score files alone
COHORT_IS_MADE = not REVIEW and CONFIG.cohort.heldout_fraction is not None and not Path(COHORT).exists()
MODELS = (FORECASTER, *CONFIG.baselines.networks)
DECODED = (  # scores are compared on the same windows alone
    tuple(f"{FORECASTER}_{decoding}" for decoding in CONFIG.rollout.decodings)
    if CONFIG.rollout and CONFIG.rollout.every_windows == 1
    else ()
)
CODE = Code(ROOT)


def code(script: str, *functions: str) -> str:
    """Fingerprint a script, and functions that it imports by name: as a parameter, it makes code a dependency."""
    return CODE.fingerprint(ROOT / "workflow" / "scripts" / script, *functions)


def section(part: Section | None) -> str:
    """Write a section of the configuration as JSON, for a command line; null for none."""
    return part.model_dump_json() if part else "null"


@cache
def _read_cohort() -> tuple[Row, ...]:
    try:
        return sessions_in_use(read_cohort(COHORT), CONFIG.sources)
    except (CohortError, FileNotFoundError) as error:
        raise WorkflowError(f"cohort.table {COHORT}: {error}") from None


def cohort() -> tuple[Row, ...]:
    """Return the sessions of this run; where the table is not there yet, the job that makes it comes first."""
    if not Path(COHORT).exists() and COHORT_IS_MADE:
        checkpoints.make_cohort.get()
    return _read_cohort()


if not COHORT_IS_MADE and not (REVIEW and not Path(COHORT).exists()):
    cohort()  # a fault in the table stops even a dry run


def dinov2_card_file() -> str:
    """Record of whether weights of DINOv2 are available, once they were looked for; a review has it from the archive."""
    return f"{RESULTS}/weights/dinov2.json" if REVIEW else str(checkpoints.dinov2_weights.get().output.card)


LAYOUT = Layout(CONFIG, cohort, dinov2_card_file)


def row(wildcards) -> str:
    """Write a session's row as JSON, less its part in the cohort, which changes nothing in its data."""
    (found,) = (one for one in cohort() if one.session == wildcards.session)
    values = dataclasses.asdict(dataclasses.replace(found, role="", fold="", why="", extras={}))
    return json.dumps(values | {"extras": dict(found.extras)})


def output_folder(wildcards, output) -> str:
    """Folder of a job's outputs, where one call writes them all."""
    return os.path.dirname(output[0])


def _files(pattern: str, rows: Iterable[Row], **values) -> list[str]:
    return [pattern.format(source=one.source, session=one.session, **values) for one in rows]


def _training(kind: str, wildcards) -> list[str]:
    return _files(f"{RESULTS}/{kind}/{{source}}/{{session}}.h5", training_sessions(cohort(), wildcards.fold))


def training_files(wildcards) -> list[str]:
    """Session files that a fold trains on."""
    return _training("sessions", wildcards)


def training_features(wildcards) -> list[str]:
    """Their features, in the same order."""
    return _training("features", wildcards)


def training_readouts(wildcards) -> list[str]:
    """Their population readouts, in the same order."""
    return _training("readouts", wildcards)


def model_training_readouts(wildcards) -> list[str]:
    """Their population readouts, for a network that reads them."""
    return [] if wildcards.model == OWN_HISTORY else training_readouts(wildcards)


def _of_session(kind: str, session: str) -> str:
    (path,) = _files(f"{RESULTS}/{kind}/{{source}}/{{session}}.h5", [one for one in cohort() if one.session == session])
    return path


def session_file(wildcards) -> str:
    """File of one session, whatever its source."""
    return _of_session("sessions", wildcards.session)


def feature_file(wildcards) -> str:
    """Its features."""
    return _of_session("features", wildcards.session)


def readout_file(wildcards) -> str:
    """Its population readout."""
    return _of_session("readouts", wildcards.session)


def model_readout(wildcards) -> list[str]:
    """Its population readout, for a network that reads one."""
    return [] if wildcards.model == OWN_HISTORY else [readout_file(wildcards)]


def forecast_names(models: tuple[str, ...] = MODELS) -> list[str]:
    """Names of the forecast files of trained models, a file for each seed."""
    return [f"{model}_seed-{seed}" for model in models for seed in CONFIG.run.seeds]


def of_source(wildcards) -> str:
    """Source of a session in the cohort."""
    (found,) = (one.source for one in cohort() if one.session == wildcards.session)
    return found


def is_simulated(source: str) -> bool:
    """Whether the true rates of a source's sessions are known."""
    simulator = SOURCES[source].simulator
    return bool(simulator) and getattr(CONFIG.sources, simulator) is not None


def oracle_forecast(wildcards) -> list[str]:
    """The simulator's true rates of a held-out session, where it is a simulated one."""
    if not is_simulated(of_source(wildcards)):
        return []
    return [f"{RESULTS}/forecasts/{wildcards.fold}/{wildcards.session}/oracle.h5"]


def session_forecasts(wildcards) -> list[str]:
    """Every method's forecasts of one held-out session."""
    folder = f"{RESULTS}/forecasts/{wildcards.fold}/{wildcards.session}"
    names = [
        *CLOSED_FORM,
        *(REGRESSIONS if CONFIG.regressions else ()),
        *forecast_names(),
        *forecast_names(CONFIG.baselines.controls),
    ]
    names += forecast_names((UPPER_BOUND,)) if CONFIG.baselines.learned_embedding else []
    names += forecast_names(DECODED)
    return [f"{folder}/{name}.h5" for name in names] + oracle_forecast(wildcards)


def audited_forecasts(wildcards) -> list[str]:
    """Every method's forecasts of all held-out sessions of all folds."""
    heldout = [(fold, one.session) for fold in folds(cohort()) for one in heldout_sessions(cohort(), fold)]
    return [
        path for fold, session in heldout for path in session_forecasts(SimpleNamespace(fold=fold, session=session))
    ]


def _heldout(pattern: str, **values) -> list[str]:
    return [
        path
        for fold in folds(cohort())
        for path in _files(pattern, heldout_sessions(cohort(), fold), fold=fold, **values)
    ]


def truths(source: str) -> list[str]:
    """Files of the true rates of the held-out sessions of a source."""
    rows = {one.session for fold in folds(cohort()) for one in heldout_sessions(cohort(), fold) if one.source == source}
    return [f"{RESULTS}/truth/{session}.h5" for session in sorted(rows)]


def all_session_files(wildcards) -> list[str]:
    """Session files of all that takes part; some may hold no more than why they are left out."""
    return _files(f"{RESULTS}/sessions/{{source}}/{{session}}.h5", cohort())


def heldout_files(wildcards) -> list[str]:
    """Session files of all held-out sessions."""
    return _heldout(f"{RESULTS}/sessions/{{source}}/{{session}}.h5")


def validation_pictures(wildcards) -> list[str]:
    """A picture of every session that takes part."""
    return _files(f"{RESULTS}/validation/{{source}}/{{session}}.png", cohort())


wildcard_constraints:
    source="|".join(SOURCES),
    session=r"[\w.-]+",
    fold=r"[\w.-]+",
    model="|".join([FORECASTER, *NETWORKS]),
    seed=r"\d+",
    encoder=r"\w+",
