"""Calls of pages to the Django side, in flight: how many, how long, and that each has exactly one answer.

    state       what it is                                        what ends it
    ---------   -----------------------------------------------   --------------------------------------------------
    waiting     no thread is free                                 a thread: begun. Its time is over: `busy`, and it
                                                                  never begins. Its connection ends: it never begins
    begun       `receive` runs, and can't be stopped              an answer: answered. Its time is over: `timeout`,
                                                                  and what it still does, it does
    answered    the page knows                                    the thread ends: forgotten

Calls do not wait for each other: they are begun in order, and answered as they end.

Bounds: `CallSettings.in_flight` of a connection and `threads + queue` of the process, counted until the thread ends;
one more is refused. Who leaves and comes back has no more threads for it: what has begun counts for each connection of
its user when its own has ended. Visitors who are nobody have no such account. A call whose connection has ended may
have been carried out: as with any request whose answer is lost, only the site can tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from livepush.broker.envelope import Json
from livepush.broker.errors import BadName
from livepush.broker.names import check_type, is_channel
from livepush.daemon.connection import Connection
from livepush.daemon.entitlement import Snapshot
from livepush.daemon.errors import Busy, LoggedOut, Refusal
from livepush.wire.closing import Close
from livepush.wire.requests import Call, ErrorCode

Perform = Callable[[Snapshot, str | None, Call], Json]
"""Blocking: the answer for a user with a tab, or `Refusal`, or `LoggedOut`; see `livepush.daemon.receiver`."""

_WORDS = frozenset(map(str, ErrorCode))
_BUSY = Refusal(ErrorCode.BUSY, "the server can't answer now", retry=True)


@dataclass(frozen=True, slots=True)
class CallSettings:
    """The bounds of calls.

    Attributes:
        threads: that call `Channel.receive`; each holds a connection per database that it uses.
        queue: calls that may wait for a thread.
        seconds: from a call to its answer, at most.
        in_flight: calls of one connection, with those of its user that have outlasted theirs.

    Raises:
        ValueError: a number is not positive.
    """

    threads: int = 4
    queue: int = 1000
    seconds: float = 10.0
    in_flight: int = 8

    def __post_init__(self) -> None:
        for name in ("threads", "queue", "in_flight"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"CallSettings.{name} {value!r}: must be a positive int")
        if type(self.seconds) not in (int, float) or not self.seconds > 0:
            raise ValueError(f"CallSettings.seconds {self.seconds!r}: must be a positive number")


class Threads(Protocol):
    """Where calls run; see `livepush.daemon.pool.Pool`."""

    def start(self) -> None:
        """Takes jobs from now on."""

    def stop(self) -> Deferred[None]:
        """Ends them; fires when no job is left."""

    async def run(self, job: Callable[[], Any]) -> Any:
        """What the job returns or raises; `Busy`: it was not begun."""


class _Job:
    """One call in flight."""

    __slots__ = ("_turn", "answered", "call", "connection", "timer")

    def __init__(self, connection: Connection, call: Call) -> None:
        self.connection, self.call = connection, call
        self.answered = False
        self.timer: Any = None
        self._turn = [None]

    def take(self) -> bool:
        """Whether it has not begun, and is the caller's now: the thread's to begin, or the reactor's to give up."""
        try:
            self._turn.pop()  # one operation of the interpreter, whichever thread comes first
        except IndexError:
            return False
        return True


class Calls:
    """The calls of one process.

    Args:
        settings: the bounds.
        threads: with as many jobs and threads as the settings say.
        perform: answers one call, in a thread.
        clock: the reactor's.

    Attributes:
        outcomes: of calls since the start: "ok", a word of `ErrorCode`, or for the site's own words "refused".
    """

    def __init__(self, settings: CallSettings, threads: Threads, perform: Perform, clock: IReactorTime) -> None:
        self._settings, self._threads, self._perform, self._clock = settings, threads, perform, clock
        self._jobs: dict[Connection, set[_Job]] = {}
        self._left: dict[str, set[_Job]] = {}  # by user: begun for connections that have ended
        self.outcomes: Counter[str] = Counter()

    @property
    def in_flight(self) -> int:
        """Calls of connections that are there, which a thread has or will have."""
        return sum(map(len, self._jobs.values()))

    def start(self) -> None:
        """Takes calls from now on."""
        self._threads.start()

    def stop(self) -> Deferred[None]:
        """Ends the threads; fires when they have ended, or their time is over."""
        return self._threads.stop()

    def begin(self, connection: Connection, call: Call) -> None:
        """Starts a call; the connection is answered exactly once, unless it ends before."""
        refusal = self._refusal(connection, call)
        if refusal is not None:
            self._refuse(connection, call.n, refusal)
            return
        job = _Job(connection, call)
        self._jobs.setdefault(connection, set()).add(job)
        job.timer = self._clock.callLater(self._settings.seconds, self._late, job)
        done = Deferred.fromCoroutine(self._run(job))
        done.addErrback(lambda failure: self._log.failure("A call broke.", failure))

    def forget(self, connection: Connection) -> None:
        """The connection ends: what waits never begins, and what comes is thrown away."""
        for job in self._jobs.pop(connection, ()):
            user = connection.user
            if not job.take() and user is not None:
                self._left.setdefault(user, set()).add(job)
            self._settle(job)

    def _refusal(self, connection: Connection, call: Call) -> Refusal | None:
        if not is_channel(call.channel):
            return Refusal(ErrorCode.BAD_CHANNEL, "no channel has such a name")
        try:
            check_type(call.type)
        except BadName:
            return Refusal(ErrorCode.BAD_TYPE, "no call has such a type")
        left = () if connection.user is None else self._left.get(connection.user, ())
        if len(self._jobs.get(connection, ())) + len(left) >= self._settings.in_flight:
            message = f"at most {self._settings.in_flight} calls at a time"
            return Refusal(ErrorCode.TOO_MANY_CALLS, message, retry=True)
        return None

    async def _run(self, job: _Job) -> None:
        connection, n = job.connection, job.call.n
        # What belongs to the reactor's thread is read here, and not in the other.
        work = partial(self._perform, connection.standing.known(), connection.tab, job.call)
        answer: Json | None = None
        error: Exception | None = None
        try:
            answer = await self._threads.run(lambda: work() if job.take() else None)
        except (Busy, LoggedOut, Refusal) as raised:
            error = raised
        except Exception:
            # A fault of ours: what the site raises is a refusal already.
            self._log.failure("A call of connection {name} broke.", name=connection.name)
            error = Refusal(ErrorCode.FAILED, "the server failed")
        self._leave(job)
        if not self._settle(job):
            return
        if answer is not None:
            self.outcomes["ok"] += 1
            connection.answer(n, answer)
        elif isinstance(error, Refusal):
            self._refuse(connection, n, error)
        elif isinstance(error, LoggedOut):
            connection.suspend()  # what is pending for him is not his any more
            connection.close(Close.IDENTITY, "the login has ended")
        else:
            self._refuse(connection, n, _BUSY)

    def _late(self, job: _Job) -> None:
        never_began = job.take()
        self._settle(job)
        if never_began:
            self._leave(job)
            self._refuse(job.connection, job.call.n, _BUSY)
            return
        self._log.warn(
            "receive() of {channel} has not answered {type!r} within {seconds} s; its thread goes on.",
            channel=job.call.channel,
            type=job.call.type,
            seconds=self._settings.seconds,
        )
        late = Refusal(ErrorCode.TIMEOUT, "no answer in time; it may have been done, or still be")
        self._refuse(job.connection, job.call.n, late)

    def _refuse(self, connection: Connection, n: int | None, refusal: Refusal) -> None:
        self.outcomes[str(refusal.code) if refusal.code in _WORDS else "refused"] += 1
        connection.refuse(n, refusal.code, refusal.message, refusal.retry)

    def _leave(self, job: _Job) -> None:
        """The connection, or its user, may have one call more."""
        _discard(self._jobs, job.connection, job)
        if job.connection.user is not None:
            _discard(self._left, job.connection.user, job)

    def _settle(self, job: _Job) -> bool:
        """Whether it was unanswered until now."""
        if job.answered:
            return False
        job.answered = True
        if job.timer.active():
            job.timer.cancel()
        return True

    _log = Logger()


def _discard(jobs: dict[Any, set[_Job]], key: Connection | str, job: _Job) -> None:
    of_key = jobs.get(key)
    if of_key is not None:
        of_key.discard(job)
        if not of_key:
            del jobs[key]
