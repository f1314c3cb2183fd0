# Which files the curves of experiment 1 are made from.
CURVE_SUMS = f"{RESULTS}/cross_session/scores/{{fold}}/{{session}}"


def compared_forecasts(wildcards) -> list[str]:
    """Forecasts of the whole session: of the network itself, then of those that it is compared with."""
    seeded = [*MODELS, "learned_embedding"] if CONFIG.baselines.learned_embedding else MODELS
    names = [f"{model}_seed-{wildcards.seed}" for model in seeded]
    names += ["reference_mean", *(("history_glm", "coupled_glm") if CONFIG.regressions else ())]
    return [f"{RESULTS}/forecasts/{wildcards.fold}/{wildcards.session}/{name}.h5" for name in names]
