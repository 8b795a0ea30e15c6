"""The HTTP side of the daemon: its paths, and answers that say little.

transports           each at its path, with all that is below it; see `service.transports`
/healthz  /readyz  /metrics    see `status`
anything else        404
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from twisted.internet.protocol import Protocol
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from livepush.daemon.admission import Admission
from livepush.daemon.httpchannel import Channel
from livepush.daemon.response import SECURED
from livepush.daemon.settings import Limits
from livepush.daemon.status import Exposition, Health, Place, Readiness, Status
from livepush.daemon.turns import Turns

IDLE_SECONDS = 15
"""How long an HTTP connection may take for a request, and stay open after one."""


def resources(transports: Mapping[str, IResource], status: Status) -> Place:
    """The tree of all paths.

    Args:
        transports: by path, such as `/livepush/ws`; what stands at one answers for all that is below it, so that none
            may be below another.
        status: what may be known of this process.
    """
    root = Place()
    for path, transport in transports.items():
        *folders, last = path.strip("/").encode().split(b"/")
        place = root
        for folder in folders:
            below = place.children.get(folder)
            if not isinstance(below, Place):
                below = Place()
                place.putChild(folder, below)
            place = below
        place.putChild(last, transport)
    root.putChild(b"healthz", Health(status))
    root.putChild(b"readyz", Readiness(status))
    root.putChild(b"metrics", Exposition(status))
    return root


class Web(Site):
    """The HTTP side: no line per request in the log, and an idle connection is closed.

    Args:
        root: of all paths.
        reactor: that it runs on.
        admission: who is let in, and the limits: a body over `Limits.body_bytes` is answered 413, and the connection
            is closed, before the rest is read; for those of a head see `httpchannel`.
    """

    noisy = False

    def __init__(self, root: IResource, reactor: Any, admission: Admission | None = None) -> None:
        Site.__init__(self, root, requestFactory=_Request, timeout=IDLE_SECONDS, reactor=reactor)
        self.displayTracebacks = False
        self._admission = admission or Admission(Limits())
        self._turns = Turns(reactor)
        self.body_bytes = self._admission.limits.body_bytes

    def buildProtocol(self, addr: Any) -> Any:
        """One HTTP connection; one that there is no room for ends at once."""
        admission = self._admission
        place = admission.socket_place(addr)
        if not admission.has_room(place):
            return _Shut()
        channel: Any = Channel(admission.limits, admission.sockets, place, self._turns)
        channel.factory = channel.site = self
        channel.requestFactory, channel.timeOut = self.requestFactory, self.timeOut
        channel.callLater = self.reactor.callLater
        return channel

    def acceptableProtocols(self) -> list[bytes]:
        """Of TLS: HTTP/1.1, as long as `Channel` speaks nothing else."""
        return [b"http/1.1"]

    def log(self, request: Any) -> None:
        """Nothing: who asks what is the business of the proxy in front, and no client can fill the disk."""


class _Shut(Protocol):
    """Nobody is let in."""

    def connectionMade(self) -> None:
        """Ends it. TLS has no other way to refuse a connection."""
        cast(Any, self.transport).abortConnection()


class _Request(Request):
    """A request whose body is bounded, and whose answer says nothing about the software that made it."""

    _over = False

    def gotLength(self, length: int | None) -> None:
        """The head is there; None: the body comes in chunks."""
        if cast(Any, self.channel).fault(self) is not None:
            self._end(400)
        else:
            self._bound(length or 0)
        Request.gotLength(self, 0 if self._over else length)

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the body."""
        assert self.content is not None
        self._bound(self.content.tell() + len(data))
        if not self._over:
            Request.handleContentChunk(self, data)

    def _bound(self, size: int) -> None:
        channel: Any = self.channel
        if self._over or size <= channel.site.body_bytes:
            return
        self._end(413)

    def _end(self, status: int) -> None:
        self._over = True
        cast(Any, self.channel).refuse(status)

    def process(self) -> None:
        """Answers; what was refused before is over."""
        if not self._over:
            Request.process(self)

    def render(self, resrc: IResource) -> None:
        self._secure()
        Request.render(self, resrc)

    def _handleStar(self) -> None:
        self._secure()  # `OPTIONS *` is twisted.web's to answer, with no resource
        Request._handleStar(self)

    def _secure(self) -> None:
        self.responseHeaders.removeHeader(b"server")
        for name, value in SECURED.items():
            self.responseHeaders.setRawHeaders(name, [value])
