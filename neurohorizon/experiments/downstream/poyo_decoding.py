"""Decoding by a trained POYO: held-out time of its training sessions, and new sessions that it is extended to."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from neurohorizon.config import Downstream
from neurohorizon.experiments.downstream.contexts import span_means, write_contexts
from neurohorizon.experiments.downstream.decoding_file import POYO, blank, filled, unscored, write_decodings
from neurohorizon.experiments.downstream.labels import (
    decoding_shape,
    label_span_us,
    labelled_origins,
    learned_origins,
    read_labelled,
    scored_origins,
)
from neurohorizon.experiments.downstream.poyo import Extended, decode_trained, fit_extended, load_poyo
from neurohorizon.experiments.downstream.targets import read_labels

_NAMED = {"method": POYO, "saw": "spikes and labels of other sessions"}


def decode_training_sessions(
    *,
    weights: Path,
    sessions: Sequence[Path],
    fold: str,
    seed: int,
    code: str,
    accelerator: str,
    threads: int,
    output: Path,
) -> None:
    """Decode the validation part of the sessions that a POYO was trained on, which decided nothing in its training.

    Args:
        accelerator: ``auto``, ``cpu`` or ``gpu``.
    """
    torch.set_num_threads(threads)
    network, card = load_poyo(weights, accelerator=accelerator)
    poyo, timeline = card.poyo, card.timeline
    found = []
    for path in sessions:
        session = read_labelled(path, target=poyo.target, still_s=poyo.still_s)
        decoding = blank(session, poyo=poyo, fold=fold, seed=seed, part="validation", code=code, **_NAMED)
        learned = learned_origins(session, "train", poyo, timeline)
        scored = scored_origins(session, "validation", poyo, timeline)
        if reason := unscored(session, learned, scored):
            found.append(replace(decoding, left_out=reason))
            continue
        predicted = decode_trained(network, card, session, scored)
        labels = {"learned": learned, "scored": scored, "span_us": label_span_us(poyo, timeline)}
        found.append(filled(decoding, session, predicted=predicted, **labels))
    write_decodings(output, found)


def decode_new_session(
    *,
    weights: Path,
    session: Path,
    fold: str,
    seed: int,
    code: str,
    accelerator: str,
    threads: int,
    output: Path,
    downstream: Downstream | None = None,
    contexts: Path | None = None,
) -> None:
    """Extend a POYO to a held-out session by labelled seconds of its reference window, and decode its test part.

    On request, the latents of the extended network, frozen, are also written for other contexts.

    Args:
        weights: Weights of a POYO that was not trained on the session.
        accelerator: ``auto``, ``cpu`` or ``gpu``.
        downstream: Further targets; None without any.

    Raises:
        ValueError: The network was trained on the session.
    """
    torch.set_num_threads(threads)
    network, card = load_poyo(weights, accelerator=accelerator)
    poyo, timeline = card.poyo, card.timeline
    labelled = read_labelled(session, target=poyo.target, still_s=poyo.still_s)
    if labelled.session_id in card.sessions:
        raise ValueError(f"{weights} was trained on {labelled.session_id}: it would not be new to it")
    decoding = blank(labelled, poyo=poyo, fold=fold, seed=seed, part="test", code=code, **_NAMED)
    learned, scored = labelled_origins(labelled, poyo, timeline), scored_origins(labelled, "test", poyo, timeline)
    reason = unscored(labelled, learned, scored)
    if not reason and labelled.labels.n_channels != card.channels:
        reason = f"{labelled.labels.n_channels} channels of {poyo.target}, and the network decodes {card.channels}"
    if reason:
        if downstream:
            write_contexts(contexts, f"POYO could not be extended: {reason}")
        write_decodings(output, [replace(decoding, left_out=reason)])
        return
    extended = fit_extended(network, card, labelled, learned, seed=seed)
    if downstream:
        write_contexts(contexts, _contexts(extended, session, downstream))
    decoding = filled(
        decoding,
        labelled,
        learned=learned,
        scored=scored,
        predicted=extended.decode(scored),
        span_us=label_span_us(poyo, timeline),
        chosen=f"{extended.steps} steps",
    )
    write_decodings(output, [decoding])


def _contexts(extended: Extended, path: Path, downstream: Downstream) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Latents at the contexts of each target that can be decoded, averaged over the spans that all decoders read."""
    timeline = extended.card.timeline
    labels = read_labels(
        path,
        targets=downstream.targets,
        part=extended.known.session.splits.test,
        shape=decoding_shape(timeline),
        stride_bins=timeline.evaluation_stride_bins,
        label_bins=downstream.label_bins,
        first_movement_s=downstream.first_movement_s,
    )
    found, made = {}, {}
    for one in labels:
        if one.left_out:
            continue
        key = one.origin_us.tobytes()  # both targets of the wheel are read from the same contexts
        if key not in made:
            latents, age_bins = extended.latents(one.origin_us)
            spans = span_means(latents, age_bins, downstream.span_edges_bins)
            made[key] = spans.reshape(len(spans), -1)
        found[one.target] = one.origin_us, made[key]
    return found
