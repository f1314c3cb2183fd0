"""Scores of probes of a session at the end of a context, for every representation of the same spikes.

Only the test part is decoded, of held-out and of training sessions alike: it shares no time with the reference window
from which the network encodes its units. Labels reach the probes only.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.config import Downstream, Timeline
from neurohorizon.experiments.downstream.contexts import normalised, read_contexts, span_counts, span_means
from neurohorizon.experiments.downstream.decoding_file import Decoding, r2, read_decodings
from neurohorizon.experiments.downstream.labels import decoding_shape
from neurohorizon.experiments.downstream.modes import (
    NO_MODES,
    forecast_modes,
    population_modes,
    relative_forecasts,
)
from neurohorizon.experiments.downstream.nested_probes import (
    OneClassError,
    Probed,
    auc_within,
    balanced_accuracy,
    probe,
    shifted_scores,
)
from neurohorizon.experiments.downstream.ridge_probes import Frozen, read_frozen
from neurohorizon.experiments.downstream.tables import (
    CLASS,
    FORECAST_MODES,
    HELDOUT,
    LATENTS,
    NORMALISED,
    POPULATION_MODES,
    POYO,
    POYO_LATENTS,
    RAW,
)
from neurohorizon.experiments.downstream.targets import Labelled, read_labels
from neurohorizon.files import replacing
from neurohorizon.inputs.sessions import SessionPaths
from neurohorizon.inputs.windows import cut_windows
from neurohorizon.session import read_identity, read_splits
from neurohorizon.timeline import Intervals, to_us

_SAW = {
    LATENTS: "spikes of its reference window; spikes of other sessions",
    FORECAST_MODES: "spikes of its reference window and of the last minute; spikes of other sessions",
    POPULATION_MODES: "spikes of its reference window",
    RAW: "",
    NORMALISED: "spikes of its reference window",
    POYO_LATENTS: "labels of the wheel in its reference window; spikes and labels of the wheel of other sessions",
    POYO: "labels of the wheel only in its reference window; spikes and labels of the wheel of other sessions",
}
_NAMES = ("fold", "role", "session", "subject", "lab", "source", "target", "method", "class", "seed")
_NUMBERS = ("score", "chance", "chance_upper", "auc", "windows", "positive", "runs", "units", "inputs")
_TEXTS = ("metric", "null", "penalties", "saw", "left_out", "code")
_BLANK = dict.fromkeys(_NAMES, "") | dict.fromkeys(_NUMBERS, float("nan")) | dict.fromkeys(_TEXTS, "")


def score_downstream(
    *,
    weights: Path,
    paths: SessionPaths,
    downstream: Downstream,
    timeline: Timeline,
    gap_s: float,
    role: str,
    fold: str,
    seed: int,
    code: str,
    poyo: Sequence[Path],
    output: Path,
) -> None:
    """Probe one session, and write one row of scores for each target and representation.

    Args:
        timeline: Bins, and the context from which behaviour is decoded, which is also the encoder's.
        gap_s: Windows that end less than this from a block of time are not in the fit for it.
        role: ``heldout``, or ``train`` for a session of an animal that was trained on.
        poyo: POYO's decodings and its latents of the session; empty if there are none.

    Raises:
        ValueError: The forecaster was trained on a session that is listed as held out, or spans reach beyond the
            context.
    """
    if downstream.span_edges_bins[-1] > timeline.context_bins:
        raise ValueError(
            f"downstream.span_edges_bins reach to {downstream.span_edges_bins[-1]} bins; decoders read "
            f"timeline.context_bins, {timeline.context_bins}"
        )
    identity = read_identity(paths.session)
    reason = identity.pop("left_out")
    begun = {"fold": fold, "role": role, **identity, "class": CLASS, "seed": seed, "code": code}
    methods = (LATENTS, FORECAST_MODES, POPULATION_MODES, RAW, NORMALISED, *([POYO_LATENTS] if poyo else []))
    if reason:
        rows = [
            {"target": one, "method": method, "left_out": reason} for one in downstream.targets for method in methods
        ]
    else:
        frozen = read_frozen(weights, paths)
        if role == HELDOUT and identity["session"] in frozen.card.sessions:
            raise ValueError(f"{weights} was trained on {identity['session']}: its latents would not be zero-shot")
        rows = _rows(frozen, paths.session, downstream, timeline, gap_s, methods, poyo)
    table = pd.DataFrame([_BLANK | begun | {"saw": _SAW[row["method"]]} | row for row in rows])
    with replacing(output) as path:
        table.to_parquet(path, index=False)


def _rows(
    frozen: Frozen,
    session: Path,
    downstream: Downstream,
    timeline: Timeline,
    gap_s: float,
    methods: Sequence[str],
    poyo: Sequence[Path],
) -> list[dict[str, object]]:
    part = read_splits(session).test
    labels = read_labels(
        session,
        targets=downstream.targets,
        part=part,
        shape=decoding_shape(timeline),
        stride_bins=timeline.evaluation_stride_bins,
        label_bins=downstream.label_bins,
        first_movement_s=downstream.first_movement_s,
    )
    decodings, contexts = poyo or (None, None)
    from_poyo = read_contexts(contexts) if poyo else {}
    rows, made = [], {}
    for one in labels:
        if one.left_out:
            rows += [{"target": one.target, "method": method, "left_out": one.left_out} for method in methods]
            continue
        # both targets of the wheel are read from the same contexts
        key = one.origin_us.tobytes()
        if key not in made:
            made[key] = representations(frozen, part, one.origin_us, downstream, timeline)
        for method in methods:
            values = _of_poyo(from_poyo, one, contexts) if method == POYO_LATENTS else made[key][method]
            row = {"target": one.target, "method": method, "units": int(frozen.encoded_units.sum())}
            if not isinstance(values, str) and not values.shape[1]:
                values = NO_MODES
            if isinstance(values, str):
                rows.append(row | {"left_out": values})
                continue
            rows.append(row | probe_row(values, one, downstream, gap_s))
        if poyo and one.target == "wheel_velocity":
            rows.append({"target": one.target, "method": POYO} | _decoded_row(decodings, one))
    return rows


def representations(
    frozen: Frozen, part: Intervals, origin_us: np.ndarray, downstream: Downstream, timeline: Timeline
) -> dict[str, np.ndarray]:
    """Represent the spikes of contexts in every way, [window, input]: in spans of time, or groups of horizon bins."""
    edges = downstream.span_edges_bins
    windows = cut_windows(frozen.inputs.spikes, part, origin_us, decoding_shape(timeline))
    counts = span_counts(windows.context[:, :, frozen.encoded_units], edges)
    log_rate, modes = frozen.log_rate, frozen.modes
    features = frozen.features(part, origin_us, frozen.horizon_groups)
    relative = relative_forecasts(features.log_rate, frozen.level(part, origin_us), log_rate)
    found = {
        LATENTS: span_means(features.latents, features.age_bins, edges),
        FORECAST_MODES: forecast_modes(relative, log_rate, modes),
        POPULATION_MODES: population_modes(counts / np.diff((0, *edges))[:, None], log_rate, modes),
        RAW: counts,
        NORMALISED: normalised(counts, log_rate, edges),
    }
    return {name: values.reshape(len(values), -1) for name, values in found.items()}


def probe_row(values: np.ndarray, one: Labelled, downstream: Downstream, gap_s: float) -> dict[str, object]:
    """Probe one representation for one target, and score it.

    ``chance`` is the mean score against labels that were shifted within the blocks of time, ``chance_upper`` the score
    that one in twenty shifts exceeds; for the wheel, chance is the mean of the scored labels, whose R2 is 0.
    """
    options = {"blocks": downstream.blocks, "penalties": downstream.penalties, "gap_us": int(to_us(gap_s))}
    row = {"windows": len(one.label), "inputs": values.shape[1]}
    try:
        found = probe(values, one.label, one.origin_us, classes=one.of_trials, **options)
    except OneClassError as error:
        return row | {"left_out": str(error)}
    row["penalties"] = " ".join(f"{penalty:g}" for penalty in found.penalties)
    return row | (_class_scores(one, found) if one.of_trials else _value_scores(one.label, found.predicted))


def _class_scores(one: Labelled, found: Probed) -> dict[str, object]:
    shifted = shifted_scores(one.label, found.predicted, found.block)
    return {
        "metric": "balanced accuracy",
        "null": "labels shifted within blocks of time",
        "score": balanced_accuracy(one.label, found.predicted),
        "chance": float(shifted.mean()),
        "chance_upper": float(np.quantile(shifted, 0.95)),
        "auc": auc_within(one.label, found.predicted, found.block),
        "positive": int(one.label.sum()),
        "runs": one.runs,
    }


def _value_scores(label: np.ndarray, predicted: np.ndarray) -> dict[str, object]:
    return {
        "metric": "R2",
        "null": "mean of the labels",
        "score": r2(label[:, None], predicted[:, None]),
        "chance": 0.0,
        "chance_upper": 0.0,
    }


def _of_poyo(
    contexts: Mapping[str, tuple[np.ndarray, np.ndarray]] | str, one: Labelled, path: Path
) -> np.ndarray | str:
    """Latents of POYO at the contexts of a target, [window, input]; or why there are none."""
    if isinstance(contexts, str):
        return contexts
    origin_us, values = contexts[one.target]
    if not np.array_equal(origin_us, one.origin_us):
        raise ValueError(f"{path} has other contexts for {one.target} than those that are decoded; make it again")
    return values


def _decoded_row(path: Path, one: Labelled) -> dict[str, object]:
    """Score of POYO's own decoding of the wheel, at the same windows."""
    found: list[Decoding] = [found for found in read_decodings([path]) if found.part == "test"]
    if not found or found[0].left_out:
        return {"left_out": found[0].left_out if found else "POYO decoded nothing of its test part"}
    decoded = found[0]
    if not np.array_equal(decoded.origin_us, one.origin_us):
        return {"left_out": "POYO decodes other windows"}
    return {"windows": len(one.label)} | _value_scores(one.label, decoded.predicted[:, 0].astype(np.float64))
