"""A WebSocket of Engine.IO: it carries a session from its start, or takes one over from polling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from livepush.daemon.engineio import EngineSession
from livepush.daemon.link import WebSocketLink
from livepush.wire.engineio import Phase, Refused

if TYPE_CHECKING:
    from livepush.daemon.engineioendpoint import EngineEndpoint


class EngineSocket(WebSocketLink):
    """One WebSocket.

    Attributes:
        endpoint: makes sessions.
        session: that the handshake names; None: a new one is made.
    """

    endpoint: EngineEndpoint
    session: EngineSession | None = None

    def opened(self, cookies: str) -> None:
        """The upgrade is done."""
        session = self.session
        try:
            if session is None:
                self.session = self.endpoint.open(Phase.WEBSOCKET, cookies, self.place)
                self.session.opened(self)
            else:
                session.attach(self)
        except Refused:
            self.session = None
            self.sendClose(1000, "another WebSocket carries this session")

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A packet."""
        if self.session is not None:
            self.session.framed(self, payload if isBinary else payload.decode())  # Autobahn has validated UTF-8

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """It has ended, however it did."""
        WebSocketLink.onClose(self, wasClean, code, reason)
        self._detach()

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:
        """Whoever begins the closing handshake, and why ever: nothing may follow the frame, so the session leaves."""
        WebSocketLink.sendCloseFrame(self, code, reasonUtf8, isReply)
        self._detach()

    def _detach(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.detached(self)

    def finish(self, code: int, reason: str) -> None:
        """The closing handshake, after what was written."""
        if self._paused:
            self.resume_reading()  # or the peer's answer would not be seen
        self.sendClose(code, reason)

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        WebSocketLink.pauseProducing(self)
        if self.session is not None:
            self.session.block(self)

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        WebSocketLink.resumeProducing(self)
        if self.session is not None:
            self.session.unblock(self)
