"""`/healthz`, `/readyz` and `/metrics`: is the process alive, may clients be sent to it, and what does it do; and what
every other path answers.

They are for the machine itself and for who holds the token: they are answered on a loopback connection without any
header that a proxy adds, or with `Authorization: Bearer <LIVEPUSH_STATUS_TOKEN>`. To anybody else they do not exist.
Where processes share their sockets, each has them for itself at `--status`.

    path       answer
    --------   --------------------------------------------------------------------------------------------------------
    /healthz   200 {"alive": true, "connections": 12}
    /readyz    200 {"ready": true}, or 503 {"ready": false, "reasons": ["broker: connecting to 10.0.0.5:5672"]}
    /metrics   200, Prometheus' text format; see `metrics`
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest

from prometheus_client import CONTENT_TYPE_LATEST
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
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


@dataclass(frozen=True, slots=True)
class Status:
    """What may be known of this process, and by whom.

    Attributes:
        token: who shows it may ask from anywhere.
        connections: how many clients there are.
        reasons: why no new ones are served now; none: they are.
        metrics: the numbers, as text.
        by_socket: who has reached a unix socket may ask: it was made for that, and its file has an owner and a mode.
    """

    token: str | None = field(default=None, repr=False)
    connections: Callable[[], int] = int
    reasons: Callable[[], Sequence[str]] = tuple
    metrics: Callable[[], str] = str
    by_socket: bool = False

    def may_ask(self, request: Request) -> bool:
        """Whether who asks is this machine itself, or holds the token."""
        if self.token is not None:
            expected = b"Bearer " + self.token.encode("ascii")
            given = request.requestHeaders.getRawHeaders(b"authorization") or []
            if len(given) == 1 and compare_digest(given[0], expected):
                return True
        peer = request.getClientAddress()
        if isinstance(peer, UNIXAddress) and self.by_socket:
            return True
        return _is_loopback(peer) and not _is_forwarded(request)


class _Guarded(Place):
    def __init__(self, status: Status) -> None:
        super().__init__()
        self._status = status

    def render(self, request: Request) -> bytes:
        """The answer, to those who may know."""
        if not self._status.may_ask(request):
            return super().render(request)
        if request.method not in (b"GET", b"HEAD"):
            return plain(request, 405, "This address is read with GET.", {"Allow": "GET, HEAD"})
        return self._answer(request, self._status)

    def _answer(self, request: Request, status: Status) -> bytes:
        raise NotImplementedError


class Health(_Guarded):
    """`/healthz`: the process runs and its reactor turns."""

    def _answer(self, request: Request, status: Status) -> bytes:
        return _json(request, 200, {"alive": True, "connections": status.connections()})


class Readiness(_Guarded):
    """`/readyz`: whether new clients are served; a load balancer asks."""

    def _answer(self, request: Request, status: Status) -> bytes:
        reasons = list(status.reasons())
        if reasons:
            return _json(request, 503, {"ready": False, "reasons": reasons})
        return _json(request, 200, {"ready": True})


class Exposition(_Guarded):
    """`/metrics`: see `metrics`."""

    def _answer(self, request: Request, status: Status) -> bytes:
        return plain(request, 200, status.metrics(), {"Content-Type": CONTENT_TYPE_LATEST})


def _is_loopback(peer: object) -> bool:
    """A unix socket is none: what stands at its other end is a proxy."""
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
    return plain(request, code, json.dumps(content), {"Content-Type": "application/json"})
