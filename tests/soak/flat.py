"""Whether a daemon keeps anything of those who have gone: connects, disconnects and broker reconnects by the thousand.

    python -m tests.soak.flat --connects 10000 --cuts 1000

One daemon, a RabbitMQ of its own, a proxy between them. Pages come over every wire format, eight at a time, are
welcomed, and go: every other one without a goodbye. Then the daemon's connections to the broker are reset, again and
again, each time until it is attached and ready. Memory and open files are read from `/metrics`, the queues from
`rabbitmqctl`.

What counts is what is added after a warm-up, in which pools fill, modules load, and the allocator finds its size.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from livepush.broker.topology import QUEUE_PREFIX
from tests.clients.rawhttp import Exchange, request
from tests.clients.websocket import WebSocket, connect
from tests.servers.daemon import Daemon, django_site
from tests.servers.ports import free_ports
from tests.servers.proxy import Mode, Proxy
from tests.servers.rabbitmq import VirtualHost, shared_rabbitmq

AT_ONCE = 8
DEADLINE = 60.0
SAMPLES = 10
WARM_CONNECTS, WARM_CUTS = 600, 30

_SETTINGS = """
from livepush.broker import feed
from livepush.broker.backoff import Backoff
from shop.settings import *

# All visitors are one user on one machine, and sessions of SockJS outlive their last request by five seconds.
LIVEPUSH_USER_CONNECTIONS = LIVEPUSH_ADDRESS_CONNECTIONS = 10_000

# The second between attempts is for brokers that are away; here it would be half an hour of waiting.
feed.Backoff = lambda least, most: Backoff(0.02, 0.1)
"""

_HELLO = '{"op":"hello","n":0,"tab":"t"}'


@dataclass(frozen=True, slots=True)
class Sample:
    """What the daemon has at one moment.

    Attributes:
        memory: resident, bytes.
        files: open descriptors.
    """

    memory: float
    files: int


class Visits:
    """Pages that come, are welcomed and go.

    Args:
        port: of the daemon.
        cookie: of the one user.
    """

    def __init__(self, port: int, cookie: str) -> None:
        self._port = port
        self._headers = [("Origin", f"http://127.0.0.1:{port}"), ("Cookie", cookie)]
        self._numbers = itertools.count()
        self.formats: tuple[Callable[[int], None], ...] = (
            self._native,
            self._sse,
            self._sockjs,
            self._sockjs_xhr,
            self._socketio,
            self._socketio_polling,
        )

    def make(self, count: int) -> None:
        """So many, all wire formats in turn; an exception if one was not welcomed."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            numbers = list(itertools.islice(self._numbers, count))
            list(pool.map(lambda number: self.formats[number % len(self.formats)](number), numbers))

    def _web_socket(self, path: str, *subprotocols: str) -> WebSocket:
        return connect(self._port, path, self._headers, subprotocols=subprotocols, deadline=DEADLINE)

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        data = request(method, path, self._headers, body, f"127.0.0.1:{self._port}")
        with Exchange(self._port, data, DEADLINE) as exchange:
            _must(exchange.status in (200, 204), f"{method} {path}: {exchange.status}")
            return exchange.rest()

    def _native(self, number: int) -> None:
        with self._web_socket("/livepush/ws", "livepush.v1") as client:
            client.send_text(_HELLO)
            _must(client.receive_json()["op"] == "welcome", "native: no welcome")
            _leave(client, number)

    def _sse(self, number: int) -> None:
        data = request("GET", "/livepush/sse?channels=news", self._headers, host=f"127.0.0.1:{self._port}")
        with Exchange(self._port, data, DEADLINE) as exchange:
            _must(exchange.status == 200, f"SSE: {exchange.status}")
            exchange.until(b"welcome")

    def _sockjs(self, number: int) -> None:
        with self._web_socket(f"/livepush/sockjs/000/w{number}/websocket") as client:
            _must(client.receive_text() == "o", "SockJS: not open")
            client.send_text(json.dumps([_HELLO]))
            _must("welcome" in client.receive_text(), "SockJS: no welcome")
            _leave(client, number)

    def _sockjs_xhr(self, number: int) -> None:
        path = f"/livepush/sockjs/000/x{number}"
        _must(self._ask("POST", f"{path}/xhr", b"") == b"o\n", "xhr: not open")
        self._ask("POST", f"{path}/xhr_send", json.dumps([_HELLO]).encode())
        _must(b"welcome" in self._ask("POST", f"{path}/xhr", b""), "xhr: no welcome")

    def _socketio(self, number: int) -> None:
        with self._web_socket("/socket.io/?EIO=4&transport=websocket") as client:
            _must(client.receive_text().startswith("0"), "Socket.IO: not open")
            client.send_text("40")
            _must(client.receive_text().startswith("40"), "Socket.IO: not connected")
            _leave(client, number)

    def _socketio_polling(self, number: int) -> None:
        path = "/socket.io/?EIO=4&transport=polling"
        path = f"{path}&sid={json.loads(self._ask('GET', path)[1:])['sid']}"
        self._ask("POST", path, b"40")
        _must(self._ask("GET", path).startswith(b"40"), "polling: not connected")
        self._ask("POST", path, b"1")


class Flat:
    """The daemon, and what is done to it. `close` ends all."""

    def __init__(self) -> None:
        site = django_site()
        (site.folder / "shop" / "flat.py").write_text(_SETTINGS)
        self._stack = ExitStack()
        self.vhost: VirtualHost = shared_rabbitmq().fresh_vhost()
        self._stack.callback(self.vhost.delete)
        self.proxy = Proxy(self.vhost.node.port)
        self._stack.callback(self.proxy.close)
        port, self._status = free_ports(2)
        words = ("--broker", self.vhost.url(port=self.proxy.port), "--port", str(port))
        status = ("--status", f"tcp:{self._status}:interface=127.0.0.1")
        self.daemon = Daemon(site, *words, *status, settings="shop.flat")
        self._stack.callback(self.daemon.kill)
        self.visits = Visits(port, site.cookie)
        self._pause = threading.Event()
        self._wait(lambda: self.numbers()["livepush_ready"] == 1, "a daemon that is ready")

    def close(self) -> None:
        """Nothing of it is left."""
        self._stack.close()

    def numbers(self) -> dict[str, float]:
        """The daemon's, those with labels added up; of a label that it never had there is none."""
        found: dict[str, float] = {}
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._status}/metrics", timeout=DEADLINE) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return {"livepush_ready": 0}
        for line in lines:
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                name = name.partition("{")[0]
                found[name] = found.get(name, 0.0) + float(value)
        return found

    def connect(self, count: int) -> None:
        """So many pages come and go; returns when the daemon has seen the last one go."""
        self.visits.make(count)
        self._wait(lambda: self.numbers().get("livepush_connections", 0.0) == 0, "pages that are gone")

    def cut(self, count: int) -> None:
        """So many times the broker's connections are reset, each time until the daemon is attached and ready again."""
        for _ in range(count):
            before = self.numbers()["livepush_feed_connections_total"]
            self.proxy.set(Mode.CUT)
            self.proxy.set(Mode.PASS)
            self._wait(lambda before=before: self._attached(before), "a daemon that is back at its broker")  # type: ignore[misc]

    def sample(self) -> Sample:
        """What it has now, without anybody who is connected."""
        numbers = self.numbers()
        return Sample(numbers["livepush_resident_memory_bytes"], int(numbers["livepush_open_files"]))

    def queues(self) -> list[str]:
        """The queues of daemon processes, as `rabbitmqctl` lists them."""
        listed = self.vhost.node.ctl("list_queues", "-p", self.vhost.name, "--no-table-headers", "name")
        return [name for name in listed.split() if name.startswith(QUEUE_PREFIX)]

    def _attached(self, before: float) -> bool:
        numbers = self.numbers()
        return numbers["livepush_ready"] == 1 and numbers["livepush_feed_connections_total"] > before

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + DEADLINE
        while not condition():
            _must(time.monotonic() < end, f"waited {DEADLINE:.0f} s for {what}:\n{self.daemon.output[-3000:]}")
            self._pause.wait(0.02)


def _leave(client: WebSocket, number: int) -> None:
    """Every other visitor says goodbye; formats come in turn, so it is counted in rounds of them."""
    if number // 6 % 2:
        client.send_close()
        client.receive_close()


def _must(true: bool, what: str) -> None:
    if not true:
        raise AssertionError(what)


def run(connects: int, cuts: int, say: Callable[[str], None]) -> None:
    """The whole run, in `SAMPLES` parts of each kind."""
    flat = Flat()
    try:
        flat.connect(WARM_CONNECTS)
        flat.cut(WARM_CUTS)
        first = flat.sample()
        say(f"warm: {_told(first, first)}")
        for what, do, count in (("connects", flat.connect, connects), ("reconnects", flat.cut, cuts)):
            for part in range(1, SAMPLES + 1):
                begun = time.monotonic()
                do(count // SAMPLES)
                took = time.monotonic() - begun
                say(f"{count * part // SAMPLES} {what}: {_told(flat.sample(), first)}, {took:.1f} s")
        say(f"queues of daemons: {len(flat.queues())}")
        flat.daemon.terminate()
        say(f"queues of daemons, when it has ended: {len(flat.queues())}")
    finally:
        flat.close()


def _told(sample: Sample, first: Sample) -> str:
    grown = sample.memory - first.memory
    return (
        f"{sample.memory / 2**20:.1f} MiB ({grown / 2**20:+.1f}), {sample.files} files ({sample.files - first.files:+})"
    )


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(prog="python -m tests.soak.flat")
    arguments.add_argument("--connects", type=int, default=10_000, help="pages that come and go")
    arguments.add_argument("--cuts", type=int, default=1_000, help="times that the broker's connections are reset")
    given = arguments.parse_args()
    run(given.connects, given.cuts, lambda line: print(line, flush=True))
    sys.exit(0)
