"""How long a right that is taken away is still there: from the commit to `gone`, or to the close.

    python -m bench.revocation                      # 2,000 pages, one process of the daemon; about a minute
    python -m bench.revocation --connections 5000

The pages are 2,000 users' on one process, over the native WebSocket; the changes are Django's own, by its models, in
this process. Each figure is from the moment in which the changing call has returned, so after the commit, to the one in
which the page's `recv()` had the news, in milliseconds. Broker: the embedded one.

    one user     `user_permissions`, one after the other: `gone`
    one login    `is_active`, one after the other: 4401, of which 300 ms are waited on purpose
    a logout     one after the other: 4401
    everybody    a permission of the group that all are members of: `gone`, all of them at once
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.process import Server, pin

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = "bench.site.settings"
WAIT_SECONDS = 60.0


class Pages:
    """All connections; a thread reads them and notes when each was told something.

    Attributes:
        told: per page, the moment in which its `gone` or its end was there.
    """

    def __init__(self, port: int, cookies: list[str]) -> None:
        self.told: dict[int, float] = {}
        self._changed = threading.Condition()
        self._selector = selectors.DefaultSelector()
        self._sockets = [self._open(port, cookie) for cookie in cookies]
        for number, sock in enumerate(self._sockets):
            self._selector.register(sock, selectors.EVENT_READ, number)
        threading.Thread(target=self._read, daemon=True).start()

    def _open(self, port: int, cookie: str) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port), WAIT_SECONDS)
        lines = (
            "GET /livepush/ws HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            f"Origin: http://127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: livepush.v1",
            cookie,
        )
        sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        hello = b'{"op":"hello","n":0,"channels":{"guarded":null}}'
        heard = b""
        while b"\r\n\r\n" not in heard:
            heard += sock.recv(4096)
        if not heard.startswith(b"HTTP/1.1 101 "):
            raise SystemExit(f"refused: {heard!r}")
        sock.sendall(bytes((0x81, 0x80 | len(hello), 0, 0, 0, 0)) + hello)
        while b'"welcome"' not in heard:
            piece = sock.recv(4096)
            if not piece:
                raise SystemExit(f"not welcomed: {heard!r}")
            heard += piece
        if b'"guarded"' not in heard:
            raise SystemExit(f"not granted: {heard!r}")
        return sock

    def _read(self) -> None:
        while True:
            for key, _ in self._selector.select():
                try:
                    data = key.fileobj.recv(65_536)  # type: ignore[union-attr]
                except OSError:
                    data = b""
                now = time.monotonic()
                if not data:
                    self._selector.unregister(key.fileobj)
                if not data or b'"gone"' in data or b"\x88" in data:
                    with self._changed:
                        self.told.setdefault(key.data, now)
                        self._changed.notify_all()

    def forget(self) -> None:
        """Begins anew."""
        with self._changed:
            self.told.clear()

    def wait(self, numbers: range) -> list[float]:
        """Until all of these were told; the moments."""
        with self._changed:
            if not self._changed.wait_for(lambda: all(number in self.told for number in numbers), WAIT_SECONDS):
                raise SystemExit(f"not all of {numbers} were told within {WAIT_SECONDS:g} s")
            return [self.told[number] for number in numbers]


def show(what: str, seconds: list[float]) -> None:
    """One row."""
    ordered = sorted(1000 * each for each in seconds)
    at = [ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.99)]
    print(f"| {what} | {len(ordered)} | {at[0]:.1f} | {at[1]:.0f} | {ordered[-1]:.0f} |", flush=True)


def one_by_one(pages: Pages, numbers: range, change: Any) -> list[float]:
    """The change of each of these users in turn, each when the one before has been told."""
    found = []
    for number in numbers:
        pages.forget()
        change(number)
        changed = time.monotonic()
        found.append(pages.wait(range(number, number + 1))[0] - changed)
    return found


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=2_000, metavar="N")
    parser.add_argument(
        "--single", type=int, default=200, metavar="N", help="of them, for each of the first three rows"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measure(given.connections, given.single, Path(name))


def measure(connections: int, single: int, folder: Path) -> None:
    """All of it."""
    from bench.site.prepare import prepare

    port, amqp = _free_ports()
    os.environ.update(BENCH_FOLDER=str(folder), LIVEPUSH_BROKER_URL=f"embedded:{amqp}")
    prepare(connections, folder)

    from django.contrib.auth.models import Group, Permission, User
    from django.contrib.auth.signals import user_logged_out

    users: list[Any] = list(User.objects.order_by("pk"))
    right = Permission.objects.get(codename="view_group")
    group: Any = Group.objects.create(name="everybody")
    through: Any = User.groups.through
    first, second, third = (range(single * part, single * (part + 1)) for part in range(3))
    direct: Any = User.user_permissions.through
    direct.objects.bulk_create(direct(user=users[number], permission=right) for number in first)
    through.objects.bulk_create(through(user=user, group=group) for user in users[single:])
    group.permissions.add(right)

    twistd = str(Path(sys.executable).with_name("twistd"))
    command = [twistd, "-n", "--pidfile=", "livepush", "--settings", SETTINGS, "--pythonpath", str(ROOT)]
    command += ["--port", str(port), "--broker", f"embedded:{amqp}"]
    server = Server(command, port=port, ready="/readyz", folder=folder, environ=dict(os.environ))
    try:
        pin(1)
        cookies = (folder / "cookies").read_text().splitlines()
        pages = Pages(port, cookies)

        def log_out(number: int) -> None:
            request = SimpleNamespace(session=SimpleNamespace(session_key=cookies[number].partition("=")[2]))
            user_logged_out.send(User, request=request, user=users[number])

        def block(number: int) -> None:
            users[number].is_active = False
            users[number].save()

        print(f"| {connections} pages | changes | p50 ms | p99 ms | most ms |\n|---|---:|---:|---:|---:|")
        show("one user", one_by_one(pages, first, lambda number: users[number].user_permissions.clear()))
        show("one login", one_by_one(pages, second, block))
        show("a logout", one_by_one(pages, third, log_out))
        pages.forget()
        group.permissions.remove(right)
        changed = time.monotonic()
        show("everybody", [when - changed for when in pages.wait(range(3 * single, connections))])
    finally:
        server.stop()


def _free_ports() -> tuple[int, int]:
    """Not those of `tests`, which sets up a Django of its own."""
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


if __name__ == "__main__":
    main()
