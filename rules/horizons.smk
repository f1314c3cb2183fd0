# Experiment 3: teacher-forced scores. All other sums are those of calibration (rules/rollouts.smk).
include: "horizon_files.smk"


rule score_teacher_forcing:
    input:
        weights=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.json",
        sessions=fold_heldout_files,
        features=fold_heldout_features,
        readouts=fold_heldout_readouts,
        oracles=fold_oracles,
    output:
        f"{RESULTS}/horizons/scores/{{fold}}/seed-{{seed}}.parquet",
    log:
        f"{RESULTS}/logs/score_teacher_forcing/{{fold}}/seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_teacher_forcing/{{fold}}/seed-{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        timeline=section(CONFIG.timeline),
        every_windows=CONFIG.rollout.every_windows,
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        code=code("score_teacher_forcing.py"),
    shell:
        """
        python "$SCRIPTS/score_teacher_forcing.py" --weights {input.weights:q} --method neurohorizon \
            --fold {wildcards.fold:q} --seed {wildcards.seed} \
            --paths.session {input.sessions:q} --paths.features {input.features:q} \
            --paths.readout {input.readouts:q} --oracles {input.oracles:q} --timeline {params.timeline:q} \
            --every-windows {params.every_windows} --minimum-rate-hz {params.minimum_rate_hz} --code {params.code} \
            --output {output:q} >{log:q} 2>&1
        """
