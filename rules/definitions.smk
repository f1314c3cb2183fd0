# The same forecasts under every published definition of bits per spike: a metric card for each method.
rule score_definitions:
    input:
        session_forecasts,
    output:
        f"{RESULTS}/definitions/scores/{{fold}}/{{session}}.parquet",
    log:
        f"{RESULTS}/logs/score_definitions/{{fold}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_definitions/{{fold}}/{{session}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        code=code("score_definitions.py"),
    shell:
        """
        python "$SCRIPTS/score_definitions.py" --forecasts {input:q} --minimum-rate-hz {params.minimum_rate_hz} \
            --output {output:q} >{log:q} 2>&1
        """


rule make_definitions:
    input:
        definition_scores,
    output:
        report(
            f"{RESULTS}/tables/definitions.tsv",
            caption="../report/table_definitions.rst",
            category=CATEGORIES["cross_session"],
            subcategory="Tables",
            labels={"table": "definitions of bits per spike"},
        ),
        f"{RESULTS}/tables/definitions.parquet",
    log:
        f"{RESULTS}/logs/make_definitions.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_definitions.tsv"
    conda:
        "../envs/report.yaml"
    params:
        folder=output_folder,
        draws=CONFIG.evaluation.bootstrap_draws,
        interval=CONFIG.evaluation.interval,
        seed=CONFIG.run.seed,
        code=code("make_definitions.py"),
    shell:
        """
        python "$SCRIPTS/make_definitions.py" --scores {input:q} --draws {params.draws} \
            --interval {params.interval} --seed {params.seed} --output-folder {params.folder:q} >{log:q} 2>&1
        """
