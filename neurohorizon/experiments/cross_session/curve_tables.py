"""Tables of the curves of experiment 1, from score sums alone.

Scores are bits per spike over the unit's mean rate in the **full** reference part, also where less of it was known.
Draws of units add their sums within a session, seeds are averaged there, and a session counts once. Sizes that a
session does not reach are missing for it, so every row also has the same sessions' score with nothing taken away, and
the paired difference to it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from neurohorizon.analysis.statistics import Estimate, bootstrap_mean, bootstrap_ratio, compare_paired, holm
from neurohorizon.analysis.tables import (
    PRIMARY_NULL,
    SESSION,
    Resampling,
    TableError,
    aligned,
    animal_names,
    format_interval,
    horizon_ends_ms,
    write_table,
)
from neurohorizon.experiments.cross_session.elapsed_scores import LENGTH, UNITS
from neurohorizon.files import replacing
from neurohorizon.forecasts.scoring import left_out_reason
from neurohorizon.methods import (
    BASELINES,
    CLASS_ORDER,
    FORECASTER,
    METHOD_ORDER,
    NETWORKS,
    UPPER_BOUND,
    WITHIN_SESSION,
    ZERO_SHOT,
)
from neurohorizon.scores import bits_per_spike

LARGEST_RATE_RATIO = 1.25
"""A unit and its control differ at most by this factor in their reference rates."""
FEWEST_PAIRS = 5
"""Matched pairs that a session needs to say something of a region."""
UNNAMED_REGIONS = ("", "root", "void")
"""Names that say that it is not known where a unit is."""

_METHOD = ["method", "class"]
_SUMS = ["spikes", "model_nats", "reference_nats"]


def read_sums(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read files of sums, one after the other; sessions that were left out have none.

    Raises:
        TableError: No session has a score.
    """
    parts = [pd.read_parquet(path) for path in paths if left_out_reason(path) is None]
    if not parts:
        raise TableError("no session has a score: all were left out, or no file of sums was given")
    table = pd.concat(parts, ignore_index=True)
    return table.assign(seed=table["seed"].astype("Int64"))


def curve_sessions(curves: pd.DataFrame, horizons_ms: Sequence[int]) -> pd.DataFrame:
    """Score of each session, method and size, for the horizon up to each of some ends, and for all of it.

    Columns: those of a session, method, class, null, curve, size (seconds or units), whole (nothing was taken away),
    horizon_ms, bits_per_spike, spikes, units (scored), seeds; the same session's whole_bits_per_spike (with nothing
    taken away, by the same method), and within_bits_per_spike (of the network fitted on the whole reference part).
    """
    end_ms = (curves["horizon_bin"] + 1) * curves["bin_us"] / 1000
    parts = [
        _averaged(curves[end_ms <= last_ms], ["curve", "size", "whole"]).assign(horizon_ms=last_ms)
        for last_ms in horizon_ends_ms(horizons_ms, end_ms.max())
    ]
    table = pd.concat(parts, ignore_index=True)
    key = [*SESSION, "curve", "horizon_ms"]
    whole = table[table["whole"]]
    own = whole[[*key, "method", "bits_per_spike"]].rename(columns={"bits_per_spike": "whole_bits_per_spike"})
    within = whole.loc[whole["method"] == UPPER_BOUND, [*key, "bits_per_spike"]]
    within = within.rename(columns={"bits_per_spike": "within_bits_per_spike"})
    table = table.merge(own, on=[*key, "method"], how="left").merge(within, on=key, how="left")
    return _in_order(table, ["curve", "horizon_ms", "fold", "session"], ["method", "whole", "size"])


def curve_table(sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Mean over sessions by method, size and horizon, with the difference to what the same sessions score when whole.

    Args:
        sessions: Rows of :func:`curve_sessions` of one curve.
        resampling: How intervals are made.

    Returns:
        Columns: curve, method, class, null, size (mean over sessions where whole), whole, horizon_ms, bits_per_spike
        with lower, upper, interval; whole_bits_per_spike of the same sessions; difference with its bounds; gap_closed
        with its bounds (share of the way from the full reference mean to the network fitted on the full reference
        part); sessions, animals, units.
    """
    rows = []
    sizes = sessions.assign(known=sessions["size"].where(~sessions["whole"]))
    key = ["curve", *_METHOD, "null", "horizon_ms", "whole", "known"]
    for values, group in sizes.groupby(key, sort=False, dropna=False):
        row = dict(zip(key[:-1], values[:-1], strict=True)) | {"size": group["size"].mean()}
        mean = _mean(group, group["bits_per_spike"], resampling)
        row |= _bounds("bits_per_spike", mean, plain=True) | {"interval": resampling.interval}
        paired = group.dropna(subset="whole_bits_per_spike")
        row["whole_bits_per_spike"] = paired["whole_bits_per_spike"].mean()
        lost = paired["bits_per_spike"] - paired["whole_bits_per_spike"]
        row |= _bounds("difference", _mean(paired, lost, resampling) if len(paired) else None)
        row |= _closed(group, resampling)
        rows.append(row | {"sessions": mean.sessions, "animals": mean.animals, "units": int(group["units"].sum())})
    columns = ["curve", *_METHOD, "null", "horizon_ms", "whole", "size", "bits_per_spike", "lower", "upper", "interval"]
    columns += ["whole_bits_per_spike", "difference", "difference_lower", "difference_upper"]
    columns += ["gap_closed", "gap_closed_lower", "gap_closed_upper", "sessions", "animals", "units"]
    return _in_order(pd.DataFrame(rows, columns=columns), ["curve", "horizon_ms"], ["method", "whole", "size"])


def gap_table(sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Share of the way from the reference mean to methods that fit the session, by horizon.

    Args:
        sessions: Rows of :func:`curve_sessions`.
        resampling: How intervals are made.

    Returns:
        Columns: method, class, within, null, horizon_ms, bits_per_spike and within_bits_per_spike (means over
        sessions), gap_closed with its bounds, interval, sessions, animals. NaN where the method that fits the session
        gains nothing.
    """
    whole = sessions[sessions["whole"] & (sessions["curve"] == LENGTH)]
    rows = []
    for horizon_ms, of_horizon in whole.groupby("horizon_ms", sort=True):
        wide = of_horizon.pivot(index=SESSION, columns="method", values="bits_per_spike").reset_index()
        for within in (name for name in WITHIN_SESSION if name in wide):
            for method in (name for name in (FORECASTER, *NETWORKS) if name in wide):
                shared = wide.dropna(subset=[method, within])
                found = _ratio(shared, shared[method], shared[within], resampling)
                rows.append(
                    {
                        "method": method,
                        "class": ZERO_SHOT,
                        "within": within,
                        "null": PRIMARY_NULL,
                        "horizon_ms": horizon_ms,
                        "bits_per_spike": shared[method].mean(),
                        "within_bits_per_spike": shared[within].mean(),
                        **_bounds("gap_closed", found),
                        "interval": resampling.interval,
                        "sessions": len(shared),
                        "animals": len(set(animal_names(shared))),
                    }
                )
    columns = ["method", "class", "within", "null", "horizon_ms", "bits_per_spike", "within_bits_per_spike"]
    columns += ["gap_closed", "gap_closed_lower", "gap_closed_upper", "interval", "sessions", "animals"]
    return pd.DataFrame(rows, columns=columns)


def elapsed_sessions(elapsed: pd.DataFrame) -> pd.DataFrame:
    """Score of each session and method by the time since the reference part, over two nulls.

    Columns: those of a session, method, class, null, first_s, last_s (NaN where open), bits_per_spike, spikes, windows,
    units, seeds, and change: the score less that of the session's own first group of windows.

    Over ``reference`` the null grows old with the forecast; ``evaluation`` is each unit's mean in the very windows.
    """
    parts = []
    for null in (PRIMARY_NULL, "evaluation"):
        sums = elapsed.assign(reference_nats=elapsed[f"{null}_nats"])
        parts.append(_averaged(sums, ["first_s", "last_s"], also=("windows",)).assign(null=null))
    table = pd.concat(parts, ignore_index=True)
    key = [*SESSION, "method", "null"]
    first = table.sort_values("first_s").groupby(key, sort=False)["bits_per_spike"].transform("first")
    table["change"] = table["bits_per_spike"] - first
    return _in_order(table, ["null", "fold", "session"], ["method", "first_s"])


def elapsed_table(sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Mean over sessions by method and time since the reference part, and the change since the first windows.

    Columns: method, class, null, first_s, last_s, bits_per_spike with lower, upper, interval; change with its bounds,
    paired within sessions; windows, sessions, animals.
    """
    rows = []
    key = [*_METHOD, "null", "first_s", "last_s"]
    for values, group in sessions.groupby(key, sort=False, dropna=False):
        mean = _mean(group, group["bits_per_spike"], resampling)
        rows.append(
            {
                **dict(zip(key, values, strict=True)),
                **_bounds("bits_per_spike", mean, plain=True),
                "interval": resampling.interval,
                **_bounds("change", _mean(group, group["change"], resampling)),
                "windows": int(group["windows"].sum()),
                "sessions": mean.sessions,
                "animals": mean.animals,
            }
        )
    return _in_order(pd.DataFrame(rows), ["null"], ["method", "first_s"])


def elapsed_leads(sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """How far the forecaster is ahead of other methods, by the time since the reference part; no null enters it.

    Against each network without a population, the network fitted on the session, and the best of the other zero-shot
    methods, which is that of the highest mean over sessions and times.

    Columns: method, class, against, against_class, role (``network``, ``within``, ``baseline``), null, first_s, last_s,
    difference with its bounds, interval, sessions, animals, sessions_better. None was declared beforehand: there is
    no p.
    """
    shown = sessions[sessions["null"] == PRIMARY_NULL]
    kinds = dict(shown[_METHOD].drop_duplicates().itertuples(index=False, name=None))
    roles = dict.fromkeys(NETWORKS, "network") | {UPPER_BOUND: "within"}
    simple = shown[shown["method"].isin([name for name in BASELINES if name not in (*NETWORKS, "reference_mean")])]
    if len(simple):
        roles[simple.groupby("method")["bits_per_spike"].mean().idxmax()] = "baseline"
    rows = []
    for (first_s, last_s), group in shown.groupby(["first_s", "last_s"], sort=True, dropna=False):
        wide = group.pivot(index=SESSION, columns="method", values="bits_per_spike").reset_index()
        for against in (name for name in METHOD_ORDER if name in roles and name in wide and FORECASTER in wide):
            shared = wide.dropna(subset=[FORECASTER, against])
            if shared.empty:
                continue
            lead = shared[FORECASTER] - shared[against]
            mean = _mean(shared, lead, resampling)
            rows.append(
                {
                    "method": FORECASTER,
                    "class": ZERO_SHOT,
                    "against": against,
                    "against_class": kinds[against],
                    "role": roles[against],
                    "null": PRIMARY_NULL,
                    "first_s": first_s,
                    "last_s": last_s,
                    **_bounds("difference", mean, plain=True),
                    "interval": resampling.interval,
                    "sessions": mean.sessions,
                    "animals": mean.animals,
                    "sessions_better": int((lead > 0).sum()),
                }
            )
    columns = ["method", "class", "against", "against_class", "role", "null", "first_s", "last_s", "difference"]
    columns += ["lower", "upper", "interval", "sessions", "animals", "sessions_better"]
    return pd.DataFrame(rows, columns=columns)


def match_rates(rates_hz: np.ndarray, control_rates_hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pair units with controls of nearly the same rate, each at most once.

    As many as can be are paired, and of all such pairings that of the smallest total difference in log rate is taken.

    Args:
        rates_hz: Reference rates, [unit].
        control_rates_hz: Reference rates of the candidates, [candidate].

    Returns:
        Indices of the units that have a control, and of their controls, [pair].
    """
    if not (len(rates_hz) and len(control_rates_hz)):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    apart = np.abs(np.log(rates_hz)[:, None] - np.log(control_rates_hz))
    far = apart > np.log(LARGEST_RATE_RATIO)
    # one pair that is too far costs more than all that are not together
    unit, control = linear_sum_assignment(np.where(far, 1 + apart.size * np.log(LARGEST_RATE_RATIO), apart))
    near = ~far[unit, control]
    return unit[near], control[near]


def region_sessions(by_unit: pd.DataFrame, fewest_units: int) -> pd.DataFrame:
    """Score of the forecaster by session and brain region, and that of rate-matched units elsewhere in the session.

    Args:
        by_unit: Sums by unit.
        fewest_units: Scored units, over all sessions, from which on a region is compared.

    Returns:
        Columns: those of a session, method, class, null, region, units (scored, in this session),
        region_bits_per_spike (all of them), pairs, bits_per_spike and control_bits_per_spike (of the pairs; NaN with
        fewer than ``FEWEST_PAIRS``), rate_hz and control_rate_hz (geometric means over pairs).
    """
    own = by_unit[(by_unit["method"] == FORECASTER) & ~by_unit["region"].isin(UNNAMED_REGIONS)]
    once = own.drop_duplicates([*SESSION, "unit_id"])
    size = once.groupby("region").size()
    rows = []
    for (*identity, _seed), session in own.groupby([*SESSION, "seed"], dropna=False, sort=False):
        for region in sorted(set(session["region"]) & set(size.index[size >= fewest_units])):
            inside = session["region"] == region
            here, elsewhere = session[inside], session[~inside]
            pair, control = match_rates(*(units["reference_rate_hz"].to_numpy() for units in (here, elsewhere)))
            pairs, controls = here.iloc[pair], elsewhere.iloc[control]
            enough = len(pair) >= FEWEST_PAIRS
            rows.append(
                {
                    **dict(zip(SESSION, identity, strict=True)),
                    "method": FORECASTER,
                    "class": ZERO_SHOT,
                    "null": PRIMARY_NULL,
                    "region": region,
                    "units": len(here),
                    "region_bits_per_spike": _pooled(here),
                    "pairs": len(pair),
                    "bits_per_spike": _pooled(pairs) if enough else np.nan,
                    "control_bits_per_spike": _pooled(controls) if enough else np.nan,
                    "rate_hz": _geometric_mean(pairs["reference_rate_hz"]) if enough else np.nan,
                    "control_rate_hz": _geometric_mean(controls["reference_rate_hz"]) if enough else np.nan,
                }
            )
    columns = ["method", "class", "null", "region", "units", "region_bits_per_spike", "pairs", "bits_per_spike"]
    columns = [*SESSION, *columns, "control_bits_per_spike", "rate_hz", "control_rate_hz"]
    table = pd.DataFrame(rows, columns=columns)
    # the pairs are the same for all seeds
    key = [*SESSION, "method", "class", "null", "region"]
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
        row = {"region": region, "method": FORECASTER, "class": ZERO_SHOT, "null": PRIMARY_NULL}
        row |= {name: matched[name].mean() for name in ("bits_per_spike", "control_bits_per_spike")}
        if len(matched):
            found = compare_paired(
                matched["bits_per_spike"].to_numpy(),
                matched["control_bits_per_spike"].to_numpy(),
                animal_names(matched),
                resampling.rng(),
                **resampling.options,
            )
            row |= found.columns(resampling.interval)
        row |= {
            "pairs": int(matched["pairs"].sum()),
            "rate_hz": matched["rate_hz"].mean(),
            "control_rate_hz": matched["control_rate_hz"].mean(),
            "all_units": int(group["units"].sum()),
            "all_sessions": len(group),
            "all_bits_per_spike": group["region_bits_per_spike"].mean(),
        }
        rows.append(row)
    columns = ["region", "method", "class", "null", "bits_per_spike", "control_bits_per_spike", "difference", "lower"]
    columns += ["upper", "interval", "p", "p_holm", "effect_size", "sessions", "animals", "sessions_better"]
    columns += ["animals_better", "pairs", "rate_hz", "control_rate_hz", "all_units", "all_sessions"]
    table = pd.DataFrame(rows, columns=[*columns, "all_bits_per_spike"])
    table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
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
        curves: Files of sums against what is known, one per fold, session and seed.
        elapsed: Files of sums by time, one per fold and session.
        by_unit: Files of sums by unit, one per fold and session.
        horizons_ms: Ends of the parts of the horizon.
        matched_units: Scored units from which on a region is compared.
        folder: Where the tables go.
        resampling: How intervals are made.
    """
    folder = Path(folder)
    sums = read_sums(sorted(map(str, curves)))
    by_size = curve_sessions(sums, horizons_ms)
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
    for name, table in tables.items():
        write_table(table, folder, name)
    with replacing(folder / "curves.txt") as path:
        path.write_text(format_curves(tables["reference_length"], tables["population"], tables["gap"]))


def format_curves(reference_length: pd.DataFrame, population: pd.DataFrame, gap: pd.DataFrame) -> str:
    """The forecaster's curves and the gap that it closes, as text for a terminal."""
    lines = ["NeuroHorizon against what is known of a recording; null: mean rate in its full reference part"]
    for title, table in (("reference", reference_length), ("units", population)):
        rows = [(title, "bits/spike", "interval", "less than whole", "interval", "sessions", "animals")]
        for row in whole_horizon(table[table["method"] == FORECASTER]).to_dict("records"):
            size = f"{row['size']:g} s" if title == "reference" else f"{row['size']:g}"
            lost = (f"{row['difference']:+.4f}", format_interval(row["difference_lower"], row["difference_upper"]))
            rows.append(
                (
                    f"whole ({row['size']:.4g} on average)" if row["whole"] else size,
                    f"{row['bits_per_spike']:+.4f}",
                    format_interval(row["lower"], row["upper"]),
                    *(("", "") if row["whole"] else lost),
                    str(row["sessions"]),
                    str(row["animals"]),
                )
            )
        lines += ["", *aligned(rows)] if len(rows) > 1 else []
    closed = []
    for within, rows in gap[(gap["method"] == FORECASTER) & gap["gap_closed"].notna()].groupby("within", sort=False):
        shares = [f"{row['gap_closed']:.0%} up to {row['horizon_ms']:g} ms" for row in rows.to_dict("records")]
        closed.append(f"Of the gap to {within} it closes {', '.join(shares)}.")
    return "\n".join([*lines, "", *closed]).rstrip() + "\n"


def whole_horizon(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of a table by horizon that are over all of it."""
    return table[table["horizon_ms"] == table["horizon_ms"].max()]


def _averaged(sums: pd.DataFrame, by: list[str], also: Sequence[str] = ()) -> pd.DataFrame:
    """Add sums within a session and seed, take the ratio, and average seeds."""
    key = [*SESSION, *_METHOD, *by]
    firsts = ["units", *also]
    # draws of the units are scored on as many units each, and count once
    added = sums.groupby([*key, "seed"], dropna=False, sort=False).agg(
        **{name: (name, "sum") for name in _SUMS}, **{name: (name, "first") for name in firsts}
    )
    added = added[added["spikes"] > 0].reset_index()
    added["bits_per_spike"] = bits_per_spike(
        model_nats=added["model_nats"].to_numpy(),
        null_nats=added["reference_nats"].to_numpy(),
        spikes=added["spikes"].to_numpy(),
    )
    averaged = added.groupby(key, dropna=False, sort=False).agg(
        bits_per_spike=("bits_per_spike", "mean"),
        spikes=("spikes", "first"),
        **{name: (name, "first") for name in firsts},
        seeds=("bits_per_spike", "size"),
    )
    return averaged.reset_index().assign(null=PRIMARY_NULL)


def _pooled(units: pd.DataFrame) -> float:
    sums = units[_SUMS].sum()
    return float(bits_per_spike(model_nats=sums["model_nats"], null_nats=sums["reference_nats"], spikes=sums["spikes"]))


def _geometric_mean(values: pd.Series) -> float:
    return float(np.exp(np.log(values).mean()))


def _mean(sessions: pd.DataFrame, values: pd.Series, resampling: Resampling) -> Estimate:
    return bootstrap_mean(values.to_numpy(), animal_names(sessions), resampling.rng(), **resampling.options)


def _ratio(sessions: pd.DataFrame, above: pd.Series, below: pd.Series, resampling: Resampling) -> Estimate | None:
    if sessions.empty or not below.mean() > 0:
        return None  # no share of nothing
    return bootstrap_ratio(
        above.to_numpy(), below.to_numpy(), animal_names(sessions), resampling.rng(), **resampling.options
    )


def _closed(group: pd.DataFrame, resampling: Resampling) -> dict[str, float]:
    shared = group.dropna(subset="within_bits_per_spike")
    return _bounds("gap_closed", _ratio(shared, shared["bits_per_spike"], shared["within_bits_per_spike"], resampling))


def _bounds(name: str, estimate: Estimate | None, *, plain: bool = False) -> dict[str, float]:
    """Columns of an estimate: its name, and bounds that are called so alone where they are the row's only ones."""
    values = asdict(estimate) if estimate else dict.fromkeys(("value", "lower", "upper"), np.nan)
    before = "" if plain else f"{name}_"
    return {name: values["value"], f"{before}lower": values["lower"], f"{before}upper": values["upper"]}


def _in_order(table: pd.DataFrame, before: list[str], after: list[str]) -> pd.DataFrame:
    methods = dict(table[_METHOD].drop_duplicates().itertuples(index=False, name=None))

    def rank(name: str) -> tuple[int, int, str]:
        known = METHOD_ORDER.index(name) if name in METHOD_ORDER else len(METHOD_ORDER)
        return CLASS_ORDER.index(methods[name]), known, name

    order = {name: place for place, name in enumerate(sorted(methods, key=rank))}

    def place(column: pd.Series) -> pd.Series:
        return column.map(order) if column.name == "method" else column

    return table.sort_values([*before, *after], key=place, ignore_index=True, kind="stable")
