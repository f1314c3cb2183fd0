"""The online mixture: only its past, its regret, its parts by hand, and the file that it writes."""

from dataclasses import replace

import numpy as np
import pytest
from factories.forecasts import BIN_US, plain_forecast

from neurohorizon.config import Adaptive
from neurohorizon.forecasts.forecast_file import Forecast, read_forecast, write_forecast
from neurohorizon.forecasts.online_mixture import OnlineMixture, forecast_with_mixture, mix_windows

WINDOWS, BINS, UNITS, STRIDE = 40, 10, 5, 4
METHODS = (
    "reference_mean",
    "trailing_mean",
    "shrinkage",
    "reduced_rank",
    "own_history",
    "own_history_readout",
    "neurohorizon",
)
PLAIN = METHODS[:3]
"""Methods without halves and level corrections."""


def learners(share: float = 0.01, pooling: tuple[float, ...] = (0.0, 0.3, 1.0), rates: tuple[float, ...] = (1.0,)):
    return ({"share": share, "pooling": pooling, "learning_rates": rates},)


def only(share: float = 0.01, pooling: float = 0.0) -> dict:
    """Settings of one learner, with Bayes' rule."""
    return {"learners": learners(share, (pooling,)), "second": {"share": share, "pooling": 0.5, "learning_rate": 1.0}}


def settings(**changes: object) -> Adaptive:
    usual = {
        "horizon_edges_bins": (2, 5, 10),
        "learners": learners(),
        "second": {"share": 0.01, "pooling": 0.5, "learning_rate": 1.0},
        "network_prior": 4.0,
        "level_spikes": 5.0,
        "level_bins": 50,
    }
    return Adaptive(**(usual | changes))


def recording(methods=METHODS, *, seed=0, windows=WINDOWS, stride=STRIDE):
    """Counts of one recording, seen by overlapping windows, and forecasts that are wrong in different ways."""
    rng = np.random.default_rng(seed)
    bins = windows * stride + BINS
    rate = np.exp(rng.normal(-0.5, 0.7, UNITS) + 0.5 * np.sin(np.arange(bins)[:, None] / 15))
    every = rng.poisson(rate)
    place = np.arange(windows)[:, None] * stride + np.arange(BINS)
    valid = np.ones(bins, bool)
    valid[60:63] = False
    log_rates = {
        name: (np.log(rate[place]) + rng.normal(0, 0.2 + 0.1 * number, (windows, BINS, UNITS))).astype(np.float32)
        for number, name in enumerate(methods)
    }
    given = {"start_us": place[:, 0] * BIN_US + 7, "counts": every[place], "target_mask": valid[place]}
    return log_rates, given


def mixed(log_rates, given, *, stride=STRIDE, **changes):
    return mix_windows(log_rates, **given, bin_us=BIN_US, settings=settings(**changes), stride_bins=stride)


def nats(log_rate, counts):
    return (counts * log_rate - np.exp(log_rate)).sum(0)


@pytest.mark.parametrize("window", [0, 1, 17, WINDOWS - 1])
def test_counts_at_and_after_the_origin_change_no_bit(window):
    log_rates, given = recording()
    before = mixed(log_rates, given)
    bin_of = given["start_us"][:, None] // BIN_US + np.arange(BINS)
    future = bin_of >= bin_of[window, 0]
    other = np.where(future[:, :, None], given["counts"] * 3 + 2, given["counts"])
    valid = np.where(future, ~given["target_mask"], given["target_mask"])
    after = mixed(log_rates, given | {"counts": other, "target_mask": valid})
    np.testing.assert_array_equal(after[: window + 1], before[: window + 1])
    if window < WINDOWS - 5:
        assert not np.array_equal(after, before)


def test_the_past_is_used():
    log_rates, given = recording()
    assert not np.array_equal(mixed(log_rates, given), mixed(log_rates, given | {"counts": given["counts"] * 0}))


def test_a_harmful_expert_costs_at_most_the_logarithm_of_the_number_of_experts():
    # one group, windows that do not overlap: the bound is exact for each unit
    log_rates, given = recording(PLAIN, windows=200, stride=BINS)
    log_rates["shrinkage"] = log_rates["shrinkage"] + np.float32(4)  # 55 times the rate
    fixed = settings(horizon_edges_bins=(BINS,), network_prior=1.0, **only(1e-12))
    mixture = OnlineMixture(PLAIN, UNITS, fixed, stride_bins=BINS)
    of_mixture, of_each = np.zeros(UNITS), np.zeros((3, UNITS))
    for window, counts in enumerate(given["counts"]):
        log_rate = np.stack([one[window] for one in log_rates.values()])
        weight = mixture.weights[0]
        forecast, pending = mixture.forecast(log_rate)
        found = np.array([nats(one, counts) for one in pending.experts])
        # the Poisson score of the mean rate, against the weighted mean of scores
        assert (nats(forecast, counts) >= (weight * found).sum(0) - 1e-9).all()
        of_mixture += np.log((weight * np.exp(found - found.max(0))).sum(0)) + found.max(0)
        of_each += found
        mixture.learn(pending, 0, counts, np.ones(BINS, bool))
        assert (mixture.weights[0, 2] < 1e-10).all()
    assert (of_each[2] < of_each[0] - 1000).all()
    assert (of_mixture >= of_each.max(0) - np.log(3) - 1e-6).all()


def test_two_experts_by_hand():
    log_rates = np.log([[[1.0, 2.0]], [[3.0, 2.0]]])  # two experts, one bin, two units
    mixture = OnlineMixture(PLAIN[:2], 2, settings(horizon_edges_bins=(1,), **only(0.1)), stride_bins=1)
    forecast, pending = mixture.forecast(log_rates)
    np.testing.assert_allclose(np.exp(forecast), [[2.0, 2.0]])
    mixture.learn(pending, 0, np.array([[3, 5]]), np.array([True]))
    likelihood = np.exp([3 * np.log(1) - 1, 3 * np.log(3) - 3])
    posterior = 0.9 * likelihood / likelihood.sum() + 0.1 / 2
    np.testing.assert_allclose(mixture.weights[0], np.column_stack([posterior, [0.5, 0.5]]))
    forecast, _ = mixture.forecast(log_rates)
    np.testing.assert_allclose(np.exp(forecast), [[posterior @ [1, 3], 2.0]])


LASTING = {
    "learners": (*learners(), *learners(1e-12, (0.0, 1.0), (0.1, 1.0))),
    "second": {"share": 1e-12, "pooling": 0.0, "learning_rate": 0.3},
}


@pytest.mark.parametrize("windows", [25, 80])  # 80 are more than a block
@pytest.mark.parametrize("changes", [{}, LASTING])
def test_it_is_what_a_loop_over_windows_units_and_groups_gives(windows, changes):
    log_rates, given = recording(windows=windows)
    expected = by_loops(log_rates, given, settings(**changes))
    np.testing.assert_allclose(mixed(log_rates, given, **changes), expected, rtol=1e-5)


def by_loops(log_rates, given, chosen):
    """The mixture by its definition, one unit and group at a time; means over units as the only exchange."""
    pairs = [(4, 5), (5, 6), (4, 6), (6, 3), (5, 3)]
    levelled = [6, 5, 4]
    prior = np.array([1, 1, 1, 1, 4, 4, 4, *[1] * 8]) / (16 + 8)
    every = np.stack(list(log_rates.values())).astype(float)
    counts, mask = given["counts"], given["target_mask"]
    result = np.empty(counts.shape)
    kinds = [(some.share, p, r) for some in chosen.learners for p in some.pooling for r in some.learning_rates]
    first = 0
    for last in chosen.horizon_edges_bins:
        exponent = min(1, STRIDE / (last - first))
        weight = np.tile(prior[None, :, None], (len(kinds), 1, UNITS))
        of_learner = np.full((len(kinds), UNITS), 1 / len(kinds))
        seen, predicted = np.zeros((3, UNITS)), np.zeros((3, UNITS))
        made = []
        for window in range(len(counts)):
            for past, (experts, pooled) in enumerate(made):
                if experts is None or (window - past) * STRIDE < last or (window - past - 1) * STRIDE >= last:
                    continue
                valid = mask[past, first:last]
                if valid.any():
                    observed = counts[past, first:last][valid]
                    experts, pooled = experts[:, valid], pooled[:, valid]
                    for unit in range(UNITS):
                        log = [nats(one[:, unit], observed[:, unit]) for one in experts]
                        for learner, (_, _, rate) in enumerate(kinds):
                            value = weight[learner, :, unit] * np.exp(rate * exponent * (np.array(log) - max(log)))
                            weight[learner, :, unit] = value / value.sum()
                        log = np.array([nats(np.log(one[:, unit]), observed[:, unit]) for one in pooled])
                        value = of_learner[:, unit] * np.exp(chosen.second.learning_rate * exponent * (log - log.max()))
                        of_learner[:, unit] = value / value.sum()
                    for learner, (share, pooling, _) in enumerate(kinds):
                        pooled = (1 - pooling) * weight[learner] + pooling * weight[learner].mean(1)[:, None]
                        weight[learner] = (1 - share) * pooled + share * prior[:, None]
                    share, pooling = chosen.second.share, chosen.second.pooling
                    of_learner = (1 - pooling) * of_learner + pooling * of_learner.mean(1)[:, None]
                    of_learner = (1 - share) * of_learner + share / len(kinds)
                    kept = np.exp(-STRIDE / 50)
                    seen = kept * seen + exponent * observed.sum(0)
                    predicted = kept * predicted + exponent * np.exp(experts[levelled]).sum(1)
            methods = every[:, window, first:last]
            halves = [np.log(np.sqrt(np.exp(methods[one]) * np.exp(methods[other]))) for one, other in pairs]
            levels = [methods[one] + np.log((5 + seen[k]) / (5 + predicted[k])) for k, one in enumerate(levelled)]
            experts = np.concatenate([methods, halves, levels])
            pooled = np.stack([(one[:, None] * np.exp(experts)).sum(0) for one in weight])
            result[window, first:last] = np.log((of_learner[:, None] * pooled).sum(0))
            made.append((experts, pooled))
        first = last
    return result


def test_another_expert_can_take_over_later():
    _, given = recording(PLAIN, windows=120)
    right = np.log(np.maximum(given["counts"], 0.05)).astype(np.float32)
    wrong = np.log(given["counts"] + 3.0).astype(np.float32)
    half = np.arange(120)[:, None, None] < 60
    experts = {"reference_mean": np.where(half, right, wrong), "trailing_mean": np.where(half, wrong, right)}
    late = slice(75, None)

    def error(share):
        found = mixed(experts, given, **only(share))
        return np.abs(found[late] - right[late]).mean()

    assert error(0.01) < 0.2 < error(1e-300)


def test_evidence_of_bursts_outlasts_the_silence_between_them():
    # rare bursts; one expert is the mean rate, the other is right only while there is silence
    counts = np.zeros((400, BINS, UNITS), int)
    counts[25::50] = 5
    given = {
        "start_us": np.arange(400) * BINS * BIN_US,
        "counts": counts,
        "target_mask": np.ones(counts.shape[:2], bool),
    }
    experts = {
        "reference_mean": np.full(counts.shape, np.log(0.1), np.float32),
        "trailing_mean": np.full(counts.shape, np.log(0.001), np.float32),
    }

    def score(**changes):
        return nats(mixed(experts, given, stride=BINS, **changes).reshape(-1, UNITS), counts.reshape(-1, UNITS)).sum()

    best = nats(experts["reference_mean"].reshape(-1, UNITS), counts.reshape(-1, UNITS)).sum()
    lasting = score(learners=learners(1e-15, (0.0,)), second={"share": 1e-15, "pooling": 0.0, "learning_rate": 1.0})
    assert score(**only(0.002)) < lasting < best
    assert best - lasting < 0.7 * (best - score(**only(0.002)))


def test_a_unit_without_spikes_takes_the_weights_of_the_others():
    log_rates, given = recording(PLAIN[:2], windows=100)
    counts = given["counts"].copy()
    counts[..., 0] = 0
    experts = {name: one.copy() for name, one in log_rates.items()}
    for one in experts.values():
        one[..., 0] = -12.0
    experts["trailing_mean"] += np.float32(1.5)
    experts["trailing_mean"][..., 0] = -11.0
    tail = mixed(experts, given | {"counts": counts}, **only(pooling=1.0))[-1, 0, 0]
    assert tail == pytest.approx(-12.0, abs=0.05)
    assert mixed(experts, given | {"counts": counts}, **only(pooling=0.0))[-1, 0, 0] > -11.6


def test_a_slow_change_of_level_is_corrected():
    _, given = recording(windows=150)
    log_rate = np.full(given["counts"].shape, np.log(given["counts"].mean()), np.float32)
    doubled = given | {"counts": given["counts"] * 2}
    found = mixed({"neurohorizon": log_rate}, doubled)
    assert (np.exp(found[-1]) / np.exp(log_rate[-1])).mean() == pytest.approx(2, rel=0.25)


def test_windows_must_be_in_the_order_of_time():
    log_rates, given = recording(PLAIN)
    with pytest.raises(ValueError, match="forecast origins must rise"):
        mixed(log_rates, given | {"start_us": given["start_us"][::-1]})


def files(tmp_path, **changes):
    """Write forecast files of the experts, and return their paths."""
    log_rates, given = recording()
    paths = []
    for name, log_rate in log_rates.items():
        seed = 3 if "o" in name[:2] or name == "neurohorizon" else None
        one = plain_forecast(name, log_rate, seed=seed, **given)
        paths.append(tmp_path / f"{name}.h5")
        write_forecast(paths[-1], replace(one, **changes.get(name, {})))
    return paths


def forecast(paths, output):
    forecast_with_mixture(forecasts=paths, seed=3, adaptive=settings(), stride_bins=STRIDE, code="abc", output=output)
    return read_forecast(output)


def test_the_file_is_a_zero_shot_forecast_of_the_same_windows(tmp_path):
    found = forecast(files(tmp_path), tmp_path / "mixed.h5")
    log_rates, given = recording()
    assert (found.method, found.method_class, found.seed, found.code) == (
        "neurohorizon_adaptive",
        "zero_shot",
        3,
        "abc",
    )
    np.testing.assert_array_equal(found.log_rate, mixed(log_rates, given))
    np.testing.assert_array_equal(found.counts, given["counts"])


def test_files_of_other_windows_are_refused(tmp_path):
    _, given = recording()
    paths = files(tmp_path, shrinkage={"start_us": given["start_us"] + BIN_US})
    with pytest.raises(ValueError, match=r"shrinkage\.h5 and .*reference_mean\.h5 differ in session, units or windows"):
        forecast(paths, tmp_path / "mixed.h5")
    assert not (tmp_path / "mixed.h5").exists()


def test_an_excluded_session_stays_excluded(tmp_path):
    nothing = Forecast("s", "m", "", "nwb", "main", "shrinkage", "zero_shot", BIN_US, left_out="no unit fires")
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for path in paths:
        write_forecast(path, nothing)
    assert forecast(paths, tmp_path / "mixed.h5").left_out == "no unit fires"
