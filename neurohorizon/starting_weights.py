"""Trained weights that a training starts from: their files, whether they fit, and what they were trained on.

The workflow reads them when it plans a run, before any environment exists: this module uses the standard library and
the configuration only.
"""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurohorizon.cohort import Row, heldout_sessions, same_name
from neurohorizon.config import Features, Model, Section, Timeline
from neurohorizon.files import file_hash
from neurohorizon.methods import FORECASTER, OWN_HISTORY_READOUT
from neurohorizon.network_files import expected_path, released_names

KEY = "training.start_from"
FEEDBACK = ("feedback.", "head.fed_weights.")
"""Starts of the names of tensors that only feedback reads; networks without feedback lack them."""
_LENGTHS = ("bin_ms", "context_bins", "horizon_bins")
_MOST_NAMED = 3


class StartError(ValueError):
    """Weights that a training cannot start from; the message gives what was found, what was expected and what to do."""


@dataclass(frozen=True)
class Start:
    """Weights to start from.

    Attributes:
        name: Value of ``training.start_from``.
        path: Their file: a release, or a network of a run.
        sha256: SHA-256 of the file, in hexadecimal.
    """

    name: str
    path: str
    sha256: str


def find_start(name: str) -> Start:
    """Return the weights of a value of ``training.start_from``.

    Args:
        name: Name of released weights; or the path of weights (``.safetensors``), or of the folder of a network.

    Raises:
        StartError: They do not exist.
    """
    path = expected_path(name)
    for one in (path, path.with_suffix(".json")):
        if not one.is_file():
            names = released_names()
            near = difflib.get_close_matches(name, names, n=1)
            raise StartError(
                f"{KEY} is {name!r}, and there is no file {one}; expected the path of a network, or released weights: "
                + (", ".join(names) or "this copy of the package has none")
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
    return Start(name, str(path), file_hash(path, "sha256"))


def start_cards(start: Start) -> dict[str, dict[str, Any]]:
    """Return the cards of the networks of some weights, by the name of their method.

    Raises:
        StartError: The JSON file next to the weights describes no network, or other weights.
    """
    path = Path(start.path).with_suffix(".json")
    try:
        values = json.loads(path.read_text())
        cards = dict(values["cards"]) if "cards" in values else {values["method"]: values}
        for card in cards.values():
            for key in ("timeline", "features", "model", "sessions"):
                card[key]
        expected = values["about"]["sha256"] if "about" in values else start.sha256
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StartError(
            f"{KEY} is {start.name!r}, but {path} describes no network ({type(error).__name__} {error}); copy both "
            "files again"
        ) from None
    if expected != start.sha256:
        raise StartError(
            f"{KEY} is {start.name!r}, but {start.path} is not the released file: its SHA-256 is {start.sha256}, and "
            f"{path.name} names {expected:.64}; copy both files again"
        )
    return cards


def start_card(cards: Mapping[str, dict[str, Any]], method: str, model: Model) -> dict[str, Any] | None:
    """Return the card of the network that a network starts from; None if the weights have none.

    It is the network of the same method. A forecaster without population encoder starts from the network of own history
    with readout if the forecaster of the weights has an encoder, since these two have the same parts.

    Args:
        cards: Cards of the weights, by method.
        method: The method that is to be trained.
        model: The section ``model`` of its configuration.
    """
    same = cards.get(method)
    if method == FORECASTER and same is not None and same["model"]["population"] and not model.population:
        return cards.get(OWN_HISTORY_READOUT, same)
    return same


def start_data(start: Start) -> list[dict[str, Any]]:
    """Return the training data sets of released weights: their names, sizes, licences and citations.

    Raises:
        StartError: The weights are those of a run, which have no such list.
    """
    about = json.loads(Path(start.path).with_suffix(".json").read_text()).get("about")
    if about is None:
        raise StartError(
            f"{KEY} is {start.name!r}, a network of a run, which does not list licences and citations of its training "
            f"data; a release needs them: start from released weights ({', '.join(released_names())}), or set {KEY} or "
            "release to null"
        )
    return list(about["data"])


def differences(card: Mapping[str, Any], *, timeline: Timeline, features: Features, model: Model) -> dict[str, Any]:
    """Return the keys in which a configuration differs from the network of a card, and their values on the card.

    Feedback of counts is no difference: the parallel forecast does not read it.

    Returns:
        Values by keys such as ``model.width``.
    """
    sections: dict[str, Section] = {"timeline": timeline, "features": features, "model": model}
    wanted = {key: section.model_dump(mode="json") for key, section in sections.items()}
    wanted["timeline"] = {key: wanted["timeline"][key] for key in _LENGTHS}
    found: dict[str, Any] = {}
    for name, values in wanted.items():
        of_card = {key: card[name].get(key) for key in values}
        if name == "model":
            of_card["feedback"] = values["feedback"]
        found |= dict(_unequal(name, values, of_card))
    return found


def _unequal(place: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in wanted.items():
        there = found.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            yield from _unequal(f"{place}.{key}", value, there)
        elif value != there:
            yield f"{place}.{key}", there


def check_fit(start: Start, card: Mapping[str, Any], *, timeline: Timeline, features: Features, model: Model) -> None:
    """Check that a training can start from the network of a card.

    Raises:
        StartError: Bins, windows, features or parts of the network differ.
    """
    found = differences(card, timeline=timeline, features=features, model=model)
    if found:
        named = [f"{key}: {json.dumps(value)}" for key, value in list(found.items())[:_MOST_NAMED]]
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        raise StartError(
            f"{KEY} is {start.name!r}, whose network differs from this configuration in {len(found)} keys; expected "
            f"{', '.join(named)}{more}.\nSet these keys, or start from other weights or null."
        )


def check_unseen(start: Start, rows: Sequence[Row], fold: str) -> None:
    """Check that no session and no animal that a fold holds out was trained on.

    Animals are compared by their names, if the card has them; older cards name the sessions only.

    Raises:
        StartError: One was trained on.
    """
    cards = start_cards(start).values()
    sessions = {name for card in cards for name in card["sessions"]}
    subjects = {same_name(name) for card in cards for name in card.get("subjects", ())}
    found = [
        f"{row.session} (animal {row.subject})"
        for row in heldout_sessions(rows, fold)
        if row.session in sessions or same_name(row.subject) in subjects
    ]
    if found:
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        raise StartError(
            f"{KEY} is {start.name!r}, which was trained on sessions or animals that fold {fold} holds out: "
            f"{', '.join(found[:_MOST_NAMED])}{more}.\nHeld-out animals must be unseen: give these sessions the role "
            "train, or start from other weights or null.\nIf another animal has the same name, change its name in the "
            "column subject (docs/own-recording.md, file_subject)."
        )
