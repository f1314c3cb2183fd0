"""Tensors of trained weights that a training starts from."""

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from neurohorizon.files import file_hash
from neurohorizon.models.weights import Card, read_tensors
from neurohorizon.starting_weights import FEEDBACK, KEY, Start, StartError, check_fit, start_card, start_cards


@dataclass(frozen=True, eq=False)
class Begun:
    """A network before its first step.

    Attributes:
        card: Its card: training sessions and animals include those of the weights that it starts from.
        tensors: All its tensors, without those that feedback reads if only one of both networks has feedback.
    """

    card: Card
    tensors: dict[str, Tensor]


def read_start(start: Start, card: Card) -> Begun | None:
    """Read the tensors that a network starts from.

    Args:
        start: The weights.
        card: Card of the network that is to be trained.

    Returns:
        None if the weights have no network of this method, which is printed.

    Raises:
        StartError: The weights changed since the run was planned, or differ from the network in its parts.
        WeightsError: The file of the tensors is damaged.
    """
    path = Path(start.path)
    if (found := file_hash(path, "sha256")) != start.sha256:
        raise StartError(
            f"{KEY} is {start.name!r}, and {path} changed since the run was planned: its SHA-256 was {start.sha256}, "
            f"and is {found}; run again"
        )
    earlier = start_card(start_cards(start), card.method, card.model)
    if earlier is None:
        print(f"{start.name} has no network {card.method}: it starts from random weights.", flush=True)
        return None
    check_fit(start, earlier, timeline=card.timeline, features=card.features, model=card.model)
    if tuple(earlier["feature_names"]) != card.feature_names:
        raise StartError(
            f"{KEY} is {start.name!r}, whose network reads {len(earlier['feature_names'])} reference features; "
            f"expected the {len(card.feature_names)} of this version of neurohorizon: start from other weights or null"
        )
    if bool(earlier["population_readout"]) != card.population_readout:
        has = "reads" if earlier["population_readout"] else "does not read"
        raise StartError(
            f"{KEY} is {start.name!r}, whose network {has} the population readout, unlike that of this run; start from "
            "other weights or null"
        )
    read, of_release = read_tensors(path), f"{earlier['method']}/"
    prefix = of_release if any(name.startswith(of_release) for name in read) else ""
    tensors = {name.removeprefix(prefix): value for name, value in read.items() if name.startswith(prefix)}
    if not (card.model.feedback and earlier["model"]["feedback"]):
        tensors = {name: value for name, value in tensors.items() if not name.startswith(FEEDBACK)}
    return Begun(
        card=replace(
            card,
            sessions=tuple(dict.fromkeys((*card.sessions, *earlier["sessions"]))),
            subjects=tuple(sorted({*card.subjects, *earlier.get("subjects", ())})),
            started_from={"name": start.name, "sha256": start.sha256},
        ),
        tensors=tensors,
    )
