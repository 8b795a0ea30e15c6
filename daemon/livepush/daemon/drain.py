"""Sending all clients to the other processes, before this one ends: a few at a time, so that nobody is overrun.

Each connection has a place in a random order, 0 to 1. By its place it is

    told     in the first half of the time: `goaway`
    closed   with 4000. If its client makes the next connection before it drops this one (`Connection.overlaps`), half
             of the time after it was told: enough to go over without a moment of silence. Any other client is only
             reached by the end of its connection, and is ended by its place in the whole time.

So those who come back are spread over the time in both cases. A client that goes over drops the connection itself, and
the drain ends with the last connection.

Bound: as many timers as 1, as many entries as connections; what comes after the start (nothing is accepted then) is
left to who ends the process.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from livepush.wire.closing import Close

BATCH_SECONDS = 0.1
"""What falls due within it is done at once; who is told to go waits up to as long of his own accord."""

REASON = "this server is going away"


class Leaving(Protocol):
    """One client; see `livepush.daemon.connection.Connection`."""

    @property
    def ended(self) -> bool:
        """Whether it has gone, or is about to."""

    @property
    def overlaps(self) -> bool:
        """Whether its client makes the next connection beside this one."""

    def send_away(self, after: int) -> None:
        """Tells it to go in so many milliseconds."""

    def close(self, code: Close, reason: str) -> None:
        """Ends it."""

    def abort(self) -> None:
        """Drops it."""


class Drain:
    """Sends clients away over some time.

    Args:
        clock: the reactor.
        seconds: the whole of it.
        members: who is to go.
        left: how many connections are still there; none: the drain is over.
        random: from 0 to 1.
    """

    def __init__(
        self,
        clock: IReactorTime,
        seconds: float,
        members: Sequence[Leaving],
        left: Callable[[], int],
        random: Callable[[], float] = random.random,
    ) -> None:
        self._clock, self._seconds, self._left, self._random = clock, seconds, left, random
        self._loop = LoopingCall(self._batch)
        self._loop.clock = clock
        self._begun = clock.seconds()
        order = sorted(members, key=lambda _: random())
        # When, a number that no other has, who, his place, and whether he was told. A heap, by the first two.
        self._due = [
            (number / len(order) * seconds / 2, number, member, number / len(order), False)
            for number, member in enumerate(order)
        ]
        self._done: Deferred[None] = Deferred()

    def start(self) -> Deferred[None]:
        """Begins; fires when nobody is left or everybody was closed."""
        self._begun = self._clock.seconds()
        self._loop.start(BATCH_SECONDS)
        return self._done

    def stop(self) -> None:
        """Ends it before its time; whoever was not told yet is not."""
        if self._loop.running:
            self._loop.stop()
            self._done.callback(None)

    def _batch(self) -> None:
        now = self._clock.seconds() - self._begun
        while self._due and self._due[0][0] <= now:
            _, number, member, place, told = heappop(self._due)
            if member.ended:
                continue
            try:
                if told:
                    member.close(Close.GOING_AWAY, REASON)
                else:
                    self._tell(number, member, place, now)
            except Exception:
                # One broken connection must not keep the others from being told.
                self._log.failure("A connection broke while it was told to go; it is dropped.")
                member.abort()
        if not self._due or not self._left():
            self.stop()

    def _tell(self, number: int, member: Leaving, place: float, now: float) -> None:
        if member.overlaps:
            closed, after = now + self._seconds / 2, self._random() * BATCH_SECONDS
        else:
            closed = max(now, place * self._seconds)
            after = closed - now
        member.send_away(round(after * 1000))
        heappush(self._due, (closed, number, member, place, True))

    _log = Logger()
