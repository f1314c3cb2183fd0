"""Sentences on downstream decoding, each decided by the numbers, whatever their direction."""

from pathlib import Path

import pandas as pd

from neurohorizon.analysis.tables import read_tables
from neurohorizon.analysis.wording import (
    SIGNIFICANT,
    adjusted_p_text,
    bullets,
    few_animals,
    interval_text,
    listed,
    paragraphs,
    prose,
)
from neurohorizon.experiments.downstream.tables import (
    CHANCE,
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
from neurohorizon.printed_names import counted, in_sentence


def describe_results(folder: Path) -> str:
    """The experiment in a few paragraphs, from the folder of its tables."""
    table = read_tables(folder, "summary", "comparisons", "left_out")
    summary, comparisons = table["summary"], table["comparisons"]
    if summary.empty:
        return describe_run(summary)
    return paragraphs(
        prose(describe_run(summary), describe_latents(summary)),
        prose(describe_counts(comparisons), describe_poyo(summary, comparisons)),
        prose(describe_animals(summary), describe_left_out(table["left_out"])),
    )


def describe_run(summary: pd.DataFrame) -> str:
    """Amount of data."""
    rows = summary[summary["role"] == HELDOUT]
    if rows.empty:
        return "Nothing could be decoded of an animal never seen in training."
    animals = int(rows["animals"].max())
    return prose(
        f"{counted(rows['sessions'].max(), 'session')} of {counted(animals, 'animal')} never seen in training were "
        "decoded.",
        few_animals(animals),
    )


def describe_latents(summary: pd.DataFrame) -> str:
    """Targets that are decoded from the latents of unseen animals."""
    rows = summary[(summary["role"] == HELDOUT) & (summary["method"] == LATENTS)]
    if rows.empty:
        return "No target could be decoded from the latents."
    above, not_above = [], []
    for row in rows.to_dict("records"):
        chance = "0" if row["metric"] == "R2" else f"{row['chance']:.3f}"
        words = f"{TARGET_WORDS[row['target']]} ({_score(row)} against {chance})"
        (above if row["above_chance_lower"] > 0 else not_above).append(words)
    return prose(
        f"NeuroHorizon's frozen latents decode, with an interval **above chance**, {listed(above)}." if above else "",
        f"{'They do not' if above else 'Frozen latents **do not**'} decode {listed(not_above, 'or')} with an interval "
        "above chance."
        if not_above
        else "",
    )


def describe_counts(comparisons: pd.DataFrame) -> str:
    """The latents against counts of the same spikes, and the contribution of reference rates to counts."""
    sentences = []
    heldout = comparisons[comparisons["role"] == HELDOUT]
    for against in (RAW, NORMALISED):
        rows = heldout[(heldout["method"] == LATENTS) & (heldout["against"] == against)]
        if rows.empty:
            continue
        better = rows["difference"] > 0
        parts = [
            f"{sign} than {METHOD_WORDS[against]} for {listed([TARGET_WORDS[name] for name in rows.loc[of, 'target']])}"
            for sign, of in (("better", better), ("**worse**", ~better))
            if of.any()
        ]
        count = int((rows["p_holm"] < SIGNIFICANT).sum()) or "none"
        sentences.append(
            f"On average latents decode {' and '.join(parts)} ({count} of {len(rows)} after Holm's adjustment)."
        )
    rows = heldout[(heldout["method"] == NORMALISED) & (heldout["against"] == RAW)]
    if len(rows):
        sentences.append(f"Counts relative to reference rates, minus raw counts: {_differences(rows)}.")
    return prose(*sentences)


def describe_poyo(summary: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """The latents against those of POYO, and POYO's own decoding of the wheel."""
    rows = comparisons[(comparisons["role"] == HELDOUT) & (comparisons["against"] == POYO_LATENTS)]
    own = summary[(summary["role"] == HELDOUT) & (summary["method"] == POYO)]
    sentences = []
    if len(rows):
        sentences.append(
            "POYO's latents, of a network that was extended to each session with labels of the wheel, are decoded by "
            f"the same probes; NeuroHorizon minus POYO: {_differences(rows)}."
        )
    if len(own):
        row = own.iloc[0]
        sentences.append(
            f"POYO itself, fitted only before the decoded time, decodes {TARGET_WORDS[row['target']]} with R2 "
            f"{row['score']:+.3f} ({interval_text(row)})."
        )
    return prose(*sentences)


def describe_animals(summary: pd.DataFrame) -> str:
    """Unseen animals compared with training animals, from the latents."""
    rows = summary[summary["method"] == LATENTS].set_index(["role", "target"])
    both = [name for name in TARGET_WORDS if (HELDOUT, name) in rows.index and (TRAIN, name) in rows.index]
    found = [
        f"{TARGET_WORDS[name]} {rows.loc[(HELDOUT, name), 'score']:.3f} against {rows.loc[(TRAIN, name), 'score']:.3f}"
        for name in both
    ]
    if not found:
        return ""
    return f"From the latents, animals never seen in training against training animals: {', '.join(found)}."


def describe_declared(comparisons: pd.DataFrame) -> str:
    """The declared comparisons as a list."""
    lines = []
    for row in comparisons[comparisons["declared"].astype(bool)].to_dict("records"):
        against = "chance" if row["against"] == CHANCE else METHOD_WORDS[row["against"]]
        lines.append(
            f"{TARGET_WORDS[row['target']]}: latents minus {against}: {row['difference']:+.3f} "
            f"({interval_text(row)}), better in {row['sessions_better']} of "
            f"{counted(row['sessions'], 'session')}{adjusted_p_text(row)}."
        )
    return bullets(lines, "No declared comparison can be made in this run.")


def describe_left_out(left_out: pd.DataFrame) -> str:
    """Targets that could not be decoded, with numbers of sessions and the most frequent reason."""
    parts = []
    for target in TARGET_WORDS:
        rows = left_out[left_out["target"] == target].drop_duplicates(["role", "fold", "session"])
        if len(rows):
            reason = in_sentence(rows["left_out"].value_counts(sort=True).index[0])
            parts.append(f"{TARGET_WORDS[target]} of {counted(len(rows), 'session')} (such as: {reason})")
    return f"Not decoded were {listed(parts)}." if parts else ""


def _differences(rows: pd.DataFrame) -> str:
    return ", ".join(f"{TARGET_WORDS[row.target]} {row.difference:+.3f}" for row in rows.itertuples())


def _score(row: dict) -> str:
    return f"R2 {row['score']:+.3f}" if row["metric"] == "R2" else f"{row['score']:.3f}"
