"""One connection to the broker at a time, made again and again for as long as it is wanted.

    state        until
    ----------   ------------------------------------------------------------------------------------------------------
    stopped      start
    connecting   `use` has returned (connected), or the attempt failed (waiting)
    connected    the connection is lost (waiting)
    waiting      a random time of at least `backoff.least` is over, or `hurry` (connecting)
    stopping     the connection is closed, within the seconds that `stop` was given (stopped)

The feed has two of these: a connection that consumes, and one that publishes markers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from livepush.broker.amqp import Connection
from livepush.broker.backoff import Backoff
from livepush.broker.errors import ConnectionFailed

_log = Logger()


class State(StrEnum):
    """See the top of the module."""

    STOPPED = "stopped"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    STOPPING = "stopping"


class Lifeline:
    """Keeps one connection.

    Args:
        reactor: timers.
        connect: makes a connection, not opened yet.
        use: opens on it what is needed; a `ConnectionFailed` out of it ends the attempt.
        lost: called when an attempt failed or a connection ended, with why; not for one that `stop` ended.
        backoff: how long to wait; reset it when all is well.
        changed: called after each change of the state.

    Attributes:
        state: see the top of the module.
        connection: the one that is being opened, or is open.
        failures: attempts that came to nothing.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        connect: Callable[[], Connection],
        use: Callable[[Connection], Awaitable[None]],
        lost: Callable[[ConnectionFailed], None],
        backoff: Backoff,
        changed: Callable[[], None] | None = None,
    ) -> None:
        self.state = State.STOPPED
        self.connection: Connection | None = None
        self.failures = 0
        self._reactor, self._connect, self._use = reactor, connect, use
        self._changed, self._lost, self._backoff = changed, lost, backoff
        self._pause: Deferred[None] | None = None
        self._ended: Deferred[None] | None = None

    def start(self) -> None:
        """Begins to connect. A broker that is not there is waited for."""
        if self._ended is None:
            self._ended = Deferred()
            # Never cancelled, never failing: `_run` handles all that can happen, and tells by `_ended`.
            Deferred.fromCoroutine(self._run())

    def stop(self, seconds: float) -> Deferred[None]:
        """Closes the connection, politely for so long, then hard."""
        if self._ended is None:
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        self._ended.addCallback(stopped.callback)
        self._enter(State.STOPPING)
        if self.connection is not None:
            self.connection.close(seconds)
        self.hurry()
        return stopped

    def hurry(self) -> None:
        """Ends a wait: there is reason to believe that the broker is there again."""
        if self._pause is not None:
            self._pause.cancel()

    async def _run(self) -> None:
        """Connects again and again, at most once a `backoff.least` if nobody hurries."""
        while not self._is_stopping():
            self._enter(State.CONNECTING)
            lost = await self._connect_until_lost()
            self.connection = None
            if self._is_stopping():
                break
            self._lost(lost)
            self._enter(State.WAITING)
            await self._wait(self._backoff.next())
        self._enter(State.STOPPED)
        ended, self._ended = self._ended, None
        if ended is not None:
            ended.callback(None)

    def _is_stopping(self) -> bool:
        return self.state is State.STOPPING

    async def _connect_until_lost(self) -> ConnectionFailed:
        """One connection, from TCP to its end; returns why it ended."""
        connection = self.connection = self._connect()
        try:
            await connection.open()
            await self._use(connection)
            if not self._is_stopping():
                self._enter(State.CONNECTED)
            return await connection.closed
        except ConnectionFailed as problem:
            cause = problem
        except Exception:  # a fault of ours must not end it for good
            _log.failure("A connection to the broker is given up because of an unexpected error")
            cause = ConnectionFailed("an unexpected error, logged above")
        self.failures += 1
        connection.close()
        await connection.closed
        return cause

    def _enter(self, state: State) -> None:
        self.state = state
        if self._changed is not None:
            self._changed()

    async def _wait(self, seconds: float) -> None:
        """Also over by `hurry`."""
        timer: IDelayedCall | None = None
        self._pause = Deferred(lambda pause: pause.callback(None))
        timer = self._reactor.callLater(seconds, self._pause.callback, None)
        await self._pause
        self._pause = None
        if timer.active():
            timer.cancel()
