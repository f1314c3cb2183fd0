"""A network with drawn weights, and its sample paths of one session."""

from types import SimpleNamespace

import torch

from factories.cards import made_card
from factories.sessions import small_config
from neurohorizon.experiments.horizons.calibration_scores import sample_session
from neurohorizon.models.weights import save_forecaster

CONFIG = small_config()
HORIZON = CONFIG.timeline.horizon_bins


def network(**model):
    """Build a network; weights that start at zero are drawn, so that every path has an effect."""
    torch.manual_seed(0)
    settings = CONFIG.model.model_copy(update=model)
    card = made_card(CONFIG, model=settings, fold="f", code="c")
    forecaster = card.build().eval()
    for parameter in forecaster.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return forecaster, card


def run(folder, made, baselines, *, name="out", forecaster=None, every_windows=1, minimum_rate_hz=0.1, **rollout):
    weights = folder / name / "model.safetensors"
    weights.parent.mkdir(parents=True, exist_ok=True)
    save_forecaster(weights, *(forecaster or network()))
    settings = CONFIG.rollout.model_copy(update={"every_windows": every_windows, **rollout})
    wanted = settings.decodings if every_windows == 1 else ()
    files = SimpleNamespace(
        sums=folder / name / "sums.parquet",
        example=folder / name / "example.h5",
        forecasts={decoding: folder / name / f"neurohorizon_{decoding}_seed-3.h5" for decoding in wanted},
    )
    sample_session(
        weights=weights,
        baselines=baselines,
        paths=made.paths,
        fold="f",
        method="neurohorizon",
        seed=3,
        timeline=CONFIG.timeline,
        rollout=settings,
        minimum_rate_hz=minimum_rate_hz,
        code="c",
        sums=files.sums,
        example=files.example,
        forecasts=list(files.forecasts.values()),
    )
    return files
