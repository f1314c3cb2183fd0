"""What a trained POYO decodes: held-out time of its own sessions, and new sessions that it is extended to."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from neurohorizon.evaluation.decoding import blank, filled, unscored, write_decodings
from neurohorizon.inputs.labels import label_span_us, labelled_origins, learned_origins, read_labelled, scored_origins
from neurohorizon.models.poyo import decode_extended, decode_trained, load_poyo


def decode_training_sessions(
    *,
    weights: Path,
    paths: Sequence[Path],
    fold: str,
    seed: int,
    code: str,
    accelerator: str,
    threads: int,
    output: Path,
) -> None:
    """Decode the validation part of the sessions that a POYO was trained on, which decided nothing in its training.

    Args:
        weights: Its weights.
        paths: Files of the training sessions.
        fold: Its fold.
        seed: Its seed.
        code: Fingerprint of the code, for the file.
        accelerator: ``auto``, ``cpu`` or ``gpu``.
        threads: Threads on a CPU.
        output: File of the decodings, one for each session.
    """
    torch.set_num_threads(threads)
    network, card = load_poyo(weights, accelerator=accelerator)
    poyo, timeline = card.poyo, card.timeline
    found = []
    for path in paths:
        session = read_labelled(path, target=poyo.target, still_s=poyo.still_s)
        decoding = blank(
            session,
            poyo=poyo,
            fold=fold,
            method="poyo",
            seed=seed,
            part="validation",
            code=code,
            saw="spikes and labels of other sessions",
        )
        learned = learned_origins(session, "train", poyo, timeline)
        scored = scored_origins(session, "validation", poyo, timeline)
        if reason := unscored(session, learned, scored):
            found.append(replace(decoding, left_out=reason))
            continue
        found.append(
            filled(
                decoding,
                session,
                learned=learned,
                scored=scored,
                predicted=decode_trained(network, card, session, scored),
                span_us=label_span_us(poyo, timeline),
            )
        )
    write_decodings(output, found)


def decode_new_session(
    *, weights: Path, path: Path, fold: str, seed: int, code: str, accelerator: str, threads: int, output: Path
) -> None:
    """Extend a POYO to a held-out session by labelled seconds of its reference part, and decode its test part.

    Args:
        weights: Weights of a POYO that was not trained on the session.
        path: File of the session.
        fold: Fold in which it is held out.
        seed: Seed of the network, and of its new rows.
        code: Fingerprint of the code, for the file.
        accelerator: ``auto``, ``cpu`` or ``gpu``.
        threads: Threads on a CPU.
        output: File of the decoding.

    Raises:
        ValueError: The network was trained on the session.
    """
    torch.set_num_threads(threads)
    network, card = load_poyo(weights, accelerator=accelerator)
    poyo, timeline = card.poyo, card.timeline
    session = read_labelled(path, target=poyo.target, still_s=poyo.still_s)
    if session.session_id in card.sessions:
        raise ValueError(f"{weights} was trained on {session.session_id}: it would not be new to it")
    decoding = blank(
        session,
        poyo=poyo,
        fold=fold,
        method="poyo",
        seed=seed,
        part="test",
        code=code,
        saw="spikes and labels of other sessions",
    )
    learned, scored = labelled_origins(session, poyo, timeline), scored_origins(session, "test", poyo, timeline)
    reason = unscored(session, learned, scored)
    if not reason and session.labels.n_channels != card.channels:
        reason = f"{session.labels.n_channels} channels of {poyo.target}, and the network decodes {card.channels}"
    if reason:
        write_decodings(output, [replace(decoding, left_out=reason)])
        return
    predicted, steps = decode_extended(network, card, session, learned, scored, seed=seed)
    decoding = filled(
        decoding,
        session,
        learned=learned,
        scored=scored,
        predicted=predicted,
        span_us=label_span_us(poyo, timeline),
        chosen=f"{steps} steps",
    )
    write_decodings(output, [decoding])
