"""The network that forecasts a recording: the requested one, or the released one that fits it best."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from neurohorizon.command.examination import Examination
from neurohorizon.command.fits import Fit
from neurohorizon.command.options import Reading
from neurohorizon.command.usage import UsageError
from neurohorizon.recordings.network import Network, load
from neurohorizon.session import Session, SessionError


@dataclass(frozen=True, eq=False)
class Choice:
    """A network, and why it was chosen, as sentences."""

    network: Network
    why: str


def choose_network(found: Examination, reading: Reading, wanted: str | None) -> Choice:
    """Choose the network that forecasts a recording.

    Without a wish it is one of the released networks whose windows fit best
    (:func:`neurohorizon.command.fits.fitting`). Of several it is the one with the smallest share of features outside
    of the range of its training units (0.5 to 99.5 %), over units that reach the minimum rate; of equal ones the first.
    Features are those of the reference window that all of these networks read, and windows depend on valid time, so no
    spike of the time that is forecast has an influence.

    Args:
        found: The recording, examined with the candidates.
        reading: Its reference window, and the minimum rate.
        wanted: Name of released weights or path of a network; None: choose.

    Raises:
        SessionError: The recording could not be read.
        UsageError: The package has no released weights.
    """
    if wanted is not None:
        return Choice(load(wanted), "It was chosen by --network.")
    if found.recording is None:
        raise SessionError("; ".join(found.faults))
    if not any(one.name for one in found.fits):
        raise UsageError(
            "this copy of the package has no released weights; name a trained network with --network, such as "
            "results/demo/models/main/neurohorizon_seed-0"
        )
    networks = [load(one) for one in found.networks]
    # networks read different features: those are compared that all of them read
    shared = set.intersection(*(set(one.card.feature_names) for one in networks))
    session = found.recording.session
    shares = [share_outside(one, session, reading, shared) for one in networks] if len(networks) > 1 else [0.0]
    best = int(np.argmin(shares))
    return Choice(networks[best], _reason(found, shares, best))


def share_outside(network: Network, session: Session, reading: Reading, names: Collection[str]) -> float:
    """Return the share of some features, over units that reach the minimum rate, outside of the training range."""
    without_readout = replace(network, card=replace(network.card, population_readout=False))
    recording = without_readout.fit_reference(session, reading.reference)
    outside = recording.outside_range()
    scored = recording.reference_rate_hz >= reading.minimum_rate_hz
    kept = [name in names for name in recording.feature_names]
    return 1.0 if outside is None else float(outside[scored][:, kept].mean())


def _reason(found: Examination, shares: Sequence[float], best: int) -> str:
    if len(found.fits) == 1:
        return "It is the only released network."
    name, sentences = found.networks[best], []
    chosen = next(one for one in found.fits if one.name == name)
    others = [one for one in found.fits if one.name not in found.networks]
    if others:
        sentences.append(
            f"Of the released networks, {_list(found.networks)} {'have' if len(found.networks) > 1 else 'has'} the "
            f"longest horizon whose windows fit this recording ({', '.join(map(Fit.as_text, found.fits))})."
        )
    if len(shares) > 1:
        of_each = ", ".join(f"{one} {100 * share:.1f} %" for one, share in zip(found.networks, shares, strict=True))
        sentences.append(
            f"Of the features that all of these networks read, {name} has the smallest share outside of the range of "
            f"its training units ({of_each})."
        )
    if found.recording is not None and chosen.candidate.preparation:
        sentences.append(
            f"It was trained on recordings {chosen.candidate.preparation}; preparation of this recording: "
            f"{found.recording.preparation_why}."
        )
    return " ".join(sentences)


def _list(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
