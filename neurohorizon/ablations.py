"""Ablations: one row each, from which the configuration, the networks, the tables and the figures derive.

Standard library only, since the workflow reads it before any environment exists.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from neurohorizon.methods import AUTOREGRESSIVE, FORECASTER, OWN_HISTORY, SHUFFLED_IDENTITY, UPPER_BOUND

FULL = "full"
"""The configured forecaster, under an experiment's own number of steps."""
TEACHER_FORCING = "teacher_forcing_only"
Changes = Mapping[str, object]
"""Key of a section -> its value, a function of its configured value, or changes of the section below it."""


@dataclass(frozen=True)
class Ablation:
    """The forecaster without one of its components.

    Attributes:
        name: Its name in files and tables.
        label: Its name in figures.
        phrase: Its name in a sentence; completes "the network ...".
        changes: Differences from the configuration, by section: ``features``, ``model`` or ``training``.
        network: The network that is trained.
        of_full: True if it uses the weights of the full network, so that nothing is trained.
        also: Further forecast modes in which its weights are scored, and those of the full network too.
        needs: Section of the configuration that must not be null.
    """

    name: str
    label: str
    phrase: str
    changes: Changes = field(default_factory=dict)
    network: str = FORECASTER
    of_full: bool = False
    also: tuple[str, ...] = ()
    needs: str = ""


def _without(name: str) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    return lambda names: tuple(one for one in names if one != name)


ABLATIONS = {
    one.name: one
    for one in (
        Ablation(
            "no_identity",
            "one identity for all units",
            "with one identity for all units",
            {"model": {"identity": False}},
        ),
        Ablation(SHUFFLED_IDENTITY, "identities exchanged", "with the identities of units exchanged", of_full=True),
        Ablation(
            "rate_only",
            "features: mean rate only",
            "that reads only the mean rate of each unit",
            {"features": {"groups": ("rate",)}},
        ),
        Ablation(
            "no_relational",
            "no relational features",
            "without relational features",
            {"features": {"groups": _without("relational")}},
        ),
        Ablation(
            UPPER_BOUND,
            "embeddings fitted to session",
            "with embeddings fitted to the session",
            of_full=True,
            needs="baselines.learned_embedding",
        ),
        Ablation(
            "no_own_history", "no own history", "without each unit's own history", {"model": {"own_history": False}}
        ),
        Ablation("no_population", "no population", "without the population", network=OWN_HISTORY),
        Ablation(
            TEACHER_FORCING,
            "teacher forcing only (rollout)",
            "trained by teacher forcing only, in its rollout",
            {"training": {"feedback": {"sampled_share": 0.0}}},
            also=(AUTOREGRESSIVE,),
            needs="rollout",
        ),
        Ablation(
            "noncausal_decoder",
            "decoder not causal",
            "with a decoder that is not causal",
            {"model": {"causal": False, "feedback": False}},
        ),
        Ablation(
            "gaussian_loss", "Gaussian loss", "trained with a Gaussian loss", {"model": {"likelihood": "gaussian"}}
        ),
        Ablation(
            "negative_binomial",
            "negative binomial loss",
            "trained with a negative binomial loss",
            {"model": {"likelihood": "negative_binomial"}},
        ),
    )
}
"""All ablations, by name, in the order of tables and figures."""
