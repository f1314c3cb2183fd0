"""The network that forecasts a recording: the requested one, or the released one with the most similar units."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from neurohorizon.command.options import Reading
from neurohorizon.command.usage import UsageError
from neurohorizon.forecasts.release import About, released
from neurohorizon.recordings.network import Network, load
from neurohorizon.session import Session


@dataclass(frozen=True, eq=False)
class Choice:
    """A network, and why it was chosen, as a sentence."""

    network: Network
    why: str


def choose_network(session: Session, reading: Reading, wanted: str | None) -> Choice:
    """Choose the network that forecasts a recording.

    Without a wish it is the released one with the smallest share of unit features outside of the range of its training
    units (0.5 to 99.5 %), over units that reach the minimum rate; of equal ones the first. Features are those of the
    reference window, so no time that is forecast has an influence.

    Args:
        session: The recording.
        reading: Its reference window, and the minimum rate.
        wanted: Name of released weights or path of a network; None: choose.

    Raises:
        UsageError: The package has no released weights.
    """
    if wanted is not None:
        return Choice(load(wanted), "It was chosen by --network.")
    abouts = released()
    if not abouts:
        raise UsageError(
            "this copy of the package has no released weights; name a trained network with --network, such as "
            "results/demo/models/main/neurohorizon_seed-0"
        )
    networks = [load(one.name) for one in abouts]
    if len(networks) == 1:
        return Choice(networks[0], "It is the only released network.")
    shares = [share_outside(one, session, reading) for one in networks]
    best = int(np.argmin(shares))
    return Choice(networks[best], _reason(abouts, shares, best))


def share_outside(network: Network, session: Session, reading: Reading) -> float:
    """Return the share of features, over units that reach the minimum rate, outside of the training range."""
    without_readout = replace(network, card=replace(network.card, population_readout=False))
    recording = without_readout.fit_reference(session, reading.reference)
    outside = recording.outside_range()
    scored = recording.reference_rate_hz >= reading.minimum_rate_hz
    return 1.0 if outside is None else float(outside[scored].mean())


def _reason(abouts: Sequence[About], shares: Sequence[float], best: int) -> str:
    others = ", ".join(f"{one.name} {100 * share:.1f} %" for one, share in zip(abouts, shares, strict=True))
    return (
        f"Of the released networks, {abouts[best].name} has the smallest share of features of these units outside of "
        f"the range of its training units ({others})."
    )
