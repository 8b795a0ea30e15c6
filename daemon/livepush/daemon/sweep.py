"""The regular look at everybody: what changes who a user is and sends no signal is found within `seconds`.

A query that updates many users, a row that SQL deletes, a session that expires, a cache that loses one: Django tells
nobody of these. So each connection is identified anew at least every `seconds`, and hears on meanwhile.

Its turn comes between half of that time and the whole, so that those who came together do not stay together: ten
thousand who connected in one second are asked in twenty portions over half of the time. And those who are few are asked
together, once: a portion is as large as a batch of look-ups (`lookups.MOST`), which costs a handful of queries however
large it is. The portions queue behind those who wait to be let in (`suspension`), so they fill no pool.

Bound: the connections of this process; one timer for all of them, which stops with the last.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, takewhile
from math import ceil
from typing import Generic, Protocol, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from livepush.daemon.lookups import MOST

TICKS = 20
"""In `seconds`."""


class Member(Protocol):
    """A connection."""

    @property
    def is_open(self) -> bool:
        """Whether it hears events: nobody else has anything to lose."""


M = TypeVar("M", bound=Member)


class Sweep(Generic[M]):
    """Asks for each member in time.

    Args:
        seconds: within which each has its turn.
        clock: the reactor's.
        ask: has one identified anew.
        portion: of a tick, where it need not be more.

    Attributes:
        asked: turns since the start.
    """

    def __init__(self, seconds: float, clock: IReactorTime, ask: Callable[[M], object], portion: int = MOST) -> None:
        self.asked = 0
        self._seconds, self._clock, self._ask, self._portion = seconds, clock, ask, portion
        self._since: dict[M, float] = {}  # its last turn; in this order
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock

    def add(self, member: M) -> None:
        """It is identified now, and has its first turn within the time."""
        self._since[member] = self._clock.seconds()
        if not self._loop.running:
            self._loop.start(self._seconds / TICKS, now=False)

    def discard(self, member: M) -> None:
        """It has gone."""
        self._since.pop(member, None)
        if not self._since and self._loop.running:
            self._loop.stop()

    def _tick(self) -> None:
        now = self._clock.seconds()
        for member in list(islice(self._since, self._due(now))):
            del self._since[member]
            self._since[member] = now
            if member.is_open:
                self.asked += 1
                self._ask(member)

    def _due(self, now: float) -> int:
        """How many have their turn now."""
        oldest = next(iter(self._since.values()))
        half = now - self._seconds / 2
        ready = sum(1 for _ in takewhile(lambda since: since <= half, self._since.values()))
        left = int((oldest + self._seconds - now) / (self._seconds / TICKS))  # ticks until it would be too late
        if left > 1 and ready < self._portion:
            return 0
        return max(ceil(ready / max(1, left)), min(ready, self._portion))
