"""The verdict on a run, from the tables of experiment 1: does it work, how far ahead, on which units, against what."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import PRIMARY_NULL, over_all_sources, read_tables, smallest_adjusted_p
from neurohorizon.analysis.wording import FEW_ANIMALS, SIGNIFICANT
from neurohorizon.methods import (
    ADAPTIVE,
    DECODINGS,
    ENSEMBLE,
    FORECASTER,
    LATENT_READOUT,
    METHODS,
    REFERENCE_MEAN,
    SIMPLE_JOBS,
    ZERO_SHOT,
    method_phrase,
)
from neurohorizon.printed_names import counted, in_sentence

SMALL_BITS = 0.01
"""Score in bits per spike below which a forecast that is better than the mean rates is of little use."""
CARRIED = 0.5
"""Share of the spikes of a session from which on one unit carries its score."""
_FEWEST_UNITS_OF_A_REGION = 10
_OWN = (FORECASTER, ADAPTIVE, LATENT_READOUT, ENSEMBLE, *DECODINGS)


@dataclass(frozen=True)
class Verdict:
    """What the first page of the report answers.

    Attributes:
        mark: ``works``, ``barely`` or ``fails``.
        sentence: The verdict as a sentence.
        method: Method that it is about: the adaptive mixture, or the network if the run has no mixture.
        rival: Best zero-shot method that is no variant of it; "" if there is none.
        score: Mean over sessions, bits per spike.
        lower: Lower bound of its interval over animals; None with one animal.
        upper: Upper bound.
        sessions: Number of forecast sessions.
        animals: Number of their animals.
        answers: Question -> answer, in the order of the page.
        advice: What to do, one sentence each.
    """

    mark: str
    sentence: str
    method: str
    rival: str
    score: float
    lower: float | None
    upper: float | None
    sessions: int
    animals: int
    answers: dict[str, str]
    advice: list[str]

    def to_json(self) -> dict:
        """Return it as a JSON object."""
        return asdict(self)


def judge_run(tables: Path, *, minimum_rate_hz: float, simulated: bool) -> Verdict | None:
    """Return the verdict on a run; None if it has no forecast by the network.

    It is ``fails`` if the mean score, or the lower bound of its interval, is not above 0. It is ``works`` if the score
    is 0.01 bits per spike or more, also without units that have half of the spikes of a session, and no method in
    closed form is clearly better. Else it is ``barely``. With one animal there is no interval; then ``works`` also
    needs a score above 0 in each session, and a method is clearly better if it is better in each session.

    Args:
        tables: Folder of the tables of experiment 1.
        minimum_rate_hz: Lowest mean rate of a scored unit.
        simulated: Whether the recordings are simulated.
    """
    table = read_tables(
        tables, "summary", "comparisons", "sessions", "horizon", "unit_influence", "regions", "left_out"
    )
    shown = over_all_sources(_primary(table["summary"])).set_index("method")
    method = ADAPTIVE if ADAPTIVE in shown.index else FORECASTER
    if method not in shown.index:
        return None
    row = shown.loc[method]
    sessions = _primary(table["sessions"])
    own = sessions[sessions["method"] == method]
    leads = _leads(table["comparisons"], shown, method)
    influence = table["unit_influence"]
    influence = influence[influence["method"] == method]
    mark, reason = _mark(row, own, leads, influence)
    rival = leads.iloc[0] if len(leads) else None
    return Verdict(
        mark=mark,
        sentence=_sentence(mark, reason, row, own, rival, simulated),
        method=method,
        rival="" if rival is None else str(rival["against"]),
        score=float(row["bits_per_spike"]),
        lower=_or_none(row["lower"]),
        upper=_or_none(row["upper"]),
        sessions=int(row["sessions"]),
        animals=int(row["animals"]),
        answers={
            "How far ahead?": _ahead(table["horizon"], method),
            "On which units?": _units(row, influence, table["regions"], method, minimum_rate_hz),
            "Against what?": _against(leads, table["comparisons"]),
        },
        advice=_advice(mark, row, leads, influence, table["horizon"], len(table["left_out"]), method, simulated),
    )


def _primary(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["null"] == PRIMARY_NULL]


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _leads(comparisons: pd.DataFrame, shown: pd.DataFrame, method: str) -> pd.DataFrame:
    """Return the comparisons of the forecast with its rivals, from the best rival on, with their scores."""
    rows = comparisons[(comparisons["method"] == method) & (comparisons["against_class"] == ZERO_SHOT)]
    rows = rows[~rows["against"].isin([*_OWN, REFERENCE_MEAN])]
    scores = rows["against"].map(shown["bits_per_spike"])
    return rows.assign(score=scores).sort_values("score", ascending=False, kind="stable", ignore_index=True)


def _above(row: pd.Series, own: pd.DataFrame) -> bool:
    return row["lower"] > 0 if np.isfinite(row["lower"]) else row["bits_per_spike"] > 0 and len(own) > 0


def _clearly_better(lead: pd.Series) -> bool:
    """Whether the rival of a comparison is clearly better than the forecast."""
    if np.isfinite(lead["upper"]):
        return lead["upper"] < 0
    return lead["difference"] < 0 and lead["sessions_better"] == 0


def _carried(influence: pd.DataFrame) -> pd.DataFrame:
    return influence[influence["spike_share"] >= CARRIED]


def _mark(row: pd.Series, own: pd.DataFrame, leads: pd.DataFrame, influence: pd.DataFrame) -> tuple[str, str]:
    if not _above(row, own):
        return "fails", ""
    simple = [
        lead
        for _, lead in leads.iterrows()
        if lead["against"] in METHODS and METHODS[lead["against"]].job in SIMPLE_JOBS and _clearly_better(lead)
    ]
    if simple:
        return "barely", f"a simple method, {method_phrase(simple[0]['against'])}, is better"
    if len(_carried(influence)) and not _without_carriers(influence) >= SMALL_BITS:
        return "barely", f"single units carry the score, and without them it is {_without_carriers(influence):.3f}"
    if row["bits_per_spike"] < SMALL_BITS:
        return "barely", f"it gains only {row['bits_per_spike']:.4f} bits per spike relative to the mean rates"
    better = int((own["bits_per_spike"] > 0).sum())
    if np.isnan(row["lower"]) and better < len(own):
        return "barely", f"it is better than the mean rates in {better} of {len(own)} recordings of one animal"
    return "works", ""


def _without_carriers(influence: pd.DataFrame) -> float:
    """Return the mean score over sessions if units with half of the spikes of their session are not scored."""
    carried = influence["spike_share"] >= CARRIED
    scores = influence["bits_per_spike"].where(~carried, influence["bits_per_spike_without"])
    return float(scores.mean())


def _sentence(
    mark: str, reason: str, row: pd.Series, own: pd.DataFrame, rival: pd.Series | None, simulated: bool
) -> str:
    kind = "simulated " if simulated else ""
    if row["sessions"] == 1:
        data = f"the {kind}recording that was held out"
    else:
        data = f"{row['sessions']} held-out {kind}recordings of {counted(row['animals'], 'animal')}"
    if mark == "fails":
        return f"The forecast fails on {data}: it is not better than the mean rate of each unit."
    if mark == "barely":
        return f"The forecast barely works on {data}: {reason}."
    better = int((own["bits_per_spike"] > 0).sum())
    text = (
        f"The forecast works on {data}: it gains {row['bits_per_spike']:.3f} bits per spike relative to the mean rates"
    )
    if row["sessions"] > 1:
        text += f", is better than them in {better} of {len(own)}"
    if rival is not None:
        text += f", and scores {_than(rival)} the best rival, {method_phrase(rival['against'])}"
    return f"{text}."


def _than(lead: pd.Series) -> str:
    if np.isfinite(lead["lower"]):
        return "more than" if lead["lower"] > 0 else "less than" if lead["upper"] < 0 else "about as much as"
    return "more than" if lead["difference"] > 0 else "no more than"


def _useful_ms(horizon: pd.DataFrame, method: str) -> tuple[pd.DataFrame, float]:
    """Return the rows of the method by bin, and the end of the last bin up to which each is better than the mean."""
    rows = _primary(horizon)
    rows = rows[rows["method"] == method].sort_values("horizon_ms")
    bounds = rows["lower"].where(rows["lower"].notna(), rows["bits_per_spike"])
    useful = (bounds > 0).cummin()
    return rows, float(rows.loc[useful, "horizon_ms"].max()) if useful.any() else 0.0


def _ahead(horizon: pd.DataFrame, method: str) -> str:
    rows, until = _useful_ms(horizon, method)
    first, last = rows.iloc[0], rows.iloc[-1]
    scores = (
        f"{first['bits_per_spike']:.3f} bits per spike in the first {first['horizon_ms']:g} ms, "
        f"{last['bits_per_spike']:.3f} at {last['horizon_ms']:g} ms"
    )
    if until == 0:
        return f"Not at all: the first bin is not better than the mean rates ({scores})."
    if until == last["horizon_ms"]:
        return f"The full horizon of {until:g} ms: {scores}."
    return f"Up to {until:g} ms; later bins are not always better than the mean rates ({scores})."


def _units(row: pd.Series, influence: pd.DataFrame, regions: pd.DataFrame, method: str, minimum_rate_hz: float) -> str:
    text = (
        f"{row['better_units']} of the {counted(row['spiking_units'], 'scored unit')} score above 0. All spikes "
        f"pooled: {row['pooled']:.3f}; mean over units: {row['unit_mean']:.3f}. "
    )
    if row["unscored_units"]:
        text += f"{counted(row['unscored_units'], 'unit')} below {minimum_rate_hz:g} Hz are not scored. "
    if len(influence):
        top = influence.loc[influence["spike_share"].idxmax()]
        without = top["bits_per_spike_without"]
        without = f"{without:.3f}" if np.isfinite(without) else "undefined"
        carried = len(_carried(influence))
        text += (
            f"One unit has half of the spikes or more in {carried} of {counted(len(influence), 'recording')}: the "
            "largest "
            if carried
            else "No unit has half of the spikes of a recording: the largest "
        )
        text += (
            f"share is {top['spike_share']:.0%} (unit {in_sentence(top['unit_id'])} of {in_sentence(top['session'])}; "
            f"the score of this recording is {top['bits_per_spike']:.3f} with it, {without} without it). "
        )
    named = _primary(regions)
    named = named[(named["method"] == method) & (named["region"] != "") & (named["units"] >= _FEWEST_UNITS_OF_A_REGION)]
    if len(named) > 1:
        best, worst = (
            named.loc[place] for place in (named["bits_per_spike"].idxmax(), named["bits_per_spike"].idxmin())
        )
        text += (
            f"Best region: {in_sentence(best['region'])} ({best['bits_per_spike']:.3f}); lowest: "
            f"{in_sentence(worst['region'])} ({worst['bits_per_spike']:.3f})."
        )
    return text.strip()


def _against(leads: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    if leads.empty:
        return "The mean rate of each unit; this run has no other zero-shot method."
    best = leads.iloc[0]
    ahead = int((leads["difference"] > 0).sum())
    text = (
        f"The forecast scores more than {ahead} of {counted(len(leads), 'other zero-shot method')}. The best of them "
        f"is {method_phrase(best['against'])} with {best['score']:.3f}: the difference is {best['difference']:+.3f}"
        f"{_interval(best)}, above 0 in {best['sessions_better']} of {counted(best['sessions'], 'recording')}."
    )
    if p := _p_text(best, comparisons):
        text += f" {p}"
    return text


def _interval(row: pd.Series) -> str:
    if np.isnan(row["lower"]):
        return ""
    return f" ({row['interval']:.0%} interval {row['lower']:+.3f} to {row['upper']:+.3f})"


def _p_text(best: pd.Series, comparisons: pd.DataFrame) -> str:
    """Return the adjusted p of a declared comparison; "" if too few animals allow one below the level."""
    if not best["declared"] or np.isnan(best["p_holm"]):
        return ""
    if smallest_adjusted_p(comparisons) >= SIGNIFICANT:
        return ""
    return f"Holm p = {best['p_holm']:.2g}."


def _advice(
    mark: str,
    row: pd.Series,
    leads: pd.DataFrame,
    influence: pd.DataFrame,
    horizon: pd.DataFrame,
    left_out: int,
    method: str,
    simulated: bool,
) -> list[str]:
    advice = []
    if len(leads) and _clearly_better(leads.iloc[0]):
        best = leads.iloc[0]
        advice.append(f"Use {method_phrase(best['against'])}: it scores {best['score']:.3f}, more than the forecast.")
    elif mark == "works":
        advice.append(f"Use {method_phrase(method)}.")
    elif mark == "fails":
        advice.append("Use the mean rates of the units, and look at the pages of validation and at the sessions below.")
    rows, until = _useful_ms(horizon, method)
    if mark != "fails" and 0 < until < rows["horizon_ms"].max():
        advice.append(f"Forecast at most {until:g} ms ahead.")
    carried = _carried(influence)
    for _, one in carried.head(3).iterrows():
        advice.append(
            f"Look at unit {in_sentence(one['unit_id'])} of {in_sentence(one['session'])}: if it is no single neuron, "
            "exclude it by cohort.exclude_units."
        )
    if left_out:
        advice.append(f"See why {counted(left_out, 'session')} could not be used: the list is in the tables.")
    if row["animals"] == 1:
        advice.append("Record more animals: with one animal there is no interval, and nothing follows for others.")
    elif row["animals"] < FEW_ANIMALS:
        advice.append(
            f"Record more animals: with {row['animals']} intervals show whether these agree, not what holds for others."
        )
    if simulated:
        advice.append(
            "Run it on real recordings: simulated ones show that the code works, and are no evidence about brains."
        )
    return advice
