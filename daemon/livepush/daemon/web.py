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
    """The HTTP side: no line per request in the log, and an idle connection is closed."""

    noisy = False

    def __init__(self, root: IResource, reactor: Any) -> None:
        Site.__init__(self, root, requestFactory=_Request, timeout=IDLE_SECONDS, reactor=reactor)
        self.displayTracebacks = False

    def log(self, request: Any) -> None:
        """Nothing: who asks what is the business of the proxy in front, and no client can fill the disk."""


class _Request(Request):
    """A request whose answer says nothing about the software that made it."""

    def render(self, resrc: IResource) -> None:
        self.responseHeaders.removeHeader(b"server")
        self.responseHeaders.setRawHeaders(b"x-content-type-options", [b"nosniff"])
        Request.render(self, resrc)
