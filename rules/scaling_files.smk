# Files that the scaling experiment reads, beside those of its points.
def scaling_training_files(wildcards) -> list[str]:
    """Session files that a point of the fold could train on."""
    return _files(f"{RESULTS}/sessions/{{source}}/{{session}}.h5", _scaled_rows(wildcards.fold))


def scaling_heldout_files(wildcards) -> list[str]:
    """Session files that every point of the fold forecasts."""
    rows = _of_scaling(heldout_sessions(cohort(), wildcards.fold))
    return _files(f"{RESULTS}/sessions/{{source}}/{{session}}.h5", rows)
