"""What is fed back to the decoder while it is trained: nothing, observed counts, or counts that it drew itself.

Every training window is decoded without feedback, as the parallel forecast is made. A share of them is decoded a
second time with counts fed back: in half of these over the whole horizon, as a rollout bin by bin ends up with, in the
others up to a bin drawn at random, as a rollout by blocks has them. At first all fed-back counts are observed ones
(teacher forcing). Then a rising share of the bins is fed what the network itself draws there (scheduled sampling,
Bengio et al. 2015), all bins at once from the forecast that was fed the truth (parallel scheduled sampling, Duckworth
et al. 2019, one pass).
"""

import torch
from torch import Tensor

from neurohorizon.config import Feedback
from neurohorizon.models.batch import Tensors
from neurohorizon.models.count_feedback import Fed
from neurohorizon.models.distributions import Outlook
from neurohorizon.models.forecaster import Encoded, Forecaster


def sampled_share(step: int, *, steps: int, feedback: Feedback) -> float:
    """Return the share of the fed-back bins that are drawn from the network at a step.

    It rises in a line from 0, pure teacher forcing, to ``feedback.sampled_share`` after ``feedback.rise`` of the
    steps, and stays there.

    Args:
        step: Step of the optimiser, from 0.
        steps: Steps of the whole training.
        feedback: Its section of the configuration.
    """
    rising = feedback.rise * steps
    return feedback.sampled_share * (min(step / rising, 1.0) if rising else 1.0)


def fed_windows(windows: int, feedback: Feedback) -> int:
    """Return how many of a session's windows are decoded a second time; of any share above 0 at least one."""
    return min(windows, max(round(feedback.share * windows), 1)) if feedback.share else 0


def decode_fed(forecaster: Forecaster, encoded: Encoded, x: Tensors, *, sampled: float) -> Outlook:
    """Decode windows with counts fed back, some of them the network's own draws.

    What is drawn comes from torch's global generator, which training seeds for every batch.

    Args:
        forecaster: The network.
        encoded: What it made of the batch.
        x: The batch, with the counts that came.
        sampled: Share of the bins whose counts are drawn from the network.
    """
    truth = Fed(x.counts, x.target_mask & fed_prefix(*x.target_mask.shape, device=x.counts.device))
    if not sampled:
        return forecaster.decode(encoded, x, truth)
    with torch.no_grad():
        drawn = draw_counts(forecaster.decode(encoded, x, truth))
    own = torch.rand(x.target_mask.shape, device=x.counts.device) < sampled
    return forecaster.decode(encoded, x, Fed(torch.where(own[..., None], drawn, x.counts), truth.known))


def fed_prefix(sessions: int, windows: int, bins: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Draw up to which bin counts are fed back: all bins in half of the windows, else a number from 1 to all but one.

    Returns:
        True where a bin is fed back, [session, window, bin].
    """
    some = torch.randint(1, max(bins, 2), (sessions, windows, 1), device=device)
    whole = torch.rand(sessions, windows, 1, device=device) < 0.5
    return (torch.arange(bins, device=device) < some) | whole


def draw_counts(outlook: Outlook, generator: torch.Generator | None = None) -> Tensor:
    """Draw counts from the distribution of each bin.

    Args:
        outlook: Distributions, of any shape.
        generator: Where the draws come from; None: torch's global generator.

    Returns:
        Counts as floats, of the same shape.
    """
    rate = outlook.log_rate.float().exp()
    if outlook.log_shape is not None:
        shape = outlook.log_shape.float().exp()
        # a Poisson count whose rate is gamma distributed
        rate = rate * torch._standard_gamma(shape, generator=generator) / shape
    return torch.poisson(rate, generator=generator)
