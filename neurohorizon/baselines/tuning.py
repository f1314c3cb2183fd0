"""Settings of the regressions, chosen on the training sessions of a fold, with the scores of all candidates.

Each choice imitates a held-out session. Regressions of one session are fitted on the first half of a training session's
training part and scored on the second half. The pooled regression is fitted on both halves and scored on the validation
part, like the network. The choice uses only a few sessions, windows and units, evenly spaced.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurohorizon.baselines.closed_form import Tried, best, write_tuned
from neurohorizon.baselines.glm import STATISTICS, PooledGlm, UnitRows, fit_pooled_glms, fit_unit_glms
from neurohorizon.baselines.linear import Reference, fit_linear, group_sums, reference_windows, regression_shape
from neurohorizon.config import Regressions, Timeline
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.sessions import SessionPaths, Use, feature_columns, load_inputs
from neurohorizon.inputs.windows import Windows, WindowShape, cut_windows, evaluation_origins, subsample
from neurohorizon.scores import scored_units
from neurohorizon.session import read_identity
from neurohorizon.units.reference import MARGINAL_GROUPS, read_reference

MOST_SESSIONS = 4
"""Number of training sessions that choose the settings of regressions of one session, evenly spaced over the list."""
MOST_WINDOWS = 100
"""Number of windows of each session that score a candidate, evenly spaced."""
MOST_UNITS = 8
"""Number of units of each session that choose the settings of regressions of single units, evenly spaced."""


@dataclass(frozen=True, eq=False)
class Imitation:
    """A training session that imitates a held-out one.

    Attributes:
        reference: Windows of its reference window.
        windows: Windows after it.
        scored: True for scored units, [unit].
    """

    reference: Reference
    windows: Windows
    scored: np.ndarray


def tune_regressions_on_files(
    paths: Sequence[SessionPaths],
    *,
    timeline: Timeline,
    regressions: Regressions,
    minimum_rate_hz: float,
    output: Path,
    pooled: Path,
) -> None:
    """Choose all settings of a fold, and write them and the pooled regression.

    Args:
        paths: Files of the training sessions; excluded sessions are skipped.
        minimum_rate_hz: Lowest mean rate in the reference window of a scored unit, as in the scores.
        output: JSON file: for each method its settings, their score, and every candidate with its score.
        pooled: JSON file of the pooled regression.
    """
    shape = regression_shape(timeline, regressions)
    used = [one for one in paths if not read_identity(one.session)["left_out"]]
    few = subsample(used, MOST_SESSIONS)
    sessions = [_imitation(one, shape, regressions.windows, minimum_rate_hz) for one in few]
    linear = _try_linear(sessions, regressions)
    tried = {
        "ridge_ar": [one for one in linear if "rank" not in one],
        "reduced_rank": [one for one in linear if "rank" in one],
    }
    tried["history_glm"] = _try_unit_glms(sessions, regressions, None)
    tried["coupled_glm"] = _try_unit_glms(sessions, regressions, best(tried["history_glm"])["precision"])
    regression, tried["ar_glm"] = _try_pooled(used, shape, regressions, minimum_rate_hz)
    regression.write(pooled)
    write_tuned(output, tried)


def unit_rows(inputs: SessionInputs, names: Sequence[str], windows: Windows) -> UnitRows:
    """Collect the inputs of the pooled regression from a session's windows.

    Args:
        names: Names of the features of the inputs, those of ``MARGINAL_GROUPS`` among them, [feature].
    """
    known = tuple(name for name in STATISTICS if name in names)
    return UnitRows(
        windows=windows,
        mean_counts=np.exp(inputs.reference_log_rate.astype(float)),
        statistics=inputs.features[:, [names.index(name) for name in known]].astype(float),
        names=known,
    )


def _imitation(paths: SessionPaths, shape: WindowShape, most: int, minimum_rate_hz: float) -> Imitation:
    inputs = load_inputs(paths, "early", groups=(), readout=None)
    window = read_reference(paths.features, "early").intervals
    reference = reference_windows(inputs, window, shape=shape, most=most)
    scored = scored_units(reference.mean_counts, minimum_rate_hz=minimum_rate_hz, bin_us=shape.bin_us)
    return Imitation(reference, _windows(inputs, shape, MOST_WINDOWS), scored)


def _windows(inputs: SessionInputs, shape: WindowShape, most: int | None = None) -> Windows:
    origins = evaluation_origins(inputs.part, shape, shape.horizon_bins)
    return cut_windows(inputs.spikes, inputs.part, subsample(origins, most) if most else origins, shape)


def _try_linear(sessions: Sequence[Imitation], regressions: Regressions) -> Tried:
    gains = Gains(regressions.horizon_edges_bins)
    for session in sessions:
        gains.begin(session.windows, session.reference.mean_counts, session.scored)
        for own_first, fit in fit_linear(session.reference, regressions).items():
            for penalty, rank, lines in fit.lines(session.windows, regressions.ridge, (None, *regressions.rank)):
                for floor in regressions.floor:
                    settings = {"own_first": own_first, "penalty": penalty, "floor": floor}
                    settings |= {} if rank is None else {"rank": rank}
                    gains.add(settings, fit.floored(lines, floor))
    return gains.tried()


def _try_unit_glms(sessions: Sequence[Imitation], regressions: Regressions, own_precision: float | None) -> Tried:
    gains = Gains(regressions.horizon_edges_bins)
    for session in sessions:
        units = subsample(np.flatnonzero(session.scored), MOST_UNITS)
        gains.begin(session.windows, session.reference.mean_counts, np.isin(np.arange(session.scored.size), units))
        for precision in regressions.precision:
            if own_precision is None:
                settings = {"precision": precision}
            else:
                settings = {"precision": own_precision, "mode_precision": precision}
            fit = fit_unit_glms(session.reference, regressions, units=units, **settings)
            gains.add(settings, fit.group_rates(session.windows))
    return gains.tried()


def _try_pooled(
    paths: Sequence[SessionPaths], shape: WindowShape, regressions: Regressions, minimum_rate_hz: float
) -> tuple[PooledGlm, Tried]:
    fits = list(fit_pooled_glms(_Rows(paths, ("early", "late"), shape), regressions, regressions.precision))
    gains = Gains(regressions.horizon_edges_bins)
    for row in _Rows(paths, ("validation",), shape, MOST_WINDOWS):
        scored = scored_units(row.mean_counts, minimum_rate_hz=minimum_rate_hz, bin_us=shape.bin_us)
        gains.begin(row.windows, row.mean_counts, scored)
        for precision, fit in zip(regressions.precision, fits, strict=True):
            gains.add({"precision": precision}, fit.group_rates(row))
    tried = gains.tried()
    return fits[regressions.precision.index(best(tried)["precision"])], tried


@dataclass(frozen=True)
class _Rows:
    """Windows of sessions, cut again in each iteration: those of a large cohort do not fit into memory."""

    paths: Sequence[SessionPaths]
    uses: tuple[Use, ...]
    shape: WindowShape
    most: int | None = None

    def __iter__(self) -> Iterator[UnitRows]:
        for use in self.uses:
            for one in self.paths:
                inputs = load_inputs(one, use, groups=MARGINAL_GROUPS, readout=None)
                names = feature_columns(one.features, MARGINAL_GROUPS)
                yield unit_rows(inputs, names, _windows(inputs, self.shape, self.most))


class Gains:
    """Sums of nats relative to the reference mean, for each candidate, over sessions.

    Rates are the same for all bins of a group, so sums over its bins are sufficient.

    Args:
        horizon_edges_bins: Ends of the groups of horizon bins.
    """

    def __init__(self, horizon_edges_bins: Sequence[int]) -> None:
        self._edges_bins = horizon_edges_bins
        self._nats: dict[tuple, float] = {}
        self._spikes = 0

    def begin(self, windows: Windows, mean_counts: np.ndarray, scored: np.ndarray) -> None:
        """Start the sums of the next session, with its scored units."""
        self._scored = scored
        counts, bins = group_sums(windows, self._edges_bins)
        self._counts, self._bins = counts[..., scored].astype(float), bins[..., None]
        self._reference = self._log_likelihood(mean_counts[scored])
        self._spikes += int(self._counts.sum())

    def add(self, settings: dict[str, float], rate: np.ndarray) -> None:
        """Add the gain of a candidate on the session from its expected counts per bin, [window, group, unit]."""
        key = tuple(settings.items())
        gained = self._log_likelihood(rate[..., self._scored]) - self._reference
        self._nats[key] = self._nats.get(key, 0.0) + gained

    def tried(self) -> Tried:
        """List every candidate with its pooled bits per spike."""
        spikes = max(self._spikes, 1) * np.log(2)
        return [{**dict(key), "bits_per_spike": nats / spikes} for key, nats in self._nats.items()]

    def _log_likelihood(self, rate: np.ndarray) -> float:
        return float((self._counts * np.log(rate) - self._bins * rate).sum())
