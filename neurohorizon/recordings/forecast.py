"""A forecast with named axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from neurohorizon.forecasts.forecast_file import Forecast as ForecastRecord
from neurohorizon.forecasts.forecast_file import write_forecast
from neurohorizon.methods import ZERO_SHOT
from neurohorizon.recordings.export import export_nwb, export_parquet, export_pynapple, export_zarr
from neurohorizon.recordings.score import Score
from neurohorizon.scores import sum_scores
from neurohorizon.timeline import MICROSECONDS, to_s

if TYPE_CHECKING:
    from pynapple import TsdFrame, TsdTensor
    from pynwb import NWBFile
    from xarray import Dataset

    from neurohorizon.recordings.recording import Recording

AXES = ("origin", "bin", "unit")


@dataclass(frozen=True, eq=False)
class Forecast:
    """Expected counts of all units of a recording over the horizon after some origins.

    Attributes:
        log_rate: Natural log of expected counts per bin, float32, [origin, bin, unit].
        origin_us: Forecast origins in microseconds, int64, [origin]; no spike from an origin on is used.
        counts: Observed counts, 0 where the bin is not valid, [origin, bin, unit].
        valid: True for bins of valid time, whose counts were observed, [origin, bin].
        method: Name of the method, as in tables of the workflow.
        recording: The recording.

    >>> forecast = recording.forecast(at=[50.0, 60.0])
    >>> forecast
    Forecast(2 origins, 6 bins of 20 ms, 5 units)
    >>> forecast.rate_hz.shape
    (2, 6, 5)
    >>> forecast.ahead_s[:3].tolist()
    [0.0, 0.02, 0.04]
    """

    log_rate: np.ndarray
    origin_us: np.ndarray
    counts: np.ndarray
    valid: np.ndarray
    method: str
    recording: "Recording"

    @property
    def origin_s(self) -> np.ndarray:
        """Forecast origins in seconds, [origin]."""
        return to_s(self.origin_us)

    @property
    def unit_ids(self) -> np.ndarray:
        """Ids of the units as given, [unit]."""
        return self.recording.unit_ids

    @property
    def bin_s(self) -> float:
        """Width of a bin in seconds."""
        return self.recording.shape.bin_us / MICROSECONDS

    @property
    def expected_counts(self) -> np.ndarray:
        """Expected counts per bin, [origin, bin, unit]."""
        return np.exp(self.log_rate)

    @property
    def rate_hz(self) -> np.ndarray:
        """Expected rate in spikes per second, [origin, bin, unit]."""
        return np.exp(self.log_rate) / self.bin_s

    @property
    def ahead_s(self) -> np.ndarray:
        """Start of each bin after the origin, in seconds, [bin]."""
        return np.arange(self.log_rate.shape[1]) * self.bin_s

    def sample(self, paths: int = 32, *, seed: int = 0) -> np.ndarray:
        """Draw joint paths of counts: Poisson counts times a gain that units share over the horizon.

        The gain is fitted in closed form on forecasts of the reference window, at the first call; see
        :mod:`neurohorizon.forecasts.shared_gain`. The mean of the paths is the forecast.

        Args:
            paths: Number of paths of each origin.
            seed: Seed of the draws.

        Returns:
            Counts, int32, [origin, path, bin, unit].

        >>> forecast.sample(8).shape
        (2, 8, 6, 5)
        """
        if paths < 1:
            raise ValueError(f"paths is {paths}; expected 1 or more")
        return self.recording.shared_gain.draw(self.log_rate, paths, np.random.default_rng(seed))

    def quantiles(
        self,
        levels: ArrayLike = (0.05, 0.5, 0.95),
        *,
        sum_over: Sequence[str] = (),
        paths: int = 200,
        seed: int = 0,
    ) -> np.ndarray:
        """Return quantiles of the counts, or of their sums, over joint paths.

        Args:
            levels: Probabilities, each above 0 and below 1, [level].
            sum_over: Axes over which the counts of each path are summed first: ``bin``, ``unit`` or both. Quantiles of
                sums need joint paths, since the units of a population vary together.
            paths: Number of paths of each origin.
            seed: Seed of the draws.

        Returns:
            Counts, [level, origin, bin, unit] without the axes that are summed.

        Raises:
            ValueError: A level or an axis does not exist.

        >>> forecast.quantiles([0.1, 0.9], sum_over=["unit"]).shape
        (2, 2, 6)
        """
        level = np.atleast_1d(np.asarray(levels, np.float64))
        if not ((level > 0) & (level < 1)).all():
            raise ValueError(f"levels are {level.tolist()}; expected probabilities above 0 and below 1")
        axes = [sum_over] if isinstance(sum_over, str) else list(sum_over)
        if wrong := [one for one in axes if one not in AXES[1:]]:
            raise ValueError(f"sum_over names {wrong}; expected bin, unit or both")
        drawn = self.sample(paths, seed=seed).sum(axis=tuple(1 + AXES.index(one) for one in axes))
        return np.quantile(drawn, level, axis=1, method="inverted_cdf")

    def score(self, *, minimum_rate_hz: float = 0.1) -> Score:
        """Score the forecast on the observed counts.

        Args:
            minimum_rate_hz: Mean rate in the reference window from which on a unit is scored.

        Raises:
            ValueError: No bin of the horizon is valid, as after the end of a recording.
        """
        if not self.valid.any():
            raise ValueError("no bin of these forecasts was recorded, so there are no counts to score them on")
        return Score(
            sums=sum_scores(
                counts=self.counts,
                log_rate=self.log_rate,
                mask=self.valid,
                reference_log_rate=self.recording.inputs.reference_log_rate,
            ),
            unit_ids=self.unit_ids,
            bin_s=self.bin_s,
            scored=self.recording.reference_rate_hz >= minimum_rate_hz,
        )

    def to_xarray(self) -> "Dataset":
        """Return rates, expected and observed counts as an xarray ``Dataset`` with dimensions origin, bin and unit.

        Observed counts are NaN where the bin was not recorded. The coordinate ``ahead_s`` is the start of each bin
        after the origin.

        Raises:
            ModuleNotFoundError: xarray is not installed.
        """
        try:
            from xarray import Dataset
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                'to_xarray needs xarray: pip install "neurohorizon[xarray]"', name="xarray"
            ) from error
        observed = np.where(self.valid[..., None], self.counts, np.nan).astype(np.float32)
        return Dataset(
            {
                "rate_hz": (AXES, self.rate_hz, {"units": "Hz"}),
                "expected_counts": (AXES, self.expected_counts, {"units": "spikes per bin"}),
                "observed_counts": (AXES, observed, {"units": "spikes per bin"}),
            },
            coords={
                "origin": ("origin", self.origin_s, {"units": "s"}),
                "unit": ("unit", self.unit_ids),
                "ahead_s": ("bin", self.ahead_s, {"units": "s"}),
            },
            attrs={"recording": self.recording.session.session_id, "method": self.method, "bin_s": self.bin_s},
        )

    def to_nwb(
        self,
        target: "NWBFile | str | Path",
        *,
        name: str = "forecast",
        recording: str | Path | None = None,
        session_start: datetime | None = None,
    ) -> "NWBFile":
        """Add the forecast to an NWB file, in its processing module ``neurohorizon``.

        The module receives two ``TimeSeries`` whose timestamps are the origins, sorted. ``forecast`` has rates in
        spikes/s, [origin, bin, unit], and in its comments method, weights and their SHA-256.
        ``forecast_observed_counts`` is NaN where the bin was not recorded. Two tables list the axes,
        ``forecast_units`` and ``forecast_bins``.

        Args:
            target: A pynwb ``NWBFile``, which receives the module; or the path of a new file.
            name: Name of the forecast in the module; several forecasts need several names.
            recording: NWB file of the recording, from which a new file takes the start of the session and the subject.
            session_start: Start of the session, for a new file without ``recording``.

        Returns:
            The NWB file in memory.

        Raises:
            FileExistsError: There is a file at the path.
            ModuleNotFoundError: pynwb is not installed.
            ValueError: The name is taken, or a new file has no start of its session.
        """
        return export_nwb(self, target, name=name, recording=recording, session_start=session_start)

    def to_parquet(self, path: str | Path) -> None:
        """Write a table of one row for each origin, bin and unit, in this order.

        Columns: ``origin_s``, ``ahead_s``, ``unit``, ``rate_hz`` (float32), ``count`` (null where the bin was not
        recorded) and ``valid``. The metadata of the schema has method, weights and their SHA-256, as JSON under the key
        ``neurohorizon``.
        """
        export_parquet(self, path)

    def to_zarr(self, path: str | Path) -> None:
        """Write the ``Dataset`` of :meth:`to_xarray` as a Zarr group, a new folder.

        Raises:
            FileExistsError: There is something at the path.
            ModuleNotFoundError: zarr or xarray is not installed.
        """
        export_zarr(self, path)

    def to_pynapple(self, ahead_s: float | None = None) -> "TsdTensor | TsdFrame":
        """Return rates in spikes per second as an object of pynapple, sorted by origin.

        Args:
            ahead_s: None: a ``TsdTensor``, [origin, bin, unit], at the times of the origins. A time after the origin: a
                ``TsdFrame`` with one column for each unit, at the start of the bin that holds this time.

        Raises:
            ModuleNotFoundError: pynapple is not installed.
            ValueError: The time lies outside of the horizon.
        """
        return export_pynapple(self, ahead_s)

    def save(self, path: str | Path) -> None:
        """Write a forecast file of the workflow (HDF5); see :mod:`neurohorizon.forecasts.forecast_file`."""
        units = self.unit_ids.astype(str)
        record = ForecastRecord(
            session=self.recording.session.session_id,
            subject="",
            lab="",
            source="",
            fold="",
            method=self.method,
            method_class=ZERO_SHOT,
            bin_us=self.recording.shape.bin_us,
            unit_id=units,
            region=np.full(units.shape, ""),
            start_us=self.origin_us,
            target_mask=self.valid,
            counts=self.counts.astype(np.uint16),
            log_rate=self.log_rate,
            reference_log_rate=self.recording.inputs.reference_log_rate,
        )
        write_forecast(path, record)

    def __repr__(self) -> str:
        origins, bins, units = self.log_rate.shape
        return f"Forecast({origins} origins, {bins} bins of {1000 * self.bin_s:g} ms, {units} units)"
