"""Livepush's messages inside Socket.IO: what the native protocol (`native`) says, as packets of the namespace `/`.

    native                     Socket.IO
    ------------------------   -------------------------------------------------------------------------------------
    hello                      CONNECT {"tab"?, "channels"?: ["orders", ...], "pid"?, "offset"?}
                                   without `channels`: the declared ones. `pid` and `offset` are the stock client's own
    welcome                    CONNECT {"sid", "pid"}, then livepush:welcome, {"conn", "user", "channels"}, <position>
    welcome, without channels  CONNECT_ERROR {"message", "data": {"code": 4403}}
    event                      <type>, <data>, <position>       a live event has no position
    resync                     livepush:resync, {"channel", "why"}, <position>
    heartbeat                  livepush:heartbeat, <position>
    goaway                     livepush:goaway, {"after"}
    presence                   livepush:presence, {"channel", "rev", "now"} or {"channel", "rev", "join", "leave"}
    gone                       livepush:gone, {"channel", "why"}, then CONNECT
    back                       livepush:back, {"channel", "audience"}, <position>, then CONNECT
    subscribe                  livepush:subscribe, {"channel", "since"?}, acknowledged {"ok": true, "channel",
                                   "audience", "replayed" or "resync", "at"}
    unsubscribe                livepush:unsubscribe, {"channel"}, acknowledged {"ok": true, "channel"}
    call                       livepush:call, {"channel", "type", "data"}, acknowledged {"ok": true, "data"}
    -                          login, acknowledged {"ok": true}: the classic page says so; CONNECT has done it already
    error                      acknowledged {"ok": false, "code", "retry", "message"}; livepush:error with the same,
                                   less `ok`, where no acknowledgement was asked for
    close                      44xx: before CONNECT was answered CONNECT_ERROR, else DISCONNECT: the client stays
                                   away, and closes the transport. 40xx: it closes here, and the client comes back

The stock client keeps the last text argument of every event as its offset, once CONNECT gave it a `pid`, and says both
when it comes back. The `pid` is of the channels that were granted: it is given back, and the client's `recovered` is
true, only if the same ones are granted now and all of them were replayed. A channel that is gone or back changes that
set, and the one offset of this client can't say which part of it holds for which channel; so another CONNECT follows
with a `pid` that is no set's, and the client begins anew (`connect`, not `recovered`) now and once more when it comes
back. Channels that were subscribed to later are not of the set: the page asks for them again.

An event whose type is a name that clients keep for themselves (`socketio.RESERVED`) is called livepush:<type>.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable
from typing import Any

from livepush.broker.envelope import Event, Json
from livepush.wire import engineio
from livepush.wire.closing import Close
from livepush.wire.errors import BadMessage
from livepush.wire.native import ticket_of
from livepush.wire.requests import (
    POSITION_CHARS,
    Call,
    Granted,
    Hello,
    Request,
    Subscribe,
    Unknown,
    Unsubscribe,
    Welcome,
)
from livepush.wire.socketio import RESERVED, dumps

LOGIN = "login"
CHANNELS = 100
NOTHING = "nothing here is open to you"

_TAB = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_PID = re.compile(r"[A-Za-z0-9_-]{1,64}\.[0-9a-f]{16}", re.ASCII)


class SocketIOEncoder:
    """The server's messages as packets.

    Args:
        wrap: makes of a packet of Engine.IO what its transport carries.
        new_id: makes names that nobody had before.
        name: of the wire format, for people.
    """

    overlaps = False  # the stock client comes back after the end of its connection

    def __init__(
        self,
        wrap: Callable[[str], bytes],
        new_id: Callable[[], str] = secrets.token_urlsafe,
        name: str = "socketio-polling",
    ) -> None:
        self._wrap, self._new_id, self.name = wrap, new_id, name

    def event(self, event: Event, view: Json, id: str | None, ts: int, at: str | None) -> bytes:  # noqa: A002 - the word on the wire
        """An event as one audience is shown it."""
        name = f"livepush:{event.type}" if event.type in RESERVED else event.type
        return self._emit(name, view) if at is None else self._emit(name, view, at)

    def resync(self, channel: str, why: str, at: str) -> bytes:
        """Events of this channel may be missing: reload."""
        return self._emit("livepush:resync", {"channel": channel, "why": why}, at)

    def welcome(self, n: int | None, welcome: Welcome) -> bytes:
        """The namespace is granted, or, if no channel is, refused."""
        if not welcome.channels:
            return self._wrap(refusal(Close.FORBIDDEN, NOTHING))
        granted = {name: _granted(grant) for name, grant in welcome.channels.items()}
        said = {"conn": welcome.conn, "user": welcome.user, "channels": granted}
        return self._connect(self._pid(welcome)) + self._emit("livepush:welcome", said, welcome.at)

    def granted(self, n: int | None, channel: str, granted: Granted, at: str) -> bytes:
        """The answer to `subscribe`."""
        return self._acknowledge(n, {"ok": True, "channel": channel, **_granted(granted), "at": at})

    def ok(self, n: int | None, channel: str) -> bytes:
        """The answer to `unsubscribe`."""
        return self._acknowledge(n, {"ok": True, "channel": channel})

    def result(self, n: int | None, data: Json) -> bytes:
        """The answer to `call`."""
        return self._acknowledge(n, {"ok": True, "data": data})

    def error(self, n: int | None, code: str, message: str, retry: bool = False) -> bytes:
        """A request that can't be fulfilled."""
        said = {"code": code, "retry": retry, "message": message}
        return self._emit("livepush:error", said) if n is None else self._acknowledge(n, {"ok": False, **said})

    def gone(self, channel: str, why: str) -> bytes:
        """The user may not listen to this channel any more."""
        return self._emit("livepush:gone", {"channel": channel, "why": why}) + self._connect(self._new_id())

    def back(self, channel: str, audience: str, at: str) -> bytes:
        """He may again, or he is of another audience now: reload."""
        said = {"channel": channel, "audience": audience}
        return self._emit("livepush:back", said, at) + self._connect(self._new_id())

    def presence(self, channel: str, said: Json) -> bytes:
        """Who else is on a channel."""
        return self._emit("livepush:presence", {"channel": channel, **said})

    def heartbeat(self, at: str) -> bytes:
        """Moves the offset."""
        return self._emit("livepush:heartbeat", at)

    def goaway(self, after: int) -> bytes:
        """This connection ends in so many milliseconds."""
        return self._emit("livepush:goaway", {"after": after})

    def _connect(self, pid: str) -> bytes:
        return self._wrap("40" + dumps({"sid": self._new_id(), "pid": pid}))

    def _emit(self, *event: Any) -> bytes:
        return self._wrap("42" + dumps(event))

    def _acknowledge(self, n: int | None, answer: Json) -> bytes:
        return b"" if n is None else self._wrap(f"43{n}{dumps([answer])}")

    def _pid(self, welcome: Welcome) -> str:
        channels = welcome.channels
        digest, token = _digest(channels), welcome.token
        complete = all(grant.resync is None for grant in channels.values())
        if token is not None and complete and token.rpartition(".")[2] == digest:
            return token
        return f"{self._new_id()}.{digest}"


POLLING = SocketIOEncoder(engineio.piece)
WEBSOCKET = SocketIOEncoder(engineio.frame, name="socketio")


def refusal(code: Close, reason: str) -> str:
    """The packet of Engine.IO that refuses the namespace."""
    return "44" + dumps({"message": reason, "data": {"code": int(code)}})


def hello_of(auth: Any) -> Hello:
    """What CONNECT asks for; `auth` is an object or None.

    Raises:
        BadMessage: what a page wrote there is not what it may.
    """
    said = auth or {}
    tab, channels, offset, pid = (said.get(name) for name in ("tab", "channels", "offset", "pid"))
    if tab is not None and (not isinstance(tab, str) or not _TAB.fullmatch(tab)):
        raise BadMessage("tab is 1 to 64 of A-Z a-z 0-9 _ -")
    if channels is not None:
        if not isinstance(channels, list) or not all(isinstance(name, str) for name in channels):
            raise BadMessage("channels is a list of texts")
        if len(channels) > CHANNELS:
            raise BadMessage(f"channels names at most {CHANNELS}")
    named: dict[str, str | None] | None = dict.fromkeys(channels) if channels else None
    ticket = ticket_of(said.get("ticket"))
    if not isinstance(pid, str) or not isinstance(offset, str) or len(offset) > POSITION_CHARS:
        return Hello(None, tab, named, ticket=ticket)
    return Hello(None, tab, named, offset, pid if _PID.fullmatch(pid) else None, ticket)


def request_of(name: str, arguments: list[Any], n: int | None) -> Request:
    """What an event of a page asks for.

    Raises:
        BadMessage: it has the name of a request, and not its form.
    """
    said = arguments[0] if arguments else None
    match name:
        case "livepush:subscribe":
            return Subscribe(n, _text(said, "channel"), _position(said))
        case "livepush:unsubscribe":
            return Unsubscribe(n, _text(said, "channel"))
        case "livepush:call":
            return Call(n, _text(said, "channel"), _text(said, "type"), _object(said))
        case _:
            return Unknown(n)


def _text(said: Any, field: str) -> str:
    value = said.get(field) if isinstance(said, dict) else None
    if not isinstance(value, str):
        raise BadMessage(f"{field} is a text")
    return value


def _position(said: Any) -> str | None:
    value = said.get("since")
    if value is not None and (not isinstance(value, str) or len(value) > POSITION_CHARS):
        raise BadMessage("a position is a text")
    return value


def _object(said: Any) -> Json:
    value = said.get("data")
    if not isinstance(value, dict) or _holds_bytes(value):
        raise BadMessage("data is an object of JSON")
    return value


def _holds_bytes(value: Any) -> bool:
    if isinstance(value, bytes):
        return True
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_holds_bytes(item) for item in items)


def _granted(grant: Granted) -> Json:
    if grant.resync is not None:
        return {"audience": grant.audience, "resync": grant.resync}
    return {"audience": grant.audience, "replayed": grant.replayed}


def _digest(channels: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(channels)).encode()).hexdigest()[:16]
