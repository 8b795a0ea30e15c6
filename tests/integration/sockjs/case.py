"""A hub behind real SockJS addresses, the stock client under Node as its browser, and requests on raw sockets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.trial.unittest import TestCase

from livepush.broker.envelope import Event
from livepush.daemon.front import Front
from livepush.daemon.hub import Hub
from livepush.daemon.origin import OriginSettings
from livepush.daemon.settings import Limits
from livepush.daemon.sockjs import SockJSEndpoint
from livepush.daemon.sockjsapp import SockJSSettings
from livepush.daemon.sockjspush import classic, native
from livepush.daemon.status import Status
from livepush.daemon.transport import EagerServer
from livepush.daemon.web import Web, resources
from livepush.wire.closing import Close
from tests.servers.node import Script
from tests.unit.daemon.doubles import FakeIdentity, make_client, make_hub

ORIGIN = "http://testserver"
COOKIE = "sessionid=x"
WAIT_SECONDS = 10.0
LIMITS = Limits(message_bytes=200_000, outbound_bytes=512 * 1024, heartbeat_seconds=3_600.0)
NATIVE, CLASSIC, LEGACY = "/livepush/sockjs", "/orders", "/legacy"
CLIENT = Path(__file__).with_name("client.mjs")


class SockJSCase(TestCase):
    """A daemon's SockJS addresses; what blocks runs in a thread."""

    limits = LIMITS
    settings = SockJSSettings()
    origins = OriginSettings(allowed=(ORIGIN,))
    client_address = "/static/sockjs.js"

    def setUp(self) -> None:
        self.reactor = cast(Any, reactor)
        self.hub: Hub = make_hub(self.reactor)
        self.identity = FakeIdentity(make_client())
        self.ready = True
        self.published = 0
        self.front = Front(self.hub, self.identity, self.origins, self.limits, self.reactor, lambda: self.ready)
        old = SockJSSettings(legacy=True, client=self.client_address)
        self.endpoints = {
            NATIVE: SockJSEndpoint(self.front, native(self.front), self.settings),
            CLASSIC: SockJSEndpoint(self.front, classic(self.front, CLASSIC), self.settings),
            LEGACY: SockJSEndpoint(self.front, native(self.front), old),
        }
        port: Any = self.reactor.listenTCP(
            0, Web(resources(self.endpoints, Status()), self.reactor), interface="127.0.0.1"
        )
        port.transport = EagerServer
        self.port: int = port.getHost().port
        self.addCleanup(self._end_sessions)
        self.addCleanup(self.hub.close_all, Close.GOING_AWAY, "the test is over")
        self.addCleanup(port.stopListening)

    def _end_sessions(self) -> Any:
        """The sessions' timers, and the connections that twisted.web keeps open for the next request."""
        for endpoint in self.endpoints.values():
            endpoint.close()
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

    def until(self, done: Callable[[], Any]) -> None:
        """Asks in the reactor, from the client's thread, until it is so."""
        late = time.monotonic() + WAIT_SECONDS
        while not self.in_reactor(done):
            self.assertLess(time.monotonic(), late, "it did not happen in time")

    def page(self, path: str, transport: str, cookie: str = COOKIE) -> Script:
        """A page with the stock client."""
        options = {"transports": [transport], "headers": {"Origin": ORIGIN, "Cookie": cookie}}
        script = Script(CLIENT, f"http://127.0.0.1:{self.port}{path}", json.dumps(options))
        self.addCleanup(script.end)
        return script

    def publish(self, *datas: dict[str, Any], kind: str = "lock") -> None:
        """Events of the channel `orders`, in one turn; from the client's thread."""
        self.release(*(Event("orders", kind, data) for data in datas))

    def release(self, *events: Event) -> None:
        """Events of the feed, in one turn; from the client's thread."""

        def release() -> None:
            for event in events:
                self.published += 1
                self.hub.event(event, f"p-{self.published}", 0, 100)
            self.hub.flush()

        self.in_reactor(release)

    def ask(self, method: str, path: str, body: bytes | str = b"", **headers: str | None) -> Answer:
        """A request as a logged-in page makes it; header names with `_` for `-`, None takes one away."""
        return Answer(self.port, method, path, body, headers)


class Answer:
    """A request on a socket of its own, and its answer, which is read as it comes."""

    def __init__(
        self, port: int, method: str, path: str, body: bytes | str = b"", headers: dict[str, str | None] | None = None
    ) -> None:
        data = body.encode() if isinstance(body, str) else body
        sent = {"Host": "testserver", "Origin": ORIGIN, "Cookie": COOKIE, "Connection": "close"}
        if method == "POST":
            sent["Content-Length"] = str(len(data))
        given = {name.replace("_", "-").title(): value for name, value in (headers or {}).items()}
        lines = [f"{name}: {value}" for name, value in {**sent, **given}.items() if value is not None]
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.sock.sendall("\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode() + data)
        self._file = self.sock.makefile("rb")
        self._head: tuple[int, dict[str, str]] | None = None

    @property
    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers, with lower-case names."""
        if self._head is None:
            status = int(self._file.readline().split(b" ")[1])
            headers = {}
            while line := self._file.readline().strip().decode():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            self._head = status, headers
        return self._head

    @property
    def status(self) -> int:
        """The status."""
        return self.head[0]

    def header(self, name: str) -> str | None:
        """One header."""
        return self.head[1].get(name.lower())

    def chunks(self) -> Iterator[bytes]:
        """The chunks of a streaming answer, until its end."""
        assert self.header("transfer-encoding") == "chunked", self.head
        while size := int(self._file.readline(), 16):
            yield self._file.read(size)
            self._file.readline()
        self._file.readline()

    @property
    def body(self) -> bytes:
        """All of it."""
        _, headers = self.head
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join(self.chunks())
        elif "content-length" in headers:
            body = self._file.read(int(headers["content-length"]))
        else:
            body = self._file.read()
        self.close()
        return body

    def close(self) -> None:
        """Ends the connection."""
        self._file.close()
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
