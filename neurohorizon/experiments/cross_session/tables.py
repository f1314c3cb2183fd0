"""Tidy tables from score sums; figures, notebook and report read these and compute nothing.

Every table with scores names the null in its own column, and every interval stands beside its
numbers of sessions and animals. Seeds of a trained method are averaged within a session first, so
that a session counts once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.statistics import bootstrap_mean, bootstrap_ratio, compare_paired, holm
from neurohorizon.analysis.tables import (
    ALL_SOURCES,
    METHOD,
    PRIMARY_NULL,
    SESSION,
    Resampling,
    TableError,
    aligned,
    animal_names,
    claim,
    counted,
    format_interval,
    left_out_table,
    method_order,
    over_all_sources,
    write_table,
)
from neurohorizon.files import replacing
from neurohorizon.forecasts.scoring import left_out_reason
from neurohorizon.methods import (
    CEILING,
    CLASS_DESCRIPTIONS,
    CLASS_ORDER,
    DECLARED_FAMILY,
    FORECASTER,
    UPPER_BOUND,
    class_word,
)
from neurohorizon.scores import NULLS, bits_per_spike, poisson_d2

_DIFFERENCES = ("shrinkage", "own_history", "own_history_readout")

_SUMS = ["spikes", "model_nats", "reference_nats", "train_nats", "evaluation_nats"]


@dataclass(frozen=True)
class Pooled:
    """Score sums of one or more sessions at the three levels that tables need, one row per seed.

    Attributes:
        whole: Sums over units and horizon bins, with Poisson D2 averaged over units.
        horizon: Sums over units, by horizon bin.
        region: Sums over the units of a region and all horizon bins.
    """

    whole: pd.DataFrame
    horizon: pd.DataFrame
    region: pd.DataFrame


def pool_scores(paths: Iterable[str | Path]) -> Pooled:
    """Sum score files to the levels of the tables, one file in memory at a time.

    Raises:
        TableError: No file has a score, or a session was scored twice in a fold.
    """
    parts = [_pool(pd.read_parquet(path)) for path in paths if left_out_reason(path) is None]
    if not parts:
        raise TableError("no session has a score: all were left out, or no score file was given")
    pooled = Pooled(
        whole=pd.concat([part.whole for part in parts], ignore_index=True),
        horizon=pd.concat([part.horizon for part in parts], ignore_index=True),
        region=pd.concat([part.region for part in parts], ignore_index=True),
    )
    twice = pooled.whole.duplicated([*SESSION, *METHOD, "seed"])
    if twice.any():
        row = pooled.whole[twice].iloc[0]
        raise TableError(f"session {row['session']} of fold {row['fold']!r} is in more than one score file")
    return pooled


def _pool(scores: pd.DataFrame) -> Pooled:
    # a group whose key is missing is dropped unless asked for, and baselines have no seed
    scores = scores.assign(seed=scores["seed"].astype("Int64"), no_train_null=scores["train_nats"].isna())
    key = [*SESSION, *METHOD, "seed"]

    def summed(by: list[str], columns: list[str]) -> pd.DataFrame:
        sums = scores.groupby(by, dropna=False, sort=False)[[*columns, "no_train_null"]].sum().reset_index()
        # a null that is missing for a part is missing for the sum, where pandas would count it as zero
        sums["train_nats"] = sums["train_nats"].mask(sums.pop("no_train_null") > 0)
        return sums

    by_unit = summed([*key, "unit_id"], [*_SUMS, "saturated_nats"])
    by_unit["poisson_d2"] = poisson_d2(
        model_nats=by_unit["model_nats"].to_numpy(),
        evaluation_nats=by_unit["evaluation_nats"].to_numpy(),
        saturated_nats=by_unit["saturated_nats"].to_numpy(),
    )
    grouped = by_unit.groupby(key, dropna=False, sort=False)
    whole = summed(key, _SUMS).merge(
        grouped.agg(poisson_d2=("poisson_d2", "mean"), units=("unit_id", "size")).reset_index(), on=key
    )
    windows = scores.groupby(key, dropna=False, sort=False)[["windows", "unscored_units"]].max().reset_index()
    whole = whole.merge(windows, on=key)
    horizon = summed([*key, "horizon_bin", "bin_us"], _SUMS)
    # a distance is named by its end: the first 20 ms bin reaches to 20 ms
    horizon["horizon_ms"] = (horizon["horizon_bin"] + 1) * horizon["bin_us"] / 1000
    region = summed([*key, "region"], _SUMS)
    units = scores.groupby([*key, "region"], dropna=False, sort=False)["unit_id"].nunique()
    region = region.merge(units.rename("units").reset_index(), on=[*key, "region"])
    return Pooled(whole=whole, horizon=horizon, region=region)


def session_table(pooled: Pooled) -> pd.DataFrame:
    """Score of each session, method and null over all units and horizon bins, averaged over seeds.

    Columns: fold, session, subject, lab, source, method, class, null, bits_per_spike, gain_nats
    (log-likelihood over the null), spikes, windows, units, unscored_units (too slow in the reference
    window), seeds, seed_sd (standard deviation of
    bits_per_spike between seeds; NaN with one) and poisson_d2 (mean over units, on rows of the
    evaluation null, which defines it).
    """
    rows = [_over_null(pooled.whole, null) for null in NULLS]
    table = _average_seeds(pd.concat(rows, ignore_index=True), ["windows", "units", "unscored_units", "poisson_d2"])
    table["poisson_d2"] = table["poisson_d2"].where(table["null"] == "evaluation")
    return _ordered(table, ["null", "fold", "session"], ["method"])


def horizon_session_table(pooled: Pooled) -> pd.DataFrame:
    """Score of each session and method in each horizon bin over the primary null, averaged over seeds.

    ``horizon_ms`` is the time from the forecast origin to the end of the bin.
    """
    table = _average_seeds(_over_null(pooled.horizon, PRIMARY_NULL), [], by=["horizon_bin", "horizon_ms"])
    return _ordered(table, ["fold", "session"], ["method", "horizon_bin"])


def region_session_table(pooled: Pooled) -> pd.DataFrame:
    """Score of each session, method and brain region over the primary null, averaged over seeds."""
    table = _average_seeds(_over_null(pooled.region, PRIMARY_NULL), ["units"], by=["region"])
    return _ordered(table, ["fold", "session", "region"], ["method"])


def horizon_table(horizon_sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Mean over sessions with its interval, by method and horizon bin."""
    by = ["horizon_bin", "horizon_ms"]
    return _ordered(_means(horizon_sessions, by, resampling), [], ["method", "horizon_bin"])


def region_table(region_sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Mean over sessions with its interval, by method and brain region, with the units in it."""
    table = _means(region_sessions, ["region"], resampling)
    units = region_sessions.groupby(["region", *METHOD])["units"].sum().reset_index()
    return _ordered(table.merge(units, on=["region", *METHOD]), ["region"], ["method"])


def comparison_table(sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Paired differences of the forecaster against every other method, over the primary null.

    Columns: method, against, against_class, null, difference, lower, upper (bits/spike; interval is their nominal
    coverage), p, p_holm, effect_size, sessions, animals, sessions_better, animals_better, declared.
    ``p_holm`` is adjusted over the declared family and missing outside of it.
    """
    wide = _by_method(sessions)
    kinds = dict(sessions[METHOD].drop_duplicates().itertuples(index=False, name=None))
    rows = []
    for against in method_order(sessions):
        if FORECASTER not in wide or against == FORECASTER:
            continue
        shared = _shared(wide, FORECASTER, against)
        if shared.empty:
            continue
        found = compare_paired(
            shared[FORECASTER], shared[against], animal_names(shared), resampling.rng(), **resampling.options
        )
        rows.append(
            {
                "method": FORECASTER,
                "against": against,
                "against_class": kinds[against],
                "null": PRIMARY_NULL,
                **found.columns(resampling.interval),
                "declared": (FORECASTER, against) in DECLARED_FAMILY,
            }
        )
    columns = [
        *(
            "method",
            "against",
            "against_class",
            "null",
            "difference",
            "lower",
            "upper",
            "interval",
            "p",
            "p_holm",
            "effect_size",
        ),
        *("sessions", "animals", "sessions_better", "animals_better", "declared"),
    ]
    table = pd.DataFrame(rows, columns=columns)
    declared = table["declared"].astype(bool)
    table.loc[declared, "p_holm"] = holm(table.loc[declared, "p"].to_numpy(dtype=float))
    return table


def summary_table(
    sessions: pd.DataFrame,
    comparisons: pd.DataFrame,
    resampling: Resampling,
    shared_subjects: Sequence[str] = (),
) -> pd.DataFrame:
    """One row per null and method: the table that a run is judged by.

    Where sessions come from more than one source, rows of each source follow those of ``all``, which the figures show
    and for which the comparisons were declared.

    Columns: source, method, class, null, bits_per_spike (mean over sessions) with lower, upper and
    their nominal coverage, interval; pooled
    (all nats over all spikes) with pooled_lower and pooled_upper, poisson_d2 (on rows of the
    evaluation null), sessions, animals, units, unscored_units (too slow in the reference window),
    seeds, seed_sd (standard deviation between seeds, mean over sessions; NaN with one seed),
    share_of_oracle with its bounds (where there is a ceiling), gap_closed with its bounds (share of
    the way from the reference mean to the upper bound, the network whose embeddings are fitted on
    the session; NaN where that was not run or gains nothing), and the paired differences
    over_shrinkage, over_own_history and over_own_history_readout with their bounds and, where
    declared, Holm's p. Where animals are also trained on (other recordings of them), shared_subjects
    names them: the claim is then unseen recordings, not unseen animals.
    """
    shared = " ".join(sorted(set(shared_subjects)))
    parts = [_summary_of(sessions, comparisons, resampling).assign(source=ALL_SOURCES)]
    sources = sorted(sessions["source"].unique())
    for source in sources if len(sources) > 1 else []:
        of_source = sessions[sessions["source"] == source]
        parts.append(_summary_of(of_source, comparisons.iloc[:0], resampling).assign(source=source))
    table = pd.concat(parts, ignore_index=True).assign(shared_subjects=shared)
    return table[["source", *table.columns.drop("source")]]


def _summary_of(sessions: pd.DataFrame, comparisons: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    ceilings = sessions.loc[sessions["class"] == CEILING, "method"].unique()
    rows = []
    for (null, method, kind), of_method in sessions.groupby(["null", *METHOD], sort=False):
        values, animals = of_method["bits_per_spike"].to_numpy(), animal_names(of_method)
        mean = bootstrap_mean(values, animals, resampling.rng(), **resampling.options)
        # bits, so that the pooled score has the unit of the mean
        gain_bits = of_method["gain_nats"].to_numpy() / np.log(2)
        pooled = bootstrap_ratio(gain_bits, of_method["spikes"], animals, resampling.rng(), **resampling.options)
        row = {
            "method": method,
            "class": kind,
            "null": null,
            "bits_per_spike": mean.value,
            "lower": mean.lower,
            "upper": mean.upper,
            "interval": resampling.interval,
            "pooled": pooled.value,
            "pooled_lower": pooled.lower,
            "pooled_upper": pooled.upper,
            "poisson_d2": of_method["poisson_d2"].mean(),
            "sessions": mean.sessions,
            "animals": mean.animals,
            "units": int(of_method["units"].sum()),
            "unscored_units": int(of_method["unscored_units"].sum()),
            "seeds": of_method["seeds"].min(),
            "seed_sd": of_method["seed_sd"].mean(),
        }
        wide = _by_method(sessions, null)
        for ceiling in ceilings:
            row |= _share(wide, method, ceiling, resampling)
        row |= _gap_closed(wide, method, resampling)
        for against in _DIFFERENCES:
            row |= _over(wide, method, against, resampling)
            row[f"over_{against}_p_holm"] = _declared_p(comparisons, null, method, against)
        rows.append(row)
    return _ordered(pd.DataFrame(rows), ["null"], ["method"])


def format_summary(summary: pd.DataFrame, comparisons: pd.DataFrame, left_out: pd.DataFrame) -> str:
    """The summary and the declared comparisons over the primary null, as text for a terminal."""
    primary = summary[summary["null"] == PRIMARY_NULL]
    shown, by_source = over_all_sources(primary), primary[primary["source"] != ALL_SOURCES]
    if shown.empty:
        return "no session was scored\n"
    interval = shown["interval"].iloc[0]
    closed = _has_gap(shown)
    rows = [("method", "class", "bits/spike", f"{interval:.0%} interval", "sessions", "animals", "of oracle")]
    rows = [(*rows[0], "gap closed")] if closed else rows
    for row in shown.to_dict("records"):
        rows.append(
            (
                row["method"],
                class_word(row["class"]),
                *_scored_cells(row),
                *([_percent(row["gap_closed"])] if closed else []),
            )
        )
    lines = [
        f"Zero-shot forecasts of held-out sessions; null: {PRIMARY_NULL}-window mean rate",
        "",
        *aligned(rows),
    ]
    lines += _source_lines(by_source, interval)
    lines += _difference_lines(comparisons, interval, int(shown["animals"].max()))
    lines += [
        "",
        *(f"{class_word(kind)}: {CLASS_DESCRIPTIONS[kind]}." for kind in CLASS_ORDER if kind in set(shown["class"])),
    ]
    if closed:
        lines.append(f"Gap closed: share of the way from the reference mean to {UPPER_BOUND}, which fits the session.")
    lines.append("Intervals resample animals; with few of them they are coarse, with one there is none.")
    if unscored := shown["unscored_units"].iloc[0]:
        units = unscored + shown["units"].iloc[0]
        lines.append(f"{unscored} of {units} units are too slow in the reference window to be scored.")
    if shown["shared_subjects"].iloc[0]:
        lines.append(claim(shown))
    if len(left_out):
        lines.append(f"Left out: {counted(len(left_out), 'session')}, listed with the reason in left_out.tsv.")
    return "\n".join(lines) + "\n"


def _difference_lines(comparisons: pd.DataFrame, interval: float, animals: int) -> list[str]:
    """The forecaster against every other method: first those declared beforehand, then the rest, which has no p."""
    declared = comparisons["declared"].astype(bool)
    pairs = [("difference", "bits/spike", f"{interval:.0%} interval", "Holm p", "sessions better")]
    for row in [*comparisons[declared].to_dict("records"), *comparisons[~declared].to_dict("records")]:
        holm_p = "none" if np.isnan(row["p_holm"]) else f"{row['p_holm']:.3g}"
        pairs.append(
            (
                f"{row['method']} - {row['against']}",
                f"{row['difference']:+.4f}",
                format_interval(row["lower"], row["upper"]),
                holm_p if row["declared"] else "",
                f"{row['sessions_better']} of {row['sessions']}",
            )
        )
    lines = ["", *aligned(pairs)] if len(pairs) > 1 else []
    if declared.any() and animals > 1:
        lines += ["", f"With {animals} animals no p can be below {2.0 ** (1 - animals):.2g}."]
    if declared.any() and not declared.all():
        lines += [
            *([] if animals > 1 else [""]),
            "Without p: not declared beforehand. They bound or explain NeuroHorizon and are no rivals of its class.",
        ]
    return lines


def _has_gap(summary: pd.DataFrame) -> bool:
    return "gap_closed" in summary and bool(summary["gap_closed"].notna().any())


def _percent(share: float) -> str:
    return "" if np.isnan(share) else f"{share:.0%}"


def _scored_cells(row: Mapping[str, object]) -> tuple[str, ...]:
    """Score, interval, sessions, animals and share of the oracle of a row of the summary."""
    share = row.get("share_of_oracle", np.nan)
    return (
        f"{row['bits_per_spike']:+.4f}",
        format_interval(row["lower"], row["upper"]),
        str(row["sessions"]),
        str(row["animals"]),
        _percent(share),
    )


def _source_lines(by_source: pd.DataFrame, interval: float) -> list[str]:
    """The forecaster and the ceiling by source, where there is more than one."""
    rows = [("source", "method", "bits/spike", f"{interval:.0%} interval", "sessions", "animals", "of oracle")]
    shown = by_source[(by_source["method"] == FORECASTER) | (by_source["class"] == CEILING)]
    rows += [(row["source"], row["method"], *_scored_cells(row)) for row in shown.to_dict("records")]
    return ["", *aligned(rows)] if len(shown) else []


def make_tables(
    *,
    scores: Sequence[str | Path],
    folder: str | Path,
    resampling: Resampling,
    sessions: str | Path | None = None,
    shared_subjects: Sequence[str] = (),
) -> None:
    """Write every table as Parquet and as TSV, and ``summary.txt`` for the terminal.

    Args:
        scores: Score files, one per fold and held-out session.
        folder: Where the tables go.
        resampling: How intervals are made.
        sessions: The list of the run's sessions (Parquet), to tell of training sessions that were left out too.
        shared_subjects: Animals that are both trained on and forecast.
    """
    scores = sorted(Path(path) for path in scores)
    folder = Path(folder)
    pooled = pool_scores(scores)
    by_session = session_table(pooled)
    horizon_sessions = horizon_session_table(pooled)
    region_sessions = region_session_table(pooled)
    comparisons = comparison_table(by_session, resampling)
    summary = summary_table(by_session, comparisons, resampling, shared_subjects)
    tables = {
        "sessions": by_session,
        "horizon_sessions": horizon_sessions,
        "horizon": horizon_table(horizon_sessions, resampling),
        "regions_sessions": region_sessions,
        "regions": region_table(region_sessions, resampling),
        "comparisons": comparisons,
        "summary": summary,
        "left_out": left_out_table(scores, sessions),
    }
    for name, table in tables.items():
        write_table(table, folder, name)
    text = format_summary(summary, comparisons, tables["left_out"])
    with replacing(folder / "summary.txt") as path:
        path.write_text(text)


def _over_null(sums: pd.DataFrame, null: str) -> pd.DataFrame:
    nats = sums[f"{null}_nats"].to_numpy()
    table = sums.assign(null=null, gain_nats=sums["model_nats"] - nats)
    table["bits_per_spike"] = bits_per_spike(
        model_nats=table["model_nats"].to_numpy(), null_nats=nats, spikes=table["spikes"].to_numpy()
    )
    # a session with no spike has no score, nor has one without this null; the first is not a mistake
    return table[~np.isnan(nats) & (table["spikes"] > 0)]


def _average_seeds(table: pd.DataFrame, means: list[str], by: Sequence[str] = ()) -> pd.DataFrame:
    key = [*SESSION, *METHOD, "null", *by]
    grouped = table.groupby(key, sort=False)
    averaged = grouped.agg(
        bits_per_spike=("bits_per_spike", "mean"),
        gain_nats=("gain_nats", "mean"),
        spikes=("spikes", "first"),
        **{name: (name, "mean" if name == "poisson_d2" else "first") for name in means},
        seeds=("bits_per_spike", "size"),
        seed_sd=("bits_per_spike", "std"),
    )
    return averaged.reset_index()


def _means(table: pd.DataFrame, by: list[str], resampling: Resampling) -> pd.DataFrame:
    rows = []
    for key, group in table.groupby([*by, *METHOD, "null"], sort=False):
        mean = bootstrap_mean(
            group["bits_per_spike"].to_numpy(), animal_names(group), resampling.rng(), **resampling.options
        )
        estimate = asdict(mean)
        rows.append(dict(zip([*by, *METHOD, "null"], key, strict=True)) | {"bits_per_spike": estimate.pop("value")})
        rows[-1] |= estimate | {"interval": resampling.interval}
    return pd.DataFrame(rows)


def _by_method(sessions: pd.DataFrame, null: str = PRIMARY_NULL) -> pd.DataFrame:
    of_null = sessions[sessions["null"] == null]
    return of_null.pivot(index=SESSION, columns="method", values="bits_per_spike").reset_index()


def _shared(wide: pd.DataFrame, *methods: str) -> pd.DataFrame:
    """Sessions that all the methods forecast."""
    names = list(dict.fromkeys(methods))
    return wide[[*SESSION, *names]].dropna(subset=names)


def _share(wide: pd.DataFrame, method: str, ceiling: str, resampling: Resampling) -> dict[str, float]:
    shared = _shared(wide, method, ceiling)
    names = ("share_of_oracle", "share_of_oracle_lower", "share_of_oracle_upper")
    if shared.empty or shared[ceiling].mean() <= 0:
        return dict.fromkeys(names, np.nan)  # no share of nothing
    found = bootstrap_ratio(
        shared[method], shared[ceiling], animal_names(shared), resampling.rng(), **resampling.options
    )
    return dict(zip(names, (found.value, found.lower, found.upper), strict=True))


def _gap_closed(wide: pd.DataFrame, method: str, resampling: Resampling) -> dict[str, float]:
    names = ("gap_closed", "gap_closed_lower", "gap_closed_upper")
    if not {"reference_mean", UPPER_BOUND} <= set(wide):
        return dict.fromkeys(names, np.nan)
    shared = _shared(wide, method, "reference_mean", UPPER_BOUND)
    gained, gap = (shared[name] - shared["reference_mean"] for name in (method, UPPER_BOUND))
    if shared.empty or not gap.mean() > 0:
        return dict.fromkeys(names, np.nan)  # no share of nothing
    found = bootstrap_ratio(gained, gap, animal_names(shared), resampling.rng(), **resampling.options)
    return dict(zip(names, (found.value, found.lower, found.upper), strict=True))


def _over(wide: pd.DataFrame, method: str, against: str, resampling: Resampling) -> dict[str, float]:
    names = (f"over_{against}", f"over_{against}_lower", f"over_{against}_upper")
    if against not in wide or method == against:
        return dict.fromkeys(names, np.nan)
    shared = _shared(wide, method, against)
    if shared.empty:
        return dict.fromkeys(names, np.nan)
    found = bootstrap_mean(
        (shared[method] - shared[against]).to_numpy(),
        animal_names(shared),
        resampling.rng(),
        **resampling.options,
    )
    return dict(zip(names, (found.value, found.lower, found.upper), strict=True))


def _declared_p(comparisons: pd.DataFrame, null: str, method: str, against: str) -> float:
    row = comparisons[
        (comparisons["null"] == null) & (comparisons["method"] == method) & (comparisons["against"] == against)
    ]
    return float(row["p_holm"].iloc[0]) if len(row) else np.nan


def _ordered(table: pd.DataFrame, before: list[str], after: list[str]) -> pd.DataFrame:
    order = {name: position for position, name in enumerate(method_order(table))}
    nulls = {name: position for position, name in enumerate(NULLS)}

    def key(column: pd.Series) -> pd.Series:
        return (
            column.map({"method": order, "null": nulls}[column.name]) if column.name in ("method", "null") else column
        )

    return table.sort_values([*before, *after], key=key, ignore_index=True, kind="stable")
