"""Thresholds of the checks: one table, each with its reason.

Those on refractory violations were set after the proposals for real recordings of rats, mice and arrays had been seen.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Threshold:
    """One threshold.

    Attributes:
        value: The threshold.
        unit: Its unit.
        reason: Why it is where it is.
    """

    value: float
    unit: str
    reason: str


THRESHOLDS = {
    "whole_seconds_share": Threshold(
        0.9, "share of spikes", "spike times in seconds have fractions; sample numbers and counts have none"
    ),
    "coarse_us": Threshold(50, "us", "a 20 kHz clock; float32 is coarser from 9 minutes on and blurs fine timing"),
    "span_ratio": Threshold(
        100, "spans of valid time", "a task may be a small part of a day's recording; a unit error is a factor of 1000"
    ),
    "slow_rate_hz": Threshold(
        0.1, "Hz, median unit", "a population this slow over a far longer span has times in a finer unit than seconds"
    ),
    "slow_long_rate_hz": Threshold(
        0.02,
        "Hz, median unit",
        "a population this slow for more than half a day has times in a finer unit than seconds",
    ),
    "half_day_s": Threshold(43200, "s", "see slow_long_rate_hz; milliseconds turn 43 s into half a day"),
    "restart_share": Threshold(
        0.1,
        "share of the span",
        "sorters list spikes in order; a jump back over a tenth of the recording is a new start",
    ),
    "restarts": Threshold(
        20, "jumps of a unit", "spikes in random order jump back far more often; they are only sorted"
    ),
    "restart_units": Threshold(0.5, "share of units", "two recordings joined restart in every unit that fires in both"),
    "same_spikes_share": Threshold(
        0.5, "share of the smaller unit's spikes", "units merged twice share nearly all; chance coincidences are few"
    ),
    "same_spikes": Threshold(20, "spikes", "fewer coincide by chance"),
    "coincidence_us": Threshold(100, "us", "one spike found twice: three samples of a 30 kHz clock"),
    "distinct_times": Threshold(
        0.5, "share of spikes", "on a coarse clock, such as of 10 ms, spikes of unrelated units have equal times"
    ),
    "refractory_us": Threshold(
        1500, "us", "default of AllenSDK and SpikeInterface; 2 ms would include bursts of pyramidal cells"
    ),
    "refractory_violations": Threshold(20, "intervals", "fewer are chance"),
    "refractory_share": Threshold(
        0.01,
        "share of intervals",
        "at 20 Hz, a unit has this share if a fifth of its spikes are of another neuron",
    ),
    "contamination": Threshold(
        0.2, "share of spikes", "sorters accept up to 0.1; a count of spikes is useful a little beyond"
    ),
    "refractory_units": Threshold(5, "units", "fewer units do not show whether a session has a refractory period"),
    "refractory_units_share": Threshold(
        0.5,
        "share of fast units, or of all",
        "simulations and electrodes with several neurons have none",
    ),
    "implausible_rate_hz": Threshold(
        100, "Hz", "no well-isolated neuron of these preparations keeps this up on average; noise clusters do"
    ),
    "impossible_rate_hz": Threshold(
        200, "Hz, median unit", "a refractory period of 2 ms allows 500 Hz in bursts, never as the mean of a population"
    ),
    "silence_s": Threshold(2, "s", "shorter silences of a whole population happen"),
    "silence_spikes": Threshold(50, "spikes expected", "at least this number is expected from the mean rate"),
    "silence_usual": Threshold(
        10, "usual pauses", "cultures and retinas fall silent between bursts; half of the time lies in usual pauses"
    ),
    "silent_share": Threshold(0.5, "share of valid time", "one silence; most of the time was then not recorded"),
    "partial_share": Threshold(0.1, "share of valid time", "a probe that is absent this long changes what is forecast"),
    "stray_pause_s": Threshold(
        60, "s", "a probe records many neurons, so it is never silent this long while it records"
    ),
    "stray_share": Threshold(
        1e-3, "share of a probe's spikes", "seconds of an hour; more spikes beyond a pause are a part of the recording"
    ),
    "stray_spikes": Threshold(3, "spikes", "the same for probes with few spikes"),
    "stray_of_spikes": Threshold(100, "spikes", "probes with fewer have pauses of any length"),
    "dropout_s": Threshold(1, "s", "a probe records many neurons, and while it records some of them fire"),
    "dropout_spikes": Threshold(
        20, "spikes expected", "this number is expected in the silence from the probe's median rate"
    ),
    "dropout_usual": Threshold(
        10, "long pauses", "populations fall silent in sleep and anaesthesia; a tenth of the time lies in long pauses"
    ),
    "long_recording_s": Threshold(86400, "s", "no acute recording lasts a day; milliseconds turn 90 s into a day"),
    "far_recording_s": Threshold(
        1e11, "s", "microseconds beyond do not fit into 64 bits; the clock of seconds since 1970 does"
    ),
    "reach_s": Threshold(
        3600,
        "s",
        "samples and trials this far from all spikes are on another clock, and a grid of them takes memory",
    ),
    "joined_pause_s": Threshold(
        0.001, "s", "shorter pauses between intervals are the rounding of two clocks, and shorter than a spike"
    ),
    "longest_interval_s": Threshold(
        7 * 86400, "s", "an interval, a trial or valid time that is longer has a wrong end"
    ),
    "longest_span_s": Threshold(
        366 * 86400, "s", "from the first to the last valid second; a longer span has wrong times and fills the memory"
    ),
    "far_spans": Threshold(
        100, "spans of valid time", "trials and samples this far away are on another clock or in another unit"
    ),
    "one_sided_spikes": Threshold(50, "spikes", "with fewer, one half may be empty by chance"),
    "series_pause_s": Threshold(1, "s", "cameras and encoders sample many times a second"),
    "series_pause_steps": Threshold(10, "usual steps", "a slow series has longer steps"),
    "series_inside": Threshold(
        0.2, "share of samples", "cameras run before and after the probe; a wrong unit leaves a tenth or less inside"
    ),
    "series_whole": Threshold(60, "samples", "a few slow samples may be whole seconds"),
    "series_cover": Threshold(0.95, "share of valid time", "outside of it the behaviour is not known"),
    "stimulus_overlap_s": Threshold(1e-4, "s", "stimuli that overlap by less follow one another by another clock"),
    "long_trial_s": Threshold(3600, "s", "no trial lasts an hour"),
}
"""All thresholds, by name."""


def limit(name: str) -> float:
    """Return the value of a threshold."""
    return THRESHOLDS[name].value
