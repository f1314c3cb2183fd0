"""Tidy tables of calibration from its sums: whether counts come as often as each method says.

Sums of a session are pooled over units and bins, and averaged over seeds, before any ratio. Every number is then a mean
over sessions, with an interval by animal. ``target`` is what is judged (``TARGETS`` of
:mod:`neurohorizon.experiments.horizons.calibration`).
``crps_skill`` is the share of the reference mean's CRPS that a method saves, so the reference mean has exactly 0. The
CRPS is that of the law where there is one, and estimated from paths without bias where not (``crps_from``). PIT and
coverage are those of as many ``paths`` for every method; ``law_coverage`` is that of the law, where there is one.
``bits_per_spike`` is that of the same windows, over the reference mean too.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.statistics import bootstrap_mean, compare_paired, holm
from neurohorizon.analysis.tables import (
    PRIMARY_NULL,
    SESSION,
    Resampling,
    TableError,
    aligned,
    animal_names,
    format_interval,
    horizon_parts,
    left_out_table,
    write_table,
)
from neurohorizon.experiments.horizons.calibration import (
    INTERVALS,
    PIT_BINS,
    POPULATION,
    POPULATION_TOTAL,
    TARGETS,
    UNIT,
    central_coverage,
)
from neurohorizon.experiments.horizons.example_paths import read_paths_example, write_paths_example
from neurohorizon.files import replacing
from neurohorizon.forecasts.scoring import left_out_reason
from neurohorizon.methods import DECODINGS, FORECASTER, METHOD_ORDER, class_word
from neurohorizon.scores import bits_per_spike

GAMMA_POISSON, REFERENCE_MEAN = "gamma_poisson", "reference_mean"
NOMINAL = tuple(round(2 * step / PIT_BINS, 2) for step in range(1, PIT_BINS // 2))
"""Central intervals of the coverage table."""
DECLARED = tuple(
    (method, against, measure, target)
    for measure, target in (("bits_per_spike", UNIT), ("crps_skill", POPULATION), ("crps_skill", POPULATION_TOTAL))
    for method, against in (*((decoding, FORECASTER) for decoding in DECODINGS), (DECODINGS[0], GAMMA_POISSON))
)
"""The comparisons that were declared beforehand, over the whole horizon: decodings fed by their own draws against the
parallel forecast, and the autoregressive one against the gamma-Poisson filter. Holm's adjustment is over those that a
run can make."""

_KEY = [*SESSION, "method", "class", "target"]
_PIT = [f"pit_{index:02d}" for index in range(PIT_BINS)]
_PLAIN = [f"{name}_{interval * 100:.0f}" for name in ("covered", "width") for interval in INTERVALS]
_SUMS = ["windows", "cases", "spikes", "crps", *_PLAIN, *_PIT, "model_nats", "reference_nats", "half_nats"]
_COVERAGES = [f"coverage_{interval * 100:.0f}" for interval in INTERVALS]
_MEASURES = ["crps_skill", *_COVERAGES, "bits_per_spike"]


def read_calibration(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Calibration sums of all sessions, averaged over seeds.

    Raises:
        TableError: No file has a sum.
    """
    parts = [pd.read_parquet(path) for path in paths if left_out_reason(path) is None]
    if not parts:
        raise TableError("no session has sample paths: all were left out, or no file was given")
    sums = pd.concat(parts, ignore_index=True)
    key = [*_KEY, "first_bin", "last_bin", "bin_us", "paths", "units", "unscored_units"]
    # methods that draw nothing stand in the file of every seed, and are averaged like the others
    seeds = sums.groupby(key, sort=False)
    averaged = seeds[_SUMS].mean()
    # a mean skips what is missing, so a missing score stays missing by itself
    return averaged.assign(seeds=seeds.size()).reset_index()


def session_calibration(sums: pd.DataFrame, parts_ms: Sequence[tuple[float, float]]) -> pd.DataFrame:
    """Calibration of each session, method, target and part of the horizon.

    Args:
        sums: Sums of all sessions.
        parts_ms: Parts of the horizon, from and to.

    Returns:
        fold, session, subject, lab, source, method, class, target, null, first_ms, last_ms, paths, units, windows,
        cases, spikes, seeds; crps (mean over cases, spikes), crps_skill, crps_from (law or paths); coverage_50 and
        coverage_90 (by the PIT), the same with law_; plain_coverage_ and plain_width_ of both (of intervals of whole
        counts); bits_per_spike (target unit); and PIT histograms pit_00 to pit_19, as shares.
    """
    parts = []
    for first_ms, last_ms in parts_ms:
        end_ms = sums["last_bin"] * sums["bin_us"] / 1000
        begin_ms = sums["first_bin"] * sums["bin_us"] / 1000
        inside = sums[(begin_ms >= first_ms) & (end_ms <= last_ms)]
        parts.append(_ratios(inside).assign(first_ms=first_ms, last_ms=last_ms))
    return _ordered(pd.concat(parts, ignore_index=True), ["fold", "session", "first_ms", "last_ms"])


def horizon_calibration(sums: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """CRPS skill by horizon bin, of the targets of a bin: mean over sessions with its interval.

    ``horizon_ms`` is the time from the forecast origin to the end of the bin.
    """
    by_bin = sums[sums["target"].isin([UNIT, POPULATION])]
    rows = _ratios(by_bin, by=["last_bin", "bin_us"])
    rows["horizon_ms"] = rows["last_bin"] * rows["bin_us"] / 1000
    table = _means(rows, ["horizon_ms"], ["crps_skill"], resampling)
    return _ordered(table, ["horizon_ms"])


def calibration_table(by_session: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Mean over sessions of each method, target and part of the horizon; measures with intervals by animal."""
    table = _means(by_session, ["first_ms", "last_ms"], _MEASURES, resampling)
    key = ["method", "class", "target", "first_ms", "last_ms"]
    plain = [name for name in by_session if name.startswith("plain_")]
    grouped = by_session.groupby(key, sort=False)
    others = grouped.agg(
        null=("null", "first"),
        paths=("paths", "first"),
        crps_from=("crps_from", "first"),
        **{name: (name, "mean") for name in ("crps", *plain, *(f"law_{name}" for name in _COVERAGES))},
        **{name: (name, "sum") for name in ("windows", "cases")},
        units=("units", "sum"),
        seeds=("seeds", "min"),
    )
    return _ordered(table.merge(others.reset_index(), on=key), ["first_ms", "last_ms"])


def coverage_table(by_session: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Coverage of central intervals by the PIT over the whole horizon, against what they claim (``nominal``)."""
    whole = _whole(by_session)
    rows = [whole.assign(nominal=nominal, coverage=central_coverage(whole[_PIT], nominal)) for nominal in NOMINAL]
    table = _means(pd.concat(rows, ignore_index=True), ["nominal"], ["coverage"], resampling)
    return _ordered(table, ["nominal"])


def pit_table(by_session: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Share of the PIT in each of its bins (``from`` to ``to``) over the whole horizon; 1 / bins where all is right."""
    whole = _whole(by_session)
    rows = [
        whole.assign(**{"from": index / PIT_BINS, "to": (index + 1) / PIT_BINS, "share": whole[name]})
        for index, name in enumerate(_PIT)
    ]
    return _ordered(_means(pd.concat(rows, ignore_index=True), ["from", "to"], ["share"], resampling), ["from"])


def comparison_table(by_session: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Paired differences of the declared comparisons, over the whole horizon.

    Columns: method, against, target, measure, null, difference, lower, upper, interval, p, p_holm, effect_size,
    sessions, animals, sessions_better, animals_better. More is better in every measure.
    """
    whole, rows = _whole(by_session), []
    for method, against, measure, target in DECLARED:
        of_target = whole[whole["target"] == target]
        wide = of_target.pivot(index=SESSION, columns="method", values=measure).reset_index()
        if method not in wide or against not in wide:
            continue
        shared = wide.dropna(subset=[method, against])
        if shared.empty:
            continue
        found = compare_paired(
            shared[method], shared[against], animal_names(shared), resampling.rng(), **resampling.options
        )
        rows.append(
            {
                "method": method,
                "against": against,
                "target": target,
                "measure": measure,
                "null": PRIMARY_NULL,
                **found.columns(resampling.interval),
            }
        )
    table = pd.DataFrame(rows)
    if len(table):
        table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    return table


def make_tables(
    *,
    sums: Sequence[str | Path],
    examples: Sequence[str | Path],
    horizons_ms: Sequence[float],
    folder: str | Path,
    resampling: Resampling,
) -> None:
    """Write every table as Parquet and as TSV, the example that is shown, and ``summary.txt`` for the terminal.

    Args:
        sums: Files of calibration sums, one per fold, held-out session and seed.
        examples: Example of the same session and seed at each place; the first that has one is shown.
        horizons_ms: Ends of the parts of the horizon.
        folder: Where the tables go.
        resampling: How intervals are made.
    """
    folder = Path(folder)
    found = read_calibration(sorted(Path(path) for path in sums))
    horizon_ms = (found["last_bin"] * found["bin_us"]).max() / 1000
    by_session = session_calibration(found, horizon_parts(horizons_ms, horizon_ms))
    tables = {
        "calibration": calibration_table(by_session, resampling),
        "comparisons": comparison_table(by_session, resampling),
        "sessions": by_session,
        "horizon": horizon_calibration(found, resampling),
        "coverage": coverage_table(by_session, resampling),
        "pit": pit_table(by_session, resampling),
        "left_out": left_out_table(sums).drop_duplicates(ignore_index=True),
    }
    for name, table in tables.items():
        write_table(table, folder, name)
    shown = (read_paths_example(path) for path in examples)
    write_paths_example(folder / "example.h5", next((one for one in shown if one is not None), None))
    text = format_calibration(tables["calibration"], tables["comparisons"])
    with replacing(folder / "summary.txt") as path:
        path.write_text(text)


def format_calibration(calibration: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """Calibration over the whole horizon, and the declared comparisons, as text for a terminal."""
    whole = _whole(calibration)
    interval = f"{whole['interval'].iloc[0]:.0%} interval"
    lines = ["Calibration of counts in held-out sessions; null: reference-window mean rate, Poisson"]
    for target in TARGETS:
        rows = [("method", "class", "CRPS skill", interval, "in 50 %", "in 90 %", "bits/spike", "CRPS from")]
        for row in whole[whole["target"] == target].to_dict("records"):
            rows.append(
                (
                    row["method"],
                    class_word(row["class"]),
                    f"{row['crps_skill']:+.4f}",
                    format_interval(row["crps_skill_lower"], row["crps_skill_upper"]),
                    *(f"{row[name]:.3f}" for name in _COVERAGES),
                    "" if np.isnan(row["bits_per_spike"]) else f"{row['bits_per_spike']:+.4f}",
                    "its law" if row["crps_from"] == "law" else f"{row['paths']} paths",
                )
            )
        lines += ["", target, *aligned(rows)]
    if len(comparisons):
        rows = [("difference", "target", "measure", "mean", interval, "Holm p", "sessions better")]
        for row in comparisons.to_dict("records"):
            rows.append(
                (
                    f"{row['method']} - {row['against']}",
                    row["target"],
                    row["measure"],
                    f"{row['difference']:+.4f}",
                    format_interval(row["lower"], row["upper"]),
                    "none" if np.isnan(row["p_holm"]) else f"{row['p_holm']:.3g}",
                    f"{row['sessions_better']} of {row['sessions']}",
                )
            )
        lines += ["", *aligned(rows)]
    return "\n".join(lines) + "\n"


def _ratios(sums: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Pool sums of each session, method and target, apart by some columns, and take the ratios."""
    sized = {name: (name, "first") for name in ("units", "seeds")}
    # windows of a part are those of each of its bins
    sized["windows"] = ("windows", "max")
    added = [name for name in _SUMS if name != "windows"]
    grouped = sums.groupby([*_KEY, *by, "paths"], sort=False)
    # a score that is missing for a part is missing for the sum, where pandas would count it as zero
    sizes = grouped.size()
    table = grouped.agg(
        **sized, **{name: (name, "sum") for name in added}, scored=("model_nats", "count")
    ).reset_index()
    table.loc[table.pop("scored") < sizes.to_numpy(), ["model_nats", "reference_nats"]] = np.nan
    table["bits_per_spike"] = bits_per_spike(
        model_nats=table["model_nats"].to_numpy(),
        null_nats=table["reference_nats"].to_numpy(),
        spikes=table["spikes"].to_numpy(),
    )
    cases = table["cases"].to_numpy(dtype=float)
    for name, interval in zip(_COVERAGES, INTERVALS, strict=True):
        table[name] = central_coverage(table[_PIT], interval)
    for old in _PLAIN:
        table[f"plain_{old.replace('covered', 'coverage')}"] = table.pop(old) / cases
    for name in (*_PIT, "crps"):
        table[name] = table[name] / cases
    return _joined(table, by)


def _joined(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Join what was judged by a law to what was judged by paths: the CRPS of the law, where there is one."""
    key = [*_KEY, *by]
    of_law = table[table["paths"] == 0].set_index(key)
    table = table[table["paths"] > 0]
    law = of_law[["crps", *_COVERAGES]].add_prefix("law_")
    table = table.join(law, on=key)
    table["crps_from"] = np.where(table["law_crps"].notna(), "law", "paths")
    table["crps"] = table["law_crps"].fillna(table["crps"])
    null = of_law.xs(REFERENCE_MEAN, level="method")["crps"].droplevel("class").rename("null_crps")
    table = table.join(null, on=[name for name in key if name not in ("method", "class")])
    table["crps_skill"] = 1 - table["crps"] / table["null_crps"]
    kept = ["paths", "units", "windows", "cases", "spikes", "seeds", "crps", "crps_skill", "crps_from", *_COVERAGES]
    kept += [*(f"law_{name}" for name in _COVERAGES), *(name for name in table if name.startswith("plain_"))]
    return table.assign(null=PRIMARY_NULL)[[*_KEY, "null", *by, *kept, "bits_per_spike", *_PIT]].reset_index(drop=True)


def _means(table: pd.DataFrame, by: list[str], measures: list[str], resampling: Resampling) -> pd.DataFrame:
    """Mean over sessions of some measures with their intervals, by method, target and some columns."""
    rows, key = [], ["method", "class", "target", *by]
    for values, group in table.groupby(key, sort=False):
        row = dict(zip(key, values, strict=True))
        for name in measures:
            found = group.dropna(subset=[name])
            mean = None
            if len(found):
                mean = bootstrap_mean(
                    found[name].to_numpy(), animal_names(found), resampling.rng(), **resampling.options
                )
            # bounds need no name where there is one measure
            bound = f"{name}_" if len(measures) > 1 else ""
            for column, field in ((name, "value"), (f"{bound}lower", "lower"), (f"{bound}upper", "upper")):
                row[column] = getattr(mean, field) if mean else np.nan
        row |= {"interval": resampling.interval, "sessions": len(group)}
        row["animals"] = len(np.unique(animal_names(group)))
        rows.append(row)
    return pd.DataFrame(rows)


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["first_ms"] == 0) & (table["last_ms"] == table["last_ms"].max())]


def _ordered(table: pd.DataFrame, before: Sequence[str]) -> pd.DataFrame:
    """Sort by target and some columns, methods in the order of all tables."""
    order = {name: place for place, name in enumerate(METHOD_ORDER)}
    table = table.assign(
        _target=table["target"].map(TARGETS.index), _method=[order.get(name, len(order)) for name in table["method"]]
    )
    table = table.sort_values(["_target", *before, "_method"], ignore_index=True, kind="stable")
    return table.drop(columns=["_target", "_method"])
