"""One HTTP connection: its time, its head, and who is let in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from livepush.daemon.addresses import Proxies
from livepush.daemon.admission import SPARE_SOCKETS, Admission
from livepush.daemon.httpchannel import ABORT_SECONDS
from livepush.daemon.settings import Limits
from livepush.daemon.turns import TURN_SECONDS
from livepush.daemon.web import IDLE_SECONDS, Web

LIMITS = Limits(connections=200, address_connections=3, header_bytes=2_048, message_rate=10, message_burst=1)
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
ELSEWHERE = IPv4Address("TCP", "198.51.100.7", 4711)


class Page(Resource):
    """Counts its requests, and answers those with a query when told."""

    isLeaf = True

    def __init__(self) -> None:
        Resource.__init__(self)
        self.asked = 0
        self.waiting: list[Request] = []

    def render(self, request: Request) -> bytes | int:
        self.asked += 1
        if b"?" in request.uri:
            self.waiting.append(request)
            return NOT_DONE_YET
        return b"here"


class Transport(StringTransport):
    """One that says whether it was dropped."""

    aborting = False

    def abortConnection(self) -> None:
        self.aborting = True


class ChannelCase(SynchronousTestCase):
    """Connections in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.page = Page()
        self.admission = Admission(LIMITS, Proxies.of(["10.0.0.0/8", "unix"]))
        self.web = Web(self.page, self.reactor, self.admission)
        self.web.startFactory()
        self.addCleanup(self.web.stopFactory)

    def connect(self, peer: Any = ELSEWHERE) -> tuple[Any, Any]:
        """A client, and the end of the connection that it sees."""
        protocol, transport = self.web.buildProtocol(peer), Transport(peerAddress=peer)
        protocol.makeConnection(transport)
        return protocol, transport

    def assert_refused(self, data: bytes, status: int) -> None:
        """These bytes are answered so, once, nobody sees the request, and the connection ends."""
        protocol, transport = self.connect(UNIXAddress(b"/x"))
        protocol.dataReceived(data)
        answer = transport.value()
        self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), (data, answer))
        self.assertEqual(answer.count(b"HTTP/1.1"), 1)
        self.assertIn(b"nosniff", answer)
        self.assertTrue(transport.disconnecting)
        self.assertEqual(self.page.asked, 0)


class HeadTests(ChannelCase):
    """What is refused before anybody is asked."""

    def test_heads_that_are_none(self) -> None:
        """Each thing that twisted.web lets through is 400, and nothing of the request comes back."""
        for data in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
            HEAD + b"Host: canary\r\n\r\n",
            HEAD + b"X: a\r\n canary\r\n\r\n",
            HEAD + b"X_Forwarded_For: canary\r\n\r\n",
            HEAD + b"X: a\x0bcanary\r\n\r\n",
            HEAD + b"X: a\x1ccanary\r\n\r\n",
            HEAD + b"X: a\x85canary\r\n\r\n",
            HEAD + b"Transfer-Encoding: identity\r\n\r\n",
            HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            b"GET http://canary/ HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        ):
            self.assert_refused(data, 400)

    def test_what_follows_a_refusal_is_not_read(self) -> None:
        """A second request behind one that is refused is not one."""
        self.assert_refused(b"GET / HTTP/1.1\r\n\r\n" + HEAD + b"\r\n", 400)
        self.assert_refused(HEAD + b" folded\r\n\r\n" + HEAD + b"\r\n", 400)

    def test_what_is_read_after_a_refusal(self) -> None:
        """Nor is what comes in later reads: TLS goes on giving them."""
        protocol, transport = self.connect()
        protocol.dataReceived(b"GET / HTTP/2.0\r\n\r\n")
        answer = transport.value()
        for _ in range(3):
            protocol.dataReceived(HEAD + b"\r\n")
        self.assertEqual((transport.value(), self.page.asked), (answer, 0))

    def test_no_resource(self) -> None:
        """`OPTIONS *`, which is no page's, says as little about the software, and is secured like any."""
        protocol, transport = self.connect()
        protocol.dataReceived(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
        head = transport.value().lower()
        self.assertNotIn(b"server:", head)
        self.assertIn(b"nosniff", head)

    def test_size(self) -> None:
        """Over the bound a head is 431: in one line, in many, and while it does not end."""
        self.assert_refused(HEAD + b"X: " + b"x" * 2_048 + b"\r\n\r\n", 431)
        self.assert_refused(HEAD + b"X: " + b"x" * 4_096, 431)
        self.assert_refused(HEAD + b"X: yyyy\r\n" * 300, 431)
        self.assert_refused(b"GET /" + b"x" * 4_096, 431)

    def test_security_headers(self) -> None:
        """An answer is not kept, not framed, loads nothing and is what it says."""
        protocol, transport = self.connect()
        protocol.dataReceived(HEAD + b"\r\n")
        head = transport.value().lower()
        for line in (b"cache-control: no-store", b"nosniff", b"default-src 'none'; frame-ancestors 'none'"):
            self.assertIn(line, head)


class TimeTests(ChannelCase):
    """Who sends a byte now and then keeps nothing."""

    def drip(self, data: bytes, seconds: float) -> tuple[Any, Any, float]:
        """A byte at a time, until the server has enough; the time that took."""
        protocol, transport = self.connect()
        for at in range(len(data)):
            if transport.disconnecting:
                return protocol, transport, at * seconds
            protocol.dataReceived(data[at : at + 1])
            self.reactor.advance(seconds)
        return protocol, transport, len(data) * seconds

    def test_a_head_in_drops(self) -> None:
        """The time is for the whole head, not for each piece of it."""
        _, transport, took = self.drip(HEAD + b"X: " + b"x" * 1_000, 1.0)
        self.assertLessEqual(took, LIMITS.request_seconds + 1)
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 408 "))

    def test_a_body_in_drops(self) -> None:
        """A body has as long again, told or in chunks."""
        for how in (b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n"):
            protocol, transport = self.connect()
            protocol.dataReceived(b"POST / HTTP/1.1\r\nHost: x\r\n" + how)
            for _ in range(int(LIMITS.request_seconds)):
                self.assertFalse(transport.disconnecting)
                protocol.dataReceived(b"x")
                self.reactor.advance(1.01)
            self.assertTrue(transport.value().startswith(b"HTTP/1.1 408 "))
            self.assertTrue(transport.disconnecting)

    def test_nothing_at_all(self) -> None:
        """A connection that asks for nothing ends, without a word."""
        _, transport = self.connect()
        self.reactor.advance(LIMITS.request_seconds + 0.1)
        self.assertEqual((transport.disconnecting, transport.value()), (True, b""))

    def test_who_does_not_let_go(self) -> None:
        """A peer that does not read is dropped."""
        _, transport = self.connect()
        self.reactor.advance(LIMITS.request_seconds + 0.1)
        self.assertFalse(transport.aborting)
        self.reactor.advance(ABORT_SECONDS + 0.1)
        self.assertTrue(transport.aborting)

    def test_an_answer_takes_its_time(self) -> None:
        """A poll that waits is not late, however long; the next request on its connection has its own time."""
        protocol, transport = self.connect()
        protocol.dataReceived(b"GET /?wait HTTP/1.1\r\nHost: x\r\n\r\n")
        self.reactor.pump([5.0] * 60)
        self.assertFalse(transport.disconnecting)
        self.page.waiting.pop().finish()
        self.reactor.advance(IDLE_SECONDS - 1)
        self.assertFalse(transport.disconnecting)
        protocol.dataReceived(b"GET ")
        self.reactor.advance(LIMITS.request_seconds - 1)
        protocol.dataReceived(b"/ HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(self.page.asked, 2)
        self.assertFalse(transport.disconnecting)

    def test_many_at_once(self) -> None:
        """Requests behind each other are answered in order, but not faster than the rate."""
        protocol, transport = self.connect()
        protocol.dataReceived(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(20)))
        first = self.page.asked
        self.assertLess(first, 12)
        self.reactor.advance(0.05)
        self.assertLess(self.page.asked, 20)
        self.reactor.pump([0.05] * 60)
        self.assertEqual(self.page.asked, 20)
        self.assertFalse(transport.disconnecting)

    def test_no_timer_is_left(self) -> None:
        """A client that goes, wherever it stands, leaves nothing behind."""
        for data in (b"", b"GET", HEAD + b"\r\n", (HEAD + b"\r\n") * 20, b"GET /?wait HTTP/1.1\r\nHost: x\r\n\r\nGET"):
            protocol, _ = self.connect()
            protocol.dataReceived(data)
            protocol.connectionLost(Failure(ConnectionDone()))
            self.reactor.advance(0)
            left = [call for call in self.reactor.getDelayedCalls() if "_updateLogDateTime" not in str(call)]
            self.assertEqual(left, [], data)
        self.assertEqual(self.admission.sockets.total, 0)


class TurnTests(ChannelCase):
    """Requests that take half of a turn each."""

    def setUp(self) -> None:
        super().setUp()
        self.page.render = self.render  # type: ignore[method-assign]
        self.order: list[bytes] = []

    def render(self, request: Request) -> bytes:
        self.order.append(request.path)
        self.reactor.rightNow += TURN_SECONDS / 2
        return b"here"

    def requests(self, name: bytes, count: int = 1) -> bytes:
        """So many behind each other."""
        return b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % name * count

    def turn(self) -> list[bytes]:
        """What is asked in the next turn."""
        self.order.clear()
        due = [call for call in self.reactor.calls if call.getTime() <= self.reactor.seconds()]
        for call in due:
            self.reactor.calls.remove(call)
            call.func(*call.args)
        return list(self.order)

    def test_many_clients(self) -> None:
        """What does not fit into a turn is not read any further, and is answered in the turns to come."""
        clients = [self.connect(UNIXAddress(b"/x")) for _ in range(5)]
        for number, (protocol, _) in enumerate(clients):
            protocol.dataReceived(self.requests(b"%d" % number))
        self.assertEqual(self.order, [b"/0", b"/1"])
        states = [transport.producerState for _, transport in clients]
        self.assertEqual(states, ["producing"] * 2 + ["paused"] * 3)
        self.assertEqual((self.turn(), self.turn(), self.turn()), ([b"/2", b"/3"], [b"/4"], []))
        self.assertEqual({transport.producerState for _, transport in clients}, {"producing"})
        self.assertEqual({transport.value().count(b"HTTP/1.1 200") for _, transport in clients}, {1})

    def test_many_requests(self) -> None:
        """One who sends many at once has one of them answered when others wait, and is behind them with the next."""
        limits = replace(LIMITS, message_rate=20, message_burst=40)
        self.web = Web(self.page, self.reactor, Admission(limits))
        greedy, modest = self.connect(UNIXAddress(b"/x")), self.connect(UNIXAddress(b"/x"))
        greedy[0].dataReceived(self.requests(b"greedy", 9))
        modest[0].dataReceived(self.requests(b"modest"))
        self.assertEqual(self.order, [b"/greedy"] * 2)
        self.assertEqual(self.turn(), [b"/greedy", b"/modest"])
        self.assertEqual(self.turn(), [b"/greedy"] * 2)

    def test_in_pieces(self) -> None:
        """What comes in pieces while it waits is put together, and a body, too."""
        others, (protocol, transport) = self.connect(UNIXAddress(b"/x")), self.connect(UNIXAddress(b"/x"))
        others[0].dataReceived(self.requests(b"others", 1))
        others[0].dataReceived(self.requests(b"others", 1))
        for piece in (b"POST /x HTTP/1.1\r\nHo", b"st: x\r\nContent-Length: 4\r\n\r", b"\nbody"):
            protocol.dataReceived(piece)
        self.assertEqual(self.turn(), [b"/x"])
        self.assertIn(b"200 OK", transport.value())

    def test_who_goes(self) -> None:
        """One who has gone meanwhile is not asked for."""
        for data in (self.requests(b"gone"), self.requests(b"gone", 9)):
            others, (protocol, _) = self.connect(UNIXAddress(b"/x")), self.connect(UNIXAddress(b"/x"))
            for _ in range(2):
                others[0].dataReceived(self.requests(b"others"))
            protocol.dataReceived(data)
            protocol.connectionLost(Failure(ConnectionDone()))
            self.order.clear()
            self.assertEqual(self.turn() + self.turn(), [])

    def test_who_is_late(self) -> None:
        """A request that is given up while it waits is not handled after that."""
        others, (protocol, transport) = self.connect(UNIXAddress(b"/x")), self.connect(UNIXAddress(b"/x"))
        for _ in range(2):
            others[0].dataReceived(self.requests(b"others"))
        protocol.dataReceived(self.requests(b"late"))
        protocol.refuse(408)
        self.assertEqual(self.turn(), [])
        self.assertEqual(transport.value().count(b"HTTP/1.1"), 1)


class AdmissionTests(ChannelCase):
    """How many sockets there are."""

    def test_of_one_address(self) -> None:
        """One too many is closed without a word; one that goes makes room."""
        clients = [self.connect() for _ in range(3)]
        _, refused = self.connect()
        self.assertTrue(refused.aborting)
        _, other = self.connect(IPv4Address("TCP", "198.51.100.8", 1))
        self.assertFalse(other.aborting)
        clients[0][0].connectionLost(Failure(ConnectionDone()))
        self.assertFalse(self.connect()[1].aborting)

    def test_of_one_network(self) -> None:
        """Who has a whole network of IPv6 is one."""
        for number in range(3):
            self.assertFalse(self.connect(IPv6Address("TCP", f"2001:db8::{number}", 1))[1].aborting)
        self.assertTrue(self.connect(IPv6Address("TCP", "2001:db8::ffff", 1))[1].aborting)
        self.assertFalse(self.connect(IPv6Address("TCP", "2001:db8:0:1::1", 1))[1].aborting)

    def test_who_is_not_counted(self) -> None:
        """This machine, proxies of ours and unix sockets stand for many."""
        for peer in (IPv4Address("TCP", "127.0.0.1", 1), IPv4Address("TCP", "10.1.2.3", 1), UNIXAddress(b"/x")):
            for _ in range(5):
                self.assertFalse(self.connect(peer)[1].aborting)

    def test_of_all(self) -> None:
        """Beyond the connections there are a hundred sockets, and the descriptors left are for others."""
        for _ in range(LIMITS.connections + SPARE_SOCKETS):
            self.assertFalse(self.connect(UNIXAddress(b"/x"))[1].aborting)
        self.assertTrue(self.connect(UNIXAddress(b"/x"))[1].aborting)
