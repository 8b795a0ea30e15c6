"""One answer that carries frames of a SockJS session to its client, over HTTP."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.web.http import Request
from zope.interface import implementer

from livepush.wire import sockjshttp
from livepush.wire.sockjshttp import Kind


class Owner(Protocol):
    """The session."""

    def answered(self) -> None:
        """The answer is full: the client asks anew."""

    def lost(self) -> None:
        """The client has gone before that."""

    def block(self) -> None:
        """The client does not read."""

    def unblock(self) -> None:
        """It reads again."""


@implementer(IPushProducer)
class Receiver:
    """A request of a kind of receiver, which stays open until it is full.

    Args:
        request: whose headers have been set, all but those of the kind.
        kind: how frames are written.
        callback: of the page; of jsonp and htmlfile.
        most: bytes of frames that a streaming answer carries; the others carry one frame.

    Attributes:
        blocked: the client does not read.
        beats: signs of life that were written.
    """

    __slots__ = ("_callback", "_kind", "_left", "_owner", "_request", "beats", "blocked")

    def __init__(self, request: Request, kind: Kind, callback: str, most: int) -> None:
        self._request: Request | None = request
        self._kind, self._callback = kind, callback
        self._left = most if kind.streams else 1
        self._owner: Owner | None = None
        self.blocked = False
        self.beats = 0
        request.setHeader("Content-Type", kind.content_type)
        # A proxy that gathers answers would keep the frames (nginx).
        request.setHeader("X-Accel-Buffering", "no")
        if kind.legacy:  # a page that a frame holds, and that runs its own scripts
            request.responseHeaders.removeHeader(b"content-security-policy")
        request.notifyFinish().addErrback(self._lost)
        if kind.streams:
            request.registerProducer(self, True)
            request.write(sockjshttp.prelude(kind, callback))

    def serve(self, owner: Owner) -> None:
        """From here on it is this session's."""
        self._owner = owner

    def write(self, frame: bytes) -> None:
        """One frame; after the last that has room the answer ends."""
        if self._request is None:
            return
        data = sockjshttp.wrap(self._kind, frame, self._callback)
        if not self._kind.streams:
            self._request.setHeader("Content-Length", str(len(data)))
        self._left -= len(data)
        self._request.write(data)
        if self._left <= 0:
            self.end()

    def end(self) -> None:
        """The answer is complete, and the session is told."""
        owner = self._owner
        if self.finish() and owner is not None:
            owner.answered()

    def finish(self) -> bool:
        """The answer is complete; whether it was not before."""
        request, self._request, self._owner = self._request, None, None
        if request is None:
            return False
        if self._kind.streams:
            request.unregisterProducer()
        request.finish()
        return True

    def abort(self) -> None:
        """The client gets nothing more, not even the end."""
        request, self._request, self._owner = self._request, None, None
        if request is not None:
            request.loseConnection()

    def _lost(self, _: Any) -> None:
        owner, self._request, self._owner = self._owner, None, None
        if owner is not None:
            owner.lost()

    # -- as the request's producer -------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self.blocked = True
        if self._owner is not None:
            self._owner.block()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        self.blocked = False
        if self._owner is not None:
            self._owner.unblock()

    def stopProducing(self) -> None:
        """The transport has gone; `_lost` follows."""
