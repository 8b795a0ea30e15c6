"""Streams of server-sent events on a real socket: peers that do not read, that go, that ask for too much."""

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
from livepush.daemon.sse import SSEEndpoint
from livepush.daemon.status import Status
from livepush.daemon.transport import EagerServer
from livepush.daemon.web import Web, resources
from livepush.wire.closing import Close
from tests.clients.eventsource import Stream
from tests.unit.daemon.doubles import FakeIdentity, make_client, make_hub

LIMITS = Limits(connections=20, message_bytes=4_096, outbound_bytes=256 * 1024, heartbeat_seconds=30.0)


class StreamsTests(TestCase):
    """A hub behind a real port; clients run in a thread."""

    timeout = 60

    def setUp(self) -> None:
        self.reactor = cast(Any, reactor)
        self.hub: Hub = make_hub(self.reactor)
        front = Front(self.hub, FakeIdentity(make_client()), OriginSettings(), LIMITS, self.reactor, lambda: True)
        web = Web(resources({"/livepush/sse": SSEEndpoint(front)}, Status()), self.reactor)
        self.listening: Any = self.reactor.listenTCP(0, web, interface="127.0.0.1")
        self.listening.transport = EagerServer
        self.port: int = self.listening.getHost().port
        self.addCleanup(self.hub.close_all, Close.GOING_AWAY, "the test is over")
        self.addCleanup(self.listening.stopListening)

    def run_client(self, work: Callable[[], None]) -> Deferred[None]:
        """Runs a blocking client beside the reactor."""
        return deferToThread(work)

    def open(self, *args: str) -> Stream:
        """A stream, which is closed in any case."""
        stream = Stream(self.port, *args)
        self.addCleanup(stream.socket.close)
        return stream

    def publish(self, first: int, last: int, text: str = "") -> None:
        """Events, from the client's thread."""

        def release() -> None:
            for number in range(first, last + 1):
                self.hub.event(Event("orders", "lock", {"number": number, "text": text}), f"a-{number}", 0, 100)
                self.hub.flush()

        blockingCallFromThread(self.reactor, release)

    def test_a_peer_that_does_not_read(self) -> Deferred[None]:
        """What waits for it is bounded; it is told to reload in the place of what is lost, and goes on behind it."""

        def client() -> None:
            stream = self.open()
            stream.head()
            stream.until("welcome")
            self.publish(1, 200, "x" * 65_536)
            self.publish(201, 201)
            held = [connection.out._bytes for connection in self.hub._connections]
            self.assertTrue(held and max(held) <= LIMITS.outbound_bytes, held)
            said = stream.until("resync")
            self.assertEqual(said[-1]["why"], "slow")
            numbers = [message["data"]["number"] for message in said[:-1]]
            self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
            self.publish(202, 202)
            more = stream.until("event")
            while more[-1]["data"]["number"] != 202:
                more += stream.until("event")
            self.assertEqual(max(m["data"]["number"] for m in more if m["op"] == "event"), 202)

        return self.run_client(client)

    def test_a_peer_that_goes(self) -> Deferred[None]:
        """Its connection is forgotten, whether it says goodbye or is cut."""

        def client() -> None:
            for cut in (False, True):
                stream = self.open()
                stream.head()
                stream.until("welcome")
                if cut:
                    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                gone: Deferred[None] = Deferred()
                forget = self.hub.forget

                def forgotten(connection: Any, done: Deferred[None] = gone, forget: Any = forget) -> None:
                    forget(connection)
                    done.callback(None)

                self.hub.forget = forgotten  # type: ignore[method-assign]
                stream.socket.close()
                blockingCallFromThread(self.reactor, lambda gone=gone: gone)
                self.hub.forget = forget  # type: ignore[method-assign]
                self.assertEqual(self.hub.connections, 0)

        return self.run_client(client)

    def test_silence_is_bounded(self) -> Deferred[None]:
        """What is sent and not acknowledged for two heartbeats ends the connection, by the kernel."""

        def client() -> None:
            stream = self.open()
            stream.head()
            stream.until("welcome")
            (connection,) = self.hub._connections
            handle = cast(Any, connection)._link.transport.getHandle()
            self.assertEqual(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), 60_000)

        return self.run_client(client)

    def test_refusals(self) -> Deferred[None]:
        """Every refusal is an answer in plain HTTP that repeats nothing of the request."""

        def client() -> None:
            for status, target, headers in (
                (400, "/livepush/sse?channels=canary!", ()),
                (400, "/livepush/sse?tab=" + "canary" * 20, ()),
                (403, "/livepush/sse", ("Origin: https://canary.example",)),
                (403, "/livepush/sse", ("Cookie: canary=1", "Sec-Fetch-Site: cross-site")),
                (403, "/livepush/sse?channels=orders.6", ()),
                (404, "/livepush/sse/canary", ()),
                (413, "/livepush/sse", ("Content-Length: 1000000000",)),
            ):
                stream = self.open(target, *headers)
                answer = stream.head()
                self.assertEqual(answer.split()[:2], ["HTTP/1.1", str(status)], target)
                self.assertNotIn("canary", answer)

        return self.run_client(client)

    def test_the_end(self) -> Deferred[None]:
        """A process that stops tells its streams so, and waits for none of them."""

        def client() -> None:
            reading, stuck = self.open(), self.open()
            for stream in (reading, stuck):
                stream.head()
                stream.until("welcome")
            self.publish(1, 100, "x" * 65_536)
            ended = cast(Any, self.hub.close_all)
            blockingCallFromThread(self.reactor, ended, Close.GOING_AWAY, "going away")
            self.assertEqual(self.hub.connections, 0)

        return self.run_client(client)
