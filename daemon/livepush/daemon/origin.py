"""Which web origins may use a user's cookie here: the guard against cross-site WebSocket hijacking.

A browser sends a site's cookies with a WebSocket handshake that any page starts, and lets every page read the answers;
only the Origin header tells who asks (RFC 6455, 10.2). So a handshake with a cookie needs an Origin that the site
trusts: one of `LIVEPUSH_ALLOWED_ORIGINS` where that is set, else one of `CSRF_TRUSTED_ORIGINS` or the request's own
origin, if its Host is one that `ALLOWED_HOSTS` names. A `*` in `ALLOWED_HOSTS` names nothing, because the page of an
attacker whose name resolves to this machine would pass it (DNS rebinding); X-Forwarded-Host is never looked at.

Origins are compared as browsers write them (RFC 6454, 6.2): lower case, ASCII, no user, no path; the default port may
be written or left out. Anything else is no browser's, and is refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

NOT_ALLOWED = (
    "this page's origin is not allowed: name it in LIVEPUSH_ALLOWED_ORIGINS or CSRF_TRUSTED_ORIGINS, "
    "as scheme://host:port"
)
NO_ORIGIN = "a request with a cookie must say its Origin"
NOT_AN_ORIGIN = "the Origin header is not one that a browser sends for a page of a site"

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
_PORT = r"(?::([1-9][0-9]{0,4}))?"
_ORIGIN = re.compile(rf"([a-z][a-z0-9+.-]*)://({_NAME}|\[[0-9a-f:.]+\]){_PORT}", re.ASCII)
_PATTERN = re.compile(rf"([a-z][a-z0-9+.-]*)://\*\.({_NAME}){_PORT}", re.ASCII)
_HOST = re.compile(rf"({_NAME}|\[[0-9a-f:.]+\])\.?{_PORT}", re.ASCII)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_MOST_BYTES = 512


class _Origin(NamedTuple):
    """Scheme, host and port, the port never left out where the scheme has a default."""

    scheme: str
    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class OriginSettings:
    """The origins that may use cookies here.

    Attributes:
        allowed: `LIVEPUSH_ALLOWED_ORIGINS`: exact origins and patterns as `https://*.example.com` (any subdomain, not
            the domain itself); None: not set, so that the other three decide.
        trusted: `CSRF_TRUSTED_ORIGINS`, in the same forms; an entry that can't be an origin adds nothing, as in Django.
        hosts: `ALLOWED_HOSTS`: `example.com`, `.example.com` (the domain and its subdomains); `*` adds nothing.
        https_only: the own origin counts only with https, even if the daemon's connection is plain (the site stands
            behind a TLS proxy and never serves http).
        development: `DEBUG`: on a loopback host the own origin counts whatever its port, because `runserver` and the
            daemon have one each. Who can serve a page from this machine's loopback is its developer.

    Raises:
        ValueError: an entry of `allowed` is not an origin.
    """

    allowed: tuple[str, ...] | None = None
    trusted: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    https_only: bool = False
    development: bool = False
    _exact: frozenset[_Origin] = field(init=False, repr=False, compare=False)
    _patterns: tuple[_Origin, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for entry in self.allowed or ():
            if _parse(_ORIGIN, _lower(entry)) is None and _parse(_PATTERN, _lower(entry)) is None:
                raise ValueError(
                    f"LIVEPUSH_ALLOWED_ORIGINS {entry!r}: must be scheme://host or scheme://host:port without a path, "
                    "where the host may begin with '*.' for its subdomains and is in ASCII (xn--...), "
                    "such as 'https://www.example.com'"
                )
        entries = [_lower(entry) for entry in (self.trusted if self.allowed is None else self.allowed)]
        exact = frozenset(origin for entry in entries if (origin := _parse(_ORIGIN, entry)) is not None)
        patterns = tuple(origin for entry in entries if (origin := _parse(_PATTERN, entry)) is not None)
        object.__setattr__(self, "_exact", exact)
        object.__setattr__(self, "_patterns", patterns)

    def verdict(self, origin: bytes | None, host: bytes | None, has_cookie: bool, secure: bool = False) -> str | None:
        """Whether a request may go on.

        Args:
            origin: the Origin header (`only_value` makes it of several), None if there is none.
            host: the Host header, likewise.
            has_cookie: the request has a Cookie header, whatever is in it.
            secure: the daemon's own connection is TLS; where it is plain, a proxy may have taken the TLS off, so that
                http and https are both candidates for the own origin.

        Returns:
            None: it may; else the reason why not, which repeats nothing of the request.
        """
        if origin is None:
            return NO_ORIGIN if has_cookie else None
        claimed = None if len(origin) > _MOST_BYTES else _parse(_ORIGIN, origin.decode("latin-1"))
        if claimed is None:
            return NOT_AN_ORIGIN
        if claimed in self._exact or any(_covers(pattern, claimed) for pattern in self._patterns):
            return None
        if self.allowed is None and host is not None:
            own = self._own(host, secure)
            if claimed in own or (self.development and any(_same_loopback(claimed, each) for each in own)):
                return None
        return NOT_ALLOWED

    def _own(self, host: bytes, secure: bool) -> tuple[_Origin, ...]:
        """The origins that a page of this Host may have; none if `ALLOWED_HOSTS` does not name it."""
        found = None if len(host) > _MOST_BYTES else _HOST.fullmatch(host.decode("latin-1").lower())
        if found is None or not any(_names(pattern.lower(), found[1]) for pattern in self.hosts):
            return ()
        schemes = ("https",) if secure or self.https_only else ("https", "http")
        origins = (_parse(_ORIGIN, f"{scheme}://{found[1]}{':' + found[2] if found[2] else ''}") for scheme in schemes)
        return tuple(origin for origin in origins if origin is not None)


def only_value(values: Sequence[bytes] | None) -> bytes | None:
    """One header's value; several of the same name become one that no rule here accepts (RFC 9110, 5.3)."""
    return b", ".join(values) if values else None


def _lower(entry: object) -> str:
    return entry.lower() if isinstance(entry, str) else ""


def _parse(form: re.Pattern[str], text: str) -> _Origin | None:
    found = form.fullmatch(text)
    if found is None:
        return None
    scheme, host, port = found[1], found[2], found[3]
    if host.startswith("["):
        try:
            host = f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            return None
    if port is not None and int(port) > 65535:
        return None
    return _Origin(scheme, host, _DEFAULT_PORTS.get(scheme) if port is None else int(port))


def _covers(pattern: _Origin, origin: _Origin) -> bool:
    """Whether an origin is a subdomain of a pattern's host; the dot keeps `evilexample.com` out."""
    same = (pattern.scheme, pattern.port) == (origin.scheme, origin.port)
    return same and origin.host.endswith(f".{pattern.host}")


def _same_loopback(origin: _Origin, own: _Origin) -> bool:
    """Whether both are of one loopback host, on whatever ports."""
    return (origin.scheme, origin.host) == (own.scheme, own.host) and own.host in _LOOPBACK


def _names(pattern: str, domain: str) -> bool:
    """As Django compares a Host with an entry of `ALLOWED_HOSTS`, but without `*`."""
    if pattern.startswith("."):
        return domain == pattern[1:] or domain.endswith(pattern)
    return pattern == domain
