# NeuroHorizon: from public recordings to zero-shot forecasts and their figures. `make help`; README.
include: "rules/common.smk"


report: "report/workflow.rst"


localrules:
    all,
    figures,
    cross_session,
    scaling,
    horizons,
    multimodal,
    downstream,
    ablations,
    paper,
    calibration,
    poyo,
    audit,
    cohorts,


rule all:
    input:
        every_experiment,
        validation_pictures,


# All that is made from files of sums alone
rule figures:
    input:
        every_experiment,


rule cross_session:
    input:
        targets_of("CROSS_SESSION"),


rule scaling:
    input:
        targets_of("SCALING"),


rule horizons:
    input:
        targets_of("HORIZONS"),


rule multimodal:
    input:
        targets_of("MULTIMODAL"),


rule downstream:
    input:
        targets_of("DOWNSTREAM", "POYO"),


rule ablations:
    input:
        targets_of("ABLATIONS"),


# The article as PDF, and the notebook that it is told from
rule paper:
    input:
        targets_of("PAPER"),


# Parts of the horizons and of downstream decoding
rule calibration:
    input:
        targets_of("CALIBRATION"),


rule poyo:
    input:
        targets_of("POYO"),


# Needs an environment of several GB, so nothing else asks for it
rule audit:
    input:
        f"{RESULTS}/audit/summary.txt",


include: "rules/cohort.smk"
include: "rules/ingest.smk"
include: "rules/images.smk"
include: "rules/features.smk"
include: "rules/training.smk"
include: "rules/forecast.smk"
include: "rules/evaluation.smk"
include: "rules/figures.smk"
include: "rules/agreement_files.smk"
include: "rules/definitions.smk"
include: "rules/audit.smk"


if CONFIG.sources.simulated or CONFIG.sources.simulated_allen:

    include: "rules/truths.smk"


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


if CONFIG.ablations:

    include: "rules/ablations.smk"


include: "rules/paper.smk"
include: "rules/archive.smk"
include: "rules/notebooks.smk"
