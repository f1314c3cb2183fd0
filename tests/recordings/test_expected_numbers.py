"""The released weights give the numbers in ``expected_numbers.json``, on any machine, within the stated tolerance.

The real recordings are among the training data of the weights, so these scores are a check of the computation, and no
result. After a change that is meant to change them: ``python tests/recordings/test_expected_numbers.py FOLDER``, the
folder of the recordings.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from factories.sessions import made_spikes  # noqa: E402

from neurohorizon import load  # noqa: E402

EXPECTED = Path(__file__).with_name("expected_numbers.json")
TOLERANCE = 1e-3
"""Bits per spike; sums of floating-point numbers differ between processors by less."""
MADE_S, EVERY_S = 240.0, 1.0
REAL = ("nelpy_linear-track", "hc3_gor01_2006-6-12_15-55-31")


def made_units() -> list[np.ndarray]:
    times_us, unit = made_spikes(n_units=12, duration_s=MADE_S, seed=3)
    return [times_us[unit == one] / 1e6 for one in range(12)]


def scores_of(units: object, **options: object) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # likely noise, and training data
        recording = load("hippocampus").fit_reference(units, **options)
    found = recording.compare(recording.origins(every=EVERY_S))
    return {name: round(float(one.score()), 6) for name, one in found.items()}


def check(found: dict[str, float], name: str) -> None:
    expected = json.loads(EXPECTED.read_text())[name]
    assert list(found) == list(expected)
    for method in expected:
        assert found[method] == pytest.approx(expected[method], abs=TOLERANCE), (name, method)


def test_every_expert_has_its_expected_score_on_a_made_recording():
    check(scores_of(made_units(), valid=(0.0, MADE_S)), "made")


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_every_expert_has_its_expected_score_on_a_real_recording(name, recordings):
    check(scores_of(recordings / f"{name}.nwb"), name)


if __name__ == "__main__":
    record = {"made": scores_of(made_units(), valid=(0.0, MADE_S))}
    record |= {name: scores_of(Path(sys.argv[1]) / f"{name}.nwb") for name in REAL}
    EXPECTED.write_text(json.dumps(record, indent=1) + "\n")
