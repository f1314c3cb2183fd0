# Networks and settings of baselines, which are learned from training sessions. No held-out session is an input of
# these rules.


rule tune_baselines:
    input:
        sessions=LAYOUT.training("sessions"),
        features=LAYOUT.training("features"),
    output:
        f"{RESULTS}/models/{{fold}}/baselines.json",
    log:
        f"{RESULTS}/logs/tune_baselines/{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tune_baselines/{{fold}}.tsv"
    conda:
        "../envs/model.yaml"
    resources:
        **declared("tune_baselines"),
    params:
        timeline=section(CONFIG.timeline),
        baselines=section(CONFIG.baselines),
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        code=code("neurohorizon.baselines.closed_form:tune_on_files"),
    shell:
        """
        python "$CALL" neurohorizon.baselines.closed_form:tune_on_files --paths.session {input.sessions:q} \
            --paths.features {input.features:q} --timeline {params.timeline:q} --baselines {params.baselines:q} \
            --minimum-rate-hz {params.minimum_rate_hz} --output {output:q} >{log:q} 2>&1
        """


# Checkpoints are not an output, since Snakemake deletes the outputs of a job that is killed.
rule train:
    input:
        sessions=LAYOUT.training("sessions"),
        features=LAYOUT.training("features"),
        readouts=LAYOUT.with_population(LAYOUT.training("readouts")),
    output:
        weights=f"{RESULTS}/models/{{fold}}/{{model}}_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{fold}}/{{model}}_seed-{{seed}}/model.json",
        curve=f"{RESULTS}/models/{{fold}}/{{model}}_seed-{{seed}}/log.csv",
    log:
        f"{RESULTS}/logs/train/{{fold}}/{{model}}_seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{fold}}/{{model}}_seed-{{seed}}.tsv"
    # most other jobs wait for the network
    priority: 10
    conda:
        "../envs/model.yaml"
    threads: CONFIG.training.threads
    resources:
        **declared("train"),
    params:
        checkpoints=f"{RESULTS}/checkpoints/{{fold}}/{{model}}_seed-{{seed}}",
        timeline=section(CONFIG.timeline),
        features=section(CONFIG.features),
        model=section(CONFIG.model),
        training=section(CONFIG.training),
        start=LAYOUT.start,
        code=code("neurohorizon.models.training:train_on_files"),
    shell:
        """
        $START python "$CALL" neurohorizon.models.training:train_on_files --method {wildcards.model} \
            --fold {wildcards.fold:q} --seed {wildcards.seed} --paths.session {input.sessions:q} \
            --paths.features {input.features:q} --paths.readout {input.readouts:q} --timeline {params.timeline:q} \
            --features {params.features:q} --model {params.model:q} --training {params.training:q} \
            --start {params.start:q} --code {params.code} --checkpoints {params.checkpoints:q} \
            --output {output.weights:q} --log {output.curve:q} >{log:q} 2>&1
        """


if CONFIG.latent_readout:

    rule train_latent_readout:
        input:
            weights=f"{RESULTS}/models/{{fold}}/{FORECASTER}_seed-{{seed}}/model.safetensors",
            card=f"{RESULTS}/models/{{fold}}/{FORECASTER}_seed-{{seed}}/model.json",
            sessions=LAYOUT.training("sessions"),
            features=LAYOUT.training("features"),
            readouts=LAYOUT.training("readouts"),
        output:
            weights=f"{RESULTS}/models/{{fold}}/{LATENT_READOUT}_seed-{{seed}}/model.safetensors",
            card=f"{RESULTS}/models/{{fold}}/{LATENT_READOUT}_seed-{{seed}}/model.json",
        log:
            f"{RESULTS}/logs/train_latent_readout/{{fold}}/seed-{{seed}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/train_latent_readout/{{fold}}/seed-{{seed}}.tsv"
        conda:
            "../envs/model.yaml"
        threads: CONFIG.training.threads
        resources:
            **declared("train_latent_readout"),
        params:
            timeline=section(CONFIG.timeline),
            settings=section(CONFIG.latent_readout),
            code=code("neurohorizon.models.latent_readout_training:train_latent_readout"),
        shell:
            """
            python "$CALL" neurohorizon.models.latent_readout_training:train_latent_readout --weights {input.weights:q} \
                --paths.session {input.sessions:q} --paths.features {input.features:q} \
                --paths.readout {input.readouts:q} --timeline {params.timeline:q} --settings {params.settings:q} \
                --fold {wildcards.fold:q} --seed {wildcards.seed} --threads {threads} --code {params.code} \
                --output {output.weights:q} >{log:q} 2>&1
            """


if CONFIG.regressions:

    rule tune_regressions:
        input:
            sessions=LAYOUT.training("sessions"),
            features=LAYOUT.training("features"),
        output:
            tuned=f"{RESULTS}/models/{{fold}}/regressions.json",
            pooled=f"{RESULTS}/models/{{fold}}/ar_glm.json",
        log:
            f"{RESULTS}/logs/tune_regressions/{{fold}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/tune_regressions/{{fold}}.tsv"
        conda:
            "../envs/model.yaml"
        resources:
            **declared("tune_regressions"),
        params:
            timeline=section(CONFIG.timeline),
            regressions=section(CONFIG.regressions),
            minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
            code=code("neurohorizon.baselines.tuning:tune_regressions_on_files"),
        shell:
            """
            python "$CALL" neurohorizon.baselines.tuning:tune_regressions_on_files \
                --paths.session {input.sessions:q} --paths.features {input.features:q} --timeline {params.timeline:q} \
                --regressions {params.regressions:q} --minimum-rate-hz {params.minimum_rate_hz} \
                --output {output.tuned:q} --pooled {output.pooled:q} >{log:q} 2>&1
            """
