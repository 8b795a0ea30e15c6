"""Who takes a ticket that only one may take: the process whose claim stands first in the broker's log.

The daemon writes nothing into the site's database, and what a process remembers its siblings don't know. But all of
them read one log, in one order. So a process that is shown a ticket puts a claim on it there, and waits until it meets
the first claim on it; if that is its own, the ticket is taken, here and nowhere else. It costs about a millisecond.

    taken      some process has claimed it: refused, without a word to the broker
    waiting    a claim of this process's is on its way; whoever shows the ticket here meanwhile is refused
    first      the first claim in the log is this process's: the ticket is good
    late       there was one before it, or none came back within `WAIT_SECONDS`: the ticket is used up

A process that starts reads the log's last minutes before it lets anybody in, so it knows the claims of before. Nobody
knows those of a log that was deleted while it started.

Bound: `MOST` claims, each for `SECONDS`, which is longer than any ticket lives. Over it no ticket is taken until they
are fewer, and who shows one comes back later.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from livepush.daemon.errors import Busy

MOST = 100_000
SECONDS = 180.0
WAIT_SECONDS = 5.0


class Redemption:
    """The claims that this process knows.

    Args:
        clock: the reactor.
        publish: puts a claim into the log, from where `met` gets it; False: not now.
        most: see the top.

    Attributes:
        redeemed: tickets that were good, since the start.
        refused: tickets that were used before, or claimed too late.
    """

    def __init__(self, clock: IReactorTime, publish: Callable[[str], bool], most: int = MOST) -> None:
        self.redeemed = self.refused = 0
        self._clock, self._publish, self._most = clock, publish, most
        self._taken: dict[str, float] = {}  # until when, in this order
        self._waiting: dict[str, Deferred[bool]] = {}
        self._full_until = 0.0

    async def take(self, claim: str) -> bool:
        """Whether nobody has taken it before.

        Raises:
            Busy: the broker did not show it in time, or too many are remembered. A ticket that was claimed is used up.
        """
        if claim in self._taken or claim in self._waiting:
            self.refused += 1
            return False
        if self._clock.seconds() < self._full_until or len(self._waiting) >= self._most:
            raise Busy
        self._waiting[claim] = met = Deferred[bool]()
        timer = self._clock.callLater(WAIT_SECONDS, self._give_up, claim)
        try:
            if not self._publish(claim):
                self._waiting.pop(claim, None)
                raise Busy
            first = await met
        finally:
            if timer.active():
                timer.cancel()
        if first:
            self.redeemed += 1
        else:
            self.refused += 1
        return first

    def met(self, claim: str, mine: bool) -> None:
        """A claim stands in the log, behind those that were met before."""
        waiting = self._waiting.pop(claim, None)
        first = self._remember(claim)
        if waiting is not None:
            waiting.callback(first and mine)

    def _remember(self, claim: str) -> bool:
        """Whether it is the first one on it."""
        now = self._clock.seconds()
        while self._taken and next(iter(self._taken.values())) <= now:
            del self._taken[next(iter(self._taken))]
        if claim in self._taken:
            return False
        if len(self._taken) >= self._most:
            self._full_until = now + SECONDS  # one that is not remembered must not be taken for a new one
            return False
        self._taken[claim] = now + SECONDS
        return True

    def _give_up(self, claim: str) -> None:
        waiting = self._waiting.pop(claim, None)
        if waiting is not None:
            waiting.errback(Busy())
