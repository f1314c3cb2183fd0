"""Networks of experiments 2 and 6: the configured forecaster with something changed, trained and scored as one point.

A variant says what is trained and how; which sessions it is trained on is for the workflow to say
(:mod:`neurohorizon.experiments.scaling.points`). This module stays light, since the workflow imports it.
"""

from dataclasses import dataclass

from neurohorizon.config import Config, Features, Model, Training
from neurohorizon.methods import AUTOREGRESSIVE

FULL = "full"
"""The configured forecaster, under an experiment's own number of steps."""
_FROM_FULL = ("shuffled_identity", "learned_embedding")
"""Ablations that are made of the full network's weights."""


@dataclass(frozen=True)
class Variant:
    """A network to train.

    Attributes:
        method: What training calls it: the forecaster, or the network of own history.
        features: Reference features that it reads.
        model: Parts and sizes.
        training: Optimisation settings.
        uses: What its weights are scored as, besides the parallel forecast: ``autoregressive`` is its decoding bin by
            bin, others are ablations that are made of the same weights.
    """

    method: str
    features: Features
    model: Model
    training: Training
    uses: tuple[str, ...] = ()


def trained_ablations(config: Config) -> tuple[str, ...]:
    """Names of the ablations that a network is trained for, the whole forecaster first."""
    return (FULL, *(name for name in config.ablations.variants if name not in _FROM_FULL))


def ablation(config: Config, name: str) -> Variant:
    """Return the forecaster without one of its parts.

    Args:
        config: A configuration with ablations.
        name: ``full`` or one that is trained; see ``config.Ablations``.

    Raises:
        ValueError: Nothing is trained for an ablation of this name.
    """
    settings = config.ablations
    method, features, model = "neurohorizon", config.features, config.model
    training = _shortened(config.training, settings.steps)
    uses: tuple[str, ...] = ()
    if name == FULL:
        uses = tuple(one for one in _FROM_FULL if one in settings.variants)
        uses += (AUTOREGRESSIVE,) if "teacher_forcing_only" in settings.variants else ()
    elif name == "no_identity":
        model = model.model_copy(update={"identity": False})
    elif name == "rate_only":
        features = features.model_copy(update={"groups": ("rate",)})
    elif name == "no_relational":
        groups = tuple(group for group in features.groups if group != "relational")
        features = features.model_copy(update={"groups": groups})
    elif name == "no_own_history":
        model = model.model_copy(update={"own_history": False})
    elif name == "no_population":
        method = "own_history"
    elif name == "teacher_forcing_only":
        feedback = training.feedback.model_copy(update={"sampled_share": 0.0})
        training = training.model_copy(update={"feedback": feedback})
        uses = (AUTOREGRESSIVE,)
    elif name == "noncausal_decoder":
        model = model.model_copy(update={"causal": False, "feedback": False})
    elif name == "gaussian_loss":
        model = model.model_copy(update={"likelihood": "gaussian"})
    else:
        raise ValueError(f"no network is trained for an ablation {name!r}; there are {trained_ablations(config)}")
    return Variant(method, features, model, training, uses)


def scaled(config: Config, size: str | None = None) -> Variant:
    """Return the forecaster as a point of experiment 2, of a size of its own where one is named.

    Raises:
        ValueError: ``scaling.sizes`` has no such size.
    """
    settings = config.scaling
    model = config.model
    if size is not None:
        if size not in settings.sizes:
            raise ValueError(f"scaling.sizes has no {size!r}; it has {', '.join(settings.sizes)}")
        model = model.model_copy(update=settings.sizes[size].model_dump())
    return Variant("neurohorizon", config.features, model, _shortened(config.training, settings.steps))


def _shortened(training: Training, steps: int) -> Training:
    """Train for so many steps, validated at least twice."""
    often = min(training.validate_every_steps, max(steps // 2, 1))
    return training.model_copy(update={"steps": steps, "validate_every_steps": often})
