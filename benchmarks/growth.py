"""Growth of time and memory with units, with context, with sessions, and with the length of a session."""

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pynwb
import torch
from torch_brain.datasets import Dataset

from benchmarks.loader import dataset_counts, our_batch, our_counts, sampled_windows, window_indices
from benchmarks.memory import peak_of
from benchmarks.recordings import inputs_of, recording, write_recording
from benchmarks.side_by_side import median_seconds
from benchmarks.training_step import forecaster_of, optimiser_step, stream_of
from neurohorizon.cohort import Row
from neurohorizon.config import Config, NwbSource
from neurohorizon.ingest.nwb import ingest_nwb
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.windows import WindowShape
from neurohorizon.models.batch import Tensors
from neurohorizon.models.likelihoods import count_loss
from neurohorizon.session import Session, read_session, write_session
from neurohorizon.timeline import to_s
from neurohorizon.units.reference import compute_reference_file, reference_features


@dataclass(frozen=True)
class Curve:
    """One quantity as a function of a size.

    Attributes:
        panel: Name of the size.
        name: Name of the measured quantity.
        unit: Unit of ``values``.
        sizes: Sizes, [size].
        values: Medians, [size].
    """

    panel: str
    name: str
    unit: str
    sizes: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def slope(self) -> float:
        """Exponent of the best power law: the slope in a log-log plot."""
        return float(np.polyfit(np.log(self.sizes), np.log(self.values), 1)[0])

    def as_dict(self) -> dict:
        """Fields and slope, for JSON."""
        return {**self.__dict__, "slope": self.slope}


def over_units(folder: Path, config: Config, units: Sequence[int], *, duration_s: float, repeats: int) -> list[Curve]:
    """Time loading, a training step and features of one session with rising numbers of units, all of them forecast."""
    windows = 8
    shape = WindowShape.of(config.timeline, config.model)
    points: dict[tuple[str, str], list[float]] = {}
    for n_units in units:
        name = f"units{n_units}"
        paths = write_recording(folder, config, name=name, n_units=n_units, duration_s=duration_s, seed=n_units)
        inputs, session = inputs_of(paths, config), read_session(paths.session)
        origins = sampled_windows([inputs], shape, per_session=windows, seed=1)
        indices = window_indices(origins, shape)
        dataset = Dataset(paths.session.parent, recording_ids=[name])
        measured = {
            ("counts, torch_brain", "s/window"): lambda d=dataset, i=indices, n=n_units, name=name: dataset_counts(
                d, i, {name: n}, shape.bin_us / 1e6
            ),
            ("counts", "s/window"): lambda s=inputs, o=origins: our_counts([s], o, shape),
            ("training batch", "s/window"): lambda s=inputs, o=origins: our_batch([s], o, shape),
            ("training step", "s/window"): _step(inputs, config, windows=windows, units=n_units),
            ("features", "s/session"): lambda s=session: _features(s, config),
        }
        for key, call in measured.items():
            per = windows if key[1] == "s/window" else 1
            points.setdefault(key, []).append(median_seconds(call, repeats=repeats) / per)
    return [Curve("units", name, unit, tuple(units), tuple(values)) for (name, unit), values in points.items()]


def over_context(
    folder: Path, config: Config, contexts: Sequence[int], *, n_units: int, duration_s: float, repeats: int
) -> list[Curve]:
    """Time loading and a training step for rising lengths of context in bins; spans of the readout stay the same."""
    windows = 8
    shortest = min(contexts)
    readout = config.model.readout.model_copy(update={"span_edges_bins": (2, shortest)})
    config = _with(config, model={"readout": readout})
    paths = write_recording(folder, config, name="context", n_units=n_units, duration_s=duration_s, seed=7)
    inputs = inputs_of(paths, config)
    points: dict[str, list[float]] = {}
    for bins in contexts:
        edges = (*(edge for edge in (1, 2, 4, 8) if edge < bins), bins)
        longer = _with(config, timeline={"context_bins": bins}, model={"history_edges_bins": edges})
        shape = WindowShape.of(longer.timeline, longer.model)
        origins = sampled_windows([inputs], shape, per_session=windows, seed=1)
        calls = {
            "counts": lambda o=origins, shape=shape: our_counts([inputs], o, shape),
            "training batch": lambda o=origins, shape=shape: our_batch([inputs], o, shape),
            "training step": _step(inputs, longer, windows=windows, units=n_units),
        }
        for name, call in calls.items():
            points.setdefault(name, []).append(median_seconds(call, repeats=repeats) / windows)
    sizes = tuple(bins * config.timeline.bin_ms / 1000 for bins in contexts)
    return [Curve("context, s", name, "s/window", sizes, tuple(values)) for name, values in points.items()]


def over_sessions(folder: Path, config: Config, numbers: Sequence[int], *, repeats: int) -> list[Curve]:
    """Time opening a cohort, and batches from it, for rising numbers of small sessions."""
    paths = [
        write_recording(folder, config, name=f"cohort{index}", n_units=40, duration_s=60.0, seed=index)
        for index in range(max(numbers))
    ]
    opening, drawing = [], []
    for number in numbers:
        chosen = paths[:number]
        opening.append(median_seconds(lambda p=chosen: [inputs_of(one, config) for one in p], repeats=repeats))
        stream = stream_of([inputs_of(one, config) for one in chosen], config, windows=16)
        one_session = replace(stream, sessions_per_batch=1)
        steps = iter(range(10**6))

        def ten_batches(stream: object = one_session, steps: object = steps) -> None:
            for _ in range(10):
                stream.batch(next(steps))

        drawing.append(median_seconds(ten_batches, repeats=repeats) / 10)
    return [
        Curve("sessions", "opening the cohort", "s", tuple(numbers), tuple(opening)),
        Curve("sessions", "training batch of one session", "s/batch", tuple(numbers), tuple(drawing)),
    ]


def memory_curves(
    folder: Path, config: Config, *, numbers: Sequence[int], lengths_s: Sequence[float], n_units: int
) -> list[Curve]:
    """Measure peak memory of ingest and of features, by number of sessions in one process and by their length."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny = _write_nwb(folder, config, name="tiny", n_units=5, duration_s=60.0, seed=1)
    equal = [
        _write_nwb(folder, config, name=f"equal{index}", n_units=n_units, duration_s=min(lengths_s), seed=index)
        for index in range(max(numbers))
    ]
    longer = [
        _write_nwb(folder, config, name=f"long{index}", n_units=n_units, duration_s=length, seed=index)
        for index, length in enumerate(lengths_s)
    ]
    files = {("sessions in the cohort", number): equal[:number] for number in numbers}
    files |= {("length of a session, s", length): [one] for length, one in zip(lengths_s, longer, strict=True)}
    points: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for (panel, size), chosen in files.items():
        arguments = ([tiny, *chosen], config)
        points.setdefault((panel, "ingest"), []).append((size, peak_of(ingest_all, arguments, before=ingest_first)))
        points.setdefault((panel, "features"), []).append(
            (size, peak_of(features_of_all, arguments, before=features_of_first))
        )
    return [
        Curve(panel, f"memory of {name}", "MB", *(tuple(column) for column in zip(*measured, strict=True)))
        for (panel, name), measured in points.items()
    ]


def ingest_all(files: Sequence[tuple[Path, Path]], config: Config) -> None:
    """Ingest NWB files one after another; in the workflow, each file has its own job."""
    for nwb, out in files[1:]:
        _ingest(nwb, out, config)


def ingest_first(files: Sequence[tuple[Path, Path]], config: Config) -> None:
    """Ingest only the first file, so that all imports are done."""
    _ingest(*files[0], config)


def features_of_all(files: Sequence[tuple[Path, Path]], config: Config) -> None:
    """Compute the feature files of sessions one after another."""
    for _, session in files[1:]:
        _feature_file(session, config)


def features_of_first(files: Sequence[tuple[Path, Path]], config: Config) -> None:
    """Compute only the features of the first session."""
    _feature_file(files[0][1], config)


def _feature_file(session: Path, config: Config) -> None:
    settings = {"features": config.features, "timeline": config.timeline, "splits": config.splits}
    compute_reference_file(session, session.with_suffix(".features"), **settings)


def _ingest(nwb: Path, out: Path, config: Config) -> None:
    row = Row(nwb.stem, "nwb", "made", "made", "2020-01-02", "train", "", "")
    source = NwbSource(
        folder=str(nwb.parent), valid_time="obs_intervals", region="area", behaviour={}, trials=False, unit_filters={}
    )
    write_session(out, ingest_nwb(nwb, row, source=source, splits=config.splits))


def _write_nwb(
    folder: Path, config: Config, *, name: str, n_units: int, duration_s: float, seed: int
) -> tuple[Path, Path]:
    """Write a recording as NWB and as a session file."""
    session = recording(name, config.splits, n_units=n_units, duration_s=duration_s, seed=seed)
    nwb = pynwb.NWBFile(
        session_description="made",
        identifier=name,
        session_start_time=datetime.datetime(2020, 1, 2, 12, tzinfo=datetime.UTC),
        lab="made",
        subject=pynwb.file.Subject(subject_id="made", species="Mus musculus"),
    )
    nwb.add_unit_column("area", "location of the unit")
    order = np.argsort(session.spike_unit, kind="stable")
    trains = np.split(to_s(session.spike_times_us[order]), np.cumsum(np.bincount(session.spike_unit))[:-1])
    for train in trains:
        nwb.add_unit(spike_times=train, obs_intervals=[[0.0, duration_s]], area="CA1")
    path, out = folder / f"{name}.nwb", folder / f"{name}.h5"
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwb)
    write_session(out, session)
    return path, out


def _step(inputs: SessionInputs, config: Config, *, windows: int, units: int) -> Callable[[], None]:
    stream = replace(stream_of([inputs], config, windows=windows), units_per_session=units)
    x = Tensors.of(stream.batch(0))
    torch.manual_seed(0)
    forecaster = forecaster_of(config, [inputs], {})
    return optimiser_step(forecaster, lambda: count_loss(forecaster(x), x))


def _features(session: Session, config: Config) -> np.ndarray:
    return reference_features(
        session.spike_times_us,
        session.spike_unit,
        session.n_units,
        session.domain,
        bin_us=config.timeline.bin_ms * 1000,
        features=config.features,
    ).values


def _with(config: Config, **sections: dict) -> Config:
    changed = {name: getattr(config, name).model_copy(update=update) for name, update in sections.items()}
    return config.model_copy(update=changed)
