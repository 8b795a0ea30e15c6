"""A daemon process starts in order, says when it is ready, and ends in time."""

from __future__ import annotations

import errno
from typing import Any, cast

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from livepush.daemon.errors import CannotListen
from livepush.daemon.lifecycle import Availability, Daemon, Listener, speed_up
from livepush.daemon.process import freeze
from livepush.daemon.settings import Limits, Settings
from livepush.daemon.transport import EagerServer
from livepush.wire.closing import Close


@implementer(IListeningPort)
class FakePort:
    """A listening socket that is none."""

    def __init__(self, order: list[str], name: str) -> None:
        self.order, self.name = order, name

    def startListening(self) -> None:
        """As the interface has it."""

    def stopListening(self) -> Deferred[None]:
        """Notes it."""
        self.order.append(f"closed {self.name}")
        return succeed(None)

    def getHost(self) -> Any:
        """Some address."""
        return self.name

    def pauseProducing(self) -> None:
        """Notes it."""
        self.order.append(f"left {self.name} to others")

    def resumeProducing(self) -> None:
        """Notes it."""
        self.order.append(f"accepts at {self.name}")


@implementer(IStreamServerEndpoint)
class FakeEndpoint:
    """An address to listen on, free or not."""

    def __init__(self, order: list[str], name: str, answer: Deferred[Any] | None = None) -> None:
        self.order, self.name, self.answer = order, name, answer

    def listen(self, protocolFactory: Any) -> Deferred[Any]:
        """Notes it."""
        self.order.append(f"opened {self.name}")
        return succeed(FakePort(self.order, self.name)) if self.answer is None else self.answer


class FakeFeed:
    """A feed that is ready when told so."""

    def __init__(self, order: list[str]) -> None:
        self.order = order
        self.ready, self.state = False, "connecting"
        self.trouble: Exception | None = None
        self.stopped: Deferred[None] = succeed(None)

    def startService(self) -> None:
        """Notes it."""
        self.order.append("feed started")

    def stopService(self) -> Deferred[None]:
        """Notes it."""
        self.order.append("feed stopped")
        return self.stopped


class FakeHub:
    """Connections that go when told so."""

    connections = 3

    def __init__(self, order: list[str]) -> None:
        self.order = order
        self.gone: Deferred[None] = succeed(None)

    def everybody(self) -> list[Any]:
        """Nobody that could be told."""
        self.order.append("sent away")
        return []

    def close_all(self, code: Close, reason: str) -> Deferred[None]:
        """Notes it."""
        self.order.append(f"told {int(code)}")
        return self.gone


class FakeThreads:
    """Threads that end when told so."""

    def __init__(self, order: list[str], name: str = "threads") -> None:
        self.order, self.name = order, name
        self.stopped: Deferred[None] = succeed(None)

    def start(self) -> None:
        """Notes it."""
        self.order.append(f"{self.name} started")

    def stop(self) -> Deferred[None]:
        """Notes it."""
        self.order.append(f"{self.name} stopped")
        return self.stopped


class FakeBroker:
    """An embedded broker."""

    def __init__(self, order: list[str]) -> None:
        self.order = order

    def close(self) -> Deferred[None]:
        """Notes it."""
        self.order.append("broker closed")
        return succeed(None)


class Case(SynchronousTestCase):
    """A daemon of parts that write down what happens to them."""

    def setUp(self) -> None:
        self.order: list[str] = []
        self.reactor = MemoryReactorClock()
        self.feed, self.hub, self.threads = FakeFeed(self.order), FakeHub(self.order), FakeThreads(self.order)
        self.events: list[Any] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def make(
        self,
        *endpoints: Any,
        settings: Settings | None = None,
        allowed: int | None = None,
        shared: bool = False,
        **more: Any,
    ) -> Daemon:
        """The daemon, not started."""
        listeners = [Listener(each, Factory(), f"--listen {each.name}", "take another", shared) for each in endpoints]
        self.availability = Availability(self.feed)
        return Daemon(
            self.reactor,
            settings or Settings(limits=Limits(connections=100), stop_seconds=4.0),
            listeners,
            self.availability,
            self.feed,
            self.hub,
            self.threads,
            allow=lambda _: allowed,
            **more,
        )

    def logged(self, level: LogLevel) -> list[str]:
        """What was logged on a level, by us."""
        return [
            str(event["log_format"].format(**event))
            for event in self.events
            if event["log_level"] is level and event["log_namespace"].startswith("livepush.")
        ]


class StartTests(Case):
    """Until clients are served."""

    def test_sockets_come_first(self) -> None:
        """A port that only root may open is opened while the process is root, and before anything runs."""
        daemon = self.make(FakeEndpoint(self.order, "a"), FakeEndpoint(self.order, "b"))
        daemon.privilegedStartService()
        self.assertEqual(self.order, ["opened a", "opened b"])
        daemon.startService()
        self.assertEqual(self.order, ["opened a", "opened b", "threads started", "feed started"])
        self.assertIn(freeze, [hook for hook, _, _ in self.reactor.whenRunningHooks])

    def test_started_without_privileges(self) -> None:
        """Whoever starts the service in one step gets the sockets too."""
        self.make(FakeEndpoint(self.order, "a")).startService()
        self.assertEqual(self.order[0], "opened a")

    def test_a_broker_that_is_not_there(self) -> None:
        """The process starts, says why it is not ready, and is ready as soon as the feed is."""
        daemon = self.make()
        self.assertEqual(self.availability.reasons(), ["the process is starting"])
        daemon.startService()
        self.assertFalse(self.availability.is_ready())
        self.assertEqual(self.availability.reasons(), ["broker: connecting"])
        self.feed.state, self.feed.trouble = "waiting", Exception("connection refused")
        self.assertEqual(self.availability.reasons(), ["broker: waiting (connection refused)"])
        self.feed.ready = True
        self.assertTrue(self.availability.is_ready())
        self.assertEqual(self.availability.reasons(), [])

    def test_a_taken_address(self) -> None:
        """The start ends with one line that names address, cause and remedy; what was opened is closed."""
        taken = fail(CannotListenError("127.0.0.1", 8989, OSError(errno.EADDRINUSE, "Address already in use")))
        daemon = self.make(FakeEndpoint(self.order, "a"), FakeEndpoint(self.order, "tcp:8989", taken))
        error = self.assertRaises(CannotListen, daemon.privilegedStartService)
        self.assertEqual(str(error), "--listen tcp:8989: can't listen there (Address already in use): take another")
        self.assertEqual(self.order, ["opened a", "opened tcp:8989", "closed a"])

    def test_an_address_that_takes_its_time(self) -> None:
        """A socket that is told late is taken into service, or ends the process."""
        late: Deferred[Any] = Deferred()
        bad: Deferred[Any] = Deferred()
        daemon = self.make(FakeEndpoint(self.order, "late", late), FakeEndpoint(self.order, "bad", bad))
        daemon.startService()
        late.callback(FakePort(self.order, "late"))
        self.assertFalse(self.reactor.hasStopped)
        bad.errback(OSError(errno.EACCES, "Permission denied"))
        self.assertTrue(self.reactor.hasStopped)
        self.assertIn("--listen bad: can't listen there (Permission denied)", self.logged(LogLevel.critical)[0])
        self.successResultOf(daemon.stopService())
        self.assertIn("closed late", self.order)

    def test_an_address_that_comes_after_the_end(self) -> None:
        """No socket is left open by a process that is ending."""
        late: Deferred[Any] = Deferred()
        daemon = self.make(FakeEndpoint(self.order, "late", late))
        daemon.startService()
        self.successResultOf(daemon.stopService())
        late.callback(FakePort(self.order, "late"))
        self.assertIn("closed late", self.order)

    def test_too_few_files(self) -> None:
        """The operator hears at the start, not at the thousandth client."""
        self.make(allowed=256).startService()
        text = self.logged(LogLevel.warn)[0]
        for part in ("256", "LIVEPUSH_MAX_CONNECTIONS (100)", "LimitNOFILE=", "ulimit -n"):
            self.assertIn(part, text)

    def test_what_must_be_said(self) -> None:
        """Warnings about the way it was started are in the log; where all is well, none is."""
        self.make(warnings=["The embedded broker is for one machine."]).startService()
        self.assertEqual(self.logged(LogLevel.warn), ["The embedded broker is for one machine."])


class SharedTests(Case):
    """A socket that other processes accept from, too."""

    def test_accepted_only_while_ready(self) -> None:
        """Until this process is ready, and when it is not any more, who connects is left to those that are."""
        daemon = self.make(FakeEndpoint(self.order, "a"), shared=True)
        daemon.startService()
        self.assertEqual(self.order[1], "left a to others")
        self.order.clear()
        for ready, noted in ((True, "accepts at a"), (False, "left a to others"), (True, "accepts at a")):
            self.feed.ready = ready
            self.availability.changed()
            self.assertEqual(self.order.pop(), noted)
        self.order.clear()
        self.successResultOf(daemon.stopService())
        self.assertEqual(self.order[0], "left a to others")
        self.assertNotIn("closed a", self.order)

    def test_told_in_one_line(self) -> None:
        """What `systemctl status` shows says whether it serves, why not, and how many."""
        daemon = self.make()
        daemon.startService()
        self.assertEqual(daemon.status(), "not ready: broker: connecting, 3 connections")
        self.feed.ready = True
        self.assertEqual(daemon.status(), "serving, 3 connections")


class EndTests(Case):
    """From the signal to the end."""

    def started(self, **more: Any) -> Daemon:
        """A daemon that serves."""
        daemon = self.make(FakeEndpoint(self.order, "a"), **more)
        daemon.startService()
        self.feed.ready = True
        self.order.clear()
        return daemon

    def test_in_order(self) -> None:
        """Nobody new is let in before the first is told to go; the feed ends after the last has gone."""
        daemon = self.started(embedded=FakeBroker(self.order))
        self.hub.gone = Deferred()
        ended = daemon.stopService()
        self.assertFalse(self.availability.is_ready())
        self.assertEqual(self.availability.reasons(), ["the process is ending"])
        self.assertEqual(self.order, ["closed a", "told 4000"])
        self.assertNoResult(ended)
        self.hub.gone.callback(None)
        self.successResultOf(ended)
        self.assertEqual(self.order[2:], ["feed stopped", "threads stopped", "broker closed"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_sent_away_first(self) -> None:
        """With time for it, clients are sent to other processes before the rest is told to come back."""
        daemon = self.started(settings=Settings(drain_seconds=6.0, stop_seconds=4.0))
        self.successResultOf(daemon.stopService())
        self.assertEqual(self.order[:3], ["closed a", "sent away", "told 4000"])
        self.assertEqual(daemon.end_seconds, 10.0)

    def test_presence(self) -> None:
        """It ends after clients were sent to other processes, which is seen, and before the rest is told to come back,
        which is not."""
        presence = FakeThreads(self.order, "presence")
        daemon = self.started(settings=Settings(drain_seconds=6.0, stop_seconds=4.0), presence=presence)
        self.successResultOf(daemon.stopService())
        self.assertEqual(self.order[:4], ["closed a", "sent away", "presence stopped", "told 4000"])

    def test_nobody_to_send_away(self) -> None:
        """A process without clients ends at once."""
        daemon = self.started(settings=Settings(drain_seconds=6.0, stop_seconds=4.0))
        self.hub.connections = 0
        self.successResultOf(daemon.stopService())
        self.assertNotIn("sent away", self.order)

    def test_connections_that_hang(self) -> None:
        """Clients that do not go leave time for the rest."""
        daemon = self.started()
        self.hub.gone = Deferred()
        ended = daemon.stopService()
        self.reactor.advance(2.39)
        self.assertNotIn("feed stopped", self.order)
        self.reactor.advance(0.02)
        self.successResultOf(ended)
        self.assertIn("The connections did not end in time", self.logged(LogLevel.warn)[0])

    def test_everything_hangs(self) -> None:
        """The end comes in time even if nothing else does."""
        daemon = self.started()
        self.hub.gone, self.feed.stopped, self.threads.stopped = Deferred(), Deferred(), Deferred()
        ended = daemon.stopService()
        self.reactor.pump([0.1] * 39)
        self.assertNoResult(ended)
        self.reactor.advance(0.2)
        self.successResultOf(ended)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        # Whatever comes too late harms nobody.
        self.feed.stopped.callback(None)
        self.hub.gone.errback(ConnectionError("late"))
        self.assertEqual(len(self.flushLoggedErrors(ConnectionError)), 1)

    def test_a_part_that_fails(self) -> None:
        """A part that breaks while it ends does not keep the others from ending."""
        daemon = self.started()
        self.hub.gone = fail(ZeroDivisionError("canary"))
        self.successResultOf(daemon.stopService())
        self.assertEqual(self.order, ["closed a", "told 4000", "feed stopped", "threads stopped"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class TransportTests(SynchronousTestCase):
    """Which sockets write at once."""

    def test_only_plain_tcp(self) -> None:
        """Plain TCP gets the eager transport; TLS and unix sockets keep Twisted's."""
        plain = tcp.Port(0, Factory())
        speed_up(plain)
        self.assertIs(plain.transport, EagerServer)
        secure = tcp.Port(0, Factory())
        secure._type = "TLS"
        local = unix.Port(b"/run/x", Factory())
        for port in (secure, local):
            before = port.transport
            speed_up(port)
            self.assertIs(port.transport, before)
