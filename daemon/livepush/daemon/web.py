"""The HTTP side of the daemon: its paths, and answers that say little.

transports           each at its path, with all that is below it; see `service.transports`
/healthz  /readyz    see `status`
anything else        404
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from livepush.daemon.status import Health, Place, Readiness

IDLE_SECONDS = 15
"""How long an HTTP connection may take for a request, and stay open after one."""

BODY_BYTES = 2**19
"""Of one request, where nothing else is said."""


def resources(
    transports: Mapping[str, IResource],
    token: str | None,
    connections: Callable[[], int],
    reasons: Callable[[], Sequence[str]],
) -> Place:
    """The tree of all paths.

    Args:
        transports: by path, such as `/livepush/ws`; what stands at one answers for all that is below it, so that none
            may be below another.
        token: who shows it may read the status from anywhere.
        connections: how many clients there are.
        reasons: why no new ones are served now.
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
    root.putChild(b"healthz", Health(token, connections))
    root.putChild(b"readyz", Readiness(token, reasons))
    return root


class Web(Site):
    """The HTTP side: no line per request in the log, and an idle connection is closed.

    Args:
        root: of all paths.
        reactor: that it runs on.
        body_bytes: of one request; over it 413, and the connection is closed, before the rest is read.
    """

    noisy = False

    def __init__(self, root: IResource, reactor: Any, body_bytes: int = BODY_BYTES) -> None:
        Site.__init__(self, root, requestFactory=_Request, timeout=IDLE_SECONDS, reactor=reactor)
        self.displayTracebacks = False
        self.body_bytes = body_bytes

    def log(self, request: Any) -> None:
        """Nothing: who asks what is the business of the proxy in front, and no client can fill the disk."""


class _Request(Request):
    """A request whose body is bounded, and whose answer says nothing about the software that made it."""

    _over = False

    def gotLength(self, length: int | None) -> None:
        """The head is there; None: the body comes in chunks."""
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
        self._over = True
        channel.transport.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        channel.loseConnection()

    def process(self) -> None:
        """Answers; what was refused before is over."""
        if not self._over:
            Request.process(self)

    def render(self, resrc: IResource) -> None:
        self.responseHeaders.removeHeader(b"server")
        self.responseHeaders.setRawHeaders(b"x-content-type-options", [b"nosniff"])
        Request.render(self, resrc)
