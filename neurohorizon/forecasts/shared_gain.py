"""Joint distribution of counts around a forecast: a gain that units share, fitted in closed form.

A parallel forecast gives the expected count of every unit and bin. Counts of a population vary together, so intervals
of sums are too narrow if counts are drawn independently. Here the expected counts ``r`` of unit i and bin h are
multiplied by a log-normal gain of mean one:

    y_ih | G ~ Poisson(r_ih G_ih),  log G_ih = l_i x_h + z_ih - variance / 2,  x ~ N(0, K),  z_i ~ N(0, s_i O)

``K`` and ``O`` are covariances over bins of the horizon, ``l`` loadings of units on the shared gain, ``s`` scales of
each unit's own gain. The mean of the counts stays ``r``. All are moments of residuals of forecasts of the reference
window: for two units i and j, ``E[(y_ih - r_ih)(y_jk - r_jk)] = r_ih r_jk (exp(l_i l_j K_hk) - 1)``, so the pairs of
different units give ``K``, and what remains of each unit's variance beyond the Poisson variance gives ``O``. Loadings
and scales are shrunk to their mean by their standard errors (empirical Bayes). The mean loading, weighted by spikes, is
one.
"""

from dataclasses import dataclass

import numpy as np

_FEWEST_WINDOWS = 10
_LARGEST_LOADING = 4.0


@dataclass(frozen=True)
class SharedGain:
    """A fitted gain.

    Attributes:
        shared: Covariance of the shared log gain over bins of the horizon, [bin, bin].
        loading: Loading of each unit, [unit].
        own: Covariance of a unit's own log gain, [bin, bin].
        scale: Factor of ``own`` for each unit, [unit].
    """

    shared: np.ndarray
    loading: np.ndarray
    own: np.ndarray
    scale: np.ndarray

    def draw(self, log_rate: np.ndarray, paths: int, rng: np.random.Generator) -> np.ndarray:
        """Draw counts around a forecast.

        Args:
            log_rate: Natural log of expected counts per bin, [window, horizon bin, unit].
            paths: Draws of each window.
            rng: Source of all draws.

        Returns:
            Counts, int32, [window, path, horizon bin, unit].
        """
        windows, bins, units = log_rate.shape
        root, own_root = _root(self.shared), _root(self.own)
        variance = np.outer(np.diag(self.shared), self.loading**2) + np.outer(np.diag(self.own), self.scale)
        counts = np.empty((windows, paths, bins, units), np.int32)
        for window in range(windows):
            shared = rng.standard_normal((paths, bins)) @ root.T
            own = np.einsum("hk,pku->phu", own_root, rng.standard_normal((paths, bins, units)), optimize=True)
            log_gain = shared[:, :, None] * self.loading + own * np.sqrt(self.scale) - variance / 2
            counts[window] = rng.poisson(np.exp(log_rate[window].astype(np.float64) + log_gain))
        return counts


def fit_shared_gain(log_rate: np.ndarray, counts: np.ndarray, mask: np.ndarray) -> SharedGain:
    """Fit the gain on forecasts and outcomes of reference windows.

    Args:
        log_rate: Natural log of expected counts per bin, [window, horizon bin, unit].
        counts: Observed counts, same axes.
        mask: True for bins of valid time, [window, horizon bin]; only windows that are valid throughout count.

    Returns:
        The gain; one without variance if fewer than ten windows are valid.
    """
    valid = mask.all(axis=1)
    _, bins, units = log_rate.shape
    if valid.sum() < _FEWEST_WINDOWS:
        return SharedGain(np.zeros((bins, bins)), np.ones(units), np.zeros((bins, bins)), np.zeros(units))
    rate = np.exp(log_rate[valid].astype(np.float64))
    residual = counts[valid] - rate
    within = np.einsum("thu,tku->hk", residual, residual)
    within_rate = np.einsum("thu,tku->hk", rate, rate)
    shared = _covariance(_moment(residual.sum(2)) - within, _moment(rate.sum(2)) - within_rate)
    total, expected = residual.sum(1), rate.sum(1)
    loading = _loadings(total, expected)
    raised = _raised(loading, shared[..., None])
    products = np.einsum("thu,tku->hku", rate, rate)
    own = _covariance(
        within - np.diag(counts[valid].sum((0, 2))) - ((raised - 1) * products).sum(2), (raised * products).sum(2)
    )
    raised = _raised(loading, shared.mean())
    extra = total**2 - counts[valid].sum(1) - (raised - 1) * expected**2
    scale = _shrunk(extra, raised * expected**2, own.mean())
    return SharedGain(shared, loading, own, np.maximum(scale, 0.0))


def _raised(loading: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """Return the factor by which a shared covariance raises the second moment of each unit's rate, [..., unit]."""
    return np.exp(np.minimum(loading**2 * shared, 3.0))


def _loadings(total: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return each unit's loading from its covariance with the sum of all other units, [unit]."""
    others, expected_others = (sums.sum(1, keepdims=True) - sums for sums in (total, expected))
    product, size = total * others, expected * expected_others
    of_all = np.log1p(max(product.sum() / max(size.sum(), 1e-12), 0.0))
    loading = np.clip(_shrunk(product, size, of_all), -_LARGEST_LOADING, _LARGEST_LOADING)
    mean = (loading * expected.sum(0)).sum() / expected.sum()
    return loading / mean if mean > 0.5 else np.ones_like(loading)


def _shrunk(product: np.ndarray, size: np.ndarray, typical: float) -> np.ndarray:
    """Return ``log(1 + sum product / sum size) / typical`` of each unit, shrunk to one by its standard error, [unit].

    Args:
        product: Terms of the moment, [window, unit].
        size: Terms that they are divided by, same shape.
        typical: The value of the moment's logarithm over all units.
    """
    if typical <= 1e-6:
        return np.ones(product.shape[1])
    whole = np.maximum(size.sum(0), 1e-12)
    moment = product.sum(0) / whole
    error = np.sqrt(((product - moment * size) ** 2).sum(0)) / whole / typical
    value = np.log1p(np.maximum(moment, -0.5)) / typical
    between = max(np.var(value) - np.mean(error**2), 1e-2)
    return 1 + (value - 1) * between / (between + error**2)


def _moment(sums: np.ndarray) -> np.ndarray:
    return np.einsum("th,tk->hk", sums, sums)


def _covariance(product: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the covariance of log gains from a moment of counts, without negative eigenvalues, [bin, bin]."""
    moment = np.divide(product, size, out=np.zeros_like(product), where=size > 1e-12)
    values, vectors = np.linalg.eigh(np.log1p(np.clip((moment + moment.T) / 2, -0.5, 20.0)))
    return (vectors * np.maximum(values, 0.0)) @ vectors.T


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))
