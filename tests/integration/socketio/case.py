"""A hub behind a real Socket.IO address, and the stock client under Node as its browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.trial.unittest import TestCase

from livepush.broker.envelope import Event
from livepush.daemon.engineio import EngineSettings
from livepush.daemon.front import Front
from livepush.daemon.hub import Hub
from livepush.daemon.origin import OriginSettings
from livepush.daemon.settings import Limits
from livepush.daemon.socketiolink import endpoint
from livepush.daemon.status import Status
from livepush.daemon.transport import EagerServer
from livepush.daemon.web import Web, resources
from livepush.wire.closing import Close
from tests.servers.node import Script
from tests.unit.daemon.doubles import FakeIdentity, make_client, make_hub

ORIGIN = "http://testserver"
LIMITS = Limits(message_bytes=200_000, heartbeat_seconds=3_600.0)
COOKIE = "sessionid=x"
CLIENT = Path(__file__).with_name("client.mjs")


class SocketIOCase(TestCase):
    """A daemon's Socket.IO address; what blocks runs in a thread."""

    limits = LIMITS
    settings = EngineSettings()

    def setUp(self) -> None:
        self.reactor = cast(Any, reactor)
        self.hub: Hub = make_hub(self.reactor)
        self.identity = FakeIdentity(make_client())
        self.ready = True
        self.published = 0
        origins = OriginSettings(allowed=(ORIGIN,), trusted=(), hosts=(), https_only=False)
        front = Front(self.hub, self.identity, origins, self.limits, self.reactor, lambda: self.ready)
        self.endpoint = endpoint(front, self.settings)
        tree = resources({"/socket.io": self.endpoint}, Status())
        port: Any = self.reactor.listenTCP(0, Web(tree, self.reactor), interface="127.0.0.1")
        port.transport = EagerServer
        self.port: int = port.getHost().port
        self.addCleanup(self._end_sessions)
        self.addCleanup(self.hub.close_all, Close.GOING_AWAY, "the test is over")
        self.addCleanup(port.stopListening)

    def _end_sessions(self) -> Any:
        """The sessions' timers, and the connections that twisted.web keeps open for the next request."""
        for session in list(self.endpoint.sessions.values()):
            session.close("the test is over")
        for reader in self.reactor.getReaders():
            if isinstance(reader, EagerServer):
                cast(Any, reader).abortConnection()
        gone: Deferred[None] = Deferred()
        self.reactor.callLater(0, gone.callback, None)
        return gone

    def client(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Runs what blocks beside the reactor."""
        return deferToThread(work)

    def in_reactor(self, work: Callable[[], Any]) -> Any:
        """Runs something in the reactor's thread, from the client's."""
        return blockingCallFromThread(self.reactor, work)

    def page(self, *transports: str, cookie: str | None = COOKIE, **options: Any) -> Script:
        """A page with the stock client."""
        headers = {"Origin": ORIGIN} if cookie is None else {"Origin": ORIGIN, "Cookie": cookie}
        said = {"extraHeaders": headers, **options}
        if transports:
            said["transports"] = list(transports)
        script = Script(CLIENT, f"http://127.0.0.1:{self.port}", json.dumps(said))
        self.addCleanup(script.end)
        return script

    def publish(self, *datas: dict[str, Any], kind: str = "lock") -> None:
        """Events of the channel `orders`, in one turn; from the client's thread."""

        def release() -> None:
            for data in datas:
                self.published += 1
                self.hub.event(Event("orders", kind, data), f"p-{self.published}", 0, 100)
            self.hub.flush()

        self.in_reactor(release)

    def sessions(self) -> int:
        """How many there are; from the client's thread."""
        count: int = self.in_reactor(lambda: len(self.endpoint.sessions))
        return count
