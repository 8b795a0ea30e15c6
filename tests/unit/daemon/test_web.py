"""The daemon's HTTP side: paths, headers, and silence."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from twisted.web.resource import Resource

from livepush.daemon.front import Front
from livepush.daemon.origin import OriginSettings
from livepush.daemon.settings import Limits
from livepush.daemon.status import Status
from livepush.daemon.web import IDLE_SECONDS, Web, resources
from livepush.daemon.websocket import WebSocketEndpoint
from tests.unit.daemon.doubles import FakeIdentity, make_client, make_hub


class Upgrade(Resource):
    """Stands for the WebSocket."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """Answers or breaks."""
        if b"break" in request.uri:
            raise ZeroDivisionError("canary-in-the-code")
        return b"here"


class WebTests(SynchronousTestCase):
    """Whole requests over a connection in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        tree = resources({"/livepush/ws": Upgrade(), "/orders": Upgrade()}, Status(connections=lambda: 7))
        self.web = Web(tree, self.reactor)
        self.web.startFactory()
        self.addCleanup(self.web.stopFactory)

    def connect(self) -> tuple[Any, Any]:
        """A connection of another machine."""
        address = IPv4Address("TCP", "10.0.0.1", 4000)
        protocol, transport = self.web.buildProtocol(address), StringTransport(peerAddress=address)
        assert protocol is not None
        protocol.makeConnection(transport)
        return protocol, transport

    def ask(self, path: bytes, host: str = "127.0.0.1", method: bytes = b"GET", more: bytes = b"") -> bytes:
        """The raw answer to a request."""
        protocol = self.web.buildProtocol(IPv4Address("TCP", host, 4000))
        transport = StringTransport(peerAddress=IPv4Address("TCP", host, 4000))
        protocol.makeConnection(transport)
        protocol.dataReceived(method + b" " + path + b" HTTP/1.1\r\nHost: canary-host\r\n" + more + b"\r\n")
        answer: bytes = transport.value()
        return answer

    def test_the_paths(self) -> None:
        """Three places answer, and nothing else is there, above or below."""
        self.assertTrue(self.ask(b"/livepush/ws").endswith(b"here"))
        self.assertTrue(self.ask(b"/orders").endswith(b"here"))
        self.assertIn(b'"connections": 7', self.ask(b"/healthz"))
        self.assertIn(b'{"ready": true}', self.ask(b"/readyz"))
        for path in (
            b"/",
            b"/livepush",
            b"/livepush/",
            b"/livepush/wss",
            b"/livepush/../readyz/x",
            b"/healthz/",
            b"/x" * 500,
        ):
            self.assertTrue(self.ask(path).startswith(b"HTTP/1.1 404 "), path)

    def test_health_is_not_for_others(self) -> None:
        """Another machine learns no more there than at any other path."""
        self.assertEqual(self.ask(b"/readyz", "10.0.0.1"), self.ask(b"/nothing", "10.0.0.1"))

    def test_nothing_is_reflected(self) -> None:
        """Neither path, host nor method come back in an answer."""
        for path in (b"/<script>canary</script>", b"/canary%0d%0aX-Canary:1", b"/healthz?canary"):
            for method in (b"GET", b"POST", b"CANARY"):
                answer = self.ask(path, method=method)
                self.assertNotIn(b"canary", answer.lower())

    def test_few_words_about_itself(self) -> None:
        """No answer says which software made it; each forbids guessing its type."""
        for path in (b"/", b"/healthz", b"/livepush/ws"):
            head = self.ask(path).partition(b"\r\n\r\n")[0].lower()
            self.assertNotIn(b"server:", head)
            self.assertNotIn(b"twisted", head)
            self.assertIn(b"x-content-type-options: nosniff", head)

    def test_a_fault_of_ours(self) -> None:
        """A resource that breaks is a plain 500; the traceback is in the log and not in the answer."""
        answer = self.ask(b"/livepush/ws?break")
        self.assertTrue(answer.startswith(b"HTTP/1.1 500 "))
        self.assertNotIn(b"canary", answer)
        self.assertNotIn(b"ZeroDivisionError", answer)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_requests_are_not_logged(self) -> None:
        """No client can fill the disk."""
        events: list[object] = []
        observer: ILogObserver = events.append  # type: ignore[assignment]
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.ask(b"/")
        self.ask(b"/livepush/ws")
        self.assertEqual(events, [])

    def test_too_much_header(self) -> None:
        """A head over 16 KiB is refused, in many lines or in one that does not end."""
        answer = self.ask(b"/", more=b"".join(b"X-%d: %s\r\n" % (number, b"x" * 1000) for number in range(20)))
        self.assertTrue(answer.startswith(b"HTTP/1.1 431 "), answer[:40])
        protocol, transport = self.connect()
        protocol.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 17_000)
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 431 "), transport.value()[:40])

    def test_too_much_body(self) -> None:
        """A body over the bound is refused before it is read, whether its length is told or not."""
        bound = self.web.body_bytes
        for more, body, status in (
            (b"Content-Length: %d\r\n" % (bound + 1), b"", 413),
            (b"Content-Length: %d\r\n" % bound, b"x" * bound, 200),
            (b"Transfer-Encoding: chunked\r\n", b"%x\r\n" % (bound + 1) + b"x" * (bound + 1), 413),
            (b"Transfer-Encoding: chunked\r\n", b"%x\r\n" % bound + b"x" * bound + b"\r\n0\r\n\r\n", 200),
            (b"Transfer-Encoding: chunked\r\n", b"1000\r\n" + b"x" * 4_096 + b"\r\n", 0),
        ):
            protocol, transport = self.connect()
            protocol.dataReceived(b"POST /livepush/ws HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n" + body)
            answer = transport.value()
            self.assertEqual(int(answer.split()[1]) if answer else 0, status, more)
            self.assertEqual(answer.count(b"HTTP/1.1"), 1 if status else 0)
            self.assertEqual(transport.disconnecting, status == 413, more)

    def test_an_idle_connection_is_closed(self) -> None:
        """Who opens a connection and says nothing does not keep it."""
        protocol = self.web.buildProtocol(IPv4Address("TCP", "10.0.0.1", 1))
        protocol.callLater = self.reactor.callLater
        transport = StringTransport()
        protocol.makeConnection(transport)
        self.assertFalse(transport.disconnecting)
        self.reactor.advance(IDLE_SECONDS + 1)
        self.assertTrue(transport.disconnecting)

    def test_a_quiet_websocket_is_not(self) -> None:
        """The bound on idle HTTP connections ends with the upgrade."""
        limits = Limits(heartbeat_seconds=3_600.0)
        identity = FakeIdentity(make_client())
        endpoint = WebSocketEndpoint(
            Front(make_hub(self.reactor), identity, OriginSettings(), limits, self.reactor, lambda: True)
        )
        web = Web(resources({"/livepush/ws": endpoint}, Status()), self.reactor)
        protocol: Any = web.buildProtocol(IPv4Address("TCP", "10.0.0.1", 1))
        protocol.callLater = self.reactor.callLater
        transport: Any = StringTransport()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        protocol.dataReceived(
            b"GET /livepush/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 101 "), transport.value())
        self.reactor.pump([IDLE_SECONDS] * 10)
        self.assertFalse(transport.disconnecting)
        self.assertTrue(transport.connected)
