"""Lengths and preparation of networks, from the JSON files next to their weights, without PyTorch."""

import json
from dataclasses import dataclass
from pathlib import Path

from neurohorizon.command.usage import UsageError
from neurohorizon.network_files import NoSuchNetworkError, released_names, weights_path


@dataclass(frozen=True)
class Lengths:
    """Lengths of the windows of a network."""

    bin_ms: int = 20
    context_bins: int = 50
    horizon_bins: int = 50

    @property
    def context_s(self) -> float:
        """Length of the context in seconds."""
        return self.context_bins * self.bin_ms / 1000

    @property
    def horizon_s(self) -> float:
        """Length of the horizon in seconds."""
        return self.horizon_bins * self.bin_ms / 1000


@dataclass(frozen=True)
class Candidate:
    """A network that may forecast a recording.

    Attributes:
        name: Name of released weights or path of a network, as :func:`neurohorizon.load` takes it; "" if the package
            has no released weights.
        lengths: Lengths of its windows.
        preparation: Preparation of its training recordings, such as ``in vivo``; "" if its card does not name it.
    """

    name: str
    lengths: Lengths
    preparation: str = ""


def candidates(network: str | None) -> tuple[Candidate, ...]:
    """Return the networks that may forecast a recording: the requested one, or all released ones.

    Args:
        network: Name of released weights or path of a network; None: all released ones, or, if the package has none,
            windows of 1 s of context and 1 s of horizon.

    Raises:
        UsageError: There is no such network.
    """
    if network is not None:
        return (_candidate(network),)
    return tuple(map(_candidate, released_names())) or (Candidate("", Lengths()),)


def lengths_of(network: str) -> Lengths:
    """Return the lengths of a network.

    Args:
        network: Name of released weights or path of a network.

    Raises:
        UsageError: There is no such network.
    """
    return _candidate(network).lengths


def _candidate(network: str) -> Candidate:
    card = card_of(network)
    try:
        values = json.loads(card.read_text())
        preparation = values["about"]["preparation"] if "about" in values else ""
        values = next(iter(values["cards"].values())) if "cards" in values else values
        timeline = values["timeline"]
        lengths = Lengths(int(timeline["bin_ms"]), int(timeline["context_bins"]), int(timeline["horizon_bins"]))
        return Candidate(network, lengths, str(preparation))
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise UsageError(
            f"--network {network}: {card} describes no network ({type(error).__name__} {error}); name released "
            "weights (`neurohorizon weights`), or model.safetensors of a run"
        ) from None


def card_of(network: str) -> Path:
    """Return the JSON file of a network, by its name or path.

    Raises:
        UsageError: There is no such network.
    """
    try:
        card = weights_path(network).with_suffix(".json")
    except NoSuchNetworkError as error:
        raise UsageError(f"--network {network}: {error}") from None
    if not card.is_file():
        names = ", ".join(released_names()) or "none in this copy of the package"
        raise UsageError(
            f"--network {network}: there is no {card}; expected the path of a network, or released weights: {names}"
        )
    return card
