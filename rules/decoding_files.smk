# What all decoding of behaviour shares: the files that it is made from.
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


def poyo_of_session(wildcards) -> list[str]:
    """What POYO made of a session: of held-out ones alone, since it learned from labels of the others' decoded time."""
    if wildcards.role != "heldout" or not POYO_IS_PROBED:
        return []
    if not any(one.source == CONFIG.poyo.source for one in training_sessions(cohort(), wildcards.fold)):
        return []
    name = f"{wildcards.fold}/seed-{wildcards.seed}/{wildcards.session}"
    return [f"{RESULTS}/poyo/decodings/{name}_poyo.h5", f"{RESULTS}/poyo/contexts/{name}.h5"]
