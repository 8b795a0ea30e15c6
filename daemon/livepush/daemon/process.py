"""What the daemon asks of its process: open files, the garbage collector, and an end in any case."""

from __future__ import annotations

import gc
import os
import resource
import threading
import time
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

_log = Logger()


def allow_files(
    needed: int,
    get: Callable[[int], tuple[int, int]] = resource.getrlimit,
    put: Callable[[int, tuple[int, int]], None] = resource.setrlimit,
) -> int | None:
    """Lets the process have that many files open, as far as the system's hard limit goes.

    Returns:
        None: it may; else how many there can be.
    """
    soft, hard = get(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        put(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):
        return soft
    return None if most >= needed else most


def use_monotonic(reactor: Any) -> None:
    """Lets all timers go by the monotonic clock, before there are any.

    Twisted's own go by the wall clock: somebody who sets it an hour ahead would end every wait at once, and empty the
    memory of what those who come back have missed; an hour back, and no timer would run for an hour.
    """
    assert not reactor.getDelayedCalls(), "a timer was set by the other clock"
    reactor.seconds = time.monotonic


def freeze() -> None:
    """Takes what the start has made out of the garbage collector's sight: it stays for the life of the process."""
    gc.collect()
    gc.freeze()


def end_by_force(seconds: float, leave: Callable[[int], None] = os._exit) -> threading.Timer:
    """Ends the process with status 1 after that time, if nothing else has.

    The bound of an orderly end that holds even if the reactor's own thread is stuck, or a thread of a pool that the
    interpreter would wait for is.

    Args:
        seconds: from now.
        leave: what ends it.
    """

    def end() -> None:
        _log.critical("The process did not end in {seconds} s; it is ended by force.", seconds=seconds)
        leave(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer
