# Which files the scores, tables and figures of the multimodal experiment are made from.
def first_forecasts(wildcards) -> str:
    """A folder of a session's forecasts, to say what is to be forecast."""
    return condition_forecasts(wildcards)[0]


def psth_forecast(wildcards) -> list[str]:
    """The forecast by other repeats, for a session that shows images."""
    if not has_images(of_source(wildcards)):
        return []
    return [f"{RESULTS}/multimodal/psth/{wildcards.fold}/{wildcards.session}.h5"]
