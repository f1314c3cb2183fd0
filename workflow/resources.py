"""Memory, time and accelerators of each rule's jobs: one table.

A job declares ``mem_mb`` and ``runtime`` (minutes) as functions of the size of its input files and of the attempt, so
that a scheduler of a cluster can place it, and a job that was killed for its memory or time gets more at the next
attempt. Figures are fitted to the jobs of finished runs, ``benchmarks/job_sizes.tsv``, and include the two processes of
Snakemake that a job of a cluster has. The two rules that read large archives are estimated from the sizes of sessions.
"""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Any

from neurohorizon.config import Training

SNAKEMAKE_MB = 400
"""Memory of the two processes of Snakemake in a job of a cluster: one starts the other as a step of the job."""
START_MINUTES = 4
"""Time for their starts, and for the imports of a job on a file system that is busy."""
MANY_SESSIONS_MB = 2000
"""Size of inputs above which they are many sessions, of which a job keeps only one in memory at a time."""


@dataclass(frozen=True)
class Need:
    """Memory and time of a rule's jobs at their first attempt, without those of Snakemake.

    Attributes:
        memory_mb: Memory of a job with empty inputs.
        minutes: Time of a job with empty inputs.
        memory_per_mb: Memory for each MB of its input files.
        minutes_per_mb: Minutes for each MB of its input files.
        steps: Whether it has a number of steps, so that its time grows no more above ``MANY_SESSIONS_MB``.
        accelerated: Whether it uses the devices of ``training.accelerator``.
    """

    memory_mb: float
    minutes: float
    memory_per_mb: float = 0.0
    minutes_per_mb: float = 0.0
    steps: bool = False
    accelerated: bool = False

    def mem_mb(self, input_mb: float, attempt: int) -> int:
        """Return the memory of a job, with that of Snakemake."""
        of_inputs = self.memory_per_mb * min(input_mb, MANY_SESSIONS_MB)
        return int(SNAKEMAKE_MB + attempt * (self.memory_mb + of_inputs))

    def runtime(self, input_mb: float, attempt: int) -> int:
        """Return the minutes of a job, with the starts of Snakemake."""
        minutes = self.minutes + self.minutes_per_mb * min(input_mb, MANY_SESSIONS_MB if self.steps else inf)
        return int(START_MINUTES + attempt * minutes) + 1


NEEDS = {
    # releases and downloads
    "fetch_ibl_table": Need(500, 20),
    "fetch_allen_table": Need(500, 20),
    "dandi_cohort": Need(500, 60),
    "make_cohort": Need(300, 10),
    "simulate_release": Need(600, 10),
    "simulate_allen_release": Need(600, 10),
    "download_ibl_archive": Need(500, 1440),
    "download_ibl": Need(500, 480),
    "download_allen": Need(500, 480),
    "download_dandi": Need(500, 480),
    "export_images": Need(600, 60),
    "check_first_session": Need(600, 10),
    # 51 bytes a spike of all units of an IBL session: 1.1 GB on average, 4.3 GB for the largest
    "preprocess_ibl": Need(2500, 30),
    # 0.4 GB, and 20 bytes a spike of the units that are kept
    "preprocess_allen": Need(3000, 60),
    "preprocess_nwb": Need(300, 2, memory_per_mb=5, minutes_per_mb=0.02),
    "preprocess_dandi": Need(300, 2, memory_per_mb=5, minutes_per_mb=0.02),
    "validate": Need(500, 2, memory_per_mb=5, minutes_per_mb=0.02),
    "list_sessions": Need(300, 2, minutes_per_mb=0.001),
    # inputs of the networks
    "reference_features": Need(400, 2, memory_per_mb=15, minutes_per_mb=0.05),
    "population_readout": Need(2400, 8, memory_per_mb=15, minutes_per_mb=0.1),
    "modality_readouts": Need(800, 3, memory_per_mb=15, minutes_per_mb=0.05),
    "dinov2_weights": Need(600, 30),
    "embed_images": Need(1000, 30),
    "preview": Need(1200, 10, memory_per_mb=15, minutes_per_mb=0.2),
    # training
    "tune_baselines": Need(800, 10, memory_per_mb=5, minutes_per_mb=0.05),
    "tune_regressions": Need(1200, 10, memory_per_mb=5, minutes_per_mb=0.1),
    "train": Need(1500, 120, memory_per_mb=3, minutes_per_mb=0.5, steps=True, accelerated=True),
    "train_latent_readout": Need(1500, 60, memory_per_mb=3, minutes_per_mb=0.5, steps=True),
    "train_point": Need(1500, 120, memory_per_mb=3, minutes_per_mb=0.5, steps=True, accelerated=True),
    "train_multimodal": Need(1500, 120, memory_per_mb=3, minutes_per_mb=0.5, steps=True, accelerated=True),
    "train_poyo": Need(1500, 120, memory_per_mb=3, minutes_per_mb=0.5, steps=True, accelerated=True),
    "fit_within_session": Need(1200, 30, memory_per_mb=10, minutes_per_mb=0.5, accelerated=True),
    "extend_poyo": Need(1200, 30, memory_per_mb=10, minutes_per_mb=0.5, accelerated=True),
    "decode_training": Need(1200, 30, memory_per_mb=3, minutes_per_mb=0.1, steps=True, accelerated=True),
    # forecasts
    "forecast": Need(900, 3, memory_per_mb=20, minutes_per_mb=0.1),
    "forecast_controls": Need(1200, 5, memory_per_mb=20, minutes_per_mb=0.2),
    "forecast_baselines": Need(800, 3, memory_per_mb=20, minutes_per_mb=0.1),
    "forecast_regressions": Need(1400, 5, memory_per_mb=20, minutes_per_mb=0.1),
    "forecast_oracle": Need(800, 3, memory_per_mb=20, minutes_per_mb=0.1),
    "forecast_latent_readout": Need(1200, 3, memory_per_mb=20, minutes_per_mb=0.1),
    "forecast_ensemble": Need(800, 3, memory_per_mb=20, minutes_per_mb=0.1),
    "forecast_adaptive": Need(800, 3, memory_per_mb=20, minutes_per_mb=0.1),
    "forecast_conditions": Need(1200, 5, memory_per_mb=20, minutes_per_mb=0.2),
    "forecast_psth": Need(800, 3, memory_per_mb=20, minutes_per_mb=0.1),
    "sample_paths": Need(1200, 30, memory_per_mb=20, minutes_per_mb=1),
    # sums
    "score": Need(800, 3, memory_per_mb=5, minutes_per_mb=0.02),
    "score_definitions": Need(800, 3, memory_per_mb=5, minutes_per_mb=0.02),
    "score_elapsed": Need(800, 3, memory_per_mb=5, minutes_per_mb=0.02),
    "score_curves": Need(1200, 20, memory_per_mb=10, minutes_per_mb=0.2),
    "score_teacher_forcing": Need(1200, 10, memory_per_mb=5, minutes_per_mb=0.1),
    "score_conditions": Need(800, 3, memory_per_mb=5, minutes_per_mb=0.02),
    "score_downstream": Need(1200, 10, memory_per_mb=10, minutes_per_mb=0.1),
    "score_point": Need(1500, 30, memory_per_mb=5, minutes_per_mb=0.2),
    "choose_sessions": Need(600, 3),
    "probe_session": Need(1200, 10, memory_per_mb=10, minutes_per_mb=0.1),
    "measure_behaviour": Need(400, 5, memory_per_mb=1, minutes_per_mb=0.005),
    # tables, figures and pages
    "make_tables": Need(500, 5, memory_per_mb=5),
    "draw_figure": Need(400, 3),
    "run_notebook": Need(600, 5),
    "make_example": Need(500, 3),
    "write_results": Need(400, 3),
    "write_run_page": Need(400, 2),
    "write_page": Need(800, 5, memory_per_mb=5),
    "typeset_paper": Need(500, 3),
    "record_config": Need(200, 1),
    "archive_scores": Need(400, 10),
    "restore_scores": Need(400, 10),
    "audit_bwb": Need(4000, 60),
    # weights
    "describe_release": Need(400, 3),
    "write_release": Need(800, 3),
    "sum_releases": Need(400, 2),
}
"""Rule or family of rules -> its need."""

FAMILIES = {r"make_\w+_tables": "make_tables", r"draw_\w+": "draw_figure", r"notebook_\w+": "run_notebook"}
"""Names of the rules of a loop -> their family."""

GROUPS = {
    "reading": (
        *("preprocess_ibl", "preprocess_allen", "preprocess_nwb", "preprocess_dandi"),
        *("reference_features", "population_readout", "validate"),
    ),
    "forecasting": (
        *("forecast", "forecast_controls", "forecast_baselines", "forecast_regressions", "forecast_oracle"),
        *("forecast_latent_readout", "forecast_ensemble", "forecast_adaptive"),
        *("score", "score_definitions", "score_elapsed"),
    ),
    "conditions": ("forecast_conditions", "forecast_psth", "score_conditions"),
    "decoding": ("score_downstream",),
    "probing": ("probe_session",),
    "showing": ("make_tables", "draw_figure", "run_notebook"),
}
"""Group -> rules of short jobs. Those of one session, or of one experiment, are one submission to a cluster; and
``group-components`` of the profile puts several of them together. No rule outside of a group may need a file of the
group and make one that the group needs."""

ON_NODES = ("train", "train_point", "train_multimodal")
"""Rules whose jobs use ``training.nodes``."""

AT_THE_END = ("make_planted_effects_tables", "notebook_paper")
"""Rules that read the tables of all experiments: in the group, one failed experiment would delay all tables."""


def family_of(rule: str) -> str:
    """Return the family of a rule, which is the rule itself outside of loops and of `first_session`."""
    rule = rule.removeprefix("first_") if rule != "first_session" else rule
    return next((family for names, family in FAMILIES.items() if re.fullmatch(names, rule)), rule)


def group_of(rule: str) -> str | None:
    """Return the group of a rule on a cluster; None if each of its jobs is a submission."""
    if rule in AT_THE_END or rule.startswith("first_"):
        return None
    return next((group for group, rules in GROUPS.items() if family_of(rule) in rules), None)


def resources_of(rule: str, training: Training) -> dict[str, Callable[..., int] | int | str]:
    """Return the resources that a rule declares.

    Args:
        rule: The rule or its family.
        training: Section `training`, for the number of its devices and nodes.

    Raises:
        KeyError: The table has no line for the rule.
    """
    if family_of(rule) not in NEEDS:
        raise KeyError(f"rule {rule} has no resources: add a line to NEEDS in workflow/resources.py")
    need = NEEDS[family_of(rule)]

    def mem_mb(wildcards: object, input: Iterable[str], attempt: int) -> int:  # noqa: A002 (Snakemake's names)
        return need.mem_mb(size_mb(input), attempt)

    def runtime(wildcards: object, input: Iterable[str], attempt: int) -> int:  # noqa: A002
        return need.runtime(size_mb(input), attempt)

    several = _nodes(training) if family_of(rule) in ON_NODES else {}
    devices = training.devices * several.get("nodes", 1) if need.accelerated and training.accelerator == "gpu" else 0
    return {"mem_mb": mem_mb, "runtime": runtime, **several, **({"gpu": devices} if devices else {})}


def _nodes(training: Training) -> dict[str, Any]:
    """Return the resources by which Slurm starts a training on several nodes, a process for each device."""
    if training.nodes == 1:
        return {}
    tasks = {"tasks": training.nodes * training.devices, "cpus_per_task": max(training.threads // training.devices, 1)}
    gpus = {"tasks_per_gpu": 1} if training.accelerator == "gpu" else {}
    # with `mpi`, the plugin leaves it to the command to start the processes
    return {"nodes": training.nodes, "mpi": "srun", **tasks, **gpus}


def start_on_nodes(training: Training) -> str:
    """Return the beginning of a command that Slurm starts on all nodes of a job; "" for one node and without Slurm."""
    if training.nodes == 1 or "SLURM_JOB_ID" not in os.environ:
        return ""
    found = _nodes(training)
    # Lightning requires the number of tasks of each node
    tasks = f"--nodes={found['nodes']} --ntasks={found['tasks']} --ntasks-per-node={training.devices}"
    return f"srun {tasks} --cpus-per-task={found['cpus_per_task']}"


def size_mb(files: Iterable[str]) -> float:
    """Return the size of those files that are there; others are made by earlier jobs of the same group."""
    return sum(os.path.getsize(path) for path in files if os.path.isfile(path)) / 1e6
