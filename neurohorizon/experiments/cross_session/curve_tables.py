"""Tables of the curves of experiment 1, from score sums.

Scores are bits per spike relative to the unit's mean rate in the **full** reference window, also if the forecast used
less of it. Random subsets of units add their sums within a session, seeds are averaged there, and a session counts
once. Sizes that a session does not reach are missing for it, so every row also has the same sessions' score with
everything known, and the paired difference to it.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from neurohorizon.analysis.tables import (
    COMPARED,
    METHOD,
    PRIMARY_NULL,
    SESSION,
    Cell,
    Resampling,
    by_method,
    end_ms,
    grouped_rows,
    horizon_ends_ms,
    interval_cell,
    ordered,
    over_seeds,
    read_scored,
    score,
    text_table,
    whole_horizon,
    with_holm,
    write_tables,
)
from neurohorizon.experiments.cross_session.elapsed_scores import LENGTH, UNITS
from neurohorizon.methods import BASELINES, FORECASTER, METHOD_ORDER, NETWORKS, UPPER_BOUND, WITHIN_SESSION, ZERO_SHOT
from neurohorizon.scores import bits_per_spike

LARGEST_RATE_RATIO = 1.25
"""Largest ratio of the reference rates of a unit and its control."""
FEWEST_PAIRS = 5
"""Matched pairs that a session needs to count for a region."""
UNNAMED_REGIONS = ("", "root", "void")
"""Names of units without a known region."""

_SUMS = ["spikes", "model_nats", "reference_nats"]
_OURS = {"method": FORECASTER, "class": ZERO_SHOT}


def read_sums(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read files of sums, except those of sessions without a score; see :func:`read_scored`."""
    table = read_scored(paths)
    return table.assign(seed=table["seed"].astype("Int64"))


def curve_sessions(curves: pd.DataFrame, horizons_ms: Sequence[int]) -> pd.DataFrame:
    """Score of each session, method and size, for the horizon up to each of some ends, and for all of it.

    Columns: those of a session, method, class, null, curve, size (seconds or units), whole (everything was known),
    horizon_ms, bits_per_spike, spikes, units (scored), seeds; the same session's whole_bits_per_spike (everything
    known, same method), and within_bits_per_spike (of the network fitted on the full reference window).
    """
    ends = end_ms(curves)
    parts = [
        _averaged(curves[ends <= last_ms], ["curve", "size", "whole"]).assign(horizon_ms=last_ms)
        for last_ms in horizon_ends_ms(horizons_ms, ends.max())
    ]
    table = pd.concat(parts, ignore_index=True)
    key = [*SESSION, "curve", "horizon_ms"]
    whole = table[table["whole"]]
    own = whole[[*key, "method", "bits_per_spike"]].rename(columns={"bits_per_spike": "whole_bits_per_spike"})
    within = whole.loc[whole["method"] == UPPER_BOUND, [*key, "bits_per_spike"]]
    within = within.rename(columns={"bits_per_spike": "within_bits_per_spike"})
    table = table.merge(own, on=[*key, "method"], how="left").merge(within, on=key, how="left")
    return ordered(table, ["curve", "horizon_ms", "fold", "session", "method", "whole", "size"])


def curve_table(sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Mean over sessions by method, size and horizon, with the difference to the same sessions with everything known.

    Columns: curve, method, class, null, horizon_ms, whole, size (mean over sessions if whole), bits_per_spike with
    lower, upper, interval; sessions, animals; whole_bits_per_spike of the same sessions; difference with its bounds;
    gap_closed with its bounds (share of the gap between the full reference mean and the network fitted on the full
    reference window); units.
    """

    def row(group: pd.DataFrame) -> dict[str, object]:
        paired, fitted = group.dropna(subset="whole_bits_per_spike"), group.dropna(subset="within_bits_per_spike")
        lost = paired["bits_per_spike"] - paired["whole_bits_per_spike"]
        return (
            {"size": group["size"].mean()}
            | resampling.mean_row(group)
            | {"whole_bits_per_spike": paired["whole_bits_per_spike"].mean()}
            | resampling.mean_bounds("difference", paired, lost)
            | resampling.share("gap_closed", fitted, fitted["bits_per_spike"], fitted["within_bits_per_spike"])
            | {"units": int(group["units"].sum())}
        )

    by = ["curve", *METHOD, "null", "horizon_ms", "whole", "known"]
    table = grouped_rows(sessions.assign(known=sessions["size"].where(~sessions["whole"])), by, row)
    if table.empty:
        columns = [*by, "size", "bits_per_spike", "lower", "upper", "interval", "sessions", "animals"]
        columns += ["whole_bits_per_spike", "difference", "difference_lower", "difference_upper"]
        table = pd.DataFrame(columns=[*columns, "gap_closed", "gap_closed_lower", "gap_closed_upper", "units"])
    return ordered(table.drop(columns="known"), ["curve", "horizon_ms", "method", "whole", "size"])


def gap_table(sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Share of the gap between the reference mean and methods that fit the session, by horizon.

    Columns: method, class, within, null, horizon_ms, bits_per_spike and within_bits_per_spike (means over sessions),
    gap_closed with its bounds (NaN if the method that fits the session gains nothing), interval, sessions, animals.
    """
    whole = sessions[sessions["whole"] & (sessions["curve"] == LENGTH)]
    rows = []
    for horizon_ms, of_horizon in whole.groupby("horizon_ms", sort=True):
        wide = by_method(of_horizon)
        for within in (name for name in WITHIN_SESSION if name in wide):
            for method in (name for name in (FORECASTER, *NETWORKS) if name in wide):
                shared = wide.dropna(subset=[method, within])
                rows.append(
                    {"method": method, "class": ZERO_SHOT, "within": within, "null": PRIMARY_NULL}
                    | {"horizon_ms": horizon_ms, "bits_per_spike": shared[method].mean()}
                    | {"within_bits_per_spike": shared[within].mean()}
                    | resampling.share("gap_closed", shared, shared[method], shared[within])
                    | {"interval": resampling.interval, "sessions": len(shared)}
                    | {"animals": len(shared[["lab", "subject"]].drop_duplicates())}
                )
    columns = ["method", "class", "within", "null", "horizon_ms", "bits_per_spike", "within_bits_per_spike"]
    columns += ["gap_closed", "gap_closed_lower", "gap_closed_upper", "interval", "sessions", "animals"]
    return pd.DataFrame(rows, columns=columns)


def elapsed_sessions(elapsed: pd.DataFrame) -> pd.DataFrame:
    """Score of each session and method by the time since the reference window, relative to two nulls.

    Columns: those of a session, method, class, null, first_s, last_s (NaN if open), bits_per_spike, spikes, windows,
    units, seeds, and change: the score minus that of the session's own first group of windows.

    The null ``reference`` ages with the forecast; ``evaluation`` is each unit's mean in the same windows.
    """
    parts = []
    for null in (PRIMARY_NULL, "evaluation"):
        sums = elapsed.assign(reference_nats=elapsed[f"{null}_nats"])
        parts.append(_averaged(sums, ["first_s", "last_s"], also=("windows",)).assign(null=null))
    table = pd.concat(parts, ignore_index=True)
    key = [*SESSION, "method", "null"]
    first = table.sort_values("first_s").groupby(key, sort=False)["bits_per_spike"].transform("first")
    table["change"] = table["bits_per_spike"] - first
    return ordered(table, ["null", "fold", "session", "method", "first_s"], null=())


def elapsed_table(sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Mean over sessions by method and time since the reference window, and the change since the first windows.

    Columns: method, class, null, first_s, last_s, bits_per_spike with lower, upper, interval; sessions, animals; change
    with its bounds, paired within sessions; windows.
    """

    def row(group: pd.DataFrame) -> dict[str, object]:
        found = resampling.mean_row(group) | resampling.mean_bounds("change", group, group["change"])
        return found | {"windows": int(group["windows"].sum())}

    table = grouped_rows(sessions, [*METHOD, "null", "first_s", "last_s"], row)
    return ordered(table, ["null", "method", "first_s"], null=())


def elapsed_leads(sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Differences of the forecaster to other methods, by the time since the reference window; they need no null.

    The others are each network without a population, the network fitted on the session, and the best of the other
    zero-shot methods, which is that of the highest mean over sessions and times.

    Columns: method, class, against, against_class, role (``network``, ``within``, ``baseline``), null, first_s, last_s,
    difference with its bounds, interval, sessions, animals, sessions_better. None was declared in advance: there is
    no p.
    """
    shown = sessions[sessions["null"] == PRIMARY_NULL]
    kinds = dict(shown[METHOD].drop_duplicates().itertuples(index=False, name=None))
    roles = dict.fromkeys(NETWORKS, "network") | {UPPER_BOUND: "within"}
    simple = shown[shown["method"].isin([name for name in BASELINES if name not in (*NETWORKS, "reference_mean")])]
    if len(simple):
        roles[simple.groupby("method")["bits_per_spike"].mean().idxmax()] = "baseline"
    rows = []
    for (first_s, last_s), group in shown.groupby(["first_s", "last_s"], sort=True, dropna=False):
        wide = by_method(group)
        for against in (name for name in METHOD_ORDER if name in roles and {name, FORECASTER} <= set(wide)):
            shared = wide.dropna(subset=[FORECASTER, against])
            if shared.empty:
                continue
            shared = shared.assign(difference=shared[FORECASTER] - shared[against])
            rows.append(
                _OURS
                | {"against": against, "against_class": kinds[against], "role": roles[against]}
                | {"null": PRIMARY_NULL, "first_s": first_s, "last_s": last_s}
                | resampling.mean_row(shared, "difference")
                | {"sessions_better": int((shared["difference"] > 0).sum())}
            )
    columns = [*_OURS, "against", "against_class", "role", "null", "first_s", "last_s", "difference"]
    columns += ["lower", "upper", "interval", "sessions", "animals", "sessions_better"]
    return pd.DataFrame(rows, columns=columns)


def match_rates(rates_hz: np.ndarray, control_rates_hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pair units with controls of nearly the same rate, each at most once: indices of both, [pair].

    The number of pairs is as large as possible; of all such pairings the one of the smallest total difference in log
    rate is chosen.
    """
    if not (len(rates_hz) and len(control_rates_hz)):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    distance = np.abs(np.log(rates_hz)[:, None] - np.log(control_rates_hz))
    far = distance > np.log(LARGEST_RATE_RATIO)
    # one pair that is too far costs more than all the others together
    unit, control = linear_sum_assignment(np.where(far, 1 + distance.size * np.log(LARGEST_RATE_RATIO), distance))
    near = ~far[unit, control]
    return unit[near], control[near]


def region_sessions(by_unit: pd.DataFrame, fewest_units: int) -> pd.DataFrame:
    """Score of the forecaster by session and brain region, and that of rate-matched units elsewhere in the session.

    A region needs ``fewest_units`` scored units over all sessions.

    Returns:
        Columns: those of a session, method, class, null, region, units (scored, in this session),
        region_bits_per_spike (all of them), pairs, bits_per_spike and control_bits_per_spike (of the pairs; NaN with
        fewer than ``FEWEST_PAIRS``), rate_hz and control_rate_hz (geometric means over pairs).
    """
    own = by_unit[(by_unit["method"] == FORECASTER) & ~by_unit["region"].isin(UNNAMED_REGIONS)]
    size = own.drop_duplicates([*SESSION, "unit_id"]).groupby("region").size()
    rows = []
    for (*identity, _seed), session in own.groupby([*SESSION, "seed"], dropna=False, sort=False):
        for region in sorted(set(session["region"]) & set(size.index[size >= fewest_units])):
            inside = session["region"] == region
            here, elsewhere = session[inside], session[~inside]
            pair, control = match_rates(*(units["reference_rate_hz"].to_numpy() for units in (here, elsewhere)))
            enough = len(pair) >= FEWEST_PAIRS
            row = dict(zip(SESSION, identity, strict=True)) | _OURS | {"null": PRIMARY_NULL, "region": region}
            row |= {"units": len(here), "region_bits_per_spike": _pooled(here), "pairs": len(pair)}
            for before, units in (("", here.iloc[pair]), ("control_", elsewhere.iloc[control])):
                row[f"{before}bits_per_spike"] = _pooled(units) if enough else np.nan
                # geometric mean
                row[f"{before}rate_hz"] = float(np.exp(np.log(units["reference_rate_hz"]).mean())) if enough else np.nan
            rows.append(row)
    key = [*SESSION, *_OURS, "null", "region"]
    columns = [*key, "units", "region_bits_per_spike", "pairs", "bits_per_spike", "control_bits_per_spike"]
    table = pd.DataFrame(rows, columns=[*columns, "rate_hz", "control_rate_hz"])
    # the pairs are the same for all seeds
    return table.groupby(key, sort=True, dropna=False).mean().reset_index().astype({"units": int, "pairs": int})


def region_table(sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Each region against rate-matched units elsewhere in the same sessions; Holm's adjustment is over the regions.

    Columns: region, method, class, null, bits_per_spike and control_bits_per_spike (means over sessions with enough
    pairs), difference with lower, upper, interval, p, p_holm, effect_size, sessions, animals, sessions_better,
    animals_better; pairs; rate_hz and control_rate_hz (means over sessions of geometric means); all_units,
    all_sessions and all_bits_per_spike (mean over all sessions with the region, of all its units). A region without
    controls has no difference.
    """
    rows = []
    for region, group in sessions.groupby("region", sort=True):
        matched = group.dropna(subset=["bits_per_spike", "control_bits_per_spike"])
        rows.append(
            {"region": region, **_OURS, "null": PRIMARY_NULL}
            | {name: matched[name].mean() for name in ("bits_per_spike", "control_bits_per_spike")}
            | (resampling.compare(matched, "bits_per_spike", "control_bits_per_spike") or {})
            | {"pairs": int(matched["pairs"].sum())}
            | {name: matched[name].mean() for name in ("rate_hz", "control_rate_hz")}
            | {"all_units": int(group["units"].sum()), "all_sessions": len(group)}
            | {"all_bits_per_spike": group["region_bits_per_spike"].mean()}
        )
    columns = ["region", *_OURS, "null", "bits_per_spike", "control_bits_per_spike", *COMPARED, "pairs", "rate_hz"]
    columns += ["control_rate_hz", "all_units", "all_sessions", "all_bits_per_spike"]
    table = with_holm(pd.DataFrame(rows, columns=columns))
    counts = ["sessions", "animals", "sessions_better", "animals_better"]
    table[counts] = table[counts].fillna(0).astype(int)
    return table


def make_tables(
    *,
    curves: Sequence[str | Path],
    elapsed: Sequence[str | Path],
    by_unit: Sequence[str | Path],
    horizons_ms: Sequence[int],
    matched_units: int,
    folder: str | Path,
    resampling: Resampling,
) -> None:
    """Write every table as Parquet and as TSV, and ``curves.txt`` for the terminal.

    Args:
        curves: Files of sums by reference length and number of units, one per fold, session and seed.
        elapsed: Files of sums by time, one per fold and session.
        by_unit: Files of sums by unit, one per fold and session.
        matched_units: Scored units that a region needs to be compared.
    """
    by_size = curve_sessions(read_sums(sorted(map(str, curves))), horizons_ms)
    by_time = elapsed_sessions(read_sums(sorted(map(str, elapsed))))
    by_region = region_sessions(read_sums(sorted(map(str, by_unit))), matched_units)
    tables = {
        "curves_sessions": by_size,
        "reference_length": curve_table(by_size[by_size["curve"] == LENGTH], resampling),
        "population": curve_table(by_size[by_size["curve"] == UNITS], resampling),
        "gap": gap_table(by_size, resampling),
        "elapsed_sessions": by_time,
        "elapsed": elapsed_table(by_time, resampling),
        "elapsed_leads": elapsed_leads(by_time, resampling),
        "matched_sessions": by_region,
        "matched_regions": region_table(by_region, resampling),
    }
    shown = [tables[name] for name in ("reference_length", "population", "gap")]
    write_tables(tables, folder, format_curves(*shown), text="curves.txt")


def format_curves(reference_length: pd.DataFrame, population: pd.DataFrame, gap: pd.DataFrame) -> list[str]:
    """The forecaster's curves and its share of the gap, as lines of text for a terminal."""
    lines = [
        "NeuroHorizon with a shorter reference window or fewer units; null: mean rate in the full reference window"
    ]
    interval = interval_cell("difference")
    for title, unit, table in (("reference", " s", reference_length), ("units", "", population)):
        columns: dict[str, Cell] = {
            title: lambda row, unit=unit: (
                f"whole ({row['size']:.4g} on average)" if row["whole"] else f"{row['size']:g}{unit}"
            ),
            "bits/spike": "{bits_per_spike:+.4f}",
            "interval": interval_cell(),
            "minus whole": lambda row: "" if row["whole"] else f"{row['difference']:+.4f}",
            "its interval": lambda row: "" if row["whole"] else interval(row),
            "sessions": "{sessions}",
            "animals": "{animals}",
        }
        lines += text_table(whole_horizon(table[table["method"] == FORECASTER]), columns)
    lines.append("")
    for within, rows in gap[(gap["method"] == FORECASTER) & gap["gap_closed"].notna()].groupby("within", sort=False):
        shares = [f"{row['gap_closed']:.0%} up to {row['horizon_ms']:g} ms" for row in rows.to_dict("records")]
        lines.append(f"Of the gap to {within} it closes {', '.join(shares)}.")
    return lines


def _averaged(sums: pd.DataFrame, by: list[str], also: Sequence[str] = ()) -> pd.DataFrame:
    """Add sums within a session and seed, take the ratio, and average over seeds."""
    key = [*SESSION, *METHOD, *by]
    firsts = {name: (name, "first") for name in ("units", *also)}
    # random subsets of units are scored on the same number of units each, which counts once
    sizes = {name: (name, "sum") for name in _SUMS} | firsts
    added = sums.groupby([*key, "seed"], dropna=False, sort=False).agg(**sizes)
    added = added[added["spikes"] > 0].reset_index()
    averaged = over_seeds(added.assign(bits_per_spike=score(added)), key, spikes=("spikes", "first"), **firsts)
    return averaged.drop(columns="seed_sd").assign(null=PRIMARY_NULL)


def _pooled(units: pd.DataFrame) -> float:
    sums = units[_SUMS].sum()
    return float(bits_per_spike(model_nats=sums["model_nats"], null_nats=sums["reference_nats"], spikes=sums["spikes"]))
