"""Networks of experiments 2 and 6: the configured forecaster with something changed, trained and scored as one point.

A variant defines the network and its training; the workflow chooses the training sessions
(:mod:`neurohorizon.experiments.scaling.points`). This module stays light, since the workflow imports it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from neurohorizon.ablations import ABLATIONS, FULL, Ablation
from neurohorizon.config import Config, Features, Model, Section, Training
from neurohorizon.methods import FORECASTER


@dataclass(frozen=True)
class Variant:
    """A network to train.

    Attributes:
        method: Its name in training: the forecaster, or the network of own history.
        features: Reference features that it reads.
        model: Parts and sizes.
        training: Optimisation settings.
        uses: Further methods as which its weights are scored: ``autoregressive`` is its decoding bin by bin, others are
            ablations of the same weights.
    """

    method: str
    features: Features
    model: Model
    training: Training
    uses: tuple[str, ...] = ()


def trained_ablations(config: Config) -> tuple[str, ...]:
    """Names of the ablations that a network is trained for, the whole forecaster first."""
    return (FULL, *(name for name in config.ablations.variants if not ABLATIONS[name].of_full))


def ablation(config: Config, name: str) -> Variant:
    """Return the forecaster without one of its parts.

    Args:
        name: ``full`` or one that is trained; see :mod:`neurohorizon.ablations`.

    Raises:
        ValueError: Nothing is trained for an ablation of this name.
    """
    row = _full(config) if name == FULL else ABLATIONS.get(name)
    if row is None or row.of_full:
        raise ValueError(f"no network is trained for an ablation {name!r}; there are {trained_ablations(config)}")
    sections = {
        "features": config.features,
        "model": config.model,
        "training": _shortened(config.training, config.ablations.steps),
    }
    changed = {key: _changed(section, row.changes.get(key, {})) for key, section in sections.items()}
    return Variant(row.network, **changed, uses=row.also)


def _full(config: Config) -> Ablation:
    """Return the forecaster as its own row, with every use that an ablation is compared with."""
    configured = [one for name, one in ABLATIONS.items() if name in config.ablations.variants]
    made_of_it = [one.name for one in configured if one.of_full]
    decoded = [use for one in configured for use in one.also]
    return Ablation(FULL, FULL, FULL, also=tuple(dict.fromkeys([*made_of_it, *decoded])))


def _changed(section: Section, changes: Mapping[str, object]) -> Section:
    """Return a section with the changes of a row."""
    update = {}
    for key, change in changes.items():
        value = getattr(section, key)
        if isinstance(change, Mapping):
            change = _changed(value, change)
        update[key] = change(value) if callable(change) else change
    return section.model_copy(update=update)


def scaled(config: Config, size: str | None = None) -> Variant:
    """Return the forecaster as a point of experiment 2, of another size if one is named.

    Raises:
        ValueError: ``scaling.sizes`` has no such size.
    """
    settings = config.scaling
    model = config.model
    if size is not None:
        if size not in settings.sizes:
            raise ValueError(f"scaling.sizes has no {size!r}; it has {', '.join(settings.sizes)}")
        model = model.model_copy(update=settings.sizes[size].model_dump())
    return Variant(FORECASTER, config.features, model, _shortened(config.training, settings.steps))


def _shortened(training: Training, steps: int) -> Training:
    """Train for the given number of steps, validated at least twice, from random weights."""
    often = min(training.validate_every_steps, max(steps // 2, 1))
    return training.model_copy(update={"steps": steps, "validate_every_steps": often, "start_from": None})
