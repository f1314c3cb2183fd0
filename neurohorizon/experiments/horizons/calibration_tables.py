"""Tables of calibration from its sums: whether intervals of each method have their nominal coverage.

Sums of a session are pooled over units and bins, and averaged over seeds, before any ratio. Every number is then a mean
over sessions, with an interval over animals. ``target`` is the scored count (``TARGETS`` of
:mod:`neurohorizon.experiments.horizons.calibration`). ``crps_skill`` is the share of the reference mean's CRPS that a
method saves, so the reference mean has exactly 0. The CRPS is that of the predictive distribution if there is one, and
otherwise estimated from paths without bias (``crps_from``: ``law`` or ``paths``). PIT and coverage are those of the
same number of ``paths`` for every method; ``law_coverage`` is that of the predictive distribution, if there is one.
``adapted_coverage_90`` is that of intervals whose width follows their misses
(:mod:`neurohorizon.forecasts.adapted_interval`), of all targets but ``unit``.
``bits_per_spike`` is that of the same windows, relative to the reference mean too.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import (
    DIFFERENCE,
    PRIMARY_NULL,
    SESSION,
    Cell,
    Resampling,
    animal_names,
    by_method,
    class_cell,
    comparison_cells,
    grouped_rows,
    horizon_parts,
    interval_cell,
    left_out_table,
    ordered,
    read_scored,
    score,
    text_table,
    whole_horizon,
    with_holm,
    write_tables,
)
from neurohorizon.experiments.horizons.calibration import (
    ADAPTED,
    ADAPTED_WIDTH,
    EXCHANGED,
    GAIN,
    INTERVALS,
    PIT_BINS,
    POPULATION,
    POPULATION_TOTAL,
    TARGETS,
    UNIT,
    VECTORS,
    central_coverage,
)
from neurohorizon.experiments.horizons.example_paths import read_paths_example, write_paths_example
from neurohorizon.experiments.horizons.joint_tables import format_joint, joint_table
from neurohorizon.methods import DECODINGS, FORECASTER

GAMMA_POISSON, REFERENCE_MEAN = "gamma_poisson", "reference_mean"
SHARED_GAIN, EXCHANGED_GAIN = f"{FORECASTER}_{GAIN}", f"{FORECASTER}_{GAIN}_{EXCHANGED}"
NOMINAL = tuple(round(2 * step / PIT_BINS, 2) for step in range(1, PIT_BINS // 2))
"""Central intervals of the coverage table."""
DECLARED = tuple(
    (method, against, measure, target)
    for measure, target in (("bits_per_spike", UNIT), ("crps_skill", POPULATION), ("crps_skill", POPULATION_TOTAL))
    for method, against in (*((decoding, FORECASTER) for decoding in DECODINGS), (DECODINGS[0], GAMMA_POISSON))
) + tuple(
    (SHARED_GAIN, against, "crps_skill", target)
    for target in (POPULATION, POPULATION_TOTAL)
    for against in (FORECASTER, EXCHANGED_GAIN)
)
"""The comparisons that were declared in advance, over the whole horizon: rollout modes against the parallel forecast,
the autoregressive one against the gamma-Poisson filter, and paths with a shared gain against independent paths and
against themselves with units exchanged. Holm's adjustment is over those that a run can make."""

_METHOD = ["method", "class", "target"]
_KEY = [*SESSION, *_METHOD]
_PIT = [f"pit_{index:02d}" for index in range(PIT_BINS)]
_PLAIN = [f"{name}_{interval * 100:.0f}" for name in ("covered", "width") for interval in INTERVALS]
_ADAPTED = {ADAPTED: "adapted_coverage_90", ADAPTED_WIDTH: "adapted_width_90"}
_SUMS = ["windows", "cases", "spikes", "crps", *_PLAIN, *_PIT, *_ADAPTED, "model_nats", "reference_nats", "half_nats"]
_ENERGY = [f"energy_{vector}" for vector in VECTORS]
_COVERAGES = [f"coverage_{interval * 100:.0f}" for interval in INTERVALS]
_MEASURES = ["crps_skill", *_COVERAGES, "bits_per_spike"]


def read_calibration(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Calibration sums of all sessions, averaged over seeds.

    Raises:
        TableError: No file has a sum.
    """
    key = [*_KEY, "first_bin", "last_bin", "bin_us", "paths", "units", "unscored_units"]
    # methods that draw nothing are in the file of every seed, and are averaged like the others
    seeds = read_scored(paths).groupby(key, sort=False)
    # a mean skips missing values, so a score that is missing for all seeds stays missing
    return seeds[[*_SUMS, *_ENERGY]].mean().assign(seeds=seeds.size()).reset_index()


def session_calibration(sums: pd.DataFrame, parts_ms: Sequence[tuple[float, float]]) -> pd.DataFrame:
    """Calibration of each session, method, target and part of the horizon.

    Args:
        parts_ms: Parts of the horizon, from and to.

    Columns: fold, session, subject, lab, source, method, class, target, null, first_ms, last_ms, paths, units, windows,
    cases, spikes, seeds; crps (mean over cases, spikes), crps_skill, crps_from (law or paths); coverage_50 and
    coverage_90 (by the PIT), the same with law_; plain_coverage_ and plain_width_ of both (of intervals of whole
    counts); adapted_coverage_90 and adapted_width_90; bits_per_spike (target unit); and PIT histograms pit_00 to
    pit_19, as shares.
    """
    ends_ms, begins_ms = (sums[name] * sums["bin_us"] / 1000 for name in ("last_bin", "first_bin"))
    parts = [
        _ratios(sums[(begins_ms >= first_ms) & (ends_ms <= last_ms)]).assign(first_ms=first_ms, last_ms=last_ms)
        for first_ms, last_ms in parts_ms
    ]
    return _ordered(pd.concat(parts, ignore_index=True), "fold", "session", "first_ms", "last_ms")


def horizon_calibration(sums: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """CRPS skill by horizon bin, of the targets of a bin: mean over sessions with its interval.

    ``horizon_ms`` is the time from the forecast origin to the end of the bin.
    """
    rows = _ratios(sums[sums["target"].isin([UNIT, POPULATION])], by=["last_bin", "bin_us"])
    rows["horizon_ms"] = rows["last_bin"] * rows["bin_us"] / 1000
    return _means(rows, ["horizon_ms"], "crps_skill", resampling)


def calibration_table(by_session: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Mean over sessions of each method, target and part of the horizon; measures with intervals over animals."""

    def row(group: pd.DataFrame) -> dict[str, object]:
        columns: dict[str, object] = {}
        for name in _MEASURES:
            found = group.dropna(subset=[name])
            columns |= resampling.mean_bounds(name, found, found[name])
        columns |= {"interval": resampling.interval, "sessions": len(group)}
        columns |= {"animals": len(np.unique(animal_names(group)))}
        columns |= {name: group[name].iloc[0] for name in ("null", "paths", "crps_from")}
        plain = [name for name in group if name.startswith(("plain_", "adapted_"))]
        columns |= {name: group[name].mean() for name in ("crps", *plain, *(f"law_{name}" for name in _COVERAGES))}
        columns |= {name: group[name].sum() for name in ("windows", "cases", "units")}
        return columns | {"seeds": group["seeds"].min()}

    return _ordered(grouped_rows(by_session, [*_METHOD, "first_ms", "last_ms"], row), "first_ms", "last_ms")


def coverage_table(by_session: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Coverage of central intervals by the PIT over the whole horizon, with their nominal coverage (``nominal``)."""
    whole = whole_horizon(by_session)
    rows = [whole.assign(nominal=nominal, coverage=central_coverage(whole[_PIT], nominal)) for nominal in NOMINAL]
    return _means(pd.concat(rows, ignore_index=True), ["nominal"], "coverage", resampling)


def pit_table(by_session: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Share of the PIT in each of its bins (``from`` to ``to``) over the whole horizon; 1 / bins if calibrated."""
    whole = whole_horizon(by_session)
    rows = [
        whole.assign(**{"from": index / PIT_BINS, "to": (index + 1) / PIT_BINS, "share": whole[name]})
        for index, name in enumerate(_PIT)
    ]
    return _means(pd.concat(rows, ignore_index=True), ["from", "to"], "share", resampling)


def comparison_table(by_session: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Paired differences of the declared comparisons, over the whole horizon.

    Columns: method, against, target, measure, null, difference, lower, upper, interval, p, p_holm, effect_size,
    sessions, animals, sessions_better, animals_better. A higher value is better in every measure.
    """
    whole, rows = whole_horizon(by_session), []
    for method, against, measure, target in DECLARED:
        found = resampling.compare(by_method(whole[whole["target"] == target], measure), method, against)
        if found:
            names = {"method": method, "against": against, "target": target, "measure": measure, "null": PRIMARY_NULL}
            rows.append(names | found)
    return with_holm(pd.DataFrame(rows))


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
    """
    found = read_calibration(sorted(map(Path, sums)))
    horizon_ms = (found["last_bin"] * found["bin_us"]).max() / 1000
    by_session = session_calibration(found, horizon_parts(horizons_ms, horizon_ms))
    tables = {
        "calibration": calibration_table(by_session, resampling),
        "joint": joint_table(found, by_session, resampling),
        "comparisons": comparison_table(by_session, resampling),
        "sessions": by_session,
        "horizon": horizon_calibration(found, resampling),
        "coverage": coverage_table(by_session, resampling),
        "pit": pit_table(by_session, resampling),
        "left_out": left_out_table(sums),
    }
    shown = (tables[name] for name in ("calibration", "joint", "comparisons"))
    write_tables(tables, folder, format_calibration(*shown))
    read = (read_paths_example(path) for path in examples)
    write_paths_example(Path(folder) / "example.h5", next((one for one in read if one is not None), None))


def format_calibration(calibration: pd.DataFrame, joint: pd.DataFrame, comparisons: pd.DataFrame) -> list[str]:
    """Calibration over the whole horizon, joint scores and the declared comparisons, as lines for a terminal."""
    whole = whole_horizon(calibration)
    interval = f"{whole['interval'].iloc[0]:.0%} interval"
    lines = ["Calibration of counts in held-out sessions; null: reference-window mean rate, Poisson"]
    columns: dict[str, Cell] = {
        "method": "{method}",
        "class": class_cell,
        "CRPS skill": "{crps_skill:+.4f}",
        interval: interval_cell("crps_skill"),
        **{f"in {name[-2:]} %": f"{{{name}:.3f}}" for name in _COVERAGES},
        "bits/spike": "{bits_per_spike:+.4f}",
        "CRPS from": lambda row: "distribution" if row["crps_from"] == "law" else f"{row['paths']} paths",
    }
    for target in TARGETS:
        rows = whole[whole["target"] == target]
        lines += ["", target, *text_table(rows, columns)[1:]]
    names = {"difference": DIFFERENCE, "target": "{target}", "measure": "{measure}"}
    return [*lines, *format_joint(joint), *text_table(comparisons, names | comparison_cells(interval, "mean"))]


def _ratios(sums: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Pool sums of each session, method and target, and of some columns, and take the ratios."""
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
    table["bits_per_spike"] = score(table)
    cases = table["cases"].to_numpy(dtype=float)
    for name, interval in zip(_COVERAGES, INTERVALS, strict=True):
        table[name] = central_coverage(table[_PIT], interval)
    for old in _PLAIN:
        table[f"plain_{old.replace('covered', 'coverage')}"] = table.pop(old) / cases
    for old, name in _ADAPTED.items():
        # a sum without a value is that of a target without such an interval
        table[name] = table.pop(old).where(table["target"] != UNIT) / cases
    for name in (*_PIT, "crps"):
        table[name] = table[name] / cases
    return _joined(table, by)


def _joined(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Join scores of predictive distributions to scores of paths: the CRPS of the distribution, if there is one."""
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
    kept += [
        *(f"law_{name}" for name in _COVERAGES),
        *(name for name in table if name.startswith(("plain_", "adapted_"))),
    ]
    return table.assign(null=PRIMARY_NULL)[[*_KEY, "null", *by, *kept, "bits_per_spike", *_PIT]].reset_index(drop=True)


def _means(table: pd.DataFrame, by: list[str], measure: str, resampling: Resampling) -> pd.DataFrame:
    """Mean over sessions of a measure with its interval, by method, target and some columns."""

    def row(group: pd.DataFrame) -> dict[str, float]:
        found = group.dropna(subset=[measure])
        columns = resampling.mean_row(found, measure) if len(found) else {measure: np.nan}
        columns |= {"interval": resampling.interval, "sessions": len(group)}
        return columns | {"animals": len(np.unique(animal_names(group)))}

    return _ordered(grouped_rows(table, [*_METHOD, *by], row), *by)


def _ordered(table: pd.DataFrame, *by: str) -> pd.DataFrame:
    """Sort by target and some columns, then by method."""
    return ordered(table, ["target", *by, "method"], target=TARGETS)
