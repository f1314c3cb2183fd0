"""A cure for timers of Snakemake's scheduler that arm themselves again.

In Snakemake 9.27, each search for jobs to start arms a timer of the length of ``max-jobs-per-timespan``, which starts
another search, which arms another timer. So every finished job adds one search per timespan for the rest of the run: in
a run of thousands of jobs the searches take a whole core. One armed timer is enough. For Snakemake's maintainers:
``benchmarks/scheduler_report.md``.
"""

import threading
import time
from collections.abc import Callable
from typing import Protocol

ARM = "_schedule_reevalutation"
"""Name of the scheduler's method, as Snakemake spells it."""


class Scheduler(Protocol):
    """The part of Snakemake's scheduler that is used."""

    _schedule_reevalutation: Callable[[float], None]


def keep_one_timer(scheduler: Scheduler) -> None:
    """Arm a timer of a scheduler only if none that is armed ends before it.

    Raises:
        AttributeError: The scheduler of this version of Snakemake has no such method.
    """
    arm = getattr(scheduler, ARM)
    lock = threading.Lock()
    ends = float("-inf")

    def arm_once(delay_s: float) -> None:
        nonlocal ends
        with lock:
            now = time.monotonic()
            if now < ends <= now + delay_s:
                return
            ends = now + delay_s
        arm(delay_s)

    setattr(scheduler, ARM, arm_once)
