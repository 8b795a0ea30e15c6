"""Who is let in: how many sockets, and how many connections of one address.

Sockets are counted by the address of TCP, before anything was read from them; connections by where the client is, which
a trusted proxy may tell (`addresses`). A proxy's sockets are many clients', and are counted together only.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.web.http import Request

from livepush.daemon.addresses import Address, Census, Proxies, parse, place_of
from livepush.daemon.settings import Limits

SPARE_SOCKETS = 100
"""Beside the connections: polls, health checks, and who is about to be refused in words."""


class Admission:
    """The doorkeeper of a process.

    Args:
        limits: of the process.
        proxies: that are believed.
        visitors: where connections are counted.

    Attributes:
        sockets: all that have asked for nothing yet by their place, the others at none.
        visitors: connections by their place.
    """

    def __init__(self, limits: Limits, proxies: Proxies | None = None, visitors: Census | None = None) -> None:
        self.limits = limits
        self.sockets = Census()
        self.visitors = Census() if visitors is None else visitors
        self._proxies = proxies or Proxies()

    def socket_place(self, peer: Any) -> str | None:
        """As what a socket is counted that was accepted from this address; None: not by itself."""
        address = _address_of(peer)
        return None if address is None or self._proxies.trusts(address) else place_of(address)

    def has_room(self, place: str | None) -> bool:
        """Whether one socket more may be at this place."""
        limits, sockets = self.limits, self.sockets
        return sockets.total < limits.connections + SPARE_SOCKETS and sockets.at(place) < limits.address_connections

    def place(self, request: Request) -> str | None:
        """Where the client of a request is; None: nowhere that is counted."""
        headers = request.requestHeaders
        told = ([value.decode("latin-1") for value in headers.getRawHeaders(name, [])] for name in _TOLD)
        return place_of(self._proxies.client(_address_of(request.getClientAddress()), *told))

    def is_crowded(self, place: str | None) -> bool:
        """Whether as many connections are at this place as may be."""
        return self.visitors.at(place) >= self.limits.address_connections


_TOLD = (b"x-forwarded-for", b"forwarded")


def _address_of(peer: Any) -> Address | None:
    """None: a unix socket."""
    if not isinstance(peer, IPv4Address | IPv6Address):
        return None
    return parse(peer.host.partition("%")[0]) or ipaddress.IPv4Address(0)
