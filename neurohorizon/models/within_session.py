"""The forecaster fitted on the session to forecast: an upper bound for the description of units by their statistics.

Every unit gets a learned embedding, as in POYO (Azabou et al. 2023). It is added to the network's embedding of the
unit's reference features, starts at zero, and is fitted by gradient descent only on the session's reference window.
That part is treated as the session of a training animal: targets in one half of it are forecast with features, rates
and readouts of the other half, and its last part, after a gap, is used for early stopping. Then all weights are fitted
at their own learning rate, and kept if they score better on that last part.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from neurohorizon.config import Features, LearnedEmbedding, Readout, Splits, Timeline, Training
from neurohorizon.inputs.batches import SessionInputs, TrainingWindows, collate, session_block
from neurohorizon.inputs.sessions import known_by
from neurohorizon.inputs.windows import WindowShape, spread_origins
from neurohorizon.models.batch import Tensors
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.identity import with_learned_identity
from neurohorizon.models.likelihoods import gained_nats
from neurohorizon.models.weights import Card
from neurohorizon.session import Session, SessionError
from neurohorizon.timeline import split_domain, to_us
from neurohorizon.units.reference import reference_windows

WINDOWS_PER_BATCH = 32


class ShortReferenceError(ValueError):
    """The reference window is too short to be split into two halves and a part for early stopping."""


@dataclass(frozen=True)
class Fit:
    """A network fitted on one session.

    Attributes:
        forecaster: The network, for this session only.
        scores: Bits per spike relative to the reference mean on the part for early stopping: ``zero_shot``, then with
            fitted ``embeddings``, then with ``all_weights``. Each is the score of the weights that were kept, so they
            never fall. Empty if nothing was fitted.
        too_short: The reason why nothing was fitted; "" if something was.
    """

    forecaster: Forecaster
    scores: dict[str, float]
    too_short: str = ""


def fit_within_session(
    *,
    forecaster: Forecaster,
    card: Card,
    session: Session,
    timeline: Timeline,
    splits: Splits,
    features: Features,
    training: Training,
    settings: LearnedEmbedding,
    seed: int,
) -> Fit:
    """Fit a trained network on the reference window of a session, to forecast the time after it.

    Args:
        forecaster: The trained network; it is not changed.
        session: The session; nothing after the reference window is read.
        splits: Settings by which the reference window is split into halves and a part for early stopping.
        training: Batches and clipping, as in training.

    Returns:
        The fit; if the reference window is too short to be split, it holds the network without a fit.
    """
    features = features.model_copy(
        update={"groups": tuple(one for one in features.groups if one in card.features.groups)}
    )
    fitted = with_learned_identity(forecaster, n_units=session.n_units)
    try:
        halves, validation = fitting_inputs(
            session, timeline=timeline, splits=splits, features=features, readout=card.model.readout
        )
    except ShortReferenceError as error:
        return Fit(forecaster=fitted.eval(), scores={}, too_short=str(error))
    shape = WindowShape.of(timeline, card.model)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    fitted = fitted.to(device)
    stream = TrainingWindows(
        sessions=tuple(halves),
        shape=shape,
        seed=seed,
        sessions_per_batch=len(halves),
        windows_per_session=training.windows_per_session,
        units_per_session=training.units_per_session,
        unit_dropout=training.unit_dropout,
    )
    validation_batches = [
        Tensors.of(batch, device) for batch in _spread_batches(validation, shape, training.validation_windows)
    ]
    scores = {"zero_shot": _score(fitted, validation_batches)}
    stages = {
        "embeddings": ([fitted.unit_encoder.of_unit.weight], settings.learning_rate),
        "all_weights": (list(fitted.parameters()), settings.weights_learning_rate),
    }
    score = scores["zero_shot"]
    for index, (stage, (parameters, rate)) in enumerate(stages.items()):
        numbers = range(index * settings.steps, (index + 1) * settings.steps)
        batches = (Tensors.of(stream.batch(number), device) for number in numbers)
        score = scores[stage] = _fit(
            fitted,
            parameters,
            rate,
            batches,
            validation_batches,
            start=score,
            clip=training.gradient_clip,
            settings=settings,
        )
    return Fit(forecaster=fitted.eval(), scores=scores)


def fitting_inputs(
    session: Session, *, timeline: Timeline, splits: Splits, features: Features, readout: Readout
) -> tuple[list[SessionInputs], SessionInputs]:
    """Make training inputs from the reference window of a session.

    Returns:
        Inputs with targets in the late and in the early half, each described by the other half; and inputs with
        targets in the last part, described by both halves.

    Raises:
        ShortReferenceError: The reference window cannot be split, or a half of it is too short to describe its units.
    """
    reference = reference_session(session, splits)
    windows = reference_windows(reference, gap_us=int(to_us(splits.gap_s)))
    targets = {"early": windows["late"], "late": windows["early"], "validation": reference.splits.validation}
    try:
        inputs = {
            use: known_by(reference, windows[use], targets[use], timeline=timeline, features=features, readout=readout)
            for use in targets
        }
    except SessionError as error:
        raise ShortReferenceError(f"half of the reference window of {session.session_id}: {error}") from error
    return [inputs["early"], inputs["late"]], inputs["validation"]


def reference_session(session: Session, splits: Splits) -> Session:
    """Return the reference window as a session with its own splits.

    Raises:
        ShortReferenceError: A part would be empty.
    """
    reference = session.splits.reference
    try:
        parts = split_domain(reference, splits)
    except ValueError as error:
        raise ShortReferenceError(f"the reference window of {session.session_id}: {error}") from error
    inside = reference.contains(session.spike_times_us)
    return replace(
        session,
        spike_times_us=session.spike_times_us[inside],
        spike_unit=session.spike_unit[inside],
        domain=reference,
        splits=parts,
        behaviour={},
        trials={},
        stimuli={},
    )


def _spread_batches(session: SessionInputs, shape: WindowShape, windows: int) -> Iterator:
    origins = spread_origins(session.part, shape, windows)
    for first in range(0, origins.size, WINDOWS_PER_BATCH):
        yield collate([session_block(session, origins[first : first + WINDOWS_PER_BATCH], shape)])


def _score(forecaster: Forecaster, batches: Sequence[Tensors]) -> float:
    """Return bits per spike relative to the reference mean, pooled over batches; 0 if there is no spike."""
    forecaster.eval()
    with torch.inference_mode():
        sums = [gained_nats(forecaster(x).log_rate.float(), x) for x in batches]
    spikes = sum(float(one[2]) for one in sums)
    return sum(float(one[0]) for one in sums) / spikes / float(np.log(2)) if spikes else 0.0


def _fit(
    forecaster: Forecaster,
    parameters: Sequence[Tensor],
    learning_rate: float,
    batches: Iterator[Tensors],
    validation_batches: Sequence[Tensors],
    *,
    start: float,
    clip: float,
    settings: LearnedEmbedding,
) -> float:
    """Fit some parameters, restore those of the best score, and return that score; it is never below the first one."""
    for parameter in forecaster.parameters():
        parameter.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    best, waited = start, 0
    kept = [parameter.detach().clone() for parameter in parameters]
    for step, x in enumerate(batches, start=1):
        forecaster.train()
        gained, expected, _ = gained_nats(forecaster(x).log_rate, x)
        optimizer.zero_grad()
        (-gained / expected).backward()
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        if step % settings.validate_every_steps:
            continue
        score = _score(forecaster, validation_batches)
        if score > best:
            best, waited = score, 0
            kept = [parameter.detach().clone() for parameter in parameters]
        else:
            waited += 1
        if waited == settings.patience:
            break
    with torch.no_grad():
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.copy_(value)
    return best
