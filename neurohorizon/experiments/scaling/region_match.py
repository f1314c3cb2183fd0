"""Training sessions recorded in the regions of the held-out ones; the choice uses only regions of units, no spikes."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from neurohorizon.experiments.scaling.points import matched_subset, random_distance, region_distance
from neurohorizon.files import replacing
from neurohorizon.session import read_identity, read_unit_regions


def choose_matched(
    *, training: Sequence[Path], heldout: Sequence[Path], size: int, draw: int, seed: int, output: str | Path
) -> None:
    """Choose training sessions by :func:`~neurohorizon.experiments.scaling.points.matched_subset`.

    Their names are written as JSON.

    Sessions that were left out cannot be chosen. The file has ``sessions``, how far the regions of their units are from
    those of the held-out ones (``distance``), and how far those of as many random sessions are on average
    (``distance_of_random``); see :func:`neurohorizon.experiments.scaling.points.region_distance`.

    Args:
        training: Session files that could be trained on.
        heldout: Session files that are forecast.
        output: JSON file to write, under a temporary name first.

    Raises:
        SubsetError: There are fewer sessions, or the held-out ones have no units.
    """
    regions = {
        identity["session"]: Counter(read_unit_regions(path).tolist())
        for path in training
        if not (identity := read_identity(path))["left_out"]
    }
    wanted = sum((Counter(read_unit_regions(path).tolist()) for path in heldout), Counter())
    chosen = matched_subset(regions, wanted, size=size, draw=draw, seed=seed)
    found = {
        "sessions": list(chosen),
        "distance": region_distance([regions[session] for session in chosen], wanted),
        "distance_of_random": random_distance(regions, wanted, size=size, seed=seed),
    }
    with replacing(output) as path:
        path.write_text(json.dumps(found, indent=1) + "\n")
