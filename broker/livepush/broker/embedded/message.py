"""A message as the broker keeps it: the bytes that came, checked once and passed on unchanged."""

from __future__ import annotations

import struct

from pika.spec import BasicProperties

from livepush.broker.embedded.limits import MESSAGE_OVERHEAD
from livepush.broker.embedded.properties import offset_header, plain
from livepush.broker.embedded.refusal import (
    FRAME_ERROR,
    NOT_IMPLEMENTED,
    PRECONDITION_FAILED,
    SYNTAX_ERROR,
    ChannelRefused,
    ConnectionRefused,
)

_HEADER = struct.Struct(">HHQH")
_BASIC = 60
_PROPERTIES_AT = 12


class Message:
    """Shared by all queues that it was routed to.

    Attributes:
        address: exchange and routing key as two AMQP short strings.
        header: the payload of the content header frame.
        body: the body, joined.
        cost: what it counts in the ledger, for each queue that holds it.
    """

    __slots__ = ("address", "body", "cost", "header")

    def __init__(self, address: bytes, header: bytes, body: bytes) -> None:
        self.address, self.header, self.body = address, header, body
        self.cost = len(header) + len(body) + MESSAGE_OVERHEAD

    def with_offset(self, offset: int) -> Message:
        """The same as a record of a stream, which tells its offset in a header."""
        return Message(self.address, offset_header(self.header, offset), self.body)

    def route(self) -> tuple[str, str]:
        """Exchange and routing key."""
        end = 1 + self.address[0]
        return self.address[1:end].decode(), self.address[end + 1 :].decode()


class Publication:
    """`basic.publish` while its content is coming.

    Attributes:
        exchange, key: where it goes.
        mandatory: whether it is returned when no queue takes it.
        missing: bytes of the body that have not come; -1 before the content header.
    """

    __slots__ = ("_address", "_body", "_header", "exchange", "key", "mandatory", "missing", "received")

    def __init__(self, payload: bytes) -> None:
        """Reads the method's payload: class and method (4), ticket (2), exchange, key, bits (AMQP 1.8.3.7)."""
        try:
            exchange_end = 7 + payload[6]
            key_end = exchange_end + 1 + payload[exchange_end]
            self.exchange = payload[7:exchange_end].decode()
            self.key = payload[exchange_end + 1 : key_end].decode()
            bits = payload[key_end]
        except (IndexError, UnicodeDecodeError) as error:
            raise ConnectionRefused(SYNTAX_ERROR, "basic.publish can't be read") from error
        if key_end + 1 != len(payload):
            raise ConnectionRefused(SYNTAX_ERROR, "basic.publish of a wrong length")
        if bits & 2:
            raise ConnectionRefused(NOT_IMPLEMENTED, "immediate=true")
        self.mandatory = bool(bits & 1)
        self._address = payload[6:key_end]
        self._header = b""
        self._body: bytes | bytearray = b""
        self.missing, self.received = -1, 0

    def take_header(self, payload: bytes, largest: int, user: str) -> None:
        """The content header. Its properties are checked here, so that no consumer gets what can't be decoded.

        Args:
            largest: bytes of body that are taken.
            user: who is logged in; `user_id` may name nobody else.
        """
        try:
            basic, weight, size, flags = _HEADER.unpack_from(payload)
        except struct.error as error:
            raise ConnectionRefused(SYNTAX_ERROR, "content header too short") from error
        if basic != _BASIC or weight or flags & 1:
            raise ConnectionRefused(FRAME_ERROR, "content header that is none of class basic")
        if size > largest:
            why = f"message size {size} is larger than configured max size {largest}"
            raise ChannelRefused(PRECONDITION_FAILED, why)
        if not plain(payload, flags):
            _check_properties(payload, user)
        self._header, self.missing = payload, size

    def take_body(self, payload: bytes) -> None:
        """A piece of the body."""
        size = len(payload)
        if size > self.missing:
            raise ConnectionRefused(FRAME_ERROR, "message body is longer than its header says")
        if size:
            if not self.received:
                self._body = payload  # most messages are one frame
            elif isinstance(self._body, bytes):
                self._body = bytearray(self._body) + payload
            else:
                self._body += payload
            self.missing -= size
            self.received += size

    def message(self) -> Message:
        """What came, once `missing` is 0."""
        return Message(self._address, self._header, bytes(self._body))


def _check_properties(payload: bytes, user: str) -> None:
    """Decodes what `plain` does not vouch for, and refuses what would need more than passing on."""
    properties = BasicProperties()
    try:
        properties.decode(payload, _PROPERTIES_AT)
    except Exception as error:  # whatever pika's codec meets in foreign bytes
        raise ConnectionRefused(SYNTAX_ERROR, f"message properties: {type(error).__name__}") from error
    if properties.user_id is not None and properties.user_id != user:
        why = f"user_id property set to '{properties.user_id}' but authenticated user was '{user}'"
        raise ChannelRefused(PRECONDITION_FAILED, why)
    if properties.expiration is not None:
        raise ConnectionRefused(NOT_IMPLEMENTED, "message expiration in the embedded broker")
    headers = properties.headers
    if headers and ("CC" in headers or "BCC" in headers):
        raise ConnectionRefused(NOT_IMPLEMENTED, "sender-selected distribution (CC, BCC) in the embedded broker")
