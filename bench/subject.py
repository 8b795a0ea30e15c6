"""What is measured: the baseline, livepush with either broker, and another checkout of livepush."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.process import Server
from tests.servers.ports import free_ports

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = "bench.site.settings"


@dataclass(frozen=True, slots=True)
class Subject:
    """One of the things compared.

    Attributes:
        name: in the table.
        livepush: or else the baseline.
        embedded: with the broker inside the daemon, on the server's core.
        root: the checkout.
        programs: where its `python` and `twistd` are.
    """

    name: str
    livepush: bool
    embedded: bool = False
    root: Path = ROOT
    programs: Path = Path(sys.executable).parent

    @property
    def publisher(self) -> str:
        """Who publishes to it."""
        return "django" if self.livepush else "pika"


BASELINE = Subject("bare pipeline, RabbitMQ", livepush=False)
SUBJECTS = {
    "spine": BASELINE,
    "rabbitmq": Subject("livepush, RabbitMQ", livepush=True),
    "embedded": Subject("livepush, embedded broker", livepush=True, embedded=True),
}


def checkout(root: Path) -> Subject:
    """Another version of livepush, with RabbitMQ; it is installed in its own `.venv`.

    Raises:
        ValueError: it is not.
    """
    programs = root.resolve() / ".venv/bin"
    if not (programs / "twistd").exists():
        raise ValueError(f"{root} has no .venv/bin/twistd; run `make bench ARGS=--help` there once")
    return Subject(f"livepush of {root.name}, RabbitMQ", livepush=True, root=root.resolve(), programs=programs)


@dataclass(frozen=True, slots=True)
class Wire:
    """A wire format: how wsload opens its connections.

    Attributes:
        name: in the table.
        path: of the request; `%n` is the connection's number.
        load: what it does until it hears events.
    """

    name: str
    path: str
    load: tuple[str, ...]


NATIVE = Wire(
    "native WebSocket",
    "/livepush/ws",
    ("--protocol", "livepush.v1", "--send", '{"op":"hello","n":0,"tab":"t%n"}', "--wait-for", '"welcome"'),
)
WIRES = (
    NATIVE,
    Wire("server-sent events", "/livepush/sse?channels=bench&tab=t%n", ("--stream", "--wait-for", '"welcome"')),
    Wire(
        "SockJS over WebSocket",
        "/livepush/sockjs/000/s%n/websocket",
        ("--wait", "1", "--send", r'["{\\"op\\":\\"hello\\",\\"n\\":0,\\"tab\\":\\"t%n\\"}"]', "--wait-for", "welcome"),
    ),
    Wire(
        "Socket.IO over WebSocket",
        "/socket.io/?EIO=4&transport=websocket",
        ("--eio", "--wait", "1", "--send", '40{"tab":"t%n"}', "--wait-for", "livepush:welcome"),
    ),
)
"""All that end in one write an event; over polling each event is a request of its own, which no ratio makes clearer."""


@dataclass(frozen=True, slots=True)
class Running:
    """A subject that serves.

    Attributes:
        server: its process.
        environ: for the publisher.
        load: arguments for wsload: where to connect, and as whom.
    """

    subject: Subject
    server: Server
    environ: dict[str, str]
    load: tuple[str, ...]


@contextmanager
def running(subject: Subject, folder: Path, fresh_broker: Callable[[], str], wire: Wire = NATIVE) -> Iterator[Running]:
    """Starts a subject in a world of its own, and stops it.

    Args:
        subject: which one.
        folder: of the site: its database and the file of cookies.
        fresh_broker: gives the URL of a virtual host that nobody has used.
        wire: how the clients speak with livepush; the baseline knows only its own way.
    """
    port, amqp = free_ports(2)
    broker = f"embedded:{amqp}" if subject.embedded else fresh_broker()
    environ = {
        **os.environ,
        "BENCH_FOLDER": str(folder),
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "LIVEPUSH_BROKER_URL": broker,
        "PYTHONPATH": str(subject.root),
    }
    load: tuple[str, ...] = (
        "--port",
        str(port),
        "--path",
        wire.path,
        "--header",
        f"Origin: http://127.0.0.1:{port}",
    )
    if subject.livepush:
        command = [str(subject.programs / "twistd"), "-n", "--pidfile=", "livepush"]
        command += ["--settings", SETTINGS, "--pythonpath", str(subject.root), "--log-level", "warn"]
        command += ["--listen", f"tcp:{port}:backlog=1024:interface=127.0.0.1"]
        load += ("--header-file", f"{folder}/cookies", *wire.load)
        ready = "/readyz"
    else:
        command = [sys.executable, "-m", "bench.spine", "--broker", broker, "--port", str(port)]
        load += ("--wait-for", "subscribed")
        ready = None
    server = Server(command, port=port, ready=ready, folder=folder, environ=environ)
    try:
        yield Running(subject, server, environ, load)
    finally:
        server.stop()
