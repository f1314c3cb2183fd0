"""Forecasts of a held-out session's test time by a trained network."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch

from neurohorizon.config import Features, LearnedEmbedding, Multimodal, Readout, Splits, Timeline, Training
from neurohorizon.forecasts.held_out import HeldOut, Method, forecast_session, load_test_windows
from neurohorizon.inputs.batches import SessionInputs, collate, session_block
from neurohorizon.inputs.session_modalities import ModalitySettings, image_space, load_images, load_modalities
from neurohorizon.inputs.sessions import SessionPaths, feature_columns
from neurohorizon.inputs.windows import Windows, WindowShape
from neurohorizon.methods import CONTROL, FITTED, UPPER_BOUND, ZERO_SHOT
from neurohorizon.modalities.conditions import CONDITIONS, Condition
from neurohorizon.modalities.tokens import SessionModalities
from neurohorizon.models.batch import Tensors
from neurohorizon.models.count_feedback import FedBackCounts
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.identity import with_control
from neurohorizon.models.weights import Card, load_forecaster
from neurohorizon.models.within_session import fit_within_session

WINDOWS_PER_BATCH = 32


def forecast_with_network(
    *,
    weights: Path,
    paths: SessionPaths,
    fold: str,
    method: str,
    seed: int,
    timeline: Timeline,
    code: str,
    output: Path,
) -> None:
    """Write a network's forecasts of one held-out session.

    Args:
        weights: The network; its card is next to it.

    Raises:
        ValueError: The session is one that the network was trained on, or its features are not the network's.
    """
    forecaster, card = load_forecaster(weights)
    held_out = heldout_windows(weights, card, paths, timeline)
    by = network_method(forecaster, WindowShape.of(timeline, card.model))
    names = {"fold": fold, "seed": seed, "code": code}
    forecast_session(held_out, by, output, timeline, method=method, method_class=ZERO_SHOT, **names)


def network_method(forecaster: Forecaster, shape: WindowShape) -> Method:
    """Return a network as a method."""
    return lambda windows, inputs: forecast_windows(forecaster, inputs, windows.origin_us, shape)


def forecast_windows(
    forecaster: Forecaster,
    inputs: SessionInputs,
    origin_us: np.ndarray,
    shape: WindowShape,
    *,
    condition: Condition = CONDITIONS["spikes"],
    fed_back: Callable[[Tensors], FedBackCounts] | None = None,
) -> np.ndarray:
    """Forecast windows of one session from the inputs that the condition allows.

    Args:
        origin_us: Forecast origins, [window].
        condition: Modalities that are read.
        fed_back: Counts of the horizon that the decoder receives, from a batch; None for the parallel forecast.

    Returns:
        Natural log of expected counts per bin, float32, [window, horizon bin, unit].

    Raises:
        ValueError: Counts are fed back to a network without feedback.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    forecaster = forecaster.to(device).eval()
    parts = [np.zeros((0, shape.horizon_bins, inputs.spikes.n_units), np.float32)]
    with torch.inference_mode():
        for first in range(0, origin_us.size, WINDOWS_PER_BATCH):
            some = origin_us[first : first + WINDOWS_PER_BATCH]
            x = Tensors.of(collate([session_block(inputs, some, shape, condition=condition)]), device)
            if fed_back is None:
                forecast = forecaster(x)
            else:
                forecast = forecaster.decode_given(forecaster.encode(x), x, fed_back(x))
            parts.append(forecast.log_rate[0].float().cpu().numpy())
    return np.concatenate(parts)


def forecast_with_controls(
    *,
    weights: Path,
    paths: SessionPaths,
    controls: Sequence[str],
    fold: str,
    seed: int,
    timeline: Timeline,
    code: str,
    output_folder: Path,
) -> None:
    """Write a network's forecasts of one held-out session with disrupted identities of its units, one file per control.

    Args:
        weights: The network; its card is next to it.
        controls: Names of the controls; see :mod:`neurohorizon.models.identity`.

    Raises:
        ValueError: The session is one that the network was trained on, or its features are not the network's.
    """
    forecaster, card = load_forecaster(weights)
    held_out, shape = heldout_windows(weights, card, paths, timeline), WindowShape.of(timeline, card.model)

    def with_other_identities(windows: Windows, inputs: SessionInputs, *, control: str) -> np.ndarray:
        network = with_control(forecaster, inputs, control, seed=seed)
        return forecast_windows(network, inputs, windows.origin_us, shape)

    names = {"method_class": CONTROL, "fold": fold, "seed": seed, "code": code}
    for control in controls:
        output = output_folder / f"{control}_seed-{seed}.h5"
        forecast_session(
            held_out, partial(with_other_identities, control=control), output, timeline, method=control, **names
        )


def forecast_with_learned_embedding(
    *,
    weights: Path,
    paths: SessionPaths,
    fold: str,
    seed: int,
    timeline: Timeline,
    splits: Splits,
    features: Features,
    training: Training,
    learned_embedding: LearnedEmbedding,
    code: str,
    output: Path,
) -> str:
    """Fit a network on the reference window of one held-out session, and write its forecasts of the test part.

    Args:
        weights: The network; its card is next to it.

    Returns:
        A description of the fit, for the log. If the reference window is too short to be split, the forecasts are those
        of the network without a fit.

    Raises:
        ValueError: The session is one that the network was trained on, or its features are not the network's.
    """
    torch.set_num_threads(training.threads)
    forecaster, card = load_forecaster(weights)
    held_out = session, inputs, _ = heldout_windows(weights, card, paths, timeline)
    description = "nothing was fitted: the session is excluded"
    if inputs is not None:
        fit = fit_within_session(
            forecaster=forecaster,
            card=card,
            session=session,
            timeline=timeline,
            splits=splits,
            features=features,
            training=training,
            settings=learned_embedding,
            seed=seed,
        )
        description = f"bits per spike on the data for early stopping: {fit.scores}"
        if fit.too_short:
            description = f"nothing was fitted, the network is unchanged: {fit.too_short}"
        forecaster = fit.forecaster
    by = network_method(forecaster, WindowShape.of(timeline, card.model))
    names = {"fold": fold, "seed": seed, "code": code}
    forecast_session(held_out, by, output, timeline, method=UPPER_BOUND, method_class=FITTED, **names)
    return description


def forecast_conditions(
    *,
    weights: Path,
    paths: SessionPaths,
    modalities: Path,
    embeddings: Sequence[Path],
    conditions: Sequence[str],
    fold: str,
    seed: int,
    multimodal: Multimodal,
    readout: Readout,
    timeline: Timeline,
    code: str,
    output_folder: Path,
) -> None:
    """Write a multimodal network's forecasts of one held-out session, one file for each condition.

    Args:
        weights: The network; its card is next to it.
        modalities: Its closed-form readouts of behaviour and images.
        embeddings: Embeddings of the image sets by the network's encoder; empty for behaviour only.
        conditions: Names of conditions; if the session lacks the modality, the forecast uses only spikes.

    Raises:
        ValueError: The session is one that the network was trained on, or features or images are not the network's.
    """
    forecaster, card = load_forecaster(weights)
    settings = ModalitySettings(multimodal, readout, timeline)
    space = image_space(embeddings, multimodal)
    if (space.identity if space else "") != card.image_space:
        raise ValueError(f"the image embeddings are not those that {weights} was trained on; rerun both")
    held_out = heldout_windows(weights, card, paths, timeline)
    shape = WindowShape.of(timeline, card.model)

    @cache
    def loaded(control: str) -> SessionModalities:
        return load_modalities(
            paths,
            "test",
            readouts=modalities,
            images=load_images(paths.session, space, settings, shuffled=control == "shuffled"),
            encoder=card.encoder,
            settings=settings,
            control=control,
        )

    def given(windows: Windows, inputs: SessionInputs, *, condition: Condition) -> np.ndarray:
        inputs = replace(inputs, modalities=loaded(condition.control))
        return forecast_windows(forecaster, inputs, windows.origin_us, shape, condition=condition)

    names = {"encoder": card.encoder, "fold": fold, "seed": seed, "code": code}
    for name in conditions:
        kind = CONTROL if CONDITIONS[name].control else ZERO_SHOT
        by, output = partial(given, condition=CONDITIONS[name]), output_folder / f"{name}.h5"
        forecast_session(held_out, by, output, timeline, method=name, method_class=kind, **names)


def heldout_windows(weights: Path, card: Card, paths: SessionPaths, timeline: Timeline) -> HeldOut:
    """Load a session that a network may forecast, and its test windows.

    Raises:
        ValueError: The session is one that the network was trained on, or its features are not the network's.
    """
    # a network reads its history beyond the context from separate blocks
    held_out = session, inputs, _ = load_test_windows(
        paths, timeline, WindowShape.of(timeline), groups=card.features.groups, readout=card.model.readout
    )
    if session.session_id in card.sessions:
        raise ValueError(f"{weights} was trained on {session.session_id}: its forecast would not be held out")
    if inputs is not None and feature_columns(paths.features, card.features.groups) != card.feature_names:
        raise ValueError(f"{paths.features} does not hold the features that {weights} was trained on; rerun both")
    return held_out
