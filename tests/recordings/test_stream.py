"""A stream by the ids of units forecasts as the recording does, and refuses spikes by the name of their unit."""

import numpy as np
import pytest

from neurohorizon.forecasts.adaptive_stream import AdaptiveStream

BINS = 25


def pushed(stream, units, *, bins=BINS):
    """Push the spikes bin by bin, and return all forecasts, [bin, horizon bin, unit]."""
    found = []
    for _ in range(bins):
        start_s = stream.origin_s
        for name, times in units.items():
            inside = times[(times >= start_s) & (times < start_s + 0.02)]
            stream.push(inside, name)
        found.append(stream.next().log_rate[0])
    return np.stack(found)


@pytest.mark.parametrize("start_s", [40.32, 40.37, 52.0])
def test_after_every_bin_the_forecast_is_that_of_the_recording(recording, units, start_s):
    stream = recording.stream(start=start_s, adaptive=False)
    assert stream.origin_s == start_s
    found = pushed(stream, units)
    origins = start_s + 0.02 * np.arange(1, BINS + 1)
    expected = recording.forecast(origins, adaptive=False, gaps="mask").log_rate
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.ptp(expected[:, 0], axis=0).max() > 0.1


def test_a_stream_continues_after_the_end_of_the_recording_with_its_last_context(network, units):
    whole = network.fit_reference(units, reference=(0.0, 40.0), valid=(0.0, 80.0))
    until = {name: times[times < 60.0] for name, times in units.items()}
    stream = network.fit_reference(until, reference=(0.0, 40.0), valid=(0.0, 60.0)).stream(adaptive=False)
    assert stream.origin_s == 60.0
    expected = whole.forecast(60.0 + 0.02 * np.arange(1, 6), adaptive=False).log_rate
    np.testing.assert_allclose(pushed(stream, units, bins=5), expected, atol=2e-5)


def test_an_adaptive_stream_is_the_mixture_over_the_stream(recording, units):
    direct = AdaptiveStream(
        recording.experts,
        recording.adaptive_settings(True),
        stride_bins=recording.card.timeline.evaluation_stride_bins,
        start_s=40.32,
    )
    expected = []
    for _ in range(BINS):
        start_us = direct.first.origin_us
        times_us, unit = recording.session.spike_times_us, recording.session.spike_unit
        inside = (times_us >= start_us) & (times_us < start_us + 20_000)
        direct.push(times_us[inside] / 1e6, unit[inside])
        expected.append(direct.next())
    stream = recording.stream(start=40.32)
    np.testing.assert_allclose(pushed(stream, units), np.stack(expected), atol=1e-6)
    assert stream.next().method == "neurohorizon_adaptive"


def test_spikes_are_refused_by_the_name_of_their_unit_and_leave_the_stream_unchanged(recording):
    stream = recording.stream(start=50.0)
    stream.next()
    with pytest.raises(ValueError, match=r"1 of 2 spikes are out of order, first that of unit 3 at 50\.005000 s"):
        stream.push([50.025, 50.005], [2, 3])
    with pytest.raises(ValueError, match=r"unit 9 is none of the 5 units of the recording, such as 0"):
        stream.push([50.025, 50.026], [2, 9])
    with pytest.raises(ValueError, match=r"times have shape \(2,\) and unit_ids \(1,\)"):
        stream.push([50.025, 50.026], [2])
    assert not stream._stream.first.pending[0].size
    with pytest.raises(ValueError, match="before the reference window ends at 40 s"):
        recording.stream(start=30.0)


def test_a_forecast_of_a_stream_has_no_outcome_and_can_be_sampled(recording):
    forecast = recording.stream(start=50.0).next()
    assert not forecast.valid.any()
    assert forecast.origin_s.tolist() == [50.02]
    assert forecast.sample(3).shape == (1, 3, 6, 5)
