"""One armed timer of Snakemake's scheduler is enough, however many jobs have ended."""

import threading

import one_timer
import pytest
from one_timer import ARM, keep_one_timer


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


class Scheduler:
    """Records when its timers end."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.ends = clock, []

    def _schedule_reevalutation(self, delay_s: float) -> None:
        self.ends.append(self.clock.now_s + delay_s)


@pytest.fixture
def scheduler(monkeypatch) -> Scheduler:
    clock = Clock()
    monkeypatch.setattr(one_timer, "time", clock)
    found = Scheduler(clock)
    keep_one_timer(found)
    return found


def test_a_thousand_searches_within_a_timespan_arm_one_timer(scheduler):
    for _ in range(1000):
        getattr(scheduler, ARM)(10)
        scheduler.clock.now_s += 0.005
    assert scheduler.ends == [110.0]


def test_after_a_timer_has_ended_the_next_search_arms_one_again(scheduler):
    for _ in range(3):
        getattr(scheduler, ARM)(10)
        scheduler.clock.now_s += 10
    assert scheduler.ends == [110.0, 120.0, 130.0]


def test_a_timer_that_ends_earlier_is_armed_and_a_later_one_is_not_needed(scheduler):
    getattr(scheduler, ARM)(10)
    getattr(scheduler, ARM)(2)
    getattr(scheduler, ARM)(5)
    assert scheduler.ends == [110.0, 102.0]


def test_searches_of_many_threads_arm_one_timer(scheduler):
    threads = [threading.Thread(target=getattr(scheduler, ARM), args=(10,)) for _ in range(50)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert scheduler.ends == [110.0]


def test_another_scheduler_than_the_pinned_one_is_an_error():
    with pytest.raises(AttributeError, match=ARM):
        keep_one_timer(object())
