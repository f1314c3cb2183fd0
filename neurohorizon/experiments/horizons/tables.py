"""Tables of experiment 3: how far ahead each decoding knows something, all on the same windows.

The windows are those that sample paths are drawn for. The parallel forecast, the decodings that go on from their own
draws, and the gamma-Poisson filter come from the calibration sums of these windows; the true rates, where they are
known, and the teacher-forced scores from sums of their own. That both are of the same windows is checked. Seeds are
averaged within a session first; every number is then a mean over sessions, with an interval by animal, over the
reference-window mean rate.

A *horizon* holds all bins from the origin up to its end (``last_ms``); curves are by single bin, which is named by its
end (``horizon_ms``). Teacher-forced scores are no forecasts and stand in tables of their own.

What a decoding forecasts is the mean over some sample paths, whose noise costs it something that more paths would not:
to first order, as much again for half as many. ``many_paths`` is the score extrapolated in that way (Richardson) from
the paths and from halves of them to endlessly many; the score of a forecast that draws nothing is its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.statistics import bootstrap_mean, bootstrap_ratio, compare_paired, holm
from neurohorizon.analysis.tables import (
    PRIMARY_NULL,
    SESSION,
    Resampling,
    TableError,
    aligned,
    animal_names,
    format_interval,
    horizon_ends_ms,
    left_out_table,
    write_table,
)
from neurohorizon.experiments.horizons.calibration import POPULATION, UNIT
from neurohorizon.experiments.horizons.calibration_tables import (
    GAMMA_POISSON,
    REFERENCE_MEAN,
    calibration_table,
    read_calibration,
    session_calibration,
)
from neurohorizon.files import replacing
from neurohorizon.methods import CEILING, DECODINGS, FORECASTER, METHOD_ORDER
from neurohorizon.scores import bits_per_spike

TEACHER_FORCED = f"{FORECASTER}_teacher_forced"
AUTOREGRESSIVE = DECODINGS[0]
DECLARED = tuple((decoding, FORECASTER) for decoding in DECODINGS)
"""The comparisons that were declared beforehand, at each horizon: decodings that go on from their own draws against the
parallel forecast of the same weights. The first step of each is the parallel forecast itself, so up to its end there is
nothing to compare. Holm's adjustment is over all that a run can make, horizons included."""

_METHOD = ["method", "class"]
_SUMS = ["windows", "spikes", "model_nats", "reference_nats"]
_SAME_NATS = 1e-6  # sums of the same numbers in another order


def read_sums(calibration: pd.DataFrame, told: Iterable[str | Path]) -> pd.DataFrame:
    """Put the score sums of all methods together, averaged over seeds.

    Args:
        calibration: Calibration sums, as ``calibration_tables.read_calibration`` gives them.
        teacher_forced: Files of teacher-forced sums, which hold those of the true rates too.

    Returns:
        One row per session, method and horizon bin: fold, session, subject, lab, source, method, class,
        horizon_bin, bin_us, units, unscored_units, windows, spikes, model_nats, reference_nats, many_nats, seeds.

    Raises:
        TableError: The files are not of the same windows and units.
    """
    drawn = calibration[(calibration["target"] == UNIT) & (calibration["paths"] > 0)]
    drawn = drawn.assign(horizon_bin=drawn["first_bin"], many_nats=_many_nats(drawn))
    found = pd.concat([pd.read_parquet(path) for path in told], ignore_index=True)
    key = [*SESSION, *_METHOD, "horizon_bin", "bin_us", "units", "unscored_units"]
    by_seed = found.groupby(key, sort=False)
    beside = by_seed[_SUMS].mean().assign(seeds=by_seed.size()).reset_index()
    _require_the_same_windows(drawn, beside)
    beside["many_nats"] = beside["model_nats"]
    return pd.concat([drawn[[*key, *_SUMS, "many_nats", "seeds"]], beside], ignore_index=True)


def session_table(sums: pd.DataFrame, horizons_ms: Sequence[float]) -> pd.DataFrame:
    """Score of each session and method up to the end of each horizon.

    Returns:
        fold, session, subject, lab, source, method, class, null, last_ms, bits_per_spike, many_paths, gain_nats,
        spikes, windows, units, unscored_units, seeds.
    """
    end_ms = (sums["horizon_bin"] + 1) * sums["bin_us"] / 1000
    parts = []
    for last_ms in horizon_ends_ms(horizons_ms, end_ms.max()):
        parts.append(_scores(sums[end_ms <= last_ms], []).assign(last_ms=last_ms))
    return _ordered(pd.concat(parts, ignore_index=True), ["fold", "session", "last_ms"], [])


def bin_session_table(sums: pd.DataFrame) -> pd.DataFrame:
    """Score of each session and method in each horizon bin; columns as :func:`session_table`, with ``horizon_ms``."""
    sums = sums.assign(horizon_ms=(sums["horizon_bin"] + 1) * sums["bin_us"] / 1000)
    return _ordered(_scores(sums, ["horizon_ms"]), ["fold", "session"], ["horizon_ms"])


def mean_table(by_session: pd.DataFrame, end: str, resampling: Resampling) -> pd.DataFrame:
    """Mean over sessions with its interval, by method and horizon or bin.

    Args:
        by_session: Table of sessions.
        end: Column that names the horizon or the bin by its end.
        resampling: How intervals are made.

    Returns:
        method, class, null, the end, bits_per_spike, lower, upper, interval, many_paths, share_of_oracle with its
        bounds (NaN where there is no ceiling), sessions, animals, windows, spikes, seeds.
    """
    ceiling = by_session[by_session["class"] == CEILING].set_index([*SESSION, end])["bits_per_spike"]
    rows = []
    for key, group in by_session.groupby([*_METHOD, "null", end], sort=False):
        found = bootstrap_mean(
            group["bits_per_spike"].to_numpy(), animal_names(group), resampling.rng(), **resampling.options
        )
        row = dict(zip([*_METHOD, "null", end], key, strict=True))
        row |= {"bits_per_spike": found.value, "lower": found.lower, "upper": found.upper}
        row |= {"interval": resampling.interval, "many_paths": group["many_paths"].mean()}
        row |= _share(group, ceiling, end, resampling)
        row |= {"sessions": found.sessions, "animals": found.animals}
        row |= {name: int(group[name].sum()) for name in ("windows", "spikes")}
        rows.append(row | {"seeds": int(group["seeds"].min())})
    return _ordered(pd.DataFrame(rows), [end] if end == "last_ms" else [], [end])


def over_filter(by_session: pd.DataFrame, end: str) -> pd.DataFrame:
    """Scores of each session less those of the gamma-Poisson filter, which knows each unit's own past alone.

    Args:
        by_session: Table of sessions.
        end: Column that names the horizon or the bin by its end.
    """
    key = [*SESSION, end]
    filtered = by_session[by_session["method"] == GAMMA_POISSON].set_index(key)["bits_per_spike"]
    others = by_session[~by_session["method"].isin([GAMMA_POISSON, REFERENCE_MEAN])]
    below = filtered.reindex(pd.MultiIndex.from_frame(others[key])).to_numpy()
    return others.assign(bits_per_spike=others["bits_per_spike"] - below).dropna(subset=["bits_per_spike"])


def reach_table(curves: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Horizon at which the interval of each method first touches zero.

    Intervals are of single bins, each for itself: among many bins some touch zero by chance.

    Args:
        curves: Method over which the scores are -> means by bin.

    Returns:
        over, method, class, null, touches_ms (end of the first bin whose interval is not wholly above zero; NaN where
        there is none), above_ms (end of the bin before it: up to there all are above), bins_above (of ``bins``),
        horizon_ms, interval, sessions, animals. The first three numbers are NaN where there are no intervals.
    """
    rows = []
    bins = pd.concat([bins.assign(over=over) for over, bins in curves.items()], ignore_index=True)
    bins = bins[bins["method"] != REFERENCE_MEAN]
    for key, line in bins.groupby(["over", *_METHOD, "null"], sort=False):
        line = line.sort_values("horizon_ms")
        ends, above = line["horizon_ms"].to_numpy(), (line["lower"] > 0).to_numpy()
        row = dict(zip(["over", *_METHOD, "null"], key, strict=True))
        row |= {"touches_ms": np.nan, "above_ms": np.nan, "bins_above": np.nan}
        if line["lower"].notna().all():
            before = len(above) if above.all() else int(np.argmin(above))
            row["touches_ms"] = ends[before] if before < len(above) else np.nan
            row["above_ms"] = ends[before - 1] if before else 0.0
            row["bins_above"] = int(above.sum())
        row |= {"bins": len(line), "horizon_ms": ends[-1], "interval": line["interval"].iloc[0]}
        rows.append(row | {"sessions": line["sessions"].max(), "animals": line["animals"].max()})
    return pd.DataFrame(rows)


def comparison_table(by_session: pd.DataFrame, step_ms: Mapping[str, float], resampling: Resampling) -> pd.DataFrame:
    """Paired differences of the declared comparisons at each horizon beyond the first step of the decoding.

    Args:
        by_session: Table of sessions.
        step_ms: Length of a step of each decoding.
        resampling: How intervals are made.

    Columns: method, against, last_ms, null, difference, lower, upper, interval, p, p_holm, effect_size, sessions,
    animals, sessions_better, animals_better, and the difference with many paths, many_paths, with its bounds.
    """
    rows = []
    for last_ms, of_horizon in by_session.groupby("last_ms", sort=True):
        wide, many = _wide(of_horizon), _wide(of_horizon, "many_paths")
        for method, against in DECLARED:
            shared = wide.dropna(subset=[method, against]) if {method, against} <= set(wide) else wide[:0]
            if shared.empty or last_ms <= step_ms[method]:
                continue
            found = compare_paired(
                shared[method], shared[against], animal_names(shared), resampling.rng(), **resampling.options
            )
            names = {"method": method, "against": against, "last_ms": last_ms, "null": PRIMARY_NULL}
            rows.append(names | found.columns(resampling.interval))
            kept = many.loc[shared.index]
            gap = (kept[method] - kept[against]).to_numpy()
            beyond = bootstrap_mean(gap, animal_names(shared), resampling.rng(), **resampling.options)
            rows[-1] |= dict(zip(_bounds("many_paths"), (beyond.value, beyond.lower, beyond.upper), strict=True))
    table = pd.DataFrame(rows, columns=None if rows else ["method", "against", "last_ms", "null", "p", "p_holm"])
    table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    return table


def told_table(by_session: pd.DataFrame, means: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Teacher-forced scores at each horizon, beside the rollout that is fed its own draws.

    Returns:
        The columns of :func:`mean_table`, and over_autoregressive with its bounds: what the decoder would gain if its
        rollouts never erred, which no forecast can.
    """
    rows = []
    for last_ms, of_horizon in by_session.groupby("last_ms", sort=True):
        wide = _wide(of_horizon)
        row = {"last_ms": last_ms, **dict.fromkeys(_bounds("over_autoregressive"), np.nan)}
        if {TEACHER_FORCED, AUTOREGRESSIVE} <= set(wide):
            shared = wide.dropna(subset=[TEACHER_FORCED, AUTOREGRESSIVE])
            gap = (shared[TEACHER_FORCED] - shared[AUTOREGRESSIVE]).to_numpy()
            found = bootstrap_mean(gap, animal_names(shared), resampling.rng(), **resampling.options)
            row |= dict(zip(_bounds("over_autoregressive"), (found.value, found.lower, found.upper), strict=True))
        rows.append(row)
    told = means[means["method"] == TEACHER_FORCED].drop(columns="many_paths")
    return told.merge(pd.DataFrame(rows), on="last_ms")


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
        teacher_forced: Files of teacher-forced sums, one per fold and seed.
        horizons_ms: Ends of the horizons that are told apart.
        block_bins: Bins of a step of the decodings by blocks.
        folder: Where the tables go.
        resampling: How intervals are made.
    """
    folder = Path(folder)
    calibrated = read_calibration(sorted(map(Path, calibration)))
    sums = read_sums(calibrated, sorted(map(Path, teacher_forced)))
    by_session, by_bin = session_table(sums, horizons_ms), bin_session_table(sums)
    means, bins = (mean_table(by_session, "last_ms", resampling), mean_table(by_bin, "horizon_ms", resampling))
    forecasts = _forecasts(bins)
    over = mean_table(_forecasts(over_filter(by_bin, "horizon_ms")), "horizon_ms", resampling)
    over = over.drop(columns=["many_paths", *_bounds("share_of_oracle")]).assign(against=GAMMA_POISSON)
    bin_ms = sums["bin_us"].iloc[0] / 1000
    step_ms = {name: bin_ms * (1 if name == AUTOREGRESSIVE else block_bins) for name in DECODINGS}
    tables = {
        "horizons": _forecasts(means),
        "bins": forecasts,
        "bins_over_filter": over,
        "reach": reach_table({REFERENCE_MEAN: forecasts, GAMMA_POISSON: over}),
        "comparisons": comparison_table(by_session, step_ms, resampling),
        "calibration": horizon_calibration(calibrated, horizons_ms, resampling),
        "teacher_forced": told_table(by_session, means, resampling),
        "teacher_forced_bins": bins[bins["method"] == TEACHER_FORCED].drop(columns="many_paths").reset_index(drop=True),
        "sessions": _forecasts(by_session),
        "teacher_forced_sessions": by_session[by_session["method"] == TEACHER_FORCED].reset_index(drop=True),
        "left_out": left_out_table(calibration).drop_duplicates(ignore_index=True),
    }
    for name, table in tables.items():
        write_table(table, folder, name)
    text = format_horizons(tables["horizons"], tables["reach"], tables["comparisons"], tables["teacher_forced"])
    with replacing(folder / "summary.txt") as path:
        path.write_text(text)


def format_horizons(horizons: pd.DataFrame, reach: pd.DataFrame, comparisons: pd.DataFrame, told: pd.DataFrame) -> str:
    """Scores at each horizon, how far each method reaches, and teacher-forced scores, as text for a terminal."""
    interval = f"{horizons['interval'].iloc[0]:.0%} interval"
    ends = sorted(horizons["last_ms"].unique())
    reached = reach.set_index(["over", "method"])
    rows = [("method", "class", *(f"to {end:g} ms" for end in ends), "touches the null", "touches the filter")]
    for method, line in horizons.groupby("method", sort=False):
        scores = line.set_index("last_ms")["bits_per_spike"]
        touches = (_touches(reached, over, method) for over in (REFERENCE_MEAN, GAMMA_POISSON))
        rows.append((method, line["class"].iloc[0], *(f"{scores[end]:+.4f}" for end in ends), *touches))
    sessions, animals = int(horizons["sessions"].max()), int(horizons["animals"].max())
    lines = [
        f"Bits/spike over the {PRIMARY_NULL}-window mean rate up to each horizon, same windows for all; "
        f"{sessions} sessions, {animals} animals",
        "",
        *aligned(rows),
        "",
        f"touches: end of the first bin whose {interval} by animal is not wholly above the null, or above the "
        "gamma-Poisson filter.",
    ]
    if len(comparisons):
        rows = [("difference", "to", "bits/spike", interval, "Holm p", "sessions better", "many paths")]
        for row in comparisons.to_dict("records"):
            rows.append(
                (
                    f"{row['method']} - {row['against']}",
                    f"{row['last_ms']:g} ms",
                    f"{row['difference']:+.4f}",
                    format_interval(row["lower"], row["upper"]),
                    "none" if np.isnan(row["p_holm"]) else f"{row['p_holm']:.3g}",
                    f"{row['sessions_better']} of {row['sessions']}",
                    f"{row['many_paths']:+.4f}",
                )
            )
        lines += ["", *aligned(rows), "", "many paths: the difference without the noise of few paths, extrapolated."]
    if len(told):
        rows = [("not a forecast", "to", "bits/spike", interval, "over autoregressive")]
        for row in told.to_dict("records"):
            gap = row["over_autoregressive"]
            rows.append(
                (
                    "teacher-forced",
                    f"{row['last_ms']:g} ms",
                    f"{row['bits_per_spike']:+.4f}",
                    format_interval(row["lower"], row["upper"]),
                    "" if np.isnan(gap) else f"{gap:+.4f}",
                )
            )
        lines += ["", *aligned(rows), "", "Teacher-forced: told the counts that came in all bins before."]
    return "\n".join(lines) + "\n"


def _touches(reached: pd.DataFrame, over: str, method: str) -> str:
    if (over, method) not in reached.index:
        return ""
    row = reached.loc[(over, method)]
    if np.isnan(row["bins_above"]):
        return "no interval"
    return "never" if np.isnan(row["touches_ms"]) else f"{row['touches_ms']:g} ms"


def _forecasts(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["method"] != TEACHER_FORCED].reset_index(drop=True)


def _require_the_same_windows(drawn: pd.DataFrame, beside: pd.DataFrame) -> None:
    """Check that both kinds of sums are of the same sessions, windows, units and spikes."""
    key = [*SESSION, "horizon_bin"]
    columns = ["bin_us", "units", "windows", "spikes", "reference_nats"]
    first = drawn[drawn["method"] == FORECASTER].set_index(key)[columns]
    for method, rows in beside.groupby("method", sort=False):
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
                f"{both.iloc[row, column]:g}; make the sums of both anew"
            )


def _scores(sums: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    grouped = sums.groupby([*SESSION, *_METHOD, *by], sort=False)
    table = grouped.agg(
        **{name: (name, "sum") for name in ("spikes", "model_nats", "reference_nats", "many_nats")},
        # windows of a horizon are those of each of its bins
        **{name: (name, "max") for name in ("windows", "units", "unscored_units", "seeds")},
    ).reset_index()
    nats = {name: table.pop(name).to_numpy() for name in ("model_nats", "reference_nats", "many_nats")}
    spikes = table.pop("spikes")
    score, many = (
        bits_per_spike(model_nats=nats[name], null_nats=nats["reference_nats"], spikes=spikes.to_numpy())
        for name in ("model_nats", "many_nats")
    )
    table = table.assign(
        null=PRIMARY_NULL,
        bits_per_spike=score,
        many_paths=many,
        gain_nats=nats["model_nats"] - nats["reference_nats"],
        spikes=spikes.astype(np.int64),
        windows=table["windows"].astype(np.int64),
    )
    # no spike, no score
    return table[table["spikes"] > 0]


def _share(group: pd.DataFrame, ceiling: pd.Series, end: str, resampling: Resampling) -> dict[str, float]:
    """Share of what the true rates gain, over the sessions whose rates are known."""
    at = pd.MultiIndex.from_frame(group[[*SESSION, end]])
    below = ceiling.reindex(at).to_numpy() if len(ceiling) else np.full(len(group), np.nan)
    known = ~np.isnan(below)
    if not known.any() or below[known].mean() <= 0:
        return dict.fromkeys(_bounds("share_of_oracle"), np.nan)
    shared = group[known]
    found = bootstrap_ratio(
        shared["bits_per_spike"].to_numpy(),
        below[known],
        animal_names(shared),
        resampling.rng(),
        **resampling.options,
    )
    return dict(zip(_bounds("share_of_oracle"), (found.value, found.lower, found.upper), strict=True))


def _bounds(name: str) -> tuple[str, str, str]:
    return name, f"{name}_lower", f"{name}_upper"


def _wide(by_session: pd.DataFrame, values: str = "bits_per_spike") -> pd.DataFrame:
    return by_session.pivot(index=SESSION, columns="method", values=values).reset_index()


def _many_nats(drawn: pd.DataFrame) -> pd.Series:
    """Extrapolate log-likelihoods by some paths and by half of them to endlessly many paths.

    The loss by the noise of a mean over n paths is c / n to first order, for any c.
    """
    half = drawn["paths"] // 2
    extrapolated = (drawn["paths"] * drawn["model_nats"] - half * drawn["half_nats"]) / (drawn["paths"] - half)
    return extrapolated.where(drawn["half_nats"].notna(), drawn["model_nats"])


def _ordered(table: pd.DataFrame, before: list[str], after: list[str]) -> pd.DataFrame:
    """Sort by some columns, then by method in the order of all tables, the ceiling and what is no forecast last."""
    order = {name: place for place, name in enumerate(METHOD_ORDER)}
    last = len(order) + (table["method"] == TEACHER_FORCED)
    table = table.assign(_method=table["method"].map(order).fillna(last))
    return table.sort_values([*before, "_method", *after], ignore_index=True, kind="stable").drop(columns="_method")
