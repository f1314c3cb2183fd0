# What rules of the multimodal experiment ask for: encoders, conditions, and the files of a session.
from neurohorizon.modalities.conditions import CONDITIONS, NO_ENCODER, OF_BEHAVIOUR, OF_ENCODERS


def encoders_in_use() -> tuple[str, ...]:
    """Image encoders, the one that all conditions use first."""
    return image_encoders() if CONFIG.multimodal.images else (NO_ENCODER,)


def primary_encoder() -> str:
    """The image encoder that all conditions use."""
    return encoders_in_use()[0]


def has_images(source: str) -> bool:
    """Whether sessions of a source come with images that are known."""
    return source == WITH_IMAGES and CONFIG.multimodal.images is not None


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
    return _training("modalities", wildcards)


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
