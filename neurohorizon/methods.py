"""Methods that are forecast and compared: one row each, from which all names, classes, labels and orders derive.

Standard library only, since the workflow reads it before any environment exists.
"""

from dataclasses import dataclass
from typing import Literal

ZERO_SHOT, FITTED, CONTROL, CEILING = CLASS_ORDER = ("zero_shot", "fitted", "control", "ceiling")
"""Classes of methods, in the order of tables and figures."""
CLASS_WORDS = {ZERO_SHOT: "zero-shot", FITTED: "fitted", CONTROL: "control", CEILING: "ceiling"}
"""Classes as words of texts and figures."""
CLASS_DESCRIPTIONS = {
    ZERO_SHOT: "uses the reference window and the context only",
    FITTED: "also fits the session that is forecast",
    CONTROL: "is disrupted on purpose",
    CEILING: "uses the true rates",
}
FORECASTER = "neurohorizon"
ADAPTIVE = f"{FORECASTER}_adaptive"
"""The online mixture of all zero-shot methods; see :mod:`neurohorizon.forecasts.online_mixture`."""
LATENT_READOUT = f"{FORECASTER}_latent_readout"
"""The network corrected by latents that units read in closed form; see :mod:`neurohorizon.models.latent_readout`."""
ENSEMBLE = f"{FORECASTER}_ensemble"
"""The mean over the seeds of a run; see :mod:`neurohorizon.forecasts.ensemble`."""
REFERENCE_MEAN, SHRINKAGE = "reference_mean", "shrinkage"
OWN_HISTORY = "own_history"
"""The network without a population, which reads no population readout."""
OWN_HISTORY_READOUT = f"{OWN_HISTORY}_readout"
"""The network without a population encoder, which reads the population readout."""
UPPER_BOUND = "learned_embedding"
"""The same network with its units' embeddings fitted on the session that is forecast."""
AUTOREGRESSIVE, BLOCKWISE, COARSE_TO_FINE = WAYS_OF_DECODING = ("autoregressive", "blockwise", "coarse_to_fine")
"""Rollout modes of the forecaster, in addition to the parallel forecast; see :mod:`neurohorizon.models.rollout`."""
SHUFFLED_IDENTITY, MEAN_IDENTITY, ORACLE = "shuffled_identity", "mean_identity", "oracle"


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        name: Its name in files and tables.
        job: Kind of its forecasts, which also decides the setting that includes it: ``closed_form`` (always on),
            ``regression`` (``regressions``), ``network`` (the forecaster always, others by ``baselines.networks``),
            ``decoding`` (``rollout.decodings``), ``within_session`` (``baselines.learned_embedding``), ``control``
            (``baselines.controls``), ``latent_readout``, ``mixture`` (``adaptive``), ``ensemble`` (several
            ``run.seeds``), ``oracle`` (a simulated source).
        label: Its name in figures.
        phrase: Its name within a sentence.
        colour: Name of its colour in :mod:`neurohorizon.analysis.style`. Kindred methods share one.
        dashes: Lengths of its dashes and gaps, in line widths; () for a solid line. Lines differ in grey print too.
        kind: Its class, one of :data:`CLASS_ORDER`.
        short: True if it is drawn in figures with room for few methods.
    """

    name: str
    job: Literal[
        "closed_form",
        "regression",
        "network",
        "decoding",
        "within_session",
        "control",
        "latent_readout",
        "mixture",
        "ensemble",
        "oracle",
    ]
    label: str
    phrase: str
    colour: str
    dashes: tuple[int, ...] = ()
    kind: str = ZERO_SHOT
    short: bool = False


METHODS = {
    one.name: one
    for one in (
        Method("reference_mean", "closed_form", "reference mean", "the reference mean", "grey", (1, 1)),
        Method("trailing_mean", "closed_form", "trailing mean", "the trailing mean", "sky blue", (4, 1, 1, 1)),
        Method("shrinkage", "closed_form", "shrinkage", "tuned shrinkage", "orange", (3, 1)),
        Method(
            "gamma_poisson",
            "closed_form",
            "gamma-Poisson",
            "the gamma-Poisson filter",
            "purple",
            (5, 1, 1, 1, 1, 1),
            short=True,
        ),
        Method("ar_glm", "regression", "pooled AR-GLM", "the pooled AR-GLM", "orange", (1, 1), short=True),
        Method("ridge_ar", "regression", "ridge AR", "ridge AR", "green", (4, 1, 1, 1)),
        Method("reduced_rank", "regression", "reduced rank", "reduced-rank regression", "green", (5, 1), short=True),
        Method(OWN_HISTORY, "network", "own history", "the own-history network", "blue", (6, 1), short=True),
        Method(
            OWN_HISTORY_READOUT,
            "network",
            "own history + readout",
            "the own-history network with readout",
            "blue",
            short=True,
        ),
        Method(FORECASTER, "network", "NeuroHorizon", "NeuroHorizon", "vermillion", short=True),
        Method(
            LATENT_READOUT,
            "latent_readout",
            "latent readout",
            "its latent readout",
            "vermillion",
            (6, 1, 3, 1),
        ),
        Method(
            ENSEMBLE,
            "ensemble",
            "NeuroHorizon, ensemble",
            "the ensemble of its seeds",
            "vermillion",
            (3, 1, 1, 1),
        ),
        Method(
            ADAPTIVE,
            "mixture",
            "adaptive mixture",
            "the adaptive mixture",
            "vermillion",
            (8, 1, 1, 1),
            short=True,
        ),
        Method(
            f"{FORECASTER}_{AUTOREGRESSIVE}",
            "decoding",
            "NeuroHorizon, autoregressive",
            "its autoregressive decoding",
            "vermillion",
            (5, 1),
        ),
        Method(
            f"{FORECASTER}_{BLOCKWISE}",
            "decoding",
            "NeuroHorizon, blockwise",
            "its blockwise decoding",
            "vermillion",
            (4, 1, 1, 1),
        ),
        Method(
            f"{FORECASTER}_{COARSE_TO_FINE}",
            "decoding",
            "NeuroHorizon, coarse to fine",
            "its coarse-to-fine decoding",
            "vermillion",
            (1, 1),
        ),
        Method(
            "history_glm", "regression", "history GLM", "the history GLM of each unit", "sky blue", (1, 1), kind=FITTED
        ),
        Method("coupled_glm", "regression", "coupled GLM", "the coupled GLM", "sky blue", kind=FITTED, short=True),
        Method(
            UPPER_BOUND,
            "within_session",
            "learned embedding",
            "the network with embeddings fitted on the session",
            "black",
            kind=FITTED,
            short=True,
        ),
        Method(
            SHUFFLED_IDENTITY,
            "control",
            "shuffled identity",
            "itself with the identities of units exchanged",
            "grey",
            kind=CONTROL,
        ),
        Method(
            MEAN_IDENTITY,
            "control",
            "mean identity",
            "itself with one identity for all units",
            "grey",
            (6, 1),
            kind=CONTROL,
        ),
        Method(ORACLE, "oracle", "oracle", "the oracle", "black", (2, 1), kind=CEILING, short=True),
    )
}
"""All methods, by name, in the order of tables and figures within a class."""


def _names(*jobs: str, kind: str | None = None) -> tuple[str, ...]:
    return tuple(one.name for one in METHODS.values() if one.job in jobs and kind in (None, one.kind))


METHOD_ORDER = tuple(METHODS)
"""Order of methods within a class, in tables and figures; others follow by name."""
SIMPLE_JOBS = ("closed_form", "regression")
"""Jobs of methods without a trained network."""
CLOSED_FORM, REGRESSIONS = map(_names, SIMPLE_JOBS)
NETWORKS = tuple(name for name in _names("network") if name != FORECASTER)
"""Networks without a population: the forecaster minus them is the contribution of the other units."""
BASELINES = tuple(name for name in _names(*SIMPLE_JOBS, "network", kind=ZERO_SHOT) if name != FORECASTER)
"""Zero-shot methods that the forecaster is measured against."""
EXPERTS = (*BASELINES, FORECASTER, LATENT_READOUT)
"""Methods that the adaptive mixture weighs: all zero-shot methods that do not change with outcomes."""
DECODINGS = _names("decoding")
"""The forecaster's weights in its rollout modes."""
WITHIN_SESSION = tuple(one.name for one in METHODS.values() if one.kind == FITTED)
"""Methods that fit the session that is forecast."""
CONTROLS = _names("control")
"""The forecaster with disrupted identities of its units."""
DECLARED_FAMILY = tuple((FORECASTER, against) for against in BASELINES)
"""The comparisons that were declared in advance: the forecaster against the other zero-shot methods.

Holm's adjustment is over those that a run can make. Methods that fit the session, controls and rollout modes are not
among them and have no adjusted p: they are bounds and explanations of the forecaster, not competitors."""


def class_word(kind: str) -> str:
    """Return a class as text and figures show it."""
    return CLASS_WORDS.get(kind, kind.replace("_", " "))


def method_label(method: str) -> str:
    """Return a method's name for figures."""
    return METHODS[method].label if method in METHODS else method.replace("_", " ")


def method_phrase(method: str) -> str:
    """Return a method's name within a sentence."""
    return METHODS[method].phrase if method in METHODS else method.replace("_", " ")
