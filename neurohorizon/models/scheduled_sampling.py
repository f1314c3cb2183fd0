"""Counts fed back to the decoder in training: none, observed counts, or the network's own draws.

Every training window is decoded without feedback, as in the parallel forecast. A share of the windows is decoded a
second time with counts fed back: half of these over the whole horizon, as at the end of a rollout bin by bin, the
others up to a random bin, as in a rollout by blocks. At first all fed-back counts are observed (teacher forcing). Then
a rising share of the bins is replaced by the network's own draws (scheduled sampling, Bengio et al. 2015). All draws
are made at once from the teacher-forced forecast (parallel scheduled sampling, Duckworth et al. 2019, one pass).
"""

import torch
from torch import Tensor

from neurohorizon.config import Feedback
from neurohorizon.models.batch import Tensors
from neurohorizon.models.count_feedback import FedBackCounts
from neurohorizon.models.forecaster import Encoded, Forecaster
from neurohorizon.models.likelihoods import CountDistribution, draw_counts


def sampled_share(step: int, *, steps: int, feedback: Feedback) -> float:
    """Return the share of the fed-back bins that the network draws at a step.

    It rises linearly from 0, pure teacher forcing, to ``feedback.sampled_share`` after ``feedback.rise`` of the
    steps, and is constant after that.
    """
    rising = feedback.rise * steps
    return feedback.sampled_share * (min(step / rising, 1.0) if rising else 1.0)


def fed_windows(windows: int, feedback: Feedback) -> int:
    """Return the number of a session's windows to decode a second time; at least one for any share above 0."""
    return min(windows, max(round(feedback.share * windows), 1)) if feedback.share else 0


def decode_fed(forecaster: Forecaster, encoded: Encoded, x: Tensors, *, sampled: float) -> CountDistribution:
    """Decode windows with counts fed back, some of them drawn by the network.

    Draws come from torch's global generator, which training seeds for every batch.

    Args:
        x: The batch, with its observed counts.
        sampled: Share of the bins whose counts the network draws.
    """
    truth = FedBackCounts(x.counts, x.target_mask & fed_prefix(*x.target_mask.shape, device=x.counts.device))
    if not sampled:
        return forecaster.decode_given(encoded, x, truth)
    with torch.no_grad():
        drawn = draw_counts(forecaster.decode_given(encoded, x, truth))
    own = torch.rand(x.target_mask.shape, device=x.counts.device) < sampled
    mixed = FedBackCounts(torch.where(own[..., None], drawn, x.counts), truth.is_given)
    return forecaster.decode_given(encoded, x, mixed)


def fed_prefix(sessions: int, windows: int, bins: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Draw how many bins are fed back: all bins in half of the windows, else a number from 1 to all but one.

    Returns:
        True where a bin is fed back, [session, window, bin].
    """
    some = torch.randint(1, max(bins, 2), (sessions, windows, 1), device=device)
    whole = torch.rand(sessions, windows, 1, device=device) < 0.5
    return (torch.arange(bins, device=device) < some) | whole
