"""Streams of server-sent events over a connection in memory, from the request's bytes to the answer's."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Control, Event, Skip
from livepush.daemon.connection import RENEWAL_SECONDS
from livepush.daemon.errors import Busy
from livepush.daemon.front import Front
from livepush.daemon.origin import OriginSettings
from livepush.daemon.settings import Limits
from livepush.daemon.sse import CLOSE_SECONDS, SSEEndpoint
from livepush.daemon.status import Status
from livepush.daemon.web import Web, resources
from livepush.wire.closing import Close
from tests.clients.eventsource import EventSource, Message
from tests.unit.daemon.doubles import FakeIdentity, make_client, make_hub, make_moderator, make_snapshot

ORIGIN = "https://www.example.com"
LIMITS = Limits(connections=3, outbound_bytes=4_096, subscriptions=5, retry_ms=(100, 5_000))


class Transport(StringTransport):
    """Remembers that it was cut."""

    aborted = False
    protocol: Any = None

    def abortConnection(self) -> None:
        self.aborted = True


class Client:
    """One request and its answer."""

    def __init__(self, web: Web, path: str, *headers: str, method: str = "GET", proto: str = "HTTP/1.1") -> None:
        address = IPv4Address("TCP", "10.0.0.1", 4000)
        self.source = EventSource()
        self.transport: Any = Transport(peerAddress=address)
        protocol: Any = web.buildProtocol(address)
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        head = [f"{method} {path} {proto}", "Host: push.example.com", *headers]
        protocol.dataReceived("\r\n".join(head).encode() + b"\r\n\r\n")
        self._head = b""

    @property
    def status(self) -> int:
        """Of the answer; 0: there is none yet."""
        self._read()
        return int(self._head.split()[1]) if self._head else 0

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer, in lower case."""
        self._read()
        lines = self._head.decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    def messages(self) -> list[Message]:
        """Since the last call."""
        self._read()
        data = self.transport.value()
        self.transport.clear()
        return self.source.feed(data)

    def ops(self) -> list[Any]:
        """What the messages since the last call are."""
        return [message.said["op"] for message in self.messages()]

    def leaves(self) -> None:
        """The client goes."""
        self.transport.protocol.connectionLost(Failure(ConnectionDone()))

    def _read(self) -> None:
        if not self._head and b"\r\n\r\n" in self.transport.value():
            self._head, _, rest = self.transport.value().partition(b"\r\n\r\n")
            self.transport.clear()
            self.transport.write(rest)


class StreamCase(SynchronousTestCase):
    """A hub behind the endpoint."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.hub = make_hub(self.reactor)
        self.identity = FakeIdentity(make_client())
        self.ready = True
        self.numbers = 0
        origins = OriginSettings(allowed=(ORIGIN,))
        self.front = Front(self.hub, self.identity, origins, LIMITS, self.reactor, lambda: self.ready)
        self.web = Web(resources({"/livepush/sse": SSEEndpoint(self.front)}, Status()), self.reactor)

    def open(self, query: str = "?channels=orders,news", *headers: str, **more: Any) -> Client:
        """A stream as a page of the site asks for it."""
        return Client(self.web, f"/livepush/sse{query}", "Cookie: sessionid=x", *headers, **more)

    def event(self, channel: str = "orders", skip: Skip | None = None, **data: Any) -> None:
        """Something happens."""
        self.numbers += 1
        self.hub.event(Event(channel, "lock", data, skip=skip), f"a-{self.numbers}", 12, 100, self.numbers)
        self.hub.flush()


class StreamTests(StreamCase):
    """What a page hears."""

    def test_a_stream(self) -> None:
        """First when to come back, then what is granted, then events, each with the id to resume from."""
        client = self.open()
        (welcome,) = client.messages()
        self.assertEqual(client.status, 200)
        self.assertEqual(client.headers["content-type"], "text/event-stream; charset=utf-8")
        self.assertEqual(client.headers["x-accel-buffering"], "no")
        self.assertIn("no-transform", client.headers["cache-control"])
        self.assertNotIn("server", client.headers)
        self.assertIn(client.source.retry, range(100, 1_001))
        self.assertEqual(list(welcome.said["channels"]), ["orders", "news"])
        self.event(order=5)
        (event,) = client.messages()
        self.assertEqual((event.said["data"], event.id.split()[1]), ({"order": 5}, "a-1"))
        self.assertEqual(event.id, f"{event.said['at']}~{event.said['id']} {event.said['id']}")

    def test_the_declared_channels(self) -> None:
        """Without channels it is those that the user is subscribed to by declaration."""
        (welcome,) = self.open("").messages()
        self.assertEqual(list(welcome.said["channels"]), ["user.7", "orders"])

    def test_resuming(self) -> None:
        """What was missed comes first, of all channels in the order in which it happened, and nothing twice."""
        client = self.open()
        client.messages()
        self.event("orders", number=1)
        at = client.messages()[-1].id
        client.leaves()
        self.event("news", number=2)
        self.event("orders", number=3)
        self.event("news", number=4)
        for headers, query in (((f"Last-Event-ID: {at}",), ""), ((), f"&since={at.split()[0]}")):
            *events, welcome = self.open(f"?channels=orders,news{query}", *headers).messages()
            self.assertEqual([each.said["data"]["number"] for each in events], [2, 3, 4])
            self.assertEqual([grant["replayed"] for grant in welcome.said["channels"].values()], [1, 2])

    def test_cut_anywhere(self) -> None:
        """A stream that ends after any of its bytes, in a replay of two channels or behind it, is taken up exactly."""
        client = self.open()
        at = client.messages()[-1].id
        client.leaves()
        for number in range(1, 5):
            self.event(("orders", "news")[number % 2], number=number)
        whole = self.open("?channels=orders,news", f"Last-Event-ID: {at}")
        self.event(number=5)
        self.assertEqual(whole.status, 200)
        data = whole.transport.value()
        whole.leaves()
        for cut in range(len(data)):
            source = EventSource()
            source.feed(f"id: {at}\n\n".encode())
            heard = source.feed(data[:cut])
            rest = self.open("?channels=orders,news", f"Last-Event-ID: {source.id}")
            heard += rest.messages()
            rest.leaves()
            numbers = [message.said["data"]["number"] for message in heard if message.said["op"] == "event"]
            self.assertEqual(numbers, [1, 2, 3, 4, 5], cut)

    def test_the_header_is_newer(self) -> None:
        """A browser that comes back asks for the same address as before: its header goes before it."""
        client = self.open()
        first = client.messages()[-1].id
        self.event(number=1)
        at = client.messages()[-1].id
        self.assertEqual(self.open(f"?channels=orders&since={first}", f"Last-Event-ID: {at}").ops(), ["welcome"])

    def test_resuming_declared_channels(self) -> None:
        """The one position stands for whatever is declared."""
        at = self.open("").messages()[-1].id
        self.event(number=1)
        self.assertEqual(self.open("", f"Last-Event-ID: {at}").ops(), ["event", "welcome"])

    def test_a_position_that_is_none(self) -> None:
        """What can't be resumed from is told, for each channel."""
        for at in ("nonsense", "x" * 5000, "\xff a-1"):
            (welcome,) = self.open("?channels=orders,news", f"Last-Event-ID: {at}").messages()
            self.assertEqual([grant["resync"] for grant in welcome.said["channels"].values()], ["trimmed"] * 2, at)

    def test_a_heartbeat(self) -> None:
        """It moves the id of a page that heard nothing, which dispatches nothing."""
        client = self.open("?channels=orders")
        first = client.messages()[-1].id
        self.event("news")
        for _ in range(100):
            self.reactor.advance(1)
        self.assertEqual(client.messages(), [])
        self.assertNotEqual(client.source.id, first)
        self.assertEqual(self.open("?channels=orders", f"Last-Event-ID: {client.source.id}").ops(), ["welcome"])
        self.assertFalse(client.transport.disconnecting, "a client that can't answer is not silent")

    def test_the_actor(self) -> None:
        """Who caused an event with his tab hears nothing of it in this tab."""
        mine, other = self.open("?tab=k3f9"), self.open("?tab=other")
        mine.messages(), other.messages()
        self.event(skip=Skip("7", "k3f9"))
        self.assertEqual((mine.ops(), other.ops()), ([], ["event"]))

    def test_rights(self) -> None:
        """A right that goes and comes is told, and does not move the id past what another channel missed."""
        client = self.open()
        before = client.messages()[-1].id
        self.identity.snapshot = make_snapshot(7)
        self.hub.control(Control("identity", "7"))
        (gone,) = client.messages()
        self.identity.snapshot = make_moderator(7)
        self.hub.control(Control("identity", "7"))
        (back,) = client.messages()
        self.assertEqual((gone.said["op"], back.said["op"], back.id), ("gone", "back", before))

    def test_several_resyncs(self) -> None:
        """A stream that is cut between two of them resumes before both."""
        client = self.open()
        at = client.messages()[-1].id
        self.hub.resync(None, "hole")
        self.hub.flush()
        first, _ = client.messages()
        self.assertEqual(first.said["op"], "resync")
        (welcome,) = self.open("?channels=orders,news", f"Last-Event-ID: {first.id}").messages()
        self.assertEqual(first.id, at)
        self.assertEqual([grant.get("resync") for grant in welcome.said["channels"].values()], ["hole", "hole"])


class BackpressureTests(StreamCase):
    """Peers that do not read."""

    def test_held_back(self) -> None:
        """What a peer does not read waits, and comes when it has caught up."""
        client = self.open()
        client.messages()
        client.transport.producer.pauseProducing()
        self.event(number=1)
        self.assertEqual(client.messages(), [])
        client.transport.producer.resumeProducing()
        self.assertEqual(client.ops(), ["event"])

    def test_bounded(self) -> None:
        """Over the bound its events give way to one resync for each channel that lost something."""
        client = self.open()
        before = client.messages()[-1].id
        client.transport.producer.pauseProducing()
        for number in range(100):
            self.event("orders", number=number, text="x" * 100)
        client.transport.producer.resumeProducing()
        messages = client.messages()
        self.assertEqual(messages[0].said["op"], "resync")
        self.assertEqual(messages[0].id, before)
        self.assertLess(sum(len(message.data) for message in messages), 4_096)

    def test_the_end_of_a_stuck_stream(self) -> None:
        """A stream that is closed while its peer does not read is dropped in bounded time."""
        client = self.open()
        client.transport.producer.pauseProducing()
        self.hub.close_all(Close.GOING_AWAY, "going away")
        self.reactor.advance(CLOSE_SECONDS + 0.1)
        self.assertTrue(client.transport.aborted)


class EndTests(StreamCase):
    """Who is refused, and how a stream ends."""

    def test_not_known_yet(self) -> None:
        """Nothing is answered before the visitor is known; a client that goes meanwhile is forgotten."""
        self.identity.waits = True
        client = self.open()
        self.assertEqual((client.status, self.hub.connections), (0, 1))
        client.leaves()
        self.identity.waiting.pop().callback(None)
        self.assertEqual((client.status, self.hub.connections), (0, 0))

    def test_refused_visitors(self) -> None:
        """Nobody, and who may hear none of the channels, get 403: the browser gives up."""
        for snapshot, query in ((None, ""), (make_snapshot(7), "?channels=orders")):
            self.identity.snapshot = snapshot
            client = self.open(query)
            self.assertEqual((client.status, client.transport.disconnecting), (403, True))
            client.leaves()
        self.assertEqual(self.hub.connections, 0)

    def test_a_partly_open_one(self) -> None:
        """Who may hear one of the channels hears that one."""
        self.identity.snapshot = make_snapshot(7)
        (welcome,) = self.open().messages()
        self.assertEqual(list(welcome.said["channels"]), ["news"])

    def test_come_back_later(self) -> None:
        """What will pass is a stream that ends: after another answer a browser would not come back."""
        self.ready = False
        client = self.open()
        self.assertEqual((client.status, client.messages()), (200, []))
        self.assertIn(client.source.retry, range(100, 1_001))
        self.assertEqual(client.headers["content-type"], "text/event-stream; charset=utf-8")
        self.ready = True
        self.identity.error = Busy("the queue is full")
        client = self.open()
        self.assertEqual((client.status, client.transport.disconnecting), (200, True))
        self.assertEqual(client.messages()[-1].said["code"], 4029)

    def test_too_many_connections(self) -> None:
        """The bound of the process holds for streams too."""
        clients = [self.open() for _ in range(4)]
        self.assertEqual([client.ops() for client in clients], [["welcome"]] * 3 + [[]])

    def test_bad_requests(self) -> None:
        """What is no request for a stream is refused with a word that repeats nothing of it."""
        for status, query, method in (
            (400, "?channels=canary!", "GET"),
            (400, "?channels=" + ",".join(f"canary{number}" for number in range(6)), "GET"),
            (400, "?tab=canary&tab=canary", "GET"),
            (400, "?channels=%ff", "GET"),
            (404, "/canary", "GET"),
            (405, "", "POST"),
            (405, "", "HEAD"),
            (405, "", "CANARY"),
        ):
            client = self.open(query, method=method)
            self.assertEqual(client.status, status, query)
            self.assertNotIn(b"canary", client.transport.value().lower())
        self.assertEqual(self.hub.connections, 0)

    def test_an_old_proxy(self) -> None:
        """HTTP/1.0, which proxies speak, is enough: a stream ends with its connection."""
        client = self.open(proto="HTTP/1.0")
        self.assertEqual((client.status, client.headers["connection"]), (200, "close"))
        self.assertNotIn("transfer-encoding", client.headers)

    def test_origins(self) -> None:
        """A page of another origin hears nothing, one that is trusted may read with its cookie."""
        for header in ("Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"):
            client = self.open("", header)
            self.assertEqual(client.status, 403, header)
            self.assertNotIn("access-control-allow-origin", client.headers)
        for snapshot, status in ((make_client(), 200), (None, 403)):
            self.identity.snapshot = snapshot
            client = self.open("", f"Origin: {ORIGIN}")
            self.assertEqual((client.status, client.headers["access-control-allow-origin"]), (status, ORIGIN))
            self.assertEqual(client.headers["access-control-allow-credentials"], "true")

    def test_the_end(self) -> None:
        """A stream says why it ends, and is forgotten when the connection has gone."""
        client = self.open()
        client.messages()
        self.identity.snapshot = None
        self.hub.control(Control("identity", "7"))
        self.reactor.advance(RENEWAL_SECONDS)
        (end,) = client.messages()
        self.assertEqual((end.said["op"], end.said["code"]), ("close", 4401))
        self.assertTrue(client.transport.disconnecting)
        client.leaves()
        self.assertEqual(self.hub.connections, 0)
        self.reactor.advance(CLOSE_SECONDS * 2)
        self.assertFalse(client.transport.aborted)

    def test_what_clients_say(self) -> None:
        """A stream is not spoken to: what comes is thrown away."""
        client = self.open()
        client.messages()
        client.transport.protocol.dataReceived(b"GET / HTTP/1.1\r\n\r\n" * 1000)
        self.event(number=1)
        self.assertEqual(client.ops(), ["event"])
