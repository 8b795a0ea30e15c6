"""The daemon as a service of systemd: it says when it is ready, how it is, and that it is alive.

    state       begins                           what systemd is told
    ---------   ------------------------------   -------------------------------------------------------------------
    STARTING    with the process                 STATUS: what it waits for. As long as the broker is not there the
                                                 start goes on, and its time limit is put off
    SERVING     when it is ready for the first   READY, then WATCHDOG from the reactor, three times as often as it
                time                             must be, and STATUS at every change: also when the broker is gone
    STOPPING    with the signal to end           STOPPING; WATCHDOG goes on

That the sign of life comes out of the reactor is the point: a process whose reactor is blocked gives none, is ended
with SIGABRT, and leaves the stacks of its threads in the journal (`faulthandler`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from livepush.daemon.notify import Notifier

TICK_SECONDS = 5.0
"""Between two looks at the state where no watchdog asks for more; changes are told at once."""

EXTENSION_SECONDS = 30.0
"""How far a tick puts off the time limit of a start that waits for its broker."""


class Stage(Enum):
    """What systemd was told last; see the table above."""

    STARTING = auto()
    SERVING = auto()
    STOPPING = auto()


class Supervised(Protocol):
    """What is told about: a daemon, or the parent of several."""

    def watch(self, callback: Callable[[], None]) -> None:
        """Calls back whenever something of it may have changed."""

    def is_ready(self) -> bool:
        """Whether it does its work."""

    def status(self) -> str:
        """How it is, in one line for people."""


class Supervision(Service):
    """Tells systemd about a service.

    Args:
        notifier: what tells it.
        supervised: the service.
        clock: the reactor.
        stop_seconds: the most that the end may take.
        monotonic: CLOCK_MONOTONIC, seconds.
    """

    name = "supervision"

    def __init__(
        self,
        notifier: Notifier,
        supervised: Supervised,
        clock: IReactorTime,
        stop_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notifier, self._supervised = notifier, supervised
        self._stop_seconds, self._monotonic = stop_seconds, monotonic
        self._stage, self._said = Stage.STARTING, ""
        self._remark = ""
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        watchdog = notifier.watchdog_seconds
        self._interval = TICK_SECONDS if watchdog is None else min(TICK_SECONDS, watchdog / 3)
        supervised.watch(self.look)

    def startService(self) -> None:
        """Begins to tell."""
        Service.startService(self)
        self._loop.start(self._interval)

    def stopService(self) -> None:
        """The process has been told to end. The signs of life go on until it is gone."""
        Service.stopService(self)
        self._stage = Stage.STOPPING
        self._notifier.tell(
            STOPPING=1,
            EXTEND_TIMEOUT_USEC=_microseconds(self._stop_seconds + EXTENSION_SECONDS),
            STATUS=self._supervised.status(),
        )

    def look(self) -> None:
        """The daemon is in another state, perhaps."""
        if self._stage is Stage.STARTING and self._supervised.is_ready():
            self._stage = Stage.SERVING
            self._said = self._status()
            self._notifier.tell(READY=1, STATUS=self._said)
        elif self._stage is not Stage.STOPPING and self._said != (status := self._status()):
            self._said = status
            self._notifier.tell(STATUS=status)

    def reloading(self) -> None:
        """The settings are read anew."""
        if self._stage is Stage.SERVING:
            self._notifier.tell(RELOADING=1, MONOTONIC_USEC=_microseconds(self._monotonic()))

    def reloaded(self, remark: str) -> None:
        """They have been; what came of it is shown with the status from now on."""
        self._remark = remark
        if self._stage is Stage.SERVING:
            self._said = self._status()
            self._notifier.tell(READY=1, STATUS=self._said)

    def _tick(self) -> None:
        if self._stage is Stage.STARTING:
            self.look()
            if self._stage is Stage.STARTING:
                self._notifier.tell(EXTEND_TIMEOUT_USEC=_microseconds(EXTENSION_SECONDS))
        elif self._notifier.watchdog_seconds is not None:
            self._notifier.tell(WATCHDOG=1)
        if self._stage is Stage.SERVING:
            self.look()

    def _status(self) -> str:
        said = self._supervised.status()
        return f"{said} ({self._remark})" if self._remark else said


def _microseconds(seconds: float) -> int:
    return int(seconds * 1_000_000)
