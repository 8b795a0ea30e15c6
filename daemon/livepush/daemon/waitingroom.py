"""Where a client's request waits for the feed: until it is ready, and until the log was read as far as a position.

A client that changes processes is often a millisecond ahead of the log reader of the next one, and what it has is only
known when its offset was read. `look` is called at the end of each turn, and costs nothing while nobody waits.

Bound: one wait a connection, each with an end in time.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


class WaitingRoom:
    """Who waits for the feed of this process.

    Attributes:
        is_ready: whether the feed is; to be set before it starts.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.is_ready: Callable[[], bool] = lambda: True
        self._clock = clock
        self._waiting: dict[Deferred[bool], int] = {}

    def wait(self, offset: int, seconds: float) -> Deferred[bool]:
        """Waits for the feed.

        Args:
            offset: of the log, to be read; -1: the feed needs only be ready.
            seconds: at most.

        Returns:
            Fires with whether it came so far in time. May be cancelled.
        """
        done: Deferred[bool] = Deferred(self._cancelled)
        self._waiting[done] = offset
        timer = self._clock.callLater(max(0.0, seconds), self._end, done)

        def ended(result: bool) -> bool:
            if timer.active():
                timer.cancel()
            return result

        return done.addBoth(ended)

    def look(self, last: int) -> None:
        """The feed may have come on.

        Args:
            last: the last offset that was read of the log.
        """
        if self._waiting and self.is_ready():
            for done in [done for done, offset in self._waiting.items() if offset <= last]:
                if self._forget(done):
                    done.callback(True)

    def _end(self, done: Deferred[bool]) -> None:
        if self._forget(done):
            done.callback(False)

    def _cancelled(self, done: Deferred[bool]) -> None:
        self._forget(done)

    def _forget(self, done: Deferred[bool]) -> bool:
        return self._waiting.pop(done, None) is not None
