"""The answer for one recording as a few lines of text."""

from neurohorizon.answer.answer import Answer, Estimate, UnitScore
from neurohorizon.command.examination import minutes
from neurohorizon.printed_names import counted, one_line

_RIVALS = 4
_BEST_UNITS = 5
_FEWEST_SPIKES = 20  # the score of fewer spikes is chance


def describe_answer(answer: Answer, folder: str) -> str:
    """Return what was forecast, the verdict, the scores, and where the page is.

    Args:
        answer: The answer.
        folder: Folder of its files.
    """
    recording, network = answer.recording, answer.network
    forecast = f"forecast {minutes(recording.forecast_s)}" if recording.forecast_s else "nothing to forecast"
    lines = [
        f"{one_line(recording.name)}  {counted(recording.units, 'unit')} ({recording.scored_units} scored), reference "
        f"{minutes(recording.reference_s)}, {forecast}, {recording.windows} windows of {network.horizon_s:g} s",
        answer.sentence,
    ]
    if answer.methods:
        lines += _scores(answer) + _ahead(answer) + _units(answer)
    if answer.outside is not None:
        lines.append(answer.outside.sentence)
    lines += [f"Note: {one_line(one)}" for one in recording.notes]
    lines += [f"Advice: {one_line(one)}" for one in answer.advice]
    lines.append(f"Network: {network.name}, {network.summary.rstrip('.')}. {network.chosen}".rstrip())
    lines.append(f"Page: {folder}/answer.html   Data: forecast.h5, units.tsv, answer.json")
    return "\n".join(lines)


def interval(estimate: Estimate) -> str:
    """Return a number with its interval."""
    if estimate.value is None:
        return "none"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _scores(answer: Answer) -> list[str]:
    """Return the scores of the adaptive forecast and of its best rivals."""
    own, *rivals = answer.methods
    best = sorted(rivals, key=lambda one: -(one.pooled.value if one.pooled.value is not None else float("-inf")))
    width = max(len(one.label) for one in (own, *best[:_RIVALS]))
    shown = [f"  {one.label:<{width}}  {interval(one.pooled)}" for one in (own, *best[:_RIVALS])]
    return ["Bits per spike over the mean rate of each unit, with 95 % intervals over time:", *shown]


def _ahead(answer: Answer) -> list[str]:
    spans = [f"{one.from_ms:g}-{one.to_ms:g} ms" for one in answer.horizon]
    values = ["none" if one.score.value is None else f"{one.score.value:.3f}" for one in answer.horizon]
    widths = [max(len(span), len(value)) for span, value in zip(spans, values, strict=True)]
    return [
        "  ahead       " + "  ".join(f"{one:>{width}}" for one, width in zip(spans, widths, strict=True)),
        "  bits/spike  " + "  ".join(f"{one:>{width}}" for one, width in zip(values, widths, strict=True)),
    ]


def _units(answer: Answer) -> list[str]:
    def value(unit: UnitScore) -> float:
        return float("-inf") if unit.score.value is None else unit.score.value

    enough = [one for one in answer.units if value(one) > 0 and one.spikes >= _FEWEST_SPIKES]
    best = sorted(enough, key=lambda one: -value(one))
    worse = sum(value(one) <= 0 for one in answer.units)
    named = ", ".join(f"{one_line(one.unit)} ({value(one):.2f})" for one in best[:_BEST_UNITS]) or "none"
    return [
        f"Best units of {_FEWEST_SPIKES} spikes or more: {named}. No better than their mean rate: {worse} of "
        f"{len(answer.units)} units (units.tsv)."
    ]
