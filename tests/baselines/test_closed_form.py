import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from factories.sessions import made_files, made_session, small_config
from scipy.stats import nbinom

from neurohorizon.baselines.closed_form import (
    CLOSED_FORMS,
    baseline_shape,
    best,
    candidates,
    gamma_poisson_law,
    gamma_poisson_paths,
    read_tuned,
    try_baselines,
    tune_on_files,
)
from neurohorizon.inputs.sessions import load_inputs
from neurohorizon.inputs.windows import Windows, WindowShape, cut_windows, evaluation_origins
from neurohorizon.methods import CLOSED_FORM
from neurohorizon.scores import poisson_log_likelihood

CONFIG = small_config()
SHAPE = WindowShape.of(CONFIG.timeline)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return [made_files(folder, made_session(f"s{i}", CONFIG.splits, seed=i), CONFIG) for i in range(2)]


def windows_of(context, mask=None, n_bins=4):
    context = np.asarray(context)
    shape = (len(context), n_bins, context.shape[2])
    return Windows(
        origin_us=np.zeros(len(context), np.int64),
        context=context,
        context_mask=np.ones(context.shape[:2], bool) if mask is None else mask,
        counts=np.zeros(shape, int),
        target_mask=np.ones(shape[:2], bool),
        spike_window=np.zeros(0, int),
        spike_unit=np.zeros(0, int),
        spike_age_bins=np.zeros(0, np.float32),
        history_edges_bins=(context.shape[1], 40),
        history=np.stack([context.sum(1), context.sum(1) * 3 + 1], axis=2).astype(np.float32),
        history_bins=np.tile(np.array([context.shape[1], 25], np.float32), (len(context), 1)),
    )


CONTEXT = np.arange(20).reshape(1, 10, 2) % 5
REFERENCE = np.array([0.5, 2.0])


def rates(name, windows, **settings):
    """Return the expected counts of a baseline, [window, horizon bin, unit]."""
    inputs = SimpleNamespace(reference_log_rate=np.log(REFERENCE))
    return np.exp(CLOSED_FORMS[name].log_rate(windows, inputs, **settings))


def test_every_closed_form_of_the_table_of_methods_has_its_function():
    assert tuple(CLOSED_FORMS) == CLOSED_FORM


def test_the_trailing_mean_counts_the_last_bins():
    rate = rates("trailing_mean", windows_of(CONTEXT), bins=3)
    np.testing.assert_allclose(rate[0, 0], (CONTEXT[0, 7:].sum(0) + 0.5) / 3)
    assert rate.shape == (1, 4, 2)


def test_a_mean_beyond_the_context_includes_spikes_before_it():
    rate = rates("trailing_mean", windows_of(CONTEXT), bins=40)
    np.testing.assert_allclose(
        rate[0, 0], (4 * CONTEXT[0].sum(0) + 1 + 0.5) / (10 + 25), rtol=1e-6
    )  # spans are float32
    shape = baseline_shape(CONFIG.timeline, [3, 40, 25])
    assert shape.history_edges_bins == (10, 25, 40) and shape.context_bins == 10


def test_masked_bins_are_neither_spikes_nor_silence():
    mask = np.ones((1, 10), bool)
    mask[0, 8] = False
    context = CONTEXT * mask[..., None]
    kept = windows_of(np.delete(context, 8, axis=1))
    for name, settings in (("shrinkage", {"bins": 3, "weight": 0.4}), ("trailing_mean", {"bins": 3})):
        fewer = settings | {"bins": 2}
        np.testing.assert_allclose(rates(name, windows_of(context, mask), **settings), rates(name, kept, **fewer))
    # in a masked bin, the filter moves to the prior without an update
    masked = rates("gamma_poisson", windows_of(context, mask), shape=2.0, discount=1.0)
    np.testing.assert_allclose(masked, rates("gamma_poisson", kept, shape=2.0, discount=1.0))


def test_shrinkage_lies_between_the_reference_and_the_recent_mean():
    windows = windows_of(CONTEXT)
    np.testing.assert_allclose(rates("shrinkage", windows, bins=5, weight=0.0)[0, 0], REFERENCE)
    np.testing.assert_allclose(rates("shrinkage", windows, bins=5, weight=1.0)[0, 0], CONTEXT[0, 5:].mean(0))


def test_without_forgetting_the_filter_is_the_conjugate_posterior():
    rate = rates("gamma_poisson", windows_of(CONTEXT), shape=3.0, discount=1.0)
    posterior = (3.0 + CONTEXT[0].sum(0)) / (3.0 / REFERENCE + 10)
    np.testing.assert_allclose(rate[0], np.broadcast_to(posterior, (4, 2)))


def test_the_filter_returns_to_the_reference_mean():
    rate = rates("gamma_poisson", windows_of(CONTEXT, n_bins=500), shape=3.0, discount=0.9)
    assert np.abs(np.log(rate[0, 0] / REFERENCE)).max() > 0.05
    np.testing.assert_allclose(rate[0, -1], REFERENCE, rtol=1e-6)


def test_paths_of_the_filter_start_from_its_negative_binomial():
    settings = {"shape": 1.5, "discount": 0.8}
    alpha, beta = gamma_poisson_law(windows_of(CONTEXT), REFERENCE, **settings)
    np.testing.assert_allclose(alpha / beta, rates("gamma_poisson", windows_of(CONTEXT), **settings))
    rng = np.random.default_rng(0)
    first = gamma_poisson_paths(windows_of(CONTEXT), REFERENCE, **settings, paths=40_000, rng=rng)[0, :, 0]
    law = nbinom(alpha[0, 0], beta[0, 0] / (1 + beta[0, 0]))
    np.testing.assert_allclose(first.mean(0), law.mean(), rtol=0.03)
    np.testing.assert_allclose(first.var(0), law.var(), rtol=0.05)


def test_paths_of_the_filter_are_updated_by_their_draws():
    windows, settings = windows_of(CONTEXT), {"shape": 1.5, "discount": 0.9}
    rng = np.random.default_rng(0)
    paths = gamma_poisson_paths(windows, REFERENCE, **settings, paths=40_000, rng=rng)[0]
    for unit, drawn in ((0, 2), (1, 0)):
        after = paths[paths[:, 0, unit] == drawn, 1, unit]
        shown = np.full((1, 1, 2), drawn)
        one_more = replace(
            windows,
            context=np.concatenate([CONTEXT, shown], axis=1),
            context_mask=np.ones((1, 11), bool),
        )
        assert after.mean() == pytest.approx(rates("gamma_poisson", one_more, **settings)[0, 0, unit], rel=0.05)


def test_the_chosen_settings_score_best(files):
    sessions = [load_inputs(one.paths, "validation", groups=(), readout=None) for one in files]
    tuned = try_baselines(sessions, shape=SHAPE, baselines=CONFIG.baselines)
    gained = {name: np.zeros(len(options)) for name, options in candidates(CONFIG.baselines).items()}
    spikes = 0
    for session in sessions:
        origins = evaluation_origins(session.part, SHAPE, SHAPE.horizon_bins)
        windows = cut_windows(session.spikes, session.part, origins, SHAPE)
        reference = np.exp(session.reference_log_rate.astype(float))
        spikes += windows.counts.sum()
        for name, options in candidates(CONFIG.baselines).items():
            for index, settings in enumerate(options):
                log_rate = CLOSED_FORMS[name].log_rate(windows, session, **settings)
                null = np.broadcast_to(np.log(reference), windows.counts.shape)
                gained[name][index] += (
                    poisson_log_likelihood(windows.counts, log_rate) - poisson_log_likelihood(windows.counts, null)
                ).sum()
    scores = {name: [one["bits_per_spike"] for one in tried] for name, tried in tuned.items()}
    assert scores["reference_mean"] == [0]
    for name, tried in tuned.items():
        np.testing.assert_allclose(scores[name], gained[name] / spikes / np.log(2), rtol=1e-9)
        chosen = candidates(CONFIG.baselines)[name][int(np.argmax(gained[name]))]
        assert best(tried) == chosen | {"bits_per_spike": max(scores[name])}
    assert max(scores["shrinkage"]) > 0.01
    assert min(scores["shrinkage"]) == -np.inf  # with a weight of 1, the rate of a silent unit stays zero


def test_slow_units_do_not_affect_the_choice(files):
    sessions = [load_inputs(one.paths, "validation", groups=(), readout=None) for one in files]
    rates_hz = np.exp(sessions[0].reference_log_rate) / 0.02
    fast = [
        replace(one, reference_log_rate=np.where(np.arange(8) < 4, -20.0, one.reference_log_rate)) for one in sessions
    ]

    def score(inputs, minimum_rate_hz=0.0):
        tried = try_baselines(inputs, shape=SHAPE, baselines=CONFIG.baselines, minimum_rate_hz=minimum_rate_hz)
        return best(tried["shrinkage"])["bits_per_spike"]

    plain = score(sessions)
    # for units without spikes in the reference window, any adaptation would score well
    assert score(fast) > 5 * plain
    assert abs(score(fast, rates_hz[:4].min() / 10) - plain) < plain


def test_a_large_cohort_is_tuned_on_evenly_spaced_sessions(files, tmp_path, monkeypatch):
    monkeypatch.setattr("neurohorizon.baselines.closed_form.MOST_SESSIONS", 2)
    paths = [one.paths for one in files] * 2
    for name, some in (("all", paths), ("spaced", paths[::2]), ("first", paths[:2])):
        tune_on_files(some, timeline=CONFIG.timeline, baselines=CONFIG.baselines, output=tmp_path / name)
    written = {name: (tmp_path / name).read_text() for name in ("all", "spaced", "first")}
    assert written["all"] == written["spaced"] != written["first"]


def test_the_file_lists_all_candidates(files, tmp_path):
    output = tmp_path / "baselines.json"
    tune_on_files([one.paths for one in files], timeline=CONFIG.timeline, baselines=CONFIG.baselines, output=output)
    written = json.loads(output.read_text())
    assert read_tuned(output)["shrinkage"] == written["shrinkage"]["settings"]
    assert len(written["shrinkage"]["tried"]) == len(candidates(CONFIG.baselines)["shrinkage"])
