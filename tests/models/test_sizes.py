"""Sizes of the network: what they hold, that nothing in them belongs to a unit, and what training them takes."""

import re
from itertools import pairwise

import pytest
import torch
import yaml
from factories import ROOT
from factories.sessions import made_files, made_session, small_config

from neurohorizon.config import Config, parse_config, read_config
from neurohorizon.inputs.batches import collate, session_block
from neurohorizon.inputs.sessions import load_inputs
from neurohorizon.inputs.windows import WindowShape, evaluation_origins
from neurohorizon.models.batch import Tensors
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.likelihoods import count_loss, gained_nats
from neurohorizon.models.training import TrainingModule, checkpoint_layers
from neurohorizon.units.reference import feature_names

SIZES = {"tiny": 0.25e6, "small": 5e6, "base": 30e6, "large": 100e6}
RUNS = ("demo", "steinmetz", "hippocampus", "config")


def laid_over(run: str, size: str) -> Config:
    """Lay a size over a run as Snakemake does with two --configfile."""
    values = read_config(ROOT / "config" / f"{run}.yaml").model_dump(mode="json")
    changes = yaml.safe_load((ROOT / "config" / "sizes" / f"{size}.yaml").read_text())
    assert set(changes) <= {"model", "training"}
    return parse_config(values | {name: values[name] | section for name, section in changes.items()})


def parameters(config: Config) -> int:
    with torch.device("meta"):
        forecaster = Forecaster(
            model=config.model,
            n_features=sum(len(names) for names in feature_names(config.features).values()),
            context_bins=config.timeline.context_bins,
            horizon_bins=config.timeline.horizon_bins,
        )
    return sum(p.numel() for p in forecaster.parameters())


def documented() -> dict[str, float]:
    text = (ROOT / "docs" / "network.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\d.]+) M \|$", text, re.MULTILINE)
    return {size: float(millions) * 1e6 for size, millions in rows}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("run", RUNS)
def test_a_size_lies_over_every_run_and_has_the_parameters_of_the_table(run, size):
    config = laid_over(run, size)
    found = parameters(config)
    assert found == pytest.approx(documented()[size], rel=0.15)
    assert found == pytest.approx(SIZES[size], rel=0.15)
    head = config.model.width // config.model.heads
    assert head % 8 == 0  # fused attention wants whole groups of eight


@pytest.mark.parametrize("size", SIZES)
def test_every_size_trains_on_batches_of_as_many_sessions(size):
    plain, sized = read_config(ROOT / "config" / "config.yaml").training, laid_over("config", size).training
    sessions = [one.sessions_per_batch * one.accumulate_batches * one.devices for one in (plain, sized)]
    assert sessions[0] == sessions[1]


def test_sizes_grow():
    counts = [parameters(laid_over("config", size)) for size in SIZES]
    assert all(4 * small <= large for small, large in pairwise(counts[:3])) and 3 * counts[2] <= counts[3]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    config, folder = small_config(), tmp_path_factory.mktemp("made")
    made = [
        made_session(f"s{seed}", config.splits, n_units=n_units, seed=seed) for seed, n_units in enumerate((5, 11, 23))
    ]
    files = [made_files(folder, one, config) for one in made]
    return [
        load_inputs(one.paths, "test", groups=config.features.groups, readout=config.model.readout) for one in files
    ]


def network(inputs, *, dropout=0.0):
    config = small_config(model={"encoder_layers": 3, "decoder_layers": 2})
    torch.manual_seed(0)
    forecaster = Forecaster(
        model=config.model,
        n_features=inputs[0].features.shape[1],
        context_bins=config.timeline.context_bins,
        horizon_bins=config.timeline.horizon_bins,
        dropout=dropout,
    )
    for part in (forecaster.head.rate_weights, forecaster.head.readout_weights):
        torch.nn.init.normal_(part.weight, std=0.1)  # these start at zero, and would let no gradient through
    return forecaster


def batch_of(*parts, first=0) -> Tensors:
    """Make a batch of four windows of each session, from the next four on where one stands again."""
    config = small_config()
    shape = WindowShape.of(config.timeline, config.model)
    blocks = []
    for place, one in enumerate(parts):
        begin = first + 4 * sum(one is other for other in parts[:place])
        blocks.append(session_block(one, evaluation_origins(one.part, shape, 11)[begin : begin + 4], shape))
    return Tensors.of(collate(blocks))


def gradient(forecaster, *batches: Tensors, seed=None) -> dict[str, torch.Tensor]:
    """Average the gradients of the losses of batches."""
    forecaster.zero_grad()
    for x in batches:
        if seed is not None:
            torch.manual_seed(seed)
        (count_loss(forecaster(x), x) / len(batches)).backward()
    return {name: p.grad.clone() for name, p in forecaster.named_parameters() if p.grad is not None}


def test_parameters_are_the_same_whatever_is_recorded(inputs):
    """One network serves sessions, units and animals that it was not made for, with nothing to add."""
    forecaster = network(inputs)
    before = {name: p.shape for name, p in forecaster.named_parameters()}
    units = {one.spikes.n_units for one in inputs}
    assert len(units) == 3
    for some in (inputs[:1], inputs[1:2], inputs):
        x = batch_of(*some)
        assert forecaster(x).log_rate.shape[-1] == max(one.spikes.n_units for one in some)
    assert {name: p.shape for name, p in forecaster.named_parameters()} == before
    assert not units & {size for shape in before.values() for size in shape}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputed_layers_give_the_same_forecast_and_the_same_gradient(inputs, dropout):
    x = batch_of(*inputs)
    kept, recomputed = network(inputs, dropout=dropout), network(inputs, dropout=dropout)
    checkpoint_layers(recomputed)
    assert recomputed.state_dict().keys() == kept.state_dict().keys()
    with torch.no_grad():
        torch.testing.assert_close(recomputed.eval()(x).log_rate, kept.eval()(x).log_rate, rtol=0, atol=0)
    recomputed.train(), kept.train()
    expected, found = gradient(kept, x, seed=1), gradient(recomputed, x, seed=1)
    assert expected.keys() == found.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-6)
    assert expected["encoder.latents"].abs().max() > 1e-4


def test_recomputed_layers_keep_less_for_the_gradient(inputs):
    x, kept = batch_of(*inputs), []
    for recompute in (False, True):
        forecaster = network(inputs)
        if recompute:
            checkpoint_layers(forecaster)
        storages = {}

        def hold(tensor, storages=storages):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
            loss = count_loss(forecaster(x), x)
        kept.append(sum(storages.values()))
        del loss
    assert kept[1] < 0.5 * kept[0]


def test_accumulated_batches_weigh_by_expected_spikes_in_one_batch_and_alike_apart(inputs):
    # a batch's loss is per expected spike: one batch of all sessions has the gradients of the parts weighed by the
    # spikes that they expect, and accumulated batches their plain mean
    forecaster = network(inputs)
    parts = [batch_of(one) for one in inputs]
    apart = [gradient(forecaster, part) for part in parts]
    together, accumulated = gradient(forecaster, batch_of(*inputs)), gradient(forecaster, *parts)
    spikes = torch.stack([gained_nats(forecaster(part).log_rate, part)[1] for part in parts]).detach()
    share = spikes / spikes.sum()
    for name in together:
        weighed = sum(weight * one[name] for weight, one in zip(share, apart, strict=True))
        torch.testing.assert_close(together[name], weighed, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(accumulated[name], sum(one[name] for one in apart) / 3, rtol=1e-4, atol=1e-6)
    assert share.max() > 1.5 * share.min()  # so that the two are not the same here
    assert not torch.allclose(together["head.mix.weight"], accumulated["head.mix.weight"], rtol=1e-2)
    # where the parts expect as many spikes, the two agree
    one = inputs[1]
    twice, halves = gradient(forecaster, batch_of(one, one)), (batch_of(one), batch_of(one, first=4))
    assert not torch.equal(halves[0].counts, halves[1].counts)
    for name, value in gradient(forecaster, *halves).items():
        torch.testing.assert_close(value, twice[name], rtol=1e-4, atol=1e-6)


def test_bf16_forecasts_are_near_those_of_full_precision(inputs):
    x, forecaster = batch_of(*inputs), network(inputs).eval()
    with torch.inference_mode():
        plain = forecaster(x).log_rate
        with torch.autocast("cpu", torch.bfloat16):
            half = forecaster(x).log_rate
    assert half.dtype == torch.float32  # the residual is added to a reference rate that is not rounded
    assert not torch.equal(half, plain)
    assert (half - plain).abs().max() < 0.05 * (plain - x.reference_log_rate[:, None, None]).abs().max()


def test_weights_trained_with_recomputed_layers_load_anywhere(inputs):
    config = small_config(training={"checkpoint_gradients": True})
    forecaster = network(inputs)
    checkpoint_layers(forecaster)
    module = TrainingModule(forecaster=forecaster, training=config.training, seed=0)
    network(inputs).load_state_dict(
        {name.removeprefix("forecaster."): value for name, value in module.state_dict().items()}
    )
