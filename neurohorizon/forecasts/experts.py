"""Experts of the adaptive mixture on one recording in memory: each is a method, the windows that it reads, and inputs.

The forecasts are those of the workflow's files for the same reference window: functions and order are the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from neurohorizon.baselines.closed_form import CLOSED_FORMS, baseline_shape
from neurohorizon.baselines.linear import regression_shape
from neurohorizon.config import Timeline
from neurohorizon.forecasts.forecast import network_method
from neurohorizon.forecasts.held_out import Method
from neurohorizon.forecasts.regressions import regression_methods
from neurohorizon.forecasts.release import Network, Release
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.windows import WindowShape, cut_windows
from neurohorizon.methods import FORECASTER, METHODS, REFERENCE_MEAN
from neurohorizon.models.weights import Card
from neurohorizon.timeline import Intervals
from neurohorizon.units.population_readout import zero_readout


@dataclass(frozen=True, eq=False)
class Expert:
    """One method on one recording.

    Attributes:
        by: The method.
        inputs: Its inputs.
        shape: Lengths of the windows that it receives.
        network: The network in PyTorch; None for a method without one.
    """

    by: Method
    inputs: SessionInputs
    shape: WindowShape
    network: Network | None = None

    def forecast(self, origin_us: np.ndarray) -> np.ndarray:
        """Forecast windows of the recording.

        Args:
            origin_us: Forecast origins in microseconds, [window].

        Returns:
            Natural log of expected counts per bin, float32, [window, horizon bin, unit].
        """
        # a network reads its history beyond the context from separate blocks
        context = self.shape.context_bins
        shape = self.shape if self.network is None else replace(self.shape, history_edges_bins=(context,))
        windows = cut_windows(self.inputs.spikes, self.inputs.part, origin_us, shape)
        return self.by(windows, self.inputs).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Experts:
    """Methods whose forecasts are mixed, on one recording.

    Attributes:
        of_method: Expert of each method, in the order of the mixture.
    """

    of_method: Mapping[str, Expert]

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods."""
        return tuple(self.of_method)

    def forecast(self, origin_us: np.ndarray, methods: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Forecast windows of the recording by each expert.

        Args:
            origin_us: Forecast origins in microseconds, [window].
            methods: Names of the experts; None: all.

        Returns:
            Natural log of expected counts per bin by method, float32, [window, horizon bin, unit].
        """
        return {name: self.of_method[name].forecast(origin_us) for name in methods or self.methods}

    def in_blocks(self, origin_us: np.ndarray, kept: np.ndarray) -> dict[str, "ForecastBlocks"]:
        """Return the forecasts of :meth:`forecast` in a form that is computed block by block, by method.

        Args:
            origin_us: Forecast origins in microseconds, [window].
            kept: True for windows whose forecasts are kept, [window].
        """
        return {name: ForecastBlocks(one, origin_us, kept) for name, one in self.of_method.items()}


class ForecastBlocks:
    """Forecasts of an expert that are computed when they are read, so that one block of windows is in memory.

    Args:
        expert: The expert.
        origin_us: Forecast origins in microseconds, [window].
        kept: True for windows whose forecasts are kept, [window].
    """

    def __init__(self, expert: Expert, origin_us: np.ndarray, kept: np.ndarray) -> None:
        self.expert, self.origin_us, self._is_kept = expert, origin_us, kept
        self._kept: list[np.ndarray] = []

    def __getitem__(self, windows: slice) -> np.ndarray:
        """Compute a block; each is read once, in order, [window, horizon bin, unit]."""
        block = self.expert.forecast(self.origin_us[windows])
        self._kept.append(block[self._is_kept[windows]])
        return block

    def kept(self) -> np.ndarray:
        """Return the forecasts that were kept, float32, [kept window, horizon bin, unit]."""
        return np.concatenate(self._kept)


def network_name(card: Card) -> str:
    """Return the name under which the mixture weighs a network: that of its method, if the mixture has it."""
    return card.method if card.method in METHODS and METHODS[card.method].job == "network" else FORECASTER


def experts_of_network(network: Network, card: Card, inputs: SessionInputs) -> Experts:
    """Return the experts of a recording that has one network only: the reference mean and the network.

    Args:
        inputs: Inputs of the network.
    """
    settings: dict[str, dict] = {REFERENCE_MEAN: {}}
    return Experts(
        {**_closed_forms(settings, inputs, card.timeline), network_name(card): _network(network, card, inputs)}
    )


def experts_of_release(release: Release, inputs: SessionInputs, reference: Intervals) -> Experts:
    """Return all experts of a release on one recording; the regressions are fitted when they forecast, once.

    Args:
        inputs: Inputs of the release's forecaster, from :func:`neurohorizon.inputs.sessions.known_by`.
        reference: Reference window of these inputs.
    """
    names = release.card.feature_names
    shape = regression_shape(release.card.timeline, release.regressions)
    regressions = regression_methods(
        release.settings,
        release.pooled,
        inputs,
        reference=reference,
        names=names,
        regressions=release.regressions,
        shape=shape,
    )
    networks = {
        name: _network(network, release.cards[name], _inputs_of(release.cards[name], inputs, names))
        for name, network in release.networks.items()
    }
    return Experts(
        {
            **_closed_forms(release.closed_forms, inputs, release.card.timeline),
            **{name: Expert(by, inputs, shape) for name, by in regressions.items()},
            **networks,
        }
    )


def _closed_forms(
    settings: Mapping[str, Mapping[str, float]], inputs: SessionInputs, timeline: Timeline
) -> dict[str, Expert]:
    shape = baseline_shape(timeline, [int(one["bins"]) for one in settings.values() if "bins" in one])
    return {name: Expert(partial(CLOSED_FORMS[name].log_rate, **one), inputs, shape) for name, one in settings.items()}


def _network(network: Network, card: Card, inputs: SessionInputs) -> Expert:
    shape = WindowShape.of(card.timeline, card.model)
    return Expert(network_method(network, shape), inputs, shape, network)


def _inputs_of(card: Card, inputs: SessionInputs, names: tuple[str, ...]) -> SessionInputs:
    """Return the inputs of a network that reads some of the features, with or without the population readout."""
    columns = [names.index(name) for name in card.feature_names]
    readout = inputs.readout
    if not card.population_readout:
        readout = zero_readout(inputs.reference_log_rate, card.model.readout)
    return replace(inputs, features=np.ascontiguousarray(inputs.features[:, columns]), readout=readout)
