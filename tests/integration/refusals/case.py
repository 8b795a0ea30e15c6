"""All transports of a daemon behind one real port, with a hub and visitors that are made up."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from twisted.web.resource import IResource

from livepush.daemon.front import Front
from livepush.daemon.service import transports
from livepush.daemon.settings import Limits
from tests.clients.rawhttp import Exchange, request
from tests.integration.served import ORIGIN, ServedCase

EVIL = "http://evil.example"
COOKIE = ("Cookie", "sessionid=anna")
OWN = (COOKIE, ("Origin", ORIGIN))
PREFIXES = ("/livepush/sockjs", "/orders")
UPGRADE = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", base64.b64encode(bytes(16)).decode()),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that a page can make.

    Attributes:
        method: of HTTP.
        path: with the query.
        upgrade: whether it is the handshake of a WebSocket.
        by_tag: a script or an iframe makes it, and no Origin comes with it.
        body: None: there is none.
    """

    method: str
    path: str
    upgrade: bool = False
    by_tag: bool = False
    body: bytes | None = None

    def data(self, headers: Iterable[tuple[str, str]]) -> bytes:
        """Its bytes, with these headers beside its own."""
        own = UPGRADE if self.upgrade else ()
        return request(self.method, self.path, [*own, *headers], self.body)


def _sockjs(prefix: str) -> list[Asked]:
    return [
        Asked("GET", f"{prefix}/info"),
        Asked("GET", f"{prefix}/websocket", upgrade=True),
        Asked("GET", f"{prefix}/0/w/websocket", upgrade=True),
        Asked("POST", f"{prefix}/0/x/xhr", body=b""),
        Asked("POST", f"{prefix}/0/s/xhr_streaming", body=b""),
        Asked("GET", f"{prefix}/0/e/eventsource"),
        Asked("GET", f"{prefix}/0/h/htmlfile?c=f", by_tag=True),
        Asked("GET", f"{prefix}/0/j/jsonp?c=f", by_tag=True),
    ]


STREAM = Asked("GET", "/livepush/sse")
OPENING = (
    Asked("GET", "/livepush/ws", upgrade=True),
    STREAM,
    Asked("GET", "/socket.io/?EIO=4&transport=polling"),
    Asked("GET", "/socket.io/?EIO=4&transport=websocket", upgrade=True),
    *(asked for prefix in PREFIXES for asked in _sockjs(prefix)),
)
"""What begins a connection, or would."""

SENDING = (
    Asked("POST", "/socket.io/?EIO=4&transport=polling&sid=nobody", body=b"40"),
    *(Asked("POST", f"{prefix}/0/nobody/xhr_send", body=b'["{}"]') for prefix in PREFIXES),
    *(Asked("POST", f"{prefix}/0/nobody/jsonp_send", by_tag=True, body=b'["{}"]') for prefix in PREFIXES),
)
"""What says something, here to sessions that do not exist."""


class TransportsCase(ServedCase):
    """All addresses of a daemon.

    Attributes:
        legacy: whether SockJS serves the transports of old browsers.
    """

    limits = Limits(message_bytes=4_096, outbound_bytes=262_144, heartbeat_seconds=3_600.0)
    legacy = True

    def endpoints(self, front: Front) -> Mapping[str, IResource]:
        """All of them."""
        return transports(front, PREFIXES[1:], self.legacy)

    def ask(self, asked: Asked, headers: Iterable[tuple[str, str]] = OWN) -> Exchange:
        """Makes a request; by default one of a page of the site, by somebody who is logged in."""
        return Exchange(self.port, asked.data(headers))
