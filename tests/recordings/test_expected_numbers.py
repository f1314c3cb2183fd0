"""The released weights give the numbers in ``expected_numbers.json``, on any machine, within the stated tolerance.

Those of arrays are of held-out recordings. The others are of training recordings, since these weights have no others:
they are a check of the computation, and no result. After a change that is meant to change them: ``python
tests/recordings/test_expected_numbers.py FOLDER``, the folder that has the folders of the recordings.
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

from neurohorizon import load, released  # noqa: E402

EXPECTED = Path(__file__).with_name("expected_numbers.json")
TOLERANCE = 1e-3
"""Bits per spike; sums of floating-point numbers differ between processors by less."""
MADE_S, EVERY_S = 240.0, 1.0
REAL = {
    "hippocampus": ("recordings", ["nelpy_linear-track", "hc3_gor01_2006-6-12_15-55-31"]),
    "mouse-trials": ("recordings", ["steinmetz_03"]),
    "arrays": ("mea", ["Demas2006_p21wt1", "TC143-C57-DIV07_A"]),
}
"""Release -> folder of real recordings, and names of some."""


def made_units() -> list[np.ndarray]:
    times_us, unit = made_spikes(n_units=12, duration_s=MADE_S, seed=3)
    return [times_us[unit == one] / 1e6 for one in range(12)]


def scores_of(release: str, units: object, **options: object) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # likely noise, and training data
        recording = load(release).fit_reference(units, **options)
    found = recording.compare(recording.origins(every=EVERY_S))
    return {name: round(float(one.score()), 6) for name, one in found.items()}


def check(found: dict[str, float], release: str, name: str) -> None:
    expected = json.loads(EXPECTED.read_text())[release][name]
    assert list(found) == list(expected)
    for method in expected:
        assert found[method] == pytest.approx(expected[method], abs=TOLERANCE), (release, name, method)


def test_every_release_has_expected_numbers():
    assert {one.name for one in released()} == set(json.loads(EXPECTED.read_text())) == set(REAL)


@pytest.mark.parametrize("release", REAL)
def test_every_expert_has_its_expected_score_on_a_made_recording(release):
    check(scores_of(release, made_units(), valid=(0.0, MADE_S)), release, "made")


@pytest.mark.slow
@pytest.mark.parametrize(("release", "name"), [(release, name) for release in REAL for name in REAL[release][1]])
def test_every_expert_has_its_expected_score_on_a_real_recording(release, name, request):
    folder = request.getfixturevalue({"recordings": "recordings", "mea": "arrays"}[REAL[release][0]])
    check(scores_of(release, folder / f"{name}.nwb"), release, name)


if __name__ == "__main__":
    record = {}
    for release, (folder, names) in REAL.items():
        record[release] = {"made": scores_of(release, made_units(), valid=(0.0, MADE_S))}
        record[release] |= {name: scores_of(release, Path(sys.argv[1]) / folder / f"{name}.nwb") for name in names}
    EXPECTED.write_text(json.dumps(record, indent=1) + "\n")
