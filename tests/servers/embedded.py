"""The embedded broker on a real port, in a thread with a reactor of its own, so that blocking clients can be tested."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from twisted.internet.defer import ensureDeferred, maybeDeferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IListeningPort
from twisted.internet.threads import blockingCallFromThread

from livepush.broker.embedded import EmbeddedBroker, Limits

T = TypeVar("T")

USER, PASSWORD = "guest", "guest"


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """One broker, empty at first."""

    thread: ReactorThread
    broker: EmbeddedBroker
    port: int
    _listening: IListeningPort

    def url(self, *, port: int | None = None, user: str = USER, password: str = PASSWORD) -> str:
        """Its `amqp:` address; `port` leads through a proxy."""
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"amqp://{login}@127.0.0.1:{port or self.port}/%2F"

    def delete(self) -> None:
        """Stops listening and ends all connections."""

        async def end() -> None:
            await maybeDeferred(self._listening.stopListening)
            await self.broker.close()

        self.thread.call(end)


class ReactorThread:
    """A reactor that runs in its own thread."""

    def __init__(self) -> None:
        self.reactor: Any = EPollReactor()
        run = {"installSignalHandlers": False}
        self._thread = threading.Thread(target=self.reactor.run, kwargs=run, name="embedded broker", daemon=True)
        self._thread.start()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs it in the reactor's thread and waits for what it, or its coroutine, gives."""

        def run() -> Any:
            result = function(*arguments)
            return ensureDeferred(result) if hasattr(result, "send") else result

        return blockingCallFromThread(self.reactor, run)

    def fresh_broker(self, limits: Limits | None = None, heartbeat: int = 60) -> RunningBroker:
        """A broker of its own for one test."""

        def listen() -> RunningBroker:
            broker = EmbeddedBroker(USER, PASSWORD, clock=self.reactor, heartbeat=heartbeat, limits=limits)
            port = self.reactor.listenTCP(0, broker, interface="127.0.0.1")
            return RunningBroker(self, broker, port.getHost().port, port)

        running: RunningBroker = self.call(listen)
        return running

    def stop(self) -> None:
        """Ends the thread."""
        if self._thread.is_alive():
            self.reactor.callFromThread(self.reactor.stop)
            self._thread.join(10)


_shared: ReactorThread | None = None


def shared_embedded() -> ReactorThread:
    """The thread of this process; it ends with it."""
    global _shared  # noqa: PLW0603 - one per process is its meaning
    if _shared is None:
        _shared = ReactorThread()
        atexit.register(_shared.stop)
    return _shared
