"""Livepush's own protocol over WebSocket: JSON text, one object a message.

C is the client, S the server. `n` is the client's request number (0 to 2^53 - 1), echoed in the answer; a message
without it is unsolicited. Unknown fields are ignored by both sides. With the subprotocol `livepush.v1` the server sends
nothing before `hello`; without a subprotocol the client is a listener from the start and may still say `hello`.

    C  {"op": "hello", "n": 0, "tab": "k3f9", "channels": {"orders": "<position>", "chat": null}}
           the random id of the tab; the channels wanted (missing: the declared ones), each with the position to go on
           from or null. "ticket": a text of the site's that says who this is, in place of a cookie
    S  {"op": "welcome", "n": 0, "conn": "c9", "user": 7, "heartbeat": 25, "retry": [500, 20000], "at": "...",
        "channels": {"orders": {"audience": "moderator", "replayed": 3}, "chat": {"audience": "all", "resync": "slow"}}}
           what is granted; refused channels are absent. What is replayed of all channels stands before it, in feed
           order; "resync" in place of "replayed" where that can't be complete: reload, and go on from `at`
    C  {"op": "subscribe", "n": 1, "channel": "orders.5", "since": "<position>"}     {"op": "unsubscribe", "n": 2, ...}
    S  {"op": "ok", "n": 1, "channel": "orders.5", "audience": "client", "replayed": 0, "at": "..."}
           of `subscribe`, after its replay; of `unsubscribe`: only n and channel
    C  {"op": "call", "n": 2, "channel": "orders", "type": "lock", "data": {"order": 5}}
           a request to the Django side
    S  {"op": "ok", "n": 2, "data": {"free": false}}        of `call`
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
    S  {"op": "presence", "channel": "orders", "rev": 1732250000123, "now": [7, 8]}
           the users who are on the channel: primary keys. What came before does not count any more
    S  {"op": "presence", "channel": "orders", "rev": 1732250000124, "join": [9], "leave": [8]}
           what has changed in that; `rev` grows. Only where the channel declares presence and this user may see it
    S  {"op": "presence", "channel": "orders", "now": null, "why": "unavailable"}      "too_many" with "rev" and "count"
           who is there can't be told, until a `now` is
    S  {"op": "heartbeat", "at": "..."}     every `heartbeat` seconds, and only to who said hello
           moves the positions of all channels that are granted

`at` is the position of a client that has got everything of the channel so far. It is an opaque text.

A message that is not an object of this form ends the connection with 4400; an unknown `op` and a channel that is none,
or not this user's, are answered with `error`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from livepush.broker import strictjson
from livepush.broker.envelope import Event, Json
from livepush.wire.errors import BadMessage
from livepush.wire.frame import text_frame
from livepush.wire.requests import (
    MAX_REQUEST,
    POSITION_CHARS,
    TICKET_CHARS,
    Call,
    Granted,
    Hello,
    Request,
    Subscribe,
    Unknown,
    Unsubscribe,
    Welcome,
)

SUBPROTOCOL = "livepush.v1"

_TAB = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class NativeCodec:
    """Reads a client's messages; keeps nothing, so that one serves all."""

    def parse(self, payload: bytes, depth: int) -> Request | None:
        """A client's message.

        Raises:
            BadMessage: no message of this protocol.
        """
        return parse(payload, depth)


def parse(raw: bytes, depth: int) -> Request:
    """A client's message.

    Args:
        raw: UTF-8.
        depth: how many objects and arrays may be nested.

    Raises:
        BadMessage: no message of this protocol.
    """
    try:
        message = strictjson.loads(raw, depth)
    except strictjson.NotJson as error:
        raise BadMessage(str(error)) from None
    return request_of(message)


def request_of(message: Any) -> Request:
    """A client's message that was read as JSON already.

    Raises:
        BadMessage: no message of this protocol.
    """
    if not isinstance(message, dict):
        raise BadMessage("a message is an object")
    op, n = message.get("op"), message.get("n")
    if not isinstance(op, str):
        raise BadMessage("op is a text")
    if n is not None and (not isinstance(n, int) or isinstance(n, bool) or not 0 <= n <= MAX_REQUEST):
        raise BadMessage("n is an integer from 0 to 2^53 - 1")
    if op == "hello":
        tab, channels = _tab(message.get("tab")), _channels(message.get("channels"))
        return Hello(n, tab, channels, ticket=ticket_of(message.get("ticket")))
    if op == "subscribe":
        return Subscribe(n, _text(message, "channel"), _position(message.get("since")))
    if op == "unsubscribe":
        return Unsubscribe(n, _text(message, "channel"))
    if op == "call":
        return Call(n, _text(message, "channel"), _text(message, "type"), _object(message.get("data")))
    return Unknown(n)


class NativeEncoder:
    """The server's messages as bytes, ready to be joined with others of the same connection.

    Args:
        frame: puts the JSON text of one message into what the transport carries. By default a WebSocket frame.
        name: of the wire format, for people.
    """

    overlaps = True

    def __init__(self, frame: Callable[[bytes], bytes] = text_frame, name: str = "websocket") -> None:
        self._frame, self.name = frame, name

    def event(self, event: Event, view: Json, id: str | None, ts: int, at: str | None) -> bytes:  # noqa: A002 - the word on the wire
        """An event as one audience is shown it; `id` and `at` are None for live events."""
        return self._frame(event_text(event, view, id, ts, at))

    def welcome(self, n: int | None, welcome: Welcome) -> bytes:
        """The answer to `hello`."""
        message: Json = {
            "op": "welcome",
            "conn": welcome.conn,
            "user": welcome.user,
            "heartbeat": welcome.heartbeat,
            "retry": welcome.retry,
            "at": _plain(welcome.at),
            "channels": {name: _granted(grant) for name, grant in welcome.channels.items()},
        }
        return self._answer(n, message)

    def granted(self, n: int | None, channel: str, granted: Granted, at: str) -> bytes:
        """The answer to `subscribe`."""
        return self._answer(n, {"op": "ok", "channel": channel, **_granted(granted), "at": _plain(at)})

    def ok(self, n: int | None, channel: str) -> bytes:
        """The answer to `unsubscribe`."""
        return self._answer(n, {"op": "ok", "channel": channel})

    def result(self, n: int | None, data: Json) -> bytes:
        """The answer to `call`."""
        return self._answer(n, {"op": "ok", "data": data})

    def error(self, n: int | None, code: str, message: str, retry: bool = False) -> bytes:
        """A request that can't be fulfilled; `message` is for people."""
        return self._answer(n, {"op": "error", "code": code, "retry": retry, "message": message})

    def resync(self, channel: str, why: str, at: str) -> bytes:
        """Events of this channel may be missing: reload."""
        return self._frame(text({"op": "resync", "channel": channel, "why": why, "at": _plain(at)}))

    def gone(self, channel: str, why: str) -> bytes:
        """The user may not listen to this channel any more."""
        return self._frame(text({"op": "gone", "channel": channel, "why": why}))

    def back(self, channel: str, audience: str, at: str) -> bytes:
        """He may again, or he is of another audience now: reload."""
        return self._frame(text({"op": "back", "channel": channel, "audience": audience, "at": _plain(at)}))

    def presence(self, channel: str, said: Json) -> bytes:
        """Who else is on a channel."""
        return self._frame(text({"op": "presence", "channel": channel, **said}))

    def heartbeat(self, at: str) -> bytes:
        """A sign of life, with the position of whoever has got everything so far."""
        return self._frame(text({"op": "heartbeat", "at": _plain(at)}))

    def goaway(self, after: int) -> bytes:
        """This process is going; `after` is milliseconds."""
        return self._frame(text({"op": "goaway", "after": after}))

    def _answer(self, n: int | None, message: Json) -> bytes:
        return self._frame(text(message if n is None else {**message, "n": n}))


def event_text(event: Event, view: Json, id: str | None, ts: int, at: str | None) -> bytes:  # noqa: A002 - the word on the wire
    """The JSON text of an event's message."""
    message: Json = {"op": "event", "channel": event.channel, "type": event.type, "data": view}
    if id is not None:
        message["id"] = id
    if at is not None:
        message["at"] = _plain(at)
    message["ts"] = ts
    if event.key is not None:
        message["key"] = event.key
    if event.version is not None:
        message["version"] = event.version
    return text(message)


def text(message: Any) -> bytes:
    """JSON in UTF-8, without a line break in it."""
    return json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _plain(at: str) -> str:
    """A position without the ids that it ends with: clients of this format drop by the ids of events themselves."""
    return at.partition("~")[0]


def _granted(grant: Granted) -> Json:
    if grant.resync is not None:
        return {"audience": grant.audience, "resync": grant.resync}
    return {"audience": grant.audience, "replayed": grant.replayed}


def _tab(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _TAB.fullmatch(value):
        raise BadMessage("tab is 1 to 64 of A-Z a-z 0-9 _ -")
    return value


def ticket_of(value: Any) -> str | None:
    """A ticket as a client sends it; None: it has none.

    Raises:
        BadMessage: it can be none.
    """
    if value is not None and (not isinstance(value, str) or not 0 < len(value) <= TICKET_CHARS):
        raise BadMessage(f"a ticket is a text of at most {TICKET_CHARS} characters")
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
    if not isinstance(value, str) or len(value) > POSITION_CHARS:
        raise BadMessage(f"a position is a text of at most {POSITION_CHARS} characters")
    return value


def _text(message: Json, field: str) -> str:
    value = message.get(field)
    if not isinstance(value, str):
        raise BadMessage(f"{field} is a text")
    return value


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadMessage("data is an object")
    return value
