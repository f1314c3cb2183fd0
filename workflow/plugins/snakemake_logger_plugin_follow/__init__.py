"""Snakemake's option ``--logger follow``: one line of progress, first results, and errors; the full log is in a file.

``make demo`` puts the folder of this package on Python's path, where Snakemake finds plugins by their names.
"""

import logging
import os
import sys
import threading
import time
from pathlib import Path

from following import Followed
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

SHOWN = {"preview": ".txt"}
"""Rule -> the ending of its output that is printed when it is there."""
PASSED_ON = ("Creating conda environment", "Nothing to be done", "Complete log(s)")
"""Beginnings of Snakemake's messages that are printed."""
TERMINAL_S, FILE_S = 1.0, 20.0
"""Seconds between two lines on a terminal, where each replaces the one before, and in a file."""


class LogHandler(LogHandlerBase):
    """Prints one line of progress to stderr."""

    def __post_init__(self) -> None:
        """Prepare an empty run."""
        self.followed = Followed()
        self.outputs: dict[int, list[str]] = {}
        self.on_terminal = sys.stderr.isatty()
        self.width = 0
        self.printed_s = float("-inf")
        self.ended = threading.Event()
        self.writing = threading.RLock()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record of Snakemake's log."""
        try:
            self.take(record)
        except Exception:
            self.handleError(record)

    def take(self, record: logging.LogRecord) -> None:
        """Follow the jobs of the run by its records, and print those that a person needs."""
        event, now_s = getattr(record, "event", None), time.monotonic()
        if event == LogEvent.RUN_INFO:
            self.followed.plan({rule: number for rule, number in record.stats.items() if rule != "total"})
            if not self.common_settings.dryrun:
                threading.Thread(target=self.repeat, daemon=True).start()
        elif event == LogEvent.JOB_INFO:
            self.followed.start(record.jobid, record.rule_name, record.wildcards or {}, now_s)
            self.outputs[record.jobid] = [str(path) for path in record.output or ()]
        elif event == LogEvent.JOB_FINISHED:
            outputs, rule = self.outputs.pop(record.job_id, []), self.followed.finish(record.job_id)
            for path in outputs if rule in SHOWN else ():
                if path.endswith(SHOWN[rule]) and Path(path).is_file():
                    self.say(Path(path).read_text().rstrip())
        elif event == LogEvent.PROGRESS:
            self.followed.total = max(record.total, self.followed.total)
        elif record.levelno >= logging.WARNING:
            self.say(self.format(record))
        elif event is None and (text := record.getMessage()).startswith(PASSED_ON):
            self.say(text)

    def repeat(self) -> None:
        """Print the line again and again until the run ends."""
        while not self.ended.wait(TERMINAL_S):
            self.show()

    def show(self) -> None:
        """Print the line, not more often than a reader needs it."""
        with self.writing:
            now_s = time.monotonic()
            if now_s - self.printed_s < (TERMINAL_S if self.on_terminal else FILE_S) or self.followed.began_s is None:
                return
            self.printed_s = now_s
            line = self.followed.line(now_s)
            if self.on_terminal:
                sys.stderr.write("\r" + line[: self.columns()].ljust(self.width))
                self.width = min(len(line), self.columns())
            else:
                sys.stderr.write(line + "\n")
            sys.stderr.flush()

    def columns(self) -> int:
        """Return the width of the terminal; a longer line could not be replaced."""
        try:
            return max(os.get_terminal_size(sys.stderr.fileno()).columns - 1, 20)
        except OSError:
            return 79

    def say(self, text: str) -> None:
        """Print text that stays."""
        with self.writing:
            if self.on_terminal and self.width:
                sys.stderr.write("\r" + " " * self.width + "\r")
                self.width = 0
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the line."""
        self.ended.set()
        with self.writing:
            if self.on_terminal and self.width:
                sys.stderr.write("\n")
        super().close()

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = False
    needs_rulegraph = False
