"""A simulated release: real ALF files of invented animals, whose true rates are known.

The files are those of an International Brain Laboratory release (Neuropixels recordings of mice in a visual
decision task), so that every rule after the download is the real one.

Drive of a unit
    The logarithm of a unit's rate is a weighted sum of
    - shared latents of the session: stationary Ornstein-Uhlenbeck processes of unit variance with timescales
      from 0.1 to 2 s, the slower the stronger, the last of them a damped oscillator of 4 to 8 Hz;
    - one behavioural state that wanders over 20 s, shared by almost all units with the same sign;
    - the task: stimulus (by side and contrast), movement (by side), feedback (reward or error), each through
      raised-cosine kernels, and the block's prior;
    - the wheel: its velocity and its speed. The wheel turns towards the choice, and follows one latent when
      the animal is active; the same latent biases the choice.
    - a slow drift of the unit's own.
    The rate is constant within steps of 10 ms, capped at 150 Hz, and scaled so that its mean over the session
    is the unit's own (lognormal over units, about 0.5 to 25 Hz).

How units differ
    A unit has a region, a cell type and a *slowness* in [0, 1]. Slowness depends on the type and sets the timescales of
    the unit's latents; the type sets the interval law and the typical rate; the region sets how strongly the unit
    follows the latents and the task, and with which signs. So the statistics of a single unit (rate, interval
    variability, autocorrelation) contain some information on its coupling to others, but not all.

:mod:`neurohorizon.ingest.simulated.spiking` draws spikes from the rates and defines the truth.
"""

import shutil
import uuid
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.config import SimulatedSource, Timeline
from neurohorizon.ingest.ibl_one import index_release
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

SILENT_SHARE = 0.6
"""Share of the session, from its start, in which a silent unit has rate zero."""
DUPLICATED_SPIKES = 5
"""Spikes written twice in the first session, a fault that real sorting has too."""

_FIRST_DATE = date(2021, 3, 1)
_SORTER = "pykilosort"
_CHANNELS = 384
_ENCODER_TICK_RAD = 2 * np.pi / 4096  # the rotary encoder of the rig, four counts a line
_WHEEL_TURN_RAD = 0.6


@dataclass(frozen=True)
class SimulatedSession:
    """Name and place of one simulated session; labs, animals and sessions count from 0."""

    lab_index: int
    animal_index: int
    session_index: int

    @property
    def lab(self) -> str:
        """Laboratory; ALF lab names take no hyphen."""
        return f"sim_lab_{self.lab_index + 1}"

    @property
    def subject(self) -> str:
        """Animal."""
        return f"SIM-{self.lab_index + 1}{self.animal_index + 1:02d}"

    @property
    def date(self) -> str:
        """ISO date of the recording."""
        days = 31 * self.lab_index + 7 * self.animal_index + self.session_index
        return (_FIRST_DATE + timedelta(days=days)).isoformat()

    @property
    def number(self) -> int:
        """Number of the session on its day."""
        return 1

    @property
    def session(self) -> str:
        """Name in the cohort table."""
        return f"{self.lab}_{self.subject}_{self.date}"

    @property
    def folder(self) -> Path:
        """Place in the release, as ONE lays it out."""
        return Path(self.lab, "Subjects", self.subject, self.date, f"{self.number:03d}")


@dataclass(frozen=True)
class Region:
    """How the units of a brain region behave on average.

    Attributes:
        structure: Allen structure id (CCF 2017), as in ``channels.brainLocationIds_ccf_2017``.
        coupling: Standard deviation that the latents give to a unit's log rate.
        stimulus, movement, feedback: Strength of the task kernels, in log rate.
        rate: Factor on the typical rate.
    """

    structure: int
    coupling: float
    stimulus: float
    movement: float
    feedback: float
    rate: float


REGIONS = {
    "VISp5": Region(778, coupling=0.70, stimulus=0.8, movement=0.3, feedback=0.2, rate=1.0),
    "VISam5": Region(433, coupling=0.75, stimulus=0.6, movement=0.4, feedback=0.2, rate=0.9),
    "MOs5": Region(767, coupling=0.80, stimulus=0.2, movement=0.8, feedback=0.5, rate=0.9),
    "ACAd5": Region(1015, coupling=0.75, stimulus=0.2, movement=0.5, feedback=0.6, rate=0.8),
    "CA1": Region(382, coupling=0.90, stimulus=0.1, movement=0.3, feedback=0.4, rate=0.7),
    "DG-mo": Region(10703, coupling=0.85, stimulus=0.1, movement=0.2, feedback=0.3, rate=0.6),
    "CP": Region(672, coupling=0.65, stimulus=0.2, movement=0.7, feedback=0.7, rate=0.8),
    "LP": Region(218, coupling=0.70, stimulus=0.5, movement=0.4, feedback=0.2, rate=1.3),
    "PO": Region(1020, coupling=0.65, stimulus=0.2, movement=0.6, feedback=0.2, rate=1.3),
    "VPM": Region(733, coupling=0.60, stimulus=0.1, movement=0.6, feedback=0.2, rate=1.4),
    "SCm": Region(294, coupling=0.70, stimulus=0.6, movement=0.7, feedback=0.3, rate=1.5),
    "MRN": Region(128, coupling=0.75, stimulus=0.2, movement=0.9, feedback=0.4, rate=1.6),
    "ZI": Region(797, coupling=0.70, stimulus=0.2, movement=0.8, feedback=0.3, rate=1.4),
}
TRAJECTORIES = (
    ("VISam5", "CA1", "DG-mo", "LP", "PO"),
    ("MOs5", "ACAd5", "CP"),
    ("VISp5", "SCm", "MRN"),
    ("MOs5", "CP", "VPM", "ZI"),
)
"""Regions along a probe, from the surface down."""


def simulated_sessions(simulated: SimulatedSource) -> tuple[SimulatedSession, ...]:
    """All sessions of the release, by lab, animal and day."""
    return tuple(
        SimulatedSession(lab, animal, number)
        for lab in range(simulated.labs)
        for animal in range(simulated.animals_per_lab)
        for number in range(simulated.sessions_per_animal)
    )


def simulate_release(
    folder: Path, truth_folder: Path, *, simulated: SimulatedSource, timeline: Timeline, seed: int
) -> None:
    """Write the whole release, its ONE tables, and the true expected counts in another folder.

    The same arguments give the same bytes. A session depends only on the seed and its own place, so the release may
    grow without changing the sessions that it has. Simulated labs already in the folder are replaced.

    Args:
        folder: ONE folder to fill.
        truth_folder: Folder of ``{session}.h5``; see :func:`neurohorizon.ingest.simulated.spiking.write_truth`.
    """
    for lab in sorted(Path(folder).glob("sim_lab_*")):
        shutil.rmtree(lab)
    for session in simulated_sessions(simulated):
        simulate_session(folder, truth_folder, session, simulated=simulated, timeline=timeline, seed=seed)
    index_release(folder)


def simulate_session(
    folder: Path,
    truth_folder: Path,
    session: SimulatedSession,
    *,
    simulated: SimulatedSource,
    timeline: Timeline,
    seed: int,
) -> None:
    """Write one session's ALF files and its truth; see :func:`simulate_release`.

    Raises:
        ValueError: The bin does not hold whole steps of the rate.
    """
    check_bins(timeline)
    place = (session.lab_index, session.animal_index, session.session_index)
    rng = np.random.default_rng((seed, *place))
    steps = round(simulated.duration_s / STEP_S)
    latents, state = shared_latents(simulated.latents, steps, rng)
    trials = _trials(simulated.duration_s, bias=smooth(latents[:, 0], 50), rng=rng)
    velocity = _wheel_velocity(trials, follower=latents[:, 0] * (state > 0), rng=rng)
    drive = np.column_stack([latents, state, _task(trials, velocity), drift_basis(steps)])

    units = _units(simulated, drive, latents.shape[1], rng)
    times = draw_spikes(units.laws, units.operational, rng=rng)
    if place == (0, 0, 0):
        busiest = int(np.argmax(units.operational[-1] * (units.label == 1)))
        middle = len(times[busiest]) // 2
        times[busiest] = np.sort(np.append(times[busiest], times[busiest][middle : middle + DUPLICATED_SPIKES]))

    alf = Path(folder) / session.folder / "alf"
    order = []
    for probe in np.unique(units.probe):
        members = np.flatnonzero(units.probe == probe)
        members = members[rng.permutation(len(members))]
        order.extend(members)
        _write_probe(alf / f"probe{probe:02d}" / _SORTER, units, members, times, rng)
    _write_behaviour(alf, trials, velocity, rng)
    # the good units in the order of ingestion: by probe, then by cluster
    good = [unit for unit in order if units.label[unit] == 1]
    write_truth(
        Path(truth_folder) / f"{session.session}.h5",
        session=session.session,
        operational=units.operational[:, good],
        unit_id=[f"probe{units.probe[unit]:02d}:{units.uuid[unit]}" for unit in good],
        kind=units.kind[good],
        timeline=timeline,
    )


@dataclass(frozen=True)
class _Units:
    """Every unit of a session, good or poor; arrays are [unit] unless stated otherwise."""

    kind: np.ndarray
    probe: np.ndarray
    channel: np.ndarray
    label: np.ndarray
    uuid: np.ndarray
    laws: tuple[IntervalLaw, ...]
    operational: np.ndarray
    """Integral of the rate at the step edges, [step + 1, unit]."""
    structures: dict[int, np.ndarray]
    """Allen structure id of each channel, by probe."""


def _trials(duration_s: float, *, bias: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """The trials table of the task, in the columns of ``_ibl_trials.table``; times in seconds.

    After 90 unbiased trials the stimulus is on one side with probability 0.8 in blocks of 20 to 100 trials.
    ``choice`` is 1 for a turn in response to a stimulus on the left, -1 on the right, as in the releases.
    """
    rows = []
    start_s, block, left_in_block = 5.0, 0.5, 90
    while True:
        if left_in_block == 0:
            block = rng.choice([0.2, 0.8]) if block == 0.5 else 1.0 - block
            left_in_block = int(rng.integers(20, 100))
        left_in_block -= 1
        left = rng.random() < block
        contrast = rng.choice([1.0, 0.25, 0.125, 0.0625, 0.0])
        on_s = start_s + 0.5 + rng.uniform(0.4, 0.7)
        evidence = (1 if left else -1) * 6.0 * contrast + 2.0 * (block - 0.5) + 0.4 * bias[int(on_s / STEP_S)]
        choice = 1.0 if rng.random() < 1 / (1 + np.exp(-evidence)) else -1.0
        move_s = on_s + 0.12 + rng.lognormal(np.log(0.15 + 0.15 * (1 - contrast)), 0.4)
        response_s = move_s + rng.uniform(0.15, 0.4)
        correct = choice == (1.0 if left else -1.0)
        end_s = response_s + (1.0 if correct else 2.0) + rng.uniform(0.3, 0.8)
        if end_s > duration_s - 2.0:
            return pd.DataFrame(rows)
        rows.append(
            {
                "intervals_0": start_s,
                "intervals_1": end_s,
                "stimOn_times": on_s,
                "goCue_times": on_s + 0.001,
                "firstMovement_times": move_s,
                "response_times": response_s,
                "feedback_times": response_s + 0.002,
                "choice": choice,
                "feedbackType": 1.0 if correct else -1.0,
                "rewardVolume": 1.5 if correct else 0.0,
                "contrastLeft": contrast if left else np.nan,
                "contrastRight": np.nan if left else contrast,
                "probabilityLeft": block,
            }
        )
        start_s = end_s + 0.01


def _wheel_velocity(trials: pd.DataFrame, *, follower: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Wheel velocity in rad/s, [step]: a turn to the chosen side in each trial, and the latent it follows."""
    velocity = 0.3 * smooth(follower, 5) + 0.02 * rng.standard_normal(len(follower))
    first = np.floor(trials["firstMovement_times"].to_numpy() / STEP_S).astype(int)
    last = np.floor(trials["response_times"].to_numpy() / STEP_S).astype(int) + 5
    for begin, end, choice in zip(first, last, trials["choice"], strict=True):
        bump = np.hanning(end - begin + 2)[1:-1]
        velocity[begin:end] += choice * _WHEEL_TURN_RAD * bump / (bump.sum() * STEP_S)
    return velocity


def _task(trials: pd.DataFrame, velocity: np.ndarray) -> np.ndarray:
    """Regressors of the task, [step, regressor]: three kernels for each of six events, wheel and prior."""
    left = trials["contrastLeft"].notna().to_numpy()
    contrast = trials["contrastLeft"].fillna(trials["contrastRight"]).to_numpy()
    seen = contrast / (contrast + 0.2)
    choice_left = trials["choice"].to_numpy() > 0
    reward = trials["feedbackType"].to_numpy() > 0
    stimulus, movement, feedback = (0.05, 0.12, 0.3), (-0.06, 0.06, 0.2), (0.1, 0.3, 0.7)
    events = [
        ("stimOn_times", seen * left, stimulus),
        ("stimOn_times", seen * ~left, stimulus),
        ("firstMovement_times", 1.0 * choice_left, movement),
        ("firstMovement_times", 1.0 * ~choice_left, movement),
        ("feedback_times", 1.0 * reward, feedback),
        ("feedback_times", 1.0 * ~reward, feedback),
    ]
    columns = [
        _bumps(trials[column].to_numpy() + delay, weight, 0.5 * abs(delay) + 0.04, len(velocity))
        for column, weight, delays in events
        for delay in delays
    ]
    prior = np.full(len(velocity), 0.0)
    for start_s, probability in zip(trials["intervals_0"], trials["probabilityLeft"], strict=True):
        prior[int(start_s / STEP_S) :] = 2 * probability - 1
    return np.column_stack([*columns, velocity / 2.0, np.abs(velocity) / 2.0, prior])


_STIMULUS, _MOVEMENT, _FEEDBACK, _WHEEL, _PRIOR = slice(0, 6), slice(6, 12), slice(12, 18), slice(18, 20), 20
_TASK_REGRESSORS = 21


def _bumps(centres_s: np.ndarray, weights: np.ndarray, half_width_s: float, steps: int) -> np.ndarray:
    """Sum of raised cosines of height ``weights``, [step]."""
    reach = int(np.ceil(half_width_s / STEP_S))
    step = np.round(centres_s / STEP_S).astype(int)[:, None] + np.arange(-reach, reach + 1)
    distance_s = (step + 0.5) * STEP_S - centres_s[:, None]
    height = 0.5 * (1 + np.cos(np.pi * np.clip(distance_s / half_width_s, -1, 1))) * weights[:, None]
    inside = (step >= 0) & (step < steps)
    return np.bincount(step[inside], weights=height[inside], minlength=steps)


def _units(simulated: SimulatedSource, drive: np.ndarray, latents: int, rng: np.random.Generator) -> _Units:
    """Draw the units of a session and integrate their rates along the drive [step, regressor]."""
    good = int(rng.integers(simulated.units[0], simulated.units[1] + 1))
    total = good + round(POOR_UNITS * good)
    trajectories = rng.permutation(len(TRAJECTORIES))[: rng.integers(1, 3)]
    probe = np.sort(rng.integers(len(trajectories), size=total))
    channel = rng.integers(_CHANNELS, size=total)
    regions_by_probe = {
        index: _regions_along(TRAJECTORIES[trajectory]) for index, trajectory in enumerate(trajectories)
    }
    regions = [REGIONS[regions_by_probe[p][c]] for p, c in zip(probe, channel, strict=True)]
    kind, slowness, rate_hz = draw_cells(np.array([region.rate for region in regions]), rng)

    weights = np.concatenate(
        [
            latent_weights(
                slowness,
                np.array([region.coupling for region in regions]),
                np.array([region.structure for region in regions]),
                latents=latents,
                rng=rng,
            ),
            (0.25 + 0.1 * rng.standard_normal(total))[None],
            _task_weights(slowness, regions, rng),
            # three waves of unit variance each
            simulated.drift / np.sqrt(3) * rng.standard_normal((6, total)),
        ]
    )
    with np.errstate(over="raise"):
        rate = np.exp(drive @ weights)
    rate = np.minimum(rate * (rate_hz / rate.mean(axis=0)), MAXIMUM_RATE_HZ)

    labels = np.where(np.arange(total) < good, 1.0, rng.choice([0.0, 1 / 3, 2 / 3], size=total))
    labels = labels[rng.permutation(total)]
    silent = rng.choice(np.flatnonzero(labels == 1), size=min(simulated.silent_units, good - 1), replace=False)
    rate[: int(SILENT_SHARE * len(rate)), silent] = 0.0
    return _Units(
        kind=kind,
        probe=probe,
        channel=channel,
        label=labels,
        uuid=np.array([str(uuid.UUID(bytes=rng.bytes(16), version=4)) for _ in range(total)]),
        laws=interval_laws(kind, rate_hz, slowness, rng),
        operational=integrate(rate),
        structures={
            index: np.array([REGIONS[name].structure for name in along]) for index, along in regions_by_probe.items()
        },
    )


def _regions_along(trajectory: tuple[str, ...]) -> list[str]:
    """Region of each channel, [channel]; channel 0 is at the tip, the deepest."""
    deepest_first = trajectory[::-1]
    return [deepest_first[channel * len(trajectory) // _CHANNELS] for channel in range(_CHANNELS)]


def _task_weights(slowness: np.ndarray, regions: list[Region], rng: np.random.Generator) -> np.ndarray:
    """Weights on the task regressors, [regressor, unit]; fast units follow events more sharply."""
    weights = np.zeros((_TASK_REGRESSORS, len(slowness)))
    sharp = 1.3 - 0.6 * slowness
    for part, name in ((_STIMULUS, "stimulus"), (_MOVEMENT, "movement"), (_FEEDBACK, "feedback")):
        strength = np.array([getattr(region, name) for region in regions]) * sharp
        weights[part] = strength * (0.25 + 0.45 * rng.standard_normal((6, len(slowness))))
    movement = np.array([region.movement for region in regions])
    weights[_WHEEL] = 0.3 * movement * rng.standard_normal((2, len(slowness)))
    weights[_PRIOR] = 0.1 * rng.standard_normal(len(slowness))
    return weights


def _write_probe(
    folder: Path, units: _Units, members: np.ndarray, times: list[np.ndarray], rng: np.random.Generator
) -> None:
    """Write one probe's spike sorting; ``members`` are its units in the order of their cluster numbers."""
    folder.mkdir(parents=True)
    count = np.array([len(times[unit]) for unit in members])
    clusters = np.repeat(np.arange(len(members)), count)
    spike_times = np.concatenate([times[unit] for unit in members])
    order = np.argsort(spike_times, kind="stable")
    clusters, spike_times = clusters[order].astype(np.int32), spike_times[order]
    channel = units.channel[members]
    depth_um = 20.0 * (channel // 2)
    amplitude = 5e-5 * np.exp(0.4 * rng.standard_normal(len(members)))

    np.save(folder / "spikes.times.npy", spike_times)
    np.save(folder / "spikes.clusters.npy", clusters)
    noise = rng.standard_normal(len(clusters), dtype=np.float32)
    np.save(folder / "spikes.amps.npy", amplitude[clusters].astype(np.float32) * (1 + 0.1 * noise))
    np.save(folder / "spikes.depths.npy", depth_um[clusters].astype(np.float32) + 10 * noise)
    np.save(folder / "clusters.channels.npy", channel.astype(np.int32))
    np.save(folder / "clusters.depths.npy", depth_um)
    np.save(folder / "clusters.amps.npy", amplitude)
    pd.DataFrame({"uuids": units.uuid[members]}).to_csv(folder / "clusters.uuids.csv", index=False)
    session_s = len(units.operational[1:]) * STEP_S
    good = units.label[members] == 1
    pd.DataFrame(
        {
            "cluster_id": np.arange(len(members)),
            "firing_rate": count / session_s,
            "spike_count": count,
            "presence_ratio": [len(np.unique(times[unit] // 10)) / np.ceil(session_s / 10) for unit in members],
            "slidingRP_viol": good.astype(float),
            "noise_cutoff": np.where(good, 1.0, 20.0),
            "amp_median": amplitude,
            "contamination": np.where(good, 0.02, 0.4),
            "ks2_label": np.where(good, "good", "mua"),
            "label": units.label[members],
        }
    ).to_parquet(folder / "clusters.metrics.pqt", index=False)
    structures = units.structures[int(units.probe[members[0]])]
    site = np.arange(_CHANNELS)
    np.save(folder / "channels.brainLocationIds_ccf_2017.npy", structures)
    np.save(folder / "channels.rawInd.npy", site)
    coordinates = np.column_stack([np.array([43.0, 11.0, 59.0, 27.0])[site % 4], 20.0 * (site // 2)])
    np.save(folder / "channels.localCoordinates.npy", coordinates)
    np.save(folder / "channels.mlapdv.npy", np.column_stack([-2000 + 0 * site, -2000 + 0 * site, 20 * (site // 2)]))


def _write_behaviour(alf: Path, trials: pd.DataFrame, velocity: np.ndarray, rng: np.random.Generator) -> None:
    """Write the trials table, and the wheel as an encoder records it: a sample at each change of its count."""
    trials.to_parquet(alf / "_ibl_trials.table.pqt", index=False)
    position = np.round(np.cumsum(velocity) * STEP_S / _ENCODER_TICK_RAD) * _ENCODER_TICK_RAD
    changed = np.flatnonzero(np.diff(position, prepend=np.nan) != 0)
    changed = np.union1d(changed, [0, len(position) - 1])
    times_s = changed * STEP_S + rng.uniform(0, 0.5 * STEP_S, len(changed))
    np.save(alf / "_ibl_wheel.timestamps.npy", times_s)
    np.save(alf / "_ibl_wheel.position.npy", position[changed])
