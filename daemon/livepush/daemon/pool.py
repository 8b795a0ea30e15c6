"""A bounded pool of threads that work for Django. Look-ups have one, calls another: neither waits for the other.

At the bound (`queue` jobs waiting, all threads at work) a job is refused with `Busy` and nothing is started. What is
waiting when the end comes is refused likewise. Each thread holds one connection per database that its jobs use.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from livepush.daemon.errors import Busy

LEAVE_SECONDS = 2.0
"""How long the end waits for a thread that the database holds up; it dies with the process."""

T = TypeVar("T")


class Pool:
    """Runs blocking jobs in threads of its own, from the reactor's thread.

    Args:
        name: of its threads.
        threads: how many there may be.
        queue: jobs that may wait for one.
        reactor: whose thread asks.
        last: runs in a thread when the jobs have ended.
    """

    def __init__(
        self, name: str, threads: int, queue: int, reactor: Any, last: Callable[[], object] = lambda: None
    ) -> None:
        self._name, self._bound, self._reactor, self._last = name, threads + queue, reactor, last
        self._pool = ThreadPool(0, threads, name)
        # A thread that the database holds up must not keep the process from ending.
        self._pool.threadFactory = partial(threading.Thread, daemon=True)  # type: ignore[assignment]
        self._jobs = 0
        self._open = False

    @property
    def is_open(self) -> bool:
        """Whether it takes jobs: from `start` to `stop`."""
        return self._open

    def start(self) -> None:
        """Takes jobs from now on."""
        self._pool.start()
        self._open = True

    def stop(self) -> Deferred[None]:
        """Ends the pool; fires when its threads have ended, or after 2 s, which leaves a stuck one behind."""
        self._open = False
        stopped: Deferred[None] = Deferred()

        def ended() -> None:
            if not stopped.called:
                timer.cancel()
                stopped.callback(None)

        def left() -> None:
            self._log.warn("A thread of {name} has not ended in time, and is left behind.", name=self._name)
            stopped.callback(None)

        def join() -> None:
            self._pool.stop()
            try:
                self._last()
            finally:
                self._reactor.callFromThread(ended)

        timer = self._reactor.callLater(LEAVE_SECONDS, left)
        threading.Thread(target=join, name=f"{self._name}-end", daemon=True).start()
        return stopped

    async def run(self, job: Callable[[], T]) -> T:
        """What the job returns.

        Raises:
            Busy: too many are waiting, or it is the end.
            Exception: whatever the job raises.
        """
        if not self._open or self._jobs >= self._bound:
            raise Busy
        self._jobs += 1
        try:
            answer: T = await deferToThreadPool(self._reactor, self._pool, self._begin, job)
        finally:
            self._jobs -= 1
        return answer

    def _begin(self, job: Callable[[], T]) -> T:
        if not self._open:
            raise Busy
        return job()

    _log = Logger()
