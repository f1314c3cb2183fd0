"""Training of the network that reads behaviour and images next to the spikes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from neurohorizon.config import Multimodal, Readout, Timeline, Training
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.session_modalities import (
    ModalitySettings,
    image_space,
    load_images,
    load_modalities,
    with_modalities,
)
from neurohorizon.inputs.sessions import SessionPaths, load_inputs
from neurohorizon.inputs.windows import WindowShape
from neurohorizon.modalities.conditions import NO_ENCODER
from neurohorizon.models.training import resume_folder, train_forecaster
from neurohorizon.models.weights import load_forecaster


def train_multimodal_on_files(
    *,
    base: Path,
    paths: Sequence[SessionPaths],
    modalities: Sequence[Path],
    embeddings: Sequence[Path],
    multimodal: Multimodal,
    readout: Readout,
    timeline: Timeline,
    training: Training,
    fold: str,
    seed: int,
    code: str,
    checkpoints: Path,
    output: Path,
    log: Path,
) -> None:
    """Train a trained forecaster to read behaviour and images next to the spikes.

    Its weights stay fixed, and only the inputs for the modalities are trained: without modalities, the network
    forecasts exactly as before. Movie seconds that are held out take no part.

    Args:
        paths: Files of the training sessions; those of sessions that were left out are passed over.
        modalities: Their closed-form readouts of behaviour and images, in the same order.
        embeddings: Embeddings of the image sets by one encoder; empty for behaviour only.
        training: The section ``training``, of which steps and learning rate are replaced by those of the experiment.
        code: Fingerprint of the code, for the card and for resuming only a training by the same code.
        log: CSV of the loss and the validation scores.

    Raises:
        ValueError: No training session has a modality, or one was not there when the base was trained.
    """
    base_forecaster, base_card = load_forecaster(base)
    settings = ModalitySettings(multimodal, readout, timeline)
    space = image_space(embeddings, multimodal)
    training = training.model_copy(update={"steps": multimodal.steps, "learning_rate": multimodal.learning_rate})
    inputs: dict[str, list[SessionInputs]] = {"early": [], "late": [], "validation": []}
    encoder = space.encoder if space else NO_ENCODER
    for one, fits in zip(paths, modalities, strict=True):
        images = load_images(one.session, space, settings)
        for use, found in inputs.items():
            loaded = load_inputs(one, use, groups=base_card.features.groups, readout=base_card.model.readout)
            if loaded is None:
                continue
            seen = load_modalities(one, use, readouts=fits, images=images, encoder=encoder, settings=settings)
            if seen.behaviour or seen.images:
                found.append(with_modalities(loaded, one, seen, settings))
    validation = inputs["validation"]
    if not validation:
        raise ValueError(f"fold {fold}: none of the {len(paths)} training sessions has behaviour or known images")
    strangers = {one.session_id for one in validation} - set(base_card.sessions)
    if strangers:
        raise ValueError(f"{base} was not trained on {sorted(strangers)}; train both on the same sessions")
    card = replace(
        base_card,
        method="multimodal",
        code=code,
        scores={},
        training=training,
        modalities=settings.layout,
        encoder=encoder,
        image_space=space.identity if space else "",
    )
    train_forecaster(
        card=card,
        training=training,
        shape=WindowShape.of(timeline, card.model),
        sessions=[*inputs["early"], *inputs["late"]],
        validation=validation,
        seed=seed,
        checkpoints=resume_folder(checkpoints, code, seed, repr(card), multimodal.model_dump(mode="json")),
        output=output,
        log=log,
        base=base_forecaster,
        modality_dropout=multimodal.modality_dropout,
    )
