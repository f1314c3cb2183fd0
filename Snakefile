# NeuroHorizon: from public recordings to zero-shot forecasts and their figures. See `make help` and the README.
include: "rules/common.smk"
include: "rules/report.smk"


report: "report/workflow.rst"


rule all:
    input:
        REPORT.every_result(),
        LAYOUT.of_cohort("validation/{source}/{session}.png"),
        LAYOUT.preview(),
    localrule: True


# All results that are computed from files of sums
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


# It needs an environment of several GB, so no other target includes it
rule audit:
    input:
        f"{RESULTS}/audit/summary.txt",
    localrule: True


if not REVIEW:

    include: "rules/ingest.smk"
    include: "rules/first_session.smk"
    include: "rules/inputs.smk"
    include: "rules/train.smk"
    include: "rules/forecast.smk"
    include: "rules/score.smk"
    include: "rules/release.smk"
    include: "rules/preview.smk"

    # Rules of the experiments of this run
    for _name in REPORT.rules:

        include: f"rules/experiments/{_name}.smk"

    # On a cluster, short jobs that follow each other are one submission.
    for _rule in workflow.rules:
        if _name := group_of(_rule.name):
            _rule.group = on_a_cluster(_name)

    # Snakemake calls none of these in a dry run
    onstart:
        keep_one_timer(workflow.scheduler)
        print_downloads(lines_at_start)

    onsuccess:
        print_downloads(lines_at_success)

    # no job of a run on this machine is left by now
    onerror:
        print("", *reasons(log), *full_disks(RESULTS, Path.cwd()), sep="\n", file=sys.stderr)
        if not workflow.non_local_exec:
            remove_parts(Path(RESULTS))
        print_downloads(lines_at_error)
