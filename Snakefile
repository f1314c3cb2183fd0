# NeuroHorizon: from public recordings to zero-shot forecasts and their figures. `make help`; README.
include: "rules/common.smk"


report: "report/workflow.rst"


localrules:
    all,
    cross_session,
    figures,
    multimodal,
    calibration,
    poyo,
    cohorts,


rule all:
    input:
        CROSS_SESSION,
        multimodal_targets,
        calibration_targets,
        poyo_targets,
        validation_pictures,


# All that is made from files of sums alone
rule figures:
    input:
        CROSS_SESSION,
        multimodal_targets,
        calibration_targets,
        poyo_targets,


rule multimodal:
    input:
        multimodal_targets,


rule poyo:
    input:
        poyo_targets,


rule calibration:
    input:
        calibration_targets,


include: "rules/cohort.smk"
include: "rules/ingest.smk"
include: "rules/images.smk"
include: "rules/features.smk"
include: "rules/training.smk"
include: "rules/forecast.smk"
include: "rules/evaluation.smk"
include: "rules/figures.smk"


if CONFIG.cross_session:

    include: "rules/cross_session.smk"


if CONFIG.rollout:

    include: "rules/rollouts.smk"


if CONFIG.regressions:

    include: "rules/regressions.smk"


if CONFIG.multimodal:

    include: "rules/multimodal.smk"
    include: "rules/multimodal_evaluation.smk"


if CONFIG.poyo:

    include: "rules/poyo.smk"


if CONFIG.scaling or CONFIG.ablations:

    include: "rules/variants.smk"


include: "rules/archive.smk"
include: "rules/notebooks.smk"
