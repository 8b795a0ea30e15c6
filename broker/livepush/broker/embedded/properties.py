"""Message properties (AMQP 4.2.6.1): seen to be readable without being decoded, since every message has them.

pika's codec takes three times as long, and gets only what this does not vouch for.
"""

from __future__ import annotations

import struct

from pika.spec import BasicProperties

AT = 14  # behind class, weight, body size and flags

OFFSET = b"x-stream-offset"

_SHORT, _TABLE, _OCTET, _TIME = -1, -2, 1, 8
_FIELDS = (
    (BasicProperties.FLAG_CONTENT_TYPE, _SHORT),
    (BasicProperties.FLAG_CONTENT_ENCODING, _SHORT),
    (BasicProperties.FLAG_HEADERS, _TABLE),
    (BasicProperties.FLAG_DELIVERY_MODE, _OCTET),
    (BasicProperties.FLAG_PRIORITY, _OCTET),
    (BasicProperties.FLAG_CORRELATION_ID, _SHORT),
    (BasicProperties.FLAG_REPLY_TO, _SHORT),
    (BasicProperties.FLAG_MESSAGE_ID, _SHORT),
    (BasicProperties.FLAG_TIMESTAMP, _TIME),
    (BasicProperties.FLAG_TYPE, _SHORT),
    (BasicProperties.FLAG_APP_ID, _SHORT),
    (BasicProperties.FLAG_CLUSTER_ID, _SHORT),
)
_LAYOUTS: dict[int, tuple[int, ...]] = {}  # by flags: at most 2**12
_SPECIAL = BasicProperties.FLAG_EXPIRATION | BasicProperties.FLAG_USER_ID | 3
_SIZES = {ord(kind): size for kind, size in zip("tbBUuIilLd", (1, 1, 1, 2, 2, 4, 4, 8, 8, 8), strict=True)}
_LONG = frozenset(b"Sx")
_LENGTH = struct.Struct(">I").unpack_from
_FLAGS_AT = 12
_OFFSET = struct.Struct(f">B{len(OFFSET)}scq")


def plain(payload: bytes, flags: int) -> bool:
    """Whether a content header surely decodes, and holds nothing that the broker would have to look at.

    False means that it has to be decoded to be known: expiry, user id, CC, nested or rare types, or nonsense.
    """
    if flags & _SPECIAL:
        return False
    layout = _LAYOUTS.get(flags)
    if layout is None:
        layout = _LAYOUTS[flags] = tuple(size for flag, size in _FIELDS if flags & flag)
    at = AT
    try:
        for size in layout:
            if size == _SHORT:
                at += 1 + payload[at]
            elif size == _TABLE:
                end = at + 4 + _LENGTH(payload, at)[0]
                at += 4
                while at < end:
                    name_end = at + 1 + payload[at]
                    if payload[at + 1 : name_end] in (b"CC", b"BCC"):
                        return False
                    kind = payload[name_end]
                    at = name_end + 1
                    if kind in _LONG:
                        at += 4 + _LENGTH(payload, at)[0]
                    else:
                        at += _SIZES[kind]
                if at != end:
                    return False
            else:
                at += size
    except (IndexError, KeyError, struct.error):
        return False
    return at == len(payload)


def offset_header(payload: bytes, offset: int) -> bytes:
    """A content header, known to be readable, with the offset as the last of its headers.

    Last, because it then stands for another one of that name, which a publisher may have sent.
    """
    flags = int.from_bytes(payload[_FLAGS_AT:AT], "big")
    at = AT
    for flag in (BasicProperties.FLAG_CONTENT_TYPE, BasicProperties.FLAG_CONTENT_ENCODING):
        if flags & flag:
            at += 1 + payload[at]
    entry = _OFFSET.pack(len(OFFSET), OFFSET, b"l", offset)
    if flags & BasicProperties.FLAG_HEADERS:
        size = _LENGTH(payload, at)[0]
        end = at + 4 + size
        return b"".join(
            (payload[:at], (size + len(entry)).to_bytes(4, "big"), payload[at + 4 : end], entry, payload[end:])
        )
    marked = (flags | BasicProperties.FLAG_HEADERS).to_bytes(2, "big")
    size_bytes = len(entry).to_bytes(4, "big")
    return b"".join((payload[:_FLAGS_AT], marked, payload[AT:at], size_bytes, entry, payload[at:]))
