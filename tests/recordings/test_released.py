"""Released weights forecast as the run that they were written from, and are found by their names."""

import numpy as np
import pytest
from factories.recordings import CONFIG, DURATION_S
from factories.releases import ABOUT, NETWORKS, release_of_package, run_files
from factories.sessions import made_files, made_session

from neurohorizon import WeightsError, load, released
from neurohorizon.forecasts.forecast import forecast_with_network
from neurohorizon.forecasts.forecast_file import read_forecast
from neurohorizon.forecasts.online_mixture import forecast_with_mixture, mix_windows
from neurohorizon.forecasts.regressions import forecast_with_regressions
from neurohorizon.forecasts.release import SUMS
from neurohorizon.forecasts.without_network import forecast_with_baselines
from neurohorizon.inputs.sessions import SessionPaths
from neurohorizon.inputs.windows import cut_windows
from neurohorizon.methods import ADAPTIVE, OWN_HISTORY, REGRESSIONS
from neurohorizon.timeline import Intervals, to_us

GAP_S = CONFIG.splits.gap_s
EXPERTS = ("reference_mean", "trailing_mean", "shrinkage", "gamma_poisson", "ar_glm", "ridge_ar", "reduced_rank")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_files(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def weights(run, tmp_path_factory):
    return run.release(tmp_path_factory.mktemp("release") / "made.safetensors")


@pytest.fixture(scope="module")
def network(weights):
    return load(weights)


@pytest.fixture(scope="module")
def recording(network, units):
    return network.fit_reference(units, reference=(0.0, 40.0), valid=(0.0, DURATION_S))


def in_workflow(run, paths, folder):
    """Return the workflow's forecasts of the test part of a session by each expert, and by their mixture."""
    names = {"fold": "main", "timeline": CONFIG.timeline, "code": ""}
    forecast_with_baselines(baselines=run.tuned, paths=paths, output_folder=folder, **names)
    regressions = {"tuned": run.regressions_tuned, "pooled": run.pooled, "regressions": CONFIG.regressions}
    forecast_with_regressions(paths=paths, output_folder=folder, **regressions, **names)
    for weights, name in zip(run.networks, NETWORKS, strict=True):
        files = SessionPaths(paths.session, paths.features) if name == OWN_HISTORY else paths
        forecast_with_network(weights=weights, paths=files, method=name, seed=0, output=folder / f"{name}.h5", **names)
    experts = [folder / f"{name}.h5" for name in (*EXPERTS, *NETWORKS)]
    forecast_with_mixture(
        forecasts=experts,
        seed=0,
        adaptive=CONFIG.adaptive,
        stride_bins=CONFIG.timeline.evaluation_stride_bins,
        code="",
        output=folder / f"{ADAPTIVE}.h5",
    )
    return {path.stem: read_forecast(path) for path in (folder / f"{ADAPTIVE}.h5", *experts)}


@pytest.mark.filterwarnings("ignore:units that are likely no single neurons")
def test_the_mixture_and_every_expert_are_those_of_the_workflow(run, network, tmp_path):
    valid = [[0.0, 22.0], [26.3, 38.5], [40.0, 50.0]]  # the last pause is shorter than a window
    start_us, stop_us = to_us(np.array(valid)).T
    made = made_session("s", CONFIG.splits, n_units=6, seed=5, domain=Intervals(start_us, stop_us))
    expected = in_workflow(run, made_files(tmp_path, made, CONFIG).paths, tmp_path)
    times_s = made.spike_times_us / 1e6
    units = {name: times_s[made.spike_unit == unit] for unit, name in enumerate(made.units["id"].tolist())}
    recording = network.fit_reference(units, reference=0.5, valid=valid, gap=GAP_S)
    at = recording.origins()
    found = recording.compare(at)
    assert list(found) == [ADAPTIVE, *network.experts] == list(expected)
    for name, forecast in found.items():
        np.testing.assert_array_equal(forecast.origin_us, expected[name].start_us)
        np.testing.assert_array_equal(forecast.counts, expected[name].counts)
        # regressions multiply matrices of all windows of a block: the order of these sums depends on the processor
        tolerance = 1e-5 if name in (*REGRESSIONS, ADAPTIVE) else 0.0
        np.testing.assert_allclose(forecast.log_rate, expected[name].log_rate, rtol=0, atol=tolerance, err_msg=name)
        assert forecast.method == name
        if name != ADAPTIVE:  # no expert is a copy of another
            others = [one.log_rate for other, one in found.items() if other != name]
            assert min(np.abs(forecast.log_rate - other).max() for other in others) > 0.01, name
    np.testing.assert_array_equal(recording.forecast(at).log_rate, found[ADAPTIVE].log_rate)


def test_a_comparison_at_few_origins_is_that_of_all_origins(recording):
    grid = recording.origins()[:100]
    every, few = recording.compare(grid), recording.compare(grid[[80, 33]])
    for name in every:
        np.testing.assert_allclose(few[name].log_rate, every[name].log_rate[[80, 33]], atol=2e-5, err_msg=name)
    np.testing.assert_allclose(
        few["neurohorizon"].log_rate, recording.forecast(grid[[80, 33]], adaptive=False).log_rate, atol=2e-5
    )


def test_an_adaptive_stream_mixes_every_expert(recording, units):
    settings = recording.adaptive_settings(True)
    assert settings == CONFIG.adaptive
    stride = CONFIG.timeline.evaluation_stride_bins
    start_s = recording.inputs.part.hull_s[0]
    stream = recording.stream(start=start_s)
    found = []
    for _ in range(36):
        for name, times in units.items():
            inside = times[(times >= stream.origin_s) & (times < stream.origin_s + 0.02)]
            stream.push(inside, name)
        found.append(stream.next().log_rate[0])
    origin_us = to_us(start_s + 0.02 * np.arange(1, 37, stride))
    of_experts = recording.experts.forecast(origin_us)
    windows = cut_windows(recording.inputs.spikes, recording.inputs.part, origin_us, recording.shape)
    expected = mix_windows(
        of_experts,
        start_us=origin_us,
        counts=windows.counts,
        target_mask=windows.target_mask,
        bin_us=20_000,
        settings=settings,
        stride_bins=stride,
    )
    np.testing.assert_allclose(np.stack(found)[::stride], expected, atol=1e-4)
    assert stream._stream.mixture.methods == recording.experts.methods


def test_features_outside_of_the_training_range_are_marked(recording):
    features = recording.inputs.features
    found = recording.outside_range()
    assert found.shape == (5, len(recording.feature_names))
    for column, name in enumerate(recording.feature_names):
        if name in ABOUT["feature_range"]:
            low, _, high = ABOUT["feature_range"][name]
            expected = [not low <= value <= high for value in features[:, column].tolist()]
        else:
            expected = [False] * 5
        assert found[:, column].tolist() == expected, name
    rate = recording.feature_names.index("log_rate_hz")
    assert 0 < found[:, rate].sum() < 5
    np.testing.assert_allclose(features[:, rate], np.log(recording.reference_rate_hz), atol=1e-5)


def test_a_network_has_its_description_and_its_experts(network, run):
    assert network.about.name == "made"
    assert network.experts == (*EXPERTS, *NETWORKS)
    assert repr(network) == "Network(made, bins of 20 ms, context 200 ms, horizon 120 ms)"
    of_run = load(run.networks[0])
    assert of_run.about is None
    assert of_run.experts == ("reference_mean", "neurohorizon")
    assert load(run.networks[1]).experts == ("reference_mean", "own_history")


def test_released_weights_are_loaded_by_name_and_other_names_list_the_near_ones(tmp_path, monkeypatch):
    shipped = release_of_package(tmp_path, monkeypatch, "hippocampus")
    (about,) = released()
    assert load().about == load("hippocampus").about == load(shipped / "hippocampus.safetensors").about == about
    with pytest.raises(WeightsError, match="weights 'hipocampus'; it has hippocampus; did you mean 'hippocampus'"):
        load("hipocampus")
    with pytest.raises(WeightsError, match="weights 'cortex'; it has hippocampus; give one of them, or the path"):
        load("cortex")
    with pytest.raises(FileNotFoundError, match="such file"):
        load("absent/hippocampus.safetensors")


def test_files_of_the_package_that_differ_from_their_hashes_are_refused(tmp_path, monkeypatch):
    shipped = release_of_package(tmp_path, monkeypatch, "hippocampus")
    tensors, sums = shipped / "hippocampus.safetensors", shipped / SUMS
    tensors.write_bytes(tensors.read_bytes() + b" ")
    with pytest.raises(WeightsError, match=f"not the released file: .* {SUMS} lists"):
        load()
    sums.unlink()
    for read in (load, released):
        with pytest.raises(WeightsError, match=f"{SUMS} cannot be read"):
            read()
    for one in shipped.iterdir():
        one.unlink()
    assert released() == ()
    with pytest.raises(WeightsError, match="no released weights 'hippocampus'; it has none; give"):
        load()
