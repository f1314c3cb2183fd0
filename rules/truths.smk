# Simulated recordings alone: whether the tables give back what was planted.
TRUTHS = [f"{RESULTS}/tables/truths.{suffix}" for suffix in ("tsv", "txt")]


rule make_truths:
    input:
        asked_tables,
    output:
        report(
            f"{RESULTS}/tables/truths.tsv",
            caption="../report/table_truths.rst",
            category=CATEGORIES["cross_session"],
            subcategory="Tables",
            labels={"table": "planted truths"},
        ),
        f"{RESULTS}/tables/truths.parquet",
        f"{RESULTS}/tables/truths.txt",
    log:
        f"{RESULTS}/logs/make_truths.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_truths.tsv"
    conda:
        "../envs/report.yaml"
    params:
        results=RESULTS,
        folder=output_folder,
        draws=CONFIG.evaluation.bootstrap_draws,
        interval=CONFIG.evaluation.interval,
        seed=CONFIG.run.seed,
        code=code("make_truths.py"),
    shell:
        """
        python "$SCRIPTS/make_truths.py" --results {params.results:q} --draws {params.draws} \
            --interval {params.interval} --seed {params.seed} --output-folder {params.folder:q} >{log:q} 2>&1
        """
