"""A small WebSocket client for the livepush daemon: blocking, one thread, the standard library.

It speaks as much of RFC 6455 as the demo needs to look at itself: text messages in one frame, ping and close.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import struct
from typing import Any

ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
SUBPROTOCOL = "livepush.v1"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Refused(Exception):
    """The daemon did not accept the connection, or closed it; the text says how."""


class Listener:
    """One page's connection, welcomed.

    Attributes:
        tab: the id that this "page" gives with its requests.
        channels: the granted channels, each with this user's audience.
    """

    def __init__(self, port: int, origin: str, cookie: str, tab: str, seconds: float = 10) -> None:
        """Connect and say hello.

        Args:
            port: the daemon's, on 127.0.0.1.
            origin: of the page.
            cookie: the Cookie header.
            tab: letters, digits.
            seconds: that each wait may take.

        Raises:
            Refused: no welcome came.
            OSError: the network's.
        """
        self.tab = tab
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self._buffer = b""
        try:
            self._upgrade(port, origin, cookie)
            self._send(TEXT, json.dumps({"op": "hello", "n": 0, "tab": tab}).encode())
            welcome = self._message()
            if welcome is None or welcome.get("op") != "welcome":
                raise Refused(f"no welcome, but {welcome}")
        except BaseException:
            self.close()
            raise
        self.channels: dict[str, str] = {name: each["audience"] for name, each in welcome["channels"].items()}

    def next_event(self) -> dict[str, Any]:
        """The next event; `TimeoutError` if none comes."""
        while True:
            message = self._message()
            if message is not None and message["op"] == "event":
                return message

    def settled(self) -> list[dict[str, Any]]:
        """The events that the daemon has written for this page up to now: those before its answer to a ping."""
        self._send(PING, b"settled")
        events = []
        while (message := self._message()) is not None:
            if message["op"] == "event":
                events.append(message)
        return events

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _upgrade(self, port: int, origin: str, cookie: str) -> None:
        key = base64.b64encode(os.urandom(16))
        lines = [
            "GET /livepush/ws HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key.decode()}",
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
            f"Origin: {origin}",
            f"Cookie: {cookie}",
        ]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        accept = base64.b64encode(hashlib.sha1(key + ACCEPT_GUID).digest())  # noqa: S324 - RFC 6455, 4.2.2
        status = head.split(b"\r\n")[0].decode("latin-1")
        if " 101 " not in status or accept not in head:
            raise Refused(status)

    def _message(self) -> dict[str, Any] | None:
        """The next text message; None for the answer to our ping."""
        while True:
            opcode, payload = self._frame()
            if opcode == TEXT:
                message: dict[str, Any] = json.loads(payload)
                return message
            if opcode == PONG:
                return None
            if opcode == PING:
                self._send(PONG, payload)
            elif opcode == CLOSE:
                code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005
                raise Refused(f"closed with {code} {payload[2:].decode(errors='replace')}".rstrip())

    def _frame(self) -> tuple[int, bytes]:
        first, second = self._take(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._take(8))
        return first & 0x0F, self._take(length)

    def _send(self, opcode: int, payload: bytes) -> None:
        """One masked frame, of less than 126 bytes."""
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self._socket.sendall(bytes((0x80 | opcode, 0x80 | len(payload))) + mask + masked)

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._receive()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _receive(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise Refused("the daemon dropped the connection")
        self._buffer += data
