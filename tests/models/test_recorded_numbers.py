"""Networks of every configuration compute the numbers in ``recorded_numbers.json``.

The record holds initial weights, forecasts, losses, gradients, sample paths and streamed forecasts. An edit that is
meant to change numbers writes it again: ``python tests/models/test_recorded_numbers.py``.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from factories.networks import MULTIMODAL, NETWORKS, made_recordings, numbers_of  # noqa: E402

RECORD = Path(__file__).with_name("recorded_numbers.json")
SAMPLES = 4


def summarise(tensors: list[torch.Tensor]) -> list[float]:
    """Return the number of values, their sum of magnitudes, and some of them."""
    values = torch.cat([one.detach().double().flatten() for one in tensors]).numpy()
    some = values[np.linspace(0, len(values) - 1, SAMPLES + 2).astype(int)[1:-1]]
    return [float(f"{one:.9g}") for one in (len(values), np.abs(values).sum(), *some)]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return made_recordings(tmp_path_factory.mktemp("made"))


@pytest.mark.parametrize("name", [*NETWORKS, *MULTIMODAL])
def test_a_network_computes_the_recorded_numbers(name, recordings):
    expected = json.loads(RECORD.read_text())[name]
    found = {what: summarise(tensors) for what, tensors in numbers_of(name, recordings)}
    assert list(found) == list(expected)
    for what in expected:
        # float32: another kind of processor differs by 2e-5
        np.testing.assert_allclose(found[what], expected[what], rtol=1e-4, atol=1e-5, err_msg=what)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        made = made_recordings(Path(folder))
        record = {
            name: {what: summarise(tensors) for what, tensors in numbers_of(name, made)}
            for name in (*NETWORKS, *MULTIMODAL)
        }
    rows = json.dumps(record).replace("], ", "],\n  ").replace("}, ", "},\n").replace(": {", ": {\n  ")
    RECORD.write_text(rows + "\n")
