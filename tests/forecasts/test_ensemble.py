"""The ensemble of seeds: the mean of log rates, window by window, of files of the same windows."""

from dataclasses import replace

import numpy as np
import pytest
from factories.forecasts import BIN_US, plain_forecast

from neurohorizon.forecasts.ensemble import forecast_with_ensemble
from neurohorizon.forecasts.forecast_file import Forecast, read_forecast, write_forecast

WINDOWS, BINS, UNITS = 150, 4, 3  # more windows than are read at once


def members(folder, **changes):
    rng = np.random.default_rng(0)
    windows = {
        "start_us": np.arange(WINDOWS) * BIN_US,
        "counts": np.ones((WINDOWS, BINS, UNITS), np.int64),
        "target_mask": np.ones((WINDOWS, BINS), bool),
    }
    paths, log_rates = [], rng.normal(-2, 1, (3, WINDOWS, BINS, UNITS)).astype(np.float32)
    for seed, log_rate in enumerate(log_rates):
        one = plain_forecast("neurohorizon", log_rate, seed=seed, **windows)
        paths.append(folder / f"neurohorizon_seed-{seed}.h5")
        write_forecast(paths[-1], replace(one, **changes.get(f"seed_{seed}", {})))
    return paths, log_rates


def test_the_ensemble_is_the_mean_of_log_rates_and_belongs_to_no_seed(tmp_path):
    paths, log_rates = members(tmp_path)
    forecast_with_ensemble(forecasts=paths, code="abc", output=tmp_path / "ensemble.h5")
    found = read_forecast(tmp_path / "ensemble.h5")
    assert (found.method, found.method_class, found.seed, found.code) == (
        "neurohorizon_ensemble",
        "zero_shot",
        None,
        "abc",
    )
    np.testing.assert_allclose(found.log_rate, np.log(np.exp(log_rates.astype(float)).prod(0) ** (1 / 3)), rtol=1e-6)


def test_the_score_of_the_ensemble_is_at_least_the_mean_score_of_its_members(tmp_path):
    """The Poisson log-likelihood is concave in the log rate."""
    paths, log_rates = members(tmp_path)
    forecast_with_ensemble(forecasts=paths, code="", output=tmp_path / "ensemble.h5")
    found = read_forecast(tmp_path / "ensemble.h5")
    nats = [(found.counts * one - np.exp(one)).sum() for one in (found.log_rate, *log_rates)]
    assert nats[0] > np.mean(nats[1:])


def test_members_of_other_windows_are_refused(tmp_path):
    paths, _ = members(tmp_path, seed_1={"start_us": np.arange(WINDOWS) * BIN_US + 1})
    with pytest.raises(ValueError, match=r"seed-1\.h5 and .*seed-0\.h5 differ in session, units or windows"):
        forecast_with_ensemble(forecasts=paths, code="", output=tmp_path / "ensemble.h5")
    assert not (tmp_path / "ensemble.h5").exists()


def test_an_excluded_session_stays_excluded(tmp_path):
    nothing = Forecast("s", "m", "", "nwb", "main", "neurohorizon", "zero_shot", BIN_US, left_out="no unit fires")
    for seed in (0, 1):
        write_forecast(tmp_path / f"{seed}.h5", replace(nothing, seed=seed))
    forecast_with_ensemble(forecasts=[tmp_path / "0.h5", tmp_path / "1.h5"], code="", output=tmp_path / "ensemble.h5")
    assert read_forecast(tmp_path / "ensemble.h5").left_out == "no unit fires"
