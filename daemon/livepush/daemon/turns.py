"""What HTTP may take of one turn of the reactor: no crowd of requests keeps those waiting who are connected.

A turn of the reactor handles all sockets that have something, and one read may hold a hundred requests. So HTTP has
`TURN_SECONDS` of each turn. What comes when they are used up waits in line, in the order in which it came, and so does
what comes while others wait: a connection that has a hundred requests stands in line again for each.

    state    what happens                                      goes on when
    ------   -----------------------------------------------   ---------------------------------------------------------
    idle     all goes at once                                  something was done: used
    used     all goes at once, up to the bound                 the turn ends: idle; the bound is reached: waiting
    waiting  all stands in line; each turn does as much of     nobody waits any more: used
             it as fits

At least one is done in each turn, however long it takes. The line is as long as there are connections.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

TURN_SECONDS = 0.005
"""As long as twenty requests take, or the frames of an event for 1,000 connections. With 2 ms an honest page waits no
less under a flood, and 5,000 pages that come back at once need a third more time: each turn costs something itself."""


class Turns:
    """The share of one process.

    Args:
        clock: whose turns they are.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._used = 0.0
        self._begun: float | None = None
        self._line: deque[Callable[[], None]] = deque()
        self._ticking = False

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def is_free(self) -> bool:
        """Whether something may be done now; else it has to `wait`."""
        if self._line:
            return False
        begun = self._begun
        return self._used + (0.0 if begun is None else self._clock.seconds() - begun) < TURN_SECONDS

    def do(self, work: Callable[..., object], *args: Any) -> None:
        """Does it, and counts how long it took; work within work is counted once."""
        if self._begun is not None:
            work(*args)
            return
        self._begun = begun = self._clock.seconds()
        try:
            work(*args)
        finally:
            self._begun = None
            self._used += self._clock.seconds() - begun
            self._tick()

    def wait(self, work: Callable[[], None]) -> None:
        """Has it done when it is its turn; whoever does not want it any more then does nothing in it."""
        self._line.append(work)
        self._tick()

    def _tick(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._clock.callLater(0, self._begin)

    def _begin(self) -> None:
        self._ticking, self._used = False, 0.0
        for _ in range(len(self._line)):  # who stands in line again meanwhile has had his turn
            self.do(self._line.popleft())
            if self._used >= TURN_SECONDS:
                break
        if self._line:
            self._tick()
