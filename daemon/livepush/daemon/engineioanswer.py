"""What Engine.IO answers in HTTP: packets, or why not."""

from __future__ import annotations

import json

from twisted.web.http import Request

REFUSALS = {
    0: "Transport unknown",
    1: "Session ID unknown",
    2: "Bad handshake method",
    3: "Bad request",
    4: "Forbidden",
    5: "Unsupported protocol version",
}
"""The codes of Engine.IO's own refusals."""


def respond(request: Request, body: bytes) -> None:
    """Answers with packets, or `ok`."""
    request.setHeader("Content-Type", "text/plain; charset=UTF-8")
    request.setHeader("Content-Length", str(len(body)))
    request.setHeader("Cache-Control", "no-store")
    request.write(body)
    request.finish()


def refuse(request: Request, code: int, status: int = 400) -> None:
    """Answers as stock clients understand it: they open a new session."""
    body = json.dumps({"code": code, "message": REFUSALS[code]}, separators=(",", ":")).encode()
    request.setResponseCode(status)
    request.setHeader("Content-Type", "application/json")
    request.setHeader("Content-Length", str(len(body)))
    request.setHeader("Cache-Control", "no-store")
    request.write(body)
    request.finish()
