"""Who must be identified anew: the suspended first, a few at a time, one job a connection.

A suspended connection hears nothing until the answer is there; the others of a sweep go on meanwhile. A sweep that
begins while a job of its connection runs is remembered, and the job runs again. What the pool or the database refuses
is asked again after a second, as long as the connection lives.

A suspended one is closed (4029) when its job has got no answer for `SUSPENDED_SECONDS`, and its place is given to the
next, whatever the job still waits for. Time in the queue does not count there: a message that concerns everybody makes
a job for each, and the last of ten thousand begins after twenty seconds. `QUEUED_SECONDS` bound all of it.

Messages for everybody come in bursts, and each outdates what was asked before it. So the jobs of the first one begin
`CALM_SECONDS` after the last, `BURST_SECONDS` after the first at most; once they have begun, nothing holds them up
until all are through, else a long stream of messages would.

Bound: the connections of this process; as many jobs at once as `room` says, which is what the look-ups take in one go.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from livepush.daemon.errors import Busy, IdentityUnavailable

AT_ONCE = 8
"""Jobs, where nothing else is said."""

SUSPENDED_SECONDS = 5.0
QUEUED_SECONDS = 60.0
AGAIN_SECONDS = 1.0
CALM_SECONDS = 0.1
BURST_SECONDS = 1.0


class Member(Protocol):
    """A connection."""

    @property
    def suspended(self) -> bool:
        """Whether it waits for the answer."""

    @property
    def ended(self) -> bool:
        """Whether it is over."""

    def reidentify(self) -> Coroutine[Deferred[Any], Any, None]:
        """Finds out who it is now, and acts on it."""


class Reidentification:
    """The jobs of this process that identify connections anew.

    Attributes:
        room: how many of them may be under way now.
    """

    def __init__(self, clock: IReactorTime, at_once: int = AT_ONCE) -> None:
        self._clock = clock
        self.room: Callable[[], int] = lambda: at_once
        self._urgent: dict[Member, None] = {}
        self._others: dict[Member, None] = {}
        self._running: dict[Member, bool] = {}  # whether it was demanded again meanwhile
        self._starting = False
        self._held: IDelayedCall | None = None
        self._held_until = 0.0

    def hold(self) -> None:
        """Everybody is about to be suspended: no job begins until no more such messages come."""
        now = self._clock.seconds()
        if self._held is not None:
            self._held.reset(max(0.0, min(CALM_SECONDS, self._held_until - now)))
        elif not self._urgent and not any(member.suspended for member in self._running):
            self._held_until = now + BURST_SECONDS
            self._held = self._clock.callLater(CALM_SECONDS, self._let_go)

    def _let_go(self) -> None:
        self._held = None
        self._start()

    def ask(self, member: Member, again: bool = False) -> None:
        """It is to be identified anew.

        Args:
            member: which one.
            again: also if a job of its is under way. After a control message there is no need: the job itself sees
                that its answer is outdated.
        """
        if member in self._running:
            self._running[member] = self._running[member] or again
            return
        if member.suspended:
            self._others.pop(member, None)
            self._urgent[member] = None
        elif member not in self._urgent:
            self._others[member] = None
        self._start()

    def discard(self, member: Member) -> None:
        """It has ended; another one takes its place."""
        self._urgent.pop(member, None)
        self._others.pop(member, None)
        if self._running.pop(member, None) is not None:
            self._start()
        if self._held is not None and not self._urgent and not self._others:
            self._held.cancel()  # nobody waits for it any more
            self._held = None

    def _start(self) -> None:
        if self._held is not None:
            return
        if self._starting:  # a job that ended at once: no recursion over a long queue
            return
        self._starting = True
        try:
            room = self.room()
            while len(self._running) < room and (queue := self._urgent or self._others):
                member = next(iter(queue))
                del queue[member]
                self._running[member] = False
                done = Deferred.fromCoroutine(member.reidentify())
                done.addCallbacks(self._done, self._failed, callbackArgs=(member,), errbackArgs=(member,))
        finally:
            self._starting = False

    def _done(self, _: None, member: Member) -> None:
        again = self._running.pop(member, None)
        if again and not member.ended:
            self.ask(member)
        self._start()

    def _failed(self, failure: Failure, member: Member) -> None:
        known = self._running.pop(member, None) is not None
        if failure.check(Busy, IdentityUnavailable) is None:
            self._log.failure("A connection could not be identified anew.", failure)
        if known and not member.ended:
            self._clock.callLater(AGAIN_SECONDS, self._ask_again, member)
        self._start()

    def _ask_again(self, member: Member) -> None:
        if not member.ended:
            self.ask(member)

    _log = Logger()
