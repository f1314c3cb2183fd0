from dataclasses import fields, replace

import numpy as np
import pytest
from factories.sessions import made_files, made_session, made_spikes, small_config

from neurohorizon.inputs.batches import Batch, TrainingWindows, collate, session_block
from neurohorizon.inputs.sessions import load_inputs
from neurohorizon.inputs.windows import (
    Spikes,
    WindowShape,
    cut_windows,
    evaluation_origins,
    history_sums,
    past_sums,
    sample_origins,
)
from neurohorizon.timeline import Intervals, to_s, to_us
from neurohorizon.units.reference import read_reference

SHAPE = WindowShape(bin_us=20_000, context_bins=10, horizon_bins=6, history_edges_bins=(1, 3, 10))
DOMAIN = Intervals(to_us(np.array([0.0, 3.0])), to_us(np.array([2.5, 9.0])))


@pytest.fixture(scope="module")
def spikes():
    times_us, unit = made_spikes(n_units=5, duration_s=10.0, seed=1)
    # floating point misplaces spikes that are exactly on bin edges
    edges = np.arange(0, 10_000_000, 20_000)
    times_us = np.concatenate([times_us, edges])
    unit = np.concatenate([unit, np.arange(edges.size) % 5]).astype(np.uint16)
    order = np.argsort(times_us, kind="stable")
    return Spikes(times_s=to_s(times_us[order]), unit=unit[order], n_units=5)


def naive_counts(spikes, origin_us, domain):
    """Count with Python integers, one spike at a time."""
    n_bins = SHAPE.context_bins + SHAPE.horizon_bins
    start = int(origin_us) - SHAPE.context_bins * SHAPE.bin_us
    counts = np.zeros((n_bins, spikes.n_units), int)
    valid = [
        any(a <= start + b * SHAPE.bin_us and start + (b + 1) * SHAPE.bin_us <= z for a, z in domain)
        for b in range(n_bins)
    ]
    for time_s, unit in zip(spikes.times_s.tolist(), spikes.unit.tolist(), strict=True):
        bin_index = (round(time_s * 1e6) - start) // SHAPE.bin_us
        if 0 <= bin_index < n_bins and valid[bin_index]:
            counts[bin_index, unit] += 1
    return counts, np.array(valid)


def test_far_spans_equal_the_sums_of_a_context_of_that_length(spikes):
    domain = Intervals(to_us(np.array([0.0, 0.615, 3.0, 3.5])), to_us(np.array([0.6, 2.5, 3.5, 9.0])))
    origins = np.array([200_000, 620_001, 1_234_567, 2_480_000, 3_100_001, 3_510_000, 8_880_000, 9_100_000, 2_700_000])
    edges = (10, 14, 40, 120, 160, 300)
    long = replace(SHAPE, context_bins=edges[-1], history_edges_bins=edges)
    windows = cut_windows(spikes, domain, origins, long)
    expected, bins = history_sums(windows.context, windows.context_mask, edges)
    sums, valid = past_sums(spikes, domain, origins, from_bin=10, edges_bins=edges[1:], bin_us=SHAPE.bin_us)
    np.testing.assert_array_equal(sums, expected[..., 1:])
    np.testing.assert_array_equal(valid, bins[:, 1:])
    assert (valid[:, 0] < 4).any() and sums.max() > 10  # windows contain pauses and spikes, so an error would be found


def test_history_before_the_context_is_appended_to_that_of_the_context(spikes):
    origins = np.array([3_100_001, 8_880_000])
    far = replace(SHAPE, history_edges_bins=(1, 3, 10, 140))
    windows = cut_windows(spikes, DOMAIN, origins, far)
    near = cut_windows(spikes, DOMAIN, origins, SHAPE)
    np.testing.assert_array_equal(windows.context, near.context)
    np.testing.assert_array_equal(windows.history[..., :3], near.history)
    # the second origin: 140 bins reach from 6.08 s to 8.68 s, all valid
    assert windows.history_bins[1].tolist() == [1, 2, 7, 130]
    inside = (spikes.times_s >= 6.08 - 1e-9) & (spikes.times_s < 8.68 - 1e-9)
    np.testing.assert_array_equal(windows.history[1, :, 3], np.bincount(spikes.unit[inside], minlength=5))
    # the first: from 0.300001 s to the pause, which begins at 2.5 s
    assert windows.history_bins[0, 3] == 109


def test_counts_equal_integer_arithmetic_also_at_edges_and_gaps(spikes):
    origins = np.array([200_000, 1_000_000, 1_234_567, 2_480_000, 3_100_001, 8_880_000, 9_100_000, 50_000])
    windows = cut_windows(spikes, DOMAIN, origins, SHAPE)
    for index, origin in enumerate(origins):
        counts, valid = naive_counts(spikes, origin, DOMAIN)
        np.testing.assert_array_equal(np.concatenate([windows.context[index], windows.counts[index]]), counts)
        np.testing.assert_array_equal(np.concatenate([windows.context_mask[index], windows.target_mask[index]]), valid)


def test_the_context_spikes_are_the_context_counts(spikes):
    origins = np.array([1_000_000, 2_600_000, 3_150_000])
    windows = cut_windows(spikes, DOMAIN, origins, SHAPE)
    bin_index = SHAPE.context_bins - np.ceil(windows.spike_age_bins).astype(int)
    again = np.zeros_like(windows.context)
    np.add.at(again, (windows.spike_window, bin_index, windows.spike_unit), 1)
    np.testing.assert_array_equal(again, windows.context)
    assert (windows.spike_age_bins > 0).all()


def test_times_are_rounded_to_the_nearest_microsecond(spikes):
    origins = np.array([200_000, 1_000_000, 2_480_000, 3_100_001, 9_100_000])
    rough = replace(spikes, times_s=spikes.times_s + 4e-7 * np.cos(np.arange(spikes.times_s.size)))
    exact, windows = (cut_windows(one, DOMAIN, origins, SHAPE) for one in (spikes, rough))
    for field in fields(exact):
        np.testing.assert_array_equal(getattr(windows, field.name), getattr(exact, field.name))


def test_bins_fuller_than_16_bits_are_counted(spikes):
    shape = replace(SHAPE, bin_us=100_000)
    burst = np.sort(np.random.default_rng(0).integers(5_000_000, 5_100_000, 70_001))
    full = Spikes(times_s=to_s(burst), unit=np.ones(burst.size, np.uint16), n_units=5)
    windows = cut_windows(full, DOMAIN, np.array([5_000_000]), shape)
    assert windows.counts[0, 0].tolist() == [0, 70_001, 0, 0, 0] and windows.counts.sum() == 70_001


def test_no_windows_are_empty_arrays_of_the_right_shape(spikes):
    windows = cut_windows(spikes, DOMAIN, np.zeros(0, np.int64), SHAPE)
    assert windows.context.shape == (0, 10, 5) and windows.target_mask.shape == (0, 6)
    assert windows.spike_window.size == windows.spike_age_bins.size == 0


def test_evaluation_windows_lie_wholly_inside_and_begin_every_stride(spikes):
    origins = evaluation_origins(DOMAIN, SHAPE, stride_bins=4)
    windows = cut_windows(spikes, DOMAIN, origins, SHAPE)
    assert windows.context_mask.all()
    assert windows.target_mask.all()
    expected = [origin for a, z in DOMAIN for origin in range(a + 200_000, z - 120_000 + 1, 80_000)]
    assert origins.tolist() == expected


def test_a_window_that_just_fits_is_listed():
    exact = Intervals(np.array([7]), np.array([7 + 16 * 20_000]))
    assert evaluation_origins(exact, SHAPE, 1).tolist() == [7 + 200_000]
    short = Intervals(np.array([7]), np.array([6 + 16 * 20_000]))
    assert evaluation_origins(short, SHAPE, 1).size == 0


def test_sampled_origins_are_uniform_over_all_valid_places():
    part = Intervals(np.array([0, 1000]), np.array([130, 1070]))
    shape = WindowShape(bin_us=10, context_bins=4, horizon_bins=2, history_edges_bins=(4,))
    drawn = sample_origins(
        part, shape, 20_000, np.random.default_rng(0), minimum_context_bins=3, minimum_horizon_bins=2
    )
    allowed = np.concatenate([np.arange(30, 111), np.arange(1030, 1051)])
    counts = np.array([(drawn == origin).sum() for origin in allowed])
    assert counts.sum() == drawn.size
    assert abs(counts - 20_000 / allowed.size).max() < 6 * np.sqrt(20_000 / allowed.size)


def test_an_interval_without_place_for_a_window_is_an_error():
    part = Intervals(np.array([0]), np.array([50]))
    with pytest.raises(ValueError, match="no interval holds 10 context and 6 horizon bins"):
        sample_origins(part, SHAPE, 1, np.random.default_rng(0), minimum_context_bins=10, minimum_horizon_bins=6)


def test_history_spans_add_up_newest_first():
    context = np.arange(20).reshape(1, 10, 2)
    mask = np.ones((1, 10), bool)
    mask[0, 0] = False
    sums, valid = history_sums(context, mask, (1, 3, 10))
    newest_first = context[0, ::-1]
    np.testing.assert_array_equal(sums[0, :, 0], newest_first[0])
    np.testing.assert_array_equal(sums[0, :, 1], newest_first[1:3].sum(0))
    np.testing.assert_array_equal(sums[0, :, 2], newest_first[3:10].sum(0))
    np.testing.assert_array_equal(valid[0], [1, 2, 6])


@pytest.fixture(scope="module")
def config():
    return small_config()


@pytest.fixture(scope="module")
def files(tmp_path_factory, config):
    folder = tmp_path_factory.mktemp("made")
    return [
        made_files(folder, made_session(f"s{index}", config.splits, n_units=5 + index, seed=index), config)
        for index in range(2)
    ]


def inputs_of(made, use, config):
    return load_inputs(made.paths, use, groups=config.features.groups, readout=config.model.readout)


def test_the_reference_window_never_overlaps_the_targets(files, config):
    for made in files:
        for use in ("early", "late", "validation", "test"):
            inputs = inputs_of(made, use, config)
            known = read_reference(made.paths.features, use)
            columns = [name in config.features.groups for name in known.groups]
            np.testing.assert_array_equal(inputs.features, known.values[:, columns])
            assert len(inputs.part)
            assert len(known.intervals.intersect(inputs.part)) == 0
            if use in ("validation", "test"):
                assert known.intervals.stop_us[-1] < inputs.part.start_us[0]


def test_a_batch_depends_only_on_its_seed_and_step(files, config):
    stream = TrainingWindows(
        sessions=tuple(inputs_of(made, "early", config) for made in files),
        shape=WindowShape.of(config.timeline, config.model),
        seed=3,
        sessions_per_batch=2,
        windows_per_session=4,
        units_per_session=4,
        unit_dropout=0.3,
    )
    stream.batch(0)
    for field in fields(Batch):
        np.testing.assert_array_equal(getattr(stream.batch(7), field.name), getattr(stream.batch(7), field.name))
    assert not np.array_equal(stream.batch(7).origin_us, stream.batch(8).origin_us)


def test_training_targets_lie_in_their_part(files, config):
    inputs = inputs_of(files[0], "late", config)
    stream = TrainingWindows(
        sessions=(inputs,),
        shape=WindowShape.of(config.timeline, config.model),
        seed=0,
        sessions_per_batch=1,
        windows_per_session=2000,
        units_per_session=9,
        unit_dropout=0.0,
    )
    batch = stream.batch(0)
    horizon_us = np.arange(config.timeline.horizon_bins) * 20_000
    inside = inputs.part.contains(batch.origin_us[0][:, None] + horizon_us)
    assert not inside.all()  # some windows reach past the end
    assert not (batch.target_mask[0] & ~inside).any()


def test_padding_keeps_each_sessions_own_values(files, config):
    shape = WindowShape.of(config.timeline, config.model)
    blocks = [
        session_block(inputs, evaluation_origins(inputs.part, shape, 6)[:3], shape)
        for inputs in (inputs_of(made, "test", config) for made in files)
    ]
    batch = collate(blocks)
    for row, block in enumerate(blocks):
        for name, array in block.items():
            padded = getattr(batch, name)[row]
            np.testing.assert_array_equal(padded[tuple(slice(n) for n in array.shape)], array)
        assert batch.target_unit_mask[row].sum() == 5 + row
    assert not batch.spike_mask[0, :, blocks[0]["spike_mask"].shape[1] :].any()
