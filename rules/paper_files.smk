# Which figures, captions and cards the paper is made from.
def paper_figures(suffix: str) -> list[str]:
    """The figure of each experiment that stands in the paper."""
    return [f"{experiment_folder(name)}/figures/{figure}.{suffix}" for name, figure in PAPER_FIGURES.items()]


def paper_captions() -> list[str]:
    """Their captions, which are those of the report."""
    names = {name: f"{name}_figure" for name in PAPER_FIGURES}
    names |= {"cross_session": "figure", "cross_session_curves": "cross_session_figure"}
    return [shipped(f"report/{names[name]}_{figure}.rst") for name, figure in PAPER_FIGURES.items()]


def main_cards(wildcards) -> list[str]:
    """What the main network was trained on, of every fold and seed."""
    names = forecast_names(("neurohorizon",))
    return [f"{RESULTS}/models/{fold}/{name}/model.json" for fold in folds(cohort()) for name in names]
