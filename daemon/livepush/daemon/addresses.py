"""Where a client is: the address of his TCP connection, or what a trusted proxy says; and how many are where.

A proxy writes into X-Forwarded-For who has asked it, behind what it was told itself. What it was told is the client's
word; only what a trusted proxy has added counts. So the chain is walked from its end, from proxy to proxy, up to the
first address that is none of ours (the rightmost-untrusted rule). A word there that is no address ends the walk at the
proxy that has told it.

    peer                       header                            the client is at
    ------------------------   -------------------------------   ----------------------------------------------------
    no trusted proxy           any                               the peer
    a trusted proxy            none                              the peer
                               X-Forwarded-For                   the last of its addresses that is no trusted proxy
                               Forwarded (RFC 7239), where       likewise, of its `for=`
                               there is no X-Forwarded-For

A proxy that writes Forwarded has to take X-Forwarded-For away. Names with underscores (`X_Forwarded_For`) are never
read; such a request is refused (`hygiene`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UNIX = "unix"
"""In the list of trusted proxies: whoever comes by a unix socket."""

MOST_HOPS = 20
"""How many addresses are looked at, from the end."""

_NODE = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?|([0-9.]{7,15})(?::[0-9]{1,5})?|([0-9A-Fa-f:.]{2,45})")
_FOR = re.compile(r'(?:^|;)[ \t]*for[ \t]*=[ \t]*(?:"([^"\\]*)"|([^";, \t]*))[ \t]*(?=;|$)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies that are believed.

    Attributes:
        networks: their addresses.
        by_unix: whether whoever comes by a unix socket is one.
    """

    networks: tuple[Network, ...] = ()
    by_unix: bool = False

    @classmethod
    def of(cls, texts: Iterable[str]) -> Proxies:
        """As `LIVEPUSH_TRUSTED_PROXIES` names them.

        Raises:
            ValueError: one is neither an address, nor a network, nor `unix`.
        """
        texts = tuple(texts)
        return cls(tuple(ipaddress.ip_network(text) for text in texts if text != UNIX), UNIX in texts)

    def trusts(self, address: Address | None) -> bool:
        """Whether it is one of them; None: a unix socket."""
        if address is None:
            return self.by_unix
        return any(address in network for network in self.networks)

    def client(self, peer: Address | None, forwarded_for: Sequence[str], forwarded: Sequence[str]) -> Address | None:
        """Who has asked; None: by a unix socket, and nobody says who.

        Args:
            peer: of the connection; None: a unix socket.
            forwarded_for: the values of X-Forwarded-For, in order.
            forwarded: those of Forwarded.
        """
        if not self.trusts(peer):
            return peer
        if forwarded_for:
            hops = [text.strip() for text in ",".join(forwarded_for).rsplit(",", MOST_HOPS)[-MOST_HOPS:]]
        else:
            elements = ",".join(forwarded).rsplit(",", MOST_HOPS)[-MOST_HOPS:]
            hops = [_for_of(element) for element in elements] if forwarded else []
        client = peer
        for hop in reversed(hops):
            address = parse(hop)
            if address is None:
                break
            client = address
            if not self.trusts(address):
                break
        return client


def parse(text: str) -> Address | None:
    """An address, with its port or without; None: it is none. One of IPv4 that is written as IPv6 is of IPv4."""
    found = _NODE.fullmatch(text)
    if found is None:
        return None
    try:
        address = ipaddress.ip_address(found[1] or found[2] or found[3])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def place_of(address: Address | None) -> str | None:
    """What is counted as one: an address, of IPv6 its /64, which is what one customer has at least.

    Returns:
        None: nothing is; this machine itself and unix sockets, where the clients of a proxy would be counted as one.
    """
    if address is None or address.is_loopback:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return f"{ipaddress.IPv6Network((address, 64), strict=False).network_address}/64"
    return str(address)


class Census:
    """How many are at each place.

    Attributes:
        total: everywhere, those at no place included.
    """

    __slots__ = ("_at", "total")

    def __init__(self) -> None:
        self._at: dict[str, int] = {}
        self.total = 0

    def at(self, place: str | None) -> int:
        """How many are there; at no place: none."""
        return 0 if place is None else self._at.get(place, 0)

    def enter(self, place: str | None) -> None:
        """One more."""
        self.total += 1
        if place is not None:
            self._at[place] = self._at.get(place, 0) + 1

    def leave(self, place: str | None) -> None:
        """One less, of those that have entered there."""
        self.total -= 1
        if place is None:
            return
        left = self._at[place] - 1
        if left:
            self._at[place] = left
        else:
            del self._at[place]


def _for_of(element: str) -> str:
    found = _FOR.search(element)
    return "" if found is None else (found[1] if found[1] is not None else found[2])
