"""A recording whose units are described by a reference window."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from neurohorizon.baselines.closed_form import CLOSED_FORMS, baseline_shape
from neurohorizon.config import Adaptive, Learners, SecondMixture
from neurohorizon.forecasts.experts import Experts, experts_of_network, experts_of_release
from neurohorizon.forecasts.forecast import forecast_windows
from neurohorizon.forecasts.online_mixture import mix_windows
from neurohorizon.forecasts.release import Release
from neurohorizon.forecasts.sample_paths import reference_gain
from neurohorizon.forecasts.shared_gain import SharedGain
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.windows import Windows, WindowShape, cut_windows, evaluation_origins
from neurohorizon.methods import ADAPTIVE
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.weights import Card
from neurohorizon.recordings.forecast import Forecast
from neurohorizon.recordings.score import Score
from neurohorizon.recordings.stream import RecordingStream
from neurohorizon.session import Session
from neurohorizon.timeline import MICROSECONDS, Intervals, to_s, to_us

GAIN_WINDOWS = 400
"""Maximum number of reference windows on which the shared gain of sample paths is fitted."""


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording whose units are described by a reference window, from :meth:`Network.fit_reference`.

    Attributes:
        forecaster: The network in PyTorch.
        card: Its description.
        session: Spikes and valid time.
        unit_ids: Ids of the units as given, [unit].
        reference: The reference window.
        inputs: Features, rates and readout of the units, and the time in which forecasts lie.
        notes: Oddities of the recording, one sentence each; each was a warning.
        release: Released weights that the network is part of; None for a network of a run.
    """

    forecaster: Forecaster
    card: Card
    session: Session
    unit_ids: np.ndarray
    reference: Intervals
    inputs: SessionInputs
    notes: tuple[str, ...] = ()
    release: Release | None = None

    @property
    def shape(self) -> WindowShape:
        """Lengths of a window in bins."""
        return WindowShape.of(self.card.timeline, self.card.model)

    @property
    def reference_rate_hz(self) -> np.ndarray:
        """Mean rate of each unit in the reference window, in spikes per second, [unit]."""
        return np.exp(self.inputs.reference_log_rate) / (self.shape.bin_us / MICROSECONDS)

    def origins(self, every: float | None = None) -> np.ndarray:
        """Return evenly spaced origins whose whole context and horizon were recorded.

        Args:
            every: Seconds between two origins, whole bins; None: as in the evaluation of the network's training run.

        Returns:
            Seconds, rising, [origin].

        Raises:
            ValueError: The distance is no whole number of bins.

        >>> recording.origins(every=10.0).tolist()
        [40.52, 50.52, 60.52, 70.52]
        """
        return to_s(self._origins_us(every))

    def forecast(
        self,
        at: ArrayLike,
        *,
        adaptive: bool | Adaptive = True,
        gaps: Literal["refuse", "mask"] = "refuse",
    ) -> Forecast:
        """Forecast the horizon after some origins.

        Args:
            at: Forecast origins in seconds, [origin]. An origin at the end of the recording forecasts its future.
            adaptive: True forecasts by an online mixture of the :attr:`experts`, weighed for each unit by all outcomes
                between the reference window and the origin; or settings of the mixture. It takes one forecast of each
                expert per ``evaluation_stride_bins`` of the time in between. False forecasts by the network only, whose
                forecast does not depend on earlier outcomes.
            gaps: ``refuse`` an origin whose context was not recorded throughout; or ``mask`` such bins, which are then
                unknown to the network.

        Raises:
            ValueError: An origin is not after the reference window, not in valid time, or its context has a gap.
        """
        windows = self._windows(at, gaps)
        if adaptive:
            mixed, _ = self._mixed(windows.origin_us, self.adaptive_settings(adaptive))
            return self._forecast(mixed, windows, ADAPTIVE)
        log_rate = forecast_windows(self.forecaster, self.inputs, windows.origin_us, self.shape)
        return self._forecast(log_rate, windows, self.card.method)

    def compare(
        self,
        at: ArrayLike,
        *,
        adaptive: Literal[True] | Adaptive = True,
        gaps: Literal["refuse", "mask"] = "refuse",
    ) -> dict[str, Forecast]:
        """Forecast by the adaptive mixture and by each of its experts, from the same origins, each computed once.

        Args:
            at: Forecast origins in seconds, [origin].
            adaptive: Settings of the mixture, or True, as in :meth:`forecast`.
            gaps: As in :meth:`forecast`.

        Returns:
            Forecasts by the names of their methods (:mod:`neurohorizon.methods`): ``neurohorizon_adaptive``, then the
            experts in the order of the mixture.

        Raises:
            ValueError: As in :meth:`forecast`.

        >>> list(recording.compare([50.0, 60.0]))
        ['neurohorizon_adaptive', 'reference_mean', 'neurohorizon']
        """
        windows = self._windows(at, gaps)
        mixed, of_experts = self._mixed(windows.origin_us, self.adaptive_settings(adaptive), keep=True)
        log_rates = {ADAPTIVE: mixed} | of_experts
        return {name: self._forecast(log_rate, windows, name) for name, log_rate in log_rates.items()}

    def outside_range(self) -> np.ndarray | None:
        """Compare the features of the units with those of the training units.

        Returns:
            True where a feature is below the 0.5 % or above the 99.5 % quantile of the training units,
            [unit, feature]; the names are :attr:`feature_names`. None if the network has no description of its
            training units.

        >>> recording.outside_range() is None  # a network of a run
        True
        """
        ranges = self.release.about.feature_range if self.release else {}
        if not ranges:
            return None
        unlimited = (-np.inf, 0.0, np.inf)
        low, _, high = np.array([ranges.get(name, unlimited) for name in self.feature_names]).T
        return (self.inputs.features < low) | (self.inputs.features > high)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the reference features of the units, the columns of ``inputs.features``."""
        return self.card.feature_names

    @cached_property
    def experts(self) -> Experts:
        """The methods that the adaptive forecast mixes, on this recording."""
        if self.release is None:
            return experts_of_network(self.forecaster, self.card, self.inputs)
        return experts_of_release(self.release, self.inputs, self.reference)

    def baseline(
        self, name: str, at: ArrayLike, *, gaps: Literal["refuse", "mask"] = "refuse", **settings: float
    ) -> Forecast:
        """Forecast by a baseline of the workflow in closed form, to compare with; see ``baselines.closed_form``.

        Args:
            name: ``reference_mean``; ``trailing_mean`` with ``bins``; ``shrinkage`` with ``bins`` and ``weight``; or
                ``gamma_poisson`` with ``shape`` and ``discount``.
            at: Forecast origins in seconds, [origin].
            gaps: As in :meth:`forecast`.
            **settings: Settings of the baseline; the workflow chooses them on training sessions.

        Raises:
            ValueError: The baseline or one of its settings does not exist, or as in :meth:`forecast`.

        >>> at = recording.origins(every=1.0)
        >>> float(recording.baseline("reference_mean", at).score())
        0.0
        """
        if name not in CLOSED_FORMS or set(settings) != set(CLOSED_FORMS[name].settings):
            raise ValueError(
                f"found the baseline {name!r} with the settings {sorted(settings)}; expected one of "
                + ", ".join(f"{one} {list(form.settings)}" for one, form in CLOSED_FORMS.items())
            )
        shape = baseline_shape(self.card.timeline, [int(settings["bins"])] if "bins" in settings else [])
        windows = self._windows(at, gaps, shape)
        log_rate = CLOSED_FORMS[name].log_rate(windows, self.inputs, **settings)
        return self._forecast(log_rate.astype(np.float32), windows, name)

    def score(
        self,
        at: ArrayLike | None = None,
        *,
        every: float | None = None,
        adaptive: bool | Adaptive = True,
        minimum_rate_hz: float = 0.1,
    ) -> Score:
        """Forecast the time after the reference window, and score the forecasts on the observed counts.

        Args:
            at: Forecast origins in seconds, [origin]; None: those of :meth:`origins`.
            every: Seconds between two origins, if ``at`` is None.
            adaptive: As in :meth:`forecast`.
            minimum_rate_hz: Mean rate in the reference window from which on a unit is scored.

        Raises:
            ValueError: No window lies in the time after the reference window.
        """
        at = self.origins(every) if at is None else at
        if not np.size(at):
            raise ValueError(
                f"no context and horizon fit into the {self.inputs.part.duration_us / MICROSECONDS:g} s of valid time "
                "after the reference window; choose an earlier or shorter reference"
            )
        return self.forecast(at, adaptive=adaptive).score(minimum_rate_hz=minimum_rate_hz)

    def stream(self, start: float | None = None, *, adaptive: bool | Adaptive = True) -> RecordingStream:
        """Forecast bin by bin while spikes arrive.

        Spikes of the recording before the start, if they are after the reference window, are in the first contexts.

        Args:
            start: Start of the first bin in seconds, on the clock of the recording; None: its end.
            adaptive: As in :meth:`forecast`, but the mixture learns from outcomes after the start only.

        Raises:
            ValueError: The start is before the end of the reference window.

        >>> stream = recording.stream(start=50.0)
        >>> stream.push([50.004, 50.011], [3, 0])
        >>> stream.next()
        Forecast(1 origins, 6 bins of 20 ms, 5 units)
        """
        start_us = int(self.session.domain.stop_us[-1] if start is None else to_us(start))
        if start_us < self.reference.stop_us[-1]:
            raise ValueError(
                f"the stream starts at {start_us / MICROSECONDS:g} s, before the reference window ends at "
                f"{self.reference.hull_s[1]:g} s; start it later"
            )
        settings = self.adaptive_settings(adaptive) if adaptive else None
        return RecordingStream(self, start_us, adaptive=settings)

    def __getstate__(self) -> dict[str, object]:
        """Return the state without the experts, whose fits another process computes again."""
        return {name: value for name, value in self.__dict__.items() if name != "experts"}

    @cached_property
    def shared_gain(self) -> SharedGain:
        """The gain that units share, fitted on forecasts of the reference window at the first use."""
        within = replace(self.inputs, part=self.reference)
        return reference_gain(self.forecaster, within, self.shape, GAIN_WINDOWS)

    def adaptive_settings(self, adaptive: bool | Adaptive) -> Adaptive:
        """Return settings of the mixture: those given, or for True those of the release or the configurations."""
        if isinstance(adaptive, Adaptive):
            return adaptive
        if self.release is not None:
            return self.release.adaptive
        return Adaptive(
            horizon_edges_bins=self.card.model.readout.horizon_edges_bins,
            learners=(
                Learners(share=0.002, pooling=(0.0, 0.05, 0.3, 1.0), learning_rates=(1.0,)),
                Learners(share=1e-15, pooling=(0.0, 1.0), learning_rates=(0.1, 1.0)),
            ),
            second=SecondMixture(share=1e-15, pooling=0.0, learning_rate=0.3),
            network_prior=4.0,
            level_spikes=20.0,
            level_bins=3000,
        )

    def _origins_us(self, every: float | None = None) -> np.ndarray:
        stride_bins = self.card.timeline.evaluation_stride_bins
        if every is not None:
            stride_bins, rest = divmod(int(to_us(every)), self.shape.bin_us)
            if rest or stride_bins < 1:
                raise ValueError(
                    f"every is {every:g} s; expected a multiple of the bin width of "
                    f"{self.shape.bin_us / MICROSECONDS:g} s"
                )
        return evaluation_origins(self.inputs.part, self.shape, stride_bins)

    @property
    def _near(self) -> WindowShape:
        """Lengths of windows without the far history, which the network reads from separate blocks."""
        return replace(self.shape, history_edges_bins=(self.shape.context_bins,))

    def _windows(self, at: ArrayLike, gaps: str, shape: WindowShape | None = None) -> Windows:
        """Return the windows at origins in seconds, after checks of the origins and of their contexts."""
        try:
            origin_us = to_us(np.atleast_1d(np.asarray(at, np.float64)))
        except (TypeError, ValueError) as error:
            raise ValueError(f"at is no origin; expected origins in seconds, [origin]; found {error}") from None
        if origin_us.ndim != 1 or not origin_us.size:
            raise ValueError(f"at has shape {origin_us.shape}; expected one or more origins in seconds, [origin]")
        if gaps not in ("refuse", "mask"):
            raise ValueError(f"gaps is {gaps!r}; expected refuse or mask")
        self._check(origin_us)
        windows = cut_windows(self.inputs.spikes, self.inputs.part, origin_us, shape or self._near)
        if gaps == "refuse" and not (whole := windows.context_mask.all(axis=1)).all():
            first = int(np.argmin(whole))
            missing = np.count_nonzero(~windows.context_mask[first]) * self.shape.bin_us / MICROSECONDS
            raise ValueError(
                f"the context of {np.count_nonzero(~whole)} of {whole.size} origins was not recorded throughout: "
                f"{missing:g} of {self.shape.context_bins * self.shape.bin_us / MICROSECONDS:g} s before "
                f"{origin_us[first] / MICROSECONDS:g} s are missing; move the origin, or set gaps='mask'"
            )
        return windows

    def _check(self, origin_us: np.ndarray) -> None:
        part, stop_s = self.inputs.part, self.reference.hull_s[1]
        after = part.hull_s[0] if len(part) else stop_s
        if (early := origin_us < to_us(after)).any():
            raise ValueError(
                f"{early.sum()} of {early.size} origins, from {origin_us.min() / MICROSECONDS:g} s, are before the end "
                f"of the reference window at {stop_s:g} s or in the gap after it; forecasts begin at {after:g} s"
            )
        # the end of an interval is an origin too: its context was recorded
        inside = part.contains(origin_us) | part.contains(origin_us - 1)
        if not inside.all():
            last = f"ends at {part.hull_s[1]:g} s" if len(part) else "has no time after the reference window"
            raise ValueError(
                f"{np.count_nonzero(~inside)} of {inside.size} origins, first "
                f"{origin_us[~inside][0] / MICROSECONDS:g} s, are not in valid time, which {last}; choose others"
            )

    def _forecast(self, log_rate: np.ndarray, windows: Windows, method: str) -> Forecast:
        return Forecast(log_rate, windows.origin_us, windows.counts, windows.target_mask, method, recording=self)

    def _mixed(
        self, origin_us: np.ndarray, settings: Adaptive, *, keep: bool = False
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Forecast by the mixture, which learns from all origins of the evaluation before the last one.

        Args:
            origin_us: Forecast origins in microseconds, [origin].
            settings: Settings of the mixture.
            keep: True keeps the forecasts of the experts.

        Returns:
            Log rates of the mixture, [origin, bin, unit], and of each expert by method; none if they are not kept.
        """
        grid = self._origins_us()
        every = np.union1d(grid[grid < origin_us.max()], origin_us)
        place, kept = np.searchsorted(every, origin_us), np.isin(every, origin_us) & keep
        outcomes = replace(self.shape, context_bins=1, history_edges_bins=(1,))
        windows = cut_windows(self.inputs.spikes, self.inputs.part, every, outcomes)
        blocks = self.experts.in_blocks(every, kept)
        mixed = mix_windows(
            blocks,
            start_us=every,
            counts=windows.counts,
            target_mask=windows.target_mask,
            bin_us=self.shape.bin_us,
            settings=settings,
            stride_bins=self.card.timeline.evaluation_stride_bins,
            learned_from=np.isin(every, grid),
        )
        place_of_kept = (np.cumsum(kept) - 1)[place]
        return mixed[place], {name: one.kept()[place_of_kept] for name, one in blocks.items()} if keep else {}

    def __repr__(self) -> str:
        start_s, stop_s = self.reference.hull_s
        part = "no valid time after it"
        if len(self.inputs.part):
            first_s, last_s = self.inputs.part.hull_s
            part = f"forecasts from {first_s:g} to {last_s:g} s"
        return f"Recording({len(self.unit_ids)} units, reference {start_s:g} to {stop_s:g} s, {part})"
