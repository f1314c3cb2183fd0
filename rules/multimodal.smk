# Experiment 4: behaviour and images beside the spikes. A trained forecaster learns to read them, once for each image
# encoder, and forecasts held-out sessions under every condition.
from neurohorizon.conditions import CONDITIONS, NO_ENCODER, OF_BEHAVIOUR, OF_ENCODERS


def encoders_in_use() -> tuple[str, ...]:
    """Image encoders, the one that all conditions use first."""
    return image_encoders() if CONFIG.multimodal.images else (NO_ENCODER,)


def primary_encoder() -> str:
    """The image encoder that all conditions use."""
    return encoders_in_use()[0]


def has_images(source: str) -> bool:
    """Whether sessions of a source come with images that are known."""
    return source == "allen" and CONFIG.multimodal.images is not None


def session_embeddings(wildcards) -> list[str]:
    """Embeddings of the images that a session may have seen, by every encoder."""
    if not has_images(wildcards.source):
        return []
    return [path for encoder in image_encoders() for path in embedding_files(encoder)]


def encoder_embeddings(wildcards) -> list[str]:
    """Embeddings of all images by one encoder."""
    return [] if wildcards.encoder == NO_ENCODER else embedding_files(wildcards.encoder)


def reference_uses(wildcards) -> str:
    """Reference windows of a session that its part in the cohort needs."""
    uses = set()
    for fold in folds(cohort()):
        if wildcards.session in {one.session for one in training_sessions(cohort(), fold)}:
            uses |= {"early", "late", "validation"}
        if wildcards.session in {one.session for one in heldout_sessions(cohort(), fold)}:
            uses.add("test")
    return " ".join(sorted(uses))


def training_modalities(wildcards) -> list[str]:
    """Readouts of behaviour and images of training sessions, in the order of their files."""
    return _files(f"{RESULTS}/modalities/{{source}}/{{session}}.h5", training_sessions(cohort(), wildcards.fold))


def modality_file(wildcards) -> str:
    """Readouts of behaviour and images of one session."""
    return _of_session("modalities", wildcards.session)


def conditions_of(wildcards) -> list[str]:
    """Conditions under which a session is forecast with one encoder."""
    if not has_images(of_source(wildcards)):
        return list(OF_BEHAVIOUR)
    return list(CONDITIONS if wildcards.encoder == primary_encoder() else OF_ENCODERS)


def condition_forecasts(wildcards) -> list[str]:
    """Folders of forecasts of one held-out session, one for each encoder and seed, a file for each condition."""
    encoders = encoders_in_use() if has_images(of_source(wildcards)) else (primary_encoder(),)
    folder = f"{RESULTS}/multimodal/forecasts/{wildcards.fold}/{wildcards.session}"
    return [f"{folder}/{encoder}_seed-{seed}" for encoder in encoders for seed in CONFIG.run.seeds]


def readout_of_session(wildcards) -> str:
    """Population readout of one session."""
    return _of_session("readouts", wildcards.session)


def training_population_readouts(wildcards) -> list[str]:
    """Population readouts of training sessions, in the order of their files."""
    return _files(f"{RESULTS}/readouts/{{source}}/{{session}}.h5", training_sessions(cohort(), wildcards.fold))


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
        python "$SCRIPTS/fit_modalities.py" --session {input.session:q} --features {input.features:q} \
            --uses {params.uses} --embeddings {input.embeddings:q} --multimodal-json {params.multimodal:q} \
            --readout-json {params.readout:q} --timeline-json {params.timeline:q} --output {output:q} >{log:q} 2>&1
        """


rule train_multimodal:
    input:
        base=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.json",
        sessions=training_files,
        features=training_features,
        readouts=training_population_readouts,
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
            --seed {wildcards.seed} --sessions {input.sessions:q} --features {input.features:q} \
            --readouts {input.readouts:q} --modalities {input.modalities:q} --embeddings {input.embeddings:q} \
            --multimodal-json {params.multimodal:q} --readout-json {params.readout:q} \
            --timeline-json {params.timeline:q} --training-json {params.training:q} --code {params.code} \
            --checkpoints {params.checkpoints:q} --output {output.weights:q} >{log:q} 2>&1
        """


# As many files as there are conditions for the session; tables and scores keep what they say.
rule forecast_conditions:
    input:
        weights=f"{RESULTS}/multimodal/models/{{fold}}/{{encoder}}_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/multimodal/models/{{fold}}/{{encoder}}_seed-{{seed}}/model.json",
        session=session_file,
        features=feature_file,
        readout=readout_of_session,
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
        python "$SCRIPTS/forecast_conditions.py" --model {input.weights:q} --session {input.session:q} \
            --features {input.features:q} --readout {input.readout:q} --modalities {input.modalities:q} \
            --embeddings {input.embeddings:q} --conditions {params.conditions} --fold {wildcards.fold:q} \
            --seed {wildcards.seed} --multimodal-json {params.multimodal:q} --readout-json {params.readout:q} \
            --timeline-json {params.timeline:q} --code {params.code} --output-folder {output:q} >{log:q} 2>&1
        """
