# Experiment 3: sample paths of every rollout mode with the sums of their calibration, and teacher-forced scores.


# Sample paths are not stored. Forecast files are compared on the same windows, so they need paths of all windows.
rule sample_paths:
    input:
        weights=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.json",
        baselines=f"{RESULTS}/models/{{fold}}/baselines.json",
        session=LAYOUT.of_session("sessions"),
        features=LAYOUT.of_session("features"),
        readout=LAYOUT.of_session("readouts"),
    output:
        sums=f"{RESULTS}/calibration/sums/{{fold}}/{{session}}/seed-{{seed}}.parquet",
        example=f"{RESULTS}/calibration/sums/{{fold}}/{{session}}/seed-{{seed}}.h5",
        forecasts=[f"{RESULTS}/forecasts/{{fold}}/{{session}}/{name}_seed-{{seed}}.h5" for name in LAYOUT.rollouts()],
    log:
        f"{RESULTS}/logs/sample_paths/{{fold}}/{{session}}/seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/sample_paths/{{fold}}/{{session}}/seed-{{seed}}.tsv"
    conda:
        "../../envs/model.yaml"
    resources:
        **declared("sample_paths"),
    params:
        timeline=section(CONFIG.timeline),
        rollout=section(CONFIG.rollout),
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        code=code("neurohorizon.experiments.horizons.calibration_scores:sample_session"),
    shell:
        """
        python "$CALL" neurohorizon.experiments.horizons.calibration_scores:sample_session \
            --weights {input.weights:q} --baselines {input.baselines:q} --paths.session {input.session:q} \
            --paths.features {input.features:q} --paths.readout {input.readout:q} --fold {wildcards.fold:q} \
            --method neurohorizon --seed {wildcards.seed} --timeline {params.timeline:q} --rollout {params.rollout:q} \
            --minimum-rate-hz {params.minimum_rate_hz} --code {params.code} --sums {output.sums:q} \
            --example {output.example:q} --forecasts {output.forecasts:q} >{log:q} 2>&1
        """


rule score_teacher_forcing:
    input:
        weights=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.json",
        sessions=LAYOUT.heldout("sessions"),
        features=LAYOUT.heldout("features"),
        readouts=LAYOUT.heldout("readouts"),
        oracles=LAYOUT.oracles,
    output:
        f"{RESULTS}/horizons/scores/{{fold}}/seed-{{seed}}.parquet",
    log:
        f"{RESULTS}/logs/score_teacher_forcing/{{fold}}/seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_teacher_forcing/{{fold}}/seed-{{seed}}.tsv"
    conda:
        "../../envs/model.yaml"
    resources:
        **declared("score_teacher_forcing"),
    params:
        timeline=section(CONFIG.timeline),
        every_windows=CONFIG.rollout.every_windows,
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        code=code("neurohorizon.experiments.horizons.teacher_forcing:score_teacher_forcing"),
    shell:
        """
        python "$CALL" neurohorizon.experiments.horizons.teacher_forcing:score_teacher_forcing \
            --weights {input.weights:q} --method neurohorizon --fold {wildcards.fold:q} --seed {wildcards.seed} \
            --paths.session {input.sessions:q} --paths.features {input.features:q} --paths.readout {input.readouts:q} \
            --oracles {input.oracles:q} --timeline {params.timeline:q} --every-windows {params.every_windows} \
            --minimum-rate-hz {params.minimum_rate_hz} --code {params.code} --output {output:q} >{log:q} 2>&1
        """
