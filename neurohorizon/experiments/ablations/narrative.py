"""Sentences on the ablations, each decided by the numbers, whatever their direction."""

from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.ablations import ABLATIONS, FULL, TEACHER_FORCING
from neurohorizon.analysis.tables import read_tables
from neurohorizon.analysis.wording import adjusted_p_text, few_animals, interval_text, outcome, paragraphs, prose
from neurohorizon.methods import ZERO_SHOT
from neurohorizon.printed_names import counted

_OUTCOMES = {  # outcome of the interval: heading
    "worse": "**Worse** than the full network is the network",
    "unclear": "**Not distinguishable** from it is the network",
    "better": "**Better** than it is the network",
    "unknown": "Without an interval, so that nothing follows for other animals, is the network",
}


def describe_results(folder: Path) -> str:
    """The experiment in a few paragraphs, from the folder of its tables."""
    table = read_tables(folder, "ablations", "summary")
    ablations = table["ablations"]
    return paragraphs(
        prose(describe_costliest(ablations), describe_run(table["summary"])),
        describe_parts(ablations),
        prose(describe_identity(ablations), describe_rollout(ablations)),
    )


def describe_costliest(ablations: pd.DataFrame) -> str:
    """The ablation with the largest loss; "" if none was retrained.

    Controls are skipped: they remove nothing, they only receive wrong inputs at forecast time.
    """
    trained = ablations[ablations["declared"].astype(bool) & (ablations["class"] == ZERO_SHOT)]
    if trained.empty:
        return ""
    row = trained.loc[trained["difference"].idxmin()]
    most = "The largest loss" if row["difference"] < 0 else "No ablation lowered the score; the smallest gain"
    ending = {"unclear": ", which **cannot be distinguished** from zero", "unknown": ", without an interval"}
    return (
        f"{most} is that of the network {ABLATIONS[row['variant']].phrase}: **{row['difference']:+.3f} bits/spike** "
        f"({interval_text(row)}){ending.get(outcome(row), '')}."
    )


def describe_run(summary: pd.DataFrame) -> str:
    """Score of the full network, and amount of data."""
    row = summary[summary["method"] == FULL].iloc[0]
    seeds = counted(row["seeds"], "seed")
    if np.isfinite(row["seed_sd"]):
        seeds += f", which differ by a standard deviation of {row['seed_sd']:.4f}"
    return prose(
        f"Trained for the same number of steps as each ablation, the full network scores {row['bits_per_spike']:+.3f} "
        f"bits/spike relative to the reference-window mean rate ({interval_text(row)}; "
        f"{counted(row['sessions'], 'held-out session')} of {counted(row['animals'], 'animal')}, {seeds}).",
        few_animals(int(row["animals"])),
    )


def describe_parts(ablations: pd.DataFrame) -> str:
    """All declared ablations, grouped by the outcome of their interval, the largest difference first."""
    declared = ablations[ablations["declared"].astype(bool)]
    sentences = []
    for found, heading in _OUTCOMES.items():
        rows = declared[[outcome(row) == found for row in declared.to_dict("records")]]
        rows = rows.reindex(rows["difference"].abs().sort_values(ascending=False, kind="stable").index)
        parts = [
            f"{ABLATIONS[row['variant']].phrase} "
            f"({row['difference']:+.3f} bits/spike, {interval_text(row)}{adjusted_p_text(row)})"
            for row in rows.to_dict("records")
        ]
        sentences.append(f"{heading} {'; '.join(parts)}." if parts else "")
    return prose(*sentences)


def describe_identity(ablations: pd.DataFrame) -> str:
    """Contribution of unit identity, and the score with embeddings fitted to the session."""
    rows = ablations[ablations["declared"].astype(bool)].set_index("variant")
    sentences = []
    if {"no_identity", "shuffled_identity"} <= set(rows.index):
        without, shuffled = rows.loc["no_identity"], rows.loc["shuffled_identity"]
        words = {
            (True, True): "Unit identity **helps**: the network is worse without it and with wrong identities",
            (True, False): "The network is **worse** trained without identities, but not with wrong identities",
            (False, True): "The network is worse with wrong identities, but trained without any it is **not worse**",
            (False, False): "There is **no evidence** that unit identity helps",
        }[outcome(without) == "worse", outcome(shuffled) == "worse"]
        sentences.append(f"{words} ({without['difference']:+.3f} and {shuffled['difference']:+.3f}).")
    if "learned_embedding" in rows.index and np.isfinite(rows.loc["learned_embedding", "share_kept"]):
        share = rows.loc["learned_embedding", "share_kept"]
        sentences.append(
            f"Embeddings fitted to the session, which the network never uses, reach {share:.0%} of its score."
        )
    return prose(*sentences)


def describe_rollout(ablations: pd.DataFrame) -> str:
    """Effect of scheduled sampling on a rollout, and on the parallel forecast."""
    rows = ablations[ablations["variant"] == TEACHER_FORCING]
    rollout, parallel = (rows[rows["declared"].astype(bool) == declared] for declared in (True, False))
    if rollout.empty:
        return ""
    row = rollout.iloc[0]
    verdict = {
        "worse": "practice on its own draws **helps** the rollout",
        "better": "practice on its own draws **harms** the rollout",
        "unclear": "an effect of practice on its own draws **cannot be distinguished** from zero",
        "unknown": "without an interval it is open whether practice on its own draws helps the rollout",
    }[outcome(row)]
    text = (
        f"Without scheduled sampling a rollout scores {row['bits_per_spike']:+.3f} instead of "
        f"{row['against_bits_per_spike']:+.3f} bits/spike: {verdict}"
    )
    if len(parallel):
        text += f" (the parallel forecast changes by {parallel.iloc[0]['difference']:+.4f})"
    return f"{text}."
