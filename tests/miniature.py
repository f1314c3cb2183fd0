"""The demo in small: the same rules, two labs, minutes of recording and seconds of training."""

from dataclasses import replace
from pathlib import Path

import yaml

from neurohorizon.cohort import Row, write_cohort
from neurohorizon.config import Config, parse_config
from neurohorizon.ingest.simulate import simulated_sessions

HELD_OUT = ("SIM-102", "SIM-202")
GHOST = "ghost_1999-01-01"
"""A session of the cohort that the release does not have."""

CHANGES = {
    "run": {"name": "miniature", "results": "results/miniature"},
    "cohort": {"table": "config/cohorts/miniature.tsv", "on_fatal": "leave_out"},
    "sources": {
        "ibl": {"folder": "results/miniature/release"},
        "simulated": {
            "labs": 2,
            "animals_per_lab": 2,
            "sessions_per_animal": 1,
            "units": [10, 14],
            "duration_s": 120.0,
        },
    },
    "timeline": {"context_bins": 10, "horizon_bins": 10, "evaluation_stride_bins": 20},
    "splits": {"gap_s": 0.5},
    "features": {"population_modes": 3, "coupling_lags_bins": [1, 2]},
    "model": {
        "width": 16,
        "heads": 2,
        "encoder_layers": 1,
        "latents_per_window": 4,
        "head_width": 16,
        "history_edges_bins": [1, 4, 10],
        "readout": {"modes": 3, "span_edges_bins": [2, 10], "horizon_edges_bins": [2, 10]},
    },
    "training": {
        "steps": 40,
        "sessions_per_batch": 2,
        "windows_per_session": 8,
        "validate_every_steps": 20,
        "warmup_steps": 5,
        "validation_windows": 32,
        "threads": 1,
    },
    "baselines": {"trailing_bins": [5, 10], "shrinkage": [0.0, 0.5], "gamma_shape": [1.0], "gamma_discount": [0.95]},
    "evaluation": {"bootstrap_draws": 200, "example_units": 8},
}


def write_miniature(root: Path, **changes: dict) -> Path:
    """Write the configuration and its cohort into a copy of the project; returns the configuration's path.

    Args:
        root: The copy.
        **changes: Section -> what to change in it on top.
    """
    values = yaml.safe_load((root / "config" / "demo.yaml").read_text())
    for change in (CHANGES, changes):
        _merge(values, change)
    config = parse_config(values)
    write_cohort(root / config.cohort.table, _rows(config))
    path = root / "config" / "miniature.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def _merge(values: dict, change: dict) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(values[key], dict):
            _merge(values[key], value)
        else:
            values[key] = value


def _rows(config: Config) -> list[Row]:
    rows = [
        Row(
            session=one.session,
            source="ibl",
            subject=one.subject,
            lab=one.lab,
            date=one.date,
            role="heldout" if one.subject in HELD_OUT else "train",
            fold="unseen" if one.subject in HELD_OUT else "",
            why="",
            extras={"number": str(one.number)},
        )
        for one in simulated_sessions(config.sources.simulated)
    ]
    ghost = {"session": GHOST, "subject": "ghost", "date": "1999-01-01", "role": "train", "fold": ""}
    return [*rows, replace(rows[0], **ghost)]
