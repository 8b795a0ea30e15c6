"""Socket.IO, protocol version 5: namespaces, events and acknowledgements, over the messages of Engine.IO.

A packet is a text message: a digit of type, `<attachments>-` if the type is binary, `/namespace,` unless it is `/`,
the number of an acknowledgement (0 to 2^53 - 1), JSON. Binary attachments follow, one binary message each; they stand
in the JSON as {"_placeholder": true, "num": <which>}.

    type              who    JSON                     meaning
    ---------------   ----   ----------------------   ------------------------------------------------------------------
    0 CONNECT         C      an object, or nothing    wants a namespace; the object is what the page authenticates with
                      S      {"sid", "pid"?}          granted; with `pid` recovery is offered: the client keeps the last
                                                      text argument of every event and says {"pid", "offset"} next time
    1 DISCONNECT      both   nothing                  leaves the namespace; the transport stays
    2 EVENT           both   [name, argument, ...]    with a number: an answer is awaited
    3 ACK             both   [argument, ...]          the answer to the event of that number
    4 CONNECT_ERROR   S      {"message", "data"?}     refused; the client does not try again by itself
    5 BINARY_EVENT    both   as EVENT                 `51-["picture",{"_placeholder":true,"num":0}]`
    6 BINARY_ACK      both   as ACK

Source: https://socket.io/docs/v4/socket-io-protocol/ (version 5). Bounds: the message as Engine.IO has it, the nesting
of its JSON, `MAX_ATTACHMENTS` of together `most` bytes, `NAMESPACE_CHARS`. What breaks any of it is `BadMessage`, which
ends the session.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from livepush.broker import strictjson
from livepush.wire.errors import BadMessage

MAX_ATTACHMENTS = 16
MAX_ID = 2**53 - 1
NAMESPACE_CHARS = 200
RESERVED = frozenset({"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"})
"""Names that no event may have: clients keep them for themselves."""

_HEAD = re.compile(r"([0-6])(?:(\d{1,4})-)?(?:(/[^,]*)(?:,|$))?(\d{1,16})?", re.ASCII)


class Kind(IntEnum):
    """The type of a packet."""

    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet, its attachments put where they belong.

    Attributes:
        kind: never a binary one: whether there are attachments, `data` shows.
        namespace: begins with a slash; what follows a question mark is left out.
        data: JSON, with bytes in the place of attachments.
        id: of the acknowledgement.
    """

    kind: Kind
    namespace: str = "/"
    data: Any = None
    id: int | None = None


class Decoder:
    """Makes packets of one client's messages.

    Args:
        depth: how many objects and arrays may be nested.
        most: bytes of the attachments of one packet.
    """

    __slots__ = ("_attachments", "_awaited", "_depth", "_head", "_most", "_size")

    def __init__(self, depth: int, most: int) -> None:
        self._depth, self._most = depth, most
        self._head: Packet | None = None
        self._attachments: list[bytes] = []
        self._awaited = self._size = 0

    def message(self, data: str | bytes) -> Packet | None:
        """One message; a packet when it is complete.

        Raises:
            BadMessage: no packet that a client may send, or no attachment where one must follow.
        """
        if isinstance(data, bytes):
            return self._attached(data)
        if self._head is not None:
            raise BadMessage("an attachment must follow")
        packet, attachments = _parse(data, self._depth)
        if not attachments:
            _validate(packet)
            return packet
        self._head, self._awaited = packet, attachments
        return None

    def _attached(self, data: bytes) -> Packet | None:
        head = self._head
        if head is None:
            raise BadMessage("an attachment of nothing")
        self._attachments.append(data)
        self._size += len(data)
        if self._size > self._most:
            raise BadMessage("the attachments are too large")
        if len(self._attachments) < self._awaited:
            return None
        attachments, self._attachments = self._attachments, []
        self._head, self._awaited, self._size = None, 0, 0
        used: set[int] = set()
        whole = Packet(head.kind, head.namespace, _filled(head.data, attachments, used), head.id)
        if len(used) != len(attachments):
            raise BadMessage("an attachment has no place")
        _validate(whole)
        return whole


def encode(packet: Packet) -> list[str | bytes]:
    """The messages of a packet: its text, then its attachments."""
    attachments: list[bytes] = []
    data = _emptied(packet.data, attachments)
    kind = packet.kind
    head = ""
    if attachments:
        kind = Kind.BINARY_EVENT if kind is Kind.EVENT else Kind.BINARY_ACK
        head = f"{len(attachments)}-"
    namespace = "" if packet.namespace == "/" else f"{packet.namespace},"
    number = "" if packet.id is None else packet.id
    text = "" if data is None else dumps(data)
    return [f"{kind.value}{head}{namespace}{number}{text}", *attachments]


def dumps(value: Any) -> str:
    """JSON as packets hold it."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _parse(text: str, depth: int) -> tuple[Packet, int]:
    head = _HEAD.match(text)
    if head is None:
        raise BadMessage("no packet of Socket.IO")
    kind, namespace = Kind(int(head[1])), (head[3] or "/").partition("?")[0]
    binary = kind is Kind.BINARY_EVENT or kind is Kind.BINARY_ACK
    if binary != (head[2] is not None) or len(namespace) > NAMESPACE_CHARS:
        raise BadMessage("no packet of Socket.IO")
    attachments = int(head[2] or 0)
    if attachments > MAX_ATTACHMENTS:
        raise BadMessage(f"a packet has at most {MAX_ATTACHMENTS} attachments")
    number = None if head[4] is None else int(head[4])
    if number is not None and number > MAX_ID:
        raise BadMessage("the number of an acknowledgement is at most 2^53 - 1")
    rest = text[head.end() :]
    data = None
    if rest:
        try:
            data = strictjson.loads(rest.encode(), depth)
        except (strictjson.NotJson, UnicodeEncodeError) as error:
            why = str(error) if isinstance(error, strictjson.NotJson) else "a lone surrogate is no text"
            raise BadMessage(why) from None
        if data is None:
            raise BadMessage("null is no data of a packet")
    plain = {Kind.BINARY_EVENT: Kind.EVENT, Kind.BINARY_ACK: Kind.ACK}.get(kind, kind)
    return Packet(plain, namespace, data, number), attachments


def _validate(packet: Packet) -> None:
    data, number = packet.data, packet.id
    match packet.kind:
        case Kind.CONNECT:
            right = number is None and (data is None or isinstance(data, dict))
        case Kind.DISCONNECT:
            right = number is None and data is None
        case Kind.EVENT:
            right = isinstance(data, list) and bool(data) and isinstance(data[0], str) and data[0] not in RESERVED
        case Kind.ACK:
            right = isinstance(data, list) and number is not None
        case _:
            right = False
    if not right:
        raise BadMessage("the data of this packet is not of its type")


def _filled(value: Any, attachments: Sequence[bytes], used: set[int]) -> Any:
    """The same with bytes for placeholders; as deep as the JSON was allowed to be."""
    if isinstance(value, list):
        return [_filled(item, attachments, used) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("_placeholder") is True:
        which = value.get("num")
        if type(which) is not int or not 0 <= which < len(attachments) or which in used:
            raise BadMessage("a placeholder without its attachment")
        used.add(which)
        return attachments[which]
    return {name: _filled(item, attachments, used) for name, item in value.items()}


def _emptied(value: Any, attachments: list[bytes]) -> Any:
    """The same with placeholders for bytes."""
    if isinstance(value, bytes):
        attachments.append(value)
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, list | tuple):
        return [_emptied(item, attachments) for item in value]
    if isinstance(value, dict):
        return {name: _emptied(item, attachments) for name, item in value.items()}
    return value
