"""Tables of experiment 3: how far ahead each forecast mode is above the null, all on the same windows.

The windows are those of the sample paths. Scores of the parallel forecast, of the rollout modes (conditioned on their
own earlier draws), and of the gamma-Poisson filter are in the calibration sums of these windows; those of the true
rates, if they are available, and of teacher forcing are in separate sums. A check ensures that both are of the same
windows. Seeds are averaged within a session first; every number is then a mean over sessions, with an interval over
animals, relative to the reference-window mean rate.

A *horizon* holds all bins from the origin up to its end (``last_ms``); curves are by single bin, which is named by its
end (``horizon_ms``). Teacher-forced scores are no forecasts and are in separate tables.

The forecast of a rollout mode is the mean over some sample paths. Their noise lowers its score; to first order, half
the number of paths lowers it twice as much. ``many_paths`` is the score extrapolated in that way (Richardson) from the
paths and from halves of them to infinitely many; for a forecast without draws it is the score itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import (
    COMPARED,
    DIFFERENCE,
    METHOD,
    PRIMARY_NULL,
    SESSION,
    Cell,
    Resampling,
    TableError,
    bounds,
    by_method,
    class_cell,
    comparison_cells,
    end_ms,
    grouped_rows,
    horizon_ends_ms,
    interval_cell,
    left_out_table,
    ordered,
    score,
    text_table,
    with_holm,
    write_tables,
)
from neurohorizon.experiments.horizons.calibration import POPULATION, UNIT
from neurohorizon.experiments.horizons.calibration_tables import (
    GAMMA_POISSON,
    REFERENCE_MEAN,
    calibration_table,
    read_calibration,
    session_calibration,
)
from neurohorizon.experiments.horizons.joint_tables import joint_table
from neurohorizon.methods import CEILING, CONTROL, DECODINGS, FORECASTER, METHOD_ORDER
from neurohorizon.printed_names import counted

TEACHER_FORCED = f"{FORECASTER}_teacher_forced"
AUTOREGRESSIVE = DECODINGS[0]
DECLARED = tuple((decoding, FORECASTER) for decoding in DECODINGS)
"""The comparisons that were declared in advance, at each horizon: rollout modes against the parallel forecast of the
same weights. The first step of each is the parallel forecast itself, so up to its end there is nothing to compare.
Holm's adjustment is over all that a run can make, horizons included."""

_SUMS = ["windows", "spikes", "model_nats", "reference_nats"]
_SAME_NATS = 1e-6  # sums of the same numbers in another order


def read_sums(calibration: pd.DataFrame, teacher_forced: Iterable[str | Path]) -> pd.DataFrame:
    """Join the score sums of all methods, averaged over seeds; files of teacher-forced sums also have true rates.

    Returns:
        One row per session, method and horizon bin: fold, session, subject, lab, source, method, class,
        horizon_bin, bin_us, units, unscored_units, windows, spikes, model_nats, reference_nats, many_nats, seeds.

    Raises:
        TableError: The files are not of the same windows and units.
    """
    # the expected counts of a control with exchanged paths are those of its method
    of_unit = (calibration["target"] == UNIT) & (calibration["paths"] > 0) & (calibration["class"] != CONTROL)
    drawn = calibration[of_unit]
    drawn = drawn.assign(horizon_bin=drawn["first_bin"], many_nats=_many_nats(drawn))
    found = pd.concat([pd.read_parquet(path) for path in teacher_forced], ignore_index=True)
    key = [*SESSION, *METHOD, "horizon_bin", "bin_us", "units", "unscored_units"]
    by_seed = found.groupby(key, sort=False)
    others = by_seed[_SUMS].mean().assign(seeds=by_seed.size()).reset_index()
    _require_the_same_windows(drawn, others)
    others["many_nats"] = others["model_nats"]
    return pd.concat([drawn[[*key, *_SUMS, "many_nats", "seeds"]], others], ignore_index=True)


def session_table(sums: pd.DataFrame, horizons_ms: Sequence[float]) -> pd.DataFrame:
    """Score of each session and method up to the end of each horizon.

    Columns: fold, session, subject, lab, source, method, class, null, last_ms, bits_per_spike, many_paths, gain_nats,
    spikes, windows, units, unscored_units, seeds.
    """
    ends = end_ms(sums)
    parts = [
        _scores(sums[ends <= last_ms], []).assign(last_ms=last_ms)
        for last_ms in horizon_ends_ms(horizons_ms, ends.max())
    ]
    return _ordered(pd.concat(parts, ignore_index=True), "fold", "session", "last_ms", "method")


def mean_table(by_session: pd.DataFrame, end: str, resampling: Resampling) -> pd.DataFrame:
    """Mean over sessions with its interval, by method and horizon or bin.

    Args:
        end: Column with the end of the horizon or bin.

    Columns: method, class, null, the end, bits_per_spike, lower, upper, interval, sessions, animals, many_paths,
    share_of_oracle with its bounds (NaN if there is no ceiling), windows, spikes, seeds.
    """
    ceiling = by_session[by_session["class"] == CEILING].set_index([*SESSION, end])["bits_per_spike"]

    def row(group: pd.DataFrame) -> dict[str, object]:
        at = pd.MultiIndex.from_frame(group[[*SESSION, end]])
        group = group.assign(ceiling=ceiling.reindex(at).to_numpy() if len(ceiling) else np.nan)
        shared = group.dropna(subset="ceiling")
        found = resampling.mean_row(group) | {"many_paths": group["many_paths"].mean()}
        found |= resampling.share("share_of_oracle", shared, shared["bits_per_spike"], shared["ceiling"])
        found |= {name: int(group[name].sum()) for name in ("windows", "spikes")}
        return found | {"seeds": int(group["seeds"].min())}

    order = [end, "method"] if end == "last_ms" else ["method", end]
    return _ordered(grouped_rows(by_session, [*METHOD, "null", end], row), *order)


def over_filter(by_session: pd.DataFrame, end: str) -> pd.DataFrame:
    """Scores of each session minus those of the gamma-Poisson filter, which uses each unit's own past only."""
    key = [*SESSION, end]
    filtered = by_session[by_session["method"] == GAMMA_POISSON].set_index(key)["bits_per_spike"]
    others = by_session[~by_session["method"].isin([GAMMA_POISSON, REFERENCE_MEAN])]
    below = filtered.reindex(pd.MultiIndex.from_frame(others[key])).to_numpy()
    return others.assign(bits_per_spike=others["bits_per_spike"] - below).dropna(subset=["bits_per_spike"])


def reach_table(curves: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Horizon at which the interval of each method first includes zero; ``curves`` are means by bin.

    Intervals are of single bins, without adjustment: among many bins some include zero by chance. The scores of each
    curve are relative to the method that is its key.

    Columns: over, method, class, null, touches_ms (end of the first bin whose interval is not wholly above zero; NaN if
    there is none), above_ms (end of the bin before it: up to there all are above), bins_above (of ``bins``), bins,
    horizon_ms, interval, sessions, animals. The first three numbers are NaN without intervals.
    """

    def row(line: pd.DataFrame) -> dict[str, object]:
        line = line.sort_values("horizon_ms")
        ends, above = line["horizon_ms"].to_numpy(), (line["lower"] > 0).to_numpy()
        found = {"touches_ms": np.nan, "above_ms": np.nan, "bins_above": np.nan}
        if line["lower"].notna().all():
            before = len(above) if above.all() else int(np.argmin(above))
            found["touches_ms"] = ends[before] if before < len(above) else np.nan
            found["above_ms"] = ends[before - 1] if before else 0.0
            found["bins_above"] = int(above.sum())
        found |= {"bins": len(line), "horizon_ms": ends[-1], "interval": line["interval"].iloc[0]}
        return found | {"sessions": line["sessions"].max(), "animals": line["animals"].max()}

    bins = pd.concat([bins.assign(over=over) for over, bins in curves.items()], ignore_index=True)
    return grouped_rows(bins[bins["method"] != REFERENCE_MEAN], ["over", *METHOD, "null"], row)


def comparison_table(by_session: pd.DataFrame, step_ms: Mapping[str, float], resampling: Resampling) -> pd.DataFrame:
    """Paired differences of the declared comparisons at each horizon beyond the first step of the rollout mode.

    Columns: method, against, last_ms, null, difference, lower, upper, interval, p, p_holm, effect_size, sessions,
    animals, sessions_better, animals_better, and the difference with many paths, many_paths, with its bounds.
    """
    rows = []
    for last_ms, of_horizon in by_session.groupby("last_ms", sort=True):
        wide, many = by_method(of_horizon), by_method(of_horizon, "many_paths")
        for method, against in DECLARED:
            found = resampling.compare(wide, method, against) if last_ms > step_ms[method] else None
            if found:
                kept = many.loc[wide.dropna(subset=[method, against]).index]
                names = {"method": method, "against": against, "last_ms": last_ms, "null": PRIMARY_NULL}
                beyond = resampling.mean_bounds("many_paths", kept, kept[method] - kept[against])
                rows.append(names | found | beyond)
    columns = ["method", "against", "last_ms", "null", *COMPARED, *bounds("many_paths", None)]
    return with_holm(pd.DataFrame(rows, columns=columns))


def teacher_forced_table(by_session: pd.DataFrame, means: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Teacher-forced scores at each horizon, next to the rollout that is conditioned on its own draws.

    Returns:
        The columns of :func:`mean_table`, and over_autoregressive with its bounds: the gain of the decoder if its
        rollouts never erred, which is unavailable to any forecast.
    """
    rows = []
    for last_ms, of_horizon in by_session.groupby("last_ms", sort=True):
        wide = by_method(of_horizon).reindex(columns=[*SESSION, TEACHER_FORCED, AUTOREGRESSIVE])
        shared = wide.dropna(subset=[TEACHER_FORCED, AUTOREGRESSIVE])
        gap = shared[TEACHER_FORCED] - shared[AUTOREGRESSIVE]
        rows.append({"last_ms": last_ms} | resampling.mean_bounds("over_autoregressive", shared, gap))
    found = means[means["method"] == TEACHER_FORCED].drop(columns="many_paths")
    return found.merge(pd.DataFrame(rows), on="last_ms")


def horizon_calibration(
    calibration: pd.DataFrame, horizons_ms: Sequence[float], resampling: Resampling
) -> pd.DataFrame:
    """Calibration up to the end of each horizon, of the spikes in a bin of a unit and of all units together.

    Columns as ``calibration_tables.calibration_table``.
    """
    by_bin = calibration[calibration["target"].isin([UNIT, POPULATION])]
    whole_ms = (by_bin["last_bin"] * by_bin["bin_us"]).max() / 1000
    parts = [(0.0, end) for end in horizon_ends_ms(horizons_ms, whole_ms)]
    return calibration_table(session_calibration(by_bin, parts), resampling)


def make_tables(
    *,
    calibration: Sequence[str | Path],
    teacher_forced: Sequence[str | Path],
    horizons_ms: Sequence[float],
    block_bins: int,
    folder: str | Path,
    resampling: Resampling,
) -> None:
    """Write every table as Parquet and as TSV, and ``summary.txt`` for the terminal.

    Args:
        calibration: Files of calibration sums, one per fold, held-out session and seed.
        block_bins: Bins of a step of the blockwise rollout modes.
    """
    calibrated = read_calibration(sorted(map(Path, calibration)))
    sums = read_sums(calibrated, sorted(map(Path, teacher_forced)))
    by_session = session_table(sums, horizons_ms)
    by_bin = _scores(sums.assign(horizon_ms=end_ms(sums)), ["horizon_ms"])
    by_bin = _ordered(by_bin, "fold", "session", "method", "horizon_ms")
    means, bins = mean_table(by_session, "last_ms", resampling), mean_table(by_bin, "horizon_ms", resampling)
    forecasts = _forecasts(bins)
    over = mean_table(_forecasts(over_filter(by_bin, "horizon_ms")), "horizon_ms", resampling)
    over = over.drop(columns=["many_paths", *bounds("share_of_oracle", None)]).assign(against=GAMMA_POISSON)
    whole_ms = (calibrated["last_bin"] * calibrated["bin_us"]).max() / 1000
    bin_ms = sums["bin_us"].iloc[0] / 1000
    step_ms = {name: bin_ms * (1 if name == AUTOREGRESSIVE else block_bins) for name in DECODINGS}
    tables = {
        "horizons": _forecasts(means),
        "bins": forecasts,
        "bins_over_filter": over,
        "reach": reach_table({REFERENCE_MEAN: forecasts, GAMMA_POISSON: over}),
        "comparisons": comparison_table(by_session, step_ms, resampling),
        "calibration": horizon_calibration(calibrated, horizons_ms, resampling),
        "joint": joint_table(calibrated, session_calibration(calibrated, [(0.0, whole_ms)]), resampling),
        "teacher_forced": teacher_forced_table(by_session, means, resampling),
        "teacher_forced_bins": _teacher_forced(bins).drop(columns="many_paths"),
        "sessions": _forecasts(by_session),
        "teacher_forced_sessions": _teacher_forced(by_session),
        "left_out": left_out_table(calibration),
    }
    shown = [tables[name] for name in ("horizons", "reach", "comparisons", "teacher_forced")]
    write_tables(tables, folder, format_horizons(*shown))


def format_horizons(
    horizons: pd.DataFrame, reach: pd.DataFrame, comparisons: pd.DataFrame, teacher_forced: pd.DataFrame
) -> list[str]:
    """Scores at each horizon, reach of each method, and teacher-forced scores, as lines of text for a terminal."""
    interval = f"{horizons['interval'].iloc[0]:.0%} interval"
    reached = reach.set_index(["over", "method"])
    wide = horizons.pivot(index=METHOD, columns="last_ms", values="bits_per_spike").reset_index()
    wide = ordered(wide, ["method"], method=horizons["method"].unique())
    columns: dict[str, Cell] = {"method": "{method}", "class": class_cell}
    columns |= {f"to {end:g} ms": lambda row, end=end: f"{row[end]:+.4f}" for end in wide.columns.drop(METHOD)}
    columns["touches the null"] = lambda row: _touches(reached, REFERENCE_MEAN, row["method"])
    columns["touches the filter"] = lambda row: _touches(reached, GAMMA_POISSON, row["method"])
    sessions, animals = counted(horizons["sessions"].max(), "session"), counted(horizons["animals"].max(), "animal")
    to: dict[str, Cell] = {"to": "{last_ms:g} ms"}
    scores = to | {"bits/spike": "{bits_per_spike:+.4f}", interval: interval_cell()}
    many = {"many paths": "{many_paths:+.4f}"}
    lines = [
        f"Bits/spike relative to the {PRIMARY_NULL}-window mean rate up to each horizon, same windows for all; "
        f"{sessions}, {animals}",
        *text_table(wide, columns),
        "",
        f"touches: end of the first bin whose {interval} over animals is not wholly above the null, or above the "
        "gamma-Poisson filter.",
        *text_table(comparisons, {"difference": DIFFERENCE} | to | comparison_cells(interval) | many),
    ]
    if len(comparisons):
        lines += ["", "many paths: the difference without the noise of few paths, extrapolated."]
    over = {"over autoregressive": "{over_autoregressive:+.4f}"}
    lines += text_table(teacher_forced, {"not a forecast": "teacher-forced"} | scores | over)
    if len(teacher_forced):
        lines += ["", "Teacher-forced: conditioned on the observed counts of all earlier bins."]
    return lines


def _touches(reached: pd.DataFrame, over: str, method: str) -> str:
    if (over, method) not in reached.index:
        return ""
    row = reached.loc[(over, method)]
    if np.isnan(row["bins_above"]):
        return "no interval"
    return "never" if np.isnan(row["touches_ms"]) else f"{row['touches_ms']:g} ms"


def _forecasts(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["method"] != TEACHER_FORCED].reset_index(drop=True)


def _teacher_forced(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["method"] == TEACHER_FORCED].reset_index(drop=True)


def _require_the_same_windows(drawn: pd.DataFrame, others: pd.DataFrame) -> None:
    """Check that both kinds of sums are of the same sessions, windows, units and spikes."""
    key = [*SESSION, "horizon_bin"]
    columns = ["bin_us", "units", "windows", "spikes", "reference_nats"]
    first = drawn[drawn["method"] == FORECASTER].set_index(key)[columns]
    for method, rows in others.groupby("method", sort=False):
        other = rows.set_index(key)[columns]
        if method == TEACHER_FORCED and set(other.index) != set(first.index):
            names = {index[1] for index in set(other.index) ^ set(first.index)}
            raise TableError(f"{method} and {FORECASTER} are not of the same sessions and bins: {sorted(names)[:3]}")
        both = first.reindex(other.index)
        differs = ~np.isclose(other.to_numpy(float), both.to_numpy(float), rtol=_SAME_NATS, atol=0)
        if differs.any():
            row, column = np.argwhere(differs)[0]
            raise TableError(
                f"{method} and {FORECASTER} are not of the same windows: {columns[column]} of session "
                f"{other.index[row][1]}, horizon bin {other.index[row][-1]}, is {other.iloc[row, column]:g} and "
                f"{both.iloc[row, column]:g}. Rerun sample_paths and score_teacher_forcing"
            )


def _scores(sums: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    nats = ("model_nats", "reference_nats", "many_nats")
    table = sums.groupby([*SESSION, *METHOD, *by], sort=False).agg(
        **{name: (name, "sum") for name in ("spikes", *nats)},
        # windows of a horizon are those of each of its bins
        **{name: (name, "max") for name in ("windows", "units", "unscored_units", "seeds")},
    )
    table = table.reset_index()
    table = table.assign(
        null=PRIMARY_NULL,
        bits_per_spike=score(table),
        many_paths=score(table, model="many_nats"),
        gain_nats=table["model_nats"] - table["reference_nats"],
    )
    table = table.astype({"spikes": np.int64, "windows": np.int64}).drop(columns=list(nats))
    # no spike, no score
    return table[table["spikes"] > 0]


def _many_nats(drawn: pd.DataFrame) -> pd.Series:
    """Extrapolate log-likelihoods by some paths and by half of them to infinitely many paths.

    The loss by the noise of a mean over n paths is c / n to first order, for any c.
    """
    half = drawn["paths"] // 2
    extrapolated = (drawn["paths"] * drawn["model_nats"] - half * drawn["half_nats"]) / (drawn["paths"] - half)
    return extrapolated.where(drawn["half_nats"].notna(), drawn["model_nats"])


def _ordered(table: pd.DataFrame, *by: str) -> pd.DataFrame:
    """Sort by some columns; the ceiling and teacher forcing, which is no forecast, are the last methods."""
    return ordered(table, by, method=(*METHOD_ORDER, TEACHER_FORCED))
