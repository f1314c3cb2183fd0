# Experiment 4, from forecasts to sums, for each condition.
include: "condition_files.smk"


rule forecast_psth:
    input:
        session=session_file,
        task=first_forecasts,
    output:
        temp(f"{RESULTS}/multimodal/psth/{{fold}}/{{session}}.h5"),
    log:
        f"{RESULTS}/logs/forecast_psth/{{fold}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/forecast_psth/{{fold}}/{{session}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        code=code("forecast_psth.py"),
    shell:
        """
        python "$SCRIPTS/forecast_psth.py" --session {input.session:q} --task {input.task:q}/spikes.h5 \
            --code {params.code} --output {output:q} >{log:q} 2>&1
        """


rule score_conditions:
    input:
        session=session_file,
        folders=condition_forecasts,
        psth=psth_forecast,
        oracle=oracle_forecast,
    output:
        scores=f"{RESULTS}/multimodal/scores/{{fold}}/{{session}}.parquet",
        repeats=f"{RESULTS}/multimodal/repeats/{{fold}}/{{session}}.parquet",
        example=f"{RESULTS}/multimodal/examples/{{fold}}/{{session}}.parquet",
    log:
        f"{RESULTS}/logs/score_conditions/{{fold}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_conditions/{{fold}}/{{session}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        multimodal=section(CONFIG.multimodal),
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        horizons_ms=CONFIG.evaluation.horizons_ms,
        code=code("score_conditions.py"),
    shell:
        """
        python "$SCRIPTS/score_conditions.py" --session {input.session:q} --folders {input.folders:q} \
            --others {input.psth:q} {input.oracle:q} --multimodal {params.multimodal:q} \
            --minimum-rate-hz {params.minimum_rate_hz} --horizons-ms {params.horizons_ms} \
            --output.scores {output.scores:q} --output.repeats {output.repeats:q} \
            --output.example {output.example:q} >{log:q} 2>&1
        """


rule measure_behaviour:
    input:
        heldout_files,
    output:
        f"{RESULTS}/multimodal/scores/autocorrelation.parquet",
    log:
        f"{RESULTS}/logs/measure_behaviour.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_behaviour.tsv"
    conda:
        "../envs/report.yaml"
    params:
        multimodal=section(CONFIG.multimodal),
        code=code("measure_behaviour.py"),
    shell:
        """
        python "$SCRIPTS/measure_behaviour.py" --sessions {input:q} --multimodal {params.multimodal:q} \
            --output {output:q} >{log:q} 2>&1
        """
