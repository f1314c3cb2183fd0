"""The network of own history: the forecaster's head without encoder, decoder and feedback."""

import torch
from torch import Tensor, nn

from neurohorizon.config import Model
from neurohorizon.models.batch import Tensors
from neurohorizon.models.forecaster import UnitEncoder, UnitHead
from neurohorizon.models.likelihoods import CountDistribution


class OwnHistoryForecaster(nn.Module):
    """Forecast each unit from its features, its own history and its readout; other units enter by the readout only.

    Args:
        n_features: Number of reference features of a unit.
        feature_noise: Standard deviation of noise on the standardised features while training.
    """

    feedback = None

    def __init__(self, *, model: Model, n_features: int, horizon_bins: int, feature_noise: float = 0.0) -> None:
        super().__init__()
        self.unit_encoder = UnitEncoder.of(model, n_features=n_features, noise=feature_noise)
        self.horizon_queries = nn.Parameter(torch.randn(horizon_bins, model.width) * 0.5)
        self.head = UnitHead(model=model, horizon_bins=horizon_bins)

    def forward(self, x: Tensors) -> CountDistribution:
        """Forecast all bins of the horizon at once."""
        unit = self.unit_encoder(x.features, x.readout_cv_gain)  # [S, U, D]
        bins: Tensor = self.horizon_queries.expand(*x.history.shape[:2], -1, -1)  # [S, W, H, D]
        state = self.head.unit_state(x.targets_of(unit), x)  # [S, W, C, O]
        return self.head(bins, state, x)  # [S, W, H, O]
