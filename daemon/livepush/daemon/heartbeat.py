"""Signs of life: each connection is asked every `heartbeat` seconds, with one timer for all of them.

Connections are dealt over as many slots as the interval has ticks, so that 10,000 pings are spread evenly over it and
no connection costs a timer of its own.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

SLOTS = 25


class Beating(Protocol):
    """Whatever wants to be called every `heartbeat` seconds."""

    def beat(self) -> None:
        """One interval has passed."""


class Heartbeat:
    """Calls `beat` of each member once every interval."""

    def __init__(self, seconds: float, clock: IReactorTime) -> None:
        self.seconds = seconds
        self._slots: list[dict[Beating, None]] = [{} for _ in range(SLOTS)]
        self._where: dict[Beating, int] = {}
        self._at = 0
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self._done: Deferred[LoopingCall] | None = None

    def add(self, member: Beating) -> None:
        """Its first beat comes after a whole interval."""
        slot = (self._at - 1) % SLOTS
        self._slots[slot][member] = None
        self._where[member] = slot
        if not self._loop.running:
            self._done = self._loop.start(self.seconds / SLOTS, now=False)

    def discard(self, member: Beating) -> None:
        """No more beats; the timer stops with the last member."""
        slot = self._where.pop(member, None)
        if slot is not None:
            del self._slots[slot][member]
        if not self._where and self._loop.running:
            self._loop.stop()

    def _tick(self) -> None:
        slot = self._slots[self._at]
        self._at = (self._at + 1) % SLOTS
        for member in list(slot):
            try:
                member.beat()
            except Exception:
                # One broken connection must not stop the heartbeats of the others.
                self._log.failure("A heartbeat failed.")

    _log = Logger()
