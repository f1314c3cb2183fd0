"""Bins, context and horizon of a network, from the JSON file next to its weights, without PyTorch."""

import json
from dataclasses import dataclass
from pathlib import Path

from neurohorizon.command.usage import UsageError
from neurohorizon.files import SHIPPED
from neurohorizon.forecasts.network_files import NoSuchNetworkError, cards_in, weights_path


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


def lengths_of(network: str | None) -> Lengths:
    """Return the lengths of a network.

    Args:
        network: Name of released weights or path of a network; None: the lengths that released weights have, bins of
            20 ms, and 1 s of context and of horizon.

    Raises:
        UsageError: There is no such network.
    """
    if network is None:
        return Lengths()
    card = card_of(network)
    try:
        values = json.loads(card.read_text())
        values = next(iter(values["cards"].values())) if "cards" in values else values
        timeline = values["timeline"]
        return Lengths(int(timeline["bin_ms"]), int(timeline["context_bins"]), int(timeline["horizon_bins"]))
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
        names = ", ".join(one.stem for one in cards_in(SHIPPED)) or "none in this copy of the package"
        raise UsageError(
            f"--network {network}: there is no {card}; expected the path of a network, or released weights: {names}"
        )
    return card
