"""Agreement with the IBL Brain-Wide Bench: our scores next to those of its scorer, and submissions in its format.

The benchmark's forecasting task (suite TS2 of ``ibl-bwb-eval``) scores the last 100 ms of windows of one second, given
the earlier part. In a forecast file that is the part of the horizon right after the origin; the last 100 ms of the
horizon are scored too, since a formula that agrees on one must agree on the other.

The benchmark pins its torch exactly, so it has its own environment, ``envs/bwb.yaml``. Only NumPy, h5py and packages of
this environment are imported, the latter by the functions that need them.
"""

import csv
import math
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from neurohorizon.agreement.definitions import brain_wide_bench, brain_wide_bench_d2, unit_sums
from neurohorizon.files import replacing
from neurohorizon.forecasts.forecast_file import Forecast, read_forecast

TASK = "ts2-forecasting"
BIN_US = 20_000
SCORED_BINS = 5
WINDOW_US = 1_000_000
"""A window of the benchmark: 900 ms or more of context, and 100 ms that are scored."""
PARTS = ("first", "last")
"""Parts of the horizon that are scored: the 100 ms after the origin, as the benchmark does, and the last 100 ms."""
TOLERANCE = 1e-5
DATASET_VERSION = "0.1.0"
"""Version of the benchmark's data set that the ground truth belongs to."""
UNIT_FILTERING = "selected_units"
MINIMUM_SEEDS = 3
TOO_FEW_SEEDS = "E101"

_SEED_FILE = re.compile(r"seed_(\d+)\.safetensors")
_GROUND_TRUTH = "ground_truth.safetensors"


class BenchError(ValueError):
    """Forecasts that cannot be scored or submitted, or scores that differ; the message names them and a remedy."""


@dataclass(frozen=True)
class Agreement:
    """Scores of one forecast by this package (``our``) and by the benchmark (``their``).

    Bits per spike (``BPS``) are relative to each unit's mean in the scored bins, Poisson D2 (``PoissonD2Score``) is a
    mean over units. ``seed`` is None where nothing is drawn; ``part`` is one of :data:`PARTS`.
    """

    session: str
    method: str
    seed: int | None
    part: str
    windows: int
    units: int
    our_bits_per_spike: float
    their_bits_per_spike: float
    our_poisson_d2: float
    their_poisson_d2: float

    @property
    def difference(self) -> float:
        """The larger of both differences, each relative where its score is above 1."""
        bits = (self.our_bits_per_spike, self.their_bits_per_spike)
        d2 = (self.our_poisson_d2, self.their_poisson_d2)
        # a session without a spike has no score on either side
        return max(0.0 if math.isnan(a) and math.isnan(b) else abs(a - b) / max(1.0, abs(b)) for a, b in (bits, d2))


@dataclass(frozen=True)
class Finding:
    """A fault of a submission: its code in the leaderboard, the file ("." for all of them), and a message."""

    code: str
    path: str
    message: str


def score_bwb(
    forecasts: Sequence[str | Path], *, output: str | Path, tolerance: float = TOLERANCE
) -> tuple[list[Agreement], list[str]]:
    """Score forecast files with the benchmark's own scorer and with ours, and write both as a table.

    The benchmark reads its own files: a submission and a ground truth for each forecast. Sessions that were left out
    are skipped.

    Args:
        output: Tab-separated table, one row per forecast and part of the horizon.
        tolerance: Largest allowed difference, relative where a score is above 1.

    Returns:
        Every comparison, and the names of forecasts with a rate of zero, which the benchmark cannot score.

    Raises:
        BenchError: Any two scores differ by more than ``tolerance``; the table is written before.
    """
    compared, zero_rates = [], []
    for path in forecasts:
        forecast = read_forecast(path)
        if forecast.left_out is not None:
            continue
        if not np.isfinite(forecast.log_rate).all():
            zero_rates.append(f"{forecast.session} {forecast.method}")
            continue
        compared += [_compare(forecast, part) for part in PARTS]
    with replacing(output) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow([*(field.name for field in fields(Agreement)), "difference"])
        for one in compared:
            cells = [getattr(one, field.name) for field in fields(Agreement)]
            writer.writerow(["" if cell is None else cell for cell in cells] + [f"{one.difference:.2e}"])
    differing = [one for one in compared if not one.difference <= tolerance]
    if differing:
        worst = max(differing, key=lambda one: math.inf if math.isnan(one.difference) else one.difference)
        raise BenchError(
            f"{len(differing)} of {len(compared)} scores differ from the benchmark's by more than {tolerance:g}; the "
            f"most by {worst.difference:.2g}: {worst}. All are in {output}"
        )
    return compared, zero_rates


def _compare(forecast: Forecast, part: str) -> Agreement:
    from ibl_bwb_eval.scoring.ts2 import score_file

    scored = _part(forecast, part)
    with tempfile.TemporaryDirectory() as folder:
        known, submission = Path(folder) / "truth", Path(folder) / "submission"
        truth = write_ground_truth(forecast, folder=known, recording=forecast.session, part=part)
        prediction = export_bwb([forecast], ground_truth=known, folder=submission, label="agreement", part=part)
        theirs = score_file(prediction[0], truth)
    sums = unit_sums(
        counts=scored.counts,
        log_rate=scored.log_rate,
        mask=np.ones(scored.counts.shape[:2], bool),
        reference_log_rate=forecast.reference_log_rate,
    )
    return Agreement(
        session=forecast.session,
        method=forecast.method,
        seed=forecast.seed,
        part=part,
        windows=len(scored.start_us),
        units=len(forecast.unit_id),
        our_bits_per_spike=brain_wide_bench(sums),
        their_bits_per_spike=theirs["bps"],
        our_poisson_d2=brain_wide_bench_d2(sums),
        their_poisson_d2=theirs["poisson_d2"],
    )


@dataclass(frozen=True)
class _Scored:
    """100 ms of a forecast, in the windows that are wholly valid there.

    ``start_us`` is the start of the benchmark's window of one second, which ends with these bins, [window]; ``counts``
    and ``log_rate`` are [window, bin, unit].
    """

    start_us: np.ndarray
    counts: np.ndarray
    log_rate: np.ndarray


def _part(forecast: Forecast, part: str) -> _Scored:
    if forecast.bin_us != BIN_US or forecast.log_rate.shape[1] < SCORED_BINS:
        raise BenchError(
            f"{forecast.session} is forecast in {forecast.log_rate.shape[1]} bins of {forecast.bin_us / 1000:g} ms; "
            f"the benchmark scores {SCORED_BINS} bins of {BIN_US // 1000} ms: set timeline.bin_ms: {BIN_US // 1000} "
            f"and timeline.horizon_bins: {SCORED_BINS} or more"
        )
    last_bin = {"first": SCORED_BINS, "last": forecast.log_rate.shape[1]}[part]
    bins = slice(last_bin - SCORED_BINS, last_bin)
    whole = forecast.target_mask[:, bins].all(axis=1)
    return _Scored(
        start_us=forecast.start_us[whole] + last_bin * BIN_US - WINDOW_US,
        counts=forecast.counts[whole, bins],
        log_rate=forecast.log_rate[whole, bins],
    )


def bench_unit_id(recording: str, unit_id: str) -> str:
    """Name of a unit in the benchmark: the recording, a slash, and the id that the release gave the unit."""
    return f"{recording}/{unit_id.rpartition(':')[2]}"


def _bench_unit_ids(forecast: Forecast, recording: str) -> np.ndarray:
    names = np.array([bench_unit_id(recording, str(unit)) for unit in forecast.unit_id])
    if len(set(names)) < len(names):
        raise BenchError(f"units of {forecast.session} share a name without that of their probe; names must be unique")
    return names


def write_ground_truth(forecast: Forecast, *, folder: str | Path, recording: str, part: str = "first") -> Path:
    """Write the observed counts as a ground truth file of the benchmark: its windows, units and counts.

    The benchmark's own ground truth, for the recordings that it holds out, is not public.

    Args:
        part: Which 100 ms of the horizon its windows end with.

    Returns:
        The file, ``FOLDER/ts2-forecasting/RECORDING/ground_truth.safetensors``.
    """
    import torch
    from ibl_bwb_eval.entity_ids import encode_entity_ids
    from safetensors.torch import save_file

    scored = _part(forecast, part)
    path = Path(folder) / TASK / recording / _GROUND_TRUTH
    tensors = {
        "targets": torch.from_numpy(scored.counts.astype(np.float32)),
        "window_timestamps": torch.from_numpy(scored.start_us / 1e6),
        "unit_ids": encode_entity_ids(_bench_unit_ids(forecast, recording)),
    }
    with replacing(path) as partial:
        save_file(tensors, str(partial), metadata={"task": TASK, "recording_id": recording})
    return path


def export_bwb(
    forecasts: Iterable[Forecast | str | Path],
    *,
    ground_truth: str | Path,
    folder: str | Path,
    label: str,
    recordings: Mapping[str, str] | None = None,
    dataset_version: str = DATASET_VERSION,
    part: str = "first",
) -> list[Path]:
    """Write a submission to the forecasting task of the benchmark, with the benchmark's own writer.

    The windows and units are those of the ground truth (its counts are not read), in its order; only the 100 ms that a
    window ends with are written, as natural log of expected spikes per bin in float32. To submit, zip the folder
    ``LABEL`` that lies in ``folder``.

    Args:
        forecasts: Forecasts of one method, one per session and seed. A forecast without a seed is written under the
            first seed of the benchmark; submit it as deterministic.
        ground_truth: Root of the ground truth, or of files that hold only ``window_timestamps`` and ``unit_ids``.
        recordings: The benchmark's name of each session (the id of the experiment); a session's own name where absent.
        part: Which 100 ms of the horizon are written; the benchmark's are the first.

    Returns:
        ``FOLDER/LABEL/ts2-forecasting/RECORDING/seed_N.safetensors``, one per forecast.

    Raises:
        BenchError: A window or unit of the ground truth is not forecast, a rate is zero, or a session was left out.
    """
    import torch
    from ibl_bwb_eval.entity_ids import decode_entity_ids, encode_entity_ids
    from ibl_bwb_eval.predictions import PredictionsWriter
    from ibl_bwb_eval.protocol import EVAL_SEEDS
    from safetensors.torch import load_file

    written = []
    for one in forecasts:
        forecast = one if isinstance(one, Forecast) else read_forecast(one)
        if forecast.left_out is not None:
            raise BenchError(f"session {forecast.session} has no forecast: {forecast.left_out}")
        recording = (recordings or {}).get(forecast.session, forecast.session)
        template = load_file(str(Path(ground_truth) / TASK / recording / _GROUND_TRUTH))
        units = decode_entity_ids(template["unit_ids"])
        starts_us = np.round(template["window_timestamps"].numpy() * 1e6).astype(np.int64)
        log_rate = _requested(forecast, recording, part, starts_us, units)
        seed = EVAL_SEEDS[0] if forecast.seed is None else forecast.seed
        writer = PredictionsWriter(
            enable=True,
            base_path=folder,
            task=TASK,
            seed=seed,
            label=label,
            metadata={
                "recording_id": recording,
                "unit_filtering": UNIT_FILTERING,
                "dataset_version": dataset_version,
                "bin_size": BIN_US / 1e6,
            },
            path_fn=lambda folder, metadata: folder / metadata["recording_id"],
        )
        writer.add(predictions=torch.from_numpy(log_rate))
        # in float32 windows 20 ms apart would share a time
        writer.add(window_timestamps=template["window_timestamps"], dtype=torch.float64)
        writer.set(unit_ids=encode_entity_ids(units))
        writer.save()
        written.append(Path(folder) / label / TASK / recording / f"seed_{seed}.safetensors")
    return written


def _requested(forecast: Forecast, recording: str, part: str, starts_us: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Log rates of the requested windows and units, float32 [window, bin, unit]."""
    scored = _part(forecast, part)
    place = {start: row for row, start in enumerate(scored.start_us.tolist())}
    missing = [start for start in starts_us.tolist() if start not in place]
    if missing:
        raise BenchError(
            f"{forecast.session}: {len(missing)} of {len(starts_us)} windows of the ground truth are not forecast, "
            f"such as the one that begins at {missing[0] / 1e6} s; an origin 900 ms after the start of each is needed"
        )
    found = scored.log_rate[[place[start] for start in starts_us.tolist()]]
    columns = {name: column for column, name in enumerate(_bench_unit_ids(forecast, recording).tolist())}
    absent = [name for name in units.tolist() if name not in columns]
    if absent:
        raise BenchError(
            f"{forecast.session}: {len(absent)} of {len(units)} units of the ground truth are not forecast, such as "
            f"{absent[0]!r}; the benchmark keeps units by its own quality labels"
        )
    requested = np.ascontiguousarray(found[..., [columns[name] for name in units.tolist()]], dtype=np.float32)
    if not np.isfinite(requested).all():
        raise BenchError(f"{forecast.session}: {forecast.method} forecasts a rate of zero, which cannot be submitted")
    return requested


def check_submission(folder: str | Path, *, ground_truth: str | Path, deterministic: bool) -> list[Finding]:
    """List the faults of a submission by the rules of the leaderboard, which its package does not contain.

    The rules and codes are those of the public validator of the leaderboard (int-brain-lab/app-brain-wide-bench). The
    order of units is checked too, since the scorer assumes it.

    Args:
        folder: Root of the submission; holds one folder, its label.
        deterministic: Whether the method draws nothing, so that one seed is enough.
    """
    folder, ground_truth = Path(folder), Path(ground_truth)
    findings, seeds, labels = [], defaultdict(set), set()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        parts = name.split("/")
        seed = _SEED_FILE.fullmatch(parts[-1])
        if seed is None or len(parts) != 4:
            findings.append(Finding("E014", name, "is not LABEL/TASK/RECORDING/seed_N.safetensors"))
        elif parts[1] != TASK:
            findings.append(Finding("E005", name, f"is of task {parts[1]!r}; {TASK!r} is expected"))
        else:
            labels.add(parts[0])
            seeds[parts[2]].add(int(seed[1]))
            findings += [Finding(code, name, message) for code, message in _faults(path, parts, ground_truth)]
    if not seeds:
        return [*findings, Finding("E014", ".", "there is no prediction")]
    if len(labels) > 1:
        findings.append(Finding("E106", ".", f"more than one label: {sorted(labels)}"))
    expected = {path.parent.name for path in (ground_truth / TASK).glob(f"*/{_GROUND_TRUTH}")}
    if absent := sorted(expected - seeds.keys()):
        findings.append(
            Finding("E104", ".", f"{len(absent)} of {len(expected)} recordings are missing, such as {absent[0]}")
        )
    return findings if deterministic else findings + _seed_faults(seeds)


def _seed_faults(seeds: Mapping[str, set[int]]) -> list[Finding]:
    found = sorted(set.union(*seeds.values()))
    if any(sorted(one) != found for one in seeds.values()):
        return [Finding("E103", ".", f"recordings differ in their seeds; all together there are {found}")]
    if len(found) < MINIMUM_SEEDS:
        return [Finding(TOO_FEW_SEEDS, ".", f"seeds are {found}; at least {MINIMUM_SEEDS} are needed")]
    if found != list(range(found[0], found[0] + len(found))):
        return [Finding("E102", ".", f"seeds are {found}; they must follow each other")]
    return []


def _faults(path: Path, parts: Sequence[str], ground_truth: Path) -> list[tuple[str, str]]:
    """Code and message of the faults of one file; each rule needs the ones before it."""
    from ibl_bwb_eval.entity_ids import decode_entity_ids
    from safetensors import safe_open
    from safetensors.torch import load_file

    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata() or {}
    tensors = load_file(str(path))
    needed = {"label", "task", "seed", "unit_filtering", "dataset_version", "recording_id"} - metadata.keys()
    needed |= {"predictions", "window_timestamps", "unit_ids"} - tensors.keys()
    if needed:
        return [("E001", f"lacks {', '.join(sorted(needed))}")]
    label, task, recording, file_name = parts
    faults = []
    named = (metadata["label"], metadata["task"], metadata["recording_id"], f"seed_{metadata['seed']}.safetensors")
    if named != (label, task, recording, file_name):
        faults.append(("E013", f"is labelled {'/'.join(named)}"))
    if metadata["unit_filtering"] != UNIT_FILTERING:
        faults.append(("E109", f"unit_filtering is {metadata['unit_filtering']!r}, not {UNIT_FILTERING!r}"))
    if not re.fullmatch(r"\d+\.\d+\.\d+", metadata["dataset_version"]):
        faults.append(("E003", f"dataset_version is {metadata['dataset_version']!r}, not x.y.z"))
    predictions, starts = tensors["predictions"], tensors["window_timestamps"].numpy()
    if predictions.ndim != 3 or starts.shape != predictions.shape[:1]:
        return [*faults, ("E007", f"predictions are {tuple(predictions.shape)}, windows {starts.shape}")]
    if len(np.unique(starts)) < len(starts):
        faults.append(("E008", "a window is there twice"))
    if not bool(predictions.isfinite().all()):
        faults.append(("E107", "predictions hold NaN or infinity"))
    truth_path = ground_truth / task / recording / _GROUND_TRUTH
    if not truth_path.exists():
        return [*faults, ("E011", f"there is no {truth_path}")]
    truth = load_file(str(truth_path))
    if set(starts.tolist()) != set(truth["window_timestamps"].tolist()):
        faults.append(("E012", "windows are not those of the ground truth"))
    if decode_entity_ids(tensors["unit_ids"]).tolist() != decode_entity_ids(truth["unit_ids"]).tolist():
        faults.append(("E012", "units, or their order, are not those of the ground truth"))
    return faults


def audit(
    forecasts: Sequence[str | Path], *, folder: str | Path, recordings: Mapping[str, str], tolerance: float = TOLERANCE
) -> str:
    """Score every forecast of a run on both sides, write a submission for each method and check it.

    Submissions hold the sessions of ``recordings``; a method that forecasts a rate of zero has none.

    Args:
        folder: Gets ``agreement.tsv``, ``ground_truth/``, ``submissions/METHOD/`` and ``summary.txt``.
        recordings: The benchmark's name of each IBL session.

    Returns:
        The findings, as text.

    Raises:
        BenchError: Scores differ, or a submission is at fault in more than its number of seeds.
    """
    from ibl_bwb_eval import __version__

    folder = Path(folder)
    compared, zero_rates = score_bwb(forecasts, output=folder / "agreement.tsv", tolerance=tolerance)
    if not compared:
        raise BenchError("there is no forecast that the benchmark can score")
    methods = defaultdict(list)
    for path in forecasts:
        forecast = read_forecast(path)
        if forecast.left_out is None and forecast.session in recordings:
            methods[forecast.method].append(path)
    zero_methods = {name.split()[-1] for name in zero_rates}
    lines = [
        f"ibl-bwb-eval {__version__}: {len(compared)} comparisons of bits per spike and Poisson D2, over "
        f"{len({one.session for one in compared})} sessions and {len({one.method for one in compared})} methods.",
        f"Largest difference: {max(one.difference for one in compared):.1e} (allowed: {tolerance:g}).",
    ]
    if zero_rates:
        lines.append(f"Not compared, since they hold a rate of zero: {', '.join(sorted(zero_methods))}.")
    options = {"folder": folder, "recordings": recordings, "compared": compared, "tolerance": tolerance}
    lines += [_submit(method, methods[method], **options) for method in sorted(methods.keys() - zero_methods)]
    text = "\n".join(lines) + "\n"
    with replacing(folder / "summary.txt") as partial:
        partial.write_text(text)
    return text


def _submit(
    method: str,
    paths: Sequence[str | Path],
    *,
    folder: Path,
    recordings: Mapping[str, str],
    compared: Sequence[Agreement],
    tolerance: float,
) -> str:
    """Write, check and score the submission of one method, and describe it in a line."""
    from ibl_bwb_eval.scoring.ts2 import score_dir

    forecasts = [read_forecast(path) for path in paths]
    truth = folder / "ground_truth"
    for forecast in forecasts:
        write_ground_truth(forecast, folder=truth, recording=recordings[forecast.session])
    submission = folder / "submissions" / method
    written = export_bwb(forecasts, ground_truth=truth, folder=submission, label=method, recordings=recordings)
    deterministic = all(forecast.seed is None for forecast in forecasts)
    findings = check_submission(submission, ground_truth=truth, deterministic=deterministic)
    faults = [one for one in findings if one.code != TOO_FEW_SEEDS]
    if faults:
        raise BenchError(f"the submission of {method} is at fault: {faults[0]}, and {len(faults) - 1} more")
    scores = score_dir(submission, truth)
    before = {
        (recordings[one.session], one.seed): one
        for one in compared
        if one.method == method and one.part == "first" and one.session in recordings
    }
    for (_, _, recording, seed), theirs in scores.items():
        one = before[recording, None if deterministic else seed]
        if not abs(theirs["poisson_d2"] - one.their_poisson_d2) <= tolerance:
            raise BenchError(f"{method}, {recording}: {theirs} as a submission, but {one} from the forecast file")
    if len(scores) != len(written):
        raise BenchError(f"the benchmark scored {len(scores)} of the {len(written)} files of {method}")
    # the leaderboard sets negative scores of a recording to zero
    d2 = np.mean([max(one["poisson_d2"], 0.0) for one in scores.values()])
    note = f"; {findings[0].message}" if findings else ""
    return f"{method}: the submission of {len(written)} files is sound{note}. Poisson D2 as it ranks them: {d2:.4f}."
