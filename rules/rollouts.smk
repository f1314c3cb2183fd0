# Sample paths of held-out time: forecasts by every decoding of the network, and sums of their calibration.


# Paths themselves are not kept. Forecast files are compared on the same windows, so they need paths of all windows.
rule sample_paths:
    input:
        weights=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.json",
        baselines=f"{RESULTS}/models/{{fold}}/baselines.json",
        session=session_file,
        features=feature_file,
        readout=readout_file,
    output:
        sums=f"{RESULTS}/calibration/sums/{{fold}}/{{session}}/seed-{{seed}}.parquet",
        example=f"{RESULTS}/calibration/sums/{{fold}}/{{session}}/seed-{{seed}}.h5",
        forecasts=[f"{RESULTS}/forecasts/{{fold}}/{{session}}/{name}_seed-{{seed}}.h5" for name in DECODED],
    log:
        f"{RESULTS}/logs/sample_paths/{{fold}}/{{session}}/seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/sample_paths/{{fold}}/{{session}}/seed-{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        timeline=section(CONFIG.timeline),
        rollout=section(CONFIG.rollout),
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        code=code("sample_paths.py"),
    shell:
        """
        python "$SCRIPTS/sample_paths.py" --weights {input.weights:q} --baselines {input.baselines:q} \
            --paths.session {input.session:q} --paths.features {input.features:q} --paths.readout {input.readout:q} \
            --fold {wildcards.fold:q} --method neurohorizon --seed {wildcards.seed} --timeline {params.timeline:q} \
            --rollout {params.rollout:q} --minimum-rate-hz {params.minimum_rate_hz} --code {params.code} \
            --sums {output.sums:q} --example {output.example:q} --forecasts {output.forecasts:q} >{log:q} 2>&1
        """
