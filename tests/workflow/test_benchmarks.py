"""The pairs of the benchmarks do the same work: equal numbers, the same spikes, the same number of parameters."""

import json

import numpy as np
import pytest
import torch
from factories import ROOT
from torch_brain.datasets import Dataset

from benchmarks.bench import DEMO, table, write
from benchmarks.features import MARGINAL, features_by_loop
from benchmarks.growth import Curve
from benchmarks.heads import forward_backward, head_batch, head_inputs, heads_of
from benchmarks.loader import check_equal, dataset_counts, our_counts, sampled_windows, window_indices
from benchmarks.memory import peak_of
from benchmarks.profiles import kind_of, shares_of_functions, shares_of_operations
from benchmarks.recordings import inputs_of, write_recording
from benchmarks.rollouts import AIMS, draw_zero_weights, paths_of
from benchmarks.side_by_side import Pair, compare, seconds_in_turn
from benchmarks.streams import bin_seconds, torch_threads, waits
from benchmarks.training_step import (
    LATENTS_AS_PUBLISHED,
    check_same_spikes,
    forecaster_of,
    parameters,
    poyo_batch,
    poyo_like,
    stream_of,
)
from neurohorizon.config import read_config
from neurohorizon.inputs.windows import WindowShape
from neurohorizon.models.batch import Tensors
from neurohorizon.session import read_session
from neurohorizon.units.reference import reference_features

CONFIG = read_config(ROOT / "config" / "demo.yaml")
SHAPE = WindowShape.of(CONFIG.timeline, CONFIG.model)
UNITS = (12, 17)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    return [write_recording(folder, CONFIG, name=f"made{n}", n_units=n, duration_s=90.0, seed=n) for n in UNITS]


@pytest.fixture(scope="module")
def sessions(paths):
    return [inputs_of(one, CONFIG) for one in paths]


@pytest.fixture(scope="module")
def dataset(paths):
    return Dataset(paths[0].session.parent)


def test_both_loaders_count_the_same_spikes_in_the_same_windows(sessions, dataset):
    origins = sampled_windows(sessions, SHAPE, per_session=5, seed=3)
    n_units = {session.session_id: session.spikes.n_units for session in sessions}
    theirs = dataset_counts(dataset, window_indices(origins, SHAPE), n_units, SHAPE.bin_us / 1e6)
    check_equal(our_counts(sessions, origins, SHAPE), theirs)
    moved = {name: found + SHAPE.bin_us for name, found in origins.items()}
    with pytest.raises(AssertionError):
        check_equal(our_counts(sessions, moved, SHAPE), theirs)


def test_the_samplers_windows_lie_in_the_part_without_spikes_on_edges(sessions, paths):
    origins = sampled_windows(sessions, SHAPE, per_session=30, seed=3)
    for session, path in zip(sessions, paths, strict=True):
        found = origins[session.session_id]
        start, stop = found - SHAPE.context_bins * SHAPE.bin_us, found + SHAPE.horizon_bins * SHAPE.bin_us
        assert len(np.unique(found)) > 10
        assert (start >= session.part.start_us[0] - 2).all() and (stop <= session.part.stop_us[0]).all()
        assert (found % 2 == 0).all() and (read_session(path.session).spike_times_us % 2 == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("latents", [(1 / 16, 1), LATENTS_AS_PUBLISHED])
def test_poyo_has_as_many_parameters_and_reads_the_same_spikes(sessions, dataset, latents):
    forecaster = forecaster_of(CONFIG, sessions, DEMO)
    names = [session.session_id for session in sessions]
    poyo = poyo_like(
        forecaster,
        model_sizes=DEMO,
        context_s=1.0,
        latents=latents,
        unit_ids=[f"{name}-{unit}" for name, n in zip(names, UNITS, strict=True) for unit in range(n)],
        session_ids=names,
    )
    assert parameters(poyo) == pytest.approx(parameters(forecaster), rel=0.05)
    stream = stream_of(sessions, CONFIG, windows=3)
    order = np.random.default_rng((stream.seed, 0)).permutation(len(sessions))
    batch = stream.batch(0)
    tokens = poyo_batch(poyo, dataset, batch, [names[index] for index in order], SHAPE)
    check_same_spikes(batch, tokens)
    assert poyo(**tokens).shape == (6, CONFIG.timeline.horizon_bins, 1)
    swapped = poyo_batch(poyo, dataset, batch, [names[index] for index in order[::-1]], SHAPE)
    with pytest.raises(AssertionError):
        check_same_spikes(batch, swapped)


@pytest.mark.parametrize("groups", [MARGINAL, CONFIG.features.groups])
def test_the_loop_over_units_gives_the_reference_features(paths, groups):
    session = read_session(paths[1].session)
    arguments = (session.spike_times_us, session.spike_unit, session.n_units, session.splits.train)
    settings = {"bin_us": SHAPE.bin_us, "features": CONFIG.features.model_copy(update={"groups": groups})}
    expected = features_by_loop(*arguments, **settings)
    assert expected.std(axis=0).min() > 1e-3, "every feature differs between units"
    np.testing.assert_allclose(reference_features(*arguments, **settings).values, expected, rtol=0, atol=1e-5)


def test_sums_of_projections_give_the_numbers_and_gradients_of_a_concatenation(sessions):
    x = head_batch(sessions, CONFIG, windows=2)
    heads = heads_of(CONFIG, {})
    inputs = head_inputs(x, CONFIG, {})
    assert heads["shipped"](*inputs, x).shape == heads["summing"](*inputs, x).shape
    for name in ("summing", "concatenating"):
        forward_backward(heads[name], *inputs, x)
    assert heads["summing"].first.weight.grad.abs().max() > 0
    torch.testing.assert_close(heads["summing"](*inputs, x), heads["concatenating"](*inputs, x))
    for one, other in zip(heads["summing"].parameters(), heads["concatenating"].parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("decoding", AIMS)
def test_paths_are_the_same_with_and_without_the_cache(sessions, decoding):
    forecaster = draw_zero_weights(forecaster_of(CONFIG, sessions, DEMO))
    x = Tensors.of(stream_of(sessions, CONFIG, windows=1).batch(0))
    settings = {"rollout": CONFIG.rollout.model_copy(update={"paths": 2}), "bin_us": SHAPE.bin_us}
    with_cache, without = (paths_of(forecaster, x, decoding, **settings, cached=cached)() for cached in (True, False))
    assert torch.equal(with_cache.counts, without.counts)
    torch.testing.assert_close(with_cache.log_rate, without.log_rate, rtol=0, atol=1e-5)
    assert with_cache.log_rate.std(dim=2).max() > 1e-4, "fed-back counts have an effect"


def test_a_stream_is_timed_bin_by_bin_after_its_first_context(sessions, monkeypatch):
    forecaster = forecaster_of(CONFIG, sessions[:1], DEMO)
    assert bin_seconds(forecaster, sessions[0], SHAPE, bins=3, threads=1).shape == (3,)
    made = np.arange(1, 102) / 1000
    monkeypatch.setattr("benchmarks.streams.bin_seconds", lambda *_, **__: made)
    found = waits(forecaster, sessions[0], SHAPE, size="demo", bins=101, threads=1)
    assert found["units"] == UNITS[0]
    assert (found["p50_ms"], found["p99_ms"]) == pytest.approx((51, 100))
    assert (found["p50_bins"], found["p99_bins"]) == pytest.approx((51 / 20, 5))


def test_a_stream_restores_the_number_of_threads():
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_shares_of_operations_are_of_their_kind():
    left, right = torch.randn(2, 300, 300)
    shares = shares_of_operations(lambda: left @ right, repeats=3)
    assert next(iter(shares)) == "matrix products" and sum(shares.values()) == pytest.approx(1)
    assert kind_of("aten::_scaled_dot_product_flash_attention_for_cpu") == "attention"
    assert kind_of("aten::mul") == "elementwise and the rest"


def test_shares_of_functions_are_of_their_own_time():
    values = np.random.default_rng(0).random(300_000)
    shares = shares_of_functions(lambda: np.sort(values), repeats=3, most=3)
    assert "sort" in next(iter(shares)) and len(shares) == 3
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_the_first_of_a_pair_alternates():
    order = []
    seconds_in_turn(lambda: order.append("ours"), lambda: order.append("other"), repeats=3)
    assert order[2:] == ["ours", "other", "other", "ours", "ours", "other"]


def test_a_ratio_above_one_means_that_ours_is_faster():
    pair = compare(
        "sums",
        ours=("short", lambda: sum(range(1_000))),
        other=("long", lambda: sum(range(300_000))),
        amount=10,
        unit="sums/s",
        aim=None,
        repeats=3,
    )
    assert min(pair.ratios) > 10
    assert pair.ours_value > 10 * pair.other_value


def test_peak_memory_is_that_of_the_call():
    shape = (40, 2**17)  # of float64: 40 MB
    assert 39 < peak_of(np.ones, (shape,), before=np.ones) < 45


def test_the_slope_is_the_exponent():
    curve = Curve("units", "made", "s", (50, 200, 1600), tuple(3 * n**1.5 for n in (50, 200, 1600)))
    assert curve.slope == pytest.approx(1.5)


def test_table_json_and_plot_contain_the_results(tmp_path):
    found = {
        "pairs": [Pair("windows", "ours", "theirs", "windows/s", 10, (2.0, 4.0, 3.0, 5.0, 6.0), 40.0, 10.0)],
        "shares_of_peak": [{"network": "Forecaster", "gigaflop_per_step": 1.5, "share_of_matmul_peak": 0.25}],
        "waiting": {"workers: 0": [0.1, 0.2, 0.3]},
        "streams": [
            {"network": "demo", "units": 800, "p50_ms": 7.25, "p99_ms": 12.5, "p50_bins": 0.3625, "p99_bins": 0.625}
        ],
        "growth": [Curve("units", "counts", "s", (1, 2, 4), (1.0, 4.0, 16.0))],
    }
    text = table(found)
    for words in ("4.00x", "3.00 to 5.00", "10x", "25%", "20.0%", " 2.00 ", "7.2 ", "12.5"):
        assert words in text
    write(found, tmp_path)
    values = json.loads((tmp_path / "bench.json").read_text())
    assert values["pairs"][0]["quartiles"] == [3.0, 4.0, 5.0]
    assert values["growth"][0]["slope"] == pytest.approx(2.0)
    assert {path.name for path in tmp_path.iterdir()} == {"bench.txt", "bench.json", "growth.svg", "growth.png"}
