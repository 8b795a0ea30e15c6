"""The life of a daemon process: its parts started and ended in order.

    start   sockets are opened (a taken port ends the start), the threads for Django and the feed begin; the process
            says that it is not ready until the feed has its queue. A broker that is not there is not fatal.
    end     not ready; no new connections; the clients are sent to the other processes, spread over
            `Settings.drain_seconds` (`drain`), and whoever is left is told to come back (4000); then feed and threads
            stop, what calls have published is confirmed, and the embedded broker ends last. All that follows the drain
            takes at most `Settings.stop_seconds`, whatever hangs.

A socket that several processes share is read only while this one is ready: who connects is served by one that is, or
waits in the socket's backlog until one is.

Every part comes in through the constructor; `service` makes the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet import tcp
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from livepush.daemon.drain import Drain, Leaving
from livepush.daemon.errors import CannotListen
from livepush.daemon.process import allow_files, freeze
from livepush.daemon.reload import Settled
from livepush.daemon.settings import Settings
from livepush.daemon.transport import EagerServer
from livepush.wire.closing import Close

SPARE_FILES = 200
"""Descriptors for everything that is no client: sockets that listen, the broker, databases, logs."""

CONNECTIONS_SHARE = 0.6
"""The part of the time for ending that the clients' connections may use."""


class Feed(Protocol):
    """What consumes from the broker; see `livepush.broker.feed.Feed`."""

    @property
    def ready(self) -> bool:
        """Whether events flow."""

    @property
    def state(self) -> str:
        """A word for people."""

    @property
    def trouble(self) -> Exception | None:
        """Why it is not ready, as far as it is known; without credentials."""

    def startService(self) -> None:
        """Begins to connect."""

    def stopService(self) -> Any:
        """Ends; what it returns fires when all is drained."""


class Connections(Protocol):
    """All clients; see `livepush.daemon.hub.Hub`."""

    @property
    def connections(self) -> int:
        """How many are open."""

    def everybody(self) -> Sequence[Leaving]:
        """All of them, now."""

    def close_all(self, code: Close, reason: str) -> Deferred[None]:
        """Ends them all; fires when the last has gone."""


class Threads(Protocol):
    """What works for Django: finds out who a user is, answers calls; see `livepush.daemon.pool.Pool`."""

    def start(self) -> None:
        """Starts the threads."""

    def stop(self) -> Deferred[None]:
        """Ends them; fires when no job is left."""


class Embedded(Protocol):
    """The broker inside this process; see `livepush.broker.embedded`."""

    def close(self) -> Deferred[None]:
        """Ends its connections; fires when they have gone."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One address to listen on.

    Attributes:
        endpoint: where.
        factory: what answers there.
        option: how it was asked for, for example `--listen tcp:8989`.
        remedy: what to do when it is taken.
        shared: whether other processes accept from the same socket, or systemd holds it.
    """

    endpoint: IStreamServerEndpoint
    factory: IProtocolFactory
    option: str
    remedy: str
    shared: bool = False


class Phase(Enum):
    """Where the life of the process stands."""

    NEW = auto()
    SERVING = auto()
    STOPPING = auto()


class Availability:
    """Whether new clients are served, and why not.

    Attributes:
        phase: where the life of the process stands; `Daemon` moves it.
    """

    def __init__(self, feed: Feed) -> None:
        self.phase = Phase.NEW
        self._feed = feed
        self._watchers: list[Callable[[], None]] = []

    def watch(self, callback: Callable[[], None]) -> None:
        """Calls back whenever something of it may have changed."""
        self._watchers.append(callback)

    def enter(self, phase: Phase) -> None:
        """The life of the process has come so far."""
        self.phase = phase
        self.changed()

    def changed(self) -> None:
        """The feed or the phase is another one."""
        for callback in list(self._watchers):
            callback()

    def reasons(self) -> list[str]:
        """Why no new clients are served now; none: they are."""
        if self.phase is not Phase.SERVING:
            return ["the process is starting" if self.phase is Phase.NEW else "the process is ending"]
        if self._feed.ready:
            return []
        trouble = self._feed.trouble
        return [f"broker: {self._feed.state}{'' if trouble is None else f' ({trouble})'}"]

    def is_ready(self) -> bool:
        """Whether they are."""
        return self.phase is Phase.SERVING and self._feed.ready


class Daemon(Service):
    """One daemon process.

    Attributes:
        settled: its settings, where they can be read anew.
    """

    name = "livepush"

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        listeners: Sequence[Listener],
        availability: Availability,
        feed: Feed,
        hub: Connections,
        threads: Threads,
        calls: Threads | None = None,
        embedded: Embedded | None = None,
        warnings: Sequence[str] = (),
        allow: Callable[[int], int | None] = allow_files,
        presence: Threads | None = None,
    ) -> None:
        """Takes its parts; `warnings` are said at the start, when the log is there, and `allow` gets open files."""
        self._availability = availability
        self._reactor, self._settings, self._listeners = reactor, settings, tuple(listeners)
        self._feed, self._hub, self._embedded = feed, hub, embedded
        self._threads = [each for each in (threads, calls) if each is not None]
        self._presence = presence
        self._warnings, self._allow = tuple(warnings), allow
        self._ports: list[IListeningPort] = []
        self._shared: list[Any] = []
        self.settled: Settled | None = None
        self._opened = False
        availability.watch(self._gate)

    def watch(self, callback: Callable[[], None]) -> None:
        """Calls back whenever `is_ready` or `status` may have changed."""
        self._availability.watch(callback)

    def is_ready(self) -> bool:
        """Whether new clients are served."""
        return self._availability.is_ready()

    def status(self) -> str:
        """How it is, in one line for people; no credentials."""
        reasons, connections = self._availability.reasons(), self._hub.connections
        return f"{'not ready: ' + '; '.join(reasons) if reasons else 'serving'}, {connections} connections"

    def take_time(self, drain_seconds: float) -> None:
        """Over how long the clients are sent away, from now on."""
        self._settings = replace(self._settings, drain_seconds=drain_seconds)

    @property
    def end_seconds(self) -> float:
        """The most that an orderly end takes."""
        return self._settings.drain_seconds + self._settings.stop_seconds

    # -- start ---------------------------------------------------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """Opens the sockets, while the process may still have the rights for it.

        Raises:
            CannotListen: an address can't be listened on; those opened before are closed again.
        """
        Service.privilegedStartService(self)
        self._opened = True
        try:
            for listener in self._listeners:
                self._open(listener)
        except CannotListen:
            for port in self._ports:
                port.stopListening()
            raise

    def startService(self) -> None:
        """Starts the parts."""
        if not self._opened:
            self.privilegedStartService()
        Service.startService(self)
        for warning in self._warnings:
            self._log.warn("{text}", text=warning)  # trial and the legacy log take `warning` for Python's
        allowed = self._allow(self._settings.limits.connections + SPARE_FILES)
        if allowed is not None:
            self._log.warn(
                "Only {allowed} files may be open here, too few for LIVEPUSH_MAX_CONNECTIONS ({connections}) and "
                "{spare} more: raise LimitNOFILE= (systemd) or `ulimit -n`, or lower the setting.",
                allowed=allowed,
                connections=self._settings.limits.connections,
                spare=SPARE_FILES,
            )
        for threads in self._threads:
            threads.start()
        if self._presence is not None:
            self._presence.start()
        self._feed.startService()
        self._availability.enter(Phase.SERVING)
        self._reactor.callWhenRunning(freeze)

    def _open(self, listener: Listener) -> None:
        failures: list[Failure] = []
        opening = listener.endpoint.listen(listener.factory)
        opening.addCallback(self._listening, listener)
        opening.addErrback(failures.append)
        # Twisted's own endpoints have an answer at once; another kind may take its time, and is not waited for.
        if failures:
            raise CannotListen(listener.option, reason_of(failures[0]), listener.remedy)
        if not opening.called:
            opening.addCallback(lambda _: self._late(listener, failures))

    def _listening(self, port: IListeningPort, listener: Listener) -> None:
        if self._availability.phase is Phase.STOPPING:
            port.stopListening()
            return
        speed_up(port)
        if listener.shared:
            self._shared.append(port)
            self._gate()
        else:
            self._ports.append(port)
        self._log.info("Listening on {address} ({option}).", address=_address(port), option=listener.option)

    def _gate(self) -> None:
        """A shared socket is left to the others while nobody can be served here."""
        for port in self._shared:
            if self._availability.is_ready():
                port.resumeProducing()
            else:
                port.pauseProducing()

    def _late(self, listener: Listener, failures: list[Failure]) -> None:
        if failures:
            error = CannotListen(listener.option, reason_of(failures[0]), listener.remedy)
            self._log.critical("{error}", error=error)
            self._reactor.stop()

    # -- end -----------------------------------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """Ends everything in order; fires when it is done, or when the time for it is over."""
        Service.stopService(self)
        self._availability.enter(Phase.STOPPING)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        connections, seconds = self._hub.connections, self._settings.drain_seconds
        ports, self._ports = self._ports, []  # those that are shared are not ours to close: Twisted would unlink a path
        closing = [maybeDeferred(port.stopListening) for port in ports]
        if seconds and connections:
            text = "Ending: {connections} connections are sent to the other processes, within {seconds} s."
            self._log.info(text, connections=connections, seconds=seconds)
            await Drain(self._reactor, seconds, self._hub.everybody(), lambda: self._hub.connections).start()
            connections = self._hub.connections
        until = self._reactor.seconds() + self._settings.stop_seconds
        self._log.info("Ending: {connections} connections are told to come back.", connections=connections)
        if self._presence is not None:  # first, so that nobody is said to have left who only comes back elsewhere
            closing.append(maybeDeferred(self._presence.stop))
        told = maybeDeferred(self._hub.close_all, Close.GOING_AWAY, "this server is going away")
        share = self._settings.stop_seconds * CONNECTIONS_SHARE
        await self._bounded("the connections", [*closing, told], self._reactor.seconds() + share)
        drained = [maybeDeferred(self._feed.stopService), *(maybeDeferred(each.stop) for each in self._threads)]
        await self._bounded("the feed and the threads for Django", drained, until)
        if self._embedded is not None:
            await self._bounded("the embedded broker", [maybeDeferred(self._embedded.close)], until)

    async def _bounded(self, what: str, waited: Sequence[Deferred[Any]], until: float) -> None:
        """Waits for all, but no longer than to a moment; what fails or hangs is logged and left behind."""
        for each in waited:
            each.addErrback(lambda failure: self._log.failure("Ending {what} failed.", failure, what=what))
        over: Deferred[Any] = Deferred()
        timer = self._reactor.callLater(max(0.0, until - self._reactor.seconds()), over.callback, None)
        everything: Deferred[Any] = DeferredList(list(waited))
        await DeferredList([everything, over], fireOnOneCallback=True)
        if timer.active():
            timer.cancel()
        else:
            self._log.warn("{what} did not end in time, and are left behind.", what=what.capitalize())

    _log = Logger()


def speed_up(port: IListeningPort) -> None:
    """Plain TCP writes at once; TLS and unix sockets keep Twisted's own transports."""
    # TLS listens with a tcp.Port too, of this type; a unix.Port is a subclass.
    if type(port) is tcp.Port and port._type == "TCP":
        port.transport = EagerServer
        port.numberAccepts = 1  # Twisted begins with a hundred; see `transport.MOST_ACCEPTED`


def reason_of(failure: Failure) -> str:
    """Why a socket could not be opened, in the system's words."""
    error = failure.value
    if isinstance(error, CannotListenError):
        error = error.socketError
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _address(port: IListeningPort) -> str:
    host = port.getHost()
    name = getattr(host, "name", None)
    if name is not None:
        return f"unix:{name.decode('utf-8', 'replace') if isinstance(name, bytes) else name}"
    return f"{getattr(host, 'host', host)}:{getattr(host, 'port', '')}"
