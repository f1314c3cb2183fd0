"""Bands of the picture of one forecast."""

import numpy as np
from scipy.stats import poisson

from neurohorizon.forecasts.example import INTERVAL, _poisson_quantile


def test_bands_are_quantiles_of_the_poisson_distribution():
    expected = np.concatenate([[1e-9], np.logspace(-4, 3, 3000)])
    for share in (*INTERVAL, 0.5):
        np.testing.assert_array_equal(_poisson_quantile(share, expected), poisson.ppf(share, expected))
