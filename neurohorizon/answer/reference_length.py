"""How long a reference window must be, and how many units it must have.

The units are described again, in closed form, by the last minutes of the reference window, or by random units only. The
static network then forecasts some windows. The null is always the mean rate in the full reference window.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from neurohorizon.answer.answer import LengthPoint, NumberOfUnits, ReferenceLength, SubsetPoint, percent
from neurohorizon.answer.blocks import number
from neurohorizon.inputs.sessions import known_by
from neurohorizon.inputs.windows import subsample
from neurohorizon.recordings.recording import Recording
from neurohorizon.scores import Sums, bits_per_spike, sum_scores
from neurohorizon.session import Session
from neurohorizon.timeline import MICROSECONDS, Intervals, cut_domain

LENGTHS_MIN = (0.5, 1, 2, 5, 10, 20, 40, 80)
NUMBERS_OF_UNITS = (5, 10, 20, 50, 100, 200, 400)
SUFFICIENT = 0.95
"""Share of the score of all of the reference window, or of all units, that counts as reached."""
FEWEST_DRAWS = 3
_DRAWN_UNITS = 30
_LARGEST_SHARE = 0.8
_WINDOWS = 300
_VALUES = 2e6  # forecast counts of one refit, which bound the time
_UNIT_MINUTES = 3000  # units times minutes of the reference window of one refit, which bound the time too


def some_origins(recording: Recording, at: np.ndarray) -> np.ndarray:
    """Return at most 300 evenly spaced origins, and fewer for many units, in seconds."""
    per_window = recording.shape.horizon_bins * len(recording.unit_ids)
    return at[subsample(range(at.size), int(np.clip(_VALUES / per_window, 40, _WINDOWS)))]


def try_lengths(
    recording: Recording, at: np.ndarray, scored: np.ndarray, progress: Callable[[float], None]
) -> ReferenceLength:
    """Score the static network with shorter reference windows.

    Args:
        recording: The recording with its full reference window.
        at: Forecast origins in seconds, [origin].
        scored: True for scored units, [unit].
        progress: Receives the finished share.
    """
    full = recording.reference.duration_us
    most = min(_LARGEST_SHARE * full / MICROSECONDS / 60, _UNIT_MINUTES / len(recording.unit_ids))
    lengths = [one for one in LENGTHS_MIN if one <= most]
    points = []
    for place, minutes in enumerate([*lengths, full / MICROSECONDS / 60]):
        refitted = recording
        if place < len(lengths):
            window = last_part(recording.reference, round(minutes * 60 * MICROSECONDS))
            refitted = described_by(recording, recording.session, window)
        sums = static_sums(refitted, at, recording.inputs.reference_log_rate)
        points.append(LengthPoint(minutes=minutes, score=number(score_of(sums, scored))))
        progress((place + 1) / (len(lengths) + 1))
    values = [one.score for one in points]
    reached = sufficient(values)
    shortest = None if reached is None else points[reached].minutes
    return ReferenceLength(
        windows=at.size,
        points=points,
        sufficient_min=shortest,
        sentence=_length_sentence(points, shortest),
    )


def try_numbers_of_units(
    recording: Recording, at: np.ndarray, scored: np.ndarray, seed: int, progress: Callable[[float], None]
) -> NumberOfUnits:
    """Score the static network if only some random units are recorded; arguments as in :func:`try_lengths`."""
    n_units = len(recording.unit_ids)
    most = min(_LARGEST_SHARE * n_units, _UNIT_MINUTES / (recording.reference.duration_us / MICROSECONDS / 60))
    sizes = [size for size in NUMBERS_OF_UNITS if size <= most]
    rng = np.random.default_rng([seed, 2])
    reference_log_rate = recording.inputs.reference_log_rate
    with_all = static_sums(recording, at, reference_log_rate)
    points: list[SubsetPoint] = []
    for size in sizes:
        few, same = np.zeros(2), np.zeros(2)
        draws = max(FEWEST_DRAWS, _DRAWN_UNITS // size)
        for draw in range(draws):
            units = np.sort(rng.choice(n_units, size, replace=False))
            refitted = described_by(recording, of_units(recording.session, units), recording.reference)
            kept = scored[units]
            few += gained(static_sums(refitted, at, reference_log_rate[units]), kept)
            same += gained(with_all, units[kept])
            progress((len(points) + (draw + 1) / draws) / len(sizes))
        scores = (number(_bits(one)) for one in (few, same))
        points.append(SubsetPoint(units=size, draws=draws, score=next(scores), score_with_all=next(scores)))
    all_units = number(score_of(with_all, scored))
    points.append(SubsetPoint(units=n_units, draws=1, score=all_units, score_with_all=all_units))
    shares = [_share(one.score, one.score_with_all) for one in points]
    reached = sufficient(shares)
    fewest = None if reached is None else points[reached].units
    return NumberOfUnits(
        windows=at.size, points=points, sufficient_units=fewest, sentence=_units_sentence(points, fewest)
    )


def last_part(window: Intervals, duration_us: int) -> Intervals:
    """Return the end of a window that has the given valid time."""
    return cut_domain(window, first_us=window.duration_us - duration_us, gap_us=0)[1]


def of_units(session: Session, units: np.ndarray) -> Session:
    """Return a session with some of its units, by rising index."""
    place = np.full(session.n_units, -1)
    place[units] = np.arange(units.size)
    kept = place[session.spike_unit] >= 0
    return replace(
        session,
        spike_times_us=session.spike_times_us[kept],
        spike_unit=place[session.spike_unit[kept]],
        units={name: values[units] for name, values in session.units.items()},
    )


def described_by(recording: Recording, session: Session, window: Intervals) -> Recording:
    """Return the recording with other units or another reference window, described again in closed form."""
    card = recording.card
    readout = card.model.readout if card.population_readout else card.model.readout.model_copy(update={"modes": 0})
    inputs = known_by(
        session, window, recording.inputs.part, timeline=card.timeline, features=card.features, readout=readout
    )
    return replace(recording, session=session, unit_ids=session.units["id"], reference=window, inputs=inputs)


def static_sums(recording: Recording, at: np.ndarray, reference_log_rate: np.ndarray) -> Sums:
    """Return score sums of the static network relative to given mean rates, [bin, unit]."""
    forecast = recording.forecast(at, adaptive=False)
    return sum_scores(
        counts=forecast.counts,
        log_rate=forecast.log_rate,
        mask=forecast.valid,
        reference_log_rate=reference_log_rate,
    )


def gained(sums: Sums, units: np.ndarray) -> np.ndarray:
    """Return gained nats and spikes of some units, [2]."""
    gain = (sums.model_nats - sums.reference_nats)[:, units].sum()
    return np.array([gain, sums.spikes[:, units].sum()])


def score_of(sums: Sums, units: np.ndarray) -> float:
    """Return the score of some units in bits per spike."""
    return _bits(gained(sums, units))


def sufficient(values: list[float | None]) -> int | None:
    """Return the index from which on all values are at least 95 % of the last; None if only the last is.

    None too if the last value is not above 0.
    """
    last = values[-1]
    if last is None or last <= 0:
        return None
    enough = [value is not None and value >= SUFFICIENT * last for value in values]
    first = len(values)
    while first and enough[first - 1]:
        first -= 1
    return first if first < len(values) - 1 else None


def _reached(values: list[float | None]) -> bool:
    """Return whether a value before the last reaches 95 % of it."""
    last = values[-1]
    return last is not None and any(one is not None and one >= SUFFICIENT * last for one in values[:-1])


def _bits(gain_and_spikes: np.ndarray) -> float:
    gain, spikes = gain_and_spikes
    return float(bits_per_spike(model_nats=gain, null_nats=np.zeros(()), spikes=spikes))


def _share(value: float | None, whole: float | None) -> float | None:
    return None if value is None or whole is None or whole <= 0 else value / whole


def _length_sentence(points: list[LengthPoint], sufficient_min: float | None) -> str:
    full = points[-1]
    if len(points) == 1:
        return f"The reference window of {full.minutes:.1f} min is too short to try shorter ones."
    if full.score is None or full.score <= 0:
        return "The static network is no better than the mean rates here, so no length can be named."
    if sufficient_min is None and _reached([one.score for one in points]):
        scores = [one.score for one in points if one.score is not None]
        return (
            f"The score does not rise with the length: it lies between {min(scores):.3f} and {max(scores):.3f} from "
            f"{points[0].minutes:g} to {full.minutes:.1f} min, so no sufficient length can be named."
        )
    if sufficient_min is None:
        return (
            f"No shorter reference window reaches {percent(SUFFICIENT)} of the score of all {full.minutes:.1f} min: "
            "a longer one may be better still."
        )
    return (
        f"The last {sufficient_min:g} min of the reference window suffice: they reach {percent(SUFFICIENT)} of the "
        f"score of all {full.minutes:.1f} min."
    )


def _units_sentence(points: list[SubsetPoint], sufficient_units: int | None) -> str:
    full = points[-1]
    if len(points) == 1:
        return f"{full.units} units are too few to try fewer."
    if full.score is None or full.score <= 0:
        return "The static network is no better than the mean rates here, so no number of units can be named."
    if sufficient_units is None and _reached([_share(one.score, one.score_with_all) for one in points]):
        return (
            "The score does not rise with the number of recorded units, so no sufficient number can be named: other "
            "units add little here."
        )
    if sufficient_units is None:
        return (
            f"With fewer than all {full.units} units, the same units score below {percent(SUFFICIENT)} of their score: "
            "more units help."
        )
    return (
        f"{sufficient_units} random units suffice: they reach {percent(SUFFICIENT)} of the score that the same units "
        f"have if all {full.units} are recorded."
    )
