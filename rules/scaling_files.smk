# Files that the scaling experiment reads, beside those of its points.
def scaling_training_files(wildcards) -> list[str]:
    """Session files that a point of the fold could train on."""
    return _files(f"{RESULTS}/sessions/{{source}}/{{session}}.h5", _scaled_rows(wildcards.fold))


def scaling_heldout_files(wildcards) -> list[str]:
    """Session files that every point of the fold forecasts."""
    rows = _of_scaling(heldout_sessions(cohort(), wildcards.fold))
    return _files(f"{RESULTS}/sessions/{{source}}/{{session}}.h5", rows)


def scaling_scores(wildcards) -> list[str]:
    """Tables of sums of all points."""
    return point_scores("scaling")


def scaling_cards(wildcards) -> list[str]:
    """Files next to these: what each point was trained on, and the sessions that were matched by region."""
    folders = [os.path.dirname(path) for path in point_scores("scaling")]
    matched = [folder for folder in folders if os.path.basename(folder).startswith("same_region-")]
    return [*(f"{folder}/point.json" for folder in folders), *(f"{folder}/sessions.json" for folder in matched)]
