"""Recordings whose answer is known: a network that forecasts by the readout of the reference window only."""

import json
import warnings

import numpy as np
import pytest
import torch
from factories.cards import made_card
from factories.recordings import CONFIG
from factories.sessions import made_spikes

from neurohorizon import Network, Recording
from neurohorizon.answer.answer import Answer
from neurohorizon.answer.evaluate import answer_for

DURATION_S = 330.0
REFERENCE_S = 60.0
EVERY_S = 0.6


@pytest.fixture(scope="session")
def network() -> Network:
    """A network whose residual is the population readout, with the share 1 for each bin and unit."""
    torch.manual_seed(0)
    card = made_card(CONFIG, timeline=CONFIG.timeline.model_copy(update={"evaluation_stride_bins": 30}))
    forecaster = card.build()
    head = forecaster.head
    with torch.no_grad():
        head.mix.weight.zero_()
        head.mix.bias.fill_(1.0)
        state = torch.nn.functional.gelu(torch.ones(1))
        head.readout_weights.bias.fill_(1 / (head.mix.bias.numel() * float(state)))
    return Network(forecaster=forecaster.eval(), card=card)


def record(network: Network, times_us: np.ndarray, unit: np.ndarray, names: list[str]) -> Recording:
    units = {name: times_us[unit == index] / 1e6 for index, name in enumerate(names)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return network.fit_reference(units, reference=(0.0, REFERENCE_S), valid=(0.0, DURATION_S), name="made")


def poisson(rates_hz: list[float], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return spikes of constant rates, by unit."""
    rng = np.random.default_rng(seed)
    times = [np.sort(rng.uniform(0, DURATION_S, rng.poisson(rate * DURATION_S))) for rate in rates_hz]
    return np.rint(np.concatenate(times) * 1e6).astype(np.int64), np.repeat(np.arange(len(times)), [*map(len, times)])


@pytest.fixture(scope="session")
def rhythmic(network) -> Recording:
    """Six units of one rhythm, one of which has a name that is HTML."""
    times_us, unit = made_spikes(n_units=6, duration_s=DURATION_S, seed=3)
    return record(network, times_us, unit, ["a", "b", "<script>alert(1)</script>", 'd"&', "$e$", "f"])


@pytest.fixture(scope="session")
def answer(rhythmic) -> Answer:
    return answer_for(rhythmic, every_s=EVERY_S, chosen="It was named")


@pytest.fixture(scope="session")
def random(network) -> Recording:
    """Five units of constant rates: nothing to forecast."""
    return record(network, *poisson([2.0, 4.0, 6.0, 8.0, 10.0], seed=4), list("abcde"))


@pytest.fixture(scope="session")
def as_json(answer) -> dict:
    return json.loads(json.dumps(answer.to_json(), allow_nan=False))
