# Which files the calibration of sample paths is made from.
def _sampled(suffix: str) -> list[str]:
    return [
        path
        for seed in CONFIG.run.seeds
        for path in _heldout(f"{RESULTS}/calibration/sums/{{fold}}/{{session}}/seed-{seed}.{suffix}")
    ]


def calibration_sums(wildcards) -> list[str]:
    """Calibration sums of all held-out sessions and seeds."""
    return _sampled("parquet")


def calibration_examples(wildcards) -> list[str]:
    """Sample paths of one window of each, in the same order."""
    return _sampled("h5")
