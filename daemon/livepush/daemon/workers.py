"""`--workers N`: several daemon processes that accept from the same sockets, for machines without systemd's units.

This process opens the sockets and starts the others, each with a queue of its own at the broker; it serves nobody.

    a worker ends by itself      it is told with its status, and started anew: at once, or, when it has lived less than
                                 a second, after 1, 2, 4 ... 30 s
    SIGTERM, Ctrl-C              every worker ends in order; one that takes longer than it may is killed
    SIGHUP                       every worker reads its settings anew
    this process is killed       the workers end in order: each holds a pipe whose other end has gone

A worker is the same program as a process under systemd: the sockets come to it as systemd passes them (`worker`), and
it reads them only while it is ready, so that a client never meets one that can't serve it while another can. What it
logs comes here as lines of JSON and is logged under its name, with its level.

Bound: `options.MAX_WORKERS` processes; of what a worker writes, a line of 16 KiB.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IListeningPort, IProcessTransport, IReactorProcess, IReactorTime
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.runner.procmon import LoggingProtocol, ProcessMonitor
from zope.interface import implementer

from livepush.daemon import activation
from livepush.daemon.errors import BadOption, CannotListen
from livepush.daemon.options import CommandLine

LEAVE_SECONDS = 1.0
"""More than a worker's own bound of its end, before it is killed."""

MOST_DELAY = 30
"""Seconds between two starts of a worker that does not come up."""

FIRST = 3
"""The descriptor of the first socket in a worker (sd_listen_fds(3))."""

_SHARED = ("tcp:", "tcp4:", "tcp6:", "unix:", "systemd:")

Open = Callable[[str], IListeningPort]
"""Opens an endpoint description, or raises `CannotListen`."""


class Told:
    """What workers write, as `ProcessMonitor` hands it on: logged under the worker's name, with its own level."""

    def info(self, template: str, tag: str = "", line: str = "", **more: Any) -> None:
        """A line of a worker; what is no entry of its log, such as the traceback of a crash, is told as it is."""
        try:
            entry = json.loads(line)
            level = LogLevel.lookupByName(entry["level"])
            namespace, text = str(entry["namespace"]), str(entry["text"])
        except (ValueError, KeyError, TypeError, LookupError):
            level, namespace, text = LogLevel.warn, __name__, line
        if text:
            Logger(namespace).emit(level, "worker {worker}: {text}", worker=tag, text=text)

    def failure(self, template: str, failure: Failure, name: str = "", **more: Any) -> None:
        """A worker could not be started."""
        self._log.error("Worker {worker} can't be started: {why}.", worker=name, why=failure.getErrorMessage())

    _log = Logger()


class _Watched(ProcessProtocol):
    """`ProcessMonitor`'s protocol of a process, and a word about its end."""

    def __init__(self, protocol: LoggingProtocol, ended: Callable[[str, Failure], None]) -> None:
        self._protocol, self._ended = protocol, ended

    def makeConnection(self, process: IProcessTransport) -> None:
        self._protocol.makeConnection(process)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._protocol.childDataReceived(childFD, data)

    def childConnectionLost(self, childFD: int) -> None:
        self._protocol.childConnectionLost(childFD)

    def processExited(self, reason: Failure) -> None:
        self._protocol.processExited(reason)

    def processEnded(self, reason: Failure) -> None:
        self._protocol.processEnded(reason)
        self._ended(self._protocol.name, reason)


@implementer(IReactorProcess, IReactorTime)
class Spawner:
    """A reactor that gives every process it starts the shared sockets, beside its standard ones.

    Args:
        reactor: the real one.
        sockets: descriptors in this process; in the others they are 3, 4, ...
        ended: called with the name of a process and why it has ended.
    """

    def __init__(self, reactor: Any, sockets: Sequence[int], ended: Callable[[str, Failure], None]) -> None:
        self._reactor, self._ended = reactor, ended
        self._files: dict[int, str | int] = {0: "w", 1: "r", 2: "r"}
        self._files |= {FIRST + number: file for number, file in enumerate(sockets)}
        self.seconds, self.callLater = reactor.seconds, reactor.callLater
        self.getDelayedCalls = reactor.getDelayedCalls

    def spawnProcess(  # type: ignore[override]
        self,
        processProtocol: LoggingProtocol,
        executable: str,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        path: str | None = None,
        uid: int | None = None,
        gid: int | None = None,
    ) -> IProcessTransport:
        """As a reactor's own."""
        watched = _Watched(processProtocol, self._ended)
        started: IProcessTransport = self._reactor.spawnProcess(
            watched, executable, args, env=env, path=path, uid=uid, gid=gid, childFDs=self._files
        )
        return started


class Workers(Service):
    """The processes and the sockets that they share.

    Args:
        reactor: that it runs on.
        listen: endpoint descriptions.
        open_socket: opens one of them.
        command: the command line of a worker, by its name and how it is to listen.
        count: how many.
        environ: of the workers.
        end_seconds: the most that a worker's orderly end takes.
    """

    name = "livepush"

    def __init__(
        self,
        reactor: Any,
        listen: Sequence[str],
        open_socket: Open,
        command: Callable[[str, Sequence[str]], list[str]],
        count: int,
        environ: Mapping[str, str],
        end_seconds: float,
    ) -> None:
        self._reactor, self._listen, self._open_socket, self._command = reactor, tuple(listen), open_socket, command
        self._count, self._environ = count, dict(environ)
        self.end_seconds = end_seconds + 2 * LEAVE_SECONDS
        self._kill_seconds = end_seconds + LEAVE_SECONDS
        self._ports: list[Any] = []
        self._monitor: ProcessMonitor | None = None
        self._done: Deferred[None] | None = None

    def privilegedStartService(self) -> None:
        """Opens the sockets.

        Raises:
            CannotListen: one can't be; those opened before are closed again.
        """
        Service.privilegedStartService(self)
        try:
            for text in self._listen:
                port: Any = self._open_socket(text)
                self._ports.append(port)
                port.pauseProducing()  # the workers accept
                self._log.info("{count} workers listen on {text}.", count=self._count, text=text)
        except CannotListen:
            for port in self._ports:
                port.stopListening()
            raise

    def startService(self) -> None:
        """Starts the workers."""
        if not self._ports:
            self.privilegedStartService()
        Service.startService(self)
        sockets = [port.fileno() for port in self._ports]
        self._monitor = monitor = ProcessMonitor(Spawner(self._reactor, sockets, self._ended))
        monitor.log = Told()  # type: ignore[assignment]
        monitor.killTime, monitor.maxRestartDelay = self._kill_seconds, MOST_DELAY  # type: ignore[assignment]
        listen = [f"systemd:domain={_domain(port)}:name=socket{number}" for number, port in enumerate(self._ports)]
        names = ":".join(f"socket{number}" for number in range(len(sockets)))
        environ = {**self._environ, "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names}
        for number in range(1, self._count + 1):
            monitor.addProcess(str(number), self._command(str(number), listen), env=environ)
        monitor.startService()

    def stopService(self) -> Deferred[None] | None:
        """Ends the workers; fires when the last has gone."""
        Service.stopService(self)
        monitor = self._monitor
        for port in self._ports:
            port.stopListening()
        if monitor is None:
            return None
        running = len(monitor.protocols)
        self._log.info("Ending: {running} workers.", running=running)
        monitor.stopService()
        if not running:
            return None
        self._done = Deferred()
        return self._done

    def watch(self, callback: Callable[[], None]) -> None:
        """Calls back whenever `is_ready` may have changed, which is never."""

    def is_ready(self) -> bool:
        """Whether the sockets are open: those who connect are served as soon as a worker is ready."""
        return bool(self._ports)

    def status(self) -> str:
        """How it is, in one line for people."""
        running = 0 if self._monitor is None else len(self._monitor.protocols)
        return f"{running} of {self._count} workers run"

    def reload(self) -> None:
        """Every worker reads its settings anew."""
        for protocol in [] if self._monitor is None else list(self._monitor.protocols.values()):
            process: Any = protocol.transport
            try:
                process.signalProcess("HUP")
            except ProcessExitedAlready:
                continue  # the one after it will read them

    def _ended(self, name: str, reason: Failure) -> None:
        monitor = self._monitor
        if self.running:
            # twistd ends itself with the signal that it was sent.
            self._log.error("Worker {name} has ended ({why}); it is started anew.", name=name, why=_why(reason))
        elif monitor is not None and not monitor.protocols and self._done is not None:
            done, self._done = self._done, None
            done.callback(None)

    _log = Logger()


def command_of(command_line: CommandLine, level: str) -> Callable[[str, Sequence[str]], list[str]]:
    """What starts a worker: no secret is on its command line.

    Args:
        command_line: of this process.
        level: the least that is logged.
    """
    folder = command_line.pythonpath or str(Path.cwd())

    def command(name: str, listen: Sequence[str]) -> list[str]:
        words = [sys.executable, "-m", "livepush.daemon.worker", "--nodaemon", "--pidfile=", "livepush"]
        if command_line.settings is not None:
            words += ["--settings", command_line.settings]
        words += ["--pythonpath", folder, "--log-level", level, "--log-format", "json"]
        if command_line.status is not None:
            words += ["--status", command_line.status]
        return [*words, "--instance", name, *(f"--listen={text}" for text in listen)]

    return command


def environment_of(command_line: CommandLine, environ: Mapping[str, str]) -> dict[str, str]:
    """A worker's environment: ours, and in it the broker that stood on our command line."""
    given = {} if command_line.broker is None else {"LIVEPUSH_BROKER_URL": command_line.broker}
    kept = {name: value for name, value in environ.items() if not name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_"))}
    if given:
        kept.pop("LIVEPUSH_BROKER_URL_FILE", None)
    return {**kept, **given}


def check(listen: Sequence[str]) -> None:
    """Whether several processes can share what is to be listened on.

    Raises:
        BadOption: they can't.
    """
    for text in listen:
        if not text.startswith(_SHARED):
            why = "can't be shared by workers: give a tcp:, tcp6: or unix: address, and let a proxy in front do the TLS"
            raise BadOption("--listen", text, why)
    activation.check(listen)


def open_socket(endpoint: Any, option: str) -> IListeningPort:
    """Opens an endpoint of Twisted's own, which answers at once.

    Raises:
        CannotListen: it is taken, or not allowed.
    """
    from livepush.daemon.lifecycle import reason_of

    opened: list[Any] = []
    endpoint.listen(_Nobody()).addBoth(opened.append)
    if isinstance(opened[0], Failure):
        remedy = "end what listens there, or name another address with --listen or --port"
        raise CannotListen(option, reason_of(opened[0]), remedy)
    port: IListeningPort = opened[0]
    return port


class _Nobody(Factory):
    """This process answers nobody."""

    noisy = False


def _domain(port: Any) -> str:
    with socket.socket(fileno=os.dup(port.fileno())) as one:
        return one.family.name.removeprefix("AF_")


def _why(reason: Failure) -> str:
    value: Any = reason.value
    if getattr(value, "signal", None) is not None:
        return f"signal {value.signal}"
    return f"exit status {getattr(value, 'exitCode', None)}"
