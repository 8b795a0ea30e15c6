"""A small blocking WebSocket client (RFC 6455) that shows what is on the wire.

It keeps no rule that a test may want to break: frames can be sent unmasked, fragmented, with reserved bits or announced
larger than they are, and every frame received is handed over as it came, control frames included. Every wait ends at a
deadline with `TimeoutError`, so that a test fails instead of hanging.

    with connect(port, headers=[("Origin", "http://testserver"), ("Cookie", cookie)]) as client:
        client.send_json({"op": "hello", "n": 0})
        welcome = client.receive_json()
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

NO_CODE = 1005
"""A close frame without a code (RFC 6455, 7.4.1)."""

DROPPED = 1006
"""The connection ended without a close frame (RFC 6455, 7.4.1)."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Closed(Exception):
    """The server ended the connection while a message was awaited.

    Attributes:
        code: of its close frame; `NO_CODE` or `DROPPED` where it had none.
        reason: of its close frame.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed with {code} {reason}".rstrip())
        self.code, self.reason = code, reason


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it came.

    Attributes:
        opcode: `TEXT`, `BINARY`, `CONTINUATION`, `CLOSE`, `PING` or `PONG`.
        payload: without the header.
        final: the FIN bit.
        reserved: the three RSV bits, 0 to 7.
    """

    opcode: int
    payload: bytes
    final: bool = True
    reserved: int = 0

    @property
    def text(self) -> str:
        """The payload as text."""
        return self.payload.decode()

    @property
    def code(self) -> int:
        """The close code of a close frame."""
        return struct.unpack(">H", self.payload[:2])[0] if len(self.payload) >= 2 else NO_CODE

    @property
    def reason(self) -> str:
        """The reason of a close frame."""
        return self.payload[2:].decode()


@dataclass(frozen=True, slots=True)
class Handshake:
    """The server's answer to the upgrade request.

    Attributes:
        status: 101 for an accepted one.
        headers: names in lower case, in order.
        body: of a refusal; empty for 101.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first header of this name."""
        return next((value for key, value in self.headers if key == name.lower()), None)


class WebSocket:
    """One connection, after its handshake.

    Attributes:
        handshake: the server's answer; frames can be exchanged only if its status is 101.
        deadline: the seconds that each wait may take, unless the call says otherwise.
    """

    def __init__(self, sock: socket.socket, handshake: Handshake, rest: bytes = b"", deadline: float = 10.0) -> None:
        self.socket, self.handshake, self.deadline = sock, handshake, deadline
        self._buffer = bytearray(rest)

    @property
    def status(self) -> int:
        """The HTTP status of the handshake."""
        return self.handshake.status

    def send_text(self, text: str) -> None:
        """One text message, in one frame."""
        self.send_frame(TEXT, text.encode())

    def send_json(self, message: object) -> None:
        """One JSON message, in one frame."""
        self.send_text(json.dumps(message))

    def send_close(self, code: int = 1000, reason: str = "") -> None:
        """The closing handshake's first half."""
        self.send_frame(CLOSE, struct.pack(">H", code) + reason.encode())

    def send_frame(
        self, opcode: int, payload: bytes = b"", *, final: bool = True, masked: bool = True, reserved: int = 0
    ) -> None:
        """One frame, right or wrong."""
        head = bytearray([(0x80 if final else 0) | reserved << 4 | opcode])
        size = len(payload)
        mark = 0x80 if masked else 0
        if size < 126:
            head.append(mark | size)
        elif size < 2**16:
            head += struct.pack(">BH", mark | 126, size)
        else:
            head += struct.pack(">BQ", mark | 127, size)
        if masked:
            key = os.urandom(4)
            head += key
            stream = key * (size // 4 + 1)
            payload = (int.from_bytes(payload, "big") ^ int.from_bytes(stream[:size], "big")).to_bytes(size, "big")
        self.send_raw(bytes(head) + payload)

    def send_raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self.socket.settimeout(self.deadline)
        self.socket.sendall(data)

    def receive(self, deadline: float | None = None) -> Frame:
        """The next frame, of whatever kind.

        Raises:
            Closed: with `DROPPED`, when the connection ends; a close frame is returned like any other.
            TimeoutError: nothing whole came within the deadline.
        """
        until = time.monotonic() + (self.deadline if deadline is None else deadline)
        first, second = self._take(2, until)
        size = second & 0x7F
        if size == 126:
            size = struct.unpack(">H", self._take(2, until))[0]
        elif size == 127:
            size = struct.unpack(">Q", self._take(8, until))[0]
        if second & 0x80:
            raise AssertionError("the server masked a frame (RFC 6455, 5.1)")
        return Frame(first & 0x0F, bytes(self._take(size, until)), bool(first & 0x80), first >> 4 & 7)

    def receive_text(self, deadline: float | None = None) -> str:
        """The next text message; pings on the way are answered, pongs are passed over.

        Raises:
            Closed: the connection ended first.
            TimeoutError: no message came within the deadline.
        """
        until = time.monotonic() + (self.deadline if deadline is None else deadline)
        while True:
            frame = self.receive(max(0.0, until - time.monotonic()))
            if frame.opcode == TEXT and frame.final:
                return frame.text
            if frame.opcode == CLOSE:
                raise Closed(frame.code, frame.reason)
            if frame.opcode == PING:
                self.send_frame(PONG, frame.payload)
            elif frame.opcode != PONG:
                raise AssertionError(f"a whole text message was expected, not {frame}")

    def receive_json(self, deadline: float | None = None) -> dict[str, Any]:
        """The next message as an object; see `receive_text`."""
        message = json.loads(self.receive_text(deadline))
        if not isinstance(message, dict):
            raise AssertionError(f"a JSON object was expected, not {message!r}")
        return message

    def receive_close(self, deadline: float | None = None) -> Closed:
        """How the connection ends; messages that come before are passed over.

        Raises:
            TimeoutError: it did not end within the deadline.
        """
        until = time.monotonic() + (self.deadline if deadline is None else deadline)
        while True:
            try:
                frame = self.receive(max(0.0, until - time.monotonic()))
            except Closed as end:
                return end
            if frame.opcode == CLOSE:
                return Closed(frame.code, frame.reason)

    def close(self) -> None:
        """Drops the connection, without a closing handshake."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, size: int, until: float) -> bytearray:
        while len(self._buffer) < size:
            chunk = _read(self.socket, until)
            if not chunk:
                raise Closed(DROPPED)
            self._buffer += chunk
        taken = self._buffer[:size]
        del self._buffer[:size]
        return taken


def connect(
    port: int,
    path: str = "/livepush/ws",
    headers: Iterable[tuple[str, str]] = (),
    *,
    subprotocols: Iterable[str] = (),
    host: str = "127.0.0.1",
    deadline: float = 10.0,
) -> WebSocket:
    """Opens a connection and upgrades it.

    Args:
        port: of the server on `host`.
        path: with the query.
        headers: of the request, beside those of the upgrade; one named `Host` takes the place of the usual one.
        subprotocols: offered to the server.
        host: an address.
        deadline: seconds for the handshake, and for each later wait.

    Returns:
        The connection, also when the server refused: see its `status`.

    Raises:
        OSError: nothing listens there.
        Closed: the server dropped the connection without an answer.
        TimeoutError: no answer within the deadline.
    """
    until = time.monotonic() + deadline
    sock = socket.create_connection((host, port), timeout=deadline)
    try:
        return _upgrade(sock, f"{host}:{port}", path, list(headers), list(subprotocols), until, deadline)
    except BaseException:
        sock.close()
        raise


def _upgrade(
    sock: socket.socket,
    authority: str,
    path: str,
    headers: list[tuple[str, str]],
    subprotocols: list[str],
    until: float,
    deadline: float,
) -> WebSocket:
    key = base64.b64encode(os.urandom(16))
    lines = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13")]
    lines.append(("Sec-WebSocket-Key", key.decode()))
    if not any(name.lower() == "host" for name, _ in headers):
        lines.append(("Host", authority))
    if subprotocols:
        lines.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
    request = f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in [*lines, *headers])
    sock.sendall(request.encode("latin-1") + b"\r\n")
    received = bytearray()
    while b"\r\n\r\n" not in received:
        chunk = _read(sock, until)
        if not chunk:
            raise Closed(DROPPED, "no answer to the handshake")
        received += chunk
    head, _, rest = bytes(received).partition(b"\r\n\r\n")
    first, *others = head.decode("latin-1").split("\r\n")
    pairs = tuple((line.partition(":")[0].lower(), line.partition(":")[2].strip()) for line in others)
    handshake = Handshake(int(first.split(" ")[1]), pairs)
    if handshake.status == 101:
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode()
        if handshake.header("Sec-WebSocket-Accept") != accept:
            raise AssertionError("a wrong Sec-WebSocket-Accept (RFC 6455, 4.2.2)")
        return WebSocket(sock, handshake, rest, deadline)
    size = int(handshake.header("Content-Length") or 0)
    while len(rest) < size and (chunk := _read(sock, until)):
        rest += chunk
    return WebSocket(sock, Handshake(handshake.status, pairs, rest), deadline=deadline)


def _read(sock: socket.socket, until: float) -> bytes:
    """Some bytes; none when the other side has ended the connection, in order or not."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("nothing came within the deadline")
    sock.settimeout(left)
    try:
        return sock.recv(65536)
    except (ConnectionResetError, BrokenPipeError):
        return b""
