"""Score a trained network on all held-out sessions of a fold: one point of experiments 2 and 6.

Only sums of forecasts are kept. The sums of a session are written when they are computed, so that a job
that was killed continues with the next session.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from neurohorizon.config import Features, LearnedEmbedding, Rollout, Splits, Timeline
from neurohorizon.files import replacing
from neurohorizon.forecasts.forecast import empty_forecast, filled_forecast, forecast_windows, heldout_windows
from neurohorizon.forecasts.forecast_file import Forecast
from neurohorizon.forecasts.sample_paths import PathDrawer
from neurohorizon.forecasts.scoring import SCHEMA, score_forecast
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.sessions import SessionPaths
from neurohorizon.inputs.windows import Windows, WindowShape, cut_windows
from neurohorizon.methods import AUTOREGRESSIVE, CONTROL, FITTED, SHUFFLED_IDENTITY, UPPER_BOUND, ZERO_SHOT
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.identity import with_control
from neurohorizon.models.weights import Card, load_forecaster
from neurohorizon.models.within_session import fit_within_session
from neurohorizon.session import Session


@dataclass(frozen=True)
class Point:
    """A trained network that is scored, and its name.

    Attributes:
        weights: The network; its card lies next to it.
        method: Its name in tables.
        fold: Fold whose held-out sessions are forecast.
        seed: Seed of the network.
        uses: Further ways in which its weights are scored; see ``variants.Variant``.
        code: Fingerprint of the code.
    """

    weights: Path
    method: str
    fold: str
    seed: int
    uses: tuple[str, ...]
    code: str


@dataclass(frozen=True)
class PointSettings:
    """Sections of the configuration that decide how a point is scored."""

    timeline: Timeline
    splits: Splits
    features: Features
    rollout: Rollout | None
    learned_embedding: LearnedEmbedding | None
    minimum_rate_hz: float


def score_point(
    *,
    weights: Path,
    method: str,
    fold: str,
    seed: int,
    uses: Sequence[str],
    paths: Sequence[SessionPaths],
    timeline: Timeline,
    splits: Splits,
    features: Features,
    rollout: Rollout | None,
    learned_embedding: LearnedEmbedding | None,
    minimum_rate_hz: float,
    threads: int,
    code: str,
    parts: Path,
    output: Path,
) -> None:
    """Forecast and score all held-out sessions, and write the table of sums (``scoring.SCHEMA``).

    ``point.json`` next to it records the training data of the network. Sessions without a score are listed, with the
    reason, in the table's metadata under ``left_out``.

    Args:
        weights: The network; its card lies next to it.
        uses: Further ways in which the weights are scored; see ``variants.Variant``.
        paths: Files of the held-out sessions.
        rollout: The section ``rollout``, for the use ``autoregressive``.
        learned_embedding: The section ``baselines.learned_embedding``, for the use of that name.
        minimum_rate_hz: Lowest mean rate in the reference window of a scored unit.
        parts: Folder for the sums of single sessions; removed at the end.
        output: Parquet file to write, whole or not at all.

    Raises:
        ValueError: A session is one that the network was trained on, its features are not the network's, or a
            use does not exist.
    """
    torch.set_num_threads(threads)
    point = Point(weights, method, fold, seed, tuple(uses), code)
    settings = PointSettings(timeline, splits, features, rollout, learned_embedding, minimum_rate_hz)
    forecaster, card = load_forecaster(weights)
    begun = parts / _name(point, settings)
    tables, left_out = [], {}
    for files in tqdm(paths, desc=f"{method}, seed {seed}", unit="session"):
        part = begun / f"{files.session.stem}.parquet"
        if not part.exists():
            table, reason = _score_session(forecaster, card, point, files, settings)
            if reason is not None:
                table = table.replace_schema_metadata({"left_out": reason})
            with replacing(part) as temporary:
                pq.write_table(table, temporary, compression="zstd")
        table = pq.read_table(part)
        reason = (table.schema.metadata or {}).get(b"left_out")
        if reason is not None:
            left_out[files.session.stem] = reason.decode()
        tables.append(table.replace_schema_metadata(None))
    table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    with replacing(output.with_name("point.json")) as temporary:
        temporary.write_text(json.dumps(_description(point, forecaster, card), indent=1) + "\n")
    with replacing(output) as temporary:
        pq.write_table(table.replace_schema_metadata({"left_out": json.dumps(left_out)}), temporary, compression="zstd")
    shutil.rmtree(begun, ignore_errors=True)


def _name(point: Point, settings: PointSettings) -> str:
    """Name the folder of the parts; it differs for other weights, code or settings."""
    digest = hashlib.sha256(point.weights.read_bytes())
    digest.update(repr((replace(point, weights=Path()), settings)).encode())
    return digest.hexdigest()[:12]


def _description(point: Point, forecaster: Forecaster, card: Card) -> dict:
    return {
        "point": point.method,
        "fold": point.fold,
        "seed": point.seed,
        "parameters": sum(one.numel() for one in forecaster.parameters()),
        "steps": card.scores["steps"],
        "validation_bits_per_spike": card.scores["validation_bits_per_spike"],
        **card.trained_on,
        "sessions": sorted(card.sessions),
    }


def _score_session(
    forecaster: Forecaster, card: Card, point: Point, paths: SessionPaths, settings: PointSettings
) -> tuple[pa.Table, str | None]:
    session, inputs, windows = heldout_windows(point.weights, card, paths, settings.timeline)
    tables, reason = [], None
    for use in ("", *point.uses):
        forecast = _begun(session, use, point, settings)
        if inputs is not None:
            forecasts = SessionForecasts(forecaster, card, session, inputs, windows, point.seed, settings)
            forecast = forecasts.by(use, forecast)
        table, reason = score_forecast(forecast, minimum_rate_hz=settings.minimum_rate_hz)
        tables.append(table)
    return pa.concat_tables(tables), reason


def _begun(session: Session, use: str, point: Point, settings: PointSettings) -> Forecast:
    method = f"{point.method}_{use}" if use == AUTOREGRESSIVE else use or point.method
    return empty_forecast(
        session,
        fold=point.fold,
        method=method,
        method_class={UPPER_BOUND: FITTED, SHUFFLED_IDENTITY: CONTROL}.get(use, ZERO_SHOT),
        timeline=settings.timeline,
        seed=point.seed,
        code=point.code,
    )


@dataclass(frozen=True)
class SessionForecasts:
    """Forecasts of one held-out session by a network, in several ways."""

    forecaster: Forecaster
    card: Card
    session: Session
    inputs: SessionInputs
    windows: Windows
    seed: int
    settings: PointSettings

    def by(self, use: str, empty: Forecast) -> Forecast:
        """Forecast in parallel (""), or as one of the uses.

        Raises:
            ValueError: The use does not exist.
        """
        ways = {
            "": self._parallel,
            AUTOREGRESSIVE: self._autoregressive,
            SHUFFLED_IDENTITY: self._shuffled,
            UPPER_BOUND: self._learned,
        }
        if use not in ways:
            raise ValueError(f"a network is not scored as {use!r}; expected one of {', '.join(filter(None, ways))}")
        windows, log_rate = ways[use]()
        return filled_forecast(empty, self.session, self.inputs, windows, log_rate)

    @property
    def _shape(self) -> WindowShape:
        return WindowShape.of(self.settings.timeline, self.card.model)

    def _parallel(self, forecaster: Forecaster | None = None) -> tuple[Windows, np.ndarray]:
        forecaster = forecaster or self.forecaster
        return self.windows, forecast_windows(forecaster, self.inputs, self.windows.origin_us, self._shape)

    def _shuffled(self) -> tuple[Windows, np.ndarray]:
        return self._parallel(with_control(self.forecaster, self.inputs, SHUFFLED_IDENTITY, seed=self.seed))

    def _learned(self) -> tuple[Windows, np.ndarray]:
        fit = fit_within_session(
            forecaster=self.forecaster,
            card=self.card,
            session=self.session,
            timeline=self.settings.timeline,
            splits=self.settings.splits,
            features=self.settings.features,
            training=self.card.training,
            settings=self.settings.learned_embedding,
            seed=self.seed,
        )
        return self._parallel(fit.forecaster)

    def _autoregressive(self) -> tuple[Windows, np.ndarray]:
        rollout = self.settings.rollout
        origin_us = self.windows.origin_us[:: rollout.every_windows]
        windows = cut_windows(self.inputs.spikes, self.inputs.part, origin_us, WindowShape.of(self.settings.timeline))
        drawer = PathDrawer(self.forecaster, self.inputs, self._shape, self.seed, rollout)
        return windows, drawer.forecast(origin_us, AUTOREGRESSIVE)
