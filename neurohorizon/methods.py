"""Methods that are forecast and compared: names, classes and order."""

FORECASTER = "neurohorizon"
CEILING_CLASS = "ceiling"
CLASS_ORDER = ("zero_shot", "fitted", "control", CEILING_CLASS)
"""Order of classes in tables and figures."""
BASELINES = (
    *("reference_mean", "trailing_mean", "shrinkage", "gamma_poisson"),
    *("ar_glm", "ridge_ar", "reduced_rank", "own_history", "own_history_readout"),
)
"""Zero-shot methods that the forecaster is measured against."""
AUTOREGRESSIVE = "autoregressive"
DECODINGS = tuple(f"{FORECASTER}_{name}" for name in (AUTOREGRESSIVE, "blockwise", "coarse_to_fine"))
"""The forecaster's weights, decoded in other ways."""
UPPER_BOUND = "learned_embedding"
"""The same network with its units' embeddings fitted on the session that is forecast."""
WITHIN_SESSION = ("history_glm", "coupled_glm", UPPER_BOUND)
"""Methods that fit the session that is forecast (class fitted)."""
CONTROLS = ("shuffled_identity", "mean_identity")
"""The forecaster with what it knows of its units tampered with."""
METHOD_ORDER = (*BASELINES, FORECASTER, *DECODINGS, *WITHIN_SESSION, *CONTROLS)
"""Order of methods within a class, in tables and figures; others follow by name."""

DECLARED_FAMILY = tuple((FORECASTER, against) for against in BASELINES)
"""The comparisons that were declared beforehand: the forecaster against the other zero-shot methods.

Holm's adjustment is over those that a run can make. Methods that fit the session, controls and other decodings stand
apart, with no adjusted p: they bound and explain the forecaster, and are no rivals."""
CLASS_DESCRIPTIONS = {
    "zero_shot": "uses the reference window and the context only",
    "fitted": "also fits the session that is forecast",
    "control": "has something taken away on purpose",
    CEILING_CLASS: "knows the true rates",
}
