"""The WebSocket endpoint on a real socket: refusals before the upgrade, RFC 6455's rules, peers that do not read."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.trial.unittest import TestCase

from livepush.broker.envelope import Event
from livepush.daemon.front import Front
from livepush.daemon.hub import Hub
from livepush.daemon.origin import OriginSettings
from livepush.daemon.settings import Limits
from livepush.daemon.status import Status
from livepush.daemon.transport import EagerServer
from livepush.daemon.web import Web, resources
from livepush.daemon.websocket import WebSocketEndpoint
from livepush.wire.closing import Close
from tests.clients.websocket import BINARY, CLOSE, CONTINUATION, DROPPED, PING, PONG, TEXT, Closed, WebSocket, connect
from tests.unit.daemon.doubles import FakeIdentity, make_client, make_hub

ORIGIN = "http://testserver"
LIMITS = Limits(connections=20, message_bytes=4_096, outbound_bytes=256 * 1024, heartbeat_seconds=3_600.0)


class EndpointCase(TestCase):
    """A hub behind a real port; `client` runs in a thread."""

    def setUp(self) -> None:
        self.reactor = cast(Any, reactor)
        self.hub: Hub = make_hub(self.reactor)
        self.identity = FakeIdentity(make_client())
        self.ready = True
        origins = OriginSettings(allowed=(ORIGIN,), trusted=(), hosts=(), https_only=False)
        front = Front(self.hub, self.identity, origins, LIMITS, self.reactor, lambda: self.ready)
        tree = resources({"/livepush/ws": WebSocketEndpoint(front)}, Status())
        site = Web(tree, self.reactor, front.admission)
        port: Any = self.reactor.listenTCP(0, site, interface="127.0.0.1")
        port.transport = EagerServer
        self.port: int = port.getHost().port
        self.addCleanup(self.hub.close_all, Close.GOING_AWAY, "the test is over")
        self.addCleanup(port.stopListening)

    def client(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Runs a blocking client beside the reactor."""
        return deferToThread(work)

    def open(
        self, *subprotocols: str, headers: tuple[tuple[str, str], ...] = (), origin: str | None = ORIGIN
    ) -> WebSocket:
        """A handshake as a logged-in browser makes it."""
        sent = [("Cookie", "sessionid=x"), *headers]
        if origin is not None:
            sent.append(("Origin", origin))
        return connect(self.port, headers=sent, subprotocols=subprotocols)

    def greeted(self) -> WebSocket:
        """A connection past its greeting."""
        client = self.open("livepush.v1")
        client.send_json({"op": "hello", "n": 0})
        assert client.receive_json()["op"] == "welcome"
        return client

    def in_reactor(self, work: Callable[[], Any]) -> Any:
        """Runs something in the reactor's thread, from the client's."""
        return blockingCallFromThread(self.reactor, work)

    def publish(self, number: int, pad: str = "") -> None:
        """One event of the feed, from the client's thread."""

        def release() -> None:
            self.hub.event(Event("orders", "lock", {"n": number, "pad": pad}), f"p-{number}", 0, len(pad))
            self.hub.flush()

        self.in_reactor(release)


class RefusalTests(EndpointCase):
    """What is refused in HTTP, before anything is upgraded."""

    def test_refusals(self) -> Deferred[Any]:
        """Each refusal has its status and tells why, and repeats nothing of the request."""

        def work() -> None:
            evil = "http://evil.example"
            for status, options in (
                (403, {"origin": evil}),
                (403, {"origin": "null"}),
                (403, {"origin": None}),
                (403, {"origin": "http://testserver.evil.example"}),
                (400, {"headers": (("Sec-WebSocket-Protocol", "chat.v1"),)}),
                (400, {"headers": (("Origin", ORIGIN),)}),
                (400, {"headers": (("Host", "a"), ("Host", "b"))}),
                (400, {"headers": (("Sec-WebSocket-Version", "13"),)}),
            ):
                with self.open(**options) as client:
                    self.assertEqual(client.status, status, options)
                    self.assertNotIn(b"evil", client.handshake.body)
            with self.open("chat.v1") as client:
                self.assertIn(b"livepush.v1", client.handshake.body)

        return self.client(work)

    def test_extensions_are_not_spoken(self) -> Deferred[Any]:
        """Whatever extensions are asked for, none is agreed to: no compression, no bomb."""

        def work() -> None:
            for value in ("permessage-deflate; client_max_window_bits", "constructor; =" + ";" * 2_000, "x" * 9_000):
                with self.open("livepush.v1", headers=(("Sec-WebSocket-Extensions", value),)) as client:
                    self.assertEqual((client.status, client.handshake.header("Sec-WebSocket-Extensions")), (101, None))

        return self.client(work)

    def test_no_upgrade(self) -> Deferred[Any]:
        """A plain request is told what this address speaks; another method, and HTTP/1.0, are refused."""

        def work() -> None:
            for line, status in (
                ("GET /livepush/ws HTTP/1.1\r\nHost: x", b"426"),
                ("POST /livepush/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nContent-Length: 0", b"405"),
                ("GET /livepush/ws HTTP/1.0\r\nHost: x\r\nUpgrade: websocket", b"400"),
            ):
                with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
                    sock.sendall(line.encode() + b"\r\n\r\n")
                    self.assertEqual(sock.recv(4_096).split(b" ")[1], status)

        return self.client(work)

    def test_not_ready(self) -> Deferred[Any]:
        """Without a broker nobody is let in, and is told when to come back."""
        self.ready = False

        def work() -> None:
            with self.open("livepush.v1") as client:
                self.assertEqual((client.status, client.handshake.header("Retry-After")), (503, "1"))

        return self.client(work)

    def test_full(self) -> Deferred[Any]:
        """Over the bound of connections a handshake is refused; a place that gets free is given away again."""

        def work() -> None:
            clients = [self.greeted() for _ in range(LIMITS.connections)]
            with self.open("livepush.v1") as client:
                self.assertEqual(client.status, 503)
            clients[0].send_close()
            clients[0].receive_close()
            clients[0].close()
            clients[0] = self.greeted()
            for client in clients:
                client.close()

        return self.client(work)


class ProtocolTests(EndpointCase):
    """RFC 6455, and what the hub writes past Autobahn."""

    def test_whole_way(self) -> Deferred[Any]:
        """Subprotocol, greeting, an event of each form of length, ping, and the closing handshake in order."""

        def work() -> None:
            with self.greeted() as client:
                self.assertEqual(client.handshake.header("Sec-WebSocket-Protocol"), "livepush.v1")
                for number, size in enumerate((0, 200, 70_000), 1):
                    self.publish(number, "é" * size)
                    event = client.receive_json()
                    self.assertEqual((event["id"], len(event["data"]["pad"])), (f"p-{number}", size))
                client.send_frame(PING, b"are you there")
                pong = client.receive()
                self.assertEqual((pong.opcode, pong.payload), (PONG, b"are you there"))
                client.send_close(1000)
                self.assertEqual(client.receive_close().code, 1000)
                self.assertRaises(Closed, client.receive)

        return self.client(work)

    def test_no_delay(self) -> Deferred[Any]:
        """Nagle's algorithm is off: the second event does not wait for the first one's acknowledgement."""

        def work() -> None:
            with self.greeted():
                self.assertEqual(self.in_reactor(self._no_delays), [True])

        return self.client(work)

    def _no_delays(self) -> list[bool]:
        links = [connection._link for connection in self.hub._connections]
        return [bool(cast(Any, link).transport.getTcpNoDelay()) for link in links]

    def test_fragments(self) -> Deferred[Any]:
        """A message may come in fragments, with a ping between them, a byte at a time."""

        def work() -> None:
            with self.open("livepush.v1") as client:
                client.send_frame(TEXT, b'{"op":', final=False)
                client.send_frame(PING, b"x")
                client.send_frame(CONTINUATION, b'"hello"}')
                self.assertEqual(client.receive().opcode, PONG)
                self.assertEqual(client.receive_json()["op"], "welcome")

        return self.client(work)

    def test_violations(self) -> Deferred[Any]:
        """Each violation has its close code, and the daemon goes on serving."""

        def work() -> None:
            cases: list[tuple[int, Callable[[WebSocket], None]]] = [
                (1002, lambda client: client.send_frame(TEXT, b"{}", masked=False)),
                (1002, lambda client: client.send_frame(TEXT, b"{}", reserved=4)),
                (1002, lambda client: client.send_frame(0x3, b"")),
                (1002, lambda client: client.send_frame(PING, b"x" * 126)),
                (1002, lambda client: client.send_frame(CONTINUATION, b"")),
                (1007, lambda client: client.send_frame(TEXT, b"\xff\xfe")),
                (4400, lambda client: client.send_frame(BINARY, b"{}")),
                (4400, lambda client: client.send_text("[" * 3_000)),
                (4400, lambda client: client.send_text('{"op": NaN}')),
                (4400, lambda client: client.send_text('{"op": "\\ud800"}')),
                (4413, lambda client: client.send_text("x" * 4_097)),
                # Announced only: the header alone is enough.
                (4413, lambda client: client.send_raw(b"\x81\xff" + (2**62).to_bytes(8, "big") + b"mask")),
            ]
            for code, send in cases:
                with self.greeted() as client:
                    send(client)
                    self.assertEqual(client.receive_close().code, code)
            with self.greeted() as client:
                for _ in range(5):
                    client.send_frame(TEXT if _ == 0 else CONTINUATION, b"x" * 1_000, final=False)
                self.assertEqual(client.receive_close().code, 4413)
            with self.greeted() as client:
                self.publish(1)
                self.assertEqual(client.receive_json()["op"], "event")

        return self.client(work)

    def test_listener(self) -> Deferred[Any]:
        """Without a subprotocol events come without a word."""

        def work() -> None:
            with self.open() as client:
                self.assertIsNone(client.handshake.header("Sec-WebSocket-Protocol"))
                client.send_json({"op": "unsubscribe", "n": 1, "channel": "news"})
                self.assertEqual(client.receive_json(), {"op": "ok", "n": 1, "channel": "news"})
                self.publish(1)
                self.assertEqual(client.receive_json()["id"], "p-1")

        return self.client(work)

    def test_nobody(self) -> Deferred[Any]:
        """A bad identity is told by a close code, because browsers show a refused upgrade as 1006."""
        self.identity.snapshot = None

        def work() -> None:
            with self.open("livepush.v1") as client:
                self.assertEqual(client.status, 101)
                frame = client.receive()
                self.assertEqual((frame.opcode, frame.code), (CLOSE, 4401))

        return self.client(work)

    def test_an_orderly_end(self) -> Deferred[Any]:
        """After the closing handshake TCP ends in order, so that nothing which the client has not read is lost."""

        def work() -> None:
            with self.greeted() as client:
                self.in_reactor(lambda: self.hub.close_all(Close.GOING_AWAY, "bye") and None)
                self.assertEqual(client.receive_close().code, 4000)
                client.send_close(4000)
                self.assertEqual(client.socket.recv(1), b"", "and not a reset")

        return self.client(work)

    def test_shutdown(self) -> Deferred[Any]:
        """Closing all ends when the last transport has gone, also if a peer never answers."""

        def work() -> None:
            polite, rude = self.greeted(), self.greeted()
            done: list[Any] = []
            self.in_reactor(lambda: done.append(self.hub.close_all(Close.GOING_AWAY, "bye")))
            self.assertEqual(polite.receive_close().code, 4000)
            polite.send_close(4000)
            self.in_reactor(lambda: done[0])
            self.assertEqual(self.hub.connections, 0)
            self.assertEqual(rude.receive_close().code, 4000)
            for client in (polite, rude):
                client.close()

        return self.client(work)


class SlowReaderTests(EndpointCase):
    """A peer that does not read."""

    def test_reads_late(self) -> Deferred[Any]:
        """What the kernel does not take is delivered whole and in order once the peer reads."""

        def work() -> None:
            with self.greeted() as client:
                for number in range(1, 41):
                    self.publish(number, "x" * 60_000)
                    if number % 4 == 0:  # stays within the bound, and leaves partial writes behind
                        for expected in range(number - 3, number + 1):
                            self.assertEqual(client.receive_json()["data"]["n"], expected)

        return self.client(work)

    def test_does_not_read_for_long(self) -> Deferred[Any]:
        """Over the bound a resync stands in the place of what is dropped; a neighbour has got everything meanwhile."""

        def work() -> None:
            slow, fast = self.open("livepush.v1"), self.greeted()
            slow.send_json({"op": "hello"})
            self.assertEqual(slow.receive_json()["op"], "welcome")
            for number in range(1, 201):  # 12 MB, far more than the kernel's buffers and the bound
                self.publish(number, "x" * 60_000)
                self.assertEqual(fast.receive_json()["data"]["n"], number)
            self.publish(201)  # small, so that it is not lost: the bound may be passed by the one before
            number, resyncs, told = 0, 0, False
            while number < 201:
                message = slow.receive_json()
                if message["op"] == "resync":
                    self.assertEqual((message["channel"], message["why"]), ("orders", "slow"))
                    resyncs, told = resyncs + 1, True
                else:
                    self.assertTrue(message["data"]["n"] == number + 1 or (told and message["data"]["n"] > number))
                    number, told = message["data"]["n"], False
            self.assertGreater(resyncs, 0)
            fast.close()
            slow.close()

        return self.client(work)

    def test_says_goodbye_and_stays(self) -> Deferred[Any]:
        """Who says goodbye and then reads nothing is dropped in bounded time."""
        gone: Deferred[None] = Deferred()
        forget = self.hub.forget

        def forgotten(connection: Any) -> None:
            forget(connection)
            gone.callback(None)

        self.hub.forget = forgotten  # type: ignore[method-assign]

        def work() -> None:
            with self.greeted() as client:
                for number in range(1, 201):
                    self.publish(number, "x" * 60_000)
                client.send_frame(CLOSE, b"\x03\xe8")
                self.in_reactor(lambda: gone)
                self.assertEqual(self.hub.connections, 0)

        return self.client(work)

    def test_ends_without_reading(self) -> Deferred[Any]:
        """Who says goodbye with a full buffer behind him gets what was on its way, and then the end of TCP."""

        def work() -> None:
            with self.greeted() as client:
                for number in range(1, 201):
                    self.publish(number, "x" * 60_000)
                client.send_frame(CLOSE, b"\x03\xe8")
                self.assertIn(client.receive_close(30).code, (1000, DROPPED))
                with self.assertRaises(Closed):
                    client.receive(10)

        return self.client(work)
