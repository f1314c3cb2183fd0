# Which files the experiment on horizons is made from.
def _of_heldout(kind: str, wildcards) -> list[str]:
    return _files(f"{RESULTS}/{kind}/{{source}}/{{session}}.h5", heldout_sessions(cohort(), wildcards.fold))


def fold_heldout_files(wildcards) -> list[str]:
    """Session files that a fold holds out."""
    return _of_heldout("sessions", wildcards)


def fold_heldout_features(wildcards) -> list[str]:
    """Their features, in the same order."""
    return _of_heldout("features", wildcards)


def fold_heldout_readouts(wildcards) -> list[str]:
    """Their population readouts, in the same order."""
    return _of_heldout("readouts", wildcards)


def fold_oracles(wildcards) -> list[str]:
    """The simulator's true rates of those that are simulated."""
    rows = [one for one in heldout_sessions(cohort(), wildcards.fold) if is_simulated(one.source)]
    return _files(f"{RESULTS}/forecasts/{{fold}}/{{session}}/oracle.h5", rows, fold=wildcards.fold)
