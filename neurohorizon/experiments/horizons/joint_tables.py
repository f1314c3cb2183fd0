"""Table of the scores of all counts of a window together, and the contribution of the dependence between units.

One row per method, over the whole horizon: the energy score of each vector of counts
(:func:`neurohorizon.experiments.horizons.calibration.energy_scores`), the CRPS of the population in a bin and over the
horizon, and the coverage of 90 % intervals of every target. ``dependence_...`` compares a method with its control,
whose paths are exchanged within each unit: the share of the control's score that the method removes. It is 0 if
dependence contributes nothing, negative if it does harm, and missing for methods whose units are independent.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import (
    METHOD,
    PRIMARY_NULL,
    SESSION,
    Cell,
    Resampling,
    animal_names,
    class_cell,
    grouped_rows,
    ordered,
    text_table,
    whole_horizon,
)
from neurohorizon.analysis.wording import format_interval
from neurohorizon.experiments.horizons.calibration import (
    EXCHANGED,
    POPULATION,
    POPULATION_TOTAL,
    TARGETS,
    UNIT,
    UNIT_TOTAL,
    VECTORS,
)
from neurohorizon.methods import REFERENCE_MEAN

_ENERGY = [f"energy_{vector}" for vector in VECTORS]
_SCORES = [*_ENERGY, f"crps_{POPULATION}", f"crps_{POPULATION_TOTAL}"]
_COVERAGES = [f"coverage_90_{target}" for target in TARGETS]
_ADAPTED = [f"adapted_{name}" for name in _COVERAGES[1:]]
_KEY = [*SESSION, *METHOD]


def joint_sessions(sums: pd.DataFrame, by_session: pd.DataFrame) -> pd.DataFrame:
    """Joint scores of each session and method over the whole horizon.

    Args:
        sums: Calibration sums, averaged over seeds.
        by_session: Calibration of each session, target and part of the horizon.

    Columns: fold, session, subject, lab, source, method, class, paths, units, windows, seeds; energy_ of each vector
    (mean over windows, spikes) and energy_skill_ (share of the reference mean's that is removed); crps_ of the
    population in a bin and over the horizon; coverage_90_ and adapted_coverage_90_ of targets; dependence_ of each
    energy score and CRPS.
    """
    whole = whole_horizon(by_session).set_index(_KEY)
    of_window = sums[(sums["target"] == POPULATION_TOTAL) & (sums["paths"] > 0) & (sums["windows"] > 0)]
    table = of_window.set_index(_KEY)[[*_ENERGY, "paths", "units", "windows", "seeds"]]
    table[_ENERGY] = table[_ENERGY].div(table["windows"], axis=0)
    for target in TARGETS:
        rows = whole[whole["target"] == target]
        table[f"coverage_90_{target}"] = rows["coverage_90"]
        if target != UNIT:
            table[f"adapted_coverage_90_{target}"] = rows["adapted_coverage_90"]
        if target in (POPULATION, POPULATION_TOTAL):
            table[f"crps_{target}"] = rows["crps"]
    table = table.reset_index()
    of_method = table.set_index([*SESSION, "method"])[_SCORES]
    null, control = (
        of_method.reindex(pd.MultiIndex.from_frame(table[SESSION].assign(method=names))).to_numpy()
        for names in (REFERENCE_MEAN, table["method"] + f"_{EXCHANGED}")
    )
    skill, removed = (1 - table[_SCORES] / other for other in (null, control))
    table[[name.replace("energy", "energy_skill") for name in _ENERGY]] = skill[_ENERGY].to_numpy()
    table[[f"dependence_{name}" for name in _SCORES]] = removed.to_numpy()
    return ordered(table, ["fold", "session", "method"])


def joint_table(sums: pd.DataFrame, by_session: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Mean over sessions of :func:`joint_sessions`; skills and ``dependence_...`` with intervals over animals."""
    sessions = joint_sessions(sums, by_session)
    bounded = [name for name in sessions if name.startswith(("energy_skill_", "dependence_"))]

    def row(group: pd.DataFrame) -> dict[str, object]:
        columns: dict[str, object] = {"null": PRIMARY_NULL}
        columns |= {name: group[name].mean() for name in (*_SCORES, *_COVERAGES, *_ADAPTED)}
        for name in bounded:
            found = group.dropna(subset=[name])
            columns |= resampling.mean_bounds(name, found, found[name])
        columns |= {"interval": resampling.interval, "sessions": len(group)}
        columns |= {"animals": len(np.unique(animal_names(group))), "paths": group["paths"].iloc[0]}
        return columns | {"windows": group["windows"].sum(), "units": group["units"].sum()}

    names = [*METHOD, "null", *_SCORES, *_COVERAGES, *_ADAPTED]
    rows = grouped_rows(sessions, METHOD, row)
    return rows if len(rows) else pd.DataFrame(columns=names)


def format_joint(joint: pd.DataFrame) -> list[str]:
    """The table as lines of text for a terminal."""
    if joint.empty:
        return []
    units, bins = f"dependence_energy_{UNIT_TOTAL}", f"dependence_energy_{POPULATION}"

    def interval(row: Mapping[str, object]) -> str:
        bounds = row[f"{bins}_lower"], row[f"{bins}_upper"]
        return "" if np.isnan(row[bins]) else format_interval(*bounds, "+.2%")

    cells: dict[str, Cell] = {
        "method": "{method}",
        "class": class_cell,
        "energy, all counts": f"{{energy_{UNIT}:.4f}}",
        "units": f"{{energy_{UNIT_TOTAL}:.4f}}",
        "bins": f"{{energy_{POPULATION}:.4f}}",
        "CRPS, bins": f"{{crps_{POPULATION}:.3f}}",
        "total": f"{{crps_{POPULATION_TOTAL}:.3f}}",
        **{f"90 %: {target}": f"{{coverage_90_{target}:.3f}}" for target in TARGETS},
        "dependence, units": f"{{{units}:+.2%}}",
        "dependence, bins": f"{{{bins}:+.2%}}",
        f"{joint['interval'].iloc[0]:.0%} interval": interval,
    }
    return [
        "",
        "Counts of a window together: energy score of all counts, of the sums of units over the horizon, and of the "
        "bins of the population, spikes;",
        "dependence: share of these energy scores that dependence between units removes",
        *text_table(joint, cells)[1:],
    ]
