"""A hub behind real SockJS addresses, the stock client under Node as its browser, and requests on raw sockets."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from twisted.web.resource import IResource

from livepush.daemon.front import Front
from livepush.daemon.settings import Limits
from livepush.daemon.sockjs import SockJSEndpoint
from livepush.daemon.sockjsapp import SockJSSettings
from livepush.daemon.sockjspush import classic, native
from tests.integration.served import ORIGIN, ServedCase
from tests.servers.node import Script

COOKIE = "sessionid=x"
LIMITS = Limits(message_bytes=200_000, outbound_bytes=512 * 1024, heartbeat_seconds=3_600.0)
NATIVE, CLASSIC, LEGACY = "/livepush/sockjs", "/orders", "/legacy"
CLIENT = Path(__file__).with_name("client.mjs")


class SockJSCase(ServedCase):
    """A daemon's SockJS addresses."""

    limits = LIMITS
    settings = SockJSSettings()
    client_address = "/static/sockjs.js"

    def endpoints(self, front: Front) -> Mapping[str, IResource]:
        """Of native messages, of classic ones, and with the transports of old browsers."""
        old = SockJSSettings(legacy=True, client=self.client_address)
        self.sockjs = {
            NATIVE: SockJSEndpoint(front, native(front), self.settings),
            CLASSIC: SockJSEndpoint(front, classic(front, CLASSIC), self.settings),
            LEGACY: SockJSEndpoint(front, native(front), old),
        }
        return self.sockjs

    def page(self, path: str, transport: str, cookie: str = COOKIE) -> Script:
        """A page with the stock client."""
        options = {"transports": [transport], "headers": {"Origin": ORIGIN, "Cookie": cookie}}
        script = Script(CLIENT, f"http://127.0.0.1:{self.port}{path}", json.dumps(options))
        self.addCleanup(script.end)
        return script

    def ask(self, method: str, path: str, body: bytes | str = b"", **headers: str | None) -> Answer:
        """A request as a logged-in page makes it; header names with `_` for `-`, None takes one away."""
        return Answer(self.port, method, path, body, headers)


class Answer:
    """A request on a socket of its own, and its answer, which is read as it comes."""

    def __init__(
        self, port: int, method: str, path: str, body: bytes | str = b"", headers: dict[str, str | None] | None = None
    ) -> None:
        data = body.encode() if isinstance(body, str) else body
        sent = {"Host": "testserver", "Origin": ORIGIN, "Cookie": COOKIE, "Connection": "close"}
        if method == "POST":
            sent["Content-Length"] = str(len(data))
        given = {name.replace("_", "-").title(): value for name, value in (headers or {}).items()}
        lines = [f"{name}: {value}" for name, value in {**sent, **given}.items() if value is not None]
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.sock.sendall("\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode() + data)
        self._file = self.sock.makefile("rb")
        self._head: tuple[int, dict[str, str]] | None = None

    @property
    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers, with lower-case names."""
        if self._head is None:
            status = int(self._file.readline().split(b" ")[1])
            headers = {}
            while line := self._file.readline().strip().decode():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            self._head = status, headers
        return self._head

    @property
    def status(self) -> int:
        """The status."""
        return self.head[0]

    def header(self, name: str) -> str | None:
        """One header."""
        return self.head[1].get(name.lower())

    def chunks(self) -> Iterator[bytes]:
        """The chunks of a streaming answer, until its end."""
        assert self.header("transfer-encoding") == "chunked", self.head
        while size := int(self._file.readline(), 16):
            yield self._file.read(size)
            self._file.readline()
        self._file.readline()

    @property
    def body(self) -> bytes:
        """All of it."""
        _, headers = self.head
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join(self.chunks())
        elif "content-length" in headers:
            body = self._file.read(int(headers["content-length"]))
        else:
            body = self._file.read()
        self.close()
        return body

    def close(self) -> None:
        """Ends the connection."""
        self._file.close()
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
