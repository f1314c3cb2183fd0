"""Score a trained network on all held-out sessions of a fold: one point of experiments 2 and 6.

Only sums of forecasts are kept. The sums of a session are written when they are computed, so that a job
that was killed continues with the next session.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from neurohorizon.config import Features, LearnedEmbedding, Rollout, Splits, Timeline
from neurohorizon.files import damage, replacing
from neurohorizon.forecasts.forecast import forecast_windows, heldout_windows
from neurohorizon.forecasts.held_out import empty_forecast, filled_forecast
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
        weights: The network; its card is next to it.
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
    forecaster, card = load_forecaster(weights)
    network = PointForecasts(forecaster, card, seed, timeline, splits, features, rollout, learned_embedding)
    settings = (method, fold, seed, uses, timeline, splits, features, rollout, learned_embedding, minimum_rate_hz, code)
    # parts of other weights, code or settings have another folder
    begun = parts / hashlib.sha256(weights.read_bytes() + repr(settings).encode()).hexdigest()[:12]
    tables, left_out = [], {}
    for files in tqdm(paths, desc=f"{method}, seed {seed}", unit="session"):
        part = begun / f"{files.session.stem}.parquet"
        if not part.exists() or damage(part):
            session, inputs, windows = heldout_windows(weights, card, files, timeline)
            rows, reason = [], None
            for use in ("", *uses):
                name = f"{method}_{use}" if use == AUTOREGRESSIVE else use or method
                kind = {UPPER_BOUND: FITTED, SHUFFLED_IDENTITY: CONTROL}.get(use, ZERO_SHOT)
                names = {"method": name, "method_class": kind, "fold": fold, "seed": seed, "code": code}
                forecast = empty_forecast(session, timeline, **names)
                if inputs is not None:
                    used, log_rate = network.by(use, session, inputs, windows)
                    forecast = filled_forecast(forecast, session, inputs, used, log_rate)
                table, reason = score_forecast(forecast, minimum_rate_hz=minimum_rate_hz)
                rows.append(table)
            table = pa.concat_tables(rows)
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
    description = {
        "point": method,
        "fold": fold,
        "seed": seed,
        "parameters": sum(one.numel() for one in forecaster.parameters()),
        "steps": card.scores["steps"],
        "validation_bits_per_spike": card.scores["validation_bits_per_spike"],
        **card.trained_on,
        "sessions": sorted(card.sessions),
    }
    with replacing(output.with_name("point.json")) as temporary:
        temporary.write_text(json.dumps(description, indent=1) + "\n")
    with replacing(output) as temporary:
        pq.write_table(table.replace_schema_metadata({"left_out": json.dumps(left_out)}), temporary, compression="zstd")
    shutil.rmtree(begun, ignore_errors=True)


@dataclass(frozen=True)
class PointForecasts:
    """Forecasts of held-out sessions by one network, in several ways."""

    forecaster: Forecaster
    card: Card
    seed: int
    timeline: Timeline
    splits: Splits
    features: Features
    rollout: Rollout | None
    learned_embedding: LearnedEmbedding | None

    def by(self, use: str, session: Session, inputs: SessionInputs, windows: Windows) -> tuple[Windows, np.ndarray]:
        """Forecast windows of a session in parallel (""), or as one of the uses, which may choose some windows.

        Raises:
            ValueError: The use does not exist.
        """
        shape, forecaster = WindowShape.of(self.timeline, self.card.model), self.forecaster
        if use == AUTOREGRESSIVE:
            origin_us = windows.origin_us[:: self.rollout.every_windows]
            drawer = PathDrawer(forecaster, inputs, shape, self.seed, self.rollout)
            used = cut_windows(inputs.spikes, inputs.part, origin_us, WindowShape.of(self.timeline))
            return used, drawer.forecast(origin_us, AUTOREGRESSIVE)
        if use == SHUFFLED_IDENTITY:
            forecaster = with_control(forecaster, inputs, SHUFFLED_IDENTITY, seed=self.seed)
        elif use == UPPER_BOUND:
            fit = fit_within_session(
                forecaster=forecaster,
                card=self.card,
                session=session,
                timeline=self.timeline,
                splits=self.splits,
                features=self.features,
                training=self.card.training,
                settings=self.learned_embedding,
                seed=self.seed,
            )
            forecaster = fit.forecaster
        elif use:
            uses = ", ".join((AUTOREGRESSIVE, SHUFFLED_IDENTITY, UPPER_BOUND))
            raise ValueError(f"a network is not scored as {use!r}; expected one of {uses}")
        return windows, forecast_windows(forecaster, inputs, windows.origin_us, shape)
