"""Sample paths of one held-out session: score and calibration of each decoding.

The scored units are evaluated on four targets: the counts of a ``unit`` in a bin, of all units together in a bin
(``population``), and both over the whole horizon (``unit_total``, ``population_total``). Every method is evaluated with
the same number of paths, and by its law if a target has one (such as sums of independent Poisson counts):

* ``reference_mean``: Poisson, the mean of the reference window in every bin.
* ``gamma_poisson``: negative binomial in a bin; its sums by paths on which the filter is conditioned on its own draws.
* the network's parallel forecast: independent bins and units.
* ``..._shared_gain``: paths of the parallel forecast times a gain that units share
  (:mod:`neurohorizon.forecasts.shared_gain`), fitted on the reference window. Expected counts are those of the parallel
  forecast.
* its other decodings (:mod:`neurohorizon.models.rollout`): by paths. Their forecast of a bin is the mean over paths of
  the counts expected on each.
* ``..._exchanged`` (control) of the shared gain and of each decoding: the same paths, exchanged at random between the
  paths of each unit, so that each unit keeps its distribution and the units are independent. In all other methods they
  are independent without it.

The counts of a window are also scored together, as one vector for each of ``VECTORS``, by the energy score. Only
windows that are wholly valid are in it, so its sum is in the row of the target ``population_total``.

No draw depends on the number of windows before or after it: windows are in blocks, whose size depends on the session
and the configuration, and each block's generators are seeded by the network's seed, the session, the method and the
block's first window. The randomised PIT of a target uses the same draws for every method. Paths are not stored.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from tqdm import tqdm

from neurohorizon.baselines.closed_form import gamma_poisson_law, gamma_poisson_paths, read_tuned
from neurohorizon.config import Rollout, Timeline
from neurohorizon.experiments.horizons.calibration import (
    ADAPTED,
    ADAPTED_WIDTH,
    EXCHANGED,
    GAIN,
    INTERVALS,
    PIT_BINS,
    POPULATION,
    POPULATION_TOTAL,
    TARGETS,
    UNIT,
    UNIT_TOTAL,
    VECTORS,
    CalibrationSums,
    Law,
    NegativeBinomial,
    Poisson,
    energy_scores,
    measure_law,
    measure_paths,
    sum_measures,
)
from neurohorizon.experiments.horizons.example_paths import EXAMPLE_LEVELS, PathsExample, write_paths_example
from neurohorizon.forecasts.adapted_interval import AdaptedInterval
from neurohorizon.forecasts.forecast import heldout_windows
from neurohorizon.forecasts.forecast_file import Forecast, write_forecast
from neurohorizon.forecasts.held_out import empty_forecast, filled_forecast
from neurohorizon.forecasts.sample_paths import PathDrawer, reference_gain, single_session
from neurohorizon.forecasts.scoring import OF_METHOD, fields, named, none_scored, write_sums
from neurohorizon.forecasts.shared_gain import SharedGain
from neurohorizon.forecasts.typical import median_count_window
from neurohorizon.inputs.sessions import SessionPaths
from neurohorizon.inputs.windows import Windows, WindowShape
from neurohorizon.methods import CONTROL, ZERO_SHOT
from neurohorizon.models.weights import load_forecaster
from neurohorizon.scores import Sums, scored_units, sum_scores

EXAMPLE_PATHS = 256
"""Paths of the one window of each session that is stored for a figure."""
_PATHS_SHOWN = 4

SCHEMA = pa.schema(
    [
        *OF_METHOD,
        *fields(pa.string(), "code", "target"),
        *fields(pa.int32(), "first_bin", "last_bin"),  # the last one is not included
        pa.field("bin_us", pa.int64()),
        pa.field("paths", pa.int64()),  # 0 where the law itself is scored
        *fields(pa.int64(), "units", "unscored_units", "windows", "cases", "spikes"),
        pa.field("crps", pa.float64()),
        *fields(pa.int64(), *(f"covered_{interval * 100:.0f}" for interval in INTERVALS)),
        *fields(pa.float64(), *(f"width_{interval * 100:.0f}" for interval in INTERVALS)),
        *fields(pa.int64(), *(f"pit_{index:02d}" for index in range(PIT_BINS))),
        *fields(pa.float64(), "model_nats", "reference_nats"),  # of the expected counts; NaN except for the target unit
        *fields(pa.float64(), ADAPTED, ADAPTED_WIDTH),  # NaN for the target unit
        *fields(pa.float64(), *(f"energy_{vector}" for vector in VECTORS)),  # NaN except for paths of population_total
        pa.field("half_nats", pa.float64()),  # by half of the paths, mean of both halves; NaN where a law forecasts
    ]
)


@dataclass(frozen=True)
class MethodForecasts:
    """Forecasts of a block of windows by one method.

    Attributes:
        method: Its name in tables.
        log_rate: Natural log of expected counts, float32, [window, horizon bin, unit].
        laws: Law of each target that has one, of the scored units, [window, part, member].
        paths: Sampled counts, [window, path, horizon bin, unit]; None where every target has a law.
        halves: As ``log_rate``, of either half of the paths; empty where the forecast is not a mean over paths.
        exchanged_from: Name of the method whose paths are exchanged within units, so that units have the same paths;
            "" if none. It was added for the same block before.
    """

    method: str
    log_rate: np.ndarray
    laws: Mapping[str, Law]
    paths: np.ndarray | None
    halves: tuple[np.ndarray, ...] = ()
    exchanged_from: str = ""

    def exchange(self, rng: np.random.Generator) -> "MethodForecasts":
        """Exchange the paths of each unit in each window at random: units keep their paths and become independent."""
        windows, n_paths, _, units = self.paths.shape
        order = rng.random((windows, n_paths, 1, units)).argsort(axis=1)
        paths = np.take_along_axis(self.paths, order, axis=1)
        return replace(self, method=f"{self.method}_{EXCHANGED}", paths=paths, exchanged_from=self.method)


def sample_session(
    *,
    weights: Path,
    baselines: Path,
    paths: SessionPaths,
    fold: str,
    method: str,
    seed: int,
    timeline: Timeline,
    rollout: Rollout,
    minimum_rate_hz: float,
    code: str,
    sums: Path,
    example: Path,
    forecasts: Sequence[Path] = (),
) -> None:
    """Draw the sample paths of a held-out session, score them, and write the sums.

    Args:
        weights: The network; its card lies next to it.
        method: Name of the network in tables; decodings are named after it.
        minimum_rate_hz: Mean rate in the reference window from which on a unit is scored.
        sums: Parquet table of calibration sums to write, whole or not at all, like the other files.
        example: HDF5 file of one window to write, for a figure.
        forecasts: Forecast file to write of each decoding of ``rollout``, in order; empty if not all windows are
            sampled, since methods are only compared on the same windows.

    Raises:
        ValueError: The session is one that the network was trained on, or its features are not the network's.
    """
    written = dict(zip(rollout.decodings, forecasts, strict=True)) if forecasts else {}
    forecaster, card = load_forecaster(weights)
    session, inputs, windows = heldout_windows(weights, card, paths, timeline)

    def begun(name: str) -> Forecast:
        names = {"method": name, "method_class": ZERO_SHOT, "fold": fold, "seed": seed, "code": code}
        return empty_forecast(session, timeline, **names)

    if inputs is None:
        for decoding, path in written.items():
            write_forecast(path, begun(f"{method}_{decoding}"))
        write_sums(sums, SCHEMA.empty_table(), begun(method), left_out=session.left_out)
        write_paths_example(example, None)
        return
    shape = WindowShape.of(timeline, card.model)
    sampler = Sampler(
        forecaster=forecaster,
        inputs=inputs,
        shape=shape,
        method=method,
        seed=seed,
        rollout=rollout,
        gamma_poisson=read_tuned(baselines)["gamma_poisson"],
        scored=scored_units(np.exp(inputs.reference_log_rate), minimum_rate_hz=minimum_rate_hz, bin_us=shape.bin_us),
        gain=reference_gain(forecaster, replace(inputs, part=session.splits.reference), shape, rollout.gain_windows),
    )
    unfit = _unfit(sampler.scored, windows, minimum_rate_hz)
    accumulator = CalibrationAccumulator(sampler)
    # a session without a scored unit is forecast too, as by every other method
    none_yet = np.zeros((0, shape.horizon_bins, sampler.scored.size), np.float32)
    log_rates = {f"{method}_{decoding}": [none_yet] for decoding in written}
    origin_us = windows.origin_us[:: rollout.every_windows]
    with tqdm(total=origin_us.size, desc=f"paths of {session.session_id}", unit="window") as bar:
        for block, outlooks in sampler.blocks(origin_us):
            for one in outlooks:
                if unfit is None:
                    accumulator.add(one, block)
                if one.method in log_rates:
                    log_rates[one.method].append(one.log_rate)
            bar.update(block.origin_us.size)
    for decoding, path in written.items():
        name = f"{method}_{decoding}"
        write_forecast(path, filled_forecast(begun(name), session, inputs, windows, np.concatenate(log_rates[name])))
    write_sums(sums, accumulator.table(begun(method)), begun(method), left_out=unfit)
    write_paths_example(example, sampler.example(windows, begun(method)) if unfit is None else None)


@dataclass(frozen=True)
class Sampler(PathDrawer):
    """Forecasts of blocks of windows of one session by every method.

    Attributes:
        method: Name of the network in tables.
        gamma_poisson: Settings of the gamma-Poisson filter.
        scored: Whether a unit is scored, [unit].
        gain: The gain that units share.
    """

    method: str
    gamma_poisson: Mapping[str, float]
    scored: np.ndarray
    gain: SharedGain

    def blocks(self, origin_us: np.ndarray) -> Iterator[tuple[Windows, Iterator[MethodForecasts]]]:
        """Yield the windows at some origins in blocks, each with the forecasts of every method."""
        for block in self.cut_blocks(origin_us):
            yield block, self.outlooks(block)

    def outlooks(self, block: Windows) -> Iterator[MethodForecasts]:
        """Yield the forecasts of a block of windows by every method, one in memory at a time."""
        yield self._reference(block)
        yield self._gamma_poisson(block)
        yield from self._network(block)

    def _reference(self, block: Windows) -> MethodForecasts:
        log_rate = np.broadcast_to(self.inputs.reference_log_rate.astype(np.float32), block.counts.shape)
        return MethodForecasts("reference_mean", log_rate, self._poisson_sums(log_rate), None)

    def _gamma_poisson(self, block: Windows) -> MethodForecasts:
        reference, settings = np.exp(self.inputs.reference_log_rate.astype(float)), self.gamma_poisson
        alpha, beta = gamma_poisson_law(block, reference, **settings)
        rng = np.random.default_rng(self.words("gamma_poisson", block))
        paths = gamma_poisson_paths(block, reference, **settings, paths=self.rollout.paths, rng=rng)
        law = NegativeBinomial((alpha / beta)[..., self.scored], alpha[..., self.scored])
        return MethodForecasts("gamma_poisson", np.log(alpha / beta).astype(np.float32), {UNIT: law}, paths)

    def _network(self, block: Windows) -> Iterator[MethodForecasts]:
        forecaster, x = self.on_device(block)
        with torch.inference_mode():
            parallel = forecaster(x)
        log_rate = parallel.log_rate[0].float().cpu().numpy()
        if parallel.log_shape is None:
            yield MethodForecasts(self.method, log_rate, self._poisson_sums(log_rate), None)
        else:
            shape = np.exp(parallel.log_shape[0].double().cpu().numpy())[..., self.scored]
            law = NegativeBinomial(np.exp(log_rate.astype(float))[..., self.scored], shape)
            yield MethodForecasts(
                self.method,
                log_rate,
                {UNIT: law},
                self.draw(forecaster, x, block, "parallel").counts[0].cpu().numpy(),
            )
        rng = np.random.default_rng(self.words(GAIN, block))
        joint = MethodForecasts(
            f"{self.method}_{GAIN}", log_rate, {}, self.gain.draw(log_rate, self.rollout.paths, rng)
        )
        yield joint
        yield joint.exchange(rng)
        for decoding in self.rollout.decodings:
            drawn = self.draw(forecaster, x, block, decoding)
            halves = tuple(single_session(drawn.log_mean(half)) for half in drawn.halves())
            counts = drawn.counts[0].cpu().numpy()
            name = f"{self.method}_{decoding}"
            rollout = MethodForecasts(name, single_session(drawn.log_mean()), {}, counts, halves)
            yield rollout
            yield rollout.exchange(np.random.default_rng(self.words(f"{name}_{EXCHANGED}", block)))

    def _poisson_sums(self, log_rate: np.ndarray) -> dict[str, Law]:
        """Laws of all targets, for independent Poisson counts: their sums are Poisson."""
        mean = np.exp(log_rate[..., self.scored].astype(float))
        return {target: Poisson(summed(mean, target)) for target in TARGETS}

    def example(self, windows: Windows, forecast: Forecast) -> PathsExample:
        """Draw many paths of the window with the median spike count, for a picture."""
        window = median_count_window(
            observed=windows.counts, target_mask=windows.target_mask, context_valid=windows.context_mask.all(axis=1)
        )
        many = replace(self, rollout=self.rollout.model_copy(update={"paths": EXAMPLE_PATHS}))
        block = self.cut(windows.origin_us[window : window + 1])

        def by_block(counts: np.ndarray) -> np.ndarray:
            """Population spikes in blocks of bins, without an incomplete block at the start, [..., block]."""
            population, length = counts[..., self.scored].sum(-1, dtype=np.float64), self.rollout.block_bins
            kept = population[..., population.shape[-1] % length :]
            return kept.reshape(*kept.shape[:-1], -1, length).sum(-1)

        methods, quantiles, drawn = [], [], []
        for one in many.outlooks(block):
            paths = one.paths
            if paths is None:
                rng = np.random.default_rng(self.words(one.method, block))
                mean = np.exp(one.log_rate.astype(float))[:, None]
                paths = rng.poisson(mean, (1, EXAMPLE_PATHS, *mean.shape[2:]))
            of_window = _with_running_total(by_block(paths[0]))
            methods.append(one.method)
            quantiles.append(np.quantile(of_window, EXAMPLE_LEVELS, axis=0))
            drawn.append(of_window[:_PATHS_SHOWN])
        return PathsExample(
            session=forecast.session,
            subject=forecast.subject,
            block_ms=forecast.bin_us / 1000 * self.rollout.block_bins,
            origin_s=int(block.origin_us[0]) / 1e6,
            methods=np.array(methods),
            units=int(self.scored.sum()),
            reference=float(
                np.exp(self.inputs.reference_log_rate[self.scored].astype(float)).sum() * self.rollout.block_bins
            ),
            context=by_block(block.context[0]),
            observed=_with_running_total(by_block(block.counts[0])),
            quantiles=np.stack(quantiles),
            paths=np.stack(drawn),
        )


class CalibrationAccumulator:
    """Sums of the calibration measures of each method."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._sums: dict[tuple[str, str, int], CalibrationSums] = {}
        self._scores: dict[str, Sums] = {}
        self._half_nats: dict[str, np.ndarray] = {}
        self._adapted: dict[tuple[str, str], AdaptedInterval] = {}
        self._adapted_sums: dict[tuple[str, str], np.ndarray] = {}
        self._energy: dict[tuple[str, str], float] = {}

    def add(self, one: MethodForecasts, block: Windows) -> None:
        """Add the measures of a method in a block of windows."""
        scored, n_paths = self._sampler.scored, self._sampler.rollout.paths
        whole = block.target_mask.all(axis=1)
        for target in TARGETS:
            counts, mask = summed(block.counts[..., scored], target), summed_mask(block.target_mask, target)
            # the PIT's draws are the same for every method, so that methods differ only by their forecasts
            words = self._sampler.words(target, block)
            if target in one.laws:
                law = one.laws[target]
                measured = measure_law(law, counts, np.random.default_rng(words))
                self._add((one.method, target, 0), sum_measures(measured, counts, mask))
                drawn = law.draw(n_paths, np.random.default_rng(self._sampler.words(f"{one.method} {target}", block)))
            else:
                drawn = np.moveaxis(summed(one.paths[..., scored], target), 1, -1)
            drawn = np.ascontiguousarray(drawn)
            if target in VECTORS:
                size = counts[0].size
                vectors = drawn.reshape(-1, size, n_paths)[whole], counts.reshape(-1, size)[whole]
                key = one.method, target
                self._energy[key] = self._energy.get(key, 0.0) + float(energy_scores(*vectors).sum())
            if one.exchanged_from and target in (UNIT, UNIT_TOTAL):
                self._copy_units(one, target)
                continue
            measured = measure_paths(drawn, counts, np.random.default_rng(words))
            self._add((one.method, target, n_paths), sum_measures(measured, counts, mask))
            if target != UNIT:
                self._adapt((one.method, target), drawn, counts, mask, block)
        if one.exchanged_from:
            for sums in (self._scores, self._half_nats):
                if one.exchanged_from in sums:
                    sums[one.method] = sums[one.exchanged_from]
            return
        scores = self._score(one.log_rate, block)
        self._scores[one.method] = self._scores[one.method] + scores if one.method in self._scores else scores
        if one.halves:
            by_half = [self._score(log_rate, block).model_nats.sum(axis=1) for log_rate in one.halves]
            self._half_nats[one.method] = self._half_nats.get(one.method, 0.0) + np.mean(by_half, axis=0)

    def _copy_units(self, one: MethodForecasts, target: str) -> None:
        """Copy the sums of a target of units from the method that has the same paths of each unit, in another order."""
        n_paths = self._sampler.rollout.paths
        self._sums[one.method, target, n_paths] = self._sums[one.exchanged_from, target, n_paths]
        if target != UNIT:
            self._adapted_sums[one.method, target] = self._adapted_sums[one.exchanged_from, target]

    def _adapt(
        self, key: tuple[str, str], drawn: np.ndarray, counts: np.ndarray, mask: np.ndarray, block: Windows
    ) -> None:
        """Add the windows of a block to the adapted 90 % interval of a method and target, in the order of time."""
        interval = self._adapted.setdefault(key, AdaptedInterval(INTERVALS[-1]))
        shape = self._sampler.shape
        sums = np.zeros((2, counts.shape[1]))
        for window, origin_us in enumerate(block.origin_us):
            low, high = interval.bounds(drawn[window], origin_us)
            inside, valid = (counts[window] >= low) & (counts[window] <= high), mask[window][:, None]
            sums += [(inside & valid).sum(1), ((high - low + 1) * valid).sum(1)]
            interval.expect(inside, valid, origin_us + shape.horizon_bins * shape.bin_us)
        self._adapted_sums[key] = self._adapted_sums.get(key, 0.0) + sums

    def _score(self, log_rate: np.ndarray, block: Windows) -> Sums:
        scored = self._sampler.scored
        return sum_scores(
            counts=block.counts[..., scored],
            log_rate=log_rate[..., scored],
            mask=block.target_mask,
            reference_log_rate=self._sampler.inputs.reference_log_rate[scored],
        )

    def _add(self, key: tuple[str, str, int], sums: CalibrationSums) -> None:
        self._sums[key] = self._sums[key] + sums if key in self._sums else sums

    def table(self, forecast: Forecast) -> pa.Table:
        """Return all sums, one row for each method, target and part of the horizon, of its law and of paths."""
        scored, rows = self._sampler.scored, []
        horizon_bins = self._sampler.shape.horizon_bins
        for (method, target, paths), sums in self._sums.items():
            members = int(scored.sum()) if target in (UNIT, UNIT_TOTAL) else 1
            of_network = method.startswith(self._sampler.method)
            of_method = {
                **named(forecast),
                "method": method,
                "class": CONTROL if method.endswith(f"_{EXCHANGED}") else ZERO_SHOT,
                "seed": self._sampler.seed if of_network else None,
                "target": target,
                "bin_us": self._sampler.shape.bin_us,
                "paths": paths,
                "units": int(scored.sum()),
                "unscored_units": int((~scored).sum()),
            }
            parts = len(sums.cases)
            length = horizon_bins // parts
            for part in range(parts):
                nats = self._scores[method] if target == UNIT else None
                half = self._half_nats.get(method) if target == UNIT else None
                whole = paths and target == POPULATION_TOTAL
                adapted = self._adapted_sums[method, target][:, part] if paths and target != UNIT else (np.nan, np.nan)
                rows.append(
                    {
                        **of_method,
                        "first_bin": part * length,
                        "last_bin": (part + 1) * length,
                        "windows": int(sums.cases[part]) // members,
                        "cases": int(sums.cases[part]),
                        "spikes": int(sums.spikes[part]),
                        "crps": float(sums.crps[part]),
                        **{
                            f"{name}_{interval * 100:.0f}": getattr(sums, name)[part, index].item()
                            for name in ("covered", "width")
                            for index, interval in enumerate(INTERVALS)
                        },
                        **{f"pit_{index:02d}": int(cases) for index, cases in enumerate(sums.pit[part])},
                        "model_nats": float(nats.model_nats[part].sum()) if nats else float("nan"),
                        "reference_nats": float(nats.reference_nats[part].sum()) if nats else float("nan"),
                        ADAPTED: float(adapted[0]),
                        ADAPTED_WIDTH: float(adapted[1]),
                        **{f"energy_{name}": self._energy[method, name] if whole else float("nan") for name in VECTORS},
                        "half_nats": float("nan") if half is None else float(half[part]),
                    }
                )
        return pa.Table.from_pylist(rows, schema=SCHEMA)


def _with_running_total(blocks: np.ndarray) -> np.ndarray:
    return np.stack([blocks, blocks.cumsum(-1)], axis=-1)


def summed(counts: np.ndarray, target: str) -> np.ndarray:
    """Sum counts to a target, [..., part, member], from [..., horizon bin, unit].

    Bins stay for targets of a bin, units for those of a unit; else there is one part, one member. A total over a
    horizon that is not wholly valid is masked by :func:`summed_mask`.
    """
    axes = {UNIT: (), UNIT_TOTAL: (-2,), POPULATION: (-1,), POPULATION_TOTAL: (-2, -1)}[target]
    if not axes:
        return counts
    return counts.sum(axis=axes, keepdims=True, dtype=np.int64 if counts.dtype.kind in "ui" else None)


def summed_mask(mask: np.ndarray, target: str) -> np.ndarray:
    """Whether each part of a target is valid time, [window, part], from [window, horizon bin]."""
    return mask.all(axis=1, keepdims=True) if target in (UNIT_TOTAL, POPULATION_TOTAL) else mask


def _unfit(scored: np.ndarray, windows: Windows, minimum_rate_hz: float) -> str | None:
    """Return why a session that was not left out cannot be scored."""
    if not windows.origin_us.size:
        return "no window fits into the test time"
    if not scored.any():
        return none_scored(scored, minimum_rate_hz)
    return None
