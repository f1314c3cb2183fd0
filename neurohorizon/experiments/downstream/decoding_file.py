"""Decoded behaviour: its one file format, and R2.

A decoder predicts a behaviour series at the end of each context. Every decoder writes this file; tables read
nothing else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import h5py
import numpy as np

from neurohorizon.config import Poyo
from neurohorizon.experiments.downstream.labels import MINIMUM_LABELS, LabelledSession
from neurohorizon.files import replacing

AXES = {"origin_us": "window", "observed": "window, channel", "predicted": "window, channel"}
PARTS = ("validation", "test")
POYO, LATENT, FORECAST, RELATIVE_FORECAST = "poyo", "latent_probe", "forecast_probe", "relative_forecast_probe"
FORECAST_MODE, POPULATION_MODE, COUNT = "forecast_mode_probe", "population_mode_probe", "count_ridge"
ASSOCIATION, EXCHANGED_ASSOCIATION = "association_ridge", "association_ridge_exchanged"
"""Names of the decoders in files and tables: POYO, and ridge regressions on different inputs."""


@dataclass(frozen=True, eq=False)
class Decoding:
    """Predictions and observed labels of one decoder on one session.

    Attributes:
        session, subject, lab, source: Identity of the session.
        fold: Fold of the decoder.
        method: Name of the decoder, without its seed.
        seed: Its seed.
        part: Held-out time that is decoded: ``validation`` of a session that the decoder was trained on, or ``test`` of
            one that no network was trained on.
        target: Behaviour series.
        unit: Unit of its values.
        labelled_s: Seconds of labels of this session that the decoder was fitted on.
        saw: Other data of this session, and of others, that the decoder used, in words.
        chosen: Setting that was chosen on the labelled seconds, in words; "" if none.
        code: Fingerprint of the code that made it, "" if unknown.
        origin_us: Ends of the contexts, int64 microseconds [window].
        observed: Labels there, float32 [window, channel].
        predicted: Predicted labels, float32 [window, channel].
        left_out: Reason why it cannot be scored; the arrays are then empty. "" otherwise.
    """

    session: str
    subject: str
    lab: str
    source: str
    fold: str
    method: str
    seed: int
    part: str
    target: str
    unit: str = ""
    labelled_s: float = 0.0
    saw: str = ""
    chosen: str = ""
    code: str = ""
    origin_us: np.ndarray = None
    observed: np.ndarray = None
    predicted: np.ndarray = None
    left_out: str = ""

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise ValueError(f"part is {self.part!r}, not one of {PARTS}")
        for name, empty in zip(AXES, (np.zeros(0, np.int64), *[np.zeros((0, 0), np.float32)] * 2), strict=True):
            if getattr(self, name) is None:
                object.__setattr__(self, name, empty)
        shape = self.observed.shape
        if self.predicted.shape != shape or len(self.origin_us) != shape[0]:
            raise ValueError(
                f"{self.session}: {len(self.origin_us)} windows, observed {shape}, predicted {self.predicted.shape}; "
                "they must be of equal size"
            )


def blank(
    session: LabelledSession, *, poyo: Poyo, fold: str, method: str, seed: int, part: str, code: str, saw: str
) -> Decoding:
    """Begin a decoding of a session, without its predictions."""
    return Decoding(
        session=session.session_id,
        subject=session.subject,
        lab=session.lab,
        source=session.source,
        fold=fold,
        method=method,
        seed=seed,
        part=part,
        target=poyo.target,
        unit=session.labels.unit if session.labels else "",
        saw=saw,
        code=code,
        left_out=session.left_out,
    )


def filled(
    begun: Decoding,
    session: LabelledSession,
    *,
    learned: np.ndarray,
    scored: np.ndarray,
    predicted: np.ndarray,
    span_us: int,
    chosen: str = "",
) -> Decoding:
    """Complete a decoding.

    Args:
        learned: Ends of the windows whose labels were used in the fit, int64 [window].
        scored: Ends of the decoded windows, int64 [window].
        predicted: Decoded values there, float32 [window, channel].
    """
    return replace(
        begun,
        labelled_s=len(learned) * span_us / 1e6,
        chosen=chosen,
        origin_us=scored,
        observed=session.labels.at(scored, span_us)[0],
        predicted=predicted,
    )


def unscored(session: LabelledSession, learned: np.ndarray, scored: np.ndarray) -> str:
    """Reason why a session cannot be decoded and scored, from its windows for both; "" where it can."""
    if session.left_out:
        return session.left_out
    if len(learned) < MINIMUM_LABELS:
        return f"{len(learned)} known labels of {session.labels.name} to learn from; at least {MINIMUM_LABELS} needed"
    if len(scored) < MINIMUM_LABELS:
        return f"{len(scored)} known labels of {session.labels.name} to score; at least {MINIMUM_LABELS} needed"
    return ""


def write_decodings(path: Path, decodings: Iterable[Decoding]) -> None:
    """Write decodings to one file, whole or not at all."""
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        for number, one in enumerate(decodings):
            group = file.create_group(str(number))
            for field in fields(one):
                value = getattr(one, field.name)
                if field.name not in AXES:
                    group.attrs[field.name] = value
                    continue
                dataset = group.create_dataset(field.name, data=value)
                dataset.attrs["axes"] = AXES[field.name]
                dataset.attrs["unit"] = "us" if field.name == "origin_us" else one.unit


def read_decodings(paths: Sequence[Path]) -> list[Decoding]:
    """Read decodings, in the order in which they were written."""
    found = []
    for path in paths:
        with h5py.File(path, "r") as file:
            for name in sorted(file, key=int):
                values = dict(file[name].attrs) | {axis: file[name][axis][:] for axis in AXES}
                values |= {"seed": int(values["seed"]), "labelled_s": float(values["labelled_s"])}
                found.append(Decoding(**values))
    return found


def r2(observed: np.ndarray, predicted: np.ndarray) -> float:
    """Coefficient of determination: one minus the squared error over that of the mean of the scored labels.

    Channels are pooled by their sums, so that each weighs by its variance (``variance_weighted`` of scikit-learn).

    NaN where there is nothing to score or the labels never change.
    """
    observed, predicted = np.asarray(observed, np.float64), np.asarray(predicted, np.float64)
    if not observed.size:
        return float("nan")
    total = ((observed - observed.mean(axis=0)) ** 2).sum()
    # rounding of equal labels is no variance
    if total <= 1e-12 * max((observed**2).sum(), 1e-12):
        return float("nan")
    return float(1 - ((observed - predicted) ** 2).sum() / total)
