"""Short answers in plain HTTP: refusals, health. Nothing of the request is ever repeated in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from twisted.web.http import Request

SECURED = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
"""What every answer says where nothing else is said: it is not kept, not framed, loads nothing, is what it says."""

_REASONS = {
    400: b"Bad Request",
    408: b"Request Timeout",
    413: b"Content Too Large",
    431: b"Request Header Fields Too Large",
}


def bare(status: int) -> bytes:
    """A whole answer without a body, to a request that is not read to its end."""
    headers = [f"{name}: {value}" for name, value in SECURED.items()]
    head = "\r\n".join([*headers, "Content-Length: 0", "Connection: close", "", ""])
    return b"HTTP/1.1 %d %s\r\n%s" % (status, _REASONS[status], head.encode())


def plain(request: Request, code: int, text: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Sets status and headers and gives the body, text of one line or more."""
    body = text.encode().removesuffix(b"\n") + b"\n"
    request.setResponseCode(code)
    secured = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    for name, value in {**secured, **(headers or {})}.items():
        request.setHeader(name, value)
    return body


def unavailable(request: Request, why: str, seconds: int) -> bytes:
    """503: no new client is served here now; he may come again in so many seconds.

    The connection ends with the answer. A browser would ask the same process again over it, which may be about to end,
    while another one accepts from the same socket.
    """
    cast(Any, request.channel).persistent = False
    return plain(request, 503, why, {"Retry-After": str(seconds), "Connection": "close"})
