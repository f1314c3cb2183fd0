"""Released weights: all experts of the adaptive mixture of one fold, as two files that need no run.

``NAME.safetensors`` holds the tensors of all networks, named ``METHOD/parameter``. ``NAME.json`` holds the rest:

================ =====================================================================================================
key              content
================ =====================================================================================================
``about``        :class:`About`: training data, scores, and the SHA-256 of the tensors
``cards``        card of each network, by the name of its method, the forecaster first
``closed_forms`` settings of each baseline in closed form
``regressions``  section ``regressions`` of the configuration
``settings``     settings of ``ridge_ar`` and ``reduced_rank``
``pooled``       the pooled regression ``ar_glm``
``adaptive``     section ``adaptive`` of the configuration
================ =====================================================================================================

Releases of the package are in the folder :data:`neurohorizon.network_files.SHIPPED`; its file ``SHA256SUMS`` lists the
hash of every file, in the form of the program ``sha256sum``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, ValidationError
from safetensors.torch import save_file
from torch import Tensor

from neurohorizon.baselines.closed_form import CLOSED_FORMS, read_tuned
from neurohorizon.baselines.glm import PooledGlm
from neurohorizon.config import Adaptive, Regressions, Section
from neurohorizon.files import file_hash, replacing
from neurohorizon.methods import FORECASTER, METHODS
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.own_history import OwnHistoryForecaster
from neurohorizon.models.weights import (
    Card,
    WeightsError,
    build_network,
    card_of,
    card_path,
    card_values,
    load_forecaster,
    read_tensors,
)
from neurohorizon.network_files import cards_in, is_shipped

SUMS = "SHA256SUMS"
LINEAR = {"ridge_ar": ("own_first", "penalty", "floor"), "reduced_rank": ("own_first", "penalty", "floor", "rank")}
"""Regressions that are fitted on a reference window in closed form, and their settings."""
POOLED = "ar_glm"
DATA_KEYS = {"name", "recordings", "animals", "licence", "citation"}
SCORE_KEYS = {"method", "bits_per_spike", "low", "high", "sessions", "null", "heldout"}

Setting = bool | int | float | None
Network = Forecaster | OwnHistoryForecaster


@dataclass(frozen=True)
class About:
    """Description of a release for its users.

    Attributes:
        name: Its name, which is that of its files.
        version: Its version.
        summary: What it was trained on, in one sentence.
        species: Species of its training animals.
        preparation: Preparation of its training recordings.
        data: One entry for each training data set: ``name``, ``recordings``, ``animals``, ``licence``, ``citation``.
        feature_range: For each reference feature the 0.5, 50 and 99.5 % quantile over training units, before the
            network normalises it.
        scores: One entry for each method and evaluation: ``method``, ``bits_per_spike``, ``low``, ``high``,
            ``sessions``, ``null``, ``heldout``.
        code: Fingerprint of the code that trained it.
        made_by: The command that made it.
        sha256: SHA-256 of its tensors' file, in hexadecimal.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    name: str
    version: str
    summary: str
    species: tuple[str, ...]
    preparation: Literal["in vivo", "ex vivo", "simulated"]
    data: tuple[dict[str, Any], ...]
    feature_range: dict[str, tuple[float, float, float]]
    scores: tuple[dict[str, Any], ...]
    code: str
    made_by: str
    sha256: str


@dataclass(frozen=True, eq=False)
class Release:
    """Released weights in memory.

    Attributes:
        about: Its description.
        networks: Networks by the name of their method, the forecaster first.
        cards: Card of each network.
        closed_forms: Settings of each baseline in closed form.
        regressions: Section ``regressions`` of the configuration.
        settings: Settings of the regressions in :data:`LINEAR`.
        pooled: The pooled regression.
        adaptive: Section ``adaptive`` of the configuration.
    """

    about: About
    networks: dict[str, Network]
    cards: dict[str, Card]
    closed_forms: dict[str, dict[str, Setting]]
    regressions: Regressions
    settings: dict[str, dict[str, Setting]]
    pooled: PooledGlm
    adaptive: Adaptive

    @property
    def card(self) -> Card:
        """Card of the forecaster."""
        return self.cards[FORECASTER]

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the methods that the adaptive mixture weighs, in its order."""
        return (*self.closed_forms, POOLED, *self.settings, *self.networks)


class _Description(Section):
    """Content of the JSON file."""

    about: About
    cards: dict[str, dict[str, Any]]
    closed_forms: dict[str, dict[str, Setting]]
    regressions: Regressions
    settings: dict[str, dict[str, Setting]]
    pooled: dict[str, Any]
    adaptive: Adaptive


def write_release(
    *,
    networks: Sequence[Path],
    tuned: Path,
    regressions_tuned: Path,
    pooled: Path,
    regressions: Regressions,
    adaptive: Adaptive,
    about: Path,
    output: Path,
) -> None:
    """Write the experts of one fold as a release: the tensors, and a JSON file next to them.

    Args:
        networks: Weights of the networks, the forecaster first, in the order of the mixture.
        tuned: Settings of the baselines in closed form.
        regressions_tuned: Settings of the regressions.
        pooled: The pooled regression.
        regressions: The section ``regressions`` of the configuration.
        adaptive: The section ``adaptive`` of the configuration.
        about: JSON file with the fields of :class:`About` except ``sha256``; without ``code`` it is that of the
            forecaster's card.
        output: The tensors, ``NAME.safetensors``; the name is that of ``about``.

    Raises:
        WeightsError: The networks or the description cannot be released.
    """
    loaded = [load_forecaster(one) for one in networks]
    methods = [card.method for _, card in loaded]
    if len(set(methods)) != len(methods):
        raise WeightsError(f"the networks are {methods}; expected each method once")
    cards = dict(zip(methods, (card for _, card in loaded), strict=True))
    tensors = {
        f"{card.method}/{name}": value for network, card in loaded for name, value in network.state_dict().items()
    }
    closed_forms = {name: settings for name, settings in read_tuned(tuned).items() if name in CLOSED_FORMS}
    found = read_tuned(regressions_tuned)
    values = {
        "about": {"code": loaded[0][1].code if loaded else ""} | json.loads(about.read_text()) | {"sha256": ""},
        "cards": {name: card_values(card) for name, card in cards.items()},
        "closed_forms": closed_forms,
        "regressions": regressions.model_dump(mode="json"),
        "settings": {name: found[name] for name in LINEAR if name in found},
        "pooled": json.loads(pooled.read_text()),
        "adaptive": adaptive.model_dump(mode="json"),
    }
    description = _described(json.dumps(values), about)
    if description.about.name != output.stem:
        raise WeightsError(f"{about} describes {description.about.name!r}, but the output is {output}; name both alike")
    _release(description, tensors, output)
    with replacing(output) as temporary, replacing(card_path(output)) as temporary_card:
        save_file(tensors, temporary)
        values["about"]["sha256"] = file_hash(temporary, "sha256")
        temporary_card.write_text(json.dumps(values, indent=1) + "\n")


def write_sums(*, folder: Path) -> None:
    """Write the SHA-256 of every file of the releases in a folder, in the form of the program ``sha256sum``."""
    names = [one.name for one in sorted(folder.iterdir()) if one.suffix in (".json", ".safetensors")]
    with replacing(folder / SUMS) as temporary:
        temporary.write_text("".join(f"{file_hash(folder / name, 'sha256')}  {name}\n" for name in names))


def is_release(path: str | Path) -> bool:
    """Return True if the JSON file next to some weights is that of a release."""
    try:
        values = json.loads(card_path(Path(path)).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and "cards" in values


def read_release(path: str | Path) -> Release:
    """Read a release, without pickle.

    Args:
        path: The tensors, ``NAME.safetensors``; ``NAME.json`` is next to them. In a folder with a file ``SHA256SUMS``
            both are compared with it.

    Raises:
        FileNotFoundError: One of the files is missing.
        WeightsError: A file is damaged, of another release, or of another version of the package.
    """
    path = Path(path)
    for one in (path, card_path(path)):
        if not one.is_file():
            raise FileNotFoundError(
                f"{one}: no such file; a release is two files in one folder, such as {path.stem}.safetensors and "
                f"{path.stem}.json"
            )
    _check_sums(path.parent, (card_path(path), path))
    description = _read_description(card_path(path))
    if (found := file_hash(path, "sha256")) != description.about.sha256:
        raise WeightsError(
            f"{path} is damaged or of another release: its SHA-256 is {found}, and {card_path(path).name} names "
            f"{description.about.sha256:.64}; copy or download both files again"
        )
    return _release(description, read_tensors(path), path)


def released(folder: str | Path | None = None) -> tuple[About, ...]:
    """Return the descriptions of the releases in a folder, by name.

    Args:
        folder: The folder; None: that of the releases that the package contains.

    Raises:
        WeightsError: A description is damaged, or differs from ``SHA256SUMS``.
    """
    return tuple(_listed(path) for path in cards_in(None if folder is None else Path(folder)))


def _listed(path: Path) -> About:
    _check_sums(path.parent, (path,))
    return _read_description(path).about


def _check_sums(folder: Path, paths: Sequence[Path]) -> None:
    """Compare files with the hashes of ``SHA256SUMS`` in their folder, which the package's own folder must have."""
    sums = folder / SUMS
    if not sums.is_file() and not is_shipped(folder):
        return
    try:
        listed = {name: digest for digest, name in (line.split() for line in sums.read_text().splitlines())}
    except (OSError, ValueError) as error:
        raise WeightsError(f"{sums} cannot be read ({error}); install neurohorizon again") from None
    for path in paths:
        if (found := file_hash(path, "sha256")) != listed.get(path.name):
            expected = f"lists {listed[path.name]}" if path.name in listed else "does not list it"
            raise WeightsError(
                f"{path} is not the released file: its SHA-256 is {found}, and {SUMS} {expected}; install neurohorizon "
                "again, or copy the file again"
            )


def _read_description(path: Path) -> _Description:
    try:
        text = path.read_text()
    except ValueError as error:
        raise WeightsError(f"{path} describes no release: it is not text ({error}); copy both files again") from None
    return _described(text, path)


def _described(text: str, path: Path) -> _Description:
    try:
        description = _Description.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"])) or "the file"
        raise WeightsError(
            f"{path} describes no release of this version of neurohorizon: {key}: {fault['msg']}; copy both files "
            "again, or install the version that wrote them"
        ) from None
    for key, entries, keys in (
        ("data", description.about.data, DATA_KEYS),
        ("scores", description.about.scores, SCORE_KEYS),
    ):
        for one in entries:
            if set(one) != keys:
                raise WeightsError(
                    f"{path}: an entry of about.{key} has the keys {sorted(one)}; expected {sorted(keys)}"
                )
    return description


def _release(description: _Description, tensors: Mapping[str, Tensor], path: Path) -> Release:
    """Build the experts, and check that they fit each other."""
    where = f"{path} is no release of this version of neurohorizon"
    advice = "copy both files again, or install the version that wrote them"
    try:
        cards = {name: card_of(values, card_path(path)) for name, values in description.cards.items()}
        pooled = PooledGlm.of(description.pooled)
    except WeightsError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{where}: {type(error).__name__} {error}; {advice}") from None
    if faults := _faults(description, cards, pooled):
        raise WeightsError(f"{where}: {faults[0]}; {advice}")
    of_method: dict[str, dict[str, Tensor]] = {name: {} for name in cards}
    for name, value in tensors.items():
        method, _, parameter = name.partition("/")
        if method not in of_method:
            raise WeightsError(f"{where}: it holds the tensor {name!r} of no network; {advice}")
        of_method[method][parameter] = value
    return Release(
        about=description.about,
        networks={name: build_network(card, of_method[name], path) for name, card in cards.items()},
        cards=cards,
        closed_forms={name: description.closed_forms[name] for name in CLOSED_FORMS},
        regressions=description.regressions,
        settings={name: description.settings[name] for name in LINEAR},
        pooled=pooled,
        adaptive=description.adaptive,
    )


def _faults(description: _Description, cards: Mapping[str, Card], pooled: PooledGlm) -> list[str]:
    """Return reasons why the experts do not fit each other, one sentence each."""
    faults = []
    if next(iter(cards), None) != FORECASTER:
        return [f"its networks are {list(cards)}; expected {FORECASTER} first"]
    main = cards[FORECASTER]
    for name, card in cards.items():
        if name != card.method or name not in METHODS or METHODS[name].job != "network" or card.modalities is not None:
            faults.append(f"its network {name!r} has the card of {card.method!r}; expected a network that reads spikes")
        if card.timeline != main.timeline:
            faults.append(f"the bins and windows of {name} differ from those of {FORECASTER}")
        if not set(card.feature_names) <= set(main.feature_names) or card.features != main.features.model_copy(
            update={"groups": card.features.groups}
        ):
            faults.append(f"{name} reads reference features that {FORECASTER} does not read")
        if card.population_readout and card.model.readout != main.model.readout:
            faults.append(f"the population readout of {name} differs from that of {FORECASTER}")
    expected = {name: one.settings for name, one in CLOSED_FORMS.items()} | LINEAR
    found = {name: tuple(one) for name, one in (*description.closed_forms.items(), *description.settings.items())}
    for name in {**expected, **found}:
        if name not in expected or name not in found or set(found[name]) != set(expected[name]):
            faults.append(f"{name} has the settings {found.get(name)}; expected {expected.get(name)}")
    horizon, regressions = main.timeline.horizon_bins, description.regressions
    if {regressions.horizon_edges_bins[-1], description.adaptive.horizon_edges_bins[-1]} != {horizon}:
        faults.append(f"its regressions or its mixture have another horizon than {horizon} bins")
    if (pooled.history_edges_bins, pooled.horizon_edges_bins) != (
        regressions.history_edges_bins,
        regressions.horizon_edges_bins,
    ):
        faults.append(f"the spans of {POOLED} differ from those of the other regressions")
    if not set(pooled.statistics) <= set(main.feature_names) or pooled.weights.shape != (
        len(pooled.horizon_edges_bins),
        len(pooled.names()),
    ):
        faults.append(f"{POOLED} reads features that {FORECASTER} does not read, or lacks weights")
    if unknown := sorted(set(description.about.feature_range) - set(main.feature_names)):
        faults.append(f"about.feature_range has {unknown[0]!r}, which is no reference feature of {FORECASTER}")
    return faults
