"""What a client has said and nobody has handled yet: one request after the other, each with a bound in time.

    idle        whatever comes is handled in the step in which it comes
    busy        a request waits for the thread pool or the feed: nothing more is read, what was read already waits here
    throttled   the client says more than its rate allows: the same, until the next message has its turn
    stopped     the owner is suspended: the same, until `go_on`

Bound: `most` messages, and what one read of the transport brings, because the transport is paused as soon as something
waits. Over it the owner is told that it is a flood, and ends: a page that asks for all its channels at once is within.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from livepush.daemon.interfaces import Link
from livepush.daemon.ratelimit import Meter
from livepush.wire.requests import Request

Said = bytes | Request
"""A message of the client; or a request, where the transport has read the message itself."""


class Owner(Protocol):
    """The connection."""

    @property
    def ended(self) -> bool:
        """Whether it is over: nothing is handled any more."""

    @property
    def suspended(self) -> bool:
        """Whether nothing is handled now."""

    def handle(self, said: Said) -> None:
        """Answers, or begins what will."""

    def failed(self, failure: Failure) -> None:
        """A request that was begun has failed."""

    def is_late(self) -> None:
        """A request that was begun has no answer yet, and the time for it is over."""

    def floods(self) -> None:
        """More waits than any page says at once: to be closed."""


class Inbox:
    """The inbound side of one connection.

    Args:
        owner: whose.
        link: paused as long as something waits.
        clock: the reactor's.
        seconds: what a request may take; not counted while the owner is suspended, which has a bound of its own.
        meter: how many messages may come; those over it wait.
        most: how many may wait.
    """

    __slots__ = (
        "_clock",
        "_deadline",
        "_link",
        "_meter",
        "_most",
        "_owner",
        "_seconds",
        "_throttle",
        "_waiting",
        "busy",
    )

    def __init__(self, owner: Owner, link: Link, clock: IReactorTime, seconds: float, meter: Meter, most: int) -> None:
        self._owner, self._link, self._clock, self._seconds = owner, link, clock, seconds
        self._meter, self._most = meter, most
        self._waiting: deque[Said] = deque()
        self._deadline: IDelayedCall | None = None  # of the request under way
        self._throttle: IDelayedCall | None = None  # until the next message has its turn
        self.busy = False  # a request is under way; one that has begun may outlast the connection

    @property
    def stalled(self) -> bool:
        """Whether what comes has to wait."""
        return self.busy or self._throttle is not None or self._owner.suspended

    def add(self, said: Said) -> None:
        """Something the client has said."""
        if self._owner.ended:
            return
        self._waiting.append(said)
        self._work()
        if len(self._waiting) > self._most:
            self._owner.floods()

    def begin(self, job: Coroutine[Deferred[Any], Any, None]) -> None:
        """Runs a step that may wait for the thread pool; the client is not read from until it is done."""
        self.busy = True
        done = Deferred.fromCoroutine(job)
        done.addErrback(self._failed)
        if done.called:
            self.busy = False  # and the caller's loop goes on: no recursion over a long inbox
            return
        self._link.pause_reading()
        self._set_deadline()
        done.addCallback(self._finished)

    def go_on(self) -> None:
        """Reads and handles again, if nothing speaks against it."""
        self._work()
        if not self._owner.ended and not self.stalled:
            self._link.resume_reading()

    def pause(self) -> None:
        """The owner is suspended."""
        if not self.busy:  # else it is paused
            self._link.pause_reading()

    def end(self) -> None:
        """Nothing is handled any more."""
        self._stop_deadline()
        if self._throttle is not None:
            self._throttle.cancel()
            self._throttle = None
        self._waiting.clear()

    def _work(self) -> None:
        while self._waiting and not self.stalled and not self._owner.ended:
            now = self._clock.seconds()
            if not self._meter.take(now):
                self._link.pause_reading()
                self._throttle = self._clock.callLater(self._meter.wait(now), self._have_a_turn)
                return
            self._owner.handle(self._waiting.popleft())

    def _have_a_turn(self) -> None:
        self._throttle = None
        self.go_on()

    def _set_deadline(self) -> None:
        self._deadline = self._clock.callLater(self._seconds, self._be_late)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _be_late(self) -> None:
        self._deadline = None
        if self._owner.suspended:
            self._set_deadline()
        else:
            self._owner.is_late()

    def _failed(self, failure: Failure) -> None:
        if not self._owner.ended:
            self._owner.failed(failure)

    def _finished(self, _: None) -> None:
        self.busy = False
        self._stop_deadline()
        self.go_on()
