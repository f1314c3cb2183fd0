# Experiment 4: behaviour and images in addition to the spikes. A trained forecaster is extended to read them, once for
# each image encoder, and forecasts held-out sessions under every condition.


rule modality_readouts:
    input:
        session=f"{RESULTS}/sessions/{{source}}/{{session}}.h5",
        features=f"{RESULTS}/features/{{source}}/{{session}}.h5",
        embeddings=LAYOUT.session_embeddings,
    output:
        f"{RESULTS}/modalities/{{source}}/{{session}}.h5",
    log:
        f"{RESULTS}/logs/modality_readouts/{{source}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/modality_readouts/{{source}}/{{session}}.tsv"
    conda:
        "../../envs/model.yaml"
    resources:
        **declared("modality_readouts"),
    params:
        uses=LAYOUT.reference_uses,
        multimodal=section(CONFIG.multimodal),
        readout=section(CONFIG.model.readout),
        timeline=section(CONFIG.timeline),
        code=code("neurohorizon.inputs.session_modalities:compute_modality_file"),
    shell:
        """
        python "$CALL" neurohorizon.inputs.session_modalities:compute_modality_file \
            --paths.session {input.session:q} --paths.features {input.features:q} --uses {params.uses} \
            --embeddings {input.embeddings:q} --multimodal {params.multimodal:q} --readout {params.readout:q} \
            --timeline {params.timeline:q} --output {output:q} >{log:q} 2>&1
        """


rule train_multimodal:
    input:
        base=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.json",
        sessions=LAYOUT.training("sessions"),
        features=LAYOUT.training("features"),
        readouts=LAYOUT.training("readouts"),
        modalities=LAYOUT.training("modalities"),
        embeddings=LAYOUT.embeddings,
    output:
        weights=f"{RESULTS}/multimodal/models/{{fold}}/{{encoder}}_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/multimodal/models/{{fold}}/{{encoder}}_seed-{{seed}}/model.json",
        curve=f"{RESULTS}/multimodal/models/{{fold}}/{{encoder}}_seed-{{seed}}/log.csv",
    log:
        f"{RESULTS}/logs/train_multimodal/{{fold}}/{{encoder}}_seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_multimodal/{{fold}}/{{encoder}}_seed-{{seed}}.tsv"
    conda:
        "../../envs/model.yaml"
    threads: CONFIG.training.threads
    resources:
        **declared("train_multimodal"),
    params:
        checkpoints=f"{RESULTS}/checkpoints/{{fold}}/multimodal_{{encoder}}_seed-{{seed}}",
        multimodal=section(CONFIG.multimodal),
        readout=section(CONFIG.model.readout),
        timeline=section(CONFIG.timeline),
        training=section(CONFIG.training),
        code=code("neurohorizon.experiments.multimodal.training:train_multimodal_on_files"),
    shell:
        """
        $START python "$CALL" neurohorizon.experiments.multimodal.training:train_multimodal_on_files \
            --base {input.base:q} --fold {wildcards.fold:q} --seed {wildcards.seed} --paths.session {input.sessions:q} \
            --paths.features {input.features:q} --paths.readout {input.readouts:q} --modalities {input.modalities:q} \
            --embeddings {input.embeddings:q} --multimodal {params.multimodal:q} --readout {params.readout:q} \
            --timeline {params.timeline:q} --training {params.training:q} --code {params.code} \
            --checkpoints {params.checkpoints:q} --output {output.weights:q} --log {output.curve:q} >{log:q} 2>&1
        """


# One file for each condition of the session. The files are temporary, since score files keep the results.
rule forecast_conditions:
    input:
        weights=f"{RESULTS}/multimodal/models/{{fold}}/{{encoder}}_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/multimodal/models/{{fold}}/{{encoder}}_seed-{{seed}}/model.json",
        session=LAYOUT.of_session("sessions"),
        features=LAYOUT.of_session("features"),
        readout=LAYOUT.of_session("readouts"),
        modalities=LAYOUT.of_session("modalities"),
        embeddings=LAYOUT.embeddings,
    output:
        temp(directory(f"{RESULTS}/multimodal/forecasts/{{fold}}/{{session}}/{{encoder}}_seed-{{seed}}")),
    log:
        f"{RESULTS}/logs/forecast_conditions/{{fold}}/{{session}}/{{encoder}}_seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/forecast_conditions/{{fold}}/{{session}}/{{encoder}}_seed-{{seed}}.tsv"
    conda:
        "../../envs/model.yaml"
    resources:
        **declared("forecast_conditions"),
    params:
        conditions=LAYOUT.conditions,
        multimodal=section(CONFIG.multimodal),
        readout=section(CONFIG.model.readout),
        timeline=section(CONFIG.timeline),
        code=code("neurohorizon.forecasts.forecast:forecast_conditions"),
    shell:
        """
        python "$CALL" neurohorizon.forecasts.forecast:forecast_conditions --weights {input.weights:q} \
            --paths.session {input.session:q} --paths.features {input.features:q} --paths.readout {input.readout:q} \
            --modalities {input.modalities:q} --embeddings {input.embeddings:q} --conditions {params.conditions} \
            --fold {wildcards.fold:q} --seed {wildcards.seed} --multimodal {params.multimodal:q} \
            --readout {params.readout:q} --timeline {params.timeline:q} --code {params.code} \
            --output-folder {output:q} >{log:q} 2>&1
        """


rule forecast_psth:
    input:
        session=LAYOUT.of_session("sessions"),
        task=LAYOUT.first_condition_forecasts,
    output:
        temp(f"{RESULTS}/multimodal/psth/{{fold}}/{{session}}.h5"),
    log:
        f"{RESULTS}/logs/forecast_psth/{{fold}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/forecast_psth/{{fold}}/{{session}}.tsv"
    conda:
        "../../envs/model.yaml"
    resources:
        **declared("forecast_psth"),
    params:
        code=code("neurohorizon.experiments.multimodal.psth:forecast_psth"),
    shell:
        """
        python "$CALL" neurohorizon.experiments.multimodal.psth:forecast_psth --session {input.session:q} \
            --task {input.task:q}/spikes.h5 --code {params.code} --output {output:q} >{log:q} 2>&1
        """


rule score_conditions:
    input:
        session=LAYOUT.of_session("sessions"),
        folders=LAYOUT.condition_forecasts,
        psth=LAYOUT.psth_forecast,
        oracle=LAYOUT.oracle,
    output:
        scores=f"{RESULTS}/multimodal/scores/{{fold}}/{{session}}.parquet",
        repeats=f"{RESULTS}/multimodal/repeats/{{fold}}/{{session}}.parquet",
        example=f"{RESULTS}/multimodal/examples/{{fold}}/{{session}}.parquet",
    log:
        f"{RESULTS}/logs/score_conditions/{{fold}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_conditions/{{fold}}/{{session}}.tsv"
    conda:
        "../../envs/model.yaml"
    resources:
        **declared("score_conditions"),
    params:
        multimodal=section(CONFIG.multimodal),
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        horizons_ms=CONFIG.evaluation.horizons_ms,
        code=code("neurohorizon.experiments.multimodal.scores:score_conditions"),
    shell:
        """
        python "$CALL" neurohorizon.experiments.multimodal.scores:score_conditions --session {input.session:q} \
            --folders {input.folders:q} --others {input.psth:q} {input.oracle:q} --multimodal {params.multimodal:q} \
            --minimum-rate-hz {params.minimum_rate_hz} --horizons-ms {params.horizons_ms} \
            --output.scores {output.scores:q} --output.repeats {output.repeats:q} --output.example {output.example:q} \
            >{log:q} 2>&1
        """


rule measure_behaviour:
    input:
        LAYOUT.every("sessions/{source}/{session}.h5"),
    output:
        f"{RESULTS}/multimodal/scores/autocorrelation.parquet",
    log:
        f"{RESULTS}/logs/measure_behaviour.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_behaviour.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        **declared("measure_behaviour"),
    params:
        multimodal=section(CONFIG.multimodal),
        code=code("neurohorizon.experiments.multimodal.tables:write_autocorrelation"),
    shell:
        """
        python "$CALL" neurohorizon.experiments.multimodal.tables:write_autocorrelation --sessions {input:q} \
            --multimodal {params.multimodal:q} --output {output:q} >{log:q} 2>&1
        """
