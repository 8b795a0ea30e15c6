"""Tests of livepush.daemon.transport."""

from __future__ import annotations

import socket
from typing import Any, cast

from twisted.internet import tcp
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.lifecycle import speed_up
from livepush.daemon.transport import MOST_ACCEPTED, EagerServer


class FakeSocket:
    """A kernel buffer of some bytes; `error` is raised instead of taking any."""

    def __init__(self, room: int) -> None:
        self.room, self.taken, self.error = room, b"", cast("OSError | None", None)

    def send(self, data: bytes) -> int:
        if self.error is not None:
            raise self.error
        taken = bytes(data[: self.room])
        if not taken:
            raise BlockingIOError
        self.room -= len(taken)
        self.taken += taken
        return len(taken)

    def fileno(self) -> int:
        return 7

    def setblocking(self, blocking: bool) -> None: ...


class FakeReactor:
    """Knows who wants to write."""

    def __init__(self) -> None:
        self.writers: set[Any] = set()

    def addWriter(self, writer: Any) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: Any) -> None:
        self.writers.discard(writer)

    def addReader(self, reader: Any) -> None: ...

    def removeReader(self, reader: Any) -> None: ...


class EagerServerTests(SynchronousTestCase):
    """The kernel gets at once what it takes, and Twisted keeps the order of the rest."""

    def make_transport(self, room: int) -> tuple[Any, FakeSocket, FakeReactor]:
        """A connected transport over a kernel buffer with so much room."""
        sock, reactor = FakeSocket(room), FakeReactor()
        made: Any = EagerServer(cast(Any, sock), Protocol(), ("127.0.0.1", 1), cast(Any, None), 1, cast(Any, reactor))
        return made, sock, reactor

    def test_at_once(self) -> None:
        """Nothing waits for the next turn, and the reactor is not asked."""
        transport, sock, reactor = self.make_transport(100)
        transport.write(b"one")
        transport.write(b"two")
        self.assertEqual((sock.taken, reactor.writers), (b"onetwo", set()))

    def test_partly_taken(self) -> None:
        """What the kernel leaves is sent later, before anything written after it."""
        transport, sock, reactor = self.make_transport(5)
        transport.write(b"abcdefgh")
        sock.room = 100
        transport.write(b"ij")
        self.assertEqual((sock.taken, len(reactor.writers)), (b"abcde", 1))
        transport.doWrite()
        self.assertEqual(sock.taken, b"abcdefghij")

    def test_not_taken(self) -> None:
        """A full kernel buffer is no error."""
        transport, sock, reactor = self.make_transport(0)
        transport.write(b"abc")
        self.assertEqual(len(reactor.writers), 1)
        sock.room = 10
        transport.doWrite()
        self.assertEqual(sock.taken, b"abc")

    def test_broken(self) -> None:
        """A dead connection is told by the reactor's next turn, never by an exception in a write."""
        transport, sock, reactor = self.make_transport(10)
        sock.error = ConnectionResetError()
        transport.write(b"abc")
        self.assertEqual(len(reactor.writers), 1)

    def test_after_the_end(self) -> None:
        """Nothing reaches the socket of a connection that is ending."""
        transport, sock, _ = self.make_transport(10)
        transport.loseConnection()
        transport.write(b"abc")
        self.assertEqual(sock.taken, b"")

    def test_producer_hears(self) -> None:
        """A transport that has to keep anything pauses its producer: what waits there can still be taken back."""
        transport, sock, _ = self.make_transport(3)
        heard: list[str] = []

        class Producer:
            def pauseProducing(self) -> None:
                heard.append("pause")

            def resumeProducing(self) -> None:
                heard.append("resume")

            def stopProducing(self) -> None: ...

        transport.registerProducer(Producer(), True)
        transport.write(b"abc")
        self.assertEqual(heard, [])
        transport.write(b"d")
        transport.write(b"e")
        self.assertEqual(heard, ["pause"])
        sock.room = 200_000
        transport.doWrite()
        self.assertEqual(heard, ["pause", "resume"])

    def test_the_end(self) -> None:
        """What the transport holds is sent before the end, and the end comes, once its producer has let go of it."""
        transport, sock, _ = self.make_transport(3)
        transport.registerProducer(_Paused(), True)
        transport.write(b"abcd")
        transport.unregisterProducer()
        transport.loseConnection()
        sock.room = 100
        self.assertIsNotNone(transport.doWrite())
        self.assertEqual(sock.taken, b"abcd")


class _Paused:
    """A producer that has nothing."""

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...


class AcceptTests(SynchronousTestCase):
    """A crowd that connects at once."""

    def test_a_bounded_number_a_turn(self) -> None:
        """However many wait, no turn accepts more than so many: Twisted begins with 100, and has no bound."""
        made: list[Protocol] = []

        class Counted(Factory):
            noisy = False

            def buildProtocol(self, addr: Any) -> Protocol:
                protocol = Protocol()
                made.append(protocol)
                return protocol

        reactor = EPollReactor()
        self.addCleanup(reactor.removeAll)
        port: Any = tcp.Port(0, Counted(), backlog=200, interface="127.0.0.1", reactor=reactor)
        port.startListening()
        speed_up(port)
        self.addCleanup(port.connectionLost, None)
        for _ in range(150):
            client = socket.create_connection(port.socket.getsockname())
            self.addCleanup(client.close)
        turns = []
        for _ in range(5):
            before = len(made)
            port.doRead()
            turns.append(len(made) - before)
        for protocol in made:
            self.addCleanup(cast(Any, protocol.transport).connectionLost, Failure(ConnectionDone()))
        self.assertLessEqual(max(turns), MOST_ACCEPTED)
        self.assertGreater(sum(turns), MOST_ACCEPTED)
