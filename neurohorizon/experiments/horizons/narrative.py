"""Sentences on the experiment on horizons, each decided by the numbers in it, whichever way they went."""

from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import counted, listed
from neurohorizon.analysis.wording import FEW_ANIMALS, interval_text
from neurohorizon.experiments.horizons.calibration import POPULATION, UNIT
from neurohorizon.experiments.horizons.calibration_tables import GAMMA_POISSON, REFERENCE_MEAN
from neurohorizon.methods import CEILING, DECODINGS, FORECASTER, ORACLE, method_phrase

_NAMES = {
    FORECASTER: "the parallel forecast",
    **dict(
        zip(DECODINGS, ("the autoregressive rollout", "blockwise decoding", "coarse-to-fine decoding"), strict=True)
    ),
    GAMMA_POISSON: method_phrase(GAMMA_POISSON),
    ORACLE: "the true rates",
}
_LITTLE = 1.0  # percentage points of coverage that are not worth a word


def describe_results(folder: Path) -> str:
    """The experiment in a few paragraphs, from the folder of its tables."""
    names = ("horizons", "reach", "comparisons", "teacher_forced", "calibration")
    table = {name: pd.read_parquet(Path(folder) / f"{name}.parquet") for name in names}
    first = f"{describe_horizons(table['horizons'])} {describe_reach(table['reach'])}"
    second = f"{describe_decodings(table['comparisons'])} {describe_told(table['teacher_forced'])}"
    return "\n\n".join([first, second, describe_calibration(table["calibration"])])


def describe_run(horizons: pd.DataFrame) -> str:
    """On how much data the numbers stand."""
    rows = horizons[horizons["method"] == FORECASTER]
    sessions, animals = int(rows["sessions"].max()), int(rows["animals"].max())
    text = (
        f"{counted(int(rows['windows'].max()), 'window')} of {counted(sessions, 'held-out session')} of "
        f"{counted(animals, 'animal')} were forecast by every decoding of the same weights."
    )
    if animals == 1:
        return f"{text} One animal gives no interval."
    if animals < FEW_ANIMALS:
        text += (
            f" With {animals} animals intervals are coarse and no test by animal can give a p below "
            f"{2.0 ** (1 - animals):.2g}, whatever the data."
        )
    return text


def describe_horizons(horizons: pd.DataFrame) -> str:
    """The parallel forecast at each horizon, beside the true rates, and the best forecast at the longest."""
    rows = horizons[horizons["method"] == FORECASTER].sort_values("last_ms")
    scores = ", ".join(f"{row.bits_per_spike:+.3f} up to {row.last_ms:g} ms" for row in rows.itertuples())
    first, last = rows.iloc[0], rows.iloc[-1]
    text = f"The parallel forecast gains, in bits/spike over the reference-window mean rate, {scores}"
    if len(rows) > 1:
        falls = first["bits_per_spike"] > last["bits_per_spike"]
        text += f": it **{'falls' if falls else 'does not fall'}** with the horizon"
        if falls and last["bits_per_spike"] > 0:
            text += f", to {last['bits_per_spike'] / first['bits_per_spike']:.0%} of the first"
    text += f" (at {last['last_ms']:g} ms {interval_text(last)})."
    if np.isfinite(last["share_of_oracle"]):
        text += (
            f" Of what the true rates gain this is {first['share_of_oracle']:.0%} at {first['last_ms']:g} ms and "
            f"{last['share_of_oracle']:.0%} at {last['last_ms']:g} ms."
        )
    others = horizons[(horizons["last_ms"] == last["last_ms"]) & (horizons["class"] != CEILING)]
    best = others.loc[others["bits_per_spike"].idxmax()]
    if best["method"] != FORECASTER:
        text += f" At {last['last_ms']:g} ms {_name(best['method'])} is the best ({best['bits_per_spike']:+.3f})."
    return text


def describe_reach(reach: pd.DataFrame) -> str:
    """The horizon at which the interval of each method first touches zero."""
    rows = reach[(reach["class"] != CEILING) & reach["method"].isin(_NAMES)]
    if rows.empty or rows["bins_above"].isna().all():
        return "There are no intervals to say how far ahead anything is known."
    sentences = []
    for over, start in (
        (REFERENCE_MEAN, "Of the intervals of single bins"),
        (GAMMA_POISSON, "Of those of the gain over the gamma-Poisson filter"),
    ):
        of = rows[rows["over"] == over]
        if of.empty:
            continue
        end = of["horizon_ms"].iloc[0]
        touching, never = of[of["touches_ms"].notna()], of[of["touches_ms"].isna()]
        parts = []
        if len(never):
            names = listed([_name(name) for name in never["method"]])
            parts.append(f"that of {names} lies above zero **in every bin** up to {end:g} ms")
        parts += [
            f"that of {_name(row.method)} first touches zero at **{row.touches_ms:g} ms**"
            for row in touching.itertuples()
        ]
        sentences.append(f"{start}, {'; '.join(parts)}.")
    return " ".join(sentences)


def describe_decodings(comparisons: pd.DataFrame) -> str:
    """Decodings that go on from their own draws against the parallel forecast, at the longest horizon."""
    if comparisons.empty:
        return "No decoding can be compared with the parallel forecast in this run."
    last_ms = comparisons["last_ms"].max()
    sentences = []
    for row in comparisons[comparisons["last_ms"] == last_ms].to_dict("records"):
        order = "gains" if row["difference"] >= 0 else "loses"
        p = "" if np.isnan(row["p_holm"]) else f", Holm p = {row['p_holm']:.2g}"
        sentences.append(
            f"{_name(row['method'])} {order} {abs(row['difference']):.4f} bits/spike ({interval_text(pd.Series(row))}"
            f"{p}), {_verdict(row)}"
        )
    text = f"Against the parallel forecast, up to {last_ms:g} ms, {'; '.join(sentences)}."
    return f"{text} {_describe_noise(comparisons[comparisons['last_ms'] == last_ms])}".strip()


def _describe_noise(comparisons: pd.DataFrame) -> str:
    """How much of the differences is the noise of few paths."""
    lost = comparisons[comparisons["difference"] < 0]
    if lost.empty:
        return ""
    shares = 1 - lost["many_paths"] / lost["difference"]
    parts = [
        f"{share:.0%} for {_name(name)} ({left:+.4f} would be left)"
        for name, share, left in zip(lost["method"], shares, lost["many_paths"], strict=True)
    ]
    return f"Of what is lost, the noise of few sample paths is {listed(parts)}."


def describe_told(told: pd.DataFrame) -> str:
    """What teacher forcing would pretend."""
    if told.empty:
        return "Nothing was scored with teacher forcing."
    row = told.sort_values("last_ms").iloc[-1]
    text = (
        f"Told the counts that came in all bins before, which is **not a forecast**, the same decoder scores "
        f"{row['bits_per_spike']:+.3f} up to {row['last_ms']:g} ms"
    )
    gap = row["over_autoregressive"]
    if np.isnan(gap):
        return f"{text}."
    bounds = pd.Series({name: row[f"over_autoregressive_{name}"] for name in ("lower", "upper")})
    bounds["interval"] = row["interval"]
    sign = "more" if gap >= 0 else "less"
    return (
        f"{text}, {abs(gap):.3f} {sign} than its own rollout ({interval_text(bounds)}): no forecast is scored that way."
    )


def describe_calibration(calibration: pd.DataFrame) -> str:
    """Coverage of 90 % intervals at the shortest and the longest horizon, of the rollout that samples bin by bin."""
    sentences = []
    for target, words in ((UNIT, "a unit"), (POPULATION, "all units together")):
        rows = calibration[calibration["target"] == target]
        shown = []
        for name in (FORECASTER, DECODINGS[0]):
            line = rows[rows["method"] == name].sort_values("last_ms")
            if len(line):
                ends = [line.iloc[0], line.iloc[-1]] if len(line) > 1 else [line.iloc[0]]
                covered = " and ".join(f"{row['coverage_90']:.1%} up to {row['last_ms']:g} ms" for row in ends)
                shown.append(f"of {_name(name)} {covered}{_spread(ends[-1])}")
        if shown:
            sentences.append(f"Of the counts of {words} in a bin, 90 % intervals hold, {'; '.join(shown)}.")
    return " ".join(sentences) or "No sample paths were judged."


def _spread(row: pd.Series) -> str:
    off = 100 * (row["coverage_90"] - 0.9)
    if abs(off) < _LITTLE:
        return ""
    return ", **too narrow**" if off < 0 else ", **too wide**"


def _verdict(row: dict) -> str:
    if np.isnan(row["lower"]) or np.isnan(row["upper"]):
        return "of which it cannot be said whether it would hold for other animals"
    if row["lower"] <= 0 <= row["upper"]:
        return "which **cannot be told apart** from none"
    few = " in these few animals" if row["animals"] < FEW_ANIMALS else ""
    return f"**better**{few}" if row["lower"] > 0 else f"**worse**{few}"


def _name(method: str) -> str:
    return _NAMES.get(method) or method_phrase(method)
