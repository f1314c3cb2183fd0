"""Sentences on the experiment on horizons, each decided by the numbers, whatever their direction."""

from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import read_tables, whole_horizon
from neurohorizon.analysis.wording import (
    adjusted_p_text,
    few_animals,
    interval_text,
    listed,
    paragraphs,
    prose,
    verdict,
)
from neurohorizon.experiments.horizons.calibration import POPULATION, POPULATION_TOTAL, UNIT, UNIT_TOTAL
from neurohorizon.experiments.horizons.calibration_tables import (
    EXCHANGED_GAIN,
    GAMMA_POISSON,
    REFERENCE_MEAN,
    SHARED_GAIN,
)
from neurohorizon.methods import CEILING, DECODINGS, FORECASTER, ORACLE, method_phrase
from neurohorizon.printed_names import counted

_NAMES = {
    FORECASTER: "the parallel forecast",
    **dict(
        zip(DECODINGS, ("the autoregressive rollout", "blockwise decoding", "coarse-to-fine decoding"), strict=True)
    ),
    SHARED_GAIN: "paths with a shared gain",
    GAMMA_POISSON: method_phrase(GAMMA_POISSON),
    ORACLE: "the true rates",
}
_LITTLE = 1.0  # percentage points of coverage that are too few to mention


def describe_results(folder: Path) -> str:
    """The experiment in a few paragraphs, from the folder of its tables."""
    table = read_tables(folder, "horizons", "reach", "comparisons", "teacher_forced", "calibration", "joint")
    return paragraphs(
        prose(describe_horizons(table["horizons"]), describe_reach(table["reach"])),
        describe_rollouts(table["comparisons"], table["teacher_forced"]),
        prose(describe_calibration(table["calibration"]), describe_dependence(table["joint"])),
    )


def describe_run(horizons: pd.DataFrame) -> str:
    """Amount of data."""
    rows = horizons[horizons["method"] == FORECASTER]
    animals = int(rows["animals"].max())
    return prose(
        f"{counted(rows['windows'].max(), 'window')} of {counted(rows['sessions'].max(), 'held-out session')} of "
        f"{counted(animals, 'animal')} were forecast in every mode by the same weights.",
        few_animals(animals),
    )


def describe_horizons(horizons: pd.DataFrame) -> str:
    """The parallel forecast at each horizon, compared with the true rates, and the best forecast at the longest."""
    rows = horizons[horizons["method"] == FORECASTER].sort_values("last_ms")
    scores = ", ".join(f"{row.bits_per_spike:+.3f} up to {row.last_ms:g} ms" for row in rows.itertuples())
    first, last = rows.iloc[0], rows.iloc[-1]
    text = f"The parallel forecast gains, in bits/spike relative to the reference-window mean rate, {scores}"
    if len(rows) > 1:
        falls = first["bits_per_spike"] > last["bits_per_spike"]
        text += f": it **{'falls' if falls else 'does not fall'}** with the horizon"
        if falls and last["bits_per_spike"] > 0:
            text += f", to {last['bits_per_spike'] / first['bits_per_spike']:.0%} of the first"
    text += f" (at {last['last_ms']:g} ms {interval_text(last)})."
    if np.isfinite(last["share_of_oracle"]):
        text += (
            f" This is {first['share_of_oracle']:.0%} of the gain of the true rates at {first['last_ms']:g} ms and "
            f"{last['share_of_oracle']:.0%} at {last['last_ms']:g} ms."
        )
    others = horizons[(horizons["last_ms"] == last["last_ms"]) & (horizons["class"] != CEILING)]
    best = others.loc[others["bits_per_spike"].idxmax()]
    if best["method"] != FORECASTER:
        text += f" At {last['last_ms']:g} ms {_name(best['method'])} is the best ({best['bits_per_spike']:+.3f})."
    return text


def describe_reach(reach: pd.DataFrame) -> str:
    """The horizon at which the interval of each method first includes zero."""
    rows = reach[(reach["class"] != CEILING) & reach["method"].isin(_NAMES)]
    if rows.empty or rows["bins_above"].isna().all():
        return "Without intervals it is open up to which bin any method is above zero."
    sentences = []
    for over, start in (
        (REFERENCE_MEAN, "Of the intervals of single bins"),
        (GAMMA_POISSON, "Of those of the gain relative to the gamma-Poisson filter"),
    ):
        shown = rows[rows["over"] == over]
        touching, never = shown[shown["touches_ms"].notna()], shown[shown["touches_ms"].isna()]
        parts = []
        if len(never):
            names = listed([_name(name) for name in never["method"]])
            end_ms = shown["horizon_ms"].iloc[0]
            parts.append(f"that of {names} lies above zero **in every bin** up to {end_ms:g} ms")
        parts += [
            f"that of {_name(row.method)} first includes zero at **{row.touches_ms:g} ms**"
            for row in touching.itertuples()
        ]
        sentences.append(f"{start}, {'; '.join(parts)}." if parts else "")
    return prose(*sentences)


def describe_rollouts(comparisons: pd.DataFrame, teacher_forced: pd.DataFrame) -> str:
    """Rollout modes and teacher forcing, or that the network has no feedback."""
    if comparisons.empty and teacher_forced.empty:
        return (
            "This run has no rollouts (`rollout.decodings: []`): sample paths are drawn from the parallel forecast, "
            "with a gain that units share."
        )
    return prose(describe_decodings(comparisons), describe_teacher_forced(teacher_forced))


def describe_decodings(comparisons: pd.DataFrame) -> str:
    """Rollout modes against the parallel forecast, at the longest horizon."""
    if comparisons.empty:
        return "No rollout mode can be compared with the parallel forecast in this run."
    rows = whole_horizon(comparisons)
    parts = []
    for _, row in rows.iterrows():
        order = "gains" if row["difference"] >= 0 else "loses"
        parts.append(
            f"{_name(row['method'])} {order} {abs(row['difference']):.4f} bits/spike ({interval_text(row)}"
            f"{adjusted_p_text(row)}), {verdict(row)}"
        )
    last_ms = rows["last_ms"].iloc[0]
    return prose(f"Against the parallel forecast, up to {last_ms:g} ms, {'; '.join(parts)}.", _describe_noise(rows))


def _describe_noise(comparisons: pd.DataFrame) -> str:
    """Share of the losses that is due to the noise of few paths."""
    lost = comparisons[comparisons["difference"] < 0]
    if lost.empty:
        return ""
    shares = 1 - lost["many_paths"] / lost["difference"]
    parts = [
        f"{share:.0%} for {_name(name)} ({left:+.4f} would remain)"
        for name, share, left in zip(lost["method"], shares, lost["many_paths"], strict=True)
    ]
    return f"The noise of few sample paths explains this share of the loss: {listed(parts)}."


def describe_teacher_forced(teacher_forced: pd.DataFrame) -> str:
    """The score of teacher forcing, which is no forecast."""
    if teacher_forced.empty:
        return "Nothing was scored with teacher forcing."
    row = whole_horizon(teacher_forced).iloc[-1]
    text = (
        "Conditioned on the observed counts of all earlier bins, which is **not a forecast**, the same decoder "
        f"scores {row['bits_per_spike']:+.3f} up to {row['last_ms']:g} ms"
    )
    gap = row["over_autoregressive"]
    if np.isnan(gap):
        return f"{text}."
    sign = "more" if gap >= 0 else "less"
    return (
        f"{text}, {abs(gap):.3f} {sign} than its own rollout ({interval_text(row, 'over_autoregressive')}): no "
        "forecast is scored in this way."
    )


def describe_calibration(calibration: pd.DataFrame) -> str:
    """Coverage of 90 % intervals of the forecast and the rollout, at the shortest and the longest horizon."""
    sentences = []
    for target, words in ((UNIT, "a unit"), (POPULATION, "all units together")):
        rows = calibration[calibration["target"] == target]
        shown = []
        for name in (FORECASTER, SHARED_GAIN, DECODINGS[0]):
            line = rows[rows["method"] == name].sort_values("last_ms")
            if len(line):
                ends = [line.iloc[0], line.iloc[-1]] if len(line) > 1 else [line.iloc[0]]
                covered = " and ".join(f"{row['coverage_90']:.1%} up to {row['last_ms']:g} ms" for row in ends)
                shown.append(f"for {_name(name)} {covered}{_spread(ends[-1])}")
        if shown:
            sentences.append(f"The 90 % intervals of the count of {words} in a bin cover, {'; '.join(shown)}.")
    return prose(*sentences) or "No sample paths were scored."


def describe_dependence(joint: pd.DataFrame) -> str:
    """The sum of all units over the horizon, and the contribution of dependence; "" if a run has no shared gain."""
    rows = joint.set_index("method")
    if not {FORECASTER, SHARED_GAIN, EXCHANGED_GAIN} <= set(rows.index):
        return ""
    gain, independent, exchanged = (rows.loc[name] for name in (SHARED_GAIN, FORECASTER, EXCHANGED_GAIN))
    covered, crps = f"coverage_90_{POPULATION_TOTAL}", f"crps_{POPULATION_TOTAL}"
    units, bins = (gain[f"dependence_energy_{vector}"] for vector in (UNIT_TOTAL, POPULATION))
    return (
        f"Of the sum of all units over the horizon, the 90 % intervals of independent counts cover "
        f"{independent[covered]:.1%} and those of paths with a shared gain {gain[covered]:.1%}; the CRPS changes by "
        f"{gain[crps] / independent[crps] - 1:+.1%}. Intervals whose width also follows their misses cover "
        f"{gain[f'adapted_{covered}']:.1%}. With the paths exchanged between units, so that each unit keeps its "
        f"distribution and units are independent, they cover {exchanged[covered]:.1%}. Dependence between units "
        f"changes the energy score of the sums of single units by {-units:+.2%}, and that of the bins of all units by "
        f"{-bins:+.2%}."
    )


def _spread(row: pd.Series) -> str:
    off = 100 * (row["coverage_90"] - 0.9)
    if abs(off) < _LITTLE:
        return ""
    return ", **too narrow**" if off < 0 else ", **too wide**"


def _name(method: str) -> str:
    return _NAMES.get(method) or method_phrase(method)
