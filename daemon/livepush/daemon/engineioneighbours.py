"""What an Engine.IO session stands between: the protocol above it, and the WebSocket below."""

from __future__ import annotations

from typing import Protocol


class Application(Protocol):
    """The protocol above."""

    def message(self, data: str | bytes) -> None:
        """A message has come.

        Raises:
            BadMessage: it is none of this protocol; the session ends.
        """

    def heard(self) -> None:
        """The client has given a sign of life."""

    def resume(self) -> None:
        """What is written goes out."""

    def pause(self) -> None:
        """Nothing is to be written until `resume`."""

    def moved(self) -> None:
        """From here on what is written is WebSocket frames, no more pieces of HTTP bodies."""

    def closed(self, reason: str) -> None:
        """The session is over."""


class Socket(Protocol):
    """A WebSocket; see `livepush.daemon.engineiosocket.EngineSocket`."""

    def write(self, data: bytes) -> None:
        """Complete frames."""

    def finish(self, code: int, reason: str) -> None:
        """The closing handshake, after what was written."""

    def pause_reading(self) -> None:
        """No more messages."""

    def resume_reading(self) -> None:
        """Goes on."""
