# Which files the ablations are made from.
def ablations_scores(wildcards) -> list[str]:
    """Tables of sums of all networks."""
    return point_scores("ablations")
