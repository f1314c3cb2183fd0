"""One line that a person can follow during a run: how far it is, how long it still takes, and what is computed now.

Shares and times are those of :data:`SECONDS`, the processor time of a rule's jobs in the demo. The time that is left is
scaled by the speed so far, so that only their ratios matter.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from resources import family_of

from neurohorizon.durations import as_time

LABELS = {
    "simulate_release": "simulated recordings",
    "simulate_allen_release": "simulated recordings with images",
    "preprocess": "session files",
    "download": "downloads",
    "validate": "checks of sessions",
    "preview": "first result",
    "reference_features": "features of units",
    "population_readout": "population readouts",
    "modality_readouts": "readouts of behaviour and images",
    "embed_images": "embeddings of images",
    "tune": "baselines",
    "train": "training of the network and its rivals",
    "forecast": "experiment 1, forecasts",
    "fit_within_session": "experiment 1, fits within sessions",
    "score": "experiment 1, scores",
    "train_point": "training of variants",
    "score_point": "scores of variants",
    "choose_sessions": "experiment 2, sessions by region",
    "sample_paths": "experiment 3, sample paths",
    "score_teacher_forcing": "experiment 3, teacher forcing",
    "train_multimodal": "experiment 4, training",
    "forecast_conditions": "experiment 4, forecasts",
    "forecast_psth": "experiment 4, forecasts",
    "score_conditions": "experiment 4, scores",
    "measure_behaviour": "experiment 4, behaviour",
    "score_downstream": "experiment 5, decoding",
    "make_tables": "tables",
    "draw_figure": "figures",
    "run_notebook": "notebooks",
    "write": "report",
}
"""Rule, its family, or the beginning of its name -> what its jobs do."""
EXPERIMENTS = {"scaling": "experiment 2", "ablations": "experiment 6"}
"""Wildcard ``experiment`` of a job -> its experiment."""
SECONDS = {
    "simulate_allen_release": 30,
    "simulate_release": 8,
    "preprocess_allen": 9,
    "embed_images": 20,
    "tune_regressions": 20,
    "tune_baselines": 15,
    "train": 50,
    "train_point": 14,
    "score_point": 6,
    "train_multimodal": 40,
    "sample_paths": 15,
    "score_downstream": 10,
    "score_curves": 10,
    "fit_within_session": 12,
    "forecast_regressions": 6,
    "forecast_conditions": 5,
    "run_notebook": 8,
}
"""Seconds of a rule's jobs in the demo."""
OTHERS_S = 3.0
"""Seconds of a job of any other rule."""
_SHOWN_AFTER = 0.04
"""Share of the work before which the speed is not known."""


def seconds_of(rule: str) -> float:
    """Return the seconds of a job of a rule in the demo."""
    return SECONDS.get(rule, SECONDS.get(family_of(rule), OTHERS_S))


def label_of(rule: str, wildcards: Mapping[str, str]) -> str:
    """Return what a job does, in words."""
    names = [rule, family_of(rule), *(rule.rsplit("_", cut)[0] for cut in range(1, rule.count("_") + 1))]
    label = next((LABELS[name] for name in names if name in LABELS), rule.replace("_", " "))
    if experiment := EXPERIMENTS.get(wildcards.get("experiment", "")):
        return f"{experiment}, {label}"
    return label


@dataclass
class Followed:
    """The jobs of a run.

    Attributes:
        planned: Number of jobs of each rule, as planned at the start.
        total: Number of all jobs; it rises above the sum of ``planned`` when a job shows that more are needed.
        done: Number of finished jobs of each rule.
        running: Number of a job -> its rule and its label.
        began_s: When the first job started, on any clock; None before.
    """

    planned: Counter = field(default_factory=Counter)
    total: int = 0
    done: Counter = field(default_factory=Counter)
    running: dict[int, tuple[str, str]] = field(default_factory=dict)
    began_s: float | None = None

    def plan(self, planned: Mapping[str, int]) -> None:
        """Take over the numbers of jobs of each rule."""
        self.planned = Counter(planned)
        self.total = self.planned.total()

    def start(self, job: int, rule: str, wildcards: Mapping[str, str], now_s: float) -> None:
        """Note that a job started."""
        self.running[job] = (rule, label_of(rule, wildcards))
        self.began_s = now_s if self.began_s is None else self.began_s

    def finish(self, job: int) -> str | None:
        """Note that a job finished, and return its rule; None if it did not start."""
        rule, _ = self.running.pop(job, (None, ""))
        if rule is not None:
            self.done[rule] += 1
        return rule

    @property
    def share(self) -> float:
        """Finished share of the work."""
        done_s = sum(number * seconds_of(rule) for rule, number in self.done.items())
        # jobs that were not planned at the start count when they start
        rules = self.planned | self.done
        known_s = sum(number * seconds_of(rule) for rule, number in rules.items())
        all_s = known_s + max(self.total - rules.total(), 0) * OTHERS_S
        return done_s / all_s if all_s else 0.0

    def left_s(self, now_s: float) -> float | None:
        """Return the seconds that are left, None before they can be estimated."""
        if self.began_s is None or self.share < _SHOWN_AFTER:
            return None
        return (now_s - self.began_s) * (1 - self.share) / self.share

    def line(self, now_s: float) -> str:
        """Return the line."""
        elapsed_s = 0.0 if self.began_s is None else now_s - self.began_s
        parts = [f"{clock(elapsed_s)}  {self.share:4.0%} of the work, {self.done.total()} of {self.total} jobs"]
        left_s = self.left_s(now_s)
        if left_s is not None:
            parts.append(f"about {duration(left_s)} left")
        current = Counter(label for _, label in self.running.values())
        if current:
            parts.append("now: " + "; ".join(label for label in current))
        return ", ".join(parts)


def clock(seconds: float) -> str:
    """Return a time as hours, minutes and seconds."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def duration(seconds: float) -> str:
    """Return a time in words, no more exact than it is known."""
    return f"{max(round(seconds / 10) * 10, 10)} s" if seconds < 90 else as_time(seconds)
