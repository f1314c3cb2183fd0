"""The mixture of a stream: the numbers of the mixture over windows, and refusals."""

import numpy as np
import pytest
import torch
from factories.sessions import made_files, made_session, small_config

from neurohorizon.baselines.closed_form import reference_mean
from neurohorizon.config import Adaptive
from neurohorizon.forecasts.adaptive_stream import AdaptiveStream
from neurohorizon.forecasts.experts import Expert, Experts
from neurohorizon.forecasts.forecast import forecast_windows, network_method
from neurohorizon.forecasts.online_mixture import mix_windows
from neurohorizon.inputs.sessions import load_inputs
from neurohorizon.inputs.windows import WindowShape, cut_windows
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.timeline import to_s

CONFIG = small_config(model={"history_edges_bins": [1, 3, 10, 14, 25]})
SHAPE = WindowShape.of(CONFIG.timeline, CONFIG.model)
SETTINGS = Adaptive(
    horizon_edges_bins=(2, SHAPE.horizon_bins),
    learners=(
        {"share": 0.01, "pooling": (0.0, 0.3, 1.0), "learning_rates": (1.0,)},
        {"share": 1e-12, "pooling": (0.0,), "learning_rates": (0.1, 1.0)},
    ),
    second={"share": 1e-12, "pooling": 0.1, "learning_rate": 0.5},
    network_prior=4.0,
    level_spikes=5.0,
    level_bins=50,
)
BINS = 60


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    made = made_files(tmp_path_factory.mktemp("made"), made_session("s", CONFIG.splits, n_units=6, seed=3), CONFIG)
    return load_inputs(made.paths, "test", groups=CONFIG.features.groups, readout=CONFIG.model.readout)


@pytest.fixture(scope="module")
def networks(inputs):
    """Networks with different random weights, by method."""
    found = {}
    for seed, name in enumerate(("own_history", "own_history_readout", "neurohorizon")):
        torch.manual_seed(seed)
        found[name] = Forecaster(
            model=CONFIG.model,
            n_features=inputs.features.shape[1],
            context_bins=SHAPE.context_bins,
            horizon_bins=SHAPE.horizon_bins,
        ).eval()
        for part in (found[name].head.rate_weights, found[name].head.readout_weights):
            torch.nn.init.normal_(part.weight, std=0.2)
    return found


def experts_of(networks, inputs):
    mean = Expert(reference_mean, inputs, SHAPE)
    of_networks = {name: Expert(network_method(one, SHAPE), inputs, SHAPE, one) for name, one in networks.items()}
    return Experts({"reference_mean": mean} | of_networks)


@pytest.mark.parametrize("stride", [1, 4])
def test_its_forecasts_are_those_of_the_mixture_over_windows(networks, inputs, stride):
    start_us = int(inputs.part.start_us[0])
    stream = AdaptiveStream(experts_of(networks, inputs), SETTINGS, stride_bins=stride, start_s=start_us / 1e6)
    found = []
    for bin_index in range(BINS):
        first_us = start_us + bin_index * SHAPE.bin_us
        times_us, unit = inputs.spikes.between(first_us, first_us + SHAPE.bin_us)
        stream.push(to_s(times_us), unit)
        found.append(stream.next())
    origins = start_us + (np.arange(BINS) + 1) * SHAPE.bin_us
    learned = origins[::stride]
    windows = cut_windows(inputs.spikes, inputs.part, learned, SHAPE)
    reference = np.tile(inputs.reference_log_rate.astype(np.float32), (len(learned), SHAPE.horizon_bins, 1))
    of_networks = {name: forecast_windows(one, inputs, learned, SHAPE) for name, one in networks.items()}
    expected = mix_windows(
        {"reference_mean": reference, **of_networks},
        start_us=learned,
        counts=windows.counts,
        target_mask=windows.target_mask,
        bin_us=SHAPE.bin_us,
        settings=SETTINGS,
        stride_bins=stride,
    )
    np.testing.assert_allclose(np.stack(found)[::stride], expected, atol=1e-4)
    assert np.abs(expected[-1] - of_networks["neurohorizon"][-1]).max() > 0.05


def test_experts_without_a_network_are_refused(inputs):
    with pytest.raises(ValueError, match=r"the experts are \('reference_mean',\); expected a network among them"):
        AdaptiveStream(experts_of({}, inputs), SETTINGS, stride_bins=1, start_s=10.0)
