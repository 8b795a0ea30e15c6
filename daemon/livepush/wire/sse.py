"""Server-sent events: the native messages as the stream of one `EventSource`, which only listens.

    GET /livepush/sse?channels=orders,chat&tab=k3f9&since=<position>
        channels   fixed for the stream; missing or empty: the declared ones
        tab        the page's random id, 1 to 64 of A-Z a-z 0-9 _ -, which names what its own requests caused
        since      the position to go on from, on all channels; the header Last-Event-ID, which the browser sends when
                   it comes back, is newer and goes before it

A stream is blocks of lines, with an empty line after each; no message has a line break in it.

    block                               when
    ---------------------------------   --------------------------------------------------------------------------------
    retry: 700                          first: milliseconds after which the browser comes back
    id: <position> <event id>           an `event`, which is replayed or live: the native message as it is. Of one that
    data: {"op":"event",...}            is not logged there is no `id`
    id: <position>                      `welcome`, after what is replayed: what is granted
    data: {"op":"welcome",...}
    data: {"op":"resync",...}           also `gone`, `back` and `presence`
    id: <position>                      every `heartbeat` seconds: moves the id, and the browser dispatches nothing
    data: {"op":"close","code":4000,    last: the stream ends; the codes of `livepush.wire.closing`
           "reason":"..."}

`data` is always a native message and never has an `event:`, because a name of an event may be `error` or `open`, which
a browser dispatches itself.

The one position stands for all channels of the stream. So it moves only where everything before it has been told on
all of them: `resync` and `back`, of which several may follow each other, do not move it, and a stream that ends between
two of them resumes before both.

Source: HTML standard, 9.2 "Server-sent events". The id may have no NUL, LF or CR in it; positions and event ids are
visible ASCII. Bounds: `POSITION_CHARS` of a position, the request's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from livepush.broker.envelope import Event, Json
from livepush.wire.errors import BadMessage
from livepush.wire.native import NativeEncoder, event_text, text, ticket_of
from livepush.wire.requests import POSITION_CHARS, Hello, Welcome

_TAB = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class SSEEncoder(NativeEncoder):
    """The native messages as blocks of a stream."""

    overlaps = False  # an EventSource comes back after the end of its stream

    def __init__(self) -> None:
        super().__init__(_block, "sse")

    def event(self, event: Event, view: Json, id: str | None, ts: int, at: str | None) -> bytes:  # noqa: A002 - the word on the wire
        """An event, with its position where it has one."""
        data = _block(event_text(event, view, id, ts, at))
        return data if at is None else f"id: {at} {id}\n".encode() + data

    def welcome(self, n: int | None, welcome: Welcome) -> bytes:
        """What is granted; whatever was missed stands before it."""
        return f"id: {welcome.at}\n".encode() + super().welcome(n, welcome)

    def heartbeat(self, at: str) -> bytes:
        """Moves the id."""
        return f"id: {at}\n\n".encode()


def retry_block(milliseconds: int) -> bytes:
    """How long the browser waits before it comes back."""
    return f"retry: {milliseconds}\n\n".encode()


def close_block(code: int, reason: str) -> bytes:
    """Why the stream ends."""
    return _block(text({"op": "close", "code": code, "reason": reason}))


def hello_of(query: Mapping[bytes, Sequence[bytes]], last_event_id: bytes | None) -> Hello:
    """What a request asks for.

    Args:
        query: the values of each field.
        last_event_id: the header.

    Raises:
        BadMessage: a field is there twice, or is not what it must be.
    """
    channels, tab = _only(query, b"channels"), _only(query, b"tab")
    if tab and not _TAB.fullmatch(tab):
        raise BadMessage("tab is 1 to 64 of A-Z a-z 0-9 _ -")
    # What stands behind the blank is for the client; what is no position is answered with a resync.
    since = (last_event_id or _only(query, b"since").encode()).decode("latin-1").partition(" ")[0][:POSITION_CHARS]
    named = dict.fromkeys(channels.split(",")) if channels else None
    ticket = ticket_of(_only(query, b"ticket") or None)
    return Hello(None, tab or None, named, since or None, ticket=ticket)


def _only(query: Mapping[bytes, Sequence[bytes]], name: bytes) -> str:
    values = query.get(name, ())
    if len(values) > 1:
        raise BadMessage(f"{name.decode()} is there more than once")
    try:
        return values[0].decode() if values else ""
    except UnicodeDecodeError:
        raise BadMessage(f"{name.decode()} is not UTF-8") from None


def _block(message: bytes) -> bytes:
    return b"data: " + message + b"\n\n"
