"""Tests of livepush.daemon.link: a WebSocket of every kind ends within a bounded time, whatever its client does."""

from __future__ import annotations

import struct
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.engineio import EngineSession
from livepush.daemon.engineioendpoint import EngineEndpoint
from livepush.daemon.front import Front
from livepush.daemon.link import CLOSE_SECONDS
from livepush.daemon.origin import OriginSettings
from livepush.daemon.settings import Limits
from livepush.daemon.sockjs import SockJSEndpoint
from livepush.daemon.sockjsapp import SockJSSettings
from livepush.daemon.sockjspush import native
from livepush.daemon.status import Status
from livepush.daemon.web import Web, resources
from livepush.daemon.websocket import WebSocketEndpoint
from livepush.wire.closing import Close
from tests.unit.daemon.doubles import FakeIdentity, make_client, make_hub
from tests.unit.daemon.engines import FakeApplication

LIMITS = Limits(heartbeat_seconds=25.0, hello_seconds=10.0)
NATIVE, ENGINE, SOCKJS, RAW = (
    "/livepush/ws",
    "/socket.io/?EIO=4&transport=websocket",
    "/livepush/sockjs/0/s/websocket",
    "/livepush/sockjs/websocket",
)
TEXT, BINARY, CLOSING = 1, 2, 8


class Wire(StringTransport):
    """A TCP connection whose client does nothing by itself: who closes it waits for what the client has not read."""

    protocol: Any = None
    is_gone = was_aborted = False

    def unregisterProducer(self) -> None:
        self.producer = None  # may be said twice, as of a real transport

    def loseConnection(self) -> None:
        self.disconnecting = True

    def abortConnection(self) -> None:
        self.was_aborted = True
        self._lose(ConnectionAborted())

    def hang_up(self) -> None:
        """The client has read all and goes."""
        self._lose(ConnectionDone())

    def _lose(self, why: Exception) -> None:
        if not self.is_gone:
            self.is_gone = True
            self.protocol.connectionLost(Failure(why))


class LinkCase(SynchronousTestCase):
    """The three endpoints, in memory."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.hub = make_hub(self.reactor)
        origins = OriginSettings(allowed=("http://testserver",))
        self.front = Front(self.hub, FakeIdentity(make_client()), origins, LIMITS, self.reactor, lambda: True)
        self.engine = EngineEndpoint(self.front, lambda session: FakeApplication())
        self.sockjs = SockJSEndpoint(self.front, native(self.front), SockJSSettings())
        served = {NATIVE: WebSocketEndpoint(self.front), "/socket.io": self.engine, "/livepush/sockjs": self.sockjs}
        self.web = Web(resources(served, Status()), self.reactor)
        self.web.startFactory()
        self.addCleanup(self.web.stopFactory)

    def connect(self, path: str) -> Wire:
        """A client that was upgraded."""
        address = IPv4Address("TCP", "127.0.0.1", 4000)
        wire, channel = Wire(peerAddress=address), self.web.buildProtocol(address)
        wire.protocol = channel
        assert channel is not None
        channel.makeConnection(wire)
        channel.dataReceived(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nOrigin: http://testserver\r\nCookie: sessionid=x\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        self.assertTrue(wire.value().startswith(b"HTTP/1.1 101 "), wire.value())
        return wire

    def say(self, wire: Wire, opcode: int, payload: bytes) -> None:
        """One frame of the client."""
        wire.protocol.dataReceived(bytes((0x80 | opcode, 0x80 | len(payload))) + bytes(4) + payload)

    def assert_dropped(self, wire: Wire) -> None:
        """It is closing, and dropped in time."""
        self.assertFalse(wire.is_gone)
        self.reactor.advance(CLOSE_SECONDS - 0.1)
        self.assertFalse(wire.was_aborted)
        self.reactor.advance(0.2)
        self.assertTrue(wire.was_aborted)
        self.assert_idle()

    def assert_idle(self) -> None:
        """No connection is left, and no timer of one."""
        self.assertEqual(self.hub.connections, 0)
        timers = [call for call in self.reactor.getDelayedCalls() if "_drop" in repr(call.func)]
        self.assertEqual(timers, [])

    def only_session(self) -> EngineSession:
        """The only session of Engine.IO."""
        (session,) = self.engine.sessions.values()
        return session


class SilentClientTests(LinkCase):
    """The close frame is never answered."""

    def test_native(self) -> None:
        wire = self.connect(NATIVE)
        wire.protocol.close(Close.GOING_AWAY, "bye")
        self.assert_dropped(wire)

    def test_engine(self) -> None:
        wire = self.connect(ENGINE)
        wire.protocol.finish(1000, "bye")
        self.assert_dropped(wire)

    def test_engine_that_is_refused_at_once(self) -> None:
        carrier = self.connect(ENGINE)
        wire = self.connect(f"{ENGINE}&sid={self.only_session().sid}")
        self.assertIn(b"another WebSocket carries this session", wire.value())
        self.assert_dropped(wire)
        self.assertFalse(carrier.is_gone)

    def test_sockjs(self) -> None:
        for path in (SOCKJS, RAW):
            wire = self.connect(path)
            self.assertEqual(self.hub.connections, 1)
            wire.protocol.close(Close.GOING_AWAY, "bye")
            self.assert_dropped(wire)

    def test_sockjs_whose_client_has_violated_the_protocol(self) -> None:
        for path in (SOCKJS, RAW):
            wire = self.connect(path)
            self.say(wire, BINARY, b"x")
            self.assertIn(struct.pack("!H", Close.BAD_MESSAGE), wire.value())
            self.assert_dropped(wire)

    def test_a_frame_that_is_none(self) -> None:
        for path in (NATIVE, ENGINE, SOCKJS, RAW):
            wire = self.connect(path)
            self.say(wire, 5, b"x")
            self.assert_dropped(wire)


class SlowClientTests(LinkCase):
    """The closing handshake is over, and TCP still waits for the client to read."""

    def test_is_dropped(self) -> None:
        for path in (NATIVE, ENGINE, SOCKJS, RAW):
            wire = self.connect(path)
            self.say(wire, CLOSING, struct.pack("!H", 1000))
            self.assertTrue(wire.disconnecting)
            self.assert_dropped(wire)


class CleanEndTests(LinkCase):
    """Nothing is left of who goes as one should, or just goes."""

    def test_answered(self) -> None:
        for path in (NATIVE, ENGINE, SOCKJS, RAW):
            wire = self.connect(path)
            wire.protocol.sendClose(1000, "bye")
            self.say(wire, CLOSING, struct.pack("!H", 1000))
            wire.hang_up()
            self.assert_idle()
            self.reactor.advance(CLOSE_SECONDS * 2)
            self.assertFalse(wire.was_aborted)

    def test_gone_without_a_word(self) -> None:
        for path in (NATIVE, ENGINE, SOCKJS, RAW):
            wire = self.connect(path)
            wire.hang_up()
            self.assert_idle()
            wire.protocol.sendClose(1000, "too late")
            wire.protocol.dropConnection()
            self.assert_idle()

    def test_aborted(self) -> None:
        for path in (NATIVE, ENGINE, SOCKJS, RAW):
            wire = self.connect(path)
            wire.protocol.abort()
            self.assertTrue(wire.was_aborted)
            self.assert_idle()


class HandshakeTests(LinkCase):
    """What the 101 says."""

    def test_names_no_software(self) -> None:
        for path in (NATIVE, ENGINE, SOCKJS, RAW):
            head = self.connect(path).value().partition(b"\r\n\r\n")[0].lower()
            self.assertNotIn(b"server:", head)
            self.assertNotIn(b"autobahn", head)


class FloodTests(LinkCase):
    """What needs no message costs, too."""

    def flood(self, wire: Wire, frame: bytes, number: int = 5_000) -> None:
        """So many frames in one read."""
        wire.clear()
        wire.protocol.dataReceived(frame * number)

    def assert_ended(self, wire: Wire) -> None:
        """It has ended with 4429, is not read from any more, and is dropped in time."""
        frames = wire.value()
        at = frames.index(b"\x88")
        self.assertEqual(int.from_bytes(frames[at + 2 : at + 4], "big"), 4429)
        self.assertLessEqual(frames.count(b"\x8a"), LIMITS.frames.burst)
        before = wire.value()
        wire.protocol.dataReceived(b"\x89\x80\0\0\0\0" * 10)
        self.assertEqual(wire.value(), before)
        self.assertEqual(wire.producerState, "paused")
        self.assert_dropped(wire)

    def test_pings(self) -> None:
        """A flood of pings is not answered to its end, on any transport."""
        for path in (NATIVE, ENGINE, SOCKJS):
            wire = self.connect(path)
            self.flood(wire, b"\x89\x80\0\0\0\0")
            self.assert_ended(wire)

    def test_pongs(self) -> None:
        """Nor is one of pongs that nobody has asked for read."""
        wire = self.connect(NATIVE)
        self.flood(wire, b"\x8a\x80\0\0\0\0")
        self.assert_ended(wire)

    def test_fragments(self) -> None:
        """A message that never ends, in fragments of nothing."""
        wire = self.connect(NATIVE)
        wire.protocol.dataReceived(b"\x01\x80\0\0\0\0")
        self.flood(wire, b"\x00\x80\0\0\0\0")
        self.assert_ended(wire)

    def test_in_time(self) -> None:
        """As many frames as may come in their time are no flood."""
        wire = self.connect(NATIVE)
        for _ in range(60):
            self.flood(wire, b"\x89\x80\0\0\0\0", LIMITS.frames.burst // 4)
            self.assertEqual(wire.value().count(b"\x8a"), LIMITS.frames.burst // 4)
            self.reactor.advance(LIMITS.frames.burst / 4 / LIMITS.frames.per_second)

    def test_who_does_not_read_pongs(self) -> None:
        """Pings of a peer that reads no answers are not answered: they would gather without a bound."""
        for path in (NATIVE, ENGINE, SOCKJS):
            wire = self.connect(path)
            cast(Any, wire.producer).pauseProducing()
            self.flood(wire, b"\x89\x80\0\0\0\0", 10)
            self.assertEqual(wire.value(), b"", path)
            cast(Any, wire.producer).resumeProducing()
            self.flood(wire, b"\x89\x80\0\0\0\0", 1)
            self.assertEqual(wire.value().count(b"\x8a"), 1, path)
