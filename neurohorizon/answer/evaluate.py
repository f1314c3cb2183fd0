"""Compute the answer for one recording.

All scores are those of the time after the reference window, nothing is fitted on it, and no forecast uses a spike from
its origin on.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from neurohorizon.answer.answer import (
    Answer,
    BlockScore,
    Estimate,
    HorizonScore,
    MethodScore,
    OutsideFeature,
    OutsideRange,
    Recorded,
    RegionScore,
    UnitScore,
    Used,
)
from neurohorizon.answer.blocks import BlockSums, Bootstrap, cut_blocks, number
from neurohorizon.answer.calibration import calibrate
from neurohorizon.answer.reference_length import some_origins, try_lengths, try_numbers_of_units
from neurohorizon.answer.rivals import compared, kind_of, label_of
from neurohorizon.answer.typical import typical_window
from neurohorizon.answer.verdict import Findings, Judgement, carrier_of, judge
from neurohorizon.methods import ADAPTIVE
from neurohorizon.recordings.forecast import Forecast
from neurohorizon.recordings.recording import Recording
from neurohorizon.scores import bits_per_spike
from neurohorizon.session import package_version
from neurohorizon.timeline import MICROSECONDS

HORIZON_EDGES_MS = (20.0, 100.0, 200.0, 500.0, 1000.0)
UNLIKE = 0.1
"""Share of the features outside of the training range from which on a unit is unlike those of the training data."""
_VALUES = 4e7  # forecast counts of one method, which bound the memory
_WORST_FEATURES = 5

Progress = Callable[[str, float], None]
"""Function that receives the current step and the finished share."""


def answer_for(
    recording: Recording,
    *,
    every_s: float | None = None,
    minimum_rate_hz: float = 0.1,
    seed: int = 0,
    progress: Progress | None = None,
    chosen: str = "",
    keep: Callable[[Forecast], None] | None = None,
) -> Answer:
    """Return the answer to the question whether the forecast works on a recording.

    Args:
        recording: The recording, from :meth:`neurohorizon.Network.fit_reference`.
        every_s: Seconds between two forecast origins, whole bins; None: one horizon, or more for a recording of very
            many units.
        minimum_rate_hz: Mean rate in the reference window from which on a unit is scored.
        seed: Seed of the bootstrap, of random units and of sample paths.
        progress: Receives the current step and the finished share, from 0 to 1.
        chosen: Why this network was chosen, as a sentence for the page.
        keep: Receives the adaptive forecast of all windows, such as to save it; not called without a window to score.

    Raises:
        ValueError: The distance is no whole number of bins.
    """
    tell = progress or _ignore
    every_s = _every_s(recording) if every_s is None else every_s
    at = recording.origins(every_s)
    scored = recording.reference_rate_hz >= minimum_rate_hz
    if not at.size or not scored.any():
        return _empty(recording, scored, every_s, minimum_rate_hz, seed, chosen)

    tell("forecasts", 0.0)
    forecasts = compared(recording, at)
    if keep is not None:
        keep(forecasts[ADAPTIVE])
    tell("scores", 0.4)
    block, block_s = cut_blocks(at, every_s)
    blocks = int(block[-1]) + 1
    bootstrap = Bootstrap(blocks, seed)
    sums = {name: BlockSums.of(one, block).of_units(scored) for name, one in forecasts.items()}
    own = sums[ADAPTIVE]
    methods = [_method_score(name, one, own, bootstrap) for name, one in sums.items()]
    score = methods[0].pooled
    best = max(methods[1:], key=lambda one: -np.inf if one.pooled.value is None else one.pooled.value)
    rival = sums[best.method]
    units = _unit_scores(recording, scored, own, bootstrap)
    carrier = carrier_of(units, score.value)
    without = Estimate(value=None)
    if carrier is not None:
        others = np.array([one is not carrier for one in units])
        without = bootstrap.pooled(own.of_units(others))
    tell("reference window", 0.45)
    few = some_origins(recording, at)
    length = try_lengths(recording, few, scored, lambda share: tell("reference window", 0.45 + 0.25 * share))
    subsets = try_numbers_of_units(recording, few, scored, seed, lambda share: tell("units", 0.7 + 0.2 * share))
    tell("intervals", 0.9)
    calibration = calibrate(forecasts[ADAPTIVE], scored, seed)
    recorded = _recorded(recording, scored, every_s, minimum_rate_hz, windows=at.size, spikes=int(own.spikes.sum()))
    findings = Findings(
        recording=recorded,
        blocks=blocks,
        score=score,
        methods=methods,
        units=units,
        carrier=carrier,
        without_carrier=without,
        horizon=_horizon_scores(recording, own, rival, bootstrap),
        outside=_outside(recording, scored),
        reference_length=length,
        calibration=calibration,
        trained_on=recording.session.session_id in recording.card.sessions,
    )
    busiest = max(units, key=lambda one: one.spikes)
    answer = Answer(
        **_head(recording, judge(findings), recorded, seed, chosen),
        score=score,
        rival=best.method,
        blocks=blocks,
        block_s=block_s,
        methods=methods,
        units=units,
        busiest=busiest.unit,
        without_busiest=busiest.without,
        carrier="" if carrier is None else carrier.unit,
        regions=_region_scores(units, own, bootstrap),
        horizon=findings.horizon,
        over_time=_over_time(at, block, own, rival),
        outside=findings.outside,
        reference_length=length,
        number_of_units=subsets,
        calibration=calibration,
        typical=typical_window(forecasts[ADAPTIVE], forecasts[best.method], best.label, scored, seed),
    )
    tell("done", 1.0)
    return answer


def _ignore(step: str, share: float) -> None:
    """Report no progress."""


def _every_s(recording: Recording) -> float:
    """Return a horizon, or the multiple of it that bounds the memory of a forecast."""
    shape = recording.shape
    horizon_us = shape.horizon_bins * shape.bin_us
    values = recording.inputs.part.duration_us / shape.bin_us * len(recording.unit_ids)
    return horizon_us * max(1, int(np.ceil(values / _VALUES))) / MICROSECONDS


def _method_score(name: str, sums: BlockSums, own: BlockSums, bootstrap: Bootstrap) -> MethodScore:
    return MethodScore(
        method=name,
        label=label_of(name),
        kind=kind_of(name),
        pooled=bootstrap.pooled(sums),
        mean_over_units=bootstrap.mean_over_units(sums),
        lead=None if sums is own else bootstrap.pooled(own.minus(sums)),
    )


def _unit_scores(recording: Recording, scored: np.ndarray, own: BlockSums, bootstrap: Bootstrap) -> list[UnitScore]:
    gain, spikes = own.gain.sum((0, 1)), own.spikes.sum((0, 1))
    others, other_spikes = gain.sum() - gain, spikes.sum() - spikes
    without = bits_per_spike(model_nats=others, null_nats=np.zeros_like(others), spikes=other_spikes)
    outside = recording.outside_range()
    indices = np.flatnonzero(scored)
    estimates = bootstrap.of_each_unit(own)
    return [
        UnitScore(
            unit=str(recording.unit_ids[unit]),
            region=str(recording.session.units["region"][unit]),
            rate_hz=float(recording.reference_rate_hz[unit]),
            spikes=int(spikes[place]),
            spike_share=number(spikes[place] / spikes.sum()) if spikes.sum() else None,
            score=estimates[place],
            without=number(without[place]),
            outside=None if outside is None else int(outside[unit].sum()),
        )
        for place, unit in enumerate(indices)
    ]


def _region_scores(units: list[UnitScore], own: BlockSums, bootstrap: Bootstrap) -> list[RegionScore]:
    """Return the scores of regions, by name; none if no region is known."""
    regions = np.array([one.region for one in units])
    if not (regions != "").any():
        return []
    found = []
    for name in np.unique(regions):
        inside = own.of_units(regions == name)
        found.append(
            RegionScore(
                region=str(name),
                units=int((regions == name).sum()),
                spikes=int(inside.spikes.sum()),
                score=bootstrap.pooled(inside),
            )
        )
    return found


def _horizon_scores(recording: Recording, own: BlockSums, rival: BlockSums, bootstrap: Bootstrap) -> list[HorizonScore]:
    bin_ms, bins = recording.shape.bin_us / 1000, recording.shape.horizon_bins
    edges = sorted({0, *(round(edge / bin_ms) for edge in HORIZON_EDGES_MS if bin_ms <= edge <= bins * bin_ms), bins})
    return [
        HorizonScore(
            from_ms=first * bin_ms,
            to_ms=last * bin_ms,
            score=bootstrap.pooled(own.of_bins(slice(first, last))),
            rival=bootstrap.pooled(rival.of_bins(slice(first, last))),
        )
        for first, last in pairwise(edges)
    ]


def _over_time(at: np.ndarray, block: np.ndarray, own: BlockSums, rival: BlockSums) -> list[BlockScore]:
    starts = at[np.searchsorted(block, np.arange(block[-1] + 1))]
    scores = [
        bits_per_spike(model_nats=one.gain.sum((1, 2)), null_nats=np.zeros(starts.size), spikes=one.spikes.sum((1, 2)))
        for one in (own, rival)
    ]
    return [
        BlockScore(start_s=float(start), score=number(mine), rival=number(theirs))
        for start, mine, theirs in zip(starts, *scores, strict=True)
    ]


def _outside(recording: Recording, scored: np.ndarray) -> OutsideRange | None:
    flags = recording.outside_range()
    if flags is None:
        return None
    flags = flags[scored]
    unlike = int((flags.mean(1) >= UNLIKE).sum())
    of_feature = flags.sum(0)
    worst = [index for index in np.argsort(-of_feature, kind="stable")[:_WORST_FEATURES] if of_feature[index]]
    names = recording.feature_names
    return OutsideRange(
        features=flags.shape[1],
        units=unlike,
        worst_features=[OutsideFeature(feature=names[index], units=int(of_feature[index])) for index in worst],
        sentence=(
            f"{unlike} of {len(flags)} scored units {'has' if unlike == 1 else 'have'} a tenth or more of their "
            f"{flags.shape[1]} features outside of the range of the training units (0.5 to 99.5 %)."
        ),
    )


def _recorded(
    recording: Recording, scored: np.ndarray, every_s: float, minimum_rate_hz: float, *, windows: int, spikes: int
) -> Recorded:
    part = recording.inputs.part
    return Recorded(
        name=recording.session.session_id,
        units=scored.size,
        scored_units=int(scored.sum()),
        minimum_rate_hz=minimum_rate_hz,
        reference_s=recording.reference.hull_s,
        reference_valid_s=recording.reference.duration_us / MICROSECONDS,
        forecast_s=part.hull_s if len(part) else None,
        forecast_valid_s=part.duration_us / MICROSECONDS,
        gap_s=part.hull_s[0] - recording.reference.hull_s[1] if len(part) else None,
        windows=windows,
        every_s=every_s,
        spikes=spikes,
        notes=list(recording.notes),
    )


def _used(recording: Recording, chosen: str) -> Used:
    card, release = recording.card, recording.release
    name, citations = card.method, []
    summary = f"trained on {len(card.sessions)} recordings"
    if release is not None:
        about = release.about
        name, summary = f"{about.name} {about.version}", about.summary.rstrip(".")
        citations = [str(one["citation"]) for one in about.data]
    bin_s = card.timeline.bin_ms / 1000
    return Used(
        name=name,
        summary=summary,
        chosen=chosen,
        context_s=card.timeline.context_bins * bin_s,
        horizon_s=card.timeline.horizon_bins * bin_s,
        bin_s=bin_s,
        citations=citations,
    )


def _head(recording: Recording, judgement: Judgement, recorded: Recorded, seed: int, chosen: str) -> dict[str, Any]:
    """Return the fields that every answer has."""
    return {
        "package_version": package_version(),
        "seed": seed,
        "verdict": judgement.verdict,
        "sentence": judgement.sentence,
        "found": judgement.found,
        "advice": judgement.advice,
        "recording": recorded,
        "network": _used(recording, chosen),
    }


def _empty(
    recording: Recording, scored: np.ndarray, every_s: float, minimum_rate_hz: float, seed: int, chosen: str
) -> Answer:
    """Return the answer for a recording of which nothing can be scored."""
    nothing = Estimate(value=None)
    recorded = _recorded(recording, scored, every_s, minimum_rate_hz, windows=0, spikes=0)
    findings = Findings(
        recording=recorded,
        blocks=0,
        score=nothing,
        methods=[],
        units=[],
        carrier=None,
        without_carrier=nothing,
        horizon=[],
        outside=None,
        reference_length=None,
        calibration=None,
    )
    return Answer(
        **_head(recording, judge(findings), recorded, seed, chosen),
        score=nothing,
        rival="",
        blocks=0,
        block_s=0.0,
        methods=[],
        units=[],
        busiest="",
        without_busiest=None,
        carrier="",
        regions=[],
        horizon=[],
        over_time=[],
        outside=None,
        reference_length=None,
        number_of_units=None,
        calibration=None,
        typical=None,
    )
