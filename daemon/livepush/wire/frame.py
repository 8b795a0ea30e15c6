"""WebSocket frames as a server sends them (RFC 6455 section 5.2): one unmasked, unfragmented frame a message.

A frame is built once and handed to every connection; building it here and not in Autobahn's `sendMessage` is what makes
one encoding serve all.
"""

from __future__ import annotations

import struct

_TEXT = 0x81  # FIN and opcode 1
_BINARY = 0x82  # FIN and opcode 2


def text_frame(payload: bytes) -> bytes:
    """The frame of one text message; `payload` is UTF-8."""
    return _frame(_TEXT, payload)


def binary_frame(payload: bytes) -> bytes:
    """The frame of one binary message."""
    return _frame(_BINARY, payload)


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return struct.pack(">BBH", first, 126, size) + payload
    return struct.pack(">BBQ", first, 127, size) + payload
