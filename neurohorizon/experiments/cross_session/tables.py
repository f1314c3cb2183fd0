"""Tables of experiment 1 from score sums; figures, notebook and report read these and compute nothing.

Every table with scores names the null in its own column, and every interval comes with its numbers of sessions and
animals. Seeds of a trained method are averaged within a session first, so that a session counts once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.statistics import bootstrap_ratio
from neurohorizon.analysis.tables import (
    ALL_SOURCES,
    COMPARED,
    DIFFERENCE,
    METHOD,
    PRIMARY_NULL,
    SESSION,
    Cell,
    Resampling,
    TableError,
    animal_names,
    bounds,
    by_method,
    class_cell,
    comparison_cells,
    end_ms,
    grouped_rows,
    interval_cell,
    left_out_table,
    method_order,
    ordered,
    over_all_sources,
    over_seeds,
    require_once,
    score,
    smallest_adjusted_p,
    text_table,
    with_holm,
    write_tables,
)
from neurohorizon.analysis.wording import SIGNIFICANT, influence_sentence, scope_sentence, smallest_p
from neurohorizon.forecasts.scoring import left_out_reason
from neurohorizon.methods import (
    ADAPTIVE,
    CEILING,
    CLASS_DESCRIPTIONS,
    CLASS_ORDER,
    DECLARED_FAMILY,
    EXPERTS,
    FORECASTER,
    OWN_HISTORY,
    OWN_HISTORY_READOUT,
    SHRINKAGE,
    UPPER_BOUND,
    class_word,
)
from neurohorizon.printed_names import counted
from neurohorizon.scores import NULLS, poisson_d2

_DIFFERENCES = (SHRINKAGE, OWN_HISTORY, OWN_HISTORY_READOUT)
_SUMS = ["spikes", "model_nats", "reference_nats", "evaluation_nats"]


@dataclass(frozen=True)
class Pooled:
    """Score sums of sessions, one row per seed: of all units and bins, by horizon bin, and by region.

    ``whole`` also has means over units: Poisson D2, and ``{null}_unit_mean`` of bits per spike over the
    ``spiking_units``, which have a scored spike, and ``{null}_better_units``, the number of units with a score above 0.
    ``largest_unit_id`` is the unit with most scored spikes,
    ``largest_spikes`` their number, and ``others_spikes`` and ``others_{nats}`` are the sums of all other units.
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
        raise TableError("no session has a score: all sessions were left out, or no file of sums was given")
    levels = [field.name for field in fields(Pooled)]
    pooled = Pooled(**{name: pd.concat([getattr(part, name) for part in parts], ignore_index=True) for name in levels})
    require_once(pooled.whole, [*SESSION, *METHOD, "seed"])
    return pooled


def _pool(scores: pd.DataFrame) -> Pooled:
    # a group whose key is missing is dropped by default, and baselines have no seed
    scores = scores.assign(seed=scores["seed"].astype("Int64"))
    key = [*SESSION, *METHOD, "seed"]

    def summed(by: list[str], columns: list[str]) -> pd.DataFrame:
        return scores.groupby(by, dropna=False, sort=False)[columns].sum().reset_index()

    by_unit = summed([*key, "unit_id"], [*_SUMS, "saturated_nats"])
    nats = ("model_nats", "evaluation_nats", "saturated_nats")
    by_unit["poisson_d2"] = poisson_d2(**{name: by_unit[name].to_numpy() for name in nats})
    for null in NULLS:
        by_unit[f"{null}_unit_mean"] = score(by_unit, f"{null}_nats")  # NaN without a spike, and then not in the mean
        by_unit[f"{null}_better_units"] = by_unit[f"{null}_unit_mean"] > 0
    grouped = by_unit.groupby(key, dropna=False, sort=False)
    means = {name: (name, "mean") for name in ("poisson_d2", *(f"{null}_unit_mean" for null in NULLS))}
    counts = {"units": ("unit_id", "size"), "spiking_units": ("spikes", np.count_nonzero)}
    counts |= {name: (name, "sum") for name in (f"{null}_better_units" for null in NULLS)}
    rows = grouped["spikes"].idxmax()
    largest = by_unit.loc[rows, [*key, "unit_id", "spikes"]].rename(
        columns={name: f"largest_{name}" for name in ("unit_id", "spikes")}
    )
    others = by_unit.drop(index=rows).groupby(key, dropna=False, sort=False)[_SUMS].sum().add_prefix("others_")
    whole = summed(key, _SUMS).merge(grouped.agg(**means, **counts).reset_index(), on=key)
    whole = whole.merge(largest, on=key).merge(others.reset_index(), on=key, how="left")
    windows = scores.groupby(key, dropna=False, sort=False)[["windows", "unscored_units"]].max().reset_index()
    horizon = summed([*key, "horizon_bin", "bin_us"], _SUMS)
    units = scores.groupby([*key, "region"], dropna=False, sort=False)["unit_id"].nunique()
    return Pooled(
        whole=whole.merge(windows, on=key),
        horizon=horizon.assign(horizon_ms=end_ms(horizon)),
        region=summed([*key, "region"], _SUMS).merge(units.rename("units").reset_index(), on=[*key, "region"]),
    )


def session_table(pooled: Pooled) -> pd.DataFrame:
    """Score of each session, method and null over all units and horizon bins, averaged over seeds.

    Columns: fold, session, subject, lab, source, method, class, null, bits_per_spike, gain_nats (log-likelihood
    relative to the null), spikes, windows, units, spiking_units (with a scored spike), unscored_units (too slow in the
    reference window), unit_mean (mean of bits/spike over the spiking units, each with equal weight), better_units (how
    many of them score above 0), poisson_d2 (mean over units, on rows of the evaluation null, which defines it), seeds,
    seed_sd (standard deviation of bits_per_spike between seeds; NaN with one).
    """
    of_nulls = [_over_null(pooled.whole, null) for null in NULLS]
    of_nulls = [
        rows.assign(**{name: rows[f"{null}_{name}"] for name in ("unit_mean", "better_units")})
        for null, rows in zip(NULLS, of_nulls, strict=True)
    ]
    rows = pd.concat(of_nulls, ignore_index=True)
    firsts = {name: (name, "first") for name in ("windows", "units", "spiking_units", "unscored_units")}
    means = {name: (name, "mean") for name in ("unit_mean", "better_units", "poisson_d2")}
    table = _average_seeds(rows, [], **firsts, **means)
    table["poisson_d2"] = table["poisson_d2"].where(table["null"] == "evaluation")
    return ordered(table, ["null", "fold", "session", "method"])


def unit_influence_table(pooled: Pooled) -> pd.DataFrame:
    """How far the unit with most scored spikes carries the score of a session, relative to the primary null.

    Columns: fold, session, subject, lab, source, method, class, null, unit_id, spike_share (its share of the scored
    spikes of the session), bits_per_spike, bits_per_spike_without (of all other units; NaN if they have no spike),
    gain_nats, spikes, seeds, seed_sd.
    """
    rows = _over_null(pooled.whole, PRIMARY_NULL)
    others = rows[[f"others_{name}" for name in _SUMS]].set_axis(_SUMS, axis=1)
    rows = rows.assign(
        unit_id=rows["largest_unit_id"],
        spike_share=rows["largest_spikes"] / rows["spikes"],
        bits_per_spike_without=score(others, f"{PRIMARY_NULL}_nats"),
    )
    also = {"spike_share": ("spike_share", "first"), "bits_per_spike_without": ("bits_per_spike_without", "mean")}
    return ordered(_average_seeds(rows, ["unit_id"], **also), ["fold", "session", "method"])


def horizon_table(horizon_sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Mean over sessions with its interval, by method and horizon bin."""
    table = grouped_rows(horizon_sessions, ["horizon_bin", "horizon_ms", *METHOD, "null"], resampling.mean_row)
    return ordered(table, ["method", "horizon_bin"])


def region_table(region_sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Mean over sessions with its interval, by method and brain region, with the units in it."""

    def row(rows: pd.DataFrame) -> dict[str, object]:
        return resampling.mean_row(rows) | {"units": rows["units"].sum()}

    return ordered(grouped_rows(region_sessions, ["region", *METHOD, "null"], row), ["region", "method"])


def comparison_table(sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Paired differences of the forecaster against every other method, and of the adaptive mixture against its experts.

    Scores are relative to the primary null.

    Columns: method, against, against_class, null, difference, lower, upper (bits/spike; interval is their nominal
    coverage), p, p_holm (adjusted over the declared family, missing outside of it), effect_size, sessions, animals,
    sessions_better, animals_better, declared.
    """
    wide = by_method(sessions[sessions["null"] == PRIMARY_NULL])
    kinds = dict(sessions[METHOD].drop_duplicates().itertuples(index=False, name=None))
    rows = []
    methods = method_order(sessions)
    pairs = [(FORECASTER, against) for against in methods if against != FORECASTER]
    pairs += [(ADAPTIVE, against) for against in methods if against in EXPERTS]
    for method, against in pairs:
        if found := resampling.compare(wide, method, against):
            row = {"method": method, "against": against, "against_class": kinds[against], "null": PRIMARY_NULL}
            rows.append(row | found | {"declared": (method, against) in DECLARED_FAMILY})
    columns = ["method", "against", "against_class", "null", *COMPARED, "declared"]
    table = pd.DataFrame(rows, columns=columns)
    return with_holm(table, table["declared"].astype(bool))


def summary_table(
    sessions: pd.DataFrame,
    comparisons: pd.DataFrame,
    resampling: Resampling,
    shared_subjects: Sequence[str] = (),
) -> pd.DataFrame:
    """One row per null and method: the main result of a run.

    If sessions come from more than one source, rows of each source follow those of ``all``, which the figures show and
    for which the comparisons were declared.

    Columns: source, method, class, null, bits_per_spike (mean over sessions) with lower, upper and their nominal
    coverage, interval; sessions, animals; pooled (all nats over all spikes) with pooled_lower and pooled_upper;
    unit_mean (mean over all spiking units of all sessions, each with equal weight) with its bounds; poisson_d2
    (on rows of the evaluation null), units, spiking_units (with a scored spike), better_units (of them, with a score
    above 0), unscored_units (too slow in the reference window), seeds, seed_sd (standard
    deviation between seeds, mean over sessions; NaN with one seed); share_of_oracle with its bounds
    (if there is a ceiling); gap_closed with its bounds (share of the gap between the reference mean and the upper
    bound, the network whose embeddings are fitted on the session; NaN if that was not run or gains nothing); the paired
    differences over_shrinkage, over_own_history and over_own_history_readout with their bounds and, if declared, Holm's
    p; shared_subjects, the animals of which other recordings are in the training data.
    """
    parts = [_summary_of(sessions, comparisons, resampling).assign(source=ALL_SOURCES)]
    sources = sorted(sessions["source"].unique())
    for source in sources if len(sources) > 1 else []:
        of_source = sessions[sessions["source"] == source]
        parts.append(_summary_of(of_source, comparisons.iloc[:0], resampling).assign(source=source))
    table = pd.concat(parts, ignore_index=True).assign(shared_subjects=" ".join(sorted(set(shared_subjects))))
    return table[["source", *table.columns.drop("source")]]


def _summary_of(sessions: pd.DataFrame, comparisons: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    ceilings = sessions.loc[sessions["class"] == CEILING, "method"].unique()
    wide = {null: by_method(rows) for null, rows in sessions.groupby("null", sort=False)}

    def row(rows: pd.DataFrame) -> dict[str, object]:
        method, null = rows[["method", "null"]].iloc[0]
        # bits, so that the pooled score has the unit of the mean
        gain_bits = rows["gain_nats"].to_numpy() / np.log(2)
        pooled = bootstrap_ratio(gain_bits, rows["spikes"], animal_names(rows), resampling.rng(), **resampling.options)
        unit_bits = rows["unit_mean"] * rows["spiking_units"]
        of_units = bootstrap_ratio(
            unit_bits, rows["spiking_units"], animal_names(rows), resampling.rng(), **resampling.options
        )
        found = resampling.mean_row(rows) | bounds("pooled", pooled) | bounds("unit_mean", of_units)
        found |= {"poisson_d2": rows["poisson_d2"].mean()}
        found |= {name: int(rows[name].sum()) for name in ("units", "spiking_units", "unscored_units")}
        found |= {"better_units": round(rows["better_units"].sum())}
        found |= {"seeds": rows["seeds"].min(), "seed_sd": rows["seed_sd"].mean()}
        for ceiling in ceilings:
            shared = _shared(wide[null], method, ceiling)
            found |= resampling.share("share_of_oracle", shared, shared[method], shared[ceiling])
        shared = _shared(wide[null], method, "reference_mean", UPPER_BOUND)
        gained, gap = (shared[name] - shared["reference_mean"] for name in (method, UPPER_BOUND))
        found |= resampling.share("gap_closed", shared, gained, gap)
        for against in _DIFFERENCES:
            shared = _shared(wide[null], method, against) if method != against else wide[null].iloc[:0]
            found |= resampling.mean_bounds(f"over_{against}", shared, shared[method] - shared.get(against, np.nan))
            found[f"over_{against}_p_holm"] = _declared_p(comparisons, null, method, against)
        return found

    return ordered(grouped_rows(sessions, [*METHOD, "null"], row), ["null", "method"])


def _shared(wide: pd.DataFrame, *methods: str) -> pd.DataFrame:
    """Sessions that all the methods forecast."""
    return wide.reindex(columns=[*SESSION, *dict.fromkeys(methods)]).dropna(subset=list(methods))


def _declared_p(comparisons: pd.DataFrame, null: str, method: str, against: str) -> float:
    of_null, of_pair = comparisons["null"] == null, comparisons["method"] == method
    row = comparisons[of_null & of_pair & (comparisons["against"] == against)]
    return float(row["p_holm"].iloc[0]) if len(row) else np.nan


def format_summary(
    summary: pd.DataFrame, comparisons: pd.DataFrame, left_out: pd.DataFrame, influence: pd.DataFrame
) -> list[str]:
    """The summary and the comparisons relative to the primary null, as lines of text for a terminal."""
    primary = summary[summary["null"] == PRIMARY_NULL]
    shown = over_all_sources(primary)
    if shown.empty:
        return ["no session was scored"]
    interval = f"{shown['interval'].iloc[0]:.0%} interval"
    closed = "gap_closed" in shown and bool(shown["gap_closed"].notna().any())
    columns: dict[str, Cell] = {"bits/spike": "{bits_per_spike:+.4f}", interval: interval_cell()}
    columns |= {"pooled": "{pooled:+.4f}", "unit mean": "{unit_mean:+.4f}"}
    columns |= {"sessions": "{sessions}", "animals": "{animals}"}
    columns["of oracle"] = "{share_of_oracle:.0%}" if "share_of_oracle" in shown else ""
    named: dict[str, Cell] = {"method": "{method}", "class": class_cell}
    lines = [f"Zero-shot forecasts of held-out sessions; null: {PRIMARY_NULL}-window mean rate"]
    lines += text_table(shown, named | columns | ({"gap closed": "{gap_closed:.0%}"} if closed else {}))
    of_sources = primary[primary["source"] != ALL_SOURCES]
    of_sources = of_sources[(of_sources["method"] == FORECASTER) | (of_sources["class"] == CEILING)]
    lines += text_table(of_sources, {"source": "{source}", "method": "{method}"} | columns)
    lines += _comparison_lines(comparisons, interval, int(shown["animals"].max()))
    lines += [
        "",
        *(f"{class_word(kind)}: {CLASS_DESCRIPTIONS[kind]}." for kind in CLASS_ORDER if kind in set(shown["class"])),
    ]
    if closed:
        lines.append(
            f"Gap closed: share of the gap between the reference mean and {UPPER_BOUND}, which fits the session."
        )
    lines.append("Intervals are bootstrapped over animals; with few animals they are coarse, with one there is none.")
    lines.append(
        "bits/spike: mean over sessions; pooled: all spikes with equal weight; unit mean: all units with equal weight."
    )
    if found := influence_sentence(influence):
        lines.append(found)
    if unscored := shown["unscored_units"].iloc[0]:
        units = unscored + shown["units"].iloc[0]
        lines.append(f"{unscored} of {units} units are too slow in the reference window to be scored.")
    if shown["shared_subjects"].iloc[0]:
        lines.append(scope_sentence(shown))
    if len(left_out):
        lines.append(f"Left out: {counted(len(left_out), 'session')}, listed with the reason in left_out.tsv.")
    return lines


def _comparison_lines(comparisons: pd.DataFrame, interval: str, animals: int) -> list[str]:
    """The forecaster against every other method: first the declared comparisons, then the others, which have no p."""
    declared = comparisons["declared"].astype(bool)
    rows = pd.concat([comparisons[declared], comparisons[~declared]])
    cells = {"difference": DIFFERENCE} | comparison_cells(interval)
    notes = [smallest_p(animals)] if declared.any() and animals > 1 else []
    smallest = smallest_adjusted_p(comparisons)
    if smallest >= SIGNIFICANT:
        del cells["Holm p"]
        notes = [f"With {counted(animals, 'animal')} no Holm-adjusted p can be below {smallest:.2g}: none is given."]
    lines = text_table(rows, cells)
    if smallest < SIGNIFICANT and not declared.all():
        notes.append(
            "Without p: not declared in advance. These methods bound or explain NeuroHorizon; they do not compete."
        )
    return [*lines, *(["", *notes] if notes else [])]


def make_tables(
    *,
    scores: Sequence[str | Path],
    folder: str | Path,
    resampling: Resampling,
    sessions: str | Path | None = None,
    shared_subjects: Sequence[str] = (),
    note: str = "",
    population: bool = True,
) -> None:
    """Write every table as Parquet and as TSV, and ``summary.txt`` for the terminal.

    Args:
        scores: Score files, one per fold and held-out session.
        sessions: The list of the run's sessions (Parquet), to list excluded training sessions too.
        shared_subjects: Animals that are both trained on and forecast.
        note: A sentence on the recordings, the first line of the summary.
        population: Whether the network has a population encoder.
    """
    scores = sorted(map(Path, scores))
    pooled = pool_scores(scores)
    by_session = session_table(pooled)
    by_bin = _average_seeds(_over_null(pooled.horizon, PRIMARY_NULL), ["horizon_bin", "horizon_ms"])
    horizon_sessions = ordered(by_bin, ["fold", "session", "method", "horizon_bin"])
    by_region = _average_seeds(_over_null(pooled.region, PRIMARY_NULL), ["region"], units=("units", "first"))
    region_sessions = ordered(by_region, ["fold", "session", "region", "method"])
    comparisons = comparison_table(by_session, resampling)
    influence = unit_influence_table(pooled)
    tables = {
        "sessions": by_session,
        "unit_influence": influence,
        "horizon_sessions": horizon_sessions,
        "horizon": horizon_table(horizon_sessions, resampling),
        "regions_sessions": region_sessions,
        "regions": region_table(region_sessions, resampling),
        "comparisons": comparisons,
        "summary": summary_table(by_session, comparisons, resampling, shared_subjects),
        "left_out": left_out_table(scores, sessions),
        "network": pd.DataFrame({"population_encoder": [population]}),
    }
    lines = format_summary(tables["summary"], comparisons, tables["left_out"], influence)
    write_tables(tables, folder, [note, *lines] if note else lines)


def _over_null(sums: pd.DataFrame, null: str) -> pd.DataFrame:
    table = sums.assign(null=null, gain_nats=sums["model_nats"] - sums[f"{null}_nats"])
    # a session without a spike has no score, which is not a mistake
    return table.assign(bits_per_spike=score(sums, f"{null}_nats"))[table["spikes"] > 0]


def _average_seeds(table: pd.DataFrame, by: list[str], **also: tuple[str, str]) -> pd.DataFrame:
    also = {"gain_nats": ("gain_nats", "mean"), "spikes": ("spikes", "first")} | also
    return over_seeds(table, [*SESSION, *METHOD, "null", *by], **also)
