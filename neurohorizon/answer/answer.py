"""Record of an answer: every number of the page, in one JSON object without NaN.

Scores are in bits per spike relative to the mean rate of each unit in the reference window. Intervals are 95 %
percentile intervals over blocks of time. A number that cannot be computed is null.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

SCHEMA: Literal["neurohorizon-answer-1"] = "neurohorizon-answer-1"
"""Name of the form of an answer; its number rises if a reader of an older one would fail."""
Verdict = Literal["works", "barely", "fails", "cannot"]
Kind = Literal["adaptive", "closed_form", "network"]


class _Part(BaseModel):
    """Frozen, without unknown fields, and without NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Estimate(_Part):
    """A number with its interval; ``low`` and ``high`` are None if there are too few blocks."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Recorded(_Part):
    """The recording as it was read.

    Attributes:
        scored_units: Number of units that reach ``minimum_rate_hz`` in the reference window.
        reference_s: Start and end of the reference window.
        reference_valid_s: Valid time in it.
        forecast_s: Start and end of the time in which forecasts lie; None if there is none.
        gap_s: Time between the two.
        windows: Number of scored windows, ``every_s`` apart.
        spikes: Observed spikes of scored units in these windows.
        notes: Warnings about the recording.
    """

    name: str
    units: int
    scored_units: int
    minimum_rate_hz: float
    reference_s: tuple[float, float]
    reference_valid_s: float
    forecast_s: tuple[float, float] | None
    forecast_valid_s: float
    gap_s: float | None
    windows: int
    every_s: float
    spikes: int
    notes: list[str]


class Used(_Part):
    """The network that was used.

    Attributes:
        name: Name and version of released weights, or the method of a network of a run.
        summary: Its training data.
        chosen: Why this network was chosen.
        citations: Citations of the training data.
    """

    name: str
    summary: str
    chosen: str
    context_s: float
    horizon_s: float
    bin_s: float
    citations: list[str]


class MethodScore(_Part):
    """Score of one method.

    Attributes:
        kind: ``adaptive``, ``closed_form`` (no trained network) or ``network``.
        pooled: All scored units, weighed by their spikes.
        mean_over_units: Mean of the scores of units.
        lead: Score of the adaptive forecast minus that of this method, paired by block; None for itself.
    """

    method: str
    label: str
    kind: Kind
    pooled: Estimate
    mean_over_units: Estimate
    lead: Estimate | None = None


class UnitScore(_Part):
    """Score of one scored unit.

    Attributes:
        region: Region; "" if unknown.
        spike_share: Share of all scored spikes.
        without: Score of all other units together.
        outside: Number of its features outside of the training range; None if the range is unknown.
    """

    unit: str
    region: str
    rate_hz: float
    spikes: int
    spike_share: float | None
    score: Estimate
    without: float | None
    outside: int | None = None


class RegionScore(_Part):
    """Score of the scored units of a region."""

    region: str
    units: int
    spikes: int
    score: Estimate


class HorizonScore(_Part):
    """Score in one span of time after the forecast origin, of the adaptive forecast and of its best rival."""

    from_ms: float
    to_ms: float
    score: Estimate
    rival: Estimate


class BlockScore(_Part):
    """Score of one block of time, of the adaptive forecast and of its best rival."""

    start_s: float
    score: float | None
    rival: float | None


class OutsideFeature(_Part):
    """A feature that lies outside of the training range for some units."""

    feature: str
    units: int


class OutsideRange(_Part):
    """Units unlike those of the training data.

    Attributes:
        features: Number of features of a unit.
        units: Units with a tenth or more of their features outside of the range.
        worst_features: Features that lie outside for the most units.
    """

    features: int
    units: int
    worst_features: list[OutsideFeature]
    sentence: str


class LengthPoint(_Part):
    """Score of the static network with the last minutes of the reference window."""

    minutes: float
    score: float | None


class ReferenceLength(_Part):
    """How long a reference window must be.

    Attributes:
        sufficient_min: Shortest length from which on the score is at least 95 % of that of the full window; None if no
            shorter length reaches it.
    """

    windows: int
    points: list[LengthPoint]
    sufficient_min: float | None
    sentence: str


class SubsetPoint(_Part):
    """Score of random units if only they are recorded, and of the same units if all are."""

    units: int
    draws: int
    score: float | None
    score_with_all: float | None


class NumberOfUnits(_Part):
    """How many units must be recorded."""

    windows: int
    points: list[SubsetPoint]
    sufficient_units: int | None
    sentence: str


class Coverage(_Part):
    """Share of observed counts in central intervals, for one kind of counts.

    Attributes:
        nominal: Nominal coverage of each interval.
        observed: Observed coverage, by the randomised probability integral transform.
    """

    counts: str
    nominal: list[float]
    observed: list[float | None]


class Calibration(_Part):
    """Whether intervals of sample paths have their nominal coverage."""

    windows: int
    paths: int
    rows: list[Coverage]
    sentence: str


class TypicalUnit(_Part):
    """A unit in the typical window; spike times in ms after the origin, rates in Hz by bin."""

    unit: str
    spikes_ms: list[float]
    rate_hz: list[float]
    rival_hz: list[float]
    reference_hz: float


class TypicalPopulation(_Part):
    """Counts of all scored units together in spans of the typical window, with a 90 % interval."""

    edges_ms: list[float]
    observed: list[int]
    expected: list[float]
    low: list[float]
    high: list[float]
    rival: list[float]
    reference: list[float]


class TypicalWindow(_Part):
    """One forecast, chosen by a rule that prefers neither good nor bad forecasts."""

    origin_s: float
    score: float
    rule: str
    context_ms: float
    rival: str
    units: list[TypicalUnit]
    population: TypicalPopulation


class Answer(_Part):
    """Answer to the question whether the forecast works on one recording.

    Attributes:
        sentence: The verdict as a sentence.
        found: What was found.
        advice: What to do, one sentence each.
        rival: Method with the highest score, except the adaptive forecast.
        block_s: Length of a block of the bootstrap in seconds, with pauses between windows.
        methods: Scores, the adaptive forecast first.
        without_busiest: Score without the unit of most spikes.
        carrier: Unit that decides the score, "" if none does.
    """

    schema_name: Literal["neurohorizon-answer-1"] = SCHEMA
    package_version: str
    seed: int
    verdict: Verdict
    sentence: str
    found: str
    advice: list[str]
    recording: Recorded
    network: Used
    score: Estimate
    rival: str
    blocks: int
    block_s: float
    methods: list[MethodScore]
    units: list[UnitScore]
    busiest: str
    without_busiest: float | None
    carrier: str
    regions: list[RegionScore]
    horizon: list[HorizonScore]
    over_time: list[BlockScore]
    outside: OutsideRange | None
    reference_length: ReferenceLength | None
    number_of_units: NumberOfUnits | None
    calibration: Calibration | None
    typical: TypicalWindow | None

    def to_json(self) -> dict:
        """Return all numbers as a JSON object; its schema is :func:`json_schema`."""
        return self.model_dump(mode="json")


def percent(share: float, digits: int = 0) -> str:
    """Return a share as text, in percent."""
    return f"{100 * share:.{digits}f} %"


def json_schema() -> dict:
    """Return the JSON schema of an answer."""
    return Answer.model_json_schema(mode="serialization")
