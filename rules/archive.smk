# The score archive: made from a finished run, restored for a review, which makes everything else from it.
include: "archive_files.smk"


if REVIEW:

    rule restore_scores:
        input:
            os.environ.get("SCORES", ARCHIVE),
        output:
            f"{RESULTS}/restored.txt",
        log:
            f"{RESULTS}/logs/restore_scores.log",
        benchmark:
            f"{RESULTS}/benchmarks/restore_scores.tsv"
        conda:
            "../envs/report.yaml"
        params:
            folder=output_folder,
            cohort=COHORT,
            config=section(CONFIG),
            code=code("restore_scores.py"),
        shell:
            """
            python "$SCRIPTS/restore_scores.py" --archive {input:q} --folder {params.folder:q} \
                --cohort {params.cohort:q} --config-json {params.config:q} --output {output:q} >{log:q} 2>&1
            """

else:

    rule archive_scores:
        input:
            config=f"{RESULTS}/config.yaml",
            cohort=COHORT,
            scores=all_score_files,
        output:
            archive=ARCHIVE,
            sums=f"{ARCHIVE}.sha256",
        log:
            f"{RESULTS}/logs/archive_scores.log",
        benchmark:
            f"{RESULTS}/benchmarks/archive_scores.tsv"
        conda:
            "../envs/report.yaml"
        params:
            folder=output_folder,
            code=code("archive_scores.py"),
        shell:
            """
            python "$SCRIPTS/archive_scores.py" --scores {input.scores:q} --folder {params.folder:q} \
                --cohort {input.cohort:q} --output {output.archive:q} >{log:q} 2>&1
            """
