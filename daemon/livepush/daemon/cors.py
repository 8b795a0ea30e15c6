"""What a page of which origin may do over plain HTTP: the same verdict as for a WebSocket, and the headers of CORS.

A browser sends no Origin with a GET to the page's own origin. Such a request, with a cookie, is answered unless it says
itself that another site's page made it (`Sec-Fetch-Site`): a GET changes nothing here, and no other page can read the
answer, because only an allowed Origin gets the headers that would let it (Fetch standard, 3.2). A POST always says its
Origin, so that one without, and with a cookie, is refused: this is what stands for Django's CSRF token here.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

from twisted.web.http import Request

from livepush.daemon.origin import only_value

YEAR_SECONDS = 31_536_000


class Origins(Protocol):
    """See `livepush.daemon.origin.OriginSettings`."""

    def verdict(self, origin: bytes | None, host: bytes | None, has_cookie: bool, secure: bool = False) -> str | None:
        """None: it may go on; else why not."""


def refusal(request: Request, origins: Origins) -> str | None:
    """Why this request is refused, in words that repeat nothing of it; None: it is not."""
    headers = request.requestHeaders
    origin = only_value(headers.getRawHeaders(b"origin"))
    has_cookie = headers.hasHeader(b"cookie")
    if origin is None and request.method in (b"GET", b"HEAD"):
        site = only_value(headers.getRawHeaders(b"sec-fetch-site"))
        has_cookie = has_cookie and site not in (None, b"same-origin", b"none")
    return origins.verdict(origin, only_value(headers.getRawHeaders(b"host")), has_cookie, request.isSecure())


def allow(request: Request) -> None:
    """Lets the page that made a request read the answer; to be called only when nothing refused it."""
    request.setHeader("Vary", "Origin")
    origin = only_value(request.requestHeaders.getRawHeaders(b"origin"))
    if origin is not None:
        request.setHeader(b"Access-Control-Allow-Origin", origin)
        request.setHeader("Access-Control-Allow-Credentials", "true")


def preflight(request: Request, methods: str) -> bytes:
    """The answer to the question whether such a request may be made, which `refusal` did not refuse: 204."""
    allow(request)
    request.setResponseCode(204)
    cast(Any, request).defaultContentType = None
    request.setHeader("Access-Control-Allow-Methods", methods)
    request.setHeader("Access-Control-Allow-Headers", "Content-Type")
    request.setHeader("Access-Control-Max-Age", str(YEAR_SECONDS))
    return b""
