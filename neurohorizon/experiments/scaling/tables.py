"""Tables of the scaling experiment, from the score files of its points.

A point is one training, with its number of sessions, its random subset of them, and its seed. All points forecast the
same held-out sessions; a session that lacks a score at any point is excluded from all, and listed. Seeds are averaged
within a session first, and ratios of sums are taken last.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from neurohorizon.analysis.statistics import bootstrap_draws_and_animals
from neurohorizon.analysis.tables import (
    PRIMARY_NULL,
    SESSION,
    Cell,
    Resampling,
    TableError,
    animal_names,
    by_method,
    comparison_cells,
    end_ms,
    grouped_rows,
    horizon_ends_ms,
    interval_cell,
    ordered,
    over_seeds,
    score,
    text_table,
    whole_horizon,
    with_holm,
    write_tables,
)
from neurohorizon.experiments.scaling.laws import LAWS, PARAMETERS, Curve, LawFit, akaike_weights, fit_laws, predict_top
from neurohorizon.experiments.scaling.points import Point, parse_point
from neurohorizon.methods import ZERO_SHOT
from neurohorizon.printed_names import counted

RANDOM, SAME_LAB, SAME_REGION = "random", "same_lab", "same_region"
ARMS = (RANDOM, SAME_LAB, SAME_REGION)
"""Ways of choosing the same number of training sessions."""
MORE_SESSIONS, MORE_PARAMETERS = "more_sessions", "more_parameters"
RUN = "run"
"""Name of the network of the run among those of other sizes."""
DECLARED = (MORE_SESSIONS, SAME_LAB, SAME_REGION, MORE_PARAMETERS)
"""The comparisons that were declared in advance, over the whole horizon: all sessions against the fewest, each other
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


_SCORED = {"class": ZERO_SHOT, "null": PRIMARY_NULL}


@dataclass(frozen=True)
class Points:
    """All points of an experiment.

    Attributes:
        trained: Training data of each point: fold, kind, size ("2", "max", "" for sizes of the network), draw, name,
            seed, sessions_trained, labs_trained, recorded_h, region_distance and the columns of ``point.json``.
        labs: Training sessions of each point by lab: fold, kind, size, draw, name, seed, lab, sessions.
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
    """Read the score files of all points; ``point.json`` is next to each, and ``sessions.json`` next to some.

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
        identity = {name: value for name, value in _identity(card, point).items() if name != "fold"}
        parts.append(_by_part(sums, horizons_ms).assign(**identity))
        bins.append(_pooled(sums.assign(horizon_ms=end_ms(sums)), [*SESSION, "horizon_ms"]).assign(**identity))
        left_out = json.loads((pq.read_schema(path).metadata or {}).get(b"left_out", b"{}"))
        reasons += [{"fold": card["fold"], "session": name, "reason": reason} for name, reason in left_out.items()]
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
    """One row per point and part of the horizon: its training data, and its mean score over held-out sessions.

    ``seed_sd`` is the standard deviation between seeds (mean over sessions; NaN with one). With several folds,
    amounts of training data are means over them.
    """
    rows = grouped_rows(
        points.scores,
        [*_KEY, "last_ms"],
        lambda group: (
            _SCORED | resampling.mean_row(group) | {"seeds": group["seeds"].min(), "seed_sd": group["seed_sd"].mean()}
        ),
    )
    kinds = ("sessions", SAME_LAB, SAME_REGION, "size")
    by = ["last_ms", "kind", "sessions_trained", "parameters", "draw"]
    return ordered(rows.merge(_trained(points), on=_KEY), by, kind=kinds)


def curve_table(points: Points, resampling: Resampling) -> pd.DataFrame:
    """Mean score by number of training sessions and part of the horizon.

    Intervals are bootstrapped over animals and random subsets. ``draw_sd`` is the standard deviation between the means
    of subsets; NaN at the top, where there is one subset, all sessions.
    """
    return _curve_rows(points, points.scores, "last_ms", resampling)


def horizon_table(points: Points, resampling: Resampling) -> pd.DataFrame:
    """The same by horizon bin; ``horizon_ms`` is the time from the forecast origin to the end of the bin."""
    return _curve_rows(points, points.bins, "horizon_ms", resampling)


def fit_tables(points: Points, resampling: Resampling) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Fits of all laws by part of the horizon, their lines, and their predictions of the top from the smaller sizes.

    Returns:
        ``fits``: last_ms, law, formula, each parameter with its bounds, points, sizes, rss, aicc, delta_aicc, weight,
            best, not_identified (reason why its parameters are not identified, or ""), null, sessions, animals, draws,
            interval.
        ``lines``: last_ms, fitted_to (``all`` sizes, or the ``smaller`` ones), law, sessions_trained, bits_per_spike,
            lower, upper.
        ``predictions``: last_ms, law, fitted_up_to and top (numbers of sessions), predicted, lower, upper, observed,
            difference (observed minus predicted) with its bounds, holds, chosen (lowest AICc on the smaller sizes).
    """
    fits, lines, predictions = [], [], []
    for last_ms in sorted(points.scores["last_ms"].unique()):
        curve = _curve(points, points.scores[points.scores["last_ms"] == last_ms], "last_ms", last_ms)
        counts = {"null": PRIMARY_NULL, "sessions": len(curve.animals), "animals": len(set(curve.animals))}
        counts |= {"draws": curve.scores.shape[1], "interval": resampling.interval}
        found = {"all": fit_laws(curve, resampling.rng(), **resampling.options)}
        fits += [{"last_ms": last_ms} | row | counts for row in _fit_rows(found["all"], curve)]
        predicted = predict_top(curve, resampling.rng(), **resampling.options)
        if predicted:
            found["smaller"] = fit_laws(curve.below_the_top(), resampling.rng(), **resampling.options)
        for fitted_to, laws in found.items():
            place = {"last_ms": last_ms, "fitted_to": fitted_to}
            lines += [place | row for row in _line_rows(laws, curve, resampling)]
        for one in predicted:
            place = {"last_ms": last_ms, "fitted_up_to": curve.sizes[-2], "top": curve.sizes[-1]}
            predictions.append(place | vars(one) | {"predicted": one.value, "holds": one.holds} | counts)
    columns = ["last_ms", "law", "fitted_up_to", "top", "predicted", "lower", "upper", "observed", "difference"]
    columns += ["difference_lower", "difference_upper", "holds", "chosen", "null", "sessions", "animals", "draws"]
    table = pd.DataFrame(predictions, columns=[*columns, "interval"]).astype({"holds": "boolean"})
    return pd.DataFrame(fits), pd.DataFrame(lines), table


def arm_table(points: Points, resampling: Resampling) -> pd.DataFrame:
    """Mean score of each way of choosing sessions, by part of the horizon; intervals as in the curve.

    ``labs_trained`` and other amounts of training data are means over subsets; ``region_distance`` is the distance
    between the regions of the training units and those of the held-out ones, available for ``same_region``.
    """
    size = _arm_size(points)
    columns = ["arm", "last_ms", "class", "null", "bits_per_spike", "lower", "upper", "interval", "draw_sd", "draws"]
    columns += ["seeds", "sessions", "animals"]
    amounts = ["sessions_trained", "labs_trained", "animals_trained", "units_trained", "recorded_h"]
    amounts += ["region_distance", "region_distance_of_random"]
    trained = _trained(points)
    rows = []
    for arm in ARMS:
        found = _of_arm(trained, arm, size)[amounts].mean().to_dict()
        for last_ms, group in _of_arm(points.scores, arm, size).groupby("last_ms"):
            rows.append({"arm": arm, "last_ms": last_ms} | _SCORED | _mean_over_draws(group, resampling) | found)
    return pd.DataFrame(rows, columns=[*columns, *amounts])


def own_lab_table(points: Points, resampling: Resampling) -> pd.DataFrame:
    """Effect of training in one lab on held-out sessions of that lab, and on those of others.

    Rows ``own`` and ``other``: same_lab minus random, paired by session, over the whole horizon; a session's subsets
    are averaged that belong to the row. Labs are those of the training sessions of each subset.
    """
    size = _arm_size(points)
    whole = whole_horizon(points.scores)
    random = _of_arm(whole, RANDOM, size).groupby(SESSION)["bits_per_spike"].mean().rename("random")
    of_arm = _of_arm(whole, SAME_LAB, size).join(random, on=SESSION)
    of_arm = of_arm.assign(difference=of_arm["bits_per_spike"] - of_arm["random"])
    labs = {(row.fold, row.draw, row.lab) for row in _of_arm(points.labs, SAME_LAB, size).itertuples()}
    own = np.array([(row.fold, row.draw, row.lab) in labs for row in of_arm.itertuples()], dtype=bool)
    rows = []
    for name, chosen in (("own", of_arm[own]), ("other", of_arm[~own])):
        if len(chosen):
            sessions = chosen.groupby(SESSION)["difference"].mean().reset_index()
            row = {"heldout_lab": name, "null": PRIMARY_NULL} | resampling.mean_row(sessions, "difference")
            rows.append(row | {"draws": chosen["draw"].nunique()})
    columns = ["heldout_lab", "null", "difference", "lower", "upper", "interval", "sessions", "animals", "draws"]
    return pd.DataFrame(rows, columns=columns)


def comparison_table(points: Points, resampling: Resampling) -> pd.DataFrame:
    """The declared comparisons over the whole horizon, paired by session; subsets are averaged within a session.

    Columns: comparison, what, against, null, difference, lower, upper, interval, p, p_holm, effect_size, sessions,
    animals, sessions_better, animals_better, draws, draw_lowest, draw_highest: intervals and p are over animals, and
    the last two are the range of the difference over subsets.
    """
    whole, size = whole_horizon(points.scores), _arm_size(points)
    sizes = _rising(points)
    most, fewest = _of_size(whole, sizes[-1]), _of_size(whole, sizes[0])
    pairs = {MORE_SESSIONS: (most, fewest, "all sessions", f"{sizes[0]} sessions")}
    for arm in (SAME_LAB, SAME_REGION):
        pairs[arm] = (_of_arm(whole, arm, size), _of_arm(whole, RANDOM, size), arm, RANDOM)
    parameters, of_networks = _networks(_trained(points)).set_index("name")["parameters"], _networks(whole)
    smallest, largest = parameters.idxmin(), parameters.idxmax()
    if smallest != largest:
        pair = (of_networks[of_networks["name"] == name] for name in (largest, smallest))
        pairs[MORE_PARAMETERS] = (*pair, largest, smallest)
    rows = []
    for name in (name for name in DECLARED if name in pairs):
        first, second, what, against = pairs[name]
        if first.empty or second.empty:
            continue
        scores = {"first": _by_session(first), "second": _by_session(second)}
        found = resampling.compare(pd.concat(scores, axis=1, join="inner").reset_index(), "first", "second")
        by_draw = _by_draw(first, second)
        rows.append(
            {"comparison": name, "what": what, "against": against, "null": PRIMARY_NULL}
            | (found or {})
            | {"draws": len(by_draw), "draw_lowest": min(by_draw), "draw_highest": max(by_draw)}
        )
    return with_holm(pd.DataFrame(rows))


def parameter_table(points: Points, resampling: Resampling) -> pd.DataFrame:
    """Networks of other sizes on all sessions, and that of the run (``run``), by part of the horizon.

    ``over_fewest`` is the paired difference to the network with the fewest parameters, with its bounds.
    """
    scores, trained = _networks(points.scores), _networks(_trained(points)).set_index("name")
    names = trained.sort_values("parameters", kind="stable").index.tolist()
    rows = []
    for last_ms, of_part in scores.groupby("last_ms"):
        wide = by_method(of_part, column="name").dropna()
        for name in names:
            rows.append(
                {"name": name, "parameters": int(trained.loc[name, "parameters"]), "last_ms": last_ms}
                | _SCORED
                | resampling.mean_row(wide.rename(columns={name: "bits_per_spike"}))
                | resampling.mean_bounds("over_fewest", wide, wide[name] - wide[names[0]])
                | {"sessions_trained": trained.loc[name, "sessions_trained"]}
                | {"seeds": int(of_part.loc[of_part["name"] == name, "seeds"].min())}
            )
    return pd.DataFrame(rows)


def make_tables(
    *, scores: Sequence[str | Path], horizons_ms: Sequence[float], folder: str | Path, resampling: Resampling
) -> None:
    """Write every table as Parquet and as TSV, and ``summary.txt`` for the terminal.

    Args:
        scores: Score files, one per point, with ``point.json`` next to each.
    """
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
    write_tables(tables, folder, format_scaling(tables))


def format_scaling(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """The curve, its laws and the declared comparisons over the whole horizon, as lines of text for a terminal."""
    curve = whole_horizon(tables["curve"])
    interval = f"{curve['interval'].iloc[0]:.0%} interval"
    amounts: dict[str, Cell] = {
        "sessions": lambda row: sessions_text(row["sessions_trained"]),
        "draws": "{draws}",
        "bits/spike": "{bits_per_spike:+.4f}",
        interval: interval_cell(),
        "between draws": "{draw_sd:.4f}",
        "animals trained": lambda row: sessions_text(row["animals_trained"]),
    }
    laws: dict[str, Cell] = {
        "law": "{law}: {formula}",
        "AICc above best": "{delta_aicc:.1f}",
        "weight": "{weight:.2f}",
        "parameters": lambda row: (
            ", ".join(f"{name} {row[name]:.3g}" for name in PARAMETERS[row["law"]])
            + (f"; not identified: {row['not_identified']}" if row["not_identified"] else "")
        ),
    }
    predicted: dict[str, Cell] = {
        "from the smaller sizes": lambda row: f"{row['law']}{' (best AICc)' if row['chosen'] else ''}",
        **{name: f"{{{name}:+.4f}}" for name in ("predicted", "observed", "difference")},
        interval: interval_cell("difference"),
        "": lambda row: "" if pd.isna(row["holds"]) else "holds" if row["holds"] else "fails",
    }
    heldout = counted(curve["sessions"].max(), "held-out session")
    lines = [
        f"Score by number of training sessions, on the same {heldout} of {counted(curve['animals'].max(), 'animal')}; "
        f"null: {PRIMARY_NULL}-window mean rate",
        *text_table(curve, amounts),
        *text_table(whole_horizon(tables["fits"]), laws),
        *text_table(whole_horizon(tables["predictions"]), predicted),
        *text_table(tables["comparisons"], {"difference": "{what} - {against}"} | comparison_cells(interval)),
        "",
        "Intervals of the curve are bootstrapped over animals and draws, those of differences over animals.",
    ]
    if len(tables["left_out"]):
        lines.append(f"Left out: {counted(len(tables['left_out']), 'session')}, listed in left_out.tsv.")
    return lines


def sessions_text(number: float) -> str:
    """A number of sessions or animals as text; it is a mean if the folds differ."""
    return f"{round(number, 1):g}"


def _identity(card: Mapping, point: Point) -> dict[str, object]:
    size = "max" if point.size is None and point.kind == "sessions" else str(point.size or "")
    chosen = {"kind": point.kind, "size": size, "draw": point.draw, "name": point.name}
    return {"fold": card["fold"]} | chosen | {"seed": card["seed"]}


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


def _read_sums(path: Path) -> pd.DataFrame:
    """Sums over units, by session and horizon bin; the file holds one network."""
    scores = pd.read_parquet(path, columns=_COLUMNS)
    sums = scores.groupby([*SESSION, "horizon_bin", "bin_us"], sort=False)
    table = sums[["spikes", "model_nats", "reference_nats"]].sum()
    return table.assign(units=sums["unit_id"].nunique()).reset_index()


def _by_part(sums: pd.DataFrame, horizons_ms: Sequence[float]) -> pd.DataFrame:
    ends = end_ms(sums)
    parts = [
        # rounded, as bins of 20 ms are no exact fractions of a second
        _pooled(sums[ends <= last_ms + 1e-6], SESSION).assign(last_ms=last_ms)
        for last_ms in (horizon_ends_ms(horizons_ms, ends.max()) if len(sums) else [])
    ]
    return pd.concat(parts, ignore_index=True) if parts else _pooled(sums, SESSION).assign(last_ms=0.0)


def _pooled(sums: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    grouped = sums.groupby(by, sort=False)
    table = grouped[["spikes", "model_nats", "reference_nats"]].sum().assign(units=grouped["units"].max()).reset_index()
    return table.assign(bits_per_spike=score(table)).drop(columns=["model_nats", "reference_nats"])


def _complete(scores: pd.DataFrame, trained: pd.DataFrame) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Sessions with a score at every point of their fold and in every part of the horizon, and the others."""
    points = trained.groupby("fold").size()
    table = scores[np.isfinite(scores["bits_per_spike"])].groupby(SESSION).size().rename("found").reset_index()
    expected = points.reindex(table["fold"]).to_numpy() * scores["last_ms"].nunique()
    kept = table[table["found"] == expected]
    if kept.empty:
        raise TableError("no held-out session has a score at every point of the scaling experiment")
    incomplete = table.loc[table["found"] < expected, ["fold", "session"]]
    incomplete = incomplete.assign(reason="has no score at some point or part of the horizon")
    return scores.merge(kept[SESSION], on=SESSION), incomplete.to_dict("records")


def _over_seeds(scores: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    return over_seeds(scores, [*SESSION, *_KEY, *by], spikes=("spikes", "first"), units=("units", "first"))


def _trained(points: Points) -> pd.DataFrame:
    """Training data of each point, as a mean over folds and seeds."""
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
            f"points of sizes {' and '.join(equal.index)} were trained on the same number of sessions "
            f"({sessions_text(equal.iloc[0])}): remove sizes from scaling.sessions that include all sessions"
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
    # all sessions are one choice, which is used for every draw
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
        amounts = _of_size(trained, size)[names].mean().to_dict()
        for value, group in _of_size(scores, size).groupby(column):
            rows.append({"size": size, column: value} | _SCORED | _mean_over_draws(group, resampling) | amounts)
    return ordered(pd.DataFrame(rows), [column, "sessions_trained"])


def _mean_over_draws(scores: pd.DataFrame, resampling: Resampling) -> dict[str, float]:
    """Mean over draws and sessions, with an interval over both draws and animals."""
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
