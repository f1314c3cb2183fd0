"""The distribution of counts that a network forecasts."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Outlook:
    """Distribution of the counts of each bin: Poisson, or negative binomial where there is a shape.

    Attributes:
        log_rate: Natural log of expected counts per bin, [S, W, H, O].
        log_shape: Natural log of the negative binomial's shape; None for Poisson, [S, W, H, O].
    """

    log_rate: Tensor
    log_shape: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "Outlook":
        """Return the same distributions laid out anew."""
        return Outlook(change(self.log_rate), None if self.log_shape is None else change(self.log_shape))
