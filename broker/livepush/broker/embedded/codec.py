"""Method frames, by pika's codec, which must be expected to raise anything at foreign bytes."""

from __future__ import annotations

import struct

from pika import amqp_object, spec

from livepush.broker.embedded.framing import END, METHOD, Frame, pack_head
from livepush.broker.embedded.refusal import COMMAND_INVALID, SYNTAX_ERROR, ConnectionRefused

PUBLISH = struct.pack(">I", spec.Basic.Publish.INDEX)


def method_frame(channel: int, method: amqp_object.Method) -> bytes:
    """A whole frame."""
    payload = b"".join((struct.pack(">I", type(method).INDEX or 0), *method.encode()))
    return b"".join((pack_head(METHOD, channel, len(payload)), payload, END))


def decode_method(payload: bytes) -> amqp_object.Method:
    """The method of a frame's payload.

    Raises:
        ConnectionRefused: 503 for an unknown method, 502 for arguments that can't be read.
    """
    if len(payload) < 4:
        raise ConnectionRefused(SYNTAX_ERROR, "a method without its number")
    kind = spec.methods.get(int.from_bytes(payload[:4], "big"))
    if kind is None:
        raise ConnectionRefused(COMMAND_INVALID, "unknown method")
    method = kind.__new__(kind)  # decode() sets every attribute; not every method can be made without arguments
    try:
        method.decode(payload, 4)
    except Exception as error:  # lengths, types, numbers, depth: all are the client's fault
        raise ConnectionRefused(SYNTAX_ERROR, f"{method.NAME}: {type(error).__name__}") from error
    if not isinstance(method, spec.Connection.StartOk):
        for value in vars(method).values():
            if isinstance(value, bytes):  # pika gives these back when they are no UTF-8
                raise ConnectionRefused(SYNTAX_ERROR, f"{method.NAME}: a name that is not UTF-8")
    return method


def called(frame: Frame | None) -> tuple[int, int]:
    """Class and method that a refusal answers, as far as the frame tells."""
    if frame is None or frame[0] != METHOD or len(frame[2]) < 4:
        return 0, 0
    class_id, method_id = struct.unpack_from(">HH", frame[2])
    return class_id, method_id
