"""Sentences on the ablations, each decided by the numbers in it, whichever way they went."""

from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.ablations import ABLATIONS, FULL, TEACHER_FORCING
from neurohorizon.analysis.tables import counted
from neurohorizon.analysis.wording import FEW_ANIMALS, interval_text
from neurohorizon.methods import ZERO_SHOT

_OUTCOMES = {  # which side of zero the interval lies on: heading
    "worse": "**Worse** than the whole network is the one",
    "unclear": "**Not to be told apart** from it is the one",
    "better": "**Better** than it is the one",
    "unknown": "Of these it cannot be said whether they would hold for other animals: the one",
}


def describe_results(folder: Path) -> str:
    """The experiment in a few paragraphs, from the folder of its tables."""
    table = {name: pd.read_parquet(Path(folder) / f"{name}.parquet") for name in ("ablations", "summary")}
    ablations = table["ablations"]
    second = f"{describe_identity(ablations)} {describe_rollout(ablations)}".strip()
    first = f"{describe_costliest(ablations)} {describe_run(table['summary'])}".strip()
    return "\n\n".join(filter(None, [first, describe_parts(ablations), second]))


def describe_costliest(ablations: pd.DataFrame) -> str:
    """The part that costs most to train without, or "": a control, which is told wrong, has all parts."""
    trained = ablations[ablations["declared"].astype(bool) & (ablations["class"] == ZERO_SHOT)]
    if trained.empty:
        return ""
    row = trained.loc[trained["difference"].idxmin()]
    most = (
        "The most is lost by the network" if row["difference"] < 0 else "No part is missed: least is gained by the one"
    )
    verdict = {"unclear": ", which **cannot be told apart** from none", "unknown": ", from too few animals to say more"}
    return (
        f"{most} {ABLATIONS[row['variant']].phrase}: **{row['difference']:+.3f} bits/spike** ({interval_text(row)})"
        f"{verdict.get(_outcome(row), '')}."
    )


def describe_run(summary: pd.DataFrame) -> str:
    """What the whole network scores, and on how much data that stands."""
    row = summary[summary["method"] == FULL].iloc[0]
    seeds, animals = counted(int(row["seeds"]), "seed"), int(row["animals"])
    text = (
        f"Trained for as many steps as each ablation, the whole network scores {row['bits_per_spike']:+.3f} "
        f"bits/spike over the reference-window mean rate ({interval_text(row)}; "
        f"{counted(int(row['sessions']), 'held-out session')} of {counted(animals, 'animal')}, {seeds}"
    )
    text += ")." if np.isnan(row["seed_sd"]) else f", which differ by a standard deviation of {row['seed_sd']:.4f})."
    if 1 < animals < FEW_ANIMALS:
        text += (
            f" With {animals} animals no test by animal can give a p below {2.0 ** (1 - animals):.2g}, whatever the "
            "data."
        )
    return text


def describe_parts(ablations: pd.DataFrame) -> str:
    """All declared ablations, sorted by what their interval says, the largest difference first."""
    declared = ablations[ablations["declared"].astype(bool)]
    sentences = []
    for outcome, heading in _OUTCOMES.items():
        rows = declared[[_outcome(row) == outcome for row in declared.to_dict("records")]]
        if rows.empty:
            continue
        rows = rows.reindex(rows["difference"].abs().sort_values(ascending=False, kind="stable").index)
        parts = [
            f"{ABLATIONS[row['variant']].phrase} ({row['difference']:+.3f} bits/spike, "
            f"{interval_text(pd.Series(row))}{_p(row)})"
            for row in rows.to_dict("records")
        ]
        sentences.append(f"{heading} {'; '.join(parts)}.")
    return " ".join(sentences)


def describe_identity(ablations: pd.DataFrame) -> str:
    """Whether it matters which unit is which, and how far fitting a session would go beyond."""
    rows = ablations[ablations["declared"].astype(bool)].set_index("variant")
    sentences = []
    if {"no_identity", "shuffled_identity"} <= set(rows.index):
        without, shuffled = rows.loc["no_identity"], rows.loc["shuffled_identity"]
        worse = [_outcome(row) == "worse" for row in (without, shuffled)]
        words = {
            (
                True,
                True,
            ): "Knowing which unit is which **helps**: the network is worse trained without, and worse told wrong",
            (
                True,
                False,
            ): "The network is **worse** trained without identities, but does not mind being told wrong ones",
            (False, True): "The network minds being told wrong identities, but trained without any it does **as well**",
            (False, False): "It does **not show** that knowing which unit is which helps",
        }[worse[0], worse[1]]
        sentences.append(f"{words} ({without['difference']:+.3f} and {shuffled['difference']:+.3f}).")
    if "learned_embedding" in rows.index and np.isfinite(rows.loc["learned_embedding", "share_kept"]):
        row = rows.loc["learned_embedding"]
        sentences.append(
            "Embeddings fitted to the session, which the network never does, reach "
            f"{row['share_kept']:.0%} of its score."
        )
    return " ".join(sentences)


def describe_rollout(ablations: pd.DataFrame) -> str:
    """What practice on its own draws is worth to a rollout, and what it costs the parallel forecast."""
    rows = ablations[ablations["variant"] == TEACHER_FORCING]
    rollout, parallel = (rows[rows["declared"].astype(bool) == declared] for declared in (True, False))
    if rollout.empty:
        return ""
    row = rollout.iloc[0]
    verdict = {
        "worse": "practice on its own draws **helps** the rollout",
        "better": "practice on its own draws **harms** the rollout",
        "unclear": "whether practice on its own draws helps the rollout **cannot be told**",
        "unknown": "whether practice on its own draws helps the rollout cannot be said",
    }[_outcome(row)]
    text = (
        f"Without scheduled sampling a rollout scores {row['bits_per_spike']:+.3f} in place of "
        f"{row['against_bits_per_spike']:+.3f} bits/spike: {verdict}"
    )
    if len(parallel):
        text += f" (the parallel forecast changes by {parallel.iloc[0]['difference']:+.4f})"
    return f"{text}."


def _outcome(row: dict | pd.Series) -> str:
    if np.isnan(row["lower"]) or np.isnan(row["upper"]):
        return "unknown"
    if row["lower"] <= 0 <= row["upper"]:
        return "unclear"
    return "better" if row["lower"] > 0 else "worse"


def _p(row: dict) -> str:
    return "" if np.isnan(row["p_holm"]) else f", Holm p = {row['p_holm']:.2g}"
