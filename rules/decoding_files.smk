# What all decoding of behaviour shares: which spikes it reads, and which files it is made from.
# every decoder has the spikes that the encoder hears; a longer context is for a unit's own history
DECODED_TIMELINE = CONFIG.timeline.model_copy(update={"context_bins": CONFIG.model.heard_bins})
# what POYO makes of other contexts of a new session is read by the probes of downstream decoding
POYO_IS_PROBED = bool(CONFIG.downstream and CONFIG.poyo and CONFIG.downstream.source == CONFIG.poyo.source)


def _decoded(rows: Iterable[Row]) -> list[Row]:
    """Sessions whose behaviour is decoded."""
    return [one for one in rows if one.source == CONFIG.poyo.source]


def decoded_training_files(wildcards) -> list[str]:
    """Session files that a POYO of a fold is trained on."""
    return _files(
        f"{RESULTS}/sessions/{{source}}/{{session}}.h5", _decoded(training_sessions(cohort(), wildcards.fold))
    )


def all_decodings(wildcards) -> list[str]:
    """Decodings of every fold with sessions to train on and to hold out, by every decoder and seed."""
    found = []
    for fold in folds(cohort()):
        heldout = _decoded(heldout_sessions(cohort(), fold))
        if not _decoded(training_sessions(cohort(), fold)) or not heldout:
            continue
        for seed in CONFIG.run.seeds:
            folder = f"{RESULTS}/poyo/decodings/{fold}/seed-{seed}"
            found.append(f"{folder}/training.h5")
            found += [f"{folder}/{one.session}_{kind}.h5" for one in heldout for kind in ("poyo", "probes")]
    return found


def downstream_rows(fold: str) -> list[tuple[str, Row]]:
    """Role and row of every session of a fold that is decoded: all held-out ones, and training ones evenly drawn."""
    heldout, trained = (
        [one for one in rows if one.source == CONFIG.downstream.source]
        for rows in (heldout_sessions(cohort(), fold), training_sessions(cohort(), fold))
    )
    most = CONFIG.downstream.training_sessions
    step = max((len(trained) - 1) / max(most - 1, 1), 1)
    drawn = [trained[round(number * step)] for number in range(min(most, len(trained)))]
    return [("heldout", one) for one in heldout] + [("train", one) for one in drawn]


def downstream_scores(wildcards) -> list[str]:
    """Scores of what is read of every session of every fold, from the weights of every seed."""
    return [
        f"{RESULTS}/downstream/scores/{fold}/{role}/{one.session}_seed-{seed}.parquet"
        for fold in folds(cohort())
        for role, one in downstream_rows(fold)
        for seed in CONFIG.run.seeds
    ]


def poyo_of_session(wildcards) -> list[str]:
    """What POYO made of a session: of held-out ones alone, since it learned from labels of the others' decoded time."""
    if wildcards.role != "heldout" or not POYO_IS_PROBED:
        return []
    if not any(one.source == CONFIG.poyo.source for one in training_sessions(cohort(), wildcards.fold)):
        return []
    name = f"{wildcards.fold}/seed-{wildcards.seed}/{wildcards.session}"
    return [f"{RESULTS}/poyo/decodings/{name}_poyo.h5", f"{RESULTS}/poyo/contexts/{name}.h5"]
