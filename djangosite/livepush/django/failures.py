"""What could not be published: counted, and logged without flooding."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

QUIET_SECONDS = 10.0
"""At most one line per kind of failure in this time."""


class Failures:
    """Counts failures by the class of their error; the first of each kind is logged, then one line in 10 s."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock = log, clock
        self.renew_lock()
        self._counts: Counter[str] = Counter()
        self._quiet: dict[str, tuple[float, int]] = {}

    def renew_lock(self) -> None:
        """For a forked child: the lock may have been held by a thread that does not exist here."""
        self._lock = threading.Lock()

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind since the process started."""
        with self._lock:
            return dict(self._counts)

    def add(self, what: str, error: BaseException) -> None:
        """Takes one failure.

        Args:
            what: the publication, without its data.
            error: why it failed.
        """
        kind, now = type(error).__name__, self._clock()
        with self._lock:
            self._counts[kind] += 1
            until, silent = self._quiet.get(kind, (now, 0))
            quiet = now < until
            self._quiet[kind] = (until, silent + 1) if quiet else (now + QUIET_SECONDS, 0)
        if not quiet:
            more = f" ({silent} more of this kind since the last line)" if silent else ""
            self._log.error("%s was not published: %s: %s%s", what, kind, error, more)
