"""A stream of server-sent events as a browser reads it (HTML standard, 9.2.6), bytes in and messages out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any


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
