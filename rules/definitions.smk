# The same forecasts under every published definition of bits per spike: sums for a metric card of each method.


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
