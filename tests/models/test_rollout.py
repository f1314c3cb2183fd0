import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from factories.sessions import made_inputs, small_config
from scipy.stats import binom, chisquare, nbinom, poisson

from benchmarks.rollouts import recomputed_paths
from neurohorizon.config import Feedback
from neurohorizon.inputs.batches import collate, session_block
from neurohorizon.inputs.windows import WindowShape, evaluation_origins
from neurohorizon.models.batch import Tensors
from neurohorizon.models.count_feedback import FedBackCounts
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.likelihoods import CountDistribution, count_loss, draw_counts, gained_nats
from neurohorizon.models.rollout import DECODINGS, Paths, sample_paths, split_totals
from neurohorizon.models.scheduled_sampling import decode_fed, fed_prefix, fed_windows, sampled_share

CONFIG = small_config()
SHAPE = WindowShape.of(CONFIG.timeline, CONFIG.model)
HORIZON = CONFIG.timeline.horizon_bins
CAP = math.log(500.0 * SHAPE.bin_us / 1e6)
FEEDS_BACK = [one for one in DECODINGS if one != "parallel"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return made_inputs(tmp_path_factory.mktemp("made"), CONFIG)


def network(inputs, *, drawn=True, **model):
    """Build a network; weights that start at zero are drawn, so that every path matters."""
    torch.manual_seed(0)
    forecaster = Forecaster(
        model=CONFIG.model.model_copy(update=model),
        n_features=inputs[0].features.shape[1],
        context_bins=CONFIG.timeline.context_bins,
        horizon_bins=HORIZON,
    ).eval()
    if drawn:
        for parameter in forecaster.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.2)
    return forecaster


def batch_of(inputs, n=4):
    blocks = [session_block(one, evaluation_origins(one.part, SHAPE, 11)[:n], SHAPE) for one in inputs]
    return Tensors.of(collate(blocks))


def everywhere(x):
    return torch.ones(x.target_mask.shape, dtype=torch.bool)


def given(forecaster, x, counts=None, is_given=None):
    """Forecast log rates given counts of the horizon; by default the observed counts of all bins."""
    fed_back = FedBackCounts(x.counts if counts is None else counts, everywhere(x) if is_given is None else is_given)
    return forecaster.decode_given(forecaster.encode(x), x, fed_back).log_rate


def paths_of(forecaster, x, decoding, *, seed=1, paths=3, maximum_rate_hz=500.0, draw=sample_paths):
    rollout = CONFIG.rollout.model_copy(update={"paths": paths, "maximum_rate_hz": maximum_rate_hz})
    generator = torch.Generator().manual_seed(seed)
    return draw(forecaster, x, decoding=decoding, rollout=rollout, bin_us=SHAPE.bin_us, generator=generator)


# --- feedback


def test_without_fed_back_counts_the_forecast_is_the_parallel_one_bit_for_bit(inputs):
    forecaster, x = network(inputs), batch_of(inputs)
    with torch.inference_mode():
        assert torch.equal(given(forecaster, x, is_given=~everywhere(x)), forecaster(x).log_rate)
        assert not torch.equal(given(forecaster, x), forecaster(x).log_rate)


def test_feedback_starts_as_nothing(inputs):
    forecaster, x = network(inputs, drawn=False), batch_of(inputs)
    torch.nn.init.normal_(forecaster.head.rate_weights.weight)
    with torch.inference_mode():
        assert torch.equal(given(forecaster, x), forecaster(x).log_rate)


def test_a_network_with_feedback_forecasts_in_parallel_as_one_without(inputs):
    forecaster, plain, x = network(inputs), network(inputs, feedback=False), batch_of(inputs)
    shared = {name: value for name, value in forecaster.state_dict().items() if name in plain.state_dict()}
    plain.load_state_dict(shared)
    with torch.inference_mode():
        assert torch.equal(plain(x).log_rate, forecaster(x).log_rate)
    with pytest.raises(ValueError, match="has no feedback"):
        given(plain, x)


@pytest.mark.parametrize("bin_index", range(HORIZON))
def test_a_fed_back_count_changes_later_bins_and_no_earlier_one(inputs, bin_index):
    forecaster, x = network(inputs), batch_of(inputs)
    counts = x.counts.clone()
    counts[:, :, bin_index, 0] += 3
    with torch.inference_mode():
        before, after = given(forecaster, x), given(forecaster, x, counts)
    assert torch.equal(before[:, :, : bin_index + 1], after[:, :, : bin_index + 1])
    if bin_index + 1 < HORIZON:
        changed = (before != after).any(-1)[:, :, bin_index + 1 :]
        assert changed.all()


def test_a_bin_that_is_not_given_feeds_nothing_back(inputs):
    forecaster, x = network(inputs), batch_of(inputs)
    some = everywhere(x)
    some[:, :, 2] = False
    other = x.counts.clone()
    other[:, :, 2] += 5
    with torch.inference_mode():
        assert torch.equal(given(forecaster, x, is_given=some), given(forecaster, x, other, some))


def test_counts_of_another_unit_have_an_effect_and_those_of_a_padded_one_have_none(inputs):
    forecaster, x = network(inputs), batch_of(inputs)
    counts = x.counts.clone()
    counts[0, :, 0, -1] += 2  # session 0 has five units, padded to seven
    counts[1, :, 0, -1] += 2
    with torch.inference_mode():
        before, after = given(forecaster, x), given(forecaster, x, counts)
    assert torch.equal(before[0, :, :, :5], after[0, :, :, :5])
    assert (before[1, :, 1:, 0] != after[1, :, 1:, 0]).all()


def test_unit_order_changes_nothing_fed_back(inputs):
    forecaster, x = network(inputs), batch_of(inputs[:1])
    order = torch.tensor([3, 1, 4, 0, 2])
    turned = replace(
        x,
        target_unit=x.target_unit[:, order],
        reference_log_rate=x.reference_log_rate[:, order],
        history=x.history[:, :, order],
        readout=x.readout[:, :, order],
        counts=x.counts[..., order],
    )
    with torch.inference_mode():
        torch.testing.assert_close(given(forecaster, turned), given(forecaster, x)[..., order])


# --- what training feeds back


FEEDBACK = Feedback(share=0.5, sampled_share=0.6, rise=0.5)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.0), (100, 0.12), (250, 0.3), (499, 0.5988), (500, 0.6), (999, 0.6)]
)
def test_own_draws_rise_from_teacher_forcing_to_the_configured_share(step, expected):
    assert sampled_share(step, steps=1000, feedback=FEEDBACK) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "step", "expected"),
    [
        ({"rise": 0.0}, 0, 0.6),
        ({"rise": 1.0}, 500, 0.3),
        ({"sampled_share": 0.0}, 900, 0.0),
        ({"rise": 1.0}, 999, 0.5994),
    ],
)
def test_the_schedule_follows_its_settings(change, step, expected):
    assert sampled_share(step, steps=1000, feedback=FEEDBACK.model_copy(update=change)) == pytest.approx(expected)


@pytest.mark.parametrize(("share", "windows", "expected"), [(0.5, 16, 8), (0.0, 16, 0), (0.01, 16, 1), (1.0, 7, 7)])
def test_a_share_of_the_windows_is_decoded_again(share, windows, expected):
    assert fed_windows(windows, FEEDBACK.model_copy(update={"share": share})) == expected


def test_half_of_the_windows_are_fed_wholly_and_the_others_up_to_a_bin():
    torch.manual_seed(0)
    known = fed_prefix(200, 50, 10)
    lengths = known.sum(-1)
    assert torch.equal(known, torch.arange(10) < lengths[..., None])  # a prefix, without holes
    share = torch.bincount(lengths.flatten(), minlength=11) / lengths.numel()
    assert share[0] == 0
    assert share[10] == pytest.approx(0.5, abs=0.02)
    assert share[1:10].numpy() == pytest.approx(0.5 / 9, abs=0.01)


def test_training_feeds_back_the_truth_at_first_and_valid_bins_alone(inputs):
    forecaster, x = network(inputs), batch_of(inputs)
    mask = x.target_mask.clone()
    mask[:, :, 1] = False
    x = replace(x, target_mask=mask)
    encoded = forecaster.encode(x)
    torch.manual_seed(3)
    found = decode_fed(forecaster, encoded, x, sampled=0.0).log_rate
    torch.manual_seed(3)
    expected = given(forecaster, x, is_given=mask & fed_prefix(*mask.shape))
    assert torch.equal(found, expected)


def test_training_feeds_back_own_draws_without_their_gradient(inputs):
    forecaster, x = network(inputs), batch_of(inputs)
    encoded = forecaster.encode(x)
    torch.manual_seed(3)
    truth = decode_fed(forecaster, encoded, x, sampled=0.0).log_rate
    torch.manual_seed(3)
    forecast = decode_fed(forecaster, encoded, x, sampled=1.0)
    own = forecast.log_rate
    assert not torch.equal(own, truth)
    assert torch.equal(own[:, :, 0], truth[:, :, 0])  # nothing is fed to the first bin
    count_loss(forecast, x).backward()
    assert forecaster.feedback.out.weight.grad.abs().sum() > 0


@pytest.mark.slow
def test_learning_with_feedback_finds_a_unit_that_repeats_itself(inputs):
    """A count that always comes twice in a row can be known from the bin before, and only from there."""
    x = batch_of(inputs)
    torch.manual_seed(0)
    first = torch.poisson(torch.full((*x.counts.shape[:2], HORIZON // 2, x.counts.shape[3]), 0.5))
    x = replace(
        x,
        counts=first.repeat_interleave(2, dim=2),
        reference_log_rate=torch.full_like(x.reference_log_rate, math.log(0.5)),
        target_mask=torch.ones_like(x.target_mask),
    )
    forecaster = network(inputs, drawn=False).train()
    optimizer = torch.optim.Adam(forecaster.parameters(), lr=0.01)
    for _ in range(150):
        loss = count_loss(forecaster.decode_given(forecaster.encode(x), x, FedBackCounts(x.counts, everywhere(x))), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        with_counts = gained_nats(given(forecaster, x), x)[0]
        without = gained_nats(forecaster(x).log_rate, x)[0]
    assert with_counts > without + 0.1 * x.counts.sum()


# --- rollouts


@pytest.mark.parametrize("decoding", DECODINGS)
def test_paths_have_counts_and_rates_of_every_bin(inputs, decoding):
    x = batch_of(inputs)
    paths = paths_of(network(inputs), x, decoding)
    assert paths.counts.shape == paths.log_rate.shape == (2, 4, 3, HORIZON, 7)
    assert paths.counts.dtype == torch.uint8
    assert torch.isfinite(paths.log_rate).all()


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial"])
@pytest.mark.parametrize("decoding", FEEDS_BACK)
def test_a_cached_rollout_is_the_uncached_one(inputs, decoding, likelihood):
    forecaster, x = network(inputs, likelihood=likelihood, decoder_layers=2), batch_of(inputs)
    cached, uncached = (paths_of(forecaster, x, decoding, draw=draw) for draw in (sample_paths, recomputed_paths))
    assert torch.equal(cached.counts, uncached.counts)
    torch.testing.assert_close(cached.log_rate, uncached.log_rate, rtol=0, atol=1e-5)
    assert cached.counts.float().var(dim=2).sum() > 0


def test_in_parallel_a_rollout_is_what_teacher_forcing_is(inputs):
    # nothing is fed back, so that neither drawn nor observed counts change a rate
    forecaster, x = network(inputs), batch_of(inputs)
    paths = paths_of(forecaster, x, "parallel")
    with torch.inference_mode():
        parallel = forecaster(x).log_rate.clamp_max(CAP)
    assert torch.equal(paths.log_rate, parallel[:, :, None].expand_as(paths.log_rate))
    torch.testing.assert_close(paths.log_mean(), parallel)


def test_an_autoregressive_path_has_the_rates_of_teacher_forcing_on_itself(inputs):
    forecaster, x = network(inputs), batch_of(inputs)
    paths = paths_of(forecaster, x, "autoregressive", paths=2)
    for path in range(2):
        drawn = paths.counts[:, :, path].float()
        with torch.inference_mode():
            forced = given(forecaster, x, drawn).clamp_max(CAP)
        torch.testing.assert_close(paths.log_rate[:, :, path], forced, rtol=0, atol=1e-5)


@pytest.mark.parametrize("decoding", ["blockwise", "coarse_to_fine"])
def test_a_block_knows_the_blocks_before_it_alone(inputs, decoding):
    forecaster, x = network(inputs), batch_of(inputs)
    paths = paths_of(forecaster, x, decoding, paths=2)
    block = CONFIG.rollout.block_bins
    for first in range(0, HORIZON, block):
        drawn = paths.counts[:, :, 0].float()
        if decoding == "coarse_to_fine":
            drawn = drawn.unflatten(2, (-1, block)).mean(3, keepdim=True).expand(-1, -1, -1, block, -1).flatten(2, 3)
        earlier = (torch.arange(HORIZON) < first).expand(drawn.shape[:3])
        with torch.inference_mode():
            forced = given(forecaster, x, drawn, earlier).clamp_max(CAP)
        some = slice(first, first + block)
        torch.testing.assert_close(paths.log_rate[:, :, 0, some], forced[:, :, some], rtol=0, atol=1e-5)


@pytest.mark.parametrize("decoding", DECODINGS)
def test_the_targets_are_not_looked_at(inputs, decoding):
    forecaster, x = network(inputs), batch_of(inputs)
    other = replace(x, counts=x.counts + 7)
    one, two = paths_of(forecaster, x, decoding), paths_of(forecaster, other, decoding)
    assert torch.equal(one.counts, two.counts)


@pytest.mark.parametrize("decoding", DECODINGS)
def test_the_generator_decides_what_is_drawn(inputs, decoding):
    forecaster, x = network(inputs), batch_of(inputs)
    first, again, other = (paths_of(forecaster, x, decoding, seed=seed).counts for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    paths_of(forecaster, x, decoding)
    assert torch.equal(state, torch.get_rng_state())  # and nothing else is drawn from


@pytest.mark.parametrize("decoding", DECODINGS)
def test_rates_are_capped(inputs, decoding):
    paths = paths_of(network(inputs), batch_of(inputs), decoding, maximum_rate_hz=0.5)
    assert paths.log_rate.max() == pytest.approx(math.log(0.5 * SHAPE.bin_us / 1e6))


def test_a_decoding_that_the_network_lacks_is_refused(inputs):
    plain, x = network(inputs, feedback=False), batch_of(inputs)
    assert paths_of(plain, x, "parallel").counts.shape[2] == 3
    with pytest.raises(ValueError, match="need a network with feedback"):
        paths_of(plain, x, "blockwise")
    with pytest.raises(ValueError, match="'backwards' is not one of parallel, autoregressive"):
        paths_of(plain, x, "backwards")
    with pytest.raises(ValueError, match="read spikes only"):
        paths_of(plain, replace(x, token_value=torch.zeros(2, 4, 1, 3)), "parallel")


def many(values, n=40_000):
    return torch.tensor(values).log().expand(n, 1, -1).transpose(1, 2)  # [draw, bin, unit]


def test_parts_sum_to_a_total_that_is_a_poisson_count_split_multinomially():
    rates = [0.1, 0.5, 1.4]
    counts = split_totals(CountDistribution(many(rates)), torch.Generator().manual_seed(0))[..., 0]
    assert torch.equal(counts, counts.round())
    assert counts.min() == 0
    total = counts.sum(1).numpy().astype(int)
    observed = np.bincount(np.minimum(total, 8), minlength=9)
    expected = poisson.pmf(np.arange(9), 2.0)
    expected[8] = 1 - expected[:8].sum()
    assert chisquare(observed, expected * observed.sum()).pvalue > 1e-3
    # given the total, a bin is binomial
    third = counts[total == 3, 1].numpy().astype(int)
    assert chisquare(np.bincount(third, minlength=4), binom.pmf(np.arange(4), 3, 0.25) * third.size).pvalue > 1e-3


@pytest.mark.parametrize("total", [0, 1, 7])
def test_the_split_keeps_every_total(total, monkeypatch):
    monkeypatch.setattr(
        "neurohorizon.models.rollout.draw_counts", lambda forecast, _: torch.full((500, 1), float(total))
    )
    counts = split_totals(CountDistribution(many([0.2, 0.0001, 3.0], 500)), torch.Generator().manual_seed(0))
    assert torch.equal(counts.sum(1), torch.full((500, 1), float(total)))


def test_bins_of_a_coarse_negative_binomial_share_their_excess():
    rates, shape = [1.0, 2.0, 1.0], 0.8
    forecast = CountDistribution(many(rates), torch.full((40_000, 3, 1), math.log(shape)))
    counts = split_totals(forecast, torch.Generator().manual_seed(0))[..., 0].numpy()
    assert counts.sum(1).var() == pytest.approx(4 + 16 / shape, rel=0.1)
    assert np.corrcoef(counts[:, 0], counts[:, 2])[0, 1] > 0.3


# --- paths


def test_the_mean_over_paths_is_that_of_numpy():
    generator = torch.Generator().manual_seed(0)
    log_rate = torch.randn(2, 3, 20, 4, 5, generator=generator)
    counts = torch.poisson(log_rate.exp(), generator=generator).to(torch.uint8)
    paths = Paths(counts, log_rate)
    np.testing.assert_allclose(paths.log_mean().numpy(), np.log(np.exp(log_rate.numpy()).mean(2)), atol=1e-6)


# --- negative binomial


def test_the_negative_binomial_loss_is_that_of_scipy(inputs):
    x = batch_of(inputs)
    torch.manual_seed(0)
    log_rate = x.reference_log_rate[:, None, None] + 0.5 * torch.randn(x.counts.shape)
    log_shape = torch.randn(x.counts.shape)
    gained, _, _ = gained_nats(log_rate.double(), x, log_shape.double())
    shape, rate, target = log_shape.exp().numpy(), log_rate.exp().numpy(), x.counts.numpy()
    null = np.exp(x.reference_log_rate.numpy())[:, None, None]
    each = nbinom.logpmf(target, shape, shape / (shape + rate)) - poisson.logpmf(target, null)
    mask = x.target_mask.numpy()[..., None] & x.target_unit_mask.numpy()[:, None, None]
    assert gained.item() == pytest.approx(each[mask].sum(), rel=1e-5)


def test_a_large_shape_is_poisson(inputs):
    x = batch_of(inputs)
    log_rate = x.reference_log_rate[:, None, None] + 0.3 * torch.ones(x.counts.shape)
    wide = gained_nats(log_rate.double(), x, torch.full(x.counts.shape, 16.0).double())[0]
    torch.testing.assert_close(wide, gained_nats(log_rate.double(), x)[0], rtol=1e-4, atol=1e-4)


def test_draws_have_the_mean_and_variance_of_their_distribution():
    forecast = CountDistribution(torch.full((100_000,), math.log(2.0)), torch.full((100_000,), math.log(0.5)))
    counts = draw_counts(forecast, torch.Generator().manual_seed(0))
    assert counts.mean() == pytest.approx(2, rel=0.03)
    assert counts.var() == pytest.approx(2 + 4 / 0.5, rel=0.06)


@pytest.mark.slow
def test_the_shape_is_learned_from_the_spread_of_counts(inputs):
    x = batch_of(inputs, 40)
    torch.manual_seed(0)
    rate = 2.0
    spread = torch.distributions.Gamma(0.5, 0.5 / rate).sample(x.counts.shape)
    x = replace(
        x,
        counts=torch.poisson(spread),
        reference_log_rate=torch.full_like(x.reference_log_rate, math.log(rate)),
        target_mask=torch.ones_like(x.target_mask),
    )
    forecaster = network(inputs, drawn=False, likelihood="negative_binomial").train()
    optimizer = torch.optim.Adam([forecaster.head.shape.log_shape], lr=0.1)
    for _ in range(100):
        forecast = forecaster(x)
        loss = count_loss(forecast, x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert forecast.log_shape.exp().mean().item() == pytest.approx(0.5, rel=0.2)
    assert torch.equal(
        forecast.log_rate, x.reference_log_rate[:, None, None].expand_as(forecast.log_rate)
    )  # and the mean stays
