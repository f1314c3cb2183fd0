"""A simulated Allen-like release: real ecephys NWB files in a project cache, whose true rates are known.

The folder is one that AllenSDK itself makes and opens without a network, so that every rule after the download
is the real one: ``manifest.json``, the tables of sessions, probes, channels and units, one NWB file a session, and
the templates of the movie and the scenes. One session an animal; session types alternate.

Stimuli
    Blocks of: a gray screen, a movie several times over, natural scenes with gray between, drifting gratings of which
    the last is a blank one. Sessions of ``functional_connectivity`` show the movie with its frames shuffled instead of
    scenes. The pictures are those of :mod:`neurohorizon.ingest.simulated.screen`.

Drive of a unit
    The logarithm of a unit's rate is a weighted sum of
    - the session's shared latents and the unit's slow drift, as in :mod:`neurohorizon.ingest.simulated.ibl`;
    - arousal: a state that wanders over 20 s, which running speed and pupil follow;
    - running speed;
    - the image: its features at the unit's place, of the unit's orientation and wavelength, contrast and brightness,
      squashed, about 60 ms after the image. Their strength depends only on the region: full in the primary visual
      cortex, less in higher visual areas and the visual thalamus, none elsewhere.
    Spikes are drawn from the rates, and the truth is written, by :mod:`neurohorizon.ingest.simulated.spiking`.

About a quarter of the units fail AllenSDK's default filters, in the five ways there are. In the first session all
probes fail for a span, in the second one the screen does. Some animals have no pupil.
"""

import csv
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from neurohorizon.config import SimulatedAllen, Timeline
from neurohorizon.ingest.simulated.screen import (
    MOVIE_FRAME_S,
    ORIENTATIONS_DEG,
    PLACES,
    SCENES,
    features,
    grating,
    gray_screen,
    natural_movie,
    natural_scenes,
)
from neurohorizon.ingest.simulated.spiking import (
    MAXIMUM_RATE_HZ,
    POOR_UNITS,
    STEP_S,
    IntervalLaw,
    check_bins,
    draw_cells,
    draw_spikes,
    drift_basis,
    integrate,
    interval_laws,
    latent_weights,
    shared_latents,
    smooth,
    write_truth,
)

FIRST_SESSION_ID = 700000001
LATENCY_S = (0.05, 0.07)
"""Shortest and longest time from an image to a unit's response."""
SCENE_S = 0.25
"""Time that a scene is shown, and of the gray after it."""
SPONTANEOUS_S = 10.0
GRATING_S, GRATING_GRAY_S = 2.0, 1.0
MARGIN_S = 8.0
"""Recorded before the first stimulus and after the last."""
INVALID_S = (30.0, 36.0)
"""From the first stimulus of the first session on: all probes failed. Spikes of the span are partly lost."""
BAD_SCREEN_S = (15.0, 15.4)
"""From the first stimulus of the second session on: the screen failed; spikes are good."""
RUNNING_HZ, PUPIL_HZ = 60.0, 30.0
CHANNELS = 96
CHANNEL_STEP_UM = 40.0

_FIRST_DATE = date(2019, 1, 14)
_TYPES = ("functional_connectivity", "brain_observatory_1.1")
_MOVIE_OF_TYPE = {
    "brain_observatory_1.1": "natural_movie_one",
    "functional_connectivity": "natural_movie_one_more_repeats",
}
_IMAGE_STREAM = 1
_SESSION_STREAM = 2
_RESPONSE_S = 0.02  # time constant of the response to an image


@dataclass(frozen=True)
class SimulatedAllenSession:
    """Name and place of one simulated session; animals count from 0."""

    index: int

    @property
    def id(self) -> int:
        """Number in the release."""
        return FIRST_SESSION_ID + self.index

    @property
    def session(self) -> str:
        """Name in the cohort table."""
        return str(self.id)

    @property
    def subject(self) -> str:
        """Animal."""
        return f"SIM-A{self.index + 1:02d}"

    @property
    def date(self) -> str:
        """ISO date of the recording."""
        return (_FIRST_DATE + timedelta(days=5 * self.index)).isoformat()

    @property
    def type(self) -> str:
        """Session type, as the release names it."""
        return _TYPES[self.index % len(_TYPES)]


@dataclass(frozen=True)
class Region:
    """How the units of a brain region behave on average.

    Attributes:
        structure: Allen structure id (CCF 2017).
        image: Strength of the image drive, as a share of that of the primary visual cortex.
        coupling: Standard deviation that the latents give to a unit's log rate.
        rate: Factor on the typical rate.
    """

    structure: int
    image: float
    coupling: float
    rate: float


REGIONS = {
    "VISp": Region(385, image=1.0, coupling=0.55, rate=1.0),
    "VISl": Region(409, image=0.85, coupling=0.55, rate=1.0),
    "VISal": Region(402, image=0.8, coupling=0.55, rate=1.0),
    "LGd": Region(170, image=0.85, coupling=0.45, rate=1.4),
    "LP": Region(218, image=0.6, coupling=0.55, rate=1.2),
    "CA1": Region(382, image=0.0, coupling=0.75, rate=0.7),
    "CA3": Region(463, image=0.0, coupling=0.75, rate=0.6),
    "DG": Region(726, image=0.0, coupling=0.7, rate=0.6),
    "APN": Region(215, image=0.0, coupling=0.55, rate=1.5),
}
TRAJECTORIES = (
    (("VISp", 0.5), ("CA1", 0.2), ("DG", 0.1), ("LGd", 0.2)),
    (("VISl", 0.4), ("CA1", 0.2), ("CA3", 0.15), ("LP", 0.25)),
    (("VISal", 0.4), ("CA1", 0.2), ("DG", 0.15), ("APN", 0.25)),
)
"""Regions along a probe, from the surface down, with their shares of its channels. The first is in every animal."""


@dataclass(frozen=True)
class Templates:
    """The pictures of the release.

    Attributes:
        movie: uint8 [frame, y, x].
        scenes: uint8 [scene, y, x].
        features: Features of all pictures, float64 [picture, feature]: gray, movie frames, scenes, gratings.
    """

    movie: np.ndarray
    scenes: np.ndarray
    features: np.ndarray

    @property
    def first_scene(self) -> int:
        """Row of ``features`` of the first scene; frames start at row 1."""
        return 1 + len(self.movie)

    @property
    def first_grating(self) -> int:
        """Row of ``features`` of the first grating."""
        return self.first_scene + len(self.scenes)


@dataclass(frozen=True)
class Shown:
    """Presentations of a session, arrays [presentation].

    Attributes:
        start_s, stop_s: Start and end.
        name: Stimulus of the release.
        block: Number of the run of a stimulus; NaN for the gray screen.
        frame: Frame or scene, in the numbering of the stimulus; NaN where it has none.
        orientation: Of a grating, degrees; NaN where there is none, and for a blank one.
        picture: Row of :attr:`Templates.features`.
    """

    start_s: np.ndarray
    stop_s: np.ndarray
    name: np.ndarray
    block: np.ndarray
    frame: np.ndarray
    orientation: np.ndarray
    picture: np.ndarray

    def at(self, times_s: np.ndarray) -> np.ndarray:
        """Picture on the screen at each time, [time]; gray where nothing is presented."""
        last = np.searchsorted(self.start_s, times_s, side="right") - 1
        inside = (last >= 0) & (times_s < self.stop_s[np.maximum(last, 0)])
        return np.where(inside, self.picture[np.maximum(last, 0)], 0)


def simulated_allen_sessions(simulated: SimulatedAllen) -> tuple[SimulatedAllenSession, ...]:
    """All sessions of the release."""
    return tuple(SimulatedAllenSession(index) for index in range(simulated.animals))


def simulate_allen_release(
    folder: Path, truth_folder: Path, *, simulated_allen: SimulatedAllen, timeline: Timeline, seed: int
) -> None:
    """Write the whole release, and the true expected counts in another folder.

    The same arguments give the same contents; the bytes of NWB files differ in random identifiers. A session depends
    only on the seed, on its own place and on the pictures. A release in the folder is replaced.

    Args:
        folder: AllenSDK cache to fill.
        truth_folder: Folder of ``{session}.h5``; see :func:`neurohorizon.ingest.simulated.spiking.write_truth`.

    Raises:
        ValueError: The bin does not hold whole steps of the rate.
    """
    # AllenSDK is only in the environment of this source; code that only names the sessions does not need it
    from allensdk.brain_observatory.ecephys.ecephys_project_cache import EcephysProjectCache

    check_bins(timeline)
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    EcephysProjectCache.from_warehouse(manifest=str(folder / "manifest.json"))
    templates = make_templates(simulated_allen, seed=seed)
    _write_templates(folder, templates)
    tables: dict[str, list[dict]] = {"sessions": [], "probes": [], "channels": [], "units": []}
    for session in simulated_allen_sessions(simulated_allen):
        made = simulate_allen_session(
            folder, truth_folder, session, simulated=simulated_allen, timeline=timeline, templates=templates, seed=seed
        )
        for name, rows in made.items():
            tables[name] += rows
    for name, rows in tables.items():
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def make_templates(simulated: SimulatedAllen, *, seed: int) -> Templates:
    """Draw the movie and the scenes, and compute the features of all pictures."""
    rng = np.random.default_rng((seed, _IMAGE_STREAM))
    movie = natural_movie(round(simulated.movie_s * 30), rng=rng)
    scenes = natural_scenes(rng=rng)
    gratings = np.stack([grating(orientation) for orientation in ORIENTATIONS_DEG])
    return Templates(movie, scenes, features(np.concatenate([gray_screen()[None], movie, scenes, gratings])))


def _write_templates(folder: Path, templates: Templates) -> None:
    from skimage.io import imsave

    movies, scenes = folder / "natural_movie_templates", folder / "natural_scene_templates"
    movies.mkdir()
    scenes.mkdir()
    with open(movies / "natural_movie_1.h5", "wb") as file:
        np.save(file, templates.movie)  # AllenSDK reads it with np.load, whatever its name
    for number, scene in enumerate(templates.scenes):
        imsave(scenes / f"natural_scene_{number}.tiff", scene, check_contrast=False)


def simulate_allen_session(
    folder: Path,
    truth_folder: Path,
    session: SimulatedAllenSession,
    *,
    simulated: SimulatedAllen,
    timeline: Timeline,
    templates: Templates,
    seed: int,
) -> dict[str, list[dict]]:
    """Write one session's NWB file and its truth, and return its rows of the release's tables, by table."""
    rng = np.random.default_rng((seed, _SESSION_STREAM, session.index))
    shown = show(session, simulated, templates, rng)
    steps = round(np.ceil(shown.stop_s[-1] + MARGIN_S) / STEP_S)
    latents, state = shared_latents(simulated.latents, steps, rng)
    speed = _running_speed(latents[:, 0], state, rng)
    units = _units(session, simulated, rng)
    rate = _rates(units, latents, state, speed, shown, templates, simulated, rng)
    operational = integrate(rate)
    times = draw_spikes(units.laws, operational, rng=rng)
    invalid = _invalid_times(session, shown)
    for start_s, stop_s, *tags in invalid:
        if "all_probes" in tags:
            lost = [(spikes >= start_s) & (spikes < stop_s) & (rng.random(len(spikes)) < 0.5) for spikes in times]
            times = [spikes[~gone] for spikes, gone in zip(times, lost, strict=True)]
    pupil = _pupil(state, rng) if session.index % 3 != 2 else None  # the eye was not tracked in every third session
    path = Path(folder) / f"session_{session.id}" / f"session_{session.id}.nwb"
    path.parent.mkdir(parents=True)
    _write_nwb(path, session, units, times, shown, speed=speed, pupil=pupil, invalid=invalid)
    good = np.flatnonzero(units.good)
    good = good[np.lexsort((units.id[good], units.probe[good]))]  # the order of ingestion
    write_truth(
        Path(truth_folder) / f"{session.session}.h5",
        session=session.session,
        operational=operational[:, good],
        unit_id=[str(units.id[unit]) for unit in good],
        kind=units.kind[good],
        timeline=timeline,
    )
    return _table_rows(session, units, times)


def show(
    session: SimulatedAllenSession, simulated: SimulatedAllen, templates: Templates, rng: np.random.Generator
) -> Shown:
    """The presentations of a session, in order of time."""
    frames = np.arange(len(templates.movie))
    shuffled = rng.permutation(frames)  # the same order whenever it is shown, as in the release
    programme = _Programme(MARGIN_S + rng.uniform(0, 1))
    for _ in range(simulated.blocks):
        programme.rest()
        again = np.tile(frames, simulated.movie_repeats)
        programme.add(_MOVIE_OF_TYPE[session.type], pictures=1 + again, frames=again, lasting_s=MOVIE_FRAME_S)
        if session.type == "functional_connectivity":
            programme.add("natural_movie_one_shuffled", pictures=1 + shuffled, frames=frames, lasting_s=MOVIE_FRAME_S)
        else:
            order = rng.permutation(np.arange(simulated.scenes) % SCENES)
            order[-1] = -1  # a blank sweep
            pictures = np.where(order < 0, 0, templates.first_scene + order)
            programme.add("natural_scenes", pictures=pictures, frames=order, lasting_s=SCENE_S, gray_s=SCENE_S)
        if simulated.gratings:
            kind = rng.permutation(np.arange(simulated.gratings) % len(ORIENTATIONS_DEG))
            blank = np.arange(simulated.gratings) == simulated.gratings - 1
            programme.add(
                "drifting_gratings",
                pictures=np.where(blank, 0, templates.first_grating + kind),
                orientations=np.where(blank, np.nan, np.array(ORIENTATIONS_DEG)[kind]),
                lasting_s=GRATING_S,
                gray_s=GRATING_GRAY_S,
            )
    return programme.shown()


class _Programme:
    """Presentations one after the other, from ``now_s`` on."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s
        self.block = 0
        self._rows: list[tuple] = []

    def rest(self) -> None:
        """A gray screen, which belongs to no block."""
        self._rows.append((self.now_s, self.now_s + SPONTANEOUS_S, "spontaneous", np.nan, np.nan, np.nan, 0))
        self.now_s += SPONTANEOUS_S

    def add(
        self,
        name: str,
        *,
        pictures: np.ndarray,
        lasting_s: float,
        gray_s: float = 0.0,
        frames: np.ndarray | None = None,
        orientations: np.ndarray | None = None,
    ) -> None:
        """A block of one stimulus."""
        unknown = np.full(len(pictures), np.nan)
        frames = unknown if frames is None else frames.astype(float)
        orientations = unknown if orientations is None else orientations
        for picture, frame, orientation in zip(pictures, frames, orientations, strict=True):
            stop_s = self.now_s + lasting_s
            self._rows.append((self.now_s, stop_s, name, float(self.block), frame, orientation, picture))
            self.now_s = stop_s + gray_s
        self.block += 1

    def shown(self) -> Shown:
        """All of them."""
        return Shown(*(np.array(column) for column in zip(*self._rows, strict=True)))


@dataclass(frozen=True)
class _Units:
    """Every unit of a session, good or poor; arrays are [unit]."""

    id: np.ndarray
    probe: np.ndarray
    channel: np.ndarray
    region: np.ndarray
    kind: np.ndarray
    slowness: np.ndarray
    rate_hz: np.ndarray
    quality: Mapping[str, np.ndarray]
    in_brain: np.ndarray
    laws: tuple[IntervalLaw, ...]
    regions_by_probe: tuple[np.ndarray, ...]
    """Region of each channel, by probe; channel 0 is at the tip, the deepest."""

    @property
    def good(self) -> np.ndarray:
        """Whether AllenSDK's default filters keep it, bool [unit]."""
        quality = self.quality
        return (
            (quality["isi_violations"] <= 0.5)
            & (quality["amplitude_cutoff"] <= 0.1)
            & (quality["presence_ratio"] >= 0.95)
            & (quality["quality"] == "good")
            & self.in_brain
        )

    def of_region(self, attribute: str) -> np.ndarray:
        """An attribute of each unit's region, [unit]."""
        return np.array([getattr(REGIONS[name], attribute) for name in self.region])


def _units(session: SimulatedAllenSession, simulated: SimulatedAllen, rng: np.random.Generator) -> _Units:
    """Draw the units of a session, by probe."""
    good = int(rng.integers(simulated.units[0], simulated.units[1] + 1))
    total = good + round(POOR_UNITS * good)
    others = rng.permutation(np.arange(1, len(TRAJECTORIES)))[: rng.integers(1, len(TRAJECTORIES))]
    along = tuple(_regions_along(TRAJECTORIES[index]) for index in (0, *sorted(others)))
    probe = np.sort(rng.integers(len(along), size=total))
    channel = rng.integers(CHANNELS - 1, size=total)
    region = np.array([along[p][c] for p, c in zip(probe, channel, strict=True)])
    kind, slowness, rate_hz = draw_cells(np.array([REGIONS[name].rate for name in region]), rng)

    fault = np.concatenate([np.zeros(good, int), 1 + np.arange(total - good) % 5])[rng.permutation(total)]
    quality = {
        "isi_violations": np.where(fault == 1, rng.uniform(0.6, 3, total), rng.uniform(0, 0.4, total)),
        "amplitude_cutoff": np.where(fault == 2, rng.uniform(0.15, 0.5, total), rng.uniform(0, 0.09, total)),
        "presence_ratio": np.where(fault == 3, rng.uniform(0.3, 0.9, total), rng.uniform(0.96, 1, total)),
        "quality": np.where(fault == 4, "noise", "good"),
    }
    return _Units(
        id=950000000 + 10_000 * session.index + np.arange(total),
        probe=probe,
        channel=np.where(fault == 5, CHANNELS - 1, channel),
        region=region,
        kind=kind,
        slowness=slowness,
        rate_hz=rate_hz,
        quality=quality,
        in_brain=fault != 5,
        laws=interval_laws(kind, rate_hz, slowness, rng),
        regions_by_probe=along,
    )


def _regions_along(trajectory: tuple[tuple[str, float], ...]) -> np.ndarray:
    """Region of each channel, [channel]."""
    deepest_first = trajectory[::-1]
    ends = np.rint(np.cumsum([share for _, share in deepest_first]) * CHANNELS)
    return np.array([name for name, _ in deepest_first])[np.searchsorted(ends, np.arange(CHANNELS), side="right")]


def _rates(
    units: _Units,
    latents: np.ndarray,
    state: np.ndarray,
    speed: np.ndarray,
    shown: Shown,
    templates: Templates,
    simulated: SimulatedAllen,
    rng: np.random.Generator,
) -> np.ndarray:
    """Rate of each unit in Hz, [step, unit]."""
    total, steps = len(units.id), len(state)
    weights = np.concatenate(
        [
            latent_weights(
                units.slowness,
                units.of_region("coupling"),
                units.of_region("structure"),
                latents=latents.shape[1],
                rng=rng,
            ),
            (0.15 + 0.1 * rng.standard_normal(total))[None],
            (0.1 + 0.15 * rng.standard_normal(total))[None],
            # three waves of unit variance each
            simulated.drift / np.sqrt(3) * rng.standard_normal((6, total)),
        ]
    )
    drive = np.column_stack([latents, state, speed / max(float(speed.std()), 1.0), drift_basis(steps)])
    strength = units.of_region("image") * np.exp(0.2 * rng.standard_normal(total) - 0.02)
    log_rate = drive @ weights
    log_rate += simulated.image_drive * strength * image_drive(units.probe, shown, templates, steps=steps, rng=rng)
    with np.errstate(over="raise"):
        rate = np.exp(log_rate)
    return np.minimum(rate * (units.rate_hz / rate.mean(axis=0)), MAXIMUM_RATE_HZ)


def image_drive(
    probe: np.ndarray, shown: Shown, templates: Templates, *, steps: int, rng: np.random.Generator
) -> np.ndarray:
    """Drive of each unit by the screen, of about unit variance over the movie, [step, unit].

    The units of a probe respond to one part of the screen, and each prefers an orientation and a wavelength.
    """
    weights = _image_weights(probe, templates.features.shape[1], rng)
    response = templates.features / templates.features[1 : templates.first_grating].std(axis=0) @ weights
    movie = response[1 : templates.first_scene]
    response = np.tanh((response - movie.mean(axis=0)) / (1.5 * movie.std(axis=0)))
    response /= response[1 : templates.first_scene].std(axis=0)
    lag = rng.integers(round(LATENCY_S[0] / STEP_S), round(LATENCY_S[1] / STEP_S) + 1, size=len(probe))
    picture = shown.at((np.arange(steps) + 0.5) * STEP_S)
    late = np.maximum(np.arange(steps)[:, None] - lag, 0)
    keep = np.exp(-STEP_S / _RESPONSE_S)
    return lfilter([1 - keep], [1, -keep], response[picture[late], np.arange(len(probe))], axis=0)


def _image_weights(probe: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Weights on the features, [feature, unit]."""
    rows, columns = PLACES
    orientations = len(ORIENTATIONS_DEG)
    kinds = count // (rows * columns)
    wavelengths = (kinds - 2) // orientations
    y, x = np.divmod(np.arange(rows * columns), columns)
    retinotopy = rng.random((probe.max() + 1, 2)) * [rows - 1, columns - 1]
    centre = retinotopy[probe] + 0.5 * rng.standard_normal((len(probe), 2))
    distance = (y - centre[:, :1]) ** 2 + (x - centre[:, 1:]) ** 2
    place = np.exp(-distance / 2)
    preferred = np.deg2rad(rng.uniform(0, 180, len(probe)))
    tuning = np.cos(2 * (np.deg2rad(ORIENTATIONS_DEG) - preferred[:, None]))
    coarse = rng.uniform(0, 1, len(probe))
    wavelength = np.stack([1 - coarse, coarse], axis=1)[:, :wavelengths]
    kind = np.zeros((len(probe), kinds))
    # opposite orientations inhibit, so that a unit does not follow only contrast
    energy = wavelength[:, :, None] * (0.3 + tuning)[:, None]
    kind[:, :-2] = energy.reshape(len(probe), -1)
    kind[:, -2] = 0.5 * rng.standard_normal(len(probe))
    kind[:, -1] = 0.7 * rng.standard_normal(len(probe))
    return (place[:, :, None] * kind[:, None]).reshape(len(probe), -1).T


def _running_speed(follower: np.ndarray, state: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Running speed in cm/s, [step]: bouts while the animal is aroused, jitter while it is not."""
    bouts = np.maximum(18.0 * np.maximum(state, 0) + 6.0 * (state > 0) * smooth(follower, 30), 0)
    return smooth(bouts, 20) + 0.3 * smooth(rng.standard_normal(len(state)), 5)


def _pupil(state: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Times in s and area of the pupil in cm2, [sample]; NaN in blinks."""
    times_s = np.arange(0, len(state) * STEP_S, 1 / PUPIL_HZ)
    area = 0.012 * np.exp(0.25 * smooth(state, 100) + 0.03 * smooth(rng.standard_normal(len(state)), 10))
    sampled = np.interp(times_s, np.arange(len(state)) * STEP_S, area)
    blinks = rng.integers(len(times_s), size=len(times_s) // 600)
    sampled[(blinks[:, None] + np.arange(6)).clip(max=len(times_s) - 1).ravel()] = np.nan
    return times_s, sampled


def _invalid_times(session: SimulatedAllenSession, shown: Shown) -> list[tuple]:
    """Start, stop and tags of the times that the release marks as invalid."""
    found = {0: (INVALID_S, "all_probes"), 1: (BAD_SCREEN_S, "stimulus")}
    if session.index not in found:
        return []
    (start_s, stop_s), tag = found[session.index]
    first_s = shown.start_s[0]
    return [(first_s + start_s, first_s + stop_s, "EcephysSession", str(session.id), tag)]


def _probe_id(session: SimulatedAllenSession, probe: int) -> int:
    return 760000000 + 10 * session.index + probe


def _channel_id(session: SimulatedAllenSession, probe: int, channel: int) -> int:
    return 850000000 + 1000 * (10 * session.index + probe) + channel


def _probe_name(probe: int) -> str:
    return f"probe{'ABCDEF'[probe]}"


def _channel_region(units: _Units, probe: int, channel: int) -> str:
    """Region of a channel; the uppermost one is out of the brain."""
    return "" if channel == CHANNELS - 1 else str(units.regions_by_probe[probe][channel])


def _write_nwb(
    path: Path,
    session: SimulatedAllenSession,
    units: _Units,
    times: list[np.ndarray],
    shown: Shown,
    *,
    speed: np.ndarray,
    pupil: tuple[np.ndarray, np.ndarray] | None,
    invalid: list[tuple],
) -> None:
    """Write the session as the Allen Institute does: pynwb and its extension for electrophysiology."""
    # importing AllenSDK's classes registers the extension
    from allensdk.brain_observatory.ecephys.nwb import EcephysSpecimen
    from pynwb import NWBHDF5IO, NWBFile

    nwb = NWBFile(
        session_description="Data and metadata for an Ecephys session",
        identifier=str(session.id),
        session_id=str(session.id),
        session_start_time=datetime.combine(date.fromisoformat(session.date), datetime.min.time(), UTC),
        institution="simulated",
        stimulus_notes=session.type,
    )
    nwb.subject = EcephysSpecimen(
        subject_id=session.subject,
        specimen_name=session.subject,
        genotype="wt/wt",
        strain="simulated",
        sex="F",
        species="Mus musculus",
        age="P110D",
        age_in_days=110.0,
    )
    _add_electrodes(nwb, session, units)
    _add_stimuli(nwb, shown)
    _add_units(nwb, session, units, times)
    _add_behaviour(nwb, speed, pupil)
    for start_s, stop_s, *tags in invalid:
        nwb.add_invalid_time_interval(start_time=start_s, stop_time=stop_s, tags=tags)
    with NWBHDF5IO(path, "w") as file:
        file.write(nwb)


def _add_electrodes(nwb: object, session: SimulatedAllenSession, units: _Units) -> None:
    from allensdk.brain_observatory.ecephys.nwb import EcephysElectrodeGroup, EcephysProbe

    for name, described in (
        ("probe_vertical_position", "microns from the tip"),
        ("probe_horizontal_position", "microns"),
        ("probe_id", "identifier of the probe"),
        ("probe_channel_number", "number on the probe"),
        ("valid_data", "whether the channel is usable"),
    ):
        nwb.add_electrode_column(name=name, description=described)
    for probe in range(len(units.regions_by_probe)):
        name, probe_id = _probe_name(probe), _probe_id(session, probe)
        device = EcephysProbe(
            name=name, description="Neuropixels 1.0", manufacturer="imec", probe_id=probe_id, sampling_rate=30000.0
        )
        group = EcephysElectrodeGroup(
            name=name,
            description="Ecephys Electrode Group",
            probe_id=probe_id,
            location="See electrode locations",
            device=device,
            lfp_sampling_rate=1250.0,
            has_lfp_data=False,
        )
        nwb.add_device(device)
        nwb.add_electrode_group(group)
        for channel in range(CHANNELS):
            nwb.add_electrode(
                id=_channel_id(session, probe, channel),
                x=8000.0,
                y=4000.0 - CHANNEL_STEP_UM * channel,
                z=9000.0,
                imp=float("nan"),
                filtering="none",
                group=group,
                location=_channel_region(units, probe, channel) or "None",
                probe_vertical_position=round(CHANNEL_STEP_UM * channel),
                probe_horizontal_position=(43, 11, 59, 27)[channel % 4],
                probe_id=probe_id,
                probe_channel_number=channel,
                valid_data=True,
            )


def _add_stimuli(nwb: object, shown: Shown) -> None:
    """Add one table for each stimulus, as AllenSDK expects."""
    from hdmf.common import VectorData
    from pynwb.epoch import TimeIntervals

    for name in dict.fromkeys(shown.name.tolist()):
        rows = np.flatnonzero(shown.name == name)
        columns = {
            "start_time": shown.start_s[rows],
            "stop_time": shown.stop_s[rows],
            "stimulus_name": [name] * len(rows),
            "stimulus_block": shown.block[rows],
            "stimulus_index": np.nan_to_num(shown.block[rows], nan=-1).astype(int),
            "frame": shown.frame[rows],
            "orientation": shown.orientation[rows],
            "color": [""] * len(rows),
        }
        nwb.add_time_intervals(
            TimeIntervals(
                name=f"{name}_presentations",
                description=f"Presentation times and stimuli details for {name}",
                columns=[VectorData(name=key, description=key, data=values) for key, values in columns.items()],
            )
        )


def _add_units(nwb: object, session: SimulatedAllenSession, units: _Units, times: list[np.ndarray]) -> None:
    columns = _unit_columns(session, units, times)
    for name in columns:
        nwb.add_unit_column(name=name, description=name)
    nwb.add_unit_column(name="spike_amplitudes", description="V", index=True)
    for unit, spikes in enumerate(times):
        nwb.add_unit(
            id=int(units.id[unit]),
            spike_times=spikes,
            spike_amplitudes=np.full(len(spikes), 1e-4, np.float32),
            waveform_mean=np.zeros((1, 20)),
            **{name: values[unit] for name, values in columns.items()},
        )


def _unit_columns(session: SimulatedAllenSession, units: _Units, times: list[np.ndarray]) -> dict[str, list]:
    """Columns of single values that the NWB file and the table of units have, [unit] each."""
    channels = zip(units.probe.tolist(), units.channel.tolist(), strict=True)
    seconds = [max(np.ptp(spikes), 1.0) if len(spikes) else 1.0 for spikes in times]
    return {
        "peak_channel_id": [_channel_id(session, probe, channel) for probe, channel in channels],
        "local_index": list(range(len(units.id))),
        "cluster_id": list(range(len(units.id))),
        **{name: values.tolist() for name, values in units.quality.items()},
        "firing_rate": [len(spikes) / span for spikes, span in zip(times, seconds, strict=True)],
        "snr": [3.0] * len(units.id),
        "waveform_duration": np.where(units.kind == "refractory", 0.25, 0.6).tolist(),
    }


def _add_behaviour(nwb: object, speed: np.ndarray, pupil: tuple[np.ndarray, np.ndarray] | None) -> None:
    from pynwb import TimeSeries

    times_s = np.arange(0, (len(speed) - 1) * STEP_S - 1 / RUNNING_HZ, 1 / RUNNING_HZ)
    values = np.interp(times_s + 0.5 / RUNNING_HZ, (np.arange(len(speed)) + 0.5) * STEP_S, speed)
    running = nwb.create_processing_module("running", "running speed")
    for name, stamps, data, unit in (
        ("running_speed", times_s, values, "cm/s"),
        ("running_speed_end_times", times_s + 1 / RUNNING_HZ, values, "cm/s"),
        ("running_wheel_rotation", times_s, values / RUNNING_HZ / 8.255, "radians"),
    ):
        running.add(TimeSeries(name=name, timestamps=stamps, data=data, unit=unit))
    if pupil is None:
        return
    times_s, area = pupil
    place = np.zeros((len(times_s), 2))
    for module, known in (("raw_gaze_mapping", np.nan_to_num(area, nan=0.001)), ("filtered_gaze_mapping", area)):
        gaze = nwb.create_processing_module(module, "gaze on the screen")
        for name, data, unit in (
            ("eye_area", np.full(len(times_s), 0.06), "cm^2"),
            ("pupil_area", known, "cm^2"),
            ("screen_coordinates", place, "cm"),
            ("screen_coordinates_spherical", place, "degrees"),
        ):
            gaze.add(TimeSeries(name=name, timestamps=times_s, data=data, unit=unit))


def _table_rows(session: SimulatedAllenSession, units: _Units, times: list[np.ndarray]) -> dict[str, list[dict]]:
    """The session's rows of the tables of the release."""
    probes = range(len(units.regions_by_probe))
    columns = _unit_columns(session, units, times)
    columns["ecephys_channel_id"] = columns.pop("peak_channel_id")
    return {
        "sessions": [
            {
                "id": session.id,
                "date_of_acquisition": f"{session.date}T08:00:00Z",
                "isi_experiment_id": session.id,
                "published_at": f"{session.date}T00:00:00Z",
                "specimen_id": session.subject,
                "session_type": session.type,
                "age_in_days": 110.0,
                "sex": "F",
                "genotype": "wt/wt",
                "has_nwb": True,
            }
        ],
        "probes": [
            {
                "id": _probe_id(session, probe),
                "air_channel_index": CHANNELS,
                "ecephys_session_id": session.id,
                "lfp_sampling_rate": 2500.0,
                "lfp_temporal_subsampling_factor": 2.0,
                "name": _probe_name(probe),
                "phase": "3a",
                "sampling_rate": 30000.0,
                "surface_channel_index": CHANNELS - 1,
                "has_lfp_data": False,
            }
            for probe in probes
        ],
        "channels": [
            {
                "id": _channel_id(session, probe, channel),
                "ecephys_probe_id": _probe_id(session, probe),
                "local_index": channel,
                "probe_horizontal_position": (43, 11, 59, 27)[channel % 4],
                "probe_vertical_position": round(CHANNEL_STEP_UM * channel),
                "anterior_posterior_ccf_coordinate": 8000.0,
                "dorsal_ventral_ccf_coordinate": 4000.0 - CHANNEL_STEP_UM * channel,
                "left_right_ccf_coordinate": 9000.0,
                "ecephys_structure_id": float(REGIONS[name].structure) if name else "",
                "ecephys_structure_acronym": name,
            }
            for probe in probes
            for channel in range(CHANNELS)
            for name in [_channel_region(units, probe, channel)]
        ],
        "units": [
            {"id": int(units.id[unit]), **{name: values[unit] for name, values in columns.items()}}
            for unit in range(len(units.id))
        ],
    }
