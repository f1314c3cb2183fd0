"""Which sessions each point of a scaling experiment trains on; standard library only.

A draw is one random order of all training sessions, and a subset of it are its first sessions: subsets of a draw are
nested, so that only their number changes along it. The order is stratified: labs come in proportion to their
sessions, and within a lab every animal comes once before any comes twice. Random choices are hashes of seed, draw and
name, so that neither the order of the table nor the version of Python changes them.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from neurohorizon.cohort import Row
from neurohorizon.config import Scaling

_CHOSEN = re.compile(r"(sessions|same_lab|same_region)-(\d+|max)_draw-(\d+)_seed-(\d+)")
_SIZED = re.compile(r"size-([\w-]+)_seed-(\d+)")


class SubsetError(ValueError):
    """A subset that cannot be chosen, or a point that cannot be read; the message gives what was found and expected."""


@dataclass(frozen=True)
class Point:
    """One training of a scaling experiment.

    Attributes:
        kind: How its sessions are chosen: ``sessions`` at random, ``same_lab`` from as few labs as it takes,
            ``same_region`` with the regions of the held-out sessions; or ``size``, another network on all sessions.
        size: Number of training sessions; None for all of them.
        draw: Number of the random choice.
        seed: Seed of the network.
        name: Name of the size of the network; "" for that of the run.
    """

    kind: Literal["sessions", "same_lab", "same_region", "size"]
    size: int | None
    draw: int
    seed: int
    name: str = ""

    def __str__(self) -> str:
        """The name of its folder."""
        return f"{self.method}_seed-{self.seed}"

    @property
    def method(self) -> str:
        """The point without the seed of its network: its method in a score file."""
        if self.kind == "size":
            return f"size-{self.name}"
        return f"{self.kind}-{'max' if self.size is None else self.size}_draw-{self.draw}"


def parse_point(name: str) -> Point:
    """Read the name of a point, such as ``sessions-50_draw-2_seed-0`` or ``size-tiny_seed-0``.

    Raises:
        SubsetError: It is none.
    """
    if sized := _SIZED.fullmatch(name):
        return Point(kind="size", size=None, draw=0, seed=int(sized[2]), name=sized[1])
    found = _CHOSEN.fullmatch(name)
    if found is None or (found[2] == "max" and found[1] != "sessions"):
        raise SubsetError(
            f"{name!r} is no point of a scaling experiment: sessions-50_draw-2_seed-0, sessions-max_draw-0_seed-0, "
            "same_lab-50_draw-0_seed-0, same_region-50_draw-0_seed-0 and size-tiny_seed-0 are"
        )
    size = None if found[2] == "max" else int(found[2])
    return Point(kind=found[1], size=size, draw=int(found[3]), seed=int(found[4]))


def points(scaling: Scaling) -> tuple[str, ...]:
    """Names of all points of an experiment; all sessions are one choice, however many draws there are below."""
    chosen = [("sessions", size, draw) for size in scaling.sessions for draw in range(scaling.draws)]
    chosen.append(("sessions", None, 0))
    chosen += [(arm, scaling.arm_sessions, draw) for arm in scaling.arms for draw in range(scaling.draws)]
    found = [Point(kind=kind, size=size, draw=draw, seed=seed) for kind, size, draw in chosen for seed in scaling.seeds]
    found += [
        Point(kind="size", size=None, draw=0, seed=seed, name=name) for name in scaling.sizes for seed in scaling.seeds
    ]
    return tuple(str(point) for point in found)


def nested_subset(rows: Iterable[Row], *, size: int, draw: int, seed: int) -> tuple[Row, ...]:
    """The first sessions of a draw's random order, stratified by lab and animal.

    The share of each lab in every subset is its share of all sessions, to within a session or two.

    Subsets of a smaller size with the same draw and seed are parts of it. Rows stay in their order.

    Raises:
        SubsetError: There are fewer rows, or ``size`` is below 1.
    """
    rows = _checked(rows, size)
    places = []
    for lab, of_lab in _by_lab(rows).items():
        # systematic sampling: the n sessions of a lab come at one random phase, 1/n of the order apart
        phase = _uniform(seed, draw, "lab", lab)
        ordered = _animals_in_turn(of_lab, seed, draw)
        places += [((rank + phase) / len(ordered), lab, row) for rank, row in enumerate(ordered)]
    places.sort(key=lambda place: place[:2])
    return _in_order_of(rows, [row for _, _, row in places[:size]])


def same_lab_subset(rows: Iterable[Row], *, size: int, draw: int, seed: int) -> tuple[Row, ...]:
    """Sessions of one lab, where one has as many; else of as few labs as it takes.

    Draws take the labs that are large enough in turn, in a random order. Where none is, the draws begin with each lab
    in turn and go on with the largest others. Arguments, result and errors as in :func:`nested_subset`.
    """
    rows = _checked(rows, size)
    labs = _by_lab(rows)
    shuffled = sorted(labs, key=lambda lab: _uniform(seed, "same lab", lab))
    large = [lab for lab in shuffled if len(labs[lab]) >= size]
    first = (large or shuffled)[draw % len(large or shuffled)]
    others = sorted((lab for lab in shuffled if lab != first), key=lambda lab: -len(labs[lab]))
    chosen = [row for lab in (first, *others) for row in _animals_in_turn(labs[lab], seed, draw)]
    return _in_order_of(rows, chosen[:size])


def matched_subset(
    regions: Mapping[str, Mapping[str, int]], heldout: Mapping[str, int], *, size: int, draw: int, seed: int
) -> tuple[str, ...]:
    """Sessions whose units together lie in the same regions as those that are forecast.

    Greedy: each step adds the session after which :func:`region_distance` is least. A draw looks at a random half of
    all sessions, so that draws differ; where that is fewer than ``size``, at ``size``.

    Args:
        regions: Session -> region -> units in it; a session without units cannot be matched and counts as far off.
        heldout: Region -> units in it, of all sessions that are forecast.

    Returns:
        Names of the chosen sessions, sorted.

    Raises:
        SubsetError: There are fewer sessions, ``size`` is below 1, or no unit is forecast.
    """
    if not 1 <= size <= len(regions):
        raise SubsetError(f"cannot choose {size} of {len(regions)} sessions")
    if not sum(heldout.values()):
        raise SubsetError("the sessions that are forecast have no units, so there are no regions to match")
    shuffled = sorted(regions, key=lambda session: (_uniform(seed, draw, "region", session), session))
    left = shuffled[: max(size, math.ceil(len(shuffled) / 2))]
    chosen: list[str] = []
    while len(chosen) < size:
        best = min(left, key=lambda session: region_distance([regions[one] for one in (*chosen, session)], heldout))
        chosen.append(best)
        left.remove(best)
    return tuple(sorted(chosen))


def random_distance(
    regions: Mapping[str, Mapping[str, int]], heldout: Mapping[str, int], *, size: int, seed: int
) -> float:
    """Mean :func:`region_distance` of 100 choices that ignore regions."""
    found = []
    for draw in range(100):
        shuffled = sorted(regions, key=lambda session: _uniform(seed, "any region", draw, session))
        found.append(region_distance([regions[session] for session in shuffled[:size]], heldout))
    return sum(found) / len(found)


def region_distance(chosen: Sequence[Mapping[str, int]], heldout: Mapping[str, int]) -> float:
    """Share of the units that would have to change region for equal distributions: the total variation distance.

    ``chosen`` (pooled) and ``heldout`` are numbers of units by region. The distance is between 0, the same shares, and
    1, no region in common or no chosen unit.
    """
    pooled: dict[str, int] = {}
    for units in chosen:
        for region, number in units.items():
            pooled[region] = pooled.get(region, 0) + number
    total, wanted = sum(pooled.values()), sum(heldout.values())
    if not total:
        return 1.0
    regions = sorted({*pooled, *heldout})
    gaps = (pooled.get(region, 0) / total - heldout.get(region, 0) / wanted for region in regions)
    return sum(map(abs, gaps)) / 2


def _checked(rows: Iterable[Row], size: int) -> tuple[Row, ...]:
    rows = tuple(rows)
    if not 1 <= size <= len(rows):
        raise SubsetError(
            f"cannot choose {size} of {len(rows)} training sessions: keep scaling.sessions and scaling.arm_sessions "
            f"at most {len(rows)}; all sessions are a point anyway"
        )
    return rows


def _by_lab(rows: Sequence[Row]) -> dict[str, list[Row]]:
    labs: dict[str, list[Row]] = {}
    for row in rows:
        labs.setdefault(row.lab, []).append(row)
    return {lab: labs[lab] for lab in sorted(labs)}


def _animals_in_turn(rows: Sequence[Row], seed: int, draw: int) -> list[Row]:
    """A random order in which every animal comes once before any comes twice."""
    animals: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (_uniform(seed, draw, "session", row.session), row.session)):
        animals.setdefault(row.subject, []).append(row)
    turns = [
        (turn, _uniform(seed, draw, "animal", animal), animal, row)
        for animal, of_animal in animals.items()
        for turn, row in enumerate(of_animal)
    ]
    return [row for *_, row in sorted(turns, key=lambda turn: turn[:3])]


def _in_order_of(rows: Sequence[Row], chosen: Iterable[Row]) -> tuple[Row, ...]:
    names = {row.session for row in chosen}
    return tuple(row for row in rows if row.session in names)


def _uniform(*names: object) -> float:
    """A number from 0 to 1 that depends only on the names."""
    digest = hashlib.sha256("\n".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
