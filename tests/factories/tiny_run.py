"""A small version of the demo: the same rules, two labs, minutes of recording and seconds of training."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import torch
import yaml
from transformers import Dinov2Config, Dinov2Model

from neurohorizon.cohort import Row, write_cohort
from neurohorizon.config import Config, parse_config
from neurohorizon.ingest.simulated.ibl import simulated_sessions

HELD_OUT = ("SIM-102", "SIM-202", "SIM-A03")
GHOST = "ghost_1999-01-01"
"""A session of the cohort that the release does not have."""

DINOV2 = "weights/dinov2"
"""Folder in the copy with a tiny DINOv2 of random weights."""

CHANGES = {
    "run": {"name": "miniature", "results": "results/miniature"},
    "cohort": {"table": "config/cohorts/miniature.tsv", "on_fatal": "leave_out"},
    "sources": {
        "ibl": {"folder": "results/miniature/release"},
        "allen": {"folder": "results/miniature/release_allen"},
        "simulated_allen": {
            "animals": 3,
            "units": [10, 14],
            "blocks": 3,
            "movie_s": 6.0,
            "movie_repeats": 3,
            "scenes": 10,
            "gratings": 1,
            "latents": 3,
        },
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
        "encoder_layers": 2,
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
    "baselines": {
        "trailing_bins": [5, 10],
        "shrinkage": [0.0, 0.5],
        "gamma_shape": [1.0],
        "gamma_discount": [0.95],
        "learned_embedding": {"steps": 20, "validate_every_steps": 10},
    },
    "regressions": {
        "history_edges_bins": [1, 4, 10],
        "horizon_edges_bins": [2, 10],
        "ridge": [300.0, 3000.0],
        "rank": [2],
        "floor": [0.2],
        "precision": [30.0, 300.0],
        "modes": 2,
        "mode_edges_bins": [10],
        "windows": 500,
    },
    "rollout": {"paths": 4, "every_windows": 1},
    "latent_readout": {
        "latents": 4,
        "loadings": 4,
        "width": 8,
        "penalty": 300.0,
        "fit_windows": 200,
        "windows": 40,
        "steps": 10,
        "sessions_per_batch": 2,
        "fit_windows_per_step": 100,
        "windows_per_step": 20,
        "units_per_step": 8,
        "learning_rate": 0.005,
        "weight_decay": 0.01,
        "unit_dropout": 0.1,
        "validate_every_steps": 5,
        "patience": 2,
    },
    "adaptive": {"horizon_edges_bins": [2, 10]},
    "multimodal": {
        "behaviour_delay_bins": 2,
        "behaviour_span_edges_bins": [2, 8],
        "image_span_edges_bins": [2, 5],
        "token_bins": 2,
        "images": {"encoders": ["dinov2", "pixels"], "dinov2": DINOV2, "side_px": 28, "pixels_px": 8, "components": 6},
        "heldout_movie_s": [[2.0, 3.0]],
        "behaviour_shift_s": 10.0,
        "steps": 20,
    },
    "poyo": {
        "labelled_s": 20.0,
        "width": 16,
        "heads": 2,
        "steps": 20,
        "batch_windows": 8,
        "adapt_steps": 10,
        "adapt_windows": 4,
    },
    "cross_session": {
        "reference_s": [10.0, 30.0],
        "units": [4, 8],
        "unit_draws": 2,
        "elapsed_edges_s": [20.0, 40.0],
        "matched_units": 3,
    },
    "scaling": {"sessions": [2], "draws": 1, "steps": 4, "arms": ["same_lab", "same_region"], "arm_sessions": 2},
    "downstream": {
        "span_edges_bins": [5, 10],
        "blocks": 3,
        "penalties": [0.1, 10.0],
        "training_sessions": 1,
        "poyo_latents": True,
    },
    "ablations": {"variants": ["shuffled_identity", "learned_embedding", "teacher_forcing_only"], "steps": 4},
    "evaluation": {"bootstrap_draws": 200, "example_units": 8, "horizons_ms": [100, 200]},
}


RESULTS = Path("results/miniature")
SLICE = {
    "sources": {"allen": None, "simulated_allen": None},
    "baselines": {"controls": [], "learned_embedding": None},
    "ablations": {"variants": ["shuffled_identity"]},
    **dict.fromkeys(("regressions", "latent_readout", "adaptive", "multimodal", "poyo", "downstream")),
}
"""Changes to a slice of the miniature for clusters: experiment 1 on its IBL sessions."""


def is_output(path: Path) -> bool:
    """Return whether a file of a run is a table, a training curve or weights, which hold no times and no names."""
    if "benchmarks" in path.parts:
        return False
    return path.suffix == ".tsv" or ("models" in path.parts and path.name in ("log.csv", "model.safetensors"))


def outputs(root: Path) -> dict[str, bytes]:
    """Return the outputs of a run in a copy of the project, by their paths in it."""
    names = {str(path.relative_to(root)): path for path in (root / RESULTS).rglob("*.*")}
    return {name: path.read_bytes() for name, path in sorted(names.items()) if is_output(Path(name))}


def assert_same(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    """Check that two runs have the same outputs, byte for byte."""
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []


def write_miniature(root: Path, **changes: dict) -> Path:
    """Write the configuration and its cohort into a copy of the project; return the configuration's path.

    Args:
        root: The copy.
        **changes: Section -> further changes of it.
    """
    values = yaml.safe_load((root / "config" / "demo.yaml").read_text())
    for change in (CHANGES, changes):
        _merge(values, change)
    config = parse_config(values)
    write_cohort(root / config.cohort.table, _rows(config))
    write_tiny_dinov2(root / DINOV2)
    path = root / "config" / "miniature.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def _merge(values: dict, change: dict) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(values[key], dict):
            _merge(values[key], value)
        else:
            values[key] = value


def write_tiny_dinov2(folder: Path) -> None:
    """Write a DINOv2 with random weights and two small layers, in the format of ``transformers``."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2, "image_size": 56}
    Dinov2Model(Dinov2Config(**sizes)).save_pretrained(folder)


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
    # names and dates of the simulator, whose packages the tests do not have
    allen = [
        Row(
            session=str(700000001 + index),
            source="allen",
            subject=f"SIM-A{index + 1:02d}",
            lab="allen",
            date=(date(2019, 1, 14) + timedelta(days=5 * index)).isoformat(),
            role="heldout" if index == 2 else "train",
            fold="unseen" if index == 2 else "",
            why="",
            extras={},
        )
        for index in range(config.sources.simulated_allen.animals if config.sources.simulated_allen else 0)
    ]
    ghost = {"session": GHOST, "subject": "ghost", "date": "1999-01-01", "role": "train", "fold": ""}
    return [*rows, *allen, replace(rows[0], **ghost)]
