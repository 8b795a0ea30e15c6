"""The messages between Django and the daemon: AMQP properties and a JSON body.

    AMQP property   holds
    -------------   ---------------------------------------------------------------------------------------------
    type            the kind: event, live, resync, void, control, marker
    app_id          publisher: 1-64 of [A-Za-z0-9_-]                                    logged messages only
    message_id      the number this publisher gave it, decimal, 1 to 2^63 - 1           logged messages only
    headers.v       schema version of the body: 1
    headers.ts      when Django published it: milliseconds since 1970, int64
    headers.low     the publisher's lowest number not confirmed when this copy was sent logged messages only
    headers.sending which opening of the publisher's channel sent this copy, from 1     logged messages only
    headers.sent    when this copy was sent, as `ts`; may be missing: only measurements look at it

    kind     JSON body (UTF-8, at most 256 KiB)
    ------   ------------------------------------------------------------------------------------------------------
    event    {"channel", "type", "data": {...}} and, where they say something: "views": {audience: {...} | null},
    live     "only": {"audiences": [...], "users": [...]}, "skip": {"user": pk | null, "tab": id | null},
             "key": text, "version": int
    resync   {"channel", "why"}: its publisher could not keep an event of this channel; null: of too many to name
    void     {}: a number that was given and could not be used
    control  {"what": "identity", "user": pk | null}: what Django knows of this user (null: of anybody) may differ now;
             {"what": "outbox"}: rows wait for a relay
             {"what": "logout", "user": pk | null, "session": hash}: nobody is logged in by this session any more
             {"what": "disconnect", "user": pk | null, "session": hash | null, "why"}: these connections are to end
             {"what": "revoke", "user": pk | null, "channel"}: who may listen to this channel is to be asked anew
             What else it may say one day concerns everybody
    marker   {"process", "number"}: a daemon process looks for its own words in the log; no publisher numbers it.
             "claims", where there are any: what this process wants to be the first to have taken (`Marker`)

`data` holds what every audience may see; audience A is shown `{**data, **views[A]}`, nothing when `views[A]` is null.
Users are named by `str(pk)`, sessions by a hash of their key (`session_hash`), which is never sent itself.

This module is past 400 lines because all that stands in a message is written and read in one place.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple, TypeGuard

from livepush.broker import payload, strictjson
from livepush.broker.errors import BadPayload, Malformed
from livepush.broker.names import check_channel, check_type

SCHEMA = 1
BODY_BYTES = 256 * 1024
DEPTH = payload.DEPTH
MAX_NUMBER = 2**63 - 1

IDENTITY, OUTBOX, LOGOUT, DISCONNECT, REVOKE = "identity", "outbox", "logout", "disconnect", "revoke"
"""What a control message may be about."""

WHY_BYTES = 120
"""Of a reason, in UTF-8: a WebSocket's close frame has room for 123 (RFC 6455, 5.5)."""

Json = dict[str, Any]

_PUBLISHER = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_SESSION = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Kind(StrEnum):
    """What a message is; the AMQP property `type`."""

    EVENT = "event"
    LIVE = "live"
    RESYNC = "resync"
    VOID = "void"
    CONTROL = "control"
    MARKER = "marker"


UNNUMBERED = frozenset({Kind.LIVE, Kind.MARKER})
"""Kinds that no publisher numbers."""

MOST_CLAIMS = 100
CLAIM_CHARS = 64

_KINDS = {kind.value: kind for kind in Kind}


class Stamp(NamedTuple):
    """The identity of one sent copy of a logged message; a tuple, because one is made for each copy that arrives.

    Attributes:
        publisher: one publisher thread, or one outbox.
        number: 1, 2, 3 ... of this publisher.
        low: every number below it stands in the log before this copy.
        sending: which opening of the publisher's channel sent it, from 1.
    """

    publisher: str
    number: int
    low: int
    sending: int

    @property
    def id(self) -> str:
        """The event id on the wire: `<publisher>-<number>`."""
        return f"{self.publisher}-{self.number}"


@dataclass(frozen=True, slots=True)
class Only:
    """Whom an event is meant for; a connection is meant when its audience or its user is named."""

    audiences: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Skip:
    """Who is left out: the tab if one is named (of that user, where a user is named), else all tabs of the user."""

    user: str | None = None
    tab: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, with every audience's view of it. Names have been checked against the grammar."""

    channel: str
    type: str
    data: Json
    views: Mapping[str, Json | None] = field(default_factory=dict)
    only: Only | None = None
    skip: Skip | None = None
    key: str | None = None
    version: int | None = None

    def view(self, audience: str) -> Json | None:
        """What this audience is shown; None: nothing."""
        if audience not in self.views:
            return self.data
        view = self.views[audience]
        return None if view is None else {**self.data, **view}


@dataclass(frozen=True, slots=True)
class Resync:
    """A record that an event of this channel was lost at its publisher; None: of more channels than it could name."""

    channel: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Control:
    """What Django tells the processes and not the browsers.

    Attributes:
        what: one of the words above; `outbox` daemons ignore, and any other word is a later version's.
        user: whom it concerns, as `str(pk)`; None: everybody, of `disconnect` and `logout`: whose session it is.
        session: of `logout` and `disconnect`, the hash of its key; None: all of the user's.
        channel: of `revoke`.
        why: of `disconnect`, for people: at most `WHY_BYTES`.
    """

    what: str
    user: str | None = None
    session: str | None = None
    channel: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Marker:
    """What a daemon process publishes to find it again in the log.

    Attributes:
        process: the nonce of that process.
        number: 1, 2, 3 ... of that process.
        claims: names of things that only one process may take: the one whose claim stands first in the log, as all
            processes read it. At most `MOST_CLAIMS`.
    """

    process: str
    number: int
    claims: tuple[str, ...] = ()


Content = Event | Resync | Control | Marker


class Message(NamedTuple):
    """One message as it came from the broker; a tuple for the same reason as its stamp.

    Attributes:
        kind: what it is.
        stamp: its identity; None for `live` and `marker`, which no publisher numbers.
        ts: when Django published it, milliseconds since 1970.
        content: the event (`event`, `live`), the record (`resync`), what `control` or `marker` say, or None (`void`).
        size: bytes of its body, for bounds.
    """

    kind: Kind
    stamp: Stamp | None
    ts: int
    content: Content | None
    size: int = 0


def encode_event(event: Event, default: Callable[[Any], Any] | None = None) -> bytes:
    """The body of an event.

    Args:
        event: with checked names.
        default: as in `json.dumps`, for values that JSON has no form for (dates, decimals).

    Raises:
        BadPayload: a value is not JSON, nested deeper than 32 or the body is over 256 KiB; it names the place.
    """
    body: Json = {"channel": event.channel, "type": event.type, "data": event.data}
    if event.views:
        body["views"] = dict(event.views)
    if event.only is not None:
        body["only"] = {"audiences": sorted(event.only.audiences), "users": sorted(event.only.users)}
    if event.skip is not None:
        body["skip"] = {"user": event.skip.user, "tab": event.skip.tab}
    if event.key is not None:
        body["key"] = event.key
    if event.version is not None:
        body["version"] = event.version
    if not (
        payload.is_flat(event.data) and all(view is None or payload.is_flat(view) for view in event.views.values())
    ):
        _find_faults(event, default)
    try:
        raw = _encoder(default).encode(body).encode()
    except (TypeError, ValueError) as error:
        _find_faults(event, default)
        raise BadPayload(f"{event.channel} {event.type}", f"not JSON: {error}") from None
    if len(raw) > BODY_BYTES:
        why = f"{len(raw)} bytes with all views, at most {BODY_BYTES}: publish what changed, not the whole page"
        raise BadPayload(f"{event.channel} {event.type}", why)
    return raw


def encode_resync(record: Resync) -> bytes:
    """The body of a `resync` record."""
    return json.dumps({"channel": record.channel, "why": record.why}, separators=(",", ":")).encode()


def session_hash(key: str) -> str:
    """What stands for a session's key, which is as good as a password: a SHA-256 that serves for nothing else."""
    return hashlib.sha256(f"livepush.session:{key}".encode("utf-8", "surrogatepass")).hexdigest()


def encode_control(control: Control) -> bytes:
    """The body of a `control` message."""
    body: Json = {"what": control.what}
    if control.what != OUTBOX:
        body["user"] = control.user
    if control.what in (LOGOUT, DISCONNECT):
        body["session"] = control.session
    if control.what == DISCONNECT:
        body["why"] = control.why
    if control.what == REVOKE:
        body["channel"] = control.channel
    return json.dumps(body, separators=(",", ":")).encode()


def encode_marker(marker: Marker) -> bytes:
    """The body of a `marker`."""
    body: Json = {"process": marker.process, "number": marker.number}
    if marker.claims:
        body["claims"] = list(marker.claims)
    return json.dumps(body, separators=(",", ":")).encode()


def headers_of(kind: Kind, ts: int, stamp: Stamp | None, sent: int | None = None) -> dict[str, int]:
    """The AMQP headers of one copy; `app_id`, `message_id` and `type` go into the properties."""
    headers = {"v": SCHEMA, "ts": ts}
    if sent is not None:
        headers["sent"] = sent
    if stamp is not None:
        headers["low"], headers["sending"] = stamp.low, stamp.sending
    return headers


def decode(
    kind: str | None, app_id: str | None, message_id: str | None, headers: Mapping[str, Any] | None, body: bytes
) -> Message:
    """Reads a message as it came from the broker.

    Raises:
        Malformed: it is not livepush's, or of a schema that this version can't read.
    """
    headers = headers or {}
    stamp = None if kind in UNNUMBERED else read_stamp(app_id, message_id, headers)
    if stamp is None and kind not in UNNUMBERED:
        raise Malformed("no usable publisher and number" if kind in _KINDS else "unknown kind")
    return decode_stamped(kind, stamp, headers, body)


def decode_stamped(kind: str | None, stamp: Stamp | None, headers: Mapping[str, Any], body: bytes) -> Message:
    """The rest of `decode`, for whoever looks at the stamp first: most copies have been seen before.

    Raises:
        Malformed: likewise.
    """
    known = _KINDS.get(kind or "")
    if known is None:
        raise Malformed("unknown kind", stamp)
    if headers.get("v") != SCHEMA:
        raise Malformed("unknown schema version", stamp)
    ts = headers.get("ts")
    if (type(ts) is not int and not _is_int(ts)) or not 0 <= ts <= MAX_NUMBER:
        raise Malformed("no usable timestamp", stamp)
    if known is Kind.VOID:
        return Message(known, stamp, ts, None)
    if len(body) > BODY_BYTES:
        raise Malformed("body over 256 KiB", stamp)
    try:
        return Message(known, stamp, ts, _read_body(known, body), len(body))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Malformed(f"unreadable body ({type(error).__name__})", stamp) from None


def read_stamp(app_id: str | None, message_id: str | None, headers: Mapping[str, Any]) -> Stamp | None:
    """The identity of a copy, from its properties; None: it has no usable one."""
    if not isinstance(app_id, str) or not isinstance(message_id, str):
        return None
    low, sending = headers.get("low"), headers.get("sending")
    if (
        not _PUBLISHER.fullmatch(app_id)
        or not _NUMBER.fullmatch(message_id)
        or (type(low) is not int and not _is_int(low))
        or (type(sending) is not int and not _is_int(sending))
    ):
        return None
    number = int(message_id)
    if number > MAX_NUMBER or not 1 <= low <= number or not 1 <= sending <= MAX_NUMBER:
        return None
    return Stamp(app_id, number, low, sending)


def _read_body(kind: Kind, raw: bytes) -> Content:
    body = strictjson.loads(raw, DEPTH + 4)
    if kind is Kind.CONTROL:
        return _control(body)
    if kind is Kind.MARKER:
        return Marker(_text(body["process"]), _integer(body["number"]), _claims(body.get("claims", [])))
    if kind is Kind.RESYNC:
        channel = body["channel"]
        return Resync(None if channel is None else check_channel(channel), _text(body["why"]))
    data, views = _object(body["data"]), body.get("views") or {}
    only, skip, key, version = body.get("only"), body.get("skip"), body.get("key"), body.get("version")
    return Event(
        _channel(body["channel"]),
        _type(body["type"]),
        data,
        {_text(name): None if view is None else _object(view) for name, view in views.items()} if views else {},
        None if only is None else Only(frozenset(map(_text, only["audiences"])), frozenset(map(_text, only["users"]))),
        None if skip is None else Skip(_optional_text(skip["user"]), _optional_text(skip["tab"])),
        _optional_text(key),
        None if version is None else _integer(version),
    )


def _control(body: Json) -> Control:
    what = _text(body["what"])
    if what not in (IDENTITY, LOGOUT, DISCONNECT, REVOKE):
        return Control(what)
    user = _optional_text(body.get("user"))
    if what == IDENTITY:
        return Control(what, user)
    if what == REVOKE:
        return Control(what, user, channel=check_channel(body["channel"]))
    session = _optional_text(body["session"])
    if session is None and (user is None or what == LOGOUT):
        raise ValueError("nobody")
    if session is not None and not _SESSION.fullmatch(session):
        raise ValueError("no hash")
    why = _text(body["why"]) if what == DISCONNECT else ""
    if len(why.encode()) > WHY_BYTES:
        raise ValueError("too long")
    return Control(what, user, session, why=why)


# Few names come again and again. What is no name is an error, and what is no text can't be looked up: neither is kept.
_channel = lru_cache(maxsize=4096)(check_channel)
_type = lru_cache(maxsize=1024)(check_type)


def _object(value: Any) -> Json:
    if not isinstance(value, dict):
        raise TypeError("an object")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text")
    return value


def _claims(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MOST_CLAIMS:
        raise TypeError("a list of claims")
    if not all(isinstance(each, str) and 0 < len(each) <= CLAIM_CHARS for each in value):
        raise TypeError("claims are short texts")
    return tuple(value)


def _optional_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _integer(value: Any) -> int:
    if not _is_int(value):
        raise TypeError("an integer")
    return int(value)


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


@lru_cache(maxsize=8)
def _encoder(default: Callable[[Any], Any] | None) -> json.JSONEncoder:
    return json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=default)


def _find_faults(event: Event, default: Callable[[Any], Any] | None) -> None:
    payload.find_fault("data", event.data, default)
    for audience, view in event.views.items():
        payload.find_fault(f"views[{audience!r}]", view, default)
