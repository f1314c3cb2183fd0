import numpy as np
import pytest
import torch
from factories.sessions import made_files, made_session, small_config

from neurohorizon.forecasts.forecast import forecast_windows
from neurohorizon.inputs.sessions import load_inputs
from neurohorizon.inputs.windows import WindowShape
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.stream import Stream
from neurohorizon.timeline import to_s

# a unit's own history reaches further back than the context
CONFIG = small_config(model={"history_edges_bins": [1, 3, 10, 14, 25]})
SHAPE = WindowShape.of(CONFIG.timeline, CONFIG.model)
BINS = 4 * SHAPE.context_bins


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    made = made_files(tmp_path_factory.mktemp("made"), made_session("s", CONFIG.splits, n_units=6, seed=3), CONFIG)
    return load_inputs(made.paths, "test", groups=CONFIG.features.groups, readout=CONFIG.model.readout)


@pytest.fixture(scope="module")
def forecaster(inputs):
    torch.manual_seed(0)
    network = Forecaster(
        model=CONFIG.model,
        n_features=inputs.features.shape[1],
        context_bins=SHAPE.context_bins,
        horizon_bins=SHAPE.horizon_bins,
    ).eval()
    for part in (network.head.rate_weights, network.head.readout_weights):
        torch.nn.init.normal_(part.weight, std=0.2)
    return network


def spikes_between(inputs, start_us, stop_us):
    times_us, unit = inputs.spikes.between(start_us, stop_us)
    return to_s(times_us), unit


def test_after_every_bin_the_forecast_is_the_one_of_that_window(inputs, forecaster):
    # from the start of the valid time, where most of the context is not valid, to long after its first bins have left
    start_us = int(inputs.part.start_us[0])
    stream = Stream(forecaster, inputs, SHAPE, start_s=start_us / 1e6)
    found = []
    for bin_index in range(BINS):
        first_us = start_us + bin_index * SHAPE.bin_us
        stream.push(*spikes_between(inputs, first_us, first_us + SHAPE.bin_us))
        found.append(stream.next())
        assert stream.origin_s == (first_us + SHAPE.bin_us) / 1e6
    origins = start_us + (np.arange(BINS) + 1) * SHAPE.bin_us
    expected = forecast_windows(forecaster, inputs, origins, SHAPE)
    np.testing.assert_allclose(np.stack(found), expected, atol=2e-5)
    assert np.ptp(expected[:, 0], axis=0).max() > 0.1  # there was something to get wrong


def test_spikes_may_come_early_and_in_any_order(inputs, forecaster):
    start_us = int(inputs.part.start_us[0])
    times_s, unit = spikes_between(inputs, start_us, start_us + BINS * SHAPE.bin_us)
    order = np.random.default_rng(0).permutation(times_s.size)
    stream = Stream(forecaster, inputs, SHAPE, start_s=start_us / 1e6)
    stream.push(times_s[order], unit[order])
    last = [stream.next() for _ in range(BINS)][-1]
    expected = forecast_windows(forecaster, inputs, np.array([start_us + BINS * SHAPE.bin_us]), SHAPE)
    np.testing.assert_allclose(last, expected[0], atol=2e-5)


def test_a_bin_that_was_not_recorded_is_unknown_and_not_silent(inputs, forecaster):
    start_us = int(inputs.part.start_us[0])

    def forecast(lost):
        stream = Stream(forecaster, inputs, SHAPE, start_s=start_us / 1e6)
        for bin_index in range(SHAPE.context_bins):
            first_us = start_us + bin_index * SHAPE.bin_us
            if bin_index != 4 or lost != "silent":
                stream.push(*spikes_between(inputs, first_us, first_us + SHAPE.bin_us))
            last = stream.next(valid=not (bin_index == 4 and lost == "unknown"))
        return last

    unknown, silent, whole = forecast("unknown"), forecast("silent"), forecast("")
    assert not np.allclose(unknown, silent, atol=1e-4)
    assert not np.allclose(unknown, whole, atol=1e-4)


def test_spikes_that_cannot_be_added_are_refused_and_leave_the_stream_unchanged(inputs, forecaster):
    stream = Stream(forecaster, inputs, SHAPE, start_s=10.0)
    stream.next()
    with pytest.raises(ValueError, match=r"1 of 2 spikes come too late: the bins before 10\.020 s are over"):
        stream.push([10.005, 10.025], [0, 1])
    with pytest.raises(ValueError, match="numbered from 0 to 5; found 2 to 6"):
        stream.push([10.025, 10.026], [2, 6])
    assert not stream.pending[0].size
    with pytest.raises(ValueError, match="forecasts 6 bins, but the shape has 5"):
        Stream(forecaster, inputs, WindowShape(20_000, 10, 5, (10,)), start_s=0.0)
