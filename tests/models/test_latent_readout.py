"""The latent readout: its closed form, its inputs, and that training finds what linear modes cannot."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from factories.sessions import made_files, made_session, small_config
from factories.trainings import train_network
from safetensors.torch import save_file

from neurohorizon.config import LatentReadout as Settings
from neurohorizon.forecasts.forecast import forecast_with_network
from neurohorizon.forecasts.forecast_file import read_forecast
from neurohorizon.forecasts.latent_readout import forecast_with_latent_readout
from neurohorizon.inputs.sessions import load_inputs
from neurohorizon.inputs.windows import WindowShape
from neurohorizon.models.latent_readout import (
    GroupedWindows,
    LatentReadout,
    Population,
    grouped_windows,
    nats_gained,
)
from neurohorizon.models.latent_readout_training import (
    ReadSession,
    bits_gained,
    optimise,
    train_latent_readout,
)
from neurohorizon.models.weights import load_forecaster

CONFIG = small_config()
SETTINGS = Settings(
    latents=4,
    loadings=3,
    width=16,
    penalty=30.0,
    fit_windows=300,
    windows=60,
    steps=20,
    sessions_per_batch=2,
    fit_windows_per_step=100,
    windows_per_step=30,
    units_per_step=6,
    learning_rate=0.01,
    weight_decay=0.01,
    unit_dropout=0.1,
    validate_every_steps=10,
    patience=5,
)
SPANS, GROUPS, UNITS, MODES = 2, 2, 7, 3


def made_windows(rng, n, population, *, drive):
    """Windows of units that share a hidden state, which shows in the counts and changes what follows by ``drive``."""
    hidden = rng.normal(size=n)
    bins = np.tile([2.0, 8.0], (n, 1))
    mean = population.mean_counts.numpy()
    side = np.where(np.arange(UNITS) % 2, 1.0, -1.0)
    rate = mean * np.exp(1.5 * hidden[:, None] * side)
    sums = rng.poisson(rate[:, None] * bins[..., None])
    expected = np.tile(mean * 5, (n, GROUPS, 1))
    observed = rng.poisson(expected * np.exp(drive(hidden))[:, None, None])
    return GroupedWindows(*(torch.tensor(one, dtype=torch.float32) for one in (sums, bins, observed, expected)))


def made_population(rng):
    return Population(
        unit=torch.tensor(rng.normal(size=(UNITS, 5)), dtype=torch.float32),
        modes=torch.tensor(rng.normal(size=(UNITS, MODES)), dtype=torch.float32),
        mean_counts=torch.tensor(rng.uniform(0.3, 1.5, UNITS), dtype=torch.float32),
    )


def made_readout(**changes):
    torch.manual_seed(0)
    settings = SETTINGS.model_copy(update=changes)
    return LatentReadout(settings, n_features=5, n_spans=SPANS, n_groups=GROUPS, n_modes=MODES)


def test_weights_are_those_of_a_penalised_regression_for_each_unit_and_group():
    rng = np.random.default_rng(0)
    population, readout = made_population(rng), made_readout()
    windows = made_windows(rng, 200, population, drive=np.abs)
    with torch.inference_mode():
        latents = readout.latents(population, windows)
        found = readout.fit(latents, windows, torch.tensor([1, 4]))
    z = latents.double().numpy()
    z = (z - z.mean(0)) / (z.std(0, ddof=1) + 1e-3)
    for place, unit in enumerate([1, 4]):
        for group in range(GROUPS):
            expected, observed = (one[:, group, unit].double().numpy() for one in (windows.expected, windows.observed))
            gram = z.T @ np.diag(expected) @ z + 30 * np.eye(4)
            alone = np.linalg.solve(gram, z.T @ (observed - expected))
            np.testing.assert_allclose(found.weights[group, place], alone, rtol=2e-3, atol=1e-5)


def test_the_gain_of_sums_is_that_of_the_bins():
    rng = np.random.default_rng(1)
    counts, log_rate, gain = rng.poisson(1.0, (5, 6)), rng.normal(size=(5, 6)), rng.normal(size=(5, 1))
    by_bin = (counts * (log_rate + gain) - np.exp(log_rate + gain)) - (counts * log_rate - np.exp(log_rate))
    found = nats_gained(
        torch.tensor(gain), torch.tensor(counts.sum(1, keepdims=True)), torch.tensor(np.exp(log_rate)).sum(1, True)
    )
    np.testing.assert_allclose(found, by_bin.sum())


def planted(drive, *, sessions, seed):
    rng = np.random.default_rng(seed)
    made = []
    for number in range(sessions):
        population = made_population(rng)
        reference, windows = (made_windows(rng, n, population, drive=drive) for n in (300, 60))
        made.append(ReadSession(f"s{number}", population, reference, windows))
    return made


def test_training_finds_a_state_that_no_linear_readout_contains():
    """Both signs of the hidden state raise all rates: its linear correlation with what follows is zero."""
    training, validation = (
        planted(lambda hidden: 0.8 * np.abs(hidden) - 0.6, sessions=4, seed=seed) for seed in (2, 3)
    )
    readout = made_readout(learning_rate=0.02, steps=60)
    before = bits_gained(readout, validation)
    state, gained = optimise(readout, training, validation, SETTINGS.model_copy(update={"steps": 60}), seed=0)
    readout.load_state_dict(state)
    assert gained == pytest.approx(bits_gained(readout, validation), abs=1e-5)
    assert gained > max(before, 0) + 0.02


def test_a_readout_that_does_not_hold_later_is_left_without_effect():
    """In the validation session the hidden state has the opposite effect after the reference window."""
    rng = np.random.default_rng(4)
    population = made_population(rng)
    reference, windows = (
        made_windows(rng, 300, population, drive=lambda hidden, sign=sign: sign * hidden) for sign in (1, -1)
    )
    changed = [ReadSession("s", population, reference, windows)]
    sound = planted(lambda hidden: hidden, sessions=2, seed=5)
    state, gained = optimise(made_readout(), sound, changed, SETTINGS.model_copy(update={"steps": 10}), seed=0)
    assert gained == 0 and not state["scale"].any()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    files = [
        made_files(folder, made_session(f"s{seed}", CONFIG.splits, n_units=5 + seed, seed=seed), CONFIG)
        for seed in range(3)
    ]
    model = CONFIG.model.model_copy(update={"population": False, "feedback": False})
    weights = train_network(folder, files[:2], CONFIG.model_copy(update={"model": model}))
    return folder, files, weights


def trained(run, **changes):
    folder, files, weights = run
    output = folder / "latent.safetensors"
    train_latent_readout(
        weights=weights,
        paths=[one.paths for one in files[:2]],
        timeline=CONFIG.timeline,
        settings=SETTINGS.model_copy(update=changes),
        fold="main",
        seed=0,
        threads=1,
        code="c",
        output=output,
    )
    return output


def forecast(run, readout, name="latent.h5"):
    folder, files, weights = run
    given = {"weights": weights, "paths": files[2].paths, "fold": "main", "seed": 0, "timeline": CONFIG.timeline}
    forecast_with_latent_readout(**given, readout=readout, code="", output=folder / name)
    forecast_with_network(**given, method="neurohorizon", code="", output=folder / "network.h5")
    return read_forecast(folder / name), read_forecast(folder / "network.h5")


def test_windows_hold_the_sums_of_the_context_and_of_the_horizon(run):
    _, files, weights = run
    network, card = load_forecaster(weights)
    shape = WindowShape.of(CONFIG.timeline, card.model)
    inputs = load_inputs(files[2].paths, "test", groups=card.features.groups, readout=card.model.readout)
    origin = int(inputs.part.start_us[0]) + 2_000_000
    found = grouped_windows(network, inputs, np.array([origin]), shape)
    times_us, unit = files[2].session.spike_times_us, files[2].session.spike_unit
    for place, (near, far) in enumerate([(0, 2), (2, 10)]):
        inside = (times_us >= origin - far * shape.bin_us) & (times_us < origin - near * shape.bin_us)
        np.testing.assert_array_equal(found.sums[0, place], np.bincount(unit[inside], minlength=7))
    for place, (near, far) in enumerate([(0, 2), (2, 6)]):
        inside = (times_us >= origin + near * shape.bin_us) & (times_us < origin + far * shape.bin_us)
        np.testing.assert_array_equal(found.observed[0, place], np.bincount(unit[inside], minlength=7))


def test_a_forecast_differs_from_the_network_by_one_gain_in_each_group_of_bins(run, tmp_path):
    readout = trained(run, penalty=3.0, learning_rate=1e-6)
    state_file = readout.with_suffix(".json")
    assert '"fold": "main"' in state_file.read_text()
    corrected, network = forecast(run, readout)
    assert (corrected.method, corrected.method_class, corrected.seed) == (
        "neurohorizon_latent_readout",
        "zero_shot",
        0,
    )
    gain = corrected.log_rate - network.log_rate
    for bins in (slice(0, 2), slice(2, 6)):
        np.testing.assert_allclose(gain[:, bins], np.repeat(gain[:, bins][:, :1], bins.stop - bins.start, 1), atol=1e-5)


def test_a_readout_without_effect_leaves_the_forecast_unchanged_to_the_bit(run):
    corrected, network = forecast(run, trained(run, steps=1, validate_every_steps=2))
    np.testing.assert_array_equal(corrected.log_rate, network.log_rate)


def test_a_readout_of_another_network_is_refused(run, tmp_path):
    readout = trained(run, steps=1)
    _, _, weights = run
    other = tmp_path / "model.safetensors"
    state = load_forecaster(weights)[0].state_dict()
    save_file({name: value + 1 for name, value in state.items()}, other)
    other.with_suffix(".json").write_text(weights.with_suffix(".json").read_text())
    with pytest.raises(ValueError, match="was trained with another network than"):
        forecast((run[0], run[1], other), readout, "other.h5")


def test_no_window_is_an_error_with_the_session(run):
    _, files, weights = run
    network, card = load_forecaster(weights)
    inputs = load_inputs(files[2].paths, "test", groups=card.features.groups, readout=card.model.readout)
    with pytest.raises(ValueError, match="session s2 has no windows"):
        grouped_windows(network, replace(inputs), np.zeros(0, np.int64), WindowShape.of(CONFIG.timeline, card.model))
