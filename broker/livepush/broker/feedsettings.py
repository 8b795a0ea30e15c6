"""How a feed behaves: its bounds and times, checked once."""

from __future__ import annotations

from dataclasses import dataclass

from livepush.broker import topology
from livepush.broker.url import BrokerURL

_COUNTS = ("queue_length", "prefetch", "unacked_bytes", "ack_messages", "heartbeat", "log_seconds", "log_segment_bytes")
_SECONDS = (
    "ack_seconds", "hole_seconds", "open_seconds", "silence_seconds", "retry_least", "retry_most", "ring_seconds",
    "marker_seconds", "beat_seconds",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """How a feed behaves.

    Attributes:
        url: the broker.
        instance: tells processes of one host apart, in the name of the queue.
        queue_length: messages that wait at the broker; over it the oldest are dropped, which the ingest notices.
        prefetch: messages that the broker sends ahead of their acknowledgement.
        unacked_bytes: so many bytes of bodies are acknowledged without waiting for `ack_seconds`.
        ack_messages: likewise so many messages.
        ack_seconds: a message is acknowledged so much later at the latest.
        hole_seconds: how long later messages of a publisher wait for a missing one.
        open_seconds: the deadline of an attempt, from TCP to the attached log; and again for the queue.
        heartbeat: of AMQP, seconds.
        silence_seconds: a connection without a byte for so long is given up.
        retry_least, retry_most: seconds between attempts.
        ring_seconds: how far back a process reads the log when it boots; 60 s more, since streams keep whole chunks.
        marker_seconds: an own marker is sent again so often until one comes back; so long after its confirm a log that
            does not show it is not bound.
        beat_seconds: a log that is quiet for so long gets a marker, so that positions move on.
        log_seconds, log_segment_bytes: of a log that is missing and that this user may make; see `topology`.
    """

    url: BrokerURL
    instance: str = "0"
    queue_length: int = topology.QUEUE_LENGTH
    prefetch: int = 1_000
    unacked_bytes: int = 32 * 2**20
    ack_messages: int = 100
    ack_seconds: float = 0.05
    hole_seconds: float = 10.0
    open_seconds: float = 10.0
    heartbeat: int = 10
    silence_seconds: float = 15.0
    retry_least: float = 1.0
    retry_most: float = 4.0
    ring_seconds: float = 300.0
    marker_seconds: float = 5.0
    beat_seconds: float = 20.0
    log_seconds: int = topology.LOG_SECONDS
    log_segment_bytes: int = topology.LOG_SEGMENT_BYTES

    def __post_init__(self) -> None:
        for name in (*_COUNTS, *_SECONDS):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"FeedSettings.{name} is {value!r}: it must be a number above 0")
        if self.prefetch > 65_535:
            raise ValueError(f"FeedSettings.prefetch is {self.prefetch}: AMQP allows at most 65535")
        if self.ack_messages > self.prefetch:
            why = f"it must not be above the prefetch of {self.prefetch}, or the broker waits for nothing"
            raise ValueError(f"FeedSettings.ack_messages is {self.ack_messages}: {why}")
        if self.retry_most < self.retry_least:
            why = f"it must not be below retry_least, {self.retry_least:g}"
            raise ValueError(f"FeedSettings.retry_most is {self.retry_most:g}: {why}")
