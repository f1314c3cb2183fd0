# Experiment 4: behaviour and images beside the spikes. A trained forecaster learns to read them, once for each image
# encoder, and forecasts held-out sessions under every condition.
include: "conditions.smk"


rule modality_readouts:
    input:
        session=f"{RESULTS}/sessions/{{source}}/{{session}}.h5",
        features=f"{RESULTS}/features/{{source}}/{{session}}.h5",
        embeddings=session_embeddings,
    output:
        f"{RESULTS}/modalities/{{source}}/{{session}}.h5",
    log:
        f"{RESULTS}/logs/modality_readouts/{{source}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/modality_readouts/{{source}}/{{session}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        uses=reference_uses,
        multimodal=section(CONFIG.multimodal),
        readout=section(CONFIG.model.readout),
        timeline=section(CONFIG.timeline),
        code=code("fit_modalities.py"),
    shell:
        """
        python "$SCRIPTS/fit_modalities.py" --paths.session {input.session:q} --paths.features {input.features:q} \
            --uses {params.uses} --embeddings {input.embeddings:q} --multimodal {params.multimodal:q} \
            --readout {params.readout:q} --timeline {params.timeline:q} --output {output:q} >{log:q} 2>&1
        """


rule train_multimodal:
    input:
        base=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.json",
        sessions=training_files,
        features=training_features,
        readouts=training_readouts,
        modalities=training_modalities,
        embeddings=encoder_embeddings,
    output:
        weights=f"{RESULTS}/multimodal/models/{{fold}}/{{encoder}}_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/multimodal/models/{{fold}}/{{encoder}}_seed-{{seed}}/model.json",
        curve=f"{RESULTS}/multimodal/models/{{fold}}/{{encoder}}_seed-{{seed}}/log.csv",
    log:
        f"{RESULTS}/logs/train_multimodal/{{fold}}/{{encoder}}_seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_multimodal/{{fold}}/{{encoder}}_seed-{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: CONFIG.training.threads
    params:
        checkpoints=f"{RESULTS}/checkpoints/{{fold}}/multimodal_{{encoder}}_seed-{{seed}}",
        multimodal=section(CONFIG.multimodal),
        readout=section(CONFIG.model.readout),
        timeline=section(CONFIG.timeline),
        training=section(CONFIG.training),
        code=code("train_multimodal.py"),
    shell:
        """
        python "$SCRIPTS/train_multimodal.py" --base {input.base:q} --fold {wildcards.fold:q} \
            --seed {wildcards.seed} --paths.session {input.sessions:q} --paths.features {input.features:q} \
            --paths.readout {input.readouts:q} --modalities {input.modalities:q} --embeddings {input.embeddings:q} \
            --multimodal {params.multimodal:q} --readout {params.readout:q} \
            --timeline {params.timeline:q} --training {params.training:q} --code {params.code} \
            --checkpoints {params.checkpoints:q} --output {output.weights:q} --log {output.curve:q} >{log:q} 2>&1
        """


# As many files as there are conditions for the session; tables and scores keep what they say.
rule forecast_conditions:
    input:
        weights=f"{RESULTS}/multimodal/models/{{fold}}/{{encoder}}_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/multimodal/models/{{fold}}/{{encoder}}_seed-{{seed}}/model.json",
        session=session_file,
        features=feature_file,
        readout=readout_file,
        modalities=modality_file,
        embeddings=encoder_embeddings,
    output:
        temp(directory(f"{RESULTS}/multimodal/forecasts/{{fold}}/{{session}}/{{encoder}}_seed-{{seed}}")),
    log:
        f"{RESULTS}/logs/forecast_conditions/{{fold}}/{{session}}/{{encoder}}_seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/forecast_conditions/{{fold}}/{{session}}/{{encoder}}_seed-{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        conditions=conditions_of,
        multimodal=section(CONFIG.multimodal),
        readout=section(CONFIG.model.readout),
        timeline=section(CONFIG.timeline),
        code=code("forecast_conditions.py"),
    shell:
        """
        python "$SCRIPTS/forecast_conditions.py" --weights {input.weights:q} --paths.session {input.session:q} \
            --paths.features {input.features:q} --paths.readout {input.readout:q} --modalities {input.modalities:q} \
            --embeddings {input.embeddings:q} --conditions {params.conditions} --fold {wildcards.fold:q} \
            --seed {wildcards.seed} --multimodal {params.multimodal:q} --readout {params.readout:q} \
            --timeline {params.timeline:q} --code {params.code} --output-folder {output:q} >{log:q} 2>&1
        """
