"""A release of tiny networks with drawn weights, and the files of the run that it is written from."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from factories.recordings import CONFIG, saved_network
from neurohorizon.baselines.closed_form import write_tuned
from neurohorizon.baselines.glm import STATISTICS, PooledGlm
from neurohorizon.forecasts.release import write_release, write_sums
from neurohorizon.methods import FORECASTER, OWN_HISTORY
from neurohorizon.units.reference import MARGINAL_GROUPS

ABOUT = {
    "name": "made",
    "version": "1.0",
    "summary": "Trained on nothing.",
    "species": ["rat"],
    "preparation": "in vivo",
    "data": [{"name": "made", "recordings": 2, "animals": 1, "licence": "CC0-1.0", "citation": "nobody"}],
    "feature_range": {"log_rate_hz": [0.0, 1.5, 2.5], "log_isi_cv": [-0.3, 0.0, 0.2]},
    "scores": [],
    "made_by": "pytest",
}
CLOSED_FORMS = {
    "reference_mean": {},
    "trailing_mean": {"bins": 25},
    "shrinkage": {"bins": 3, "weight": 0.3},
    "gamma_poisson": {"shape": 1.0, "discount": 0.9},
}
REGRESSIONS = {
    "ridge_ar": {"own_first": True, "penalty": 300.0, "floor": 0.1},
    "reduced_rank": {"own_first": False, "penalty": 30.0, "floor": 0.1, "rank": 2},
    "history_glm": {"precision": 100.0},
    "coupled_glm": {"precision": 100.0, "mode_precision": 100.0},
}
NETWORKS = (FORECASTER, OWN_HISTORY, "own_history_readout")


@dataclass(frozen=True)
class RunFiles:
    """Files of a run of which a release is made."""

    networks: tuple[Path, ...]
    tuned: Path
    regressions_tuned: Path
    pooled: Path
    about: Path

    def release(self, output: Path) -> Path:
        """Write the release, and return the path of its tensors."""
        write_release(
            networks=self.networks,
            tuned=self.tuned,
            regressions_tuned=self.regressions_tuned,
            pooled=self.pooled,
            regressions=CONFIG.regressions,
            adaptive=CONFIG.adaptive,
            about=self.about,
            output=output,
        )
        return output


def run_files(folder: Path) -> RunFiles:
    """Write the files of a run whose experts all differ."""
    groups = CONFIG.features.model_copy(update={"groups": MARGINAL_GROUPS})
    own = CONFIG.model.model_copy(update={"population": False, "feedback": False})
    networks = []
    for name in NETWORKS:
        (folder / name).mkdir(parents=True)
        changes = {} if name == FORECASTER else {"model": own, "features": groups}
        networks.append(
            saved_network(folder / name, method=name, population_readout=name != OWN_HISTORY, std=0.3, **changes)
        )
    files = RunFiles(
        tuple(networks), *(folder / f"{name}.json" for name in ("baselines", "regressions", "ar_glm", "about"))
    )
    for path, chosen in ((files.tuned, CLOSED_FORMS), (files.regressions_tuned, REGRESSIONS)):
        write_tuned(path, {name: [one | {"bits_per_spike": 0.0}] for name, one in chosen.items()})
    rng = np.random.default_rng(0)
    spans, n = CONFIG.regressions.history_edges_bins, len(STATISTICS)
    PooledGlm(
        history_edges_bins=spans,
        horizon_edges_bins=CONFIG.regressions.horizon_edges_bins,
        statistics=STATISTICS,
        centre=rng.normal(size=n),
        scale=rng.uniform(1, 2, n),
        intercept=rng.normal(0, 0.05, 2),
        weights=rng.normal(0, 0.05, (2, len(spans) + n + len(spans) * n)),
    ).write(files.pooled)
    files.about.write_text(json.dumps(ABOUT))
    return files


def release_of_package(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Path:
    """Make a release the only one that the package contains, and return its folder."""
    files, shipped = run_files(folder / "run"), folder / "shipped"
    files.about.write_text(json.dumps(ABOUT | {"name": name}))
    files.release(shipped / f"{name}.safetensors")
    write_sums(folder=shipped)
    monkeypatch.setattr("neurohorizon.network_files.SHIPPED", shipped)
    return shipped
