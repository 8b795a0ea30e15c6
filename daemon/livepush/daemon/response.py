"""Short answers in plain HTTP: refusals, health. Nothing of the request is ever repeated in one."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.web.http import Request


def plain(request: Request, code: int, text: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Sets status and headers and gives the body, one line of text."""
    body = text.encode() + b"\n"
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
