"""Behaviour and images of a session from its files: fits of the closed-form readouts, and loading for one use."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from neurohorizon.config import Multimodal, Readout, Timeline
from neurohorizon.files import replacing
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.sessions import SessionPaths, Use
from neurohorizon.modalities.conditions import NO_ENCODER
from neurohorizon.modalities.embeddings import ImageSpace, fit_image_space
from neurohorizon.modalities.signal_readout import (
    SignalReadout,
    fit_signal_readout,
    read_readouts,
    spans_before,
    write_readouts,
)
from neurohorizon.modalities.signals import (
    ShownImages,
    Signal,
    behaviour_signal,
    movie_intervals,
    presented_images,
    show_images,
    shuffled_pieces,
)
from neurohorizon.modalities.tokens import ModalityLayout, SessionModalities
from neurohorizon.session import SpikeReader, read_behaviour, read_identity, read_stimuli
from neurohorizon.timeline import MICROSECONDS, Intervals, bin_domain, count_spikes, to_us
from neurohorizon.units.gains import cumulative
from neurohorizon.units.reference import read_reference


@dataclass(frozen=True)
class ModalitySettings:
    """Settings of behaviour and images.

    Attributes:
        multimodal: The section ``multimodal`` of the configuration.
        readout: Spans of own history, groups of horizon bins and candidate precisions of the readouts.
        timeline: Bins and windows.
    """

    multimodal: Multimodal
    readout: Readout
    timeline: Timeline

    @property
    def bin_us(self) -> int:
        """Bin width."""
        return self.timeline.bin_ms * 1000

    @property
    def layout(self) -> ModalityLayout:
        """Sizes of the modalities that a network reads."""
        return ModalityLayout.of(self.multimodal, self.readout.horizon_edges_bins)


def image_space(embeddings: Sequence[Path], multimodal: Multimodal) -> ImageSpace | None:
    """Fit the space of the images of one encoder; None without embeddings."""
    return fit_image_space(embeddings, multimodal.images.components) if embeddings else None


def _by_encoder(embeddings: Sequence[Path]) -> dict[str, list[Path]]:
    """Group embeddings by their image encoder; encoders and sets keep their order."""
    found: dict[str, list[Path]] = {}
    for path in embeddings:
        with h5py.File(path, "r") as file:
            found.setdefault(file.attrs["encoder"], []).append(path)
    return found


def heldout_movie(session: Path, settings: ModalitySettings) -> Intervals:
    """Find the times of held-out movie seconds on the screen, and of the responses right after them."""
    after_us = settings.multimodal.image_span_edges_bins[-1] * settings.bin_us
    return movie_intervals(read_stimuli(session), settings.multimodal.heldout_movie_s, after_us=after_us)


def compute_modality_file(
    *,
    paths: SessionPaths,
    uses: Sequence[Use],
    embeddings: Sequence[Path],
    multimodal: Multimodal,
    readout: Readout,
    timeline: Timeline,
    output: Path,
) -> None:
    """Fit the readouts of behaviour and images on reference windows of a session, and write them whole or not at all.

    The file of an excluded session, or of one with neither behaviour nor known images, contains no readouts.

    Args:
        paths: Files of the session, whose reference features name the reference windows.
        uses: Reference windows to fit on; on ``test`` the controls are fitted too.
        embeddings: Embeddings of the image sets by one or more encoders; controls are fitted for the first encoder.
    """
    settings = ModalitySettings(multimodal, readout, timeline)
    with replacing(output) as temporary, h5py.File(temporary, "w") as file:
        if read_identity(paths.session)["left_out"]:
            return
        spaces = {encoder: image_space(files, multimodal) for encoder, files in _by_encoder(embeddings).items()}
        shown = {encoder: {"": load_images(paths.session, space, settings)} for encoder, space in spaces.items()}
        if "test" in uses and spaces:
            encoder, space = next(iter(spaces.items()))
            shown[encoder]["_shuffled"] = load_images(paths.session, space, settings, shuffled=True)
        for use in uses:
            fits = _WindowFits(paths.session, paths.features, use, settings)
            controls = use == "test"
            write_readouts(file.create_group(f"{use}/{NO_ENCODER}"), fits.of_behaviour(controls=controls))
            for encoder, images in shown.items():
                found = fits.of_images({name: one for name, one in images.items() if controls or not name})
                write_readouts(file.create_group(f"{use}/{encoder}"), found)


def load_modalities(
    paths: SessionPaths,
    use: Use,
    *,
    readouts: Path,
    images: ShownImages | None,
    encoder: str,
    settings: ModalitySettings,
    control: str = "",
) -> SessionModalities:
    """Load behaviour of a session for one use, with the readouts of behaviour and images.

    Args:
        readouts: File of :func:`compute_modality_file`.
        images: From :func:`load_images`, under the same control; all uses of a session share them.
        control: ``shifted``: behaviour is from an earlier time; ``shuffled``: images in random order; "": no control.
    """
    reference = read_reference(paths.features, use).intervals
    behaviour = _behaviour(paths.session, reference, settings, shifted=control == "shifted")
    with h5py.File(readouts, "r") as file:
        found = read_readouts(file[f"{use}/{NO_ENCODER}"])
        if images is not None:
            found |= read_readouts(file[f"{use}/{encoder}"])
    if control:
        found = {
            name: found.get(f"{name}_{control}", readout) for name, readout in found.items() if not _is_control(name)
        }
    return SessionModalities(
        layout=settings.layout,
        behaviour=behaviour,
        images=images,
        readouts=found,
        horizon_edges_bins=settings.readout.horizon_edges_bins,
    )


def with_modalities(
    inputs: SessionInputs, paths: SessionPaths, modalities: SessionModalities, settings: ModalitySettings
) -> SessionInputs:
    """Add behaviour and images to the inputs of a training session, and remove held-out movie seconds from its time."""
    part = inputs.part.without(heldout_movie(paths.session, settings))
    return replace(inputs, modalities=modalities, part=part)


class _WindowFits:
    """Fits of readouts on one reference window without held-out movie seconds."""

    def __init__(self, session: Path, features: Path, use: Use, settings: ModalitySettings) -> None:
        self.session, self.settings = session, settings
        window = read_reference(features, use)
        self.reference, self.mean_counts = window.intervals, np.exp(window.reference_log_rate)
        bins = bin_domain(window.intervals.without(heldout_movie(session, settings)), settings.bin_us)
        spikes = SpikeReader(session)
        self.start_us, self.segment = bins.start_us, bins.segment
        counts = count_spikes(
            to_us(spikes.times_s),
            spikes.unit,
            n_units=spikes.n_units,
            start_us=bins.start_us,
            bin_us=settings.bin_us,
        )
        self.relative = cumulative(counts / self.mean_counts - 1)

    def of_behaviour(self, *, controls: bool) -> dict[str, SignalReadout]:
        multimodal = self.settings.multimodal
        spans = spans_before(multimodal.behaviour_span_edges_bins, multimodal.behaviour_delay_bins)
        found = {}
        for suffix in ("", "_shifted") if controls else ("",):
            signals = _behaviour(self.session, self.reference, self.settings, shifted=bool(suffix))
            if signals:
                ordered = [signals[one] for one in multimodal.behaviour if one in signals]
                found[f"behaviour{suffix}"] = self._fit(ordered, spans, ahead=False)
        return found

    def of_images(self, shown: Mapping[str, ShownImages | None]) -> dict[str, SignalReadout]:
        """Fit both readouts of images, on the shown images and on controls; the suffix is part of a readout's name."""
        spans = spans_before(self.settings.multimodal.image_span_edges_bins)
        found = {}
        for suffix, images in shown.items():
            if images is not None:
                found[f"image{suffix}"] = self._fit([images.signal], spans, ahead=False)
                found[f"image_ahead{suffix}"] = self._fit([images.signal], spans, ahead=True)
        return found

    def _fit(self, signals: Sequence[Signal], spans: np.ndarray, *, ahead: bool) -> SignalReadout:
        return fit_signal_readout(
            signals,
            relative=self.relative,
            segment=self.segment,
            start_us=self.start_us,
            mean_counts=self.mean_counts,
            spans_bins=spans,
            readout=self.settings.readout,
            bin_us=self.settings.bin_us,
            ahead=ahead,
        )


def _is_control(name: str) -> bool:
    return name.endswith(("_shifted", "_shuffled"))


def _behaviour(session: Path, reference: Intervals, settings: ModalitySettings, *, shifted: bool) -> dict[str, Signal]:
    by_us = round(settings.multimodal.behaviour_shift_s * MICROSECONDS) if shifted else 0
    wanted = settings.multimodal.behaviour
    signals = {
        name: behaviour_signal(series, reference) for name, series in read_behaviour(session).items() if name in wanted
    }
    return {name: signal.shifted(by_us) for name, signal in signals.items() if signal.known.any()}


def load_images(
    session: Path, space: ImageSpace | None, settings: ModalitySettings, *, shuffled: bool = False
) -> ShownImages | None:
    """Load the images that a session showed, optionally shuffled; None if no image is known or there is no space."""
    stimuli = read_stimuli(session)
    if space is None or not len(stimuli["start"]):
        return None
    pieces = presented_images(stimuli)
    if shuffled:
        # the same random order for every encoder, and for every use of the session
        pieces = shuffled_pieces(pieces, np.random.default_rng(zlib.crc32(session.name.encode())))
    token_us = settings.multimodal.token_bins * settings.bin_us
    return show_images(pieces, space.components, token_us=token_us)
