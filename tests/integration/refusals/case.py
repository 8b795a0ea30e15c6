"""All transports of a daemon behind one real port, with a hub and visitors that are made up."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.trial.unittest import TestCase

from livepush.broker.envelope import Event
from livepush.daemon.engineio import EngineSession
from livepush.daemon.front import Front
from livepush.daemon.hub import Hub
from livepush.daemon.origin import OriginSettings
from livepush.daemon.service import transports
from livepush.daemon.settings import Limits
from livepush.daemon.status import Status
from livepush.daemon.transport import EagerServer
from livepush.daemon.web import Web, resources
from livepush.wire.closing import Close
from tests.clients.rawhttp import Exchange, request
from tests.unit.daemon.doubles import FakeIdentity, make_client, make_hub

ORIGIN = "http://testserver"
EVIL = "http://evil.example"
COOKIE = ("Cookie", "sessionid=anna")
OWN = (COOKIE, ("Origin", ORIGIN))
PREFIXES = ("/livepush/sockjs", "/orders")
UPGRADE = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", base64.b64encode(bytes(16)).decode()),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that a page can make.

    Attributes:
        method: of HTTP.
        path: with the query.
        upgrade: whether it is the handshake of a WebSocket.
        by_tag: a script or an iframe makes it, and no Origin comes with it.
        body: None: there is none.
    """

    method: str
    path: str
    upgrade: bool = False
    by_tag: bool = False
    body: bytes | None = None

    def data(self, headers: Iterable[tuple[str, str]]) -> bytes:
        """Its bytes, with these headers beside its own."""
        own = UPGRADE if self.upgrade else ()
        return request(self.method, self.path, [*own, *headers], self.body)


def _sockjs(prefix: str) -> list[Asked]:
    return [
        Asked("GET", f"{prefix}/info"),
        Asked("GET", f"{prefix}/websocket", upgrade=True),
        Asked("GET", f"{prefix}/0/w/websocket", upgrade=True),
        Asked("POST", f"{prefix}/0/x/xhr", body=b""),
        Asked("POST", f"{prefix}/0/s/xhr_streaming", body=b""),
        Asked("GET", f"{prefix}/0/e/eventsource"),
        Asked("GET", f"{prefix}/0/h/htmlfile?c=f", by_tag=True),
        Asked("GET", f"{prefix}/0/j/jsonp?c=f", by_tag=True),
    ]


STREAM = Asked("GET", "/livepush/sse")
OPENING = (
    Asked("GET", "/livepush/ws", upgrade=True),
    STREAM,
    Asked("GET", "/socket.io/?EIO=4&transport=polling"),
    Asked("GET", "/socket.io/?EIO=4&transport=websocket", upgrade=True),
    *(asked for prefix in PREFIXES for asked in _sockjs(prefix)),
)
"""What begins a connection, or would."""

SENDING = (
    Asked("POST", "/socket.io/?EIO=4&transport=polling&sid=nobody", body=b"40"),
    *(Asked("POST", f"{prefix}/0/nobody/xhr_send", body=b'["{}"]') for prefix in PREFIXES),
    *(Asked("POST", f"{prefix}/0/nobody/jsonp_send", by_tag=True, body=b'["{}"]') for prefix in PREFIXES),
)
"""What says something, here to sessions that do not exist."""


class TransportsCase(TestCase):
    """A daemon's addresses; what blocks runs in a thread.

    Attributes:
        limits: of its connections.
        legacy: whether SockJS serves the transports of old browsers.
    """

    limits = Limits(message_bytes=4_096, outbound_bytes=262_144, heartbeat_seconds=3_600.0)
    legacy = True

    def setUp(self) -> None:
        self.reactor = cast(Any, reactor)
        self.hub: Hub = make_hub(self.reactor)
        self.identity = FakeIdentity(make_client())
        self.ready = True
        self.published = 0
        origins = OriginSettings(allowed=(ORIGIN,), trusted=(), hosts=(), https_only=False)
        front = Front(self.hub, self.identity, origins, self.limits, self.reactor, lambda: self.ready)
        self.served = transports(front, PREFIXES[1:], self.legacy)
        web = Web(resources(self.served, Status()), self.reactor, front.admission)
        port: Any = self.reactor.listenTCP(0, web, interface="127.0.0.1")
        port.transport = EagerServer
        self.port: int = port.getHost().port
        self.addCleanup(self._end_sessions)
        self.addCleanup(self.hub.close_all, Close.GOING_AWAY, "the test is over")
        self.addCleanup(port.stopListening)

    def _end_sessions(self) -> Deferred[None]:
        """What has a timer, and the connections that twisted.web keeps open for the next request."""
        for endpoint in self.served.values():
            for session in list(getattr(endpoint, "sessions", {}).values()):
                if isinstance(session, EngineSession):
                    session.close("the test is over")
                else:
                    session.abort()
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

    def until(self, there: Callable[[], bool]) -> None:
        """Lets the reactor turn until it has seen something; from the client's thread."""
        for _ in range(10_000):
            if self.in_reactor(there):
                return
        self.fail("it did not come")

    def ask(self, asked: Asked, headers: Iterable[tuple[str, str]] = OWN) -> Exchange:
        """Makes a request; by default one of a page of the site, by somebody who is logged in."""
        return Exchange(self.port, asked.data(headers))

    def publish(self, *datas: dict[str, Any]) -> None:
        """Events of the channel `orders`, in one turn; from the client's thread."""

        def release() -> None:
            for data in datas:
                self.published += 1
                self.hub.event(Event("orders", "lock", data), f"p-{self.published}", 0, 100)
            self.hub.flush()

        self.in_reactor(release)

    def sessions(self) -> int:
        """Sessions of all transports; from the client's thread."""
        count: int = self.in_reactor(
            lambda: sum(len(getattr(endpoint, "sessions", {})) for endpoint in self.served.values())
        )
        return count
