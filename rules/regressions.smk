# Regressions on recent counts: settings from training sessions, then fits on the session that is forecast.
rule tune_regressions:
    input:
        sessions=training_files,
        features=training_features,
    output:
        tuned=f"{RESULTS}/models/{{fold}}/regressions.json",
        pooled=f"{RESULTS}/models/{{fold}}/ar_glm.json",
    log:
        f"{RESULTS}/logs/tune_regressions/{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tune_regressions/{{fold}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        timeline=section(CONFIG.timeline),
        regressions=section(CONFIG.regressions),
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        code=code("tune_regressions.py"),
    shell:
        """
        python "$SCRIPTS/tune_regressions.py" --paths.session {input.sessions:q} --paths.features {input.features:q} \
            --timeline {params.timeline:q} --regressions {params.regressions:q} \
            --minimum-rate-hz {params.minimum_rate_hz} --output {output.tuned:q} --pooled {output.pooled:q} \
            >{log:q} 2>&1
        """


rule forecast_regressions:
    input:
        tuned=f"{RESULTS}/models/{{fold}}/regressions.json",
        pooled=f"{RESULTS}/models/{{fold}}/ar_glm.json",
        session=session_file,
        features=feature_file,
    output:
        [f"{RESULTS}/forecasts/{{fold}}/{{session}}/{name}.h5" for name in REGRESSIONS],
    log:
        f"{RESULTS}/logs/forecast_regressions/{{fold}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/forecast_regressions/{{fold}}/{{session}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        folder=output_folder,
        timeline=section(CONFIG.timeline),
        regressions=section(CONFIG.regressions),
        code=code("forecast_regressions.py"),
    shell:
        """
        python "$SCRIPTS/forecast_regressions.py" --tuned {input.tuned:q} --pooled {input.pooled:q} \
            --paths.session {input.session:q} --paths.features {input.features:q} --fold {wildcards.fold:q} \
            --timeline {params.timeline:q} --regressions {params.regressions:q} \
            --code {params.code} --output-folder {params.folder:q} >{log:q} 2>&1
        """
