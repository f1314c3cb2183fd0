# What is learned from training sessions: the networks, and the choices of the baselines. A held-out
# session is no input of any of these rules.
rule tune_baselines:
    input:
        sessions=training_files,
        features=training_features,
    output:
        f"{RESULTS}/models/{{fold}}/baselines.json",
    log:
        f"{RESULTS}/logs/tune_baselines/{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tune_baselines/{{fold}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        timeline=section(CONFIG.timeline),
        baselines=section(CONFIG.baselines),
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        code=code("tune_baselines.py"),
    shell:
        """
        python "$SCRIPTS/tune_baselines.py" --paths.session {input.sessions:q} --paths.features {input.features:q} \
            --timeline {params.timeline:q} --baselines {params.baselines:q} \
            --minimum-rate-hz {params.minimum_rate_hz} --output {output:q} >{log:q} 2>&1
        """


# Checkpoints are no output, since Snakemake deletes those of a job that is killed.
rule train:
    input:
        sessions=training_files,
        features=training_features,
        readouts=model_training_readouts,
    output:
        weights=f"{RESULTS}/models/{{fold}}/{{model}}_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{fold}}/{{model}}_seed-{{seed}}/model.json",
        curve=f"{RESULTS}/models/{{fold}}/{{model}}_seed-{{seed}}/log.csv",
    log:
        f"{RESULTS}/logs/train/{{fold}}/{{model}}_seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{fold}}/{{model}}_seed-{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: CONFIG.training.threads
    params:
        checkpoints=f"{RESULTS}/checkpoints/{{fold}}/{{model}}_seed-{{seed}}",
        timeline=section(CONFIG.timeline),
        features=section(CONFIG.features),
        model=section(CONFIG.model),
        training=section(CONFIG.training),
        code=code("train.py"),
    shell:
        """
        python "$SCRIPTS/train.py" --method {wildcards.model} --fold {wildcards.fold:q} --seed {wildcards.seed} \
            --paths.session {input.sessions:q} --paths.features {input.features:q} --paths.readout {input.readouts:q} \
            --timeline {params.timeline:q} --features {params.features:q} \
            --model {params.model:q} --training {params.training:q} --code {params.code} \
            --checkpoints {params.checkpoints:q} --output {output.weights:q} --log {output.curve:q} >{log:q} 2>&1
        """
