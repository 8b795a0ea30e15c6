"""Livepush's own protocol over WebSocket: JSON text, one object a message.

C is the client, S the server. `n` is the client's request number (0 to 2^53 - 1), echoed in the answer; a message
without it is unsolicited. Unknown fields are ignored by both sides. With the subprotocol `livepush.v1` the server sends
nothing before `hello`; without a subprotocol the client is a listener from the start and may still say `hello`.

    C  {"op": "hello", "n": 0, "tab": "k3f9", "channels": {"orders": "<position>", "chat": null}}
           the random id of the tab; the channels wanted (missing: the declared ones), each with the position to go on
           from or null
    S  {"op": "welcome", "n": 0, "conn": "c9", "user": 7, "heartbeat": 25, "retry": [500, 20000], "at": "...",
        "channels": {"orders": {"audience": "moderator", "replayed": 3}, "chat": {"audience": "all", "resync": "slow"}}}
           what is granted; refused channels are absent. What is replayed of all channels stands before it, in feed
           order; "resync" in place of "replayed" where that can't be complete: reload, and go on from `at`
    C  {"op": "subscribe", "n": 1, "channel": "orders.5", "since": "<position>"}     {"op": "unsubscribe", "n": 2, ...}
    S  {"op": "ok", "n": 1, "channel": "orders.5", "audience": "client", "replayed": 0, "at": "..."}
           of `subscribe`, after its replay; of `unsubscribe`: only n and channel
    S  {"op": "error", "n": 1, "code": "forbidden", "retry": false, "message": "..."}       codes: `ErrorCode`
    S  {"op": "event", "channel": "orders", "type": "lock", "data": {...}, "id": "a1b2c3-17", "at": "...",
        "ts": 1732250000123}
           `id` <publisher>-<number> and `at` are absent on live events; `ts` when Django published it, ms; "key" and
           "version" where the publisher gave them: what the event is about, and a number that grows with each change
    S  {"op": "resync", "channel": "orders", "why": "hole" | "restart" | "publisher" | "trimmed" | "slow", "at": "..."}
    S  {"op": "gone", "channel": "orders", "why": "permission"}
           the user may not listen any more. The channel keeps its position and stays wanted
    S  {"op": "back", "channel": "orders", "audience": "client", "at": "..."}
           he may again, or as another audience: reload, and go on from `at`; what lay between is not replayed
    S  {"op": "heartbeat", "at": "..."}     every `heartbeat` seconds, and only to who said hello
           moves the positions of all channels that are granted

`at` is the position of a client that has got everything of the channel so far. It is an opaque text.

A message that is not an object of this form ends the connection with 4400; an unknown `op` and a channel that is none,
or not this user's, are answered with `error`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from livepush.broker import strictjson
from livepush.broker.envelope import Event, Json
from livepush.wire.errors import BadMessage
from livepush.wire.frame import text_frame

SUBPROTOCOL = "livepush.v1"
MAX_REQUEST = 2**53 - 1
POSITION_BYTES = 200

_TAB = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class ErrorCode(StrEnum):
    """What an `error` says; each has a heading in the reference."""

    BAD_CHANNEL = "bad_channel"
    BUSY = "busy"
    FORBIDDEN = "forbidden"
    TOO_MANY_SUBSCRIPTIONS = "too_many_subscriptions"
    UNEXPECTED = "unexpected"
    UNKNOWN_OP = "unknown_op"


@dataclass(frozen=True, slots=True)
class Hello:
    """`channels`: each with the position to go on from, or None; None as a whole: the declared ones."""

    n: int | None
    tab: str | None
    channels: Mapping[str, str | None] | None


@dataclass(frozen=True, slots=True)
class Subscribe:
    n: int | None
    channel: str
    since: str | None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    n: int | None
    channel: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A well-formed message whose `op` this version does not know."""

    n: int | None


Request = Hello | Subscribe | Unsubscribe | Unknown


@dataclass(frozen=True, slots=True)
class Granted:
    """One channel in `welcome`, or in `ok`: replayed so many events, or `resync` says why the page must reload."""

    audience: str
    replayed: int = 0
    resync: str | None = None

    def fields(self) -> Json:
        """As they stand on the wire."""
        if self.resync is not None:
            return {"audience": self.audience, "resync": self.resync}
        return {"audience": self.audience, "replayed": self.replayed}


def parse(raw: bytes, depth: int) -> Request:
    """A client's message.

    Raises:
        BadMessage: no message of this protocol.
    """
    try:
        message = strictjson.loads(raw, depth)
    except strictjson.NotJson as error:
        raise BadMessage(str(error)) from None
    if not isinstance(message, dict):
        raise BadMessage("a message is an object")
    op, n = message.get("op"), message.get("n")
    if not isinstance(op, str):
        raise BadMessage("op is a text")
    if n is not None and (not isinstance(n, int) or isinstance(n, bool) or not 0 <= n <= MAX_REQUEST):
        raise BadMessage("n is an integer from 0 to 2^53 - 1")
    if op == "hello":
        return Hello(n, _tab(message.get("tab")), _channels(message.get("channels")))
    if op == "subscribe":
        return Subscribe(n, _text(message, "channel"), _position(message.get("since")))
    if op == "unsubscribe":
        return Unsubscribe(n, _text(message, "channel"))
    return Unknown(n)


def event_frame(event: Event, view: Json, id: str | None, ts: int, at: str | None) -> bytes:  # noqa: A002 - the word on the wire
    """The frame of an event as one audience is shown it; `id` and `at` are None for live events."""
    message: Json = {"op": "event", "channel": event.channel, "type": event.type, "data": view}
    if id is not None:
        message["id"] = id
    if at is not None:
        message["at"] = at
    message["ts"] = ts
    if event.key is not None:
        message["key"] = event.key
    if event.version is not None:
        message["version"] = event.version
    return _frame(message)


def welcome_frame(
    n: int | None,
    conn: str,
    user: int | str | None,
    heartbeat: float,
    retry: tuple[int, int],
    at: str,
    channels: Mapping[str, Granted],
) -> bytes:
    """The answer to `hello`; heartbeat in seconds, retry in milliseconds."""
    granted = {name: grant.fields() for name, grant in channels.items()}
    welcome: Json = {"op": "welcome", "conn": conn, "user": user, "heartbeat": heartbeat, "retry": retry}
    return _frame(_numbered({**welcome, "at": at, "channels": granted}, n))


def granted_frame(n: int | None, channel: str, granted: Granted, at: str) -> bytes:
    """The answer to `subscribe`."""
    return _frame(_numbered({"op": "ok", "channel": channel, **granted.fields(), "at": at}, n))


def ok_frame(n: int | None, channel: str) -> bytes:
    """The answer to `unsubscribe`."""
    return _frame(_numbered({"op": "ok", "channel": channel}, n))


def error_frame(n: int | None, code: ErrorCode, message: str, retry: bool = False) -> bytes:
    """A request that can't be fulfilled; `message` is for people."""
    return _frame(_numbered({"op": "error", "code": code, "retry": retry, "message": message}, n))


def resync_frame(channel: str, why: str, at: str) -> bytes:
    """Events of this channel may be missing: reload."""
    return _frame({"op": "resync", "channel": channel, "why": why, "at": at})


def gone_frame(channel: str, why: str) -> bytes:
    """The user may not listen to this channel any more."""
    return _frame({"op": "gone", "channel": channel, "why": why})


def back_frame(channel: str, audience: str, at: str) -> bytes:
    """He may again, or he is of another audience now: reload."""
    return _frame({"op": "back", "channel": channel, "audience": audience, "at": at})


def heartbeat_frame(at: str) -> bytes:
    """A sign of life, with the position of whoever has got everything so far."""
    return _frame({"op": "heartbeat", "at": at})


def _frame(message: Json) -> bytes:
    text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text_frame(text.encode())


def _numbered(message: Json, n: int | None) -> Json:
    return message if n is None else {**message, "n": n}


def _tab(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _TAB.fullmatch(value):
        raise BadMessage("tab is 1 to 64 of A-Z a-z 0-9 _ -")
    return value


def _channels(value: Any) -> Mapping[str, str | None] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadMessage("channels is an object of positions")
    return {name: _position(position) for name, position in value.items()}


def _position(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > POSITION_BYTES:
        raise BadMessage(f"a position is a text of at most {POSITION_BYTES} characters")
    return value


def _text(message: Json, field: str) -> str:
    value = message.get(field)
    if not isinstance(value, str):
        raise BadMessage(f"{field} is a text")
    return value
