"""How much clients can make the broker hold."""

from __future__ import annotations

from dataclasses import dataclass, fields

FRAME_MIN = 4096  # AMQP 0-9-1, 4.2.3: every peer takes frames of this size
MESSAGE_OVERHEAD = 256  # bytes that a queued message takes besides its own, roughly


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one broker, all of them at least 1. What happens at each is said here.

    Attributes:
        frame_bytes: of one frame; told to clients. A larger one: 501, the connection ends.
        message_bytes: of one body. A larger one: 406, the channel ends.
        held_bytes: of all messages that are queued, delivered and not acknowledged, or still coming in, with
            `MESSAGE_OVERHEAD` each. Beyond it a message is kept by no queue: a nack where confirms are on, else it is
            counted (`EmbeddedBroker.refused`) and gone. A stream has a quarter of it; beyond it its oldest records go.
        output_bytes: that a client has not read, besides 128 KiB of deliveries. Beyond it nothing more is read from
            that client until it has read.
        connections: further ones are closed at once.
        channels: of one connection; told to clients. Opening more: 530, the connection ends.
        consumers: of one channel. More: 530, the connection ends.
        unacked: messages of one channel that wait for an acknowledgement. A consumer gets no more; `get`: 506.
        queues, exchanges, bindings: of all connections together. One more: 406, the channel ends.
        handshake_seconds: from connecting to open; then the connection is cut.
        closing_seconds: for the client to answer a close; then the connection is cut.
    """

    frame_bytes: int = 128 * 1024
    message_bytes: int = 16 * 1024 * 1024
    held_bytes: int = 512 * 1024 * 1024
    output_bytes: int = 1024 * 1024
    connections: int = 256
    channels: int = 255
    consumers: int = 1000
    unacked: int = 100_000
    queues: int = 2000
    exchanges: int = 500
    bindings: int = 5000
    handshake_seconds: float = 10.0
    closing_seconds: float = 2.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = FRAME_MIN if field.name == "frame_bytes" else 0.01 if field.name.endswith("_seconds") else 1
            if not value >= least:
                raise ValueError(f"{field.name} is {value!r}: must be at least {least}")
        if self.channels > 0xFFFF:
            raise ValueError(f"channels is {self.channels!r}: AMQP numbers them with 16 bits, so at most 65535")


class Ledger:
    """Counts the bytes held for all clients together."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    @property
    def full(self) -> bool:
        """Whether nothing more should be kept."""
        return self.held >= self.limit
