"""Tables of the scaling experiment, from the score files of its points alone.

A point is one training: how many sessions, which draw of them, which seed. All points forecast the same held-out
sessions; a session that lacks a score at any point is left out of all, and listed. Seeds are averaged within a session
first, and ratios of sums are taken last.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from neurohorizon.analysis.statistics import bootstrap_draws_and_animals, bootstrap_mean, compare_paired, holm
from neurohorizon.analysis.tables import (
    PRIMARY_NULL,
    SESSION,
    Resampling,
    TableError,
    aligned,
    animal_names,
    counted,
    format_interval,
    horizon_ends_ms,
    write_table,
)
from neurohorizon.experiments.scaling.laws import LAWS, PARAMETERS, Curve, LawFit, akaike_weights, fit_laws, predict_top
from neurohorizon.experiments.scaling.points import Point, parse_point
from neurohorizon.files import replacing
from neurohorizon.methods import ZERO_SHOT
from neurohorizon.scores import bits_per_spike

RANDOM, SAME_LAB, SAME_REGION = "random", "same_lab", "same_region"
ARMS = (RANDOM, SAME_LAB, SAME_REGION)
"""Ways of choosing as many training sessions."""
MORE_SESSIONS, MORE_PARAMETERS = "more_sessions", "more_parameters"
RUN = "run"
"""Name of the network of the run among those of other sizes."""
DECLARED = (MORE_SESSIONS, SAME_LAB, SAME_REGION, MORE_PARAMETERS)
"""The comparisons that were declared beforehand, over the whole horizon: all sessions against the fewest, each other
way of choosing them against the random one at equal size, and the most parameters against the fewest. Holm's adjustment
is over those that a run can make."""
FORMULAS = {
    "power": "B - A * D ** -alpha",
    "saturating": "B - A * exp(-D / K)",
    "log_linear": "C + S * ln(D)",
    "constant": "C",
}

_COLUMNS = [*SESSION, "seed", "unit_id", "horizon_bin", "bin_us", "windows"]
_COLUMNS += ["spikes", "model_nats", "reference_nats"]
_TRAINED = {  # column of the tables: field of point.json
    "animals_trained": "animals",
    "units_trained": "units",
    "spikes_trained": "spikes",
    "parameters": "parameters",
    "steps": "steps",
    "validation_bits_per_spike": "validation_bits_per_spike",
}
_LINE_PLACES = 61
_KEY = ["kind", "size", "draw", "name"]


@dataclass(frozen=True)
class Points:
    """All points of an experiment.

    Attributes:
        trained: What each point was trained on: fold, kind, size ("2", "max", "" for sizes of the network), draw, name,
            seed, sessions_trained, labs_trained, recorded_h, region_distance and the columns of ``point.json``.
        labs: Sessions of each lab that a point was trained on: fold, kind, size, draw, name, seed, lab, sessions.
        scores: Score of each held-out session at each point, averaged over seeds, for the parts of the horizon that end
            at ``last_ms``: columns of a session, kind, size, draw, name, last_ms, bits_per_spike, spikes, units, seeds,
            seed_sd.
        bins: The same by horizon bin, which ends at ``horizon_ms``.
        left_out: Sessions without a score at every point, with the reason.
    """

    trained: pd.DataFrame
    labs: pd.DataFrame
    scores: pd.DataFrame
    bins: pd.DataFrame
    left_out: pd.DataFrame


def read_points(scores: Iterable[str | Path], *, horizons_ms: Sequence[float]) -> Points:
    """Read the score files of all points; ``point.json`` lies beside each, and ``sessions.json`` beside some.

    Args:
        scores: One ``scores.parquet`` a point.
        horizons_ms: Ends of the parts of the horizon, from its origin; the whole horizon is always one.

    Raises:
        TableError: No session has a score at every point, or points were scored with other bins.
    """
    described, labs, parts, bins, reasons = [], [], [], [], []
    for path in sorted(map(Path, scores)):
        card = json.loads(path.with_name("point.json").read_text())
        point = parse_point(f"{card['point']}_seed-{card['seed']}")
        described.append(_identity(card, point) | _description(card, path))
        labs += [_identity(card, point) | {"lab": lab, "sessions": number} for lab, number in card["labs"].items()]
        sums = _read_sums(path)
        parts.append(_identified(_by_part(sums, horizons_ms), card, point))
        bins.append(_identified(_by_bin(sums), card, point))
        reasons += [
            {"fold": card["fold"], "session": session, "reason": reason} for session, reason in _left_out(path).items()
        ]
    if not described:
        raise TableError("no score file was given, so there is no point of the scaling experiment")
    scored, incomplete = _complete(pd.concat(parts, ignore_index=True), pd.DataFrame(described))
    kept = scored[SESSION].drop_duplicates()
    of_bins = pd.concat(bins, ignore_index=True).merge(kept, on=SESSION)
    left_out = pd.DataFrame([*reasons, *incomplete], columns=["fold", "session", "reason"])
    return Points(
        trained=pd.DataFrame(described),
        labs=pd.DataFrame(labs, columns=["fold", *_KEY, "seed", "lab", "sessions"]),
        scores=_over_seeds(scored, ["last_ms"]),
        bins=_over_seeds(of_bins, ["horizon_ms"]),
        left_out=left_out.drop_duplicates(["fold", "session"]).sort_values(["fold", "session"], ignore_index=True),
    )


def point_table(points: Points, resampling: Resampling) -> pd.DataFrame:
    """One row per point and part of the horizon: what it was trained on, and its mean score over held-out sessions.

    ``seed_sd`` is the standard deviation between seeds (mean over sessions; NaN with one). Of several folds, what
    was trained on is their mean.
    """
    trained = _trained(points)
    rows = []
    for (*key, last_ms), group in points.scores.groupby([*_KEY, "last_ms"], sort=False):
        mean = bootstrap_mean(
            group["bits_per_spike"].to_numpy(), animal_names(group), resampling.rng(), **resampling.options
        )
        rows.append(
            dict(zip(_KEY, key, strict=True))
            | {"class": ZERO_SHOT, "null": PRIMARY_NULL, "last_ms": last_ms, "bits_per_spike": mean.value}
            | {"lower": mean.lower, "upper": mean.upper, "interval": resampling.interval}
            | {"sessions": mean.sessions, "animals": mean.animals, "seeds": group["seeds"].min()}
            | {"seed_sd": group["seed_sd"].mean()}
        )
    return _sorted(pd.DataFrame(rows).merge(trained, on=_KEY), ["last_ms"])


def curve_table(points: Points, resampling: Resampling) -> pd.DataFrame:
    """Mean score by number of training sessions and part of the horizon; intervals resample animals and draws.

    ``draw_sd`` is the standard deviation between the means of draws; NaN at the top, where all sessions are one choice.
    """
    return _curve_rows(points, points.scores, "last_ms", resampling)


def horizon_table(points: Points, resampling: Resampling) -> pd.DataFrame:
    """The same by horizon bin; ``horizon_ms`` is the time from the forecast origin to the end of the bin."""
    return _curve_rows(points, points.bins, "horizon_ms", resampling)


def fit_tables(points: Points, resampling: Resampling) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Fits of all laws by part of the horizon, their lines, and what they predict of the top from the smaller sizes.

    Returns:
        ``fits``: last_ms, law, formula, each parameter with its bounds, points, sizes, rss, aicc, delta_aicc, weight,
            best,
        not_identified ("" where its parameters can be believed), null, sessions, animals, draws, interval.
        ``lines``: last_ms, fitted_to (``all`` sizes, or the ``smaller`` ones), law, sessions_trained, bits_per_spike,
            lower,
        upper.
        ``predictions``: last_ms, law, fitted_up_to and top (numbers of sessions), predicted, lower, upper, observed,
        difference (observed less predicted) with its bounds, holds, chosen (lowest AICc on the smaller sizes).
    """
    fits, lines, predictions = [], [], []
    for last_ms in sorted(points.scores["last_ms"].unique()):
        curve = _curve(points, points.scores[points.scores["last_ms"] == last_ms], "last_ms", last_ms)
        counts = {"null": PRIMARY_NULL, "sessions": len(curve.animals), "animals": len(set(curve.animals))}
        counts |= {"draws": curve.scores.shape[1], "interval": resampling.interval}
        found = fit_laws(curve, resampling.rng(), **resampling.options)
        fits += [{"last_ms": last_ms} | row | counts for row in _fit_rows(found, curve)]
        lines += [{"last_ms": last_ms, "fitted_to": "all"} | row for row in _line_rows(found, curve, resampling)]
        told = predict_top(curve, resampling.rng(), **resampling.options)
        if told:
            below = fit_laws(curve.below_the_top(), resampling.rng(), **resampling.options)
            lines += [
                {"last_ms": last_ms, "fitted_to": "smaller"} | row for row in _line_rows(below, curve, resampling)
            ]
        for one in told:
            predictions.append(
                {"last_ms": last_ms, "law": one.law, "fitted_up_to": curve.sizes[-2], "top": curve.sizes[-1]}
                | {"predicted": one.value, "lower": one.lower, "upper": one.upper, "observed": one.observed}
                | {"difference": one.difference, "difference_lower": one.difference_lower}
                | {"difference_upper": one.difference_upper, "holds": one.holds, "chosen": one.chosen}
                | counts
            )
    columns = ["last_ms", "law", "fitted_up_to", "top", "predicted", "lower", "upper", "observed", "difference"]
    columns += ["difference_lower", "difference_upper", "holds", "chosen", "null", "sessions", "animals", "draws"]
    told = pd.DataFrame(predictions, columns=[*columns, "interval"]).astype({"holds": "boolean"})
    return pd.DataFrame(fits), pd.DataFrame(lines), told


def arm_table(points: Points, resampling: Resampling) -> pd.DataFrame:
    """Mean score of each way of choosing as many sessions, by part of the horizon; intervals as in the curve.

    ``labs_trained`` and what else was trained on are means over draws; ``region_distance`` is how far the regions of
    the training units are from those of the held-out ones, known for ``same_region``.
    """
    size = _arm_size(points)
    columns = ["arm", "last_ms", "class", "null", "bits_per_spike", "lower", "upper", "interval", "draw_sd", "draws"]
    columns += ["seeds", "sessions", "animals", "sessions_trained", "labs_trained", "animals_trained"]
    columns += ["units_trained", "recorded_h", "region_distance", "region_distance_of_random"]
    trained = _trained(points)
    rows = []
    for arm in ARMS:
        for last_ms, group in _of_arm(points.scores, arm, size).groupby("last_ms"):
            of_arm = _of_arm(trained, arm, size)
            rows.append(
                {"arm": arm, "last_ms": last_ms, "class": ZERO_SHOT, "null": PRIMARY_NULL}
                | _mean_over_draws(group, resampling)
                | of_arm[columns[columns.index("sessions_trained") :]].mean().to_dict()
            )
    return pd.DataFrame(rows, columns=columns)


def own_lab_table(points: Points, resampling: Resampling) -> pd.DataFrame:
    """What training in one lab changes for held-out sessions of that lab, and for those of others.

    Rows ``own`` and ``other``: same_lab less random, paired by session, over the whole horizon; a session's draws are
    averaged that fall under the row. Labs are those of the trained sessions of each draw.
    """
    size = _arm_size(points)
    whole = whole_horizon(points.scores)
    random = _of_arm(whole, RANDOM, size).groupby(SESSION)["bits_per_spike"].mean().rename("random")
    of_arm = _of_arm(whole, SAME_LAB, size).join(random, on=SESSION)
    labs = _of_arm(points.labs, SAME_LAB, size)
    known = {(row.fold, row.draw, row.lab) for row in labs.itertuples()}
    own = np.array([(row.fold, row.draw, row.lab) in known for row in of_arm.itertuples()], dtype=bool)
    rows = []
    for name, chosen in (("own", own), ("other", ~own)):
        of_row = of_arm[chosen].assign(difference=lambda table: table["bits_per_spike"] - table["random"])
        if of_row.empty:
            continue
        sessions = of_row.groupby(SESSION)["difference"].mean().reset_index()
        mean = bootstrap_mean(
            sessions["difference"].to_numpy(), animal_names(sessions), resampling.rng(), **resampling.options
        )
        rows.append(
            {"heldout_lab": name, "null": PRIMARY_NULL, "difference": mean.value, "lower": mean.lower}
            | {"upper": mean.upper, "interval": resampling.interval, "sessions": mean.sessions}
            | {"animals": mean.animals, "draws": of_row["draw"].nunique()}
        )
    columns = ["heldout_lab", "null", "difference", "lower", "upper", "interval", "sessions", "animals", "draws"]
    return pd.DataFrame(rows, columns=columns)


def comparison_table(points: Points, resampling: Resampling) -> pd.DataFrame:
    """The declared comparisons over the whole horizon, paired by session; draws are averaged within a session.

    Columns: comparison, what, against, null, difference, lower, upper, interval, p, p_holm, effect_size, sessions,
    animals, sessions_better, animals_better, draws, draw_lowest, draw_highest: intervals and p are over animals, and
    the last two show how far the difference depends on the draw.
    """
    whole, size = whole_horizon(points.scores), _arm_size(points)
    sizes = _rising(points)
    fewest = f"{sizes[0]} sessions"
    asked = {MORE_SESSIONS: (_of_size(whole, sizes[-1]), _of_size(whole, sizes[0]), "all sessions", fewest)}
    for arm in (SAME_LAB, SAME_REGION):
        asked[arm] = (_of_arm(whole, arm, size), _of_arm(whole, RANDOM, size), arm, RANDOM)
    networks, of_networks = _networks(_trained(points)), _networks(whole)
    smallest, largest = (
        networks.loc[place(), "name"] for place in (networks["parameters"].idxmin, networks["parameters"].idxmax)
    )
    if smallest != largest:
        pair = (of_networks[of_networks["name"] == name] for name in (largest, smallest))
        asked[MORE_PARAMETERS] = (*pair, largest, smallest)
    rows = []
    for name in DECLARED:
        first, second, what, against = asked.get(name, (whole.iloc[:0], whole.iloc[:0], "", ""))
        if first.empty or second.empty:
            continue
        shared = pd.concat({"first": _by_session(first), "second": _by_session(second)}, axis=1, join="inner")
        animals = animal_names(shared.reset_index())
        found = compare_paired(shared["first"], shared["second"], animals, resampling.rng(), **resampling.options)
        by_draw = _by_draw(first, second)
        rows.append(
            {"comparison": name, "what": what, "against": against, "null": PRIMARY_NULL}
            | found.columns(resampling.interval)
            | {"draws": len(by_draw), "draw_lowest": min(by_draw), "draw_highest": max(by_draw)}
        )
    table = pd.DataFrame(rows)
    if len(table):
        table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    return table


def parameter_table(points: Points, resampling: Resampling) -> pd.DataFrame:
    """Networks of other sizes on all sessions, and that of the run (``run``), by part of the horizon.

    ``over_fewest`` is the paired difference to the network with the fewest parameters, with its bounds.
    """
    scores, trained = _networks(points.scores), _networks(_trained(points)).set_index("name")
    names = trained.sort_values("parameters", kind="stable").index.tolist()
    fewest = names[0]
    rows = []
    for last_ms, of_part in scores.groupby("last_ms"):
        wide = of_part.pivot(index=SESSION, columns="name", values="bits_per_spike").dropna().reset_index()
        for name in names:
            mean, over = (
                bootstrap_mean(values.to_numpy(), animal_names(wide), resampling.rng(), **resampling.options)
                for values in (wide[name], wide[name] - wide[fewest])
            )
            rows.append(
                {
                    "name": name,
                    "parameters": int(trained.loc[name, "parameters"]),
                    "last_ms": last_ms,
                    "class": ZERO_SHOT,
                }
                | {"null": PRIMARY_NULL, "bits_per_spike": mean.value, "lower": mean.lower, "upper": mean.upper}
                | {"interval": resampling.interval, "over_fewest": over.value, "over_fewest_lower": over.lower}
                | {"over_fewest_upper": over.upper, "sessions": mean.sessions, "animals": mean.animals}
                | {"sessions_trained": trained.loc[name, "sessions_trained"]}
                | {"seeds": int(of_part.loc[of_part["name"] == name, "seeds"].min())}
            )
    return pd.DataFrame(rows)


def make_tables(
    *, scores: Sequence[str | Path], horizons_ms: Sequence[float], folder: str | Path, resampling: Resampling
) -> None:
    """Write every table as Parquet and as TSV, and ``summary.txt`` for the terminal.

    Args:
        scores: Score files, one a point, with ``point.json`` beside each.
        horizons_ms: Ends of the parts of the horizon.
        folder: Where the tables go.
        resampling: How intervals are made.
    """
    folder = Path(folder)
    points = read_points(scores, horizons_ms=horizons_ms)
    fits, lines, predictions = fit_tables(points, resampling)
    tables = {
        "points": point_table(points, resampling),
        "curve": curve_table(points, resampling),
        "horizon": horizon_table(points, resampling),
        "fits": fits,
        "lines": lines,
        "predictions": predictions,
        "arms": arm_table(points, resampling),
        "own_lab": own_lab_table(points, resampling),
        "parameters": parameter_table(points, resampling),
        "comparisons": comparison_table(points, resampling),
        "left_out": points.left_out,
    }
    for name, table in tables.items():
        write_table(table, folder, name)
    with replacing(folder / "summary.txt") as path:
        path.write_text(format_scaling(tables))


def format_scaling(tables: Mapping[str, pd.DataFrame]) -> str:
    """The curve, its laws and the declared comparisons over the whole horizon, as text for a terminal."""
    curve = whole_horizon(tables["curve"])
    interval = f"{curve['interval'].iloc[0]:.0%} interval"
    rows = [("sessions", "draws", "bits/spike", interval, "between draws", "animals trained")]
    for row in curve.to_dict("records"):
        spread = "" if np.isnan(row["draw_sd"]) else f"{row['draw_sd']:.4f}"
        rows.append(
            (
                sessions_text(row["sessions_trained"]),
                str(row["draws"]),
                f"{row['bits_per_spike']:+.4f}",
                format_interval(row["lower"], row["upper"]),
                spread,
                sessions_text(row["animals_trained"]),
            )
        )
    heldout = f"{counted(int(curve['sessions'].max()), 'held-out session')}"
    lines = [
        f"Score against training sessions, on the same {heldout} of {counted(int(curve['animals'].max()), 'animal')}; "
        f"null: {PRIMARY_NULL}-window mean rate",
        "",
        *aligned(rows),
    ]
    rows = [("law", "AICc above best", "weight", "parameters")]
    fits = whole_horizon(tables["fits"])
    for row in fits.to_dict("records"):
        values = ", ".join(f"{name} {row[name]:.3g}" for name in PARAMETERS[row["law"]])
        verdict = f"; not identified: {row['not_identified']}" if row["not_identified"] else ""
        rows.append(
            (f"{row['law']}: {row['formula']}", f"{row['delta_aicc']:.1f}", f"{row['weight']:.2f}", values + verdict)
        )
    lines += ["", *aligned(rows)]
    told = whole_horizon(tables["predictions"])
    if len(told):
        rows = [("from the smaller sizes", "predicted", "observed", "difference", interval, "")]
        for row in told.to_dict("records"):
            verdict = "" if pd.isna(row["holds"]) else "holds" if row["holds"] else "fails"
            name = f"{row['law']}{' (best AICc)' if row['chosen'] else ''}"
            rows.append(
                (
                    name,
                    f"{row['predicted']:+.4f}",
                    f"{row['observed']:+.4f}",
                    f"{row['difference']:+.4f}",
                    format_interval(row["difference_lower"], row["difference_upper"]),
                    verdict,
                )
            )
        lines += ["", *aligned(rows)]
    comparisons = tables["comparisons"]
    rows = [("difference", "bits/spike", interval, "Holm p", "sessions better")]
    for row in comparisons.to_dict("records"):
        rows.append(
            (
                f"{row['what']} - {row['against']}",
                f"{row['difference']:+.4f}",
                format_interval(row["lower"], row["upper"]),
                "none" if np.isnan(row["p_holm"]) else f"{row['p_holm']:.3g}",
                f"{row['sessions_better']} of {row['sessions']}",
            )
        )
    lines += ["", *aligned(rows)] if len(rows) > 1 else []
    lines += ["", "Intervals of the curve resample animals and draws, those of differences animals."]
    if len(tables["left_out"]):
        lines.append(f"Left out: {counted(len(tables['left_out']), 'session')}, listed in left_out.tsv.")
    return "\n".join(lines) + "\n"


def sessions_text(number: float) -> str:
    """A number of sessions or animals, which is a mean over the folds where these differ, as it is printed."""
    return f"{round(number, 1):g}"


def whole_horizon(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of a table that are over the whole horizon."""
    return table[table["last_ms"] == table["last_ms"].max()]


def _identity(card: Mapping, point: Point) -> dict[str, object]:
    size = "max" if point.size is None and point.kind == "sessions" else str(point.size or "")
    return {"fold": card["fold"], "kind": point.kind, "size": size, "draw": point.draw, "name": point.name} | {
        "seed": card["seed"]
    }


def _description(card: Mapping, path: Path) -> dict[str, object]:
    chosen = path.with_name("sessions.json")
    match = json.loads(chosen.read_text()) if chosen.exists() else {}
    found = {column: card.get(name, np.nan) for column, name in _TRAINED.items()}
    return found | {
        "sessions_trained": len(card["sessions"]),
        "labs_trained": len(card["labs"]),
        "recorded_h": card["recorded_s"] / 3600,
        "region_distance": match.get("distance", np.nan),
        "region_distance_of_random": match.get("distance_of_random", np.nan),
    }


def _identified(table: pd.DataFrame, card: Mapping, point: Point) -> pd.DataFrame:
    identity = _identity(card, point)
    identity.pop("fold")
    return table.assign(**identity)


def _read_sums(path: Path) -> pd.DataFrame:
    """Sums over units, by session and horizon bin; a network is scored as itself alone."""
    scores = pd.read_parquet(path, columns=_COLUMNS)
    sums = scores.groupby([*SESSION, "horizon_bin", "bin_us"], sort=False)
    table = sums[["spikes", "model_nats", "reference_nats"]].sum()
    return table.assign(units=sums["unit_id"].nunique()).reset_index()


def _left_out(path: Path) -> dict[str, str]:
    metadata = pq.read_schema(path).metadata or {}
    return json.loads(metadata.get(b"left_out", b"{}"))


def _by_part(sums: pd.DataFrame, horizons_ms: Sequence[float]) -> pd.DataFrame:
    end_ms = (sums["horizon_bin"] + 1) * sums["bin_us"] / 1000
    parts = []
    for last_ms in horizon_ends_ms(horizons_ms, end_ms.max()) if len(sums) else []:
        # rounded, as bins of 20 ms are no exact fractions of a second
        inside = sums[end_ms <= last_ms + 1e-6]
        parts.append(_pooled(inside, SESSION).assign(last_ms=last_ms))
    return pd.concat(parts, ignore_index=True) if parts else _pooled(sums, SESSION).assign(last_ms=0.0)


def _by_bin(sums: pd.DataFrame) -> pd.DataFrame:
    end_ms = (sums["horizon_bin"] + 1) * sums["bin_us"] / 1000
    return _pooled(sums.assign(horizon_ms=end_ms), [*SESSION, "horizon_ms"])


def _pooled(sums: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    grouped = sums.groupby(by, sort=False)
    table = grouped[["spikes", "model_nats", "reference_nats"]].sum().assign(units=grouped["units"].max()).reset_index()
    score = bits_per_spike(
        model_nats=table["model_nats"].to_numpy(),
        null_nats=table["reference_nats"].to_numpy(),
        spikes=table["spikes"].to_numpy(),
    )
    return table.assign(bits_per_spike=score).drop(columns=["model_nats", "reference_nats"])


def _complete(scores: pd.DataFrame, trained: pd.DataFrame) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Sessions with a score at every point of their fold and in every part of the horizon, and the others."""
    points = trained.groupby("fold").size()
    found = scores[np.isfinite(scores["bits_per_spike"])].groupby(SESSION).size().rename("found")
    table = found.reset_index()
    expected = points.reindex(table["fold"]).to_numpy() * scores["last_ms"].nunique()
    incomplete = table[table["found"] < expected]
    kept = table[table["found"] == expected]
    if kept.empty:
        raise TableError("no held-out session has a score at every point of the scaling experiment")
    rows = [
        {"fold": row.fold, "session": row.session, "reason": "has no score at some point or part of the horizon"}
        for row in incomplete.itertuples()
    ]
    return scores.merge(kept[SESSION], on=SESSION), rows


def _over_seeds(scores: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    averaged = scores.groupby([*SESSION, *_KEY, *by], sort=False).agg(
        bits_per_spike=("bits_per_spike", "mean"),
        spikes=("spikes", "first"),
        units=("units", "first"),
        seeds=("bits_per_spike", "size"),
        seed_sd=("bits_per_spike", "std"),
    )
    return averaged.reset_index()


def _trained(points: Points) -> pd.DataFrame:
    """What each point was trained on, as a mean over folds and seeds."""
    return points.trained.drop(columns=["fold", "seed"]).groupby(_KEY, sort=False).mean().reset_index()


def _of_size(table: pd.DataFrame, size: str) -> pd.DataFrame:
    return table[(table["kind"] == "sessions") & (table["size"] == size)]


def _of_arm(table: pd.DataFrame, arm: str, size: str) -> pd.DataFrame:
    return table[(table["kind"] == ("sessions" if arm == RANDOM else arm)) & (table["size"] == size)]


def _networks(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of networks on all sessions: those of other sizes by their names, then that of the run as :data:`RUN`."""
    of_sizes, of_run = table[table["kind"] == "size"], _of_size(table, "max")
    return pd.concat([of_sizes, of_run.assign(name=RUN)], ignore_index=True)


def _arm_size(points: Points) -> str:
    """Number of sessions of the arms; "" where there are none."""
    arms = points.trained[points.trained["kind"].isin([SAME_LAB, SAME_REGION])]
    return arms["size"].iloc[0] if len(arms) else ""


def _rising(points: Points) -> list[str]:
    """Sizes of random subsets, by the number of sessions that were trained on."""
    trained = _trained(points).query("kind == 'sessions'").groupby("size")["sessions_trained"].mean().sort_values()
    equal = trained[trained.duplicated(keep=False)]
    if len(equal):
        raise TableError(
            f"points of sizes {' and '.join(equal.index)} were trained on as many sessions "
            f"({sessions_text(equal.iloc[0])}): leave sizes out of scaling.sessions that are all sessions there are"
        )
    return trained.index.tolist()


def _curve(points: Points, scores: pd.DataFrame, column: str, value: float) -> Curve:
    """Scores against the number of sessions, [session, draw, size]."""
    sizes = _rising(points)
    trained = _trained(points).query("kind == 'sessions'").groupby("size")["sessions_trained"].mean()
    of_curve = scores[(scores["kind"] == "sessions") & (scores[column] == value)]
    wide = of_curve.pivot(index=SESSION, columns=["size", "draw"], values="bits_per_spike")
    draws = sorted(of_curve["draw"].unique())
    rows = wide.reset_index()[SESSION].droplevel(1, axis=1)
    # all sessions are one choice, which stands for every draw
    columns = [[wide[size, draw if (size, draw) in wide else draws[0]] for size in sizes] for draw in draws]
    return Curve(
        sizes=trained[sizes].to_numpy(),
        scores=np.array(columns).transpose(2, 0, 1),
        animals=animal_names(rows),
        one_choice_at_the_top=len(draws) > 1 and (sizes[-1], draws[-1]) not in wide,
    )


def _curve_rows(points: Points, scores: pd.DataFrame, column: str, resampling: Resampling) -> pd.DataFrame:
    trained, rows = _trained(points), []
    names = ["sessions_trained", "animals_trained", "labs_trained", "units_trained", "recorded_h", "spikes_trained"]
    for size in _rising(points):
        of_size = _of_size(scores, size)
        amounts = _of_size(trained, size)[names].mean().to_dict()
        for value, group in of_size.groupby(column):
            rows.append(
                {"size": size, column: value, "class": ZERO_SHOT, "null": PRIMARY_NULL}
                | _mean_over_draws(group, resampling)
                | amounts
            )
    return pd.DataFrame(rows).sort_values([column, "sessions_trained"], ignore_index=True, kind="stable")


def _mean_over_draws(scores: pd.DataFrame, resampling: Resampling) -> dict[str, float]:
    """Mean over draws and sessions; its interval resamples draws and animals."""
    wide = scores.pivot(index=SESSION, columns="draw", values="bits_per_spike")
    animals = animal_names(wide.reset_index()[SESSION])
    values = wide.to_numpy()
    drawn = bootstrap_draws_and_animals(values[:, :, None], animals, resampling.rng(), draws=resampling.draws)
    lower = upper = np.nan
    if len(drawn):
        tail = (1 - resampling.interval) / 2
        lower, upper = np.quantile(drawn.mean(axis=(1, 2)), [tail, 1 - tail])
    return {
        "bits_per_spike": float(values.mean()),
        "lower": float(lower),
        "upper": float(upper),
        "interval": resampling.interval,
        "draw_sd": float(values.mean(axis=0).std(ddof=1)) if values.shape[1] > 1 else np.nan,
        "draws": values.shape[1],
        "seeds": int(scores["seeds"].min()),
        "sessions": len(values),
        "animals": len(np.unique(animals)),
    }


def _by_session(scores: pd.DataFrame) -> pd.Series:
    return scores.groupby(SESSION)["bits_per_spike"].mean()


def _by_draw(first: pd.DataFrame, second: pd.DataFrame) -> list[float]:
    """Mean difference by draw of the first; draws of the second are averaged where it has others."""
    found = []
    for draw, of_draw in first.groupby("draw"):
        against = second[second["draw"] == draw] if set(first["draw"]) == set(second["draw"]) else second
        found.append(float(of_draw["bits_per_spike"].mean() - against["bits_per_spike"].mean()))
    if len(found) == 1 and second["draw"].nunique() > 1:
        mean = first["bits_per_spike"].mean()
        found = [float(mean - of_draw["bits_per_spike"].mean()) for _, of_draw in second.groupby("draw")]
    return found


def _fit_rows(fits: Sequence[LawFit], curve: Curve) -> list[dict[str, object]]:
    criteria = np.array([fit.aicc for fit in fits])
    weights, best = akaike_weights(criteria), int(criteria.argmin())
    rows = []
    for place, fit in enumerate(fits):
        row = {"law": fit.law, "formula": FORMULAS[fit.law]}
        for name in dict.fromkeys(name for law in LAWS for name in PARAMETERS[law]):
            place_of = PARAMETERS[fit.law].index(name) if name in PARAMETERS[fit.law] else None
            for column, values in ((name, fit.values), (f"{name}_lower", fit.lower), (f"{name}_upper", fit.upper)):
                row[column] = np.nan if place_of is None else float(values[place_of])
        rows.append(
            row
            | {"points": fit.points, "sizes": len(curve.sizes), "rss": fit.rss, "aicc": fit.aicc}
            | {"delta_aicc": fit.aicc - criteria.min() if np.isfinite(fit.aicc) else np.inf}
            | {"weight": weights[place], "best": place == best and bool(np.isfinite(fit.aicc))}
            | {"not_identified": fit.not_identified}
        )
    return rows


def _line_rows(fits: Sequence[LawFit], curve: Curve, resampling: Resampling) -> list[dict[str, object]]:
    places = np.geomspace(curve.sizes[0], curve.sizes[-1], _LINE_PLACES)
    rows = []
    for fit in fits:
        lower, upper = fit.band(places, resampling.interval)
        rows += [
            {"law": fit.law, "sessions_trained": place, "bits_per_spike": value, "lower": low, "upper": high}
            for place, value, low, high in zip(places, fit.at(places), lower, upper, strict=True)
        ]
    return rows


def _sorted(table: pd.DataFrame, before: list[str]) -> pd.DataFrame:
    kinds = {kind: place for place, kind in enumerate(("sessions", SAME_LAB, SAME_REGION, "size"))}
    order = table.assign(_kind=table["kind"].map(kinds))
    order = order.sort_values([*before, "_kind", "sessions_trained", "parameters", "draw"], kind="stable")
    return order.drop(columns="_kind").reset_index(drop=True)
