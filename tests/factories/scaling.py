"""Score files of a simulated scaling experiment with known laws and differences."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from neurohorizon.experiments.scaling.points import Point, parse_point
from neurohorizon.forecasts.scoring import SCHEMA

BINS, BIN_US, UNITS, SPIKES = 5, 200_000, 2, 400
LABS = ("north", "south", "west")
TOP = 370
FADE = 1 - 0.1 * np.arange(BINS)  # of the score, by horizon bin


@dataclass(frozen=True)
class MadeScaling:
    """Planted effects; scores are bits per spike relative to the reference null.

    Attributes:
        law: Score by number of training sessions.
        sizes: Sizes below the top.
        draws: Draws below the top.
        seeds: Seeds of every point.
        arm_sessions: Size of the arms.
        same_lab: Effect of training in one lab on sessions of other labs.
        own_lab: Effect of training in one lab on sessions of that lab.
        same_region: Effect of matched regions.
        networks: Parameters of each size of the network; each factor of ten adds ``tenfold``.
        tenfold: Increase of the score by ten times the parameters.
        luck: Standard deviation between draws.
        animals: Held-out animals, each with two sessions, in alternating labs.
        lost: Sessions that are excluded at every point.
    """

    law: object = field(default=lambda d: 0.30 - 0.8 * d**-0.6)
    sizes: tuple[int, ...] = (10, 50, 100, 200)
    draws: int = 3
    seeds: tuple[int, ...] = (0,)
    arm_sessions: int = 50
    same_lab: float = -0.03
    own_lab: float = 0.01
    same_region: float = 0.015
    networks: tuple[tuple[str, int], ...] = (("tiny", 250_000), ("small", 5_000_000), ("base", 27_000_000))
    tenfold: float = 0.02
    luck: float = 0.002
    animals: int = 12
    lost: tuple[str, ...] = ()

    @property
    def points(self) -> list[str]:
        """Return the names of all points."""
        names = [f"sessions-{size}_draw-{draw}" for size in self.sizes for draw in range(self.draws)]
        names.append("sessions-max_draw-0")
        names += [
            f"{arm}-{self.arm_sessions}_draw-{draw}"
            for arm in ("same_lab", "same_region")
            for draw in range(self.draws)
        ]
        names += [f"size-{name}" for name, _ in self.networks]
        return [f"{name}_seed-{seed}" for name in names for seed in self.seeds]

    def trained_sessions(self, point: Point) -> int:
        """Return the number of training sessions of a point."""
        return TOP if point.size is None else point.size

    def score(self, point: Point, lab: str) -> float:
        """Return the planted score of a held-out session of a lab, without luck and the session's own level."""
        score = self.law(float(self.trained_sessions(point)))
        if point.kind == "same_lab":
            score += self.own_lab if lab == LABS[point.draw % len(LABS)] else self.same_lab
        if point.kind == "same_region":
            score += self.same_region
        if point.kind == "size":
            score += self.tenfold * np.log10(dict(self.networks)[point.name] / 5e6)
        return score


def write_scaling(folder: Path, made: MadeScaling | None = None) -> list[Path]:
    """Write ``scores.parquet``, ``point.json`` and ``sessions.json`` of every point; return the score files."""
    made = made or MadeScaling()
    paths = []
    for name in made.points:
        point, path = parse_point(name), folder / "main" / name / "scores.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        labs = LABS if point.kind != "same_lab" else (LABS[point.draw % len(LABS)],)
        number = made.trained_sessions(point)
        card = {
            "point": point.method,
            "fold": "main",
            "seed": point.seed,
            "parameters": dict(made.networks).get(point.name, 5_000_000),
            "steps": 300,
            "validation_bits_per_spike": 0.1,
            "sessions": [f"train-{index}" for index in range(number)],
            "animals": (number + 1) // 2,
            "labs": {lab: number // len(labs) for lab in labs},
            "units": 40 * number,
            "recorded_s": 600.0 * number,
            "spikes": 10_000 * number,
        }
        path.with_name("point.json").write_text(json.dumps(card))
        if point.kind == "same_region":
            path.with_name("sessions.json").write_text(
                json.dumps({"sessions": card["sessions"], "distance": 0.1, "distance_of_random": 0.3})
            )
        table = pa.Table.from_pylist(_rows(made, point), schema=SCHEMA)
        left_out = dict.fromkeys(made.lost, "no spikes in the reference window")
        pq.write_table(table.replace_schema_metadata({"left_out": json.dumps(left_out)}), path)
        paths.append(path)
    return paths


def _rows(made: MadeScaling, point: Point) -> list[dict]:
    kinds = ["sessions", "same_lab", "same_region", *(name for name, _ in made.networks)]
    kind = kinds.index(point.name or point.kind)
    luck = np.random.default_rng([1, kind, point.size or 0, point.draw]).normal(0, made.luck)
    rows = []
    for animal in range(made.animals):
        for number in range(2):
            session = f"animal-{animal:02d}_{number}"
            if session in made.lost:
                continue
            level = np.random.default_rng([2, animal]).normal(0, 0.02) + 0.002 * number
            lab = LABS[animal % len(LABS)]
            noise = np.random.default_rng([3, animal, number, kind, point.size or 0, point.draw, point.seed])
            score = made.score(point, lab) + luck + level + noise.normal(0, 0.003)
            for unit in range(UNITS):
                for bin_ in range(BINS):
                    # the second unit has twice the spikes and the same nats in all
                    spikes = SPIKES * (1 + unit)
                    rows.append(
                        {
                            "fold": "main",
                            "session": session,
                            "subject": f"animal-{animal}",
                            "lab": lab,
                            "source": "ibl",
                            "method": point.method,
                            "class": "zero_shot",
                            "seed": point.seed,
                            "code": "0" * 8,
                            "unit_id": f"u{unit}",
                            "region": "CA1",
                            "horizon_bin": bin_,
                            "bin_us": BIN_US,
                            "unscored_units": 0,
                            "windows": 50,
                            "spikes": spikes,
                            "model_nats": -1000.0 + score * FADE[bin_] * np.log(2) * 1.5 * SPIKES,
                            "reference_nats": -1000.0,
                            "evaluation_nats": -900.0,
                            "saturated_nats": 0.0,
                        }
                    )
    return rows
