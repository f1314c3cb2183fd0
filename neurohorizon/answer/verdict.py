"""The verdict on one recording, from its numbers, and what to do."""

from dataclasses import dataclass

from neurohorizon.answer.answer import (
    Calibration,
    Estimate,
    HorizonScore,
    MethodScore,
    OutsideRange,
    Recorded,
    ReferenceLength,
    UnitScore,
    Verdict,
    percent,
)
from neurohorizon.answer.blocks import FEWEST_BLOCKS
from neurohorizon.methods import FORECASTER
from neurohorizon.printed_names import counted

FEWEST_UNITS = 3
FEWEST_SPIKES = 1000
SMALL_BITS = 0.01
"""Score in bits per spike below which a forecast that is better than the mean rates is of little use."""
CARRIED = 0.5
"""Share of the spikes, or relative change of the score without it, from which on a unit decides the score."""
_MINUTES_ADVISED = 5


@dataclass(frozen=True)
class Findings:
    """Numbers that decide the verdict.

    Attributes:
        blocks: Number of blocks of time.
        score: Score of the adaptive forecast.
        methods: Scores of all methods, the adaptive forecast first.
        units: Scores of scored units.
        carrier: Unit that decides the score; None if none does.
        without_carrier: Score without it.
        trained_on: Whether the recording is in the training data of the network, by its name.
    """

    recording: Recorded
    blocks: int
    score: Estimate
    methods: list[MethodScore]
    units: list[UnitScore]
    carrier: UnitScore | None
    without_carrier: Estimate
    horizon: list[HorizonScore]
    outside: OutsideRange | None
    reference_length: ReferenceLength | None
    calibration: Calibration | None
    trained_on: bool = False

    @property
    def rivals(self) -> list[MethodScore]:
        """Methods except the adaptive forecast, from the best on."""
        return sorted(self.methods[1:], key=lambda one: -_value(one.pooled))

    @property
    def simple(self) -> MethodScore | None:
        """The best method in closed form."""
        return next((one for one in self.rivals if one.kind == "closed_form"), None)


@dataclass(frozen=True)
class Judgement:
    """Verdict, its sentence, findings as text, and advice."""

    verdict: Verdict
    sentence: str
    found: str
    advice: list[str]


def judge(findings: Findings) -> Judgement:
    """Return the verdict.

    It is ``cannot`` with too few spikes, units or blocks of time; ``fails`` if the interval of the score is not above
    0; ``works`` if it is, the score is 0.01 bits per spike or more, does not depend on one unit, and the best method in
    closed form is not clearly better; else ``barely``.
    """
    if missing := _missing(findings):
        verdict: Verdict = "cannot"
        sentence = f"It cannot be decided whether the forecast works on this recording: {missing}."
    elif not _above(findings.score):
        verdict = "fails"
        sentence = "The forecast fails on this recording: it is not better than the mean rate of each unit."
    elif reason := _doubt(findings):
        verdict, sentence = "barely", f"The forecast barely works on this recording: {reason}."
    else:
        verdict = "works"
        sentence = (
            f"The forecast works on this recording: it gains {findings.score.value:.3f} bits per spike relative to "
            "the mean rate of each unit"
        )
        ahead = findings.simple is not None and _above(findings.simple.lead)
        sentence += ", more than the best simple method." if ahead else ", about as much as the best simple method."
    if findings.trained_on:
        sentence += " The network was trained on a recording of this name, so the score is not zero-shot."
    return Judgement(verdict, sentence, _found(findings), _advice(findings, verdict))


def carrier_of(units: list[UnitScore], score: float | None) -> UnitScore | None:
    """Return the unit that decides the score, if one does.

    It is the unit whose removal changes the score most, if it has half of the spikes or its removal changes the score
    by half.
    """
    if len(units) < FEWEST_UNITS or score is None:
        return None
    changes = [(abs(one.without - score), one) for one in units if one.without is not None]
    if not changes:
        return None
    change, unit = max(changes, key=lambda pair: pair[0])
    largest = max(abs(score), abs(unit.without or 0.0))
    if largest < SMALL_BITS:
        return None
    return unit if (unit.spike_share or 0) >= CARRIED or change >= CARRIED * largest else None


def interval_text(estimate: Estimate) -> str:
    """Return a score and its interval as text."""
    if estimate.value is None:
        return "no score"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _missing(findings: Findings) -> str:
    recording = findings.recording
    if not recording.windows:
        return "no context and horizon fit into the valid time after the reference window"
    if recording.scored_units < FEWEST_UNITS:
        return (
            f"{FEWEST_UNITS} units that reach {recording.minimum_rate_hz:g} Hz in the reference window are needed, and "
            f"it has {recording.scored_units} of {recording.units}"
        )
    if recording.spikes < FEWEST_SPIKES:
        return f"{recording.spikes} spikes were scored, and {FEWEST_SPIKES} are needed"
    if findings.blocks < FEWEST_BLOCKS:
        return f"the scored part has {counted(findings.blocks, 'block')} of 30 s, and an interval needs {FEWEST_BLOCKS}"
    return ""


def _doubt(findings: Findings) -> str:
    score, simple, carrier = findings.score, findings.simple, findings.carrier
    if simple is not None and _below(simple.lead):
        return f"a simple method, {simple.label}, is better"
    others = findings.without_carrier
    if carrier is not None and not (_above(others) and _value(others) >= SMALL_BITS):
        return f"unit {carrier.unit} carries the score, and without it the score is {_text(others)}"
    if (score.value or 0) < SMALL_BITS:
        return f"it gains only {score.value:.4f} bits per spike relative to the mean rates"
    return ""


def _found(findings: Findings) -> str:
    recording, score = findings.recording, findings.score
    if score.value is None:
        return "No spike was scored."
    better = sum(_value(one.score) > 0 for one in findings.units)
    text = (
        f"{recording.windows} windows after the reference window were forecast. The score of the "
        f"{recording.scored_units} units that reach {recording.minimum_rate_hz:g} Hz is {interval_text(score)} bits "
        f"per spike; {better} of them score above 0."
    )
    if findings.rivals:
        best = findings.rivals[0]
        text += f" The best rival, {best.label}, scores {interval_text(best.pooled)}"
        if best.lead is not None:
            text += f"; the lead over it is {interval_text(best.lead)}"
        text += "."
    if len(findings.horizon) > 1:
        first, last = findings.horizon[0], findings.horizon[-1]
        text += (
            f" The score is {_text(first.score)} in the first {first.to_ms:g} ms and {_text(last.score)} from "
            f"{last.from_ms:g} to {last.to_ms:g} ms ahead."
        )
    if findings.carrier is not None:
        one = findings.carrier
        text += (
            f" Unit {one.unit} has {percent(one.spike_share or 0)} of all scored spikes; without it the score is "
            f"{interval_text(findings.without_carrier)}."
        )
    return text


def _advice(findings: Findings, verdict: Verdict) -> list[str]:
    recording, advice = findings.recording, []
    if verdict == "cannot":
        advice.append(
            "Record longer, or make the reference window shorter, so that more time can be scored."
            if recording.scored_units >= FEWEST_UNITS
            else "Lower the minimum rate, or give more units or faster ones."
        )
    if (one := findings.carrier) is not None:
        advice.append(
            f"Look at unit {one.unit}: if it is no single neuron, exclude it. Without it the score is "
            f"{_text(findings.without_carrier)}."
        )
    if verdict != "cannot":
        advice += _of_methods(findings) + _of_horizon(findings)
    if (length := findings.reference_length) is not None and verdict != "fails":
        full = length.points[-1].minutes
        if full < _MINUTES_ADVISED and length.sufficient_min is None and verdict != "cannot":
            advice.append(f"Use a longer reference window: it has {full:.1f} min, and scores rise up to some minutes.")
        elif length.sufficient_min is not None:
            advice.append(
                f"The last {length.sufficient_min:g} min suffice as reference window, so more of the recording can be "
                "forecast."
            )
    if findings.calibration is not None and "too narrow" in findings.calibration.sentence:
        advice.append("Do not rely on the intervals of the population: they are too narrow on this recording.")
    slow = recording.units - recording.scored_units
    if recording.units and slow > recording.units / 2:
        advice.append(
            f"{slow} of {recording.units} units are slower than {recording.minimum_rate_hz:g} Hz: the score does not "
            "apply to them."
        )
    if findings.outside is not None and findings.outside.units:
        advice.append(
            "Check the units that are unlike those of the training data "
            f"({findings.outside.units} of {recording.scored_units})."
        )
    return advice or ["Use the adaptive forecast; nothing needs to be changed."]


def _of_methods(findings: Findings) -> list[str]:
    better = [one for one in findings.rivals if _below(one.lead)]
    if not better:
        return []
    best = better[0]
    if best.method == FORECASTER:
        return [
            f"Use the static forecast (adaptive=False): it scores {_text(best.pooled)}, more than the adaptive one."
        ]
    return [f"Use {best.label} on this recording: it scores {_text(best.pooled)}, more than the adaptive forecast."]


def _of_horizon(findings: Findings) -> list[str]:
    useful = [_above(one.score) for one in findings.horizon]
    if all(useful):
        return []
    if not useful[0]:
        return [] if any(useful) else ["Use the mean rates of the units: no time ahead can be forecast better."]
    last = findings.horizon[useful.index(False) - 1]
    return [f"Forecast at most {last.to_ms:g} ms ahead: later bins are not better than the mean rates."]


def _above(estimate: Estimate | None) -> bool:
    return estimate is not None and estimate.low is not None and estimate.low > 0


def _below(estimate: Estimate | None) -> bool:
    return estimate is not None and estimate.high is not None and estimate.high < 0


def _value(estimate: Estimate) -> float:
    return float("-inf") if estimate.value is None else estimate.value


def _text(estimate: Estimate) -> str:
    return "unknown" if estimate.value is None else f"{estimate.value:.3f}"
