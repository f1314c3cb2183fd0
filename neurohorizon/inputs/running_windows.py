"""The window of a running recording: counts are added bin by bin, and only the last context is kept.

Counts and sums are those of :func:`neurohorizon.inputs.windows.cut_windows` at the end of the last bin.
"""

import numpy as np

from neurohorizon.inputs.windows import Windows, WindowShape, history_sums


class RunningWindow:
    """Counts of the last context, and sums of the spans of recent history.

    Time before the first bin counts as not recorded.

    Args:
        shape: Lengths in bins.
        n_units: Units of the recording.
    """

    def __init__(self, shape: WindowShape, n_units: int) -> None:
        self.shape, self.n_units = shape, n_units
        self.context = np.zeros((1, shape.context_bins, n_units), np.int32)
        self.context_mask = np.zeros((1, shape.context_bins), bool)
        self.recent_edges, past_edges = shape.history_edges()
        self.past = _Past(shape.context_bins, past_edges, n_units) if past_edges else None

    def add(self, counts: np.ndarray, valid: bool) -> None:
        """Add a bin, counts [unit]; the oldest bin leaves the context.

        Args:
            valid: True if the bin was recorded; if not, its counts must be 0.
        """
        if self.past:
            self.past.add(self.context[0, 0], bool(self.context_mask[0, 0]))
        self.context[0, :-1] = self.context[0, 1:]
        self.context[0, -1] = counts
        self.context_mask[0, :-1] = self.context_mask[0, 1:]
        self.context_mask[0, -1] = valid

    def history(self) -> tuple[np.ndarray, np.ndarray]:
        """Return counts in each span, float32, [1, unit, span], and its valid bins, float32, [1, span]."""
        history, history_bins = history_sums(self.context, self.context_mask, self.recent_edges)
        if self.past:
            history = np.concatenate([history, self.past.sums[None]], axis=2)
            history_bins = np.concatenate([history_bins, self.past.bins[None]], axis=1)
        return history, history_bins

    def windows(self, origin_us: int) -> Windows:
        """Return the window whose origin is the end of the last bin, without single spikes and without outcomes."""
        history, history_bins = self.history()
        horizon = (1, self.shape.horizon_bins)
        nothing = np.zeros(0, np.int64)
        return Windows(
            origin_us=np.array([origin_us]),
            context=self.context,
            context_mask=self.context_mask,
            counts=np.zeros((*horizon, self.n_units), np.int32),
            target_mask=np.zeros(horizon, bool),
            spike_window=nothing,
            spike_unit=nothing,
            spike_age_bins=nothing.astype(np.float32),
            history_edges_bins=self.shape.history_edges_bins,
            history=history,
            history_bins=history_bins,
        )


class _Past:
    """Sums over spans before the context, updated bin by bin; work does not grow with their length.

    Args:
        from_bin: Bins before the origin at which the first span starts.
        edges_bins: Rising ends of the spans, in bins before the origin.
        n_units: Units of the recording.
    """

    def __init__(self, from_bin: int, edges_bins: tuple[int, ...], n_units: int) -> None:
        self.sums = np.zeros((n_units, len(edges_bins)), np.float32)
        self.bins = np.zeros(len(edges_bins), np.float32)
        self.lengths = [edge - from_bin for edge in edges_bins]
        silent = (np.zeros(0, np.int64), np.zeros(0, np.float32), False)
        self.kept = [silent] * self.lengths[-1]  # a ring: units that fired in each bin, their counts, validity
        self.newest = 0

    def add(self, counts: np.ndarray, valid: bool) -> None:
        """Add the bin that leaves the context, counts [unit]; bins at the end of a span pass to the next span."""
        self.newest += 1
        ends = [self.kept[(self.newest - length) % len(self.kept)] for length in self.lengths]
        unit = np.flatnonzero(counts)
        new = (unit, counts[unit].astype(np.float32), valid)
        for span, (enters, leaves) in enumerate(zip([new, *ends[:-1]], ends, strict=True)):
            for (units, fired, is_valid), sign in ((enters, 1), (leaves, -1)):
                self.sums[units, span] += sign * fired
                self.bins[span] += sign * is_valid
        self.kept[self.newest % len(self.kept)] = new
