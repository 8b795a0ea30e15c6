"""HTTP/1.1 on a bare socket: what is sent goes out as it is, and an answer can be looked at while it goes on.

with Exchange(port, request("POST", "/orders/0/a/xhr", [("Cookie", "sessionid=x")])) as exchange:
    exchange.status, exchange.header("Content-Type")
    exchange.until(b"\\n")
    exchange.rest()                            # until the answer or the connection ends
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self


def request(
    method: str, path: str, headers: Iterable[tuple[str, str]] = (), body: bytes | None = None, host: str = "testserver"
) -> bytes:
    """The bytes of one request.

    Args:
        method: as it is written.
        path: with the query, as it is written.
        headers: beside Host and, with a body, Content-Length.
        body: None: there is none.
        host: what Host says; "": no Host at all.
    """
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"Host: {host}"] if host else []
    lines += [f"{name}: {value}" for name, value in headers]
    lines += [] if body is None else [f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class Exchange:
    """One request and its answer, on a connection of its own. Every wait ends at the deadline with `TimeoutError`.

    Attributes:
        status: of the answer; 0: the server closed the connection without one.
        headers: names in lower case, in order.
    """

    def __init__(self, port: int, data: bytes, deadline: float = 10.0) -> None:
        self._until = time.monotonic() + deadline
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=deadline)
        self._raw = bytearray()
        self._body = bytearray()
        self._ended = False
        self._chunked = False
        self._left: int | None = None  # bytes of the body, or of its chunk; None: not known
        with suppress(ConnectionResetError, BrokenPipeError):  # who does not want the rest has answered
            self.socket.sendall(data)
        self.status, self.headers = self._head()

    def header(self, name: str) -> str | None:
        """The first of this name."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    def until(self, marker: bytes) -> bytes:
        """The body up to this marker, and with it.

        Raises:
            AssertionError: the answer ended without it.
        """
        while marker not in self._body:
            if not self._read_body():
                raise AssertionError(f"no {marker!r} in {bytes(self._body)!r}")
        end = self._body.index(marker) + len(marker)
        return self._take(end)

    def rest(self) -> bytes:
        """The body to its end."""
        while self._read_body():
            pass
        return self._take(len(self._body))

    def closed(self) -> bool:
        """Whether the server closes the connection, with nothing more on it; waits for that."""
        self.rest()
        return not self._raw and not self._read()

    def close(self) -> None:
        """Drops the connection."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _head(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        while b"\r\n\r\n" not in self._raw:
            if not self._read():
                self._ended = True
                return 0, ()
        head, _, rest = bytes(self._raw).partition(b"\r\n\r\n")
        self._raw = bytearray(rest)
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = tuple((line.partition(":")[0].lower(), line.partition(":")[2].strip()) for line in lines)
        named = dict(headers)
        status = int(first.split(" ")[1])
        self._chunked = named.get("transfer-encoding") == "chunked"
        if "content-length" in named:
            self._left = int(named["content-length"])
        elif status in (204, 304):
            self._left = 0
        return status, headers

    def _read_body(self) -> bool:
        """Some more of it; False: it is over."""
        if self._ended or (self._left == 0 and not self._chunked):
            self._ended = True
            return False
        if self._chunked and not self._left:
            size = int(self._line(), 16)
            self._left = size + 2  # with the line break behind it
            if size == 0:
                self._line()
                self._ended = True
                return False
        if not self._raw and not self._read():
            self._ended = True
            return False
        taken = bytes(self._raw if self._left is None else self._raw[: self._left])
        del self._raw[: len(taken)]
        if self._left is None:
            self._body += taken
            return True
        kept = max(0, min(len(taken), self._left - 2)) if self._chunked else len(taken)
        self._body += taken[:kept]
        self._left -= len(taken)
        return True

    def _line(self) -> bytes:
        while b"\r\n" not in self._raw:
            if not self._read():
                raise AssertionError("the answer ended in the middle of its form")
        line, _, rest = bytes(self._raw).partition(b"\r\n")
        self._raw = bytearray(rest)
        return line

    def _read(self) -> bytes:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("nothing came within the deadline")
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(65_536)
        except (ConnectionResetError, BrokenPipeError):
            return b""
        self._raw += data
        return data

    def _take(self, size: int) -> bytes:
        taken = bytes(self._body[:size])
        del self._body[:size]
        return taken
