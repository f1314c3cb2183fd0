# Files that the scaling experiment reads, beside those of its points.
def scaling_training_files(wildcards) -> list[str]:
    """Session files that a point of the fold could train on."""
    return _files(f"{RESULTS}/sessions/{{source}}/{{session}}.h5", _scaled_rows(wildcards.fold))


def scaling_heldout_files(wildcards) -> list[str]:
    """Session files that every point of the fold forecasts."""
    rows = _of_scaling(heldout_sessions(cohort(), wildcards.fold))
    return _files(f"{RESULTS}/sessions/{{source}}/{{session}}.h5", rows)


def scaling_scores(wildcards) -> list[str]:
    """Tables of sums of all points, what each was trained on, and the sessions that were matched by region."""
    scores = point_scores("scaling")
    folders = [os.path.dirname(path) for path in scores]
    matched = [folder for folder in folders if os.path.basename(folder).startswith("same_region-")]
    return [
        *scores,
        *(f"{folder}/point.json" for folder in folders),
        *(f"{folder}/sessions.json" for folder in matched),
    ]


def scaling_score_option(wildcards, input) -> str:
    """The tables of sums among the inputs, for a command line; the other files lie beside them."""
    return shlex.join(path for path in input if os.path.basename(path) == "scores.parquet")
