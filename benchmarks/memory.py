"""Peak memory of a call, measured in a fresh process."""

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path


def peak_of(call: Callable, arguments: Sequence, *, before: Callable | None = None) -> float:
    """Return the megabytes by which a call raises the peak memory of a fresh process.

    Args:
        call: A function of a module, so that the process can import it.
        arguments: Its arguments.
        before: Called first with the same arguments, so that imports and thread pools are not counted.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(there, call, tuple(arguments), before))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        raise RuntimeError(f"{call.__name__} did not finish in its process") from None
    finally:
        process.join()


def _measure(answer: Connection, call: Callable, arguments: tuple, before: Callable | None) -> None:
    if before is not None:
        before(*arguments)
    resident = _status_mb("VmRSS")
    # the peak of only this process: getrusage includes that of the process that started it
    Path("/proc/self/clear_refs").write_text("5")
    call(*arguments)
    answer.send(_status_mb("VmHWM") - resident)


def _status_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"this kernel does not report {field}")
