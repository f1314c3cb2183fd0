"""Sentences on downstream decoding, each decided by the numbers in it, whichever way they went."""

from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import counted, listed
from neurohorizon.analysis.wording import FEW_ANIMALS, SIGNIFICANT, interval_text
from neurohorizon.experiments.downstream.names import (
    HELDOUT,
    LATENTS,
    METHOD_WORDS,
    NORMALISED,
    POYO,
    POYO_LATENTS,
    RAW,
    TARGET_WORDS,
    TRAIN,
)
from neurohorizon.experiments.downstream.tables import CHANCE


def describe_results(folder: Path) -> str:
    """The experiment in a few paragraphs, from the folder of its tables."""
    table = {name: pd.read_parquet(Path(folder) / f"{name}.parquet") for name in ("summary", "comparisons", "left_out")}
    summary, comparisons = table["summary"], table["comparisons"]
    if summary.empty:
        return describe_run(summary)
    first = f"{describe_run(summary)} {describe_latents(summary)}"
    second = f"{describe_counts(comparisons)} {describe_poyo(summary, comparisons)}".strip()
    third = f"{describe_animals(summary)} {describe_left_out(table['left_out'])}".strip()
    return "\n\n".join(part for part in (first, second, third) if part)


def describe_run(summary: pd.DataFrame) -> str:
    """On how much data the numbers stand."""
    rows = summary[summary["role"] == HELDOUT]
    if rows.empty:
        return "Nothing could be decoded of an animal never seen in training."
    sessions, animals = int(rows["sessions"].max()), int(rows["animals"].max())
    text = f"Decoded were {counted(sessions, 'session')} of {counted(animals, 'animal')} never seen in training."
    if animals < FEW_ANIMALS:
        text += (
            f" With {counted(animals, 'animal')} intervals are coarse and no test by animal can give a p below "
            f"{2.0 ** (1 - animals):.2g}, whatever the data."
        )
    return text


def describe_latents(summary: pd.DataFrame) -> str:
    """What can be read from the latents of unseen animals, target by target."""
    rows = summary[(summary["role"] == HELDOUT) & (summary["method"] == LATENTS)]
    if rows.empty:
        return "No target could be read from the latents."
    above, not_above = [], []
    for row in rows.to_dict("records"):
        words = f"{TARGET_WORDS[row['target']]} ({_score(row)} against {_chance(row)})"
        (above if row["above_chance_lower"] > 0 else not_above).append(words)
    parts = []
    if above:
        parts.append(f"NeuroHorizon's frozen latents tell, **above chance** in the interval, {listed(above)}.")
    if not_above:
        parts.append(
            f"{'They do not' if above else 'Frozen latents **do not**'} tell {listed(not_above, 'or')} above chance "
            "in the interval."
        )
    return " ".join(parts)


def describe_counts(comparisons: pd.DataFrame) -> str:
    """The latents against counts of the same spikes, and what reference rates add to counts."""
    sentences = []
    for against in (RAW, NORMALISED):
        rows = comparisons[(comparisons["role"] == HELDOUT) & (comparisons["method"] == LATENTS)]
        rows = rows[rows["against"] == against]
        if rows.empty:
            continue
        better = [TARGET_WORDS[name] for name in rows.loc[rows["difference"] > 0, "target"]]
        worse = [TARGET_WORDS[name] for name in rows.loc[~(rows["difference"] > 0), "target"]]
        sure = int((rows["p_holm"] < SIGNIFICANT).sum())
        parts = []
        if better:
            parts.append(f"more than {METHOD_WORDS[against]} of {listed(better)}")
        if worse:
            parts.append(f"**less** than {METHOD_WORDS[against]} of {listed(worse)}")
        count = "none" if not sure else str(sure)
        sentences.append(
            f"Latents tell {' and '.join(parts)} on average ({count} of {len(rows)} after Holm's adjustment)."
        )
    rows = comparisons[(comparisons["role"] == HELDOUT) & (comparisons["method"] == NORMALISED)]
    rows = rows[rows["against"] == RAW]
    if len(rows):
        gains = [f"{TARGET_WORDS[row.target]} {row.difference:+.3f}" for row in rows.itertuples()]
        sentences.append(f"Counts compared with reference rates, less raw counts: {', '.join(gains)}.")
    return " ".join(sentences)


def describe_poyo(summary: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """The latents against those of POYO, and what POYO itself decodes of the wheel."""
    rows = comparisons[(comparisons["role"] == HELDOUT) & (comparisons["against"] == POYO_LATENTS)]
    sentences = []
    if len(rows):
        found = [f"{TARGET_WORDS[row.target]} {row.difference:+.3f}" for row in rows.itertuples()]
        sentences.append(
            "POYO's latents, of a network that was extended to each session with labels of the wheel, are read by the "
            f"same probes; NeuroHorizon's less POYO's: {', '.join(found)}."
        )
    own = summary[(summary["role"] == HELDOUT) & (summary["method"] == POYO)]
    if len(own):
        row = own.iloc[0]
        sentences.append(
            f"POYO itself, fitted before the decoded time alone, decodes {TARGET_WORDS[row['target']]} with R2 "
            f"{row['score']:+.3f} ({interval_text(row)})."
        )
    return " ".join(sentences)


def describe_animals(summary: pd.DataFrame) -> str:
    """Unseen animals beside training animals, from the latents."""
    rows = summary[summary["method"] == LATENTS].set_index(["role", "target"])
    both = [name for name in TARGET_WORDS if (HELDOUT, name) in rows.index and (TRAIN, name) in rows.index]
    if not both:
        return ""
    found = [
        f"{TARGET_WORDS[name]} {rows.loc[(HELDOUT, name), 'score']:.3f} against {rows.loc[(TRAIN, name), 'score']:.3f}"
        for name in both
    ]
    return f"From the latents, animals never seen in training against training animals: {', '.join(found)}."


def describe_declared(comparisons: pd.DataFrame) -> str:
    """The declared comparisons as a list."""
    lines = []
    for row in comparisons[comparisons["declared"].astype(bool)].to_dict("records"):
        against = "chance" if row["against"] == CHANCE else METHOD_WORDS[row["against"]]
        p = "" if np.isnan(row["p_holm"]) else f", Holm p = {row['p_holm']:.2g}"
        lines.append(
            f"- {TARGET_WORDS[row['target']]}: latents over {against}: {row['difference']:+.3f} "
            f"({interval_text(pd.Series(row))}), better in {row['sessions_better']} of "
            f"{counted(row['sessions'], 'session')}{p}."
        )
    return "\n".join(lines) or "No declared comparison can be made in this run."


def describe_left_out(left_out: pd.DataFrame) -> str:
    """Which targets could not be decoded in how many sessions, with the commonest reason."""
    parts = []
    for target in TARGET_WORDS:
        rows = left_out[left_out["target"] == target].drop_duplicates(["role", "fold", "session"])
        if len(rows):
            reason = rows["left_out"].value_counts(sort=True).index[0]
            parts.append(f"{TARGET_WORDS[target]} of {counted(len(rows), 'session')} (such as: {reason})")
    return f"Not decoded were {listed(parts)}." if parts else ""


def _score(row: dict) -> str:
    return f"R2 {row['score']:+.3f}" if row["metric"] == "R2" else f"{row['score']:.3f}"


def _chance(row: dict) -> str:
    return "0" if row["metric"] == "R2" else f"{row['chance']:.3f}"
