"""Clients that keep every byte that reaches them, with the moment: one for each wire format, each in its own thread.

What a client was sent can then be judged without trusting a codec of ours.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tests.acceptance.security.world import Visitor
from tests.clients.eventsource import Stream
from tests.clients.rawhttp import Exchange, request
from tests.clients.websocket import PING, PONG, Closed, WebSocket

SECONDS = 30.0


class Ear:
    """What one client was sent.

    Attributes:
        pieces: each with the moment at which it was there, by the machine's monotonic clock.
    """

    def __init__(self) -> None:
        self.pieces: list[tuple[float, bytes]] = []
        self.ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begins to listen."""
        self._thread.start()

    def listen(self) -> bytes | None:
        """The next piece; None: there is no more."""
        raise NotImplementedError

    def close(self) -> None:
        """The test is over."""
        raise NotImplementedError

    @property
    def raw(self) -> bytes:
        """All of it."""
        return b"".join(piece for _, piece in self.pieces)

    def wait(self, heard: Callable[[bytes], object]) -> bool:
        """Whether it comes to that."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(heard(self.raw)), SECONDS)

    def wait_for_the_end(self) -> bool:
        """Whether the server ends it."""
        with self._changed:
            return self._changed.wait_for(lambda: self.ended, SECONDS)

    def wait_for(self, mark: str) -> bool:
        """Whether such a word comes, whole."""
        return self.wait(re.compile(rf"\b{mark}\b".encode()).search)

    def _run(self) -> None:
        with suppress(OSError, Closed, TimeoutError):
            while (piece := self.listen()) is not None:
                with self._changed:
                    self.pieces.append((time.monotonic(), piece))
                    self._changed.notify_all()
        with self._changed:
            self.ended = True
            self._changed.notify_all()


class SocketEar(Ear):
    """A WebSocket, whatever is spoken over it."""

    def __init__(self, client: WebSocket) -> None:
        super().__init__()
        self._client = client

    def listen(self) -> bytes | None:
        frame = self._client.receive(SECONDS)
        if frame.opcode == PING:
            self._client.send_frame(PONG, frame.payload)
        return frame.payload

    def close(self) -> None:
        self._client.close()


class StreamEar(Ear):
    """A stream of server-sent events."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._socket = stream.socket

    def listen(self) -> bytes | None:
        return self._socket.recv(65_536) or None

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class PollingEar(Ear):
    """Long polling: one request after the other.

    Args:
        over: how an answer begins after which no other comes.
        pong: what answers a ping of Engine.IO; None: SockJS has none.
    """

    def __init__(self, method: str, path: str, visitor: Visitor, port: int, over: bytes, pong: bytes | None) -> None:
        super().__init__()
        self._request = request(method, path, visitor.headers, b"" if method == "POST" else None, "127.0.0.1")
        self._pong = None if pong is None else request("POST", path, visitor.headers, pong, "127.0.0.1")
        self._port, self._over = port, re.compile(over)
        self._last = False

    def listen(self) -> bytes | None:
        if self._last:
            return None
        with Exchange(self._port, self._request, SECONDS) as exchange:
            body = exchange.rest()
            self._last = exchange.status != 200 or self._over.match(body) is not None
        if self._pong is not None and body == b"2":
            Exchange(self._port, self._pong, SECONDS).close()
        return body

    def close(self) -> None:
        self._last = True


def sockjs(path: str, visitor: Visitor, port: int) -> PollingEar:
    """SockJS by xhr, a session that has said hello."""
    return PollingEar("POST", f"{path}/xhr", visitor, port, rb"c\[", None)


def engineio(path: str, visitor: Visitor, port: int) -> PollingEar:
    """Socket.IO over long polling, a session in the namespace `/`."""
    return PollingEar("GET", path, visitor, port, rb"(?:.*\x1e)?(?:1|41)$", b"3")
