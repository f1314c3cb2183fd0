from dataclasses import replace

import numpy as np
import pytest
import torch
from factories.sessions import made_inputs, small_config
from scipy.stats import norm

from neurohorizon.inputs.batches import collate, session_block
from neurohorizon.inputs.windows import Spikes, WindowShape, evaluation_origins
from neurohorizon.models.batch import Tensors
from neurohorizon.models.forecaster import TRAINING_RANGE, Forecaster, HorizonDecoder, UnitEncoder
from neurohorizon.models.layers import Attention
from neurohorizon.models.likelihoods import QUIET_COUNTS, CountDistribution, count_loss, gained_nats, squared_loss
from neurohorizon.models.own_history import OwnHistoryForecaster
from neurohorizon.scores import poisson_log_likelihood
from neurohorizon.timeline import to_s, to_us

CONFIG = small_config()
SHAPE = WindowShape.of(CONFIG.timeline, CONFIG.model)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return made_inputs(tmp_path_factory.mktemp("made"), CONFIG)


def network(inputs, *, trained=True, own_history_only=False, **model):
    """Build a network; weights that start at zero are drawn, so that every path matters."""
    torch.manual_seed(0)
    sizes = {
        "model": CONFIG.model.model_copy(update=model),
        "n_features": inputs[0].features.shape[1],
        "horizon_bins": CONFIG.timeline.horizon_bins,
    }
    if own_history_only:
        forecaster = OwnHistoryForecaster(**sizes).eval()
    else:
        forecaster = Forecaster(**sizes, context_bins=CONFIG.timeline.context_bins).eval()
    if trained:
        for part in (forecaster.head.rate_weights, forecaster.head.readout_weights):
            torch.nn.init.normal_(part.weight, std=0.1)
    return forecaster


def origins_of(inputs, n=5):
    return evaluation_origins(inputs.part, SHAPE, 11)[:n]


def batch_of(inputs, n=5, **changes):
    return collate([session_block(one, origins_of(one, n), SHAPE, **changes) for one in inputs])


@torch.inference_mode()
def forecast(forecaster, batch):
    return forecaster(Tensors.of(batch)).log_rate.numpy()


@pytest.mark.parametrize("own_history_only", [True, False])
def test_an_untrained_network_is_the_reference_mean_exactly(inputs, own_history_only):
    batch = batch_of(inputs)
    forecaster = network(inputs, trained=False, own_history_only=own_history_only)
    log_rate = torch.from_numpy(forecast(forecaster, batch))
    expected = np.broadcast_to(batch.reference_log_rate[:, None, None], log_rate.shape)
    np.testing.assert_array_equal(log_rate, expected)
    assert gained_nats(log_rate, Tensors.of(batch))[0] == 0


def with_spikes(one, times_us, unit):
    order = np.argsort(times_us, kind="stable")
    return replace(one, spikes=Spikes(to_s(times_us[order]), unit[order], one.spikes.n_units))


def test_what_follows_the_origin_is_never_read(inputs):
    one, forecaster = inputs[1], network(inputs)
    origin = origins_of(one)[3:4]
    times_us, unit = to_us(one.spikes.times_s), np.array(one.spikes.unit)
    rng = np.random.default_rng(0)
    before = times_us < origin
    changed = with_spikes(
        one,
        np.concatenate([times_us[before], rng.integers(origin[0], origin[0] + 10_000_000, 500), origin]),
        np.concatenate([unit[before], rng.integers(0, 7, 501).astype(np.uint16)]),
    )
    blocks = [collate([session_block(each, origin, SHAPE)]) for each in (one, changed)]
    assert not np.array_equal(blocks[0].counts, blocks[1].counts)
    np.testing.assert_array_equal(*(forecast(forecaster, block) for block in blocks))  # bit for bit


def test_what_precedes_the_origin_is_read(inputs):
    one, forecaster = inputs[1], network(inputs)
    origin = origins_of(one)[3:4]
    times_us, unit = to_us(one.spikes.times_s), np.array(one.spikes.unit)
    last = np.flatnonzero(times_us < origin)[-1]
    without = with_spikes(one, np.delete(times_us, last), np.delete(unit, last))
    blocks = [collate([session_block(each, origin, SHAPE)]) for each in (one, without)]
    assert not np.array_equal(*(forecast(forecaster, block) for block in blocks))


def test_unit_order_changes_nothing(inputs):
    one, forecaster = inputs[1], network(inputs)
    order = np.random.default_rng(1).permutation(one.spikes.n_units)
    rank = np.argsort(order)
    readout = one.readout
    shuffled = replace(
        one,
        spikes=Spikes(np.array(one.spikes.times_s), rank[one.spikes.unit], one.spikes.n_units),
        features=one.features[order],
        reference_log_rate=one.reference_log_rate[order],
        readout=replace(
            readout,
            mean_counts=readout.mean_counts[order],
            modes=readout.modes[order],
            weights=readout.weights[:, order],
            cv_gain=readout.cv_gain[order],
        ),
    )
    plain, other = (forecast(forecaster, batch_of([each])) for each in (one, shuffled))
    np.testing.assert_allclose(plain[..., order], other, atol=1e-5)


def test_padding_and_batch_size_change_nothing(inputs):
    forecaster = network(inputs)
    together = forecast(forecaster, batch_of(inputs))
    for row, one in enumerate(inputs):
        n_units = one.spikes.n_units
        alone = forecast(forecaster, batch_of([one]))
        np.testing.assert_allclose(together[row, ..., :n_units], alone[0], atol=1e-5)
        single = [
            forecast(forecaster, collate([session_block(one, origin[None], SHAPE)]))[0, 0] for origin in origins_of(one)
        ]
        np.testing.assert_allclose(np.stack(single), alone[0], atol=1e-5)


def test_a_masked_bin_adds_nothing_to_the_loss(inputs):
    batch = batch_of(inputs)
    predicted = CountDistribution(torch.from_numpy(forecast(network(inputs), batch)))
    masked = replace(batch, target_mask=batch.target_mask.copy(), counts=batch.counts.copy())
    masked.target_mask[:, :, 2] = False
    loss = count_loss(predicted, Tensors.of(masked))
    masked.counts[:, :, 2] += 100
    assert count_loss(predicted, Tensors.of(masked)) == loss
    assert count_loss(predicted, Tensors.of(batch)) != loss


def test_the_loss_is_the_scores_log_likelihood(inputs):
    batch = batch_of([inputs[0]])
    log_rate = forecast(network(inputs), batch)[0].astype(float)
    null = np.broadcast_to(batch.reference_log_rate[0], log_rate.shape).astype(float)
    mask = batch.target_mask[0]
    expected = sum(
        sign * (poisson_log_likelihood(batch.counts[0], rate) * mask[..., None]).sum()
        for sign, rate in ((1, log_rate), (-1, null))
    )
    gained = gained_nats(torch.from_numpy(log_rate)[None], Tensors.of(batch))[0]
    np.testing.assert_allclose(gained, expected, rtol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_a_bin_of_the_horizon_attends_to_later_ones_only_without_a_causal_mask(causal):
    torch.manual_seed(0)
    model = CONFIG.model.model_copy(update={"causal": causal})
    decoder = HorizonDecoder(model=model, horizon_bins=6, dropout=0.0).eval()
    bins, latents = torch.randn(1, 1, 6, 16, requires_grad=True), torch.randn(1, 1, 4, 16)
    for place in range(6):
        (gradient,) = torch.autograd.grad(decoder(bins, latents)[0, 0, place].square().sum(), bins)
        attended = gradient[0, 0].abs().sum(-1) > 0
        assert attended.tolist() == [other <= place or not causal for other in range(6)]


@pytest.mark.parametrize("identity", [True, False])
def test_without_identity_the_features_of_a_unit_have_no_effect(inputs, identity):
    batch = batch_of([inputs[0]])
    forecaster = network(inputs, identity=identity)
    other = replace(
        batch, features=batch.features[:, ::-1].copy(), readout_cv_gain=batch.readout_cv_gain[:, ::-1].copy()
    )
    assert np.array_equal(*(forecast(forecaster, one) for one in (batch, other))) is not identity


def test_a_feature_beyond_the_units_of_training_counts_as_the_edge_of_their_range():
    rng = np.random.default_rng(0)
    features, cv_gain = rng.normal(3, 2, (500, 4)).astype(np.float32), rng.normal(size=(500, 2)).astype(np.float32)
    encoder = UnitEncoder(n_inputs=6, width=8, noise=0.0).eval()
    encoder.fit_scale(torch.from_numpy(features), torch.from_numpy(cv_gain))
    low, high = np.quantile(features, TRAINING_RANGE, axis=0)

    def embedded(values):
        return encoder(torch.from_numpy(values.astype(np.float32))[None], torch.from_numpy(cv_gain[:2])[None])

    edges, inside = np.stack([low, high]), np.stack([low + 0.1, high - 0.1])
    torch.testing.assert_close(embedded(edges), embedded(np.stack([low - 50, high + 50])))
    assert not torch.allclose(embedded(inside), embedded(edges), atol=1e-3)


@pytest.mark.parametrize("own_history", [True, False])
def test_without_own_history_a_units_past_counts_change_nothing(inputs, own_history):
    batch = batch_of([inputs[0]])
    forecaster = network(inputs, own_history=own_history)
    busier = replace(batch, history=batch.history + np.arange(1, batch.history.shape[-1] + 1, dtype=np.float32))
    assert np.array_equal(*(forecast(forecaster, one) for one in (batch, busier))) is not own_history


def test_the_squared_loss_is_that_of_normal_counts(inputs):
    batch = batch_of([inputs[0]])
    x, log_rate = Tensors.of(batch), forecast(network(inputs), batch)
    null = np.exp(batch.reference_log_rate[0].astype(float))
    valid = np.broadcast_to(batch.target_mask[0][..., None], log_rate[0].shape)
    spread = np.broadcast_to(np.sqrt(null + QUIET_COUNTS), log_rate[0].shape)
    forecasts = {"model": np.exp(log_rate[0].astype(float)), "null": np.broadcast_to(null, log_rate[0].shape)}
    nats = {name: norm.logpdf(batch.counts[0], mean, spread)[valid].sum() for name, mean in forecasts.items()}
    expected = (nats["null"] - nats["model"]) / forecasts["null"][valid].sum()
    np.testing.assert_allclose(squared_loss(CountDistribution(torch.from_numpy(log_rate)), x), expected, rtol=1e-4)
    truth = torch.log(x.counts.clamp_min(1e-6))
    assert squared_loss(CountDistribution(truth), x) < squared_loss(CountDistribution(truth + 0.1), x)


def test_rotary_attention_knows_time_differences_alone():
    torch.manual_seed(0)
    attention = Attention(width=16, heads=2, longest_bins=20).eval()
    queries, tokens = torch.randn(1, 3, 16), torch.randn(1, 5, 16)
    early, late = torch.arange(3.0), torch.arange(5.0)
    plain = attention(queries, tokens, early, late)
    torch.testing.assert_close(plain, attention(queries, tokens, early + 7, late + 7), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(plain, attention(queries, tokens, early + 7, late), atol=1e-4)


def test_a_context_without_spikes_gives_finite_forecasts(inputs):
    one = replace(inputs[0], spikes=Spikes(np.zeros(0), np.zeros(0, np.uint16), inputs[0].spikes.n_units))
    assert np.isfinite(forecast(network(inputs), batch_of([one]))).all()


def test_noise_on_features_is_for_training_alone(inputs):
    batch = Tensors.of(batch_of(inputs))
    forecaster = network(inputs)
    with torch.inference_mode():
        plain = forecaster(batch).log_rate
        forecaster.unit_encoder.noise = 0.5
        torch.testing.assert_close(forecaster(batch).log_rate, plain, rtol=0, atol=0)
        assert not torch.allclose(forecaster.train()(batch).log_rate, plain)


def test_no_parameter_belongs_to_a_unit(inputs):
    counts = {sum(p.numel() for p in network([one]).parameters()) for one in inputs}
    assert len(counts) == 1


def test_the_same_seed_gives_the_same_forecasts(inputs):
    batch = batch_of(inputs)
    np.testing.assert_array_equal(*(forecast(network(inputs), batch) for _ in range(2)))


def test_the_forward_is_the_decoding_of_the_encoded_batch(inputs):
    x, forecaster = Tensors.of(batch_of(inputs)), network(inputs)
    with torch.inference_mode():
        assert torch.equal(forecaster.decode(forecaster.encode(x), x).log_rate, forecaster(x).log_rate)
