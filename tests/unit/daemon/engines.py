"""Doubles for Engine.IO sessions: requests, WebSockets and an application that remember."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, cast

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.test.requesthelper import DummyRequest

from livepush.daemon.engineio import EngineSession, EngineSettings
from livepush.daemon.settings import Limits
from livepush.wire.engineio import Phase

TIMES = EngineSettings(interval=10.0, timeout=4.0, connect=3.0)


class Request:
    """One HTTP request, and its answer; `raw` is what is given to the session."""

    def __init__(self, body: bytes = b"") -> None:
        self.raw = cast(Any, DummyRequest([b""]))
        self.raw.content = BytesIO(body)

    @property
    def body(self) -> bytes | None:
        """What it was answered; None: it waits."""
        return b"".join(self.raw.written) if self.raw.finished else None

    @property
    def status(self) -> int:
        """Of the answer."""
        return self.raw.responseCode or 200

    def abort(self) -> None:
        """Its client goes."""
        self.raw.processingFailed(Failure(ConnectionDone()))


class FakeSocket:
    """A WebSocket that remembers."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.finished_with: tuple[int, str] | None = None
        self.reading_paused = False
        self.on_write: Callable[[], None] = lambda: None

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self.on_write()

    def finish(self, code: int, reason: str) -> None:
        self.finished_with = self.finished_with or (code, reason)

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False

    def packets(self) -> list[str]:
        """The text messages since the last call."""
        data, found = b"".join(self.written), []
        self.written.clear()
        while data:
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(data[2:10], "big"), 10
            found.append(data[start : start + size].decode())
            data = data[start + size :]
        return found


class FakeApplication:
    """The protocol above, which remembers."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.signs = self.moves = 0
        self.paused: bool | None = None
        self.closed_because: str | None = None

    def message(self, data: str | bytes) -> None:
        self.messages.append(data)

    def heard(self) -> None:
        self.signs += 1

    def resume(self) -> None:
        self.paused = False

    def pause(self) -> None:
        self.paused = True

    def moved(self) -> None:
        self.moves += 1

    def closed(self, reason: str) -> None:
        self.closed_because = reason


def make_session(
    clock: Clock, phase: Phase = Phase.POLLING, limits: Limits | None = None, cookies: str = "sessionid=x"
) -> EngineSession:
    """A session without its application."""
    return EngineSession(TIMES, limits or Limits(), clock, phase, cookies, cookies, lambda _: None)


def poll(session: EngineSession) -> Request:
    """A GET."""
    request = Request()
    session.polled(request.raw)
    return request


def post(session: EngineSession, body: bytes) -> Request:
    """A POST."""
    request = Request(body)
    session.posted(request.raw)
    return request
