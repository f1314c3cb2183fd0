# NeuroHorizon: from public recordings to zero-shot forecasts and their figures. `make help`; README.
include: "rules/common.smk"
include: "rules/report.smk"


report: "report/workflow.rst"


rule all:
    input:
        REPORT.every_result(),
        validation_pictures,
    localrule: True


# All that is made from files of sums
rule figures:
    input:
        REPORT.every_result(),
    localrule: True


# One target for each entry of the catalogue, such as `scaling`, `calibration` or `paper`
for _name in CATALOGUE:

    rule:
        name:
            _name
        input:
            REPORT.target(_name),
        localrule: True


# Needs an environment of several GB, so no other target includes it
rule audit:
    input:
        f"{RESULTS}/audit/summary.txt",
    localrule: True


if not REVIEW:

    include: "rules/cohort.smk"
    include: "rules/ingest.smk"
    include: "rules/images.smk"
    include: "rules/features.smk"
    include: "rules/training.smk"
    include: "rules/forecast.smk"
    include: "rules/evaluation.smk"
    include: "rules/definitions.smk"

    if CONFIG.cross_session:

        include: "rules/cross_session.smk"

    if CONFIG.rollout:

        include: "rules/rollouts.smk"
        include: "rules/horizons.smk"

    if CONFIG.regressions:

        include: "rules/regressions.smk"

    if CONFIG.multimodal:

        include: "rules/multimodal.smk"
        include: "rules/multimodal_evaluation.smk"

    if CONFIG.poyo:

        include: "rules/poyo.smk"

    if CONFIG.downstream:

        include: "rules/downstream.smk"

    if CONFIG.scaling or CONFIG.ablations:

        include: "rules/variants.smk"

    if CONFIG.scaling:

        include: "rules/scaling.smk"
