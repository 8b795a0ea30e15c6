"""`/healthz` and `/readyz`: is the process alive, and may clients be sent to it; and what every other path answers.

Both are for the machine itself and for who holds the token: they are answered on a loopback connection without any
header that a proxy adds, or with `Authorization: Bearer <LIVEPUSH_STATUS_TOKEN>`. To anybody else they do not exist.

    path       answer
    --------   --------------------------------------------------------------------------------------------------------
    /healthz   200 {"alive": true, "connections": 12}
    /readyz    200 {"ready": true}, or 503 {"ready": false, "reasons": ["broker: connecting to 10.0.0.5:5672"]}
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping, Sequence
from hmac import compare_digest

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.web.http import Request
from twisted.web.resource import Resource

from livepush.daemon.response import plain

_FORWARDING = (b"forwarded", b"via", b"x-real-ip")


class Place(Resource):
    """A path that holds nothing itself: 404, in plain text that repeats nothing of the request."""

    def __init__(self) -> None:
        Resource.__init__(self)

    def getChild(self, path: bytes, request: Request) -> Resource:
        """Nothing below that was not put there."""
        return Place()

    def render(self, request: Request) -> bytes:
        """404, whatever the method."""
        return plain(request, 404, "There is nothing here.")


class Health(Place):
    """`/healthz`: the process runs and its reactor turns."""

    def __init__(self, token: str | None, connections: Callable[[], int]) -> None:
        super().__init__()
        self._token, self._connections = token, connections

    def render(self, request: Request) -> bytes:
        """200, to those who may know."""
        if not may_ask(request, self._token):
            return super().render(request)
        return _json(request, 200, {"alive": True, "connections": self._connections()})


class Readiness(Place):
    """`/readyz`: whether new clients are served; a load balancer asks."""

    def __init__(self, token: str | None, reasons: Callable[[], Sequence[str]]) -> None:
        """Takes what says why it is not ready; no reason: it is."""
        super().__init__()
        self._token, self._reasons = token, reasons

    def render(self, request: Request) -> bytes:
        """200 or 503, to those who may know."""
        if not may_ask(request, self._token):
            return super().render(request)
        reasons = list(self._reasons())
        if reasons:
            return _json(request, 503, {"ready": False, "reasons": reasons})
        return _json(request, 200, {"ready": True})


def may_ask(request: Request, token: str | None) -> bool:
    """Whether who asks is this machine itself, or holds the token."""
    if token is not None:
        expected = b"Bearer " + token.encode("ascii")
        given = request.requestHeaders.getRawHeaders(b"authorization") or []
        if len(given) == 1 and compare_digest(given[0], expected):
            return True
    return _is_loopback(request) and not _is_forwarded(request)


def _is_loopback(request: Request) -> bool:
    """A unix socket is none: what stands at its other end is a proxy."""
    peer = request.getClientAddress()
    if not isinstance(peer, IPv4Address | IPv6Address):
        return False
    try:
        address = ipaddress.ip_address(peer.host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _is_forwarded(request: Request) -> bool:
    for name, _ in request.requestHeaders.getAllRawHeaders():
        plain = name.lower().replace(b"_", b"-")
        if plain in _FORWARDING or plain.startswith(b"x-forwarded"):
            return True
    return False


def _json(request: Request, code: int, content: Mapping[str, object]) -> bytes:
    if request.method not in (b"GET", b"HEAD"):
        return plain(request, 405, "This address is read with GET.", {"Allow": "GET, HEAD"})
    return plain(request, code, json.dumps(content), {"Content-Type": "application/json"})
