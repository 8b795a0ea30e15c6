"""A stream of server-sent events as a browser reads it (HTML standard, 9.2.6), and a client that blocks around it."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass
from typing import Any

SECONDS = 20.0
"""How long a client waits for bytes."""


@dataclass(frozen=True)
class Message:
    """What the browser dispatches."""

    type: str
    data: str
    id: str

    @property
    def said(self) -> Any:
        """Its data as JSON."""
        return json.loads(self.data)


class EventSource:
    """Reads one stream.

    Attributes:
        id: the last event id: what comes back as Last-Event-ID.
        retry: milliseconds; None: nothing was said.
    """

    def __init__(self) -> None:
        self.id = ""
        self.retry: int | None = None
        self._rest = b""
        self._data: list[str] = []
        self._type = self._id = ""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now."""
        found: list[Message] = []
        *lines, self._rest = re.split(rb"\r\n|\r|\n", self._rest + data)
        for line in lines:
            if line:
                self._field(line.decode())
                continue
            self.id = self._id
            if self._data:
                found.append(Message(self._type or "message", "\n".join(self._data), self.id))
            self._data, self._type = [], ""
        return found

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isdecimal():
            self.retry = int(value)


class Stream:
    """A client that reads as much as it is told to."""

    def __init__(
        self, port: int, target: str = "/livepush/sse?channels=orders", *headers: str, host: str = "x"
    ) -> None:
        self.source = EventSource()
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self.socket.settimeout(SECONDS)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall("\r\n".join((f"GET {target} HTTP/1.1", f"Host: {host}", *headers)).encode() + b"\r\n\r\n")

    def head(self) -> str:
        """The answer's, without what follows."""
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            piece = self.socket.recv(1)
            if not piece:
                break
            data += piece
        return data.decode()

    def messages(self) -> list[Message]:
        """At least one; none when the stream has ended."""
        while piece := self.socket.recv(65_536):
            if found := self.source.feed(piece):
                return found
        return []

    def until(self, op: str) -> list[Any]:
        """What is said up to such a message."""
        said: list[Any] = []
        while not said or said[-1]["op"] != op:
            found = self.messages()
            assert found, "the stream has ended"
            said += [message.said for message in found]
        return said
