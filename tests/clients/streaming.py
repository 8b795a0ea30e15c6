"""A WebSocket client as a Twisted protocol: text messages in, text messages out, as cheap as Python has it.

For tests with many clients in one process. Frames of the server are read without copying more than once; pings are
answered; anything that a test would want to look at closely is the business of `tests.clients.websocket`.
"""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Callable, Iterable

from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from tests.clients.websocket import CLOSE, DROPPED, NO_CODE, PING, PONG, TEXT

OPENING_BYTES = 16_384


class Socket(Protocol):
    """One connection.

    Args:
        headers: of the handshake, beside those of the upgrade.
        opened: called when the handshake is accepted.
        received: called with the text of each message.
        closed: called once, with the close code and the reason; a refused handshake is `DROPPED` with its status line.
    """

    transport: ITransport

    def __init__(
        self,
        path: str,
        headers: Iterable[tuple[str, str]],
        opened: Callable[[], None],
        received: Callable[[str], None],
        closed: Callable[[int, str], None],
    ) -> None:
        self._path, self._headers = path, list(headers)
        self._opened, self._received, self._closed = opened, received, closed
        self._buffer = b""
        self._upgraded = False
        self._code, self._reason = DROPPED, ""

    def connectionMade(self) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {self._path} HTTP/1.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            *(f"{name}: {value}" for name, value in self._headers),
        ]
        self.transport.write("\r\n".join([*lines, "", ""]).encode())

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded and not self._upgrade():
            return
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 2:
            size, start = buffer[at + 1], at + 2
            if size == 126:
                start += 2
                if len(buffer) < start:
                    break
                size = struct.unpack_from(">H", buffer, at + 2)[0]
            elif size == 127:
                start += 8
                if len(buffer) < start:
                    break
                size = struct.unpack_from(">Q", buffer, at + 2)[0]
            if len(buffer) < start + size:
                break
            opcode, at_next = buffer[at] & 0x0F, start + size
            self._frame(opcode, buffer[start:at_next])
            at = at_next
        self._buffer = self._buffer[at:]

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override] # twisted's default is a Failure
        self._closed(self._code, self._reason)

    def send(self, text: str) -> None:
        """One text message."""
        self._send(TEXT, text.encode())

    def close(self) -> None:
        """Drops the connection."""
        self.transport.loseConnection()

    def _upgrade(self) -> bool:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        status = head.split(b"\r\n")[0].decode("latin-1")
        if not end and len(head) < OPENING_BYTES:
            return False
        if " 101 " not in status:
            self._reason = status
            self.transport.loseConnection()
            return False
        self._upgraded, self._buffer = True, rest
        self._opened()
        return True

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self._received(payload.decode())
        elif opcode == PING:
            self._send(PONG, payload)
        elif opcode == CLOSE:
            self._code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else NO_CODE
            self._reason = payload[2:].decode(errors="replace")
            self._send(CLOSE, payload[:2])
            self.transport.loseConnection()

    def _send(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        head = (
            struct.pack(">BB", 0x80 | opcode, 0x80 | size)
            if size < 126
            else struct.pack(">BBH", 0x80 | opcode, 254, size)
        )
        key = os.urandom(4)
        stream = (key * (size // 4 + 1))[:size]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")
        self.transport.write(head + key + masked)
