# The cohort table: frozen once made, so these rules are there only while it is not.
RELEASE_TABLES = {
    "ibl": os.environ.get("IBL_TABLE", f"{RESULTS}/cohort/ibl_release.csv"),
    "allen": os.environ.get("ALLEN_TABLE", f"{RESULTS}/cohort/allen_sessions.csv"),
}


rule cohorts:
    input:
        COHORT,


if COHORT_IS_MADE:

    rule fetch_ibl_table:
        output:
            f"{RESULTS}/cohort/ibl_release.csv",
        log:
            f"{RESULTS}/logs/fetch_ibl_table.log",
        benchmark:
            f"{RESULTS}/benchmarks/fetch_ibl_table.tsv"
        conda:
            "../envs/one.yaml"
        params:
            ibl=section(CONFIG.sources.ibl),
            code=code("fetch_ibl_table.py"),
        shell:
            """
            python "$SCRIPTS/fetch_ibl_table.py" --ibl {params.ibl:q} --output {output:q} >{log:q} 2>&1
            """

    rule fetch_allen_table:
        output:
            f"{RESULTS}/cohort/allen_sessions.csv",
        log:
            f"{RESULTS}/logs/fetch_allen_table.log",
        benchmark:
            f"{RESULTS}/benchmarks/fetch_allen_table.tsv"
        conda:
            "../envs/allen.yaml"
        params:
            manifest=f"{RESULTS}/cohort/allen/manifest.json",
            code=code("fetch_allen_table.py"),
        shell:
            """
            python "$SCRIPTS/fetch_allen_table.py" --manifest {params.manifest:q} --output {output:q} >{log:q} 2>&1
            """

    checkpoint make_cohort:
        input:
            ibl=RELEASE_TABLES["ibl"],
            allen=RELEASE_TABLES["allen"],
            reserved=shipped("config/cohorts/bwb_heldout.txt"),
        output:
            COHORT,
        log:
            f"{RESULTS}/logs/make_cohort.log",
        benchmark:
            f"{RESULTS}/benchmarks/make_cohort.tsv"
        conda:
            "../envs/one.yaml"
        params:
            heldout_fraction=CONFIG.cohort.heldout_fraction,
            seed=CONFIG.run.seed,
            code=code("make_cohort.py"),
        shell:
            """
            python "$SCRIPTS/make_cohort.py" --ibl-table {input.ibl:q} --allen-table {input.allen:q} \
                --reserved {input.reserved:q} --heldout-fraction {params.heldout_fraction} --seed {params.seed} \
                --output {output:q} >{log:q} 2>&1
            """
