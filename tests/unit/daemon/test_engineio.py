"""Tests of livepush.daemon.engineio."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.engineio import EngineSession
from livepush.daemon.engineioanswer import refuse
from livepush.daemon.settings import Limits
from livepush.wire.engineio import Phase, Refused
from tests.unit.daemon.engines import TIMES, FakeApplication, FakeSocket, Request, make_session, poll, post

TICK = 2**-10  # exact in binary


class EngineCase(SynchronousTestCase):
    """A session with its doubles."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.app, self.socket = FakeApplication(), FakeSocket()

    def polling(self, limits: Limits | None = None) -> EngineSession:
        """One that polls."""
        session = make_session(self.clock, limits=limits)
        session.app = self.app
        return session

    def framing(self, limits: Limits | None = None) -> EngineSession:
        """One on a WebSocket."""
        session = make_session(self.clock, Phase.WEBSOCKET, limits)
        session.app = self.app
        session.opened(self.socket)
        self.socket.packets()
        return session


class TimeTests(EngineCase):
    """Pings, exactly."""

    def test_timeout(self) -> None:
        """A session without a pong is over at interval and timeout exactly, not before."""
        for make in (self.polling, self.framing):
            session = make()
            self.clock.advance(TIMES.interval)
            self.clock.advance(TIMES.timeout - TICK)
            self.assertFalse(session.is_closed)
            self.clock.advance(TICK)
            self.assertTrue(session.is_closed)
            self.assertEqual(self.app.closed_because, "ping timeout")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_late_ping(self) -> None:
        """A process that is late with a ping is not late with the end."""
        session = self.framing()
        self.clock.advance(TIMES.interval + 1)
        self.clock.advance(TIMES.timeout - 1 - TICK)
        self.assertFalse(session.is_closed)
        self.clock.advance(TICK)
        self.assertTrue(session.is_closed)

    def test_pong(self) -> None:
        """A pong begins the next interval."""
        session = self.framing()
        for _ in range(3):
            self.clock.advance(TIMES.interval - TICK)
            self.assertEqual(self.socket.packets(), [])
            self.clock.advance(TICK)
            self.assertEqual(self.socket.packets(), ["2"])
            self.clock.advance(TIMES.timeout - TICK)
            session.framed(self.socket, "3")
        self.assertIsNone(self.app.closed_because)
        self.assertEqual(self.app.signs, 3)

    def test_ping_of_a_poll(self) -> None:
        """A poll that waits is answered with the ping."""
        session = self.polling()
        request = poll(session)
        self.clock.advance(TIMES.interval)
        self.assertEqual(request.body, b"2")
        self.assertEqual(post(session, b"3").body, b"ok")
        self.clock.advance(TIMES.interval - TICK)
        self.assertFalse(session.is_closed)

    def test_nothing_is_left(self) -> None:
        """No timer outlives its session."""
        session = self.polling()
        session.attach(self.socket)
        session.close("a test")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.socket.finished_with, (1000, "the session is over"))


class PollingTests(EngineCase):
    """Over HTTP."""

    def test_queue(self) -> None:
        """What is sent between two polls waits for the next, in order."""
        session = self.polling()
        session.send("4a")
        session.send(b"\x01")
        self.assertEqual(poll(session).body, b"4a\x1ebAQ==")
        request = poll(session)
        self.assertIsNone(request.body)
        session.send("4b")
        self.assertEqual(request.body, b"4b")

    def test_application_is_told(self) -> None:
        """The application may write while a poll waits, and one write is one answer."""
        session = self.polling()
        request = poll(session)
        self.assertIs(self.app.paused, False)
        session.write(b"4a\x1e4b\x1e")
        self.assertEqual(request.body, b"4a\x1e4b")
        self.assertIs(self.app.paused, True)

    def test_bound(self) -> None:
        """A client that does not poll does not fill the memory: its session ends."""
        session = self.polling(Limits(outbound_bytes=4_096))
        for _ in range(4):
            session.send("4" + "x" * 1_000)
        self.assertFalse(session.is_closed)
        session.send("4" + "x" * 1_000)
        self.assertEqual(self.app.closed_because, "the client does not read")

    def test_second_poll(self) -> None:
        """The first of two polls is told that the session is over, the second is refused."""
        session = self.polling()
        first = poll(session)
        self.assertRaises(Refused, poll, session)
        self.assertEqual(first.body, b"1")
        self.assertIsNotNone(self.app.closed_because)
        self.assertRaises(Refused, poll, session)
        self.assertRaises(Refused, post, session, b"4a")

    def test_aborted_poll(self) -> None:
        """What was on its way to a client that has gone may be lost, so the session is over."""
        session = self.polling()
        poll(session).abort()
        self.assertEqual(self.app.closed_because, "the poll was aborted")

    def test_client_leaves(self) -> None:
        """A client that closes gets its poll back."""
        session = self.polling()
        request = poll(session)
        self.assertEqual(post(session, b"1").body, b"ok")
        self.assertEqual(request.body, b"6")
        self.assertEqual(self.app.closed_because, "the client has left")

    def test_bad_bodies(self) -> None:
        """A body that is none ends the session; so does one that is too large."""
        for body in (b"", b"\xff", b"4a\x1e", b"x", b"b*", b"4" * 70_000):
            session = self.polling()
            request = poll(session)
            self.assertRaises(Refused, post, session, body)
            self.assertTrue(session.is_closed, body[:10])
            self.assertEqual(request.body, b"1")

    def test_deaf(self) -> None:
        """While the application wants nothing more one POST waits; a second is too many."""
        session = self.polling()
        session.pause_reading()
        request = post(session, b"4a")
        self.assertEqual((request.body, self.app.messages), (None, []))
        session.resume_reading()
        self.assertEqual((request.body, self.app.messages), (b"ok", ["a"]))
        session.pause_reading()
        bad = post(session, b"x")
        session.resume_reading()
        self.assertEqual(bad.status, 400)

        session = self.polling()
        session.pause_reading()
        first = post(session, b"4a")
        self.assertRaises(Refused, post, session, b"4b")
        self.assertEqual(first.status, 400)
        self.assertTrue(session.is_closed)

    def test_deaf_and_gone(self) -> None:
        """A POST that waits and whose client goes is forgotten."""
        session = self.polling()
        session.pause_reading()
        post(session, b"4a").abort()
        session.resume_reading()
        self.assertEqual(self.app.messages, [])
        self.assertFalse(session.is_closed)

    def test_refusals(self) -> None:
        """As stock clients understand them."""
        request = Request()
        refuse(request.raw, 1)
        self.assertEqual((request.status, request.body), (400, b'{"code":1,"message":"Session ID unknown"}'))


class UpgradeTests(EngineCase):
    """From polling to a WebSocket."""

    def test_order(self) -> None:
        """What waits is told on the WebSocket, before anything later."""
        session = self.polling()
        session.attach(self.socket)
        waiting = poll(session)
        session.framed(self.socket, "2probe")
        self.assertEqual((self.socket.packets(), waiting.body), (["3probe"], b"6"))
        session.send("4a")
        session.send("4é")
        self.assertEqual(poll(session).body, b"6")
        self.assertEqual(self.socket.packets(), [])
        session.framed(self.socket, "5")
        session.send("4c")
        self.assertEqual(self.socket.packets(), ["4a", "4é", "4c"])
        self.assertEqual((self.app.moves, self.app.paused), (1, False))
        self.assertRaises(Refused, poll, session)
        self.assertRaises(Refused, session.attach, FakeSocket())

    def test_given_up(self) -> None:
        """A WebSocket that closes before the end of the upgrade leaves the session to polling."""
        session = self.polling()
        session.attach(self.socket)
        session.framed(self.socket, "2probe")
        session.send("4a")
        session.detached(self.socket)
        self.assertEqual(poll(session).body, b"4a")
        session.attach(FakeSocket())

    def test_too_slow(self) -> None:
        """An upgrade has its time."""
        session = self.polling()
        session.attach(self.socket)
        self.assertRaises(Refused, session.attach, FakeSocket())
        self.clock.advance(TIMES.connect - TICK)
        self.assertIsNone(self.socket.finished_with)
        self.clock.advance(TICK)
        self.assertEqual(self.socket.finished_with, (1000, "the upgrade takes too long"))
        self.assertFalse(session.is_closed)

    def test_nonsense(self) -> None:
        """A WebSocket that says anything else ends the session."""
        session = self.polling()
        session.attach(self.socket)
        session.framed(self.socket, "4a")
        self.assertTrue(session.is_closed)
        self.assertEqual(self.app.messages, [])

    def test_a_stranger(self) -> None:
        """Messages of a WebSocket that is not the session's any more change nothing."""
        session = self.framing()
        session.framed(FakeSocket(), "4a")
        session.detached(FakeSocket())
        self.assertEqual((self.app.messages, session.is_closed), ([], False))

    def test_deaf(self) -> None:
        """A session whose application wants nothing is not read from after the upgrade either."""
        session = self.polling()
        session.attach(self.socket)
        session.framed(self.socket, "2probe")
        session.pause_reading()
        session.framed(self.socket, "5")
        self.assertTrue(self.socket.reading_paused)
        session.resume_reading()
        self.assertFalse(self.socket.reading_paused)


class WebSocketTests(EngineCase):
    """On a WebSocket."""

    def test_slow_reader(self) -> None:
        """Who does not read is not written to; what the session itself has to say waits, up to the bound."""
        session = self.framing(Limits(outbound_bytes=4_096))
        session.block(self.socket)
        self.assertIs(self.app.paused, True)
        session.send("4a")
        self.assertEqual(self.socket.packets(), [])
        session.unblock(self.socket)
        self.assertEqual((self.socket.packets(), self.app.paused), (["4a"], False))
        session.block(self.socket)
        for _ in range(5):
            session.send("4" + "x" * 1_000)
        self.assertTrue(session.is_closed)
        self.assertEqual(self.socket.packets(), [])

    def test_still_slow(self) -> None:
        """A reader who takes the session's own packets and nothing more is not written to."""
        session = self.framing()
        session.block(self.socket)
        session.send("4a")
        self.socket.on_write = lambda: session.block(self.socket)
        session.unblock(self.socket)
        self.assertEqual((self.socket.packets(), self.app.paused), (["4a"], True))

    def test_end(self) -> None:
        """The session ends with its WebSocket, and the WebSocket with its session."""
        session = self.framing()
        session.detached(self.socket)
        self.assertEqual(self.app.closed_because, "the transport has closed")
        session = self.framing()
        session.framed(self.socket, "7")
        self.assertEqual(self.socket.finished_with, (1000, "the transport has closed"))

    def test_silence_after_the_end(self) -> None:
        """Nothing is sent, and nothing heard, when it is over."""
        session = self.framing()
        session.close("a test", code=4000)
        session.send("4a")
        session.framed(self.socket, "4a")
        session.close("again")
        self.assertEqual((self.socket.packets(), self.app.messages), ([], []))
        self.assertEqual(self.socket.finished_with, (4000, "a test"))
