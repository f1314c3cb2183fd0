"""A trained network, ready for a recording."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from neurohorizon.forecasts.experts import network_name
from neurohorizon.forecasts.release import About, Release, is_release, read_release
from neurohorizon.inputs.sessions import known_by
from neurohorizon.inputs.windows import WindowShape
from neurohorizon.methods import FORECASTER, REFERENCE_MEAN
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.weights import Card, WeightsError, load_forecaster
from neurohorizon.network_files import NoSuchNetworkError, weights_path
from neurohorizon.recordings.hugging_face import write_hub_folder
from neurohorizon.recordings.recording import Recording
from neurohorizon.recordings.reference_window import recorded_share, split_at_reference
from neurohorizon.recordings.units import Times, Units, read_units
from neurohorizon.session import SessionError
from neurohorizon.timeline import to_us
from neurohorizon.units.reference import feature_names

DEFAULT = "hippocampus"
"""Name of the released weights that are loaded without a name."""
_VALID_SHARE = 0.9
"""Share of a requested reference window below which its valid time is reported."""


def load(weights: str | Path | None = None) -> "Network":
    """Read a trained network.

    Args:
        weights: Name of released weights (:func:`neurohorizon.released`); or the path of a release,
            ``NAME.safetensors``, of a network of a run, ``model.safetensors``, or of the folder of such a network. The
            JSON file of the same name is next to it. None: the released weights ``hippocampus``.

    Raises:
        FileNotFoundError: The weights or their JSON file are missing.
        WeightsError: The name is none of the released weights, the files are damaged or of another version of the
            package, or the network reads more than spikes.
    """
    path = _path_of(DEFAULT if weights is None else weights)
    if is_release(path):
        release = read_release(path)
        _check_card(release.card, path)
        main = cast(Forecaster, release.networks[FORECASTER])
        return Network(forecaster=main, card=release.card, release=release, path=path)
    forecaster, card = load_forecaster(path)
    _check_card(card, path)
    # the network of own history is called in the same way
    return Network(forecaster=cast(Forecaster, forecaster), card=card, path=path)


def _path_of(weights: str | Path) -> Path:
    """Return the path of weights that are given by a name or a path."""
    try:
        return weights_path(weights)
    except NoSuchNetworkError as error:
        raise WeightsError(str(error)) from None


def _check_card(card: Card, path: Path) -> None:
    if card.modalities is not None:
        raise WeightsError(
            f"{path} reads behaviour or images, and forecasts from Python read spikes only; load the network that it "
            "was trained from"
        )
    if (names := tuple(name for group in feature_names(card.features).values() for name in group)) != (
        card.feature_names
    ):
        raise WeightsError(
            f"{path} reads {len(card.feature_names)} reference features, of which this version of neurohorizon "
            f"computes {len(set(names) & set(card.feature_names))}; train the network again, or install the version "
            "that trained it"
        )


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network.

    Attributes:
        forecaster: The network in PyTorch.
        card: Its description: settings, training data and scores.
        release: Released weights that it is part of; None for a network of a run.
        path: File of its weights; None if it was not read from one.

    >>> network
    Network(neurohorizon, bins of 20 ms, context 200 ms, horizon 120 ms)
    """

    forecaster: Forecaster
    card: Card
    release: Release | None = None
    path: Path | None = None

    @property
    def about(self) -> About | None:
        """Description of the released weights; None for a network of a run."""
        return self.release.about if self.release else None

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the methods that its adaptive forecast mixes, in the order of the mixture."""
        return self.release.experts if self.release else (REFERENCE_MEAN, network_name(self.card))

    @property
    def bin_s(self) -> float:
        """Width of a bin in seconds."""
        return self.card.timeline.bin_ms / 1000

    @property
    def context_s(self) -> float:
        """Length of the context in seconds, whose spikes before the forecast origin the network reads."""
        return self.card.timeline.context_bins * self.card.timeline.bin_ms / 1000

    @property
    def horizon_s(self) -> float:
        """Length of the horizon in seconds, the time after the forecast origin that is forecast."""
        return self.card.timeline.horizon_bins * self.card.timeline.bin_ms / 1000

    def fit_reference(
        self,
        units: Units,
        reference: float | Times = 0.5,
        *,
        valid: Times | str | None = None,
        gap: float | None = None,
        exclude: Sequence[Any] = (),
        name: str = "",
    ) -> Recording:
        """Describe the units of a recording by their spikes in a reference window, in closed form, without a gradient.

        Only spikes of the reference window are used. Forecasts start after it.

        Args:
            units: Spike times in seconds since the recording began, sorted for each unit: a list of arrays; a mapping
                from unit ids to arrays; a pynapple ``TsGroup``; a pynwb ``NWBFile``; or the path of an NWB file, or its
                address: ``https://``, ``s3://`` or ``dandi:``, of which only the parts that are needed are fetched.
            reference: The reference window: ``(start, stop)`` or intervals, [interval, 2], in seconds; or a share of
                the valid time from its start. At least 10 s; scores rise up to some minutes.
            valid: When all units were recorded: ``(start, stop)``, intervals, [interval, 2], in seconds, or a pynapple
                ``IntervalSet``; of an NWB file also ``obs_intervals``, ``trials``, ``epochs`` or ``whole``. Other time
                is unknown, not silent. None: the valid time that the units or the file contain, else from the first to
                the last spike, with a warning.
            gap: Seconds after the reference window that no forecast uses; None: a context and a horizon.
            exclude: Ids of units that are excluded. A warning proposes units that are likely no single neurons.
            name: Name of the recording, for messages and files; "": that of the file without its ending, else
                ``recording``.

        Returns:
            The recording, which forecasts, scores and streams.

        Raises:
            SessionError: The spikes, the valid time or the reference window cannot be used. It is a ``ValueError``.

        >>> recording = network.fit_reference(units, reference=(0.0, 40.0), valid=(0.0, 80.0))
        >>> recording
        Recording(5 units, reference 0 to 40 s, forecasts from 40.32 to 80 s)
        """
        session, unit_ids, notes = read_units(units, valid=valid, exclude=exclude, name=name)
        timeline, shape = self.card.timeline, WindowShape.of(self.card.timeline, self.card.model)
        gap_us = (shape.context_bins + shape.horizon_bins) * shape.bin_us if gap is None else int(to_us(gap))
        if gap_us < 0:
            raise SessionError(f"gap is {gap:g} s; expected seconds after the reference window, 0 or more")
        window, part = split_at_reference(session.domain, reference, gap_us)
        if session.session_id in self.card.sessions:
            notes += (f"{session.session_id} is in the training data, so its scores are not zero-shot",)
        elif session.subject and session.subject in self.card.subjects:
            notes += (
                f"an animal of the training data is named {session.subject}, as that of this recording; if it is the "
                "same, scores are not those of an unseen animal",
            )
        if (share := recorded_share(window, reference)) < _VALID_SHARE:
            notes += (f"of the reference window {share:.0%} was recorded; the rest is not used",)
        for note in notes:
            warnings.warn(note, UserWarning, stacklevel=2)
        readout = self.card.model.readout
        if not self.card.population_readout:
            readout = readout.model_copy(update={"modes": 0})
        inputs = known_by(session, window, part, timeline=timeline, features=self.card.features, readout=readout)
        return Recording(
            forecaster=self.forecaster,
            card=self.card,
            session=session,
            unit_ids=unit_ids,
            reference=window,
            inputs=inputs,
            notes=notes,
            release=self.release,
        )

    def to_hugging_face(self, folder: str | Path) -> None:
        """Write a new folder for the Hugging Face hub, which ``huggingface_hub.upload_folder`` uploads.

        It has ``model.safetensors``, ``config.json`` (the card) and the model card ``README.md``.
        :func:`neurohorizon.load` reads the folder.

        Args:
            folder: The folder; its name is the name of the model in the examples of the model card.

        Raises:
            FileExistsError: There is something at the path.
            FileNotFoundError: The files of a release are no longer where they were read from.
            WeightsError: They were changed since.
        """
        write_hub_folder(folder, forecaster=self.forecaster, card=self.card, about=self.about, path=self.path)

    def __repr__(self) -> str:
        lengths = f"context {1000 * self.context_s:g} ms, horizon {1000 * self.horizon_s:g} ms"
        name = self.about.name if self.about else self.card.method
        return f"Network({name}, bins of {1000 * self.bin_s:g} ms, {lengths})"
