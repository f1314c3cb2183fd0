# What the score archive holds.
ARCHIVE = f"{RESULTS}/scores.tar"


def all_score_files(wildcards) -> list[str]:
    """Every file of sums that tables and figures of this run are made from."""
    return sorted({path for files in SCORE_FILES.values() for path in files(wildcards)})
