"""Tests of livepush.daemon.sockjs and its sessions: time, receivers that come and go, what waits meanwhile."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Control, Event
from livepush.broker.names import ChannelPattern
from livepush.daemon.connection import RENEWAL_SECONDS
from livepush.daemon.entitlement import AudienceRule, ChannelRule, Directory
from livepush.daemon.front import Front
from livepush.daemon.heartbeat import SLOTS
from livepush.daemon.origin import OriginSettings
from livepush.daemon.settings import Limits
from livepush.daemon.sockjs import SockJSEndpoint
from livepush.daemon.sockjsapp import SockJSSession, SockJSSettings
from livepush.daemon.sockjspush import classic, narrowed, native
from livepush.daemon.sockjssession import STREAM_BEATS, HttpSession
from livepush.daemon.status import Status
from livepush.daemon.web import Web, resources
from livepush.wire.closing import Close
from tests.unit.daemon.doubles import FakeIdentity, make_client, make_hub, make_snapshot

LIMITS = Limits(heartbeat_seconds=25.0, hello_seconds=10.0)
HELLO = json.dumps([json.dumps({"op": "hello", "n": 0})])
OPENED = b"h" * 2048 + b"\no\n"
DELAY = 5.0


class Http:
    """One HTTP connection in memory, with one request."""

    def __init__(
        self,
        web: Web,
        method: str,
        path: str,
        body: str,
        cookie: str,
        transport: Callable[..., StringTransport] = StringTransport,
    ) -> None:
        address = IPv4Address("TCP", "127.0.0.1", 4000)
        self.channel: Any = web.buildProtocol(address)
        self.transport = transport(peerAddress=address)
        self.channel.makeConnection(self.transport)
        data = body.encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nOrigin: http://testserver\r\nCookie: {cookie}\r\n"
        self.channel.dataReceived(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        self._taken = 0

    def body(self) -> bytes:
        """What has come of the body since the last call."""
        _, _, raw = self.transport.value().partition(b"\r\n\r\n")
        body = raw if b"content-length" in self.head else _joined(raw)
        new, self._taken = body[self._taken :], len(body)
        return new

    @property
    def head(self) -> bytes:
        """The status line and the headers, in lower case."""
        head: bytes = self.transport.value().partition(b"\r\n\r\n")[0].lower()
        return head

    @property
    def status(self) -> int:
        """The status; 0: there is no answer yet."""
        return int(self.head.split(b" ")[1]) if self.head else 0

    @property
    def is_complete(self) -> bool:
        """Whether the answer has ended."""
        raw: bytes = self.transport.value()
        return raw.endswith(b"0\r\n\r\n") if b"chunked" in self.head else bool(raw)

    def lose(self) -> None:
        """The client has gone."""
        self.channel.connectionLost(Failure(ConnectionDone()))

    def block(self) -> None:
        """The client does not read."""
        cast(Any, self.transport.producer).pauseProducing()

    def unblock(self) -> None:
        """It reads again."""
        cast(Any, self.transport.producer).resumeProducing()


class Stalled(StringTransport):
    """The connection of a client that does not read even the first bytes."""

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.io.write(b"".join(data))
        cast(Any, self.producer).pauseProducing()


def _joined(raw: bytes) -> bytes:
    body = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        body, raw = body + raw[: int(size, 16)], raw[int(size, 16) + 2 :]
    return body


class SockJSCase(SynchronousTestCase):
    """A hub behind two SockJS addresses, in memory."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.hub = make_hub(self.reactor)
        self.identity = FakeIdentity(make_client())
        origins = OriginSettings(allowed=("http://testserver",))
        self.front = Front(self.hub, self.identity, origins, LIMITS, self.reactor, lambda: True)
        settings = SockJSSettings(disconnect_seconds=DELAY, legacy=True)
        self.native = SockJSEndpoint(self.front, native(self.front), settings)
        self.classic = SockJSEndpoint(self.front, classic(self.front, "/orders"), settings)
        tree = resources({"/livepush/sockjs": self.native, "/orders": self.classic}, Status())
        self.web = Web(tree, self.reactor)
        self.web.startFactory()
        self.addCleanup(self.web.stopFactory)
        self.numbers = itertools.count(1)

    def ask(self, path: str, body: str = "", method: str = "POST", cookie: str = "sessionid=x") -> Http:
        """A request of the session `s`; a path that begins with / is a whole one."""
        if not path.startswith("/"):
            path = f"/livepush/sockjs/0/s/{path}"
        return Http(self.web, method, path, body, cookie)

    def poll(self) -> bytes:
        """What is there for a poll now."""
        return self.ask("xhr").body()

    def say(self, **message: Any) -> int:
        """A native message; the status of the answer."""
        return self.ask("xhr_send", json.dumps([json.dumps(message)])).status

    def greet(self) -> None:
        """A session past its greeting, without a receiver."""
        self.assertEqual(self.poll(), b"o\n")
        self.assertEqual(self.say(op="hello", n=0), 204)
        self.assertIn(b"welcome", self.poll())

    def beat(self, times: int = 1) -> None:
        """So many heartbeats."""
        self.reactor.pump([LIMITS.heartbeat_seconds / SLOTS] * SLOTS * times)

    def publish(self, *numbers: int, pad: str = "") -> None:
        """Events, in one turn."""
        for number in numbers:
            self.hub.event(Event("orders", "lock", {"n": number, "pad": pad}), f"p-{next(self.numbers)}", 0, 100)
        self.hub.flush()


def events(frame: bytes) -> list[Any]:
    """The numbers of the events of an array of native messages; other messages by their op."""
    messages = [json.loads(text) for text in json.loads(frame[1:])]
    return [message["data"]["n"] if message["op"] == "event" else message["op"] for message in messages]


class PollingTests(SockJSCase):
    """A session of polls."""

    def test_one_frame_a_turn(self) -> None:
        """A poll that waits gets all of one turn; what comes between two polls, the next one, all in order."""
        self.greet()
        waiting = self.ask("xhr")
        self.assertEqual(waiting.status, 0)
        self.publish(1, 2)
        self.assertEqual(events(waiting.body()), [1, 2])
        self.publish(3)
        self.publish(4, 5)
        self.assertEqual(events(self.poll()), [3, 4, 5])
        self.assertEqual(self.ask("xhr").status, 0)

    def test_disconnect(self) -> None:
        """Without a poll a session lives for the delay, from the end of the last one on."""
        self.greet()
        self.reactor.advance(DELAY - 0.1)
        waiting = self.ask("xhr")
        self.reactor.advance(DELAY * 3)
        self.assertEqual(self.hub.connections, 1)
        self.publish(1)
        self.assertEqual(events(waiting.body()), [1])
        self.reactor.advance(DELAY - 0.1)
        self.assertEqual((self.hub.connections, len(self.native.sessions)), (1, 1))
        self.reactor.advance(0.2)
        self.assertEqual((self.hub.connections, len(self.native.sessions)), (0, 0))
        self.assertEqual(self.say(op="hello"), 404)
        self.assertEqual(self.poll(), b"o\n")

    def test_remembered(self) -> None:
        """How a session ended is told for the delay, however often it is asked, and then no more."""
        self.greet()
        self.hub.close_all(Close.GOING_AWAY, "bye")
        self.assertEqual(self.hub.connections, 0)
        for _ in range(4):
            self.assertEqual(self.poll(), b'c[4000,"bye"]\n')
            self.reactor.advance(DELAY / 4 - 0.01)
        self.reactor.advance(0.1)
        self.assertEqual(self.native.sessions, {})
        self.assertEqual(self.poll(), b"o\n")

    def test_told_at_once(self) -> None:
        """A poll that waits is told the end at once."""
        self.greet()
        waiting = self.ask("xhr")
        self.hub.close_all(Close.GOING_AWAY, "bye")
        self.assertEqual(waiting.body(), b'c[4000,"bye"]\n')
        self.assertEqual(self.poll(), b'c[4000,"bye"]\n')
        self.reactor.advance(DELAY)
        self.assertEqual(self.native.sessions, {})

    def test_heartbeat(self) -> None:
        """A poll is answered with a sign of life, and whoever polls on is never silent."""
        self.assertEqual(self.poll(), b"o\n")
        self.assertEqual(self.say(op="hello", n=0), 204)
        self.assertIn(b"welcome", self.poll())
        for _ in range(8):
            waiting = self.ask("xhr")
            self.beat()
            self.assertEqual(waiting.body(), b"h\n")
            self.assertEqual(events(self.poll()), ["heartbeat"])

    def test_lost(self) -> None:
        """A poll that is aborted ends the session: what was on its way may be lost."""
        self.greet()
        self.ask("xhr").lose()
        self.assertEqual((self.hub.connections, self.native.sessions), (0, {}))
        timers = [call for call in self.reactor.getDelayedCalls() if isinstance(call.func.__self__, HttpSession)]
        self.assertEqual(timers, [])

    def test_no_hello(self) -> None:
        """Who says no hello is told so."""
        self.assertEqual(self.poll(), b"o\n")
        waiting = self.ask("xhr")
        self.reactor.advance(9.9)
        self.assertEqual(waiting.status, 0)
        self.reactor.advance(0.2)
        self.assertEqual(waiting.body(), b'c[4408,"no hello in time"]\n')

    def test_taken_back(self) -> None:
        """What waits for the next poll is taken back when its user loses the right to know it."""
        self.greet()
        self.publish(1)
        self.identity.snapshot = make_snapshot(7)
        self.hub.control(Control("identity", "7"))
        self.assertEqual(events(self.poll()), ["gone"])

    def test_logged_out(self) -> None:
        """Whose login ends while nothing polls is told so by the next poll, and nothing else."""
        self.greet()
        self.publish(1)
        self.identity.snapshot = None
        self.hub.control(Control("identity", "7"))
        self.reactor.advance(RENEWAL_SECONDS)
        self.assertEqual(self.poll(), b'c[4401,"the login has ended"]\n')

    def test_deaf(self) -> None:
        """What waits for Django holds a POST back until the answer is there, or the session is over."""
        self.assertEqual(self.poll(), b"o\n")
        self.identity.waits = True
        self.hub.control(Control("identity", "7"))
        self.assertEqual(self.say(op="hello", n=0), 204)
        kept = self.ask("xhr_send", HELLO)
        self.assertEqual(kept.status, 0)
        self.assertEqual(self.ask("xhr_send", HELLO).status, 503)
        self.identity.waiting.pop().callback(None)
        self.assertEqual(kept.status, 204)

    def test_deaf_to_the_end(self) -> None:
        """A POST that is held back is not told that it was taken when the session ends."""
        self.assertEqual(self.poll(), b"o\n")
        self.identity.waits = True
        self.hub.control(Control("identity", "7"))
        self.assertEqual(self.say(op="hello", n=0), 204)
        kept = self.ask("xhr_send", HELLO)
        self.assertEqual(kept.status, 0)
        self.hub.close_all(Close.GOING_AWAY, "bye")
        self.assertEqual(kept.status, 404)
        self.assertEqual(self.poll(), b'c[4000,"bye"]\n')


class StreamTests(SockJSCase):
    """A session of streams."""

    def test_frames(self) -> None:
        """A stream carries one frame a turn."""
        stream = self.ask("xhr_streaming")
        self.assertEqual(stream.body(), OPENED)
        self.say(op="hello", n=0)
        self.assertIn(b"welcome", stream.body())
        self.publish(1, 2)
        self.publish(3)
        self.assertEqual([events(frame) for frame in stream.body().splitlines()], [[1, 2], [3]])

    def test_kinds(self) -> None:
        """Every kind of receiver goes on with the same session."""
        self.greet()
        for number, (kind, method, wrapped) in enumerate(
            (
                ("eventsource", "GET", b'data: a["'),
                ("htmlfile?c=x", "GET", b'p("a[\\"'),
                ("jsonp?c=x", "GET", b'/**/x("a[\\"'),
                ("xhr", "POST", b'a["'),
            )
        ):
            self.publish(number)
            receiver = self.ask(kind, method=method)
            self.assertIn(wrapped, receiver.body())
            if not receiver.is_complete:
                self.native.sessions["s"]._receiver.end()  # type: ignore[union-attr]

    def test_client_that_does_not_read(self) -> None:
        """Behind what a client does not read events wait, and go on in order; a sign of life does not pile up."""
        stream = self.ask("xhr_streaming")
        self.say(op="hello", n=0)
        stream.body()
        stream.block()
        self.publish(1)
        self.publish(2)
        self.beat()
        self.assertEqual(stream.body(), b"")
        stream.unblock()
        self.assertEqual(events(stream.body()), [1, 2, "heartbeat"])

    def test_client_that_reads_nothing(self) -> None:
        """A stream that is not read from its first byte gets nothing of what waits, until it is."""
        self.greet()
        self.publish(1)
        stream = Http(self.web, "POST", "/livepush/sockjs/0/s/xhr_streaming", "", "sessionid=x", Stalled)
        self.assertEqual(stream.body(), b"h" * 2048 + b"\n")
        stream.unblock()
        self.assertEqual(events(stream.body()), [1])

    def test_client_that_never_reads(self) -> None:
        """Two heartbeats without anything taken end it."""
        stream = self.ask("xhr_streaming")
        self.say(op="hello", n=0)
        stream.block()
        self.beat(4)
        self.assertEqual(self.hub.connections, 0)
        self.assertTrue(stream.body().endswith(b'c[4004,"nothing received for two heartbeats"]\n'))

    def test_asks_anew(self) -> None:
        """A stream ends after some heartbeats: whose client is still there asks anew, and misses nothing."""
        stream = self.ask("xhr_streaming")
        self.say(op="hello", n=0)
        for _ in range(STREAM_BEATS - 1):
            self.beat()
            self.assertFalse(stream.is_complete)
        self.beat()
        self.assertTrue(stream.is_complete)
        self.publish(1)
        again = self.ask("xhr_streaming")
        self.assertEqual(events(again.body().splitlines()[-1])[-1], 1)

    def test_overflow(self) -> None:
        """What waits for a client that does not come is bounded; then it is told to reload."""
        self.greet()
        for number in range(3_000):
            self.publish(number, pad="x" * 1_000)
        connection = self.hub._connections
        held = sum(out.out._bytes for out in connection)
        self.assertLessEqual(held, LIMITS.outbound_bytes)
        self.assertEqual(events(self.poll())[0], "resync")


class Recorder:
    """An application that ends its session at the word `end`."""

    def __init__(self, session: SockJSSession) -> None:
        self.session, self.calls = session, list[str]()

    def opened(self) -> None:
        self.calls.append("opened")

    def message(self, payload: bytes) -> None:
        self.calls.append(payload.decode())
        if payload == b"end":
            self.session.finish(3000, "Go away!")

    def heard(self) -> None:
        pass

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    def closed(self) -> None:
        self.calls.append("closed")


class ApplicationTests(SockJSCase):
    """What an application is told."""

    def setUp(self) -> None:
        super().setUp()
        self.native._make = lambda session, cookies, query: self.make(session)

    def make(self, session: SockJSSession) -> Recorder:
        """The application of the one session."""
        self.app = Recorder(session)
        return self.app

    def test_calls(self) -> None:
        """When it may write, what it hears, and once that it is over; nothing behind that."""
        self.ask("xhr")
        waiting = self.ask("xhr")
        self.ask("xhr_send", '["a","end","b"]')
        self.assertEqual(self.app.calls, ["pause", "opened", "resume", "a", "end", "closed"])
        self.assertEqual(waiting.body(), b'c[3000,"Go away!"]\n')
        self.ask("xhr_send", '["c"]')
        self.native.close()
        self.assertEqual(self.app.calls[-1], "closed")

    def test_send(self) -> None:
        """What is sent without a receiver waits for the next one, as one array."""
        self.ask("xhr")
        self.app.session.send("é")
        self.app.session.send("\u2028")
        self.assertEqual(self.poll(), 'a["é","\\u2028"]\n'.encode())


class ClassicTests(SockJSCase):
    """The classic prefix."""

    def path(self, kind: str) -> str:
        """An address of the classic session."""
        return f"/orders/0/c/{kind}"

    def test_reload(self) -> None:
        """A hole ends the session behind what came before it in the same turn, and nothing follows."""
        self.ask(self.path("xhr"))
        self.publish(1)
        self.hub.event(Event("orders", "lock", {"n": 2}), "p-90", 0)
        self.hub.resync("orders", "hole")
        self.hub.event(Event("orders", "lock", {"n": 3}), "p-91", 0)
        self.hub.flush()
        frame = self.ask(self.path("xhr")).body()
        self.assertEqual([each["data"]["n"] for each in json.loads(frame[1:])], [1, 2])
        self.assertEqual(self.ask(self.path("xhr")).body(), b'c[4003,"reload"]\n')
        self.assertEqual(self.hub.connections, 0)

    def test_listens(self) -> None:
        """Whatever the page says is no request, and it hears nothing that is not below the prefix's channel."""
        self.ask(self.path("xhr"))
        answer = self.ask(self.path("xhr_send"), json.dumps(["login", "{}", "\x00"]))
        self.assertEqual(answer.status, 204)
        self.assertEqual([list(member.channels) for member in self.hub._connections], [["orders"]])

    def test_tab(self) -> None:
        """Only what is a tab's id is one."""
        for number, (query, tab) in enumerate(
            (("?tab=k3f9", "k3f9"), ("?tab=a%20b", None), ("", None), ("?tab=", None))
        ):
            self.ask(f"/orders/0/t{number}/xhr{query}")
            *_, connection = self.hub._connections
            self.assertEqual(connection.tab, tab)

    def test_narrowed(self) -> None:
        """A prefix narrows if it is a channel's name, or one above channels."""
        audience = (AudienceRule("all", None),)
        patterns = ("orders", "shop.{id}", "a.b")
        directory = Directory(tuple(ChannelRule(ChannelPattern(text), audience) for text in patterns))
        for prefix, below in (
            ("/orders", "orders"),
            ("/shop", "shop"),
            ("/a", "a"),
            ("/a.b", "a.b"),
            ("/order", None),
            ("/push", None),
            ("/push/orders", None),
        ):
            self.assertEqual(narrowed(directory, prefix), below, prefix)
