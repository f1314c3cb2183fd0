from dataclasses import replace

import numpy as np
import pytest
import torch
from factories.sessions import made_session
from factories.stimuli import COMPONENTS, multimodal_config, seen_files, seen_session
from sklearn.linear_model import Ridge

from neurohorizon.experiments.multimodal.training import train_multimodal_on_files
from neurohorizon.forecasts.forecast import forecast_conditions, forecast_windows, forecast_with_network
from neurohorizon.forecasts.forecast_file import read_forecast
from neurohorizon.inputs.batches import collate, drawn_condition, session_block
from neurohorizon.inputs.session_modalities import heldout_movie, load_images, load_modalities, with_modalities
from neurohorizon.inputs.sessions import load_inputs
from neurohorizon.inputs.windows import WindowShape, evaluation_origins
from neurohorizon.modalities.conditions import CONDITIONS, Condition
from neurohorizon.modalities.signal_readout import fit_signal_readout, spans_before
from neurohorizon.modalities.signals import Signal
from neurohorizon.models.batch import Tensors
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.multimodal import MultimodalForecaster, spikes_name
from neurohorizon.models.training import train_on_files
from neurohorizon.models.weights import load_forecaster
from neurohorizon.session import Series
from neurohorizon.timeline import Intervals
from neurohorizon.units.gains import cumulative

CONFIG = multimodal_config()
SHAPE = WindowShape.of(CONFIG.timeline, CONFIG.model)
BIN_US = SHAPE.bin_us
READS = ("behaviour", "image", "image_ahead", "both")


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seen")
    return seen_files(folder, seen_session("seen", CONFIG, n_units=6), CONFIG)


def inputs_of(files, *, control="", modalities=True):
    inputs = load_inputs(files.paths, "test", groups=CONFIG.features.groups, readout=CONFIG.model.readout)
    if not modalities:
        return inputs
    loaded = load_modalities(
        files.paths,
        "test",
        readouts=files.modalities,
        images=load_images(files.paths.session, files.space, files.settings, shuffled=control == "shuffled"),
        encoder="pixels",
        settings=files.settings,
        control=control,
    )
    return replace(inputs, modalities=loaded)


def origins_of(inputs, n=6):
    return evaluation_origins(inputs.part, SHAPE, 37)[:n]


def network(*, trained=True, modalities=True):
    """Build a network; weights that start at zero are drawn, so that every path has an effect."""
    torch.manual_seed(0)
    sizes = {
        "model": CONFIG.model,
        "n_features": N_FEATURES,
        "context_bins": CONFIG.timeline.context_bins,
        "horizon_bins": CONFIG.timeline.horizon_bins,
    }
    forecaster = MultimodalForecaster(**sizes, modalities=LAYOUT) if modalities else Forecaster(**sizes)
    forecaster.eval()
    if trained:
        generator = torch.Generator().manual_seed(1)
        for parameter in forecaster.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return forecaster


@pytest.fixture(scope="module", autouse=True)
def sizes(seen):
    global LAYOUT, N_FEATURES
    LAYOUT = seen.settings.layout
    N_FEATURES = inputs_of(seen, modalities=False).features.shape[1]


def block_of(inputs, condition, origins=None):
    origins = origins_of(inputs) if origins is None else origins
    return collate([session_block(inputs, origins, SHAPE, condition=CONDITIONS[condition])])


@torch.inference_mode()
def forecast(forecaster, batch):
    return forecaster(Tensors.of(batch)).log_rate.numpy()


def test_without_modalities_the_network_equals_the_one_that_reads_only_spikes(seen):
    multimodal, spikes_only = network(), network(modalities=False)
    weights = multimodal.state_dict()
    spikes_only.load_state_dict({name: weights[spikes_name(name)] for name in spikes_only.state_dict()})
    expected = forecast(spikes_only, block_of(inputs_of(seen, modalities=False), "spikes"))
    np.testing.assert_array_equal(forecast(multimodal, block_of(inputs_of(seen), "spikes")), expected)  # bit for bit
    # also in a batch with modalities, in which the arrays are padded
    mixed = collate(
        [
            session_block(inputs_of(seen), origins_of(inputs_of(seen)), SHAPE, condition=CONDITIONS[name])
            for name in ("spikes", "both", "image_ahead")
        ]
    )
    forecasts = forecast(multimodal, mixed)
    np.testing.assert_array_equal(forecasts[0], expected[0])
    assert not np.array_equal(forecasts[1], expected[0])


@pytest.mark.parametrize("condition", READS)
def test_modalities_have_no_effect_in_an_untrained_network(seen, condition):
    multimodal = network(trained=False)
    inputs = inputs_of(seen)
    np.testing.assert_array_equal(
        forecast(multimodal, block_of(inputs, condition)), forecast(multimodal, block_of(inputs, "spikes"))
    )


def test_a_network_that_reads_modalities_makes_only_the_parallel_forecast(seen):
    x = Tensors.of(block_of(inputs_of(seen), "spikes"))
    with pytest.raises(ValueError, match="only makes the parallel forecast"):
        network().encode(x)


def test_a_base_network_with_other_parts_is_refused():
    other = CONFIG.model.model_copy(update={"encoder_layers": CONFIG.model.encoder_layers + 1})
    base = Forecaster(
        model=other,
        n_features=N_FEATURES,
        context_bins=CONFIG.timeline.context_bins,
        horizon_bins=CONFIG.timeline.horizon_bins,
    )
    with pytest.raises(ValueError, match=r"parameters that this network lacks: \['encoder\.spikes\.layers"):
        network().start_from(base)


def rewritten(files, folder, session):
    """Write a changed session next to the features and readouts of the original one."""
    from neurohorizon.session import write_session

    path = folder / f"{session.session_id}.h5"
    write_session(path, session)
    return replace(files, session=session, paths=replace(files.paths, session=path))


@pytest.fixture
def origin(seen):
    return origins_of(inputs_of(seen))[3:4]


def test_behaviour_after_the_origin_and_shortly_before_is_never_read(seen, tmp_path, origin):
    wheel = seen.session.behaviour["wheel"]
    last_us = origin[0] - CONFIG.multimodal.behaviour_delay_bins * BIN_US
    time_us = np.rint(wheel.times_s * 1e6)
    reads = {}
    for name, first_us in {"later": last_us, "sooner": last_us - 2 * BIN_US}.items():
        values = np.where((time_us >= first_us)[:, None], -3.0, wheel.values)
        changed = replace(seen.session, behaviour={"wheel": Series(wheel.times_s, values, "rad/s")})
        reads[name] = inputs_of(rewritten(seen, tmp_path, changed))
    forecaster = network()
    for condition in ("behaviour", "both"):
        before = forecast(forecaster, block_of(inputs_of(seen), condition, origin))
        np.testing.assert_array_equal(forecast(forecaster, block_of(reads["later"], condition, origin)), before)
        assert not np.array_equal(forecast(forecaster, block_of(reads["sooner"], condition, origin)), before)


def test_images_of_the_horizon_are_read_only_under_conditions_that_include_them(seen, tmp_path, origin):
    stimuli = seen.session.stimuli
    later = np.rint(stimuli["start"] * 1e6) >= origin[0]
    frame = np.where(later & (stimuli["name"] == "natural_movie_one"), 119 - stimuli["frame"], stimuli["frame"])
    changed = inputs_of(rewritten(seen, tmp_path, replace(seen.session, stimuli={**stimuli, "frame": frame})))
    forecaster = network()
    for condition in READS:
        blocks = [forecast(forecaster, block_of(one, condition, origin)) for one in (inputs_of(seen), changed)]
        assert np.array_equal(*blocks) == (condition != "image_ahead"), condition


def test_tokens_change_no_unit_without_a_response_in_the_reference_window(seen, origin):
    # the gains of these units are zero
    inputs = inputs_of(seen)
    forecaster = network()
    from_spikes = forecast(forecaster, block_of(inputs, "spikes", origin))
    for condition, follow, others in (
        ("image_ahead", slice(0, None, 2), slice(1, None, 2)),
        ("behaviour", slice(1, None, 2), slice(0, None, 2)),
    ):
        with_tokens = forecast(forecaster, block_of(inputs, condition, origin))
        silent = ~inputs.modalities.readouts[CONDITIONS[condition].image_readout or "behaviour"].cv_gain.any(axis=1)
        assert silent[others].any()
        np.testing.assert_array_equal(with_tokens[..., silent], from_spikes[..., silent])
        assert (with_tokens[..., follow] != from_spikes[..., follow]).any(axis=(0, 1, 2)).all()


def without_gains(batch):
    """Set gains to zero, so that modalities act only through tokens; cross-validated gains are kept."""
    return replace(
        batch,
        modality_gain=np.zeros_like(batch.modality_gain),
        modality_group_gain=np.zeros_like(batch.modality_group_gain),
    )


@pytest.mark.parametrize(
    ("condition", "field"),
    [
        ("both", "token_value"),
        ("both", "token_age_bins"),
        ("both", "token_type"),
        ("image_ahead", "ahead_value"),
        ("image_ahead", "ahead_age_bins"),
    ],
)
def test_value_time_and_type_of_a_token_have_an_effect(seen, condition, field):
    batch = without_gains(block_of(inputs_of(seen), condition))
    forecaster = network()
    values = getattr(batch, field)
    other = 1 - values if field == "token_type" else 1.5 * values + 0.5
    changed = forecast(forecaster, replace(batch, **{field: other.astype(values.dtype)}))
    assert not np.allclose(changed, forecast(forecaster, batch), atol=1e-6)


@pytest.mark.parametrize("condition", ["both", "image_ahead"])
def test_masked_tokens_have_no_effect(seen, condition):
    batch = without_gains(block_of(inputs_of(seen), condition))
    forecaster = network()
    names = ("token_value", "token_type", "token_age_bins", "token_mask", "ahead_value", "ahead_age_bins", "ahead_mask")
    empty = {name: getattr(batch, name)[:, :, :0] for name in names}
    expected = forecast(forecaster, replace(batch, **empty))
    assert not np.allclose(forecast(forecaster, batch), expected, atol=1e-6)
    masked = {name: np.zeros_like(getattr(batch, name)) for name in ("token_mask", "ahead_mask")}
    np.testing.assert_array_equal(forecast(forecaster, replace(batch, **masked)), expected)
    # only in some windows
    some = {name: getattr(batch, name).copy() for name in ("token_mask", "ahead_mask")}
    for mask in some.values():
        mask[:, 2:4] = False
    forecasts = forecast(forecaster, replace(batch, **some))
    np.testing.assert_allclose(forecasts[:, 2:4], expected[:, 2:4], atol=1e-6)
    assert not np.allclose(forecasts[:, :2], expected[:, :2], atol=1e-6)


def test_images_before_the_origin_are_read(seen, tmp_path, origin):
    stimuli = seen.session.stimuli
    earlier = np.rint(stimuli["start"] * 1e6) < origin[0]
    frame = np.where(earlier & (stimuli["name"] == "natural_movie_one"), 119 - stimuli["frame"], stimuli["frame"])
    changed = inputs_of(rewritten(seen, tmp_path, replace(seen.session, stimuli={**stimuli, "frame": frame})))
    forecaster = network()
    for condition in ("image", "image_ahead", "both"):
        blocks = [forecast(forecaster, block_of(one, condition, origin)) for one in (inputs_of(seen), changed)]
        assert not np.array_equal(*blocks), condition


def test_tokens_reach_back_to_the_context_and_ahead_to_the_horizon(seen):
    inputs = inputs_of(seen)
    batch = block_of(inputs, "image_ahead")
    image = batch.token_mask
    assert (batch.token_age_bins[image] > 0).all()
    assert (batch.token_age_bins[image] <= SHAPE.context_bins).all()
    assert (batch.ahead_age_bins[batch.ahead_mask] <= 0).all()
    assert (batch.ahead_age_bins[batch.ahead_mask] > -SHAPE.horizon_bins).all()
    spikes = block_of(inputs, "spikes")
    assert not spikes.token_mask.any()
    assert not spikes.ahead_mask.any()
    assert not spikes.modality_gain.any()
    assert not block_of(inputs, "both").ahead_mask.any()
    behaviour = block_of(inputs, "behaviour")
    assert not behaviour.token_value[..., :COMPONENTS].any()
    assert (behaviour.token_type == 1).all()
    assert (behaviour.token_age_bins > CONFIG.multimodal.behaviour_delay_bins).all()


def test_gains_of_images_ahead_are_computed_for_each_bin(seen):
    inputs = inputs_of(seen)
    origins = origins_of(inputs)
    batch = block_of(inputs, "image_ahead", origins)
    readout = inputs.modalities.readouts["image_ahead"]
    signal = inputs.modalities.images.signal
    for horizon_bin in (0, 3, 5):
        at_us = origins + (horizon_bin + 1) * BIN_US
        state = np.concatenate(
            [signal.means(at_us - far * BIN_US, at_us - near * BIN_US)[0] for near, far in readout.spans_bins], axis=1
        )
        expected = np.where(state == 0, 0, (state - readout.center) / readout.scale) @ readout.weights[..., 0]
        np.testing.assert_allclose(batch.modality_gain[0, :, 1, horizon_bin], expected, rtol=1e-4, atol=1e-5)
    means = batch.modality_group_gain[0].reshape(len(origins), -1, 2, 2)[:, :, 1]
    np.testing.assert_allclose(means[..., 0], batch.modality_gain[0, :, 1, :2].mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(means[..., 1], batch.modality_gain[0, :, 1, 2:].mean(axis=1), rtol=1e-5)


def test_the_readout_of_images_ahead_equals_ridge_of_scikit_learn(seen):
    # bins in order, one precision, one unit at a time
    rng = np.random.default_rng(0)
    n_bins = 800
    start_us = np.arange(n_bins) * BIN_US
    value = np.repeat(rng.normal(size=(n_bins // 4, 2)), 4, axis=0).astype(np.float32) + 1.0
    signal = Signal(np.append(start_us, n_bins * BIN_US), value, np.ones(n_bins, bool))
    log_rate = np.log(np.array([0.2, 1.5]))
    counts = rng.poisson(np.exp(log_rate + 0.3 * value[:, :1] - 0.3))
    settings = CONFIG.model.readout.model_copy(update={"ridge": (40.0,)})
    fitted = fit_signal_readout(
        [signal],
        relative=cumulative(counts / np.exp(log_rate) - 1),
        segment=np.zeros(n_bins, int),
        start_us=start_us,
        mean_counts=np.exp(log_rate),
        spans_bins=spans_before([1, 3]),
        readout=settings,
        bin_us=BIN_US,
        ahead=True,
    )
    rows = np.arange(1, n_bins)
    before = np.stack([(value[np.maximum(rows - 2, 0)] + value[rows - 1]) / 2 if len(rows) else None])[0]
    before[0] = value[0]
    state = np.concatenate([value[rows], before], axis=1)
    state = (state - state.mean(axis=0)) / state.std(axis=0)
    for unit, mean in enumerate(np.exp(log_rate)):
        model = Ridge(alpha=40.0 / mean, fit_intercept=False).fit(state, counts[rows, unit] / mean - 1)
        np.testing.assert_allclose(fitted.weights[:, unit, 0], model.coef_, rtol=1e-3, atol=1e-4)


def test_readouts_have_gains_only_for_the_signal_that_drives_a_unit(seen):
    modalities = inputs_of(seen).modalities
    gain = modalities.readouts["image_ahead"].cv_gain[:, 0]
    assert (gain[::2] > 0.02).all(), "units of VISp follow the movie"
    assert (gain[1::2] < 0.005).all(), "those of CA1 do not"
    gain = modalities.readouts["behaviour"].cv_gain[:, 0]
    assert (gain[1::2] > 0.01).all(), "units of CA1 follow the wheel"
    assert (gain[::2] < 0.005).all(), "those of VISp do not"
    shuffled = inputs_of(seen, control="shuffled").modalities.readouts["image_ahead"].cv_gain[:, 0]
    assert (shuffled < 0.01).all()


def test_the_readout_of_a_control_is_fitted_on_the_control(seen):
    plain, shuffled, shifted = (inputs_of(seen, control=control).modalities for control in ("", "shuffled", "shifted"))
    assert set(plain.readouts) >= {"behaviour", "image", "image_ahead"}
    np.testing.assert_array_equal(shuffled.readouts["behaviour"].weights, plain.readouts["behaviour"].weights)
    assert not np.array_equal(shuffled.readouts["image"].weights, plain.readouts["image"].weights)
    assert not np.array_equal(shifted.readouts["behaviour"].weights, plain.readouts["behaviour"].weights)
    assert (
        shifted.behaviour["wheel"].edges_us[0]
        == plain.behaviour["wheel"].edges_us[0] + CONFIG.multimodal.behaviour_shift_s * 1e6
    )


def test_nothing_is_fitted_on_held_out_movie_seconds(seen, tmp_path):
    # spikes in held-out seconds are changed, and the readouts stay the same
    session = seen.session
    held_out = heldout_movie(seen.paths.session, seen.settings)
    # half a second of each repeat, and the responses to its images: four bins
    np.testing.assert_allclose(held_out.stop_us - held_out.start_us, 500_000 + 4 * BIN_US, atol=2)
    assert 0 < held_out.duration_us < session.domain.duration_us / 4
    kept = ~held_out.contains(session.spike_times_us)
    assert not kept.all()
    fewer = replace(session, spike_times_us=session.spike_times_us[kept], spike_unit=session.spike_unit[kept])
    from neurohorizon.inputs.session_modalities import compute_modality_file

    out = tmp_path / "modalities.h5"
    compute_modality_file(
        paths=replace(seen.paths, session=rewritten(seen, tmp_path, fewer).paths.session),
        uses=("test",),
        embeddings=seen.embeddings,
        multimodal=seen.settings.multimodal,
        readout=seen.settings.readout,
        timeline=seen.settings.timeline,
        output=out,
    )
    changed = inputs_of(replace(seen, modalities=out)).modalities.readouts
    for name, readout in inputs_of(seen).modalities.readouts.items():
        np.testing.assert_array_equal(changed[name].weights, readout.weights)
        np.testing.assert_array_equal(changed[name].cv_gain, readout.cv_gain)


def test_nothing_is_trained_on_held_out_movie_seconds(seen):
    inputs = load_inputs(seen.paths, "early", groups=CONFIG.features.groups, readout=CONFIG.model.readout)
    images = load_images(seen.paths.session, seen.space, seen.settings)
    modalities = load_modalities(
        seen.paths, "early", readouts=seen.modalities, images=images, encoder="pixels", settings=seen.settings
    )
    part = with_modalities(inputs, seen.paths, modalities, seen.settings).part
    held_out = heldout_movie(seen.paths.session, seen.settings)
    assert inputs.part.intersect(held_out).duration_us > 0
    assert part.intersect(held_out).duration_us == 0
    assert part.duration_us + inputs.part.intersect(held_out).duration_us == inputs.part.duration_us


def test_training_draws_every_subset_of_modalities():
    rng = np.random.default_rng(0)
    drawn = [drawn_condition(rng, 0.3) for _ in range(2000)]
    share = np.mean([[one.behaviour, one.image != "", one.image == "ahead"] for one in drawn], axis=0)
    np.testing.assert_allclose(share, [0.7, 0.7, 0.35], atol=0.04)
    assert np.mean([not one.behaviour and not one.image for one in drawn]) == pytest.approx(0.09, abs=0.02)


def test_a_condition_reads_the_modalities_in_its_name():
    assert {name: (one.behaviour, one.image, one.control) for name, one in CONDITIONS.items()} == {
        "spikes": (False, "", ""),
        "behaviour": (True, "", ""),
        "image": (False, "past", ""),
        "image_ahead": (False, "ahead", ""),
        "both": (True, "past", ""),
        "behaviour_shifted": (True, "", "shifted"),
        "image_shuffled": (False, "past", "shuffled"),
        "image_ahead_shuffled": (False, "ahead", "shuffled"),
    }
    assert Condition("x", image="ahead").image_readout == "image_ahead"


def test_a_session_without_modalities_is_forecast_from_spikes(tmp_path):
    blind = made_session("blind", CONFIG.splits, n_units=4)
    files = seen_files(tmp_path, blind, CONFIG)
    inputs = inputs_of(files)
    assert inputs.modalities.images is None
    assert not inputs.modalities.behaviour
    forecaster = network()
    expected = forecast(forecaster, block_of(inputs, "spikes"))
    for condition in READS:
        np.testing.assert_array_equal(forecast(forecaster, block_of(inputs, condition)), expected)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return two training sessions, one to forecast, a network on spikes, and the multimodal one trained from it."""
    folder = tmp_path_factory.mktemp("trained")
    files = [seen_files(folder, seen_session(f"seen{index}", CONFIG, seed=index), CONFIG) for index in range(3)]
    base, output = folder / "base" / "model.safetensors", folder / "multimodal" / "model.safetensors"
    training = CONFIG.training.model_copy(update={"steps": 20})
    common = {"training": training, "fold": "main", "seed": 0, "code": "code"}
    train_on_files(
        method="neurohorizon",
        paths=[one.paths for one in files[:2]],
        timeline=CONFIG.timeline,
        features=CONFIG.features,
        model=CONFIG.model,
        checkpoints=folder / "checkpoints" / "base",
        output=base,
        log=base.with_name("log.csv"),
        **common,
    )
    train_multimodal_on_files(
        base=base,
        paths=[one.paths for one in files[:2]],
        modalities=[one.modalities for one in files[:2]],
        embeddings=files[0].embeddings,
        multimodal=CONFIG.multimodal,
        readout=CONFIG.model.readout,
        timeline=CONFIG.timeline,
        checkpoints=folder / "checkpoints" / "multimodal",
        output=output,
        log=output.with_name("log.csv"),
        **common,
    )
    return files, base, output


def test_training_to_read_modalities_does_not_change_the_forecaster(trained):
    files, base, output = trained
    before, _ = load_forecaster(base)
    after, card = load_forecaster(output)
    weights = after.state_dict()
    spikes = {spikes_name(name): value for name, value in before.state_dict().items()}
    for name, value in spikes.items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=0)
    learned = {name.split(".")[0] for name in weights if name not in spikes}
    assert learned == {"tokens", "encoder", "decoder", "head"}
    assert weights["head.modality_weights.1.weight"].any(), "something was learned"
    assert card.modalities == files[0].settings.layout
    assert (card.encoder, card.image_space) == ("pixels", files[0].space.identity)


def forecast_all(files, output, folder, **changes):
    arguments = {
        "weights": output,
        "paths": files[2].paths,
        "modalities": files[2].modalities,
        "embeddings": files[2].embeddings,
        "conditions": list(CONDITIONS),
        "fold": "main",
        "seed": 0,
        "multimodal": CONFIG.multimodal,
        "readout": CONFIG.model.readout,
        "timeline": CONFIG.timeline,
        "code": "code",
        "output_folder": folder,
    }
    forecast_conditions(**arguments | changes)
    return {name: read_forecast(folder / f"{name}.h5") for name in CONDITIONS}


def test_forecasts_from_only_spikes_are_those_of_the_forecaster(trained, tmp_path):
    files, base, output = trained
    forecasts = forecast_all(files, output, tmp_path / "conditions")
    forecast_with_network(
        weights=base,
        paths=files[2].paths,
        fold="main",
        method="neurohorizon",
        seed=0,
        timeline=CONFIG.timeline,
        code="code",
        output=tmp_path / "base.h5",
    )
    alone = read_forecast(tmp_path / "base.h5")
    np.testing.assert_array_equal(forecasts["spikes"].log_rate, alone.log_rate)
    for name, one in forecasts.items():
        assert (one.method, one.encoder, one.seed) == (name, "pixels", 0)
        assert one.method_class == ("control" if name.endswith(("_shuffled", "_shifted")) else "zero_shot")
        np.testing.assert_array_equal(one.counts, alone.counts)
        if not name.endswith("_shuffled"):  # units that follow neither signal do not change
            assert (name == "spikes") == np.array_equal(one.log_rate, alone.log_rate)


def test_other_images_than_those_of_the_training_are_refused(trained, tmp_path):
    files, _, output = trained
    from factories.stimuli import made_embeddings

    with pytest.raises(ValueError, match="image embeddings are not those"):
        forecast_all(files, output, tmp_path, embeddings=made_embeddings(tmp_path, encoder="imagenet"))
    with pytest.raises(ValueError, match="was trained on seen0"):
        forecast_all(files, output, tmp_path, paths=files[0].paths)


def test_a_base_of_other_sessions_is_refused(trained, tmp_path):
    files, base, _ = trained
    with pytest.raises(ValueError, match=r"was not trained on \['seen2'\]"):
        train_multimodal_on_files(
            base=base,
            paths=[files[2].paths],
            modalities=[files[2].modalities],
            embeddings=files[2].embeddings,
            multimodal=CONFIG.multimodal,
            readout=CONFIG.model.readout,
            timeline=CONFIG.timeline,
            training=CONFIG.training,
            fold="main",
            seed=0,
            code="",
            checkpoints=tmp_path / "checkpoints",
            output=tmp_path / "model.safetensors",
            log=tmp_path / "log.csv",
        )


def test_the_forecast_of_a_window_does_not_depend_on_other_windows(seen):
    inputs = inputs_of(seen)
    origins = origins_of(inputs, 40)
    forecaster = network()
    together = forecast_windows(forecaster, inputs, origins, SHAPE, condition=CONDITIONS["both"])
    alone = forecast_windows(forecaster, inputs, origins[17:18], SHAPE, condition=CONDITIONS["both"])
    np.testing.assert_allclose(together[17:18], alone, atol=2e-5)


def test_intervals_of_a_session_without_movies_are_empty(tmp_path):
    files = seen_files(tmp_path, made_session("blind", CONFIG.splits, n_units=4), CONFIG)
    assert heldout_movie(files.paths.session, files.settings) == Intervals.empty()
