"""Streams: logs that are read from any place, by as many as like, and from which no reader takes anything away.

    first                                      next          a record's offset goes with it, as header `x-stream-offset`
      |  0 1 2 3 | 4 5 6 7 | 8 9 10 11 | 12 13  |            segments of `x-stream-max-segment-size-bytes`
                     ^ a reader                              what an acknowledgement gives it is room for one more

When a segment is full, the oldest ones go that are over `x-max-age` or too many for `x-max-length-bytes`; the youngest
stays. In memory there is a bound besides: a quarter of what the broker may hold. Unlike RabbitMQ's, offsets have no
holes, a time is never asked of the wall clock, and headers that are tables arrive.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from twisted.internet.interfaces import IReactorTime

from livepush.broker.embedded.limits import Ledger
from livepush.broker.embedded.message import Message
from livepush.broker.embedded.queue import Entry, Queue, Taker
from livepush.broker.embedded.refusal import (
    NOT_IMPLEMENTED,
    PRECONDITION_FAILED,
    ChannelRefused,
    ConnectionRefused,
)

STREAM = "stream"
OFFSET_ARGUMENT = "x-stream-offset"
SEGMENT_BYTES = 500_000_000

_SHARE = 4  # of the ledger's limit: the part that one stream may have
_SEGMENTS = 8  # that it has then at least: or cutting one off would leave too little
_TIME = re.compile(r"([1-9][0-9]{0,8})([YMDhms])", re.ASCII)
_SECONDS = {"Y": 31_536_000, "M": 2_592_000, "D": 86_400, "h": 3600, "m": 60, "s": 1}


class Retention:
    """What a stream's arguments say: `x-max-age`, `x-max-length-bytes`, `x-stream-max-segment-size-bytes`.

    Attributes:
        age: seconds; None: for ever.
        bytes: of all segments; None: no bound but that of memory.
        segment_bytes: with `MESSAGE_OVERHEAD` for each record.

    Raises:
        ChannelRefused: 406 for other arguments and for values that RabbitMQ refuses.
    """

    __slots__ = ("age", "bytes", "segment_bytes")

    def __init__(self, name: str, arguments: Mapping[str, object]) -> None:
        known = {"x-queue-type", "x-max-age", "x-max-length-bytes", "x-stream-max-segment-size-bytes"}
        bad = set(arguments) - known
        age = arguments.get("x-max-age")
        self.age = None if age is None else interval(age)
        if self.age is None and "x-max-age" in arguments:
            bad.add("x-max-age")
        numbers: list[int | None] = []
        for key in ("x-max-length-bytes", "x-stream-max-segment-size-bytes"):
            value = arguments.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                numbers.append(int(value))
            else:
                numbers.append(None)
                if key in arguments:
                    bad.add(key)
        if bad:
            listed = ", ".join(f"'{key}'" for key in sorted(map(str, bad)))
            raise _refused(
                f"invalid or (in the embedded broker) unsupported arg {listed} for stream '{name}' in vhost '/'"
            )
        self.bytes, segment_bytes = numbers
        self.segment_bytes = SEGMENT_BYTES if segment_bytes is None else segment_bytes


@dataclass(slots=True)
class Segment:
    """A piece of the log that goes as a whole: how many records, how many bytes, and when the last one came."""

    count: int = 0
    bytes: int = 0
    last: float = 0.0


class Stream:
    """A stream of records, with the methods of a `Queue`.

    Attributes:
        first, next: the offset of the oldest record, and that of the one to come.
    """

    auto_delete = False
    owner = None

    __slots__ = (
        "_bound",
        "_clock",
        "_cursors",
        "_ledger",
        "_records",
        "_retention",
        "_segment_bytes",
        "_segments",
        "_times",
        "arguments",
        "durable",
        "first",
        "name",
    )

    def __init__(self, name: str, ledger: Ledger, clock: IReactorTime, arguments: Mapping[str, object]) -> None:
        self.name, self.arguments, self.durable = name, dict(arguments), True
        self._retention = Retention(name, arguments)
        share = max(1, ledger.limit // _SHARE)
        self._bound = share if self._retention.bytes is None else min(share, self._retention.bytes)
        self._segment_bytes = min(self._retention.segment_bytes, share // _SEGMENTS)
        self._ledger, self._clock = ledger, clock
        self._records: list[Message] = []
        self._times: list[float] = []
        self._segments = deque([Segment()])
        self._cursors: dict[Taker, int] = {}
        self.first = 0

    @property
    def next(self) -> int:
        """The offset of the next record to come."""
        return self.first + len(self._records)

    @property
    def count(self) -> int:
        """How many records there are."""
        return len(self._records)

    @property
    def consumers(self) -> tuple[Taker, ...]:
        """Who reads it."""
        return tuple(self._cursors)

    def put(self, message: Message) -> bool:
        """Appends a record, and hands it on to readers that have come so far. It never refuses."""
        record = message.with_offset(self.next)
        now = self._clock.seconds()
        segment = self._segments[-1]
        if segment.count and segment.bytes + record.cost > self._segment_bytes:
            segment = Segment()
            self._segments.append(segment)
            self._trim(now)
        segment.count += 1
        segment.bytes += record.cost
        segment.last = now
        self._records.append(record)
        self._times.append(now)
        self._ledger.held += record.cost
        self.pump()
        return True

    def pump(self) -> None:
        """Hands each reader what it has not got, until it is at the end or can take no more."""
        for consumer, cursor in list(self._cursors.items()):
            if cursor < self.next and consumer.ready:
                at = max(cursor, self.first)
                while at < self.next and consumer.ready:
                    consumer.deliver(self, Entry(self._records[at - self.first], at))
                    at += 1
                if consumer in self._cursors:
                    self._cursors[consumer] = at

    def start(self, arguments: Mapping[str, object], *, acks: bool, prefetch: int) -> int:
        """The offset at which a consumer with these arguments begins; one beyond the end waits until it is reached.

        Raises:
            ConnectionRefused: 540, a consumer that does not acknowledge.
            ChannelRefused: 406, one without a prefetch or with arguments that can't be read.
        """
        if not acks:
            raise self._unsupported("automatic acknowledgement")
        if not prefetch:
            raise _refused(f"consumer prefetch count is not set for stream '{self.name}' in vhost '/'")
        if set(arguments) - {OFFSET_ARGUMENT}:
            raise _refused("consumer arguments besides x-stream-offset in the embedded broker")
        asked = arguments.get(OFFSET_ARGUMENT)
        named = {None: self.next, "next": self.next, "first": self.first, "last": max(self.first, self.next - 1)}
        if isinstance(asked, int) and not isinstance(asked, bool):
            return int(asked)
        if asked is None or (isinstance(asked, str) and asked in named):
            return named[asked]
        if (seconds := interval(asked)) is not None:
            return self.first + bisect_left(self._times, self._clock.seconds() - seconds)
        raise _refused(f"invalid arg 'x-stream-offset' for stream '{self.name}' in vhost '/'")

    def attach(self, consumer: Taker, start: int) -> None:
        """A consumer begins at the offset that `start` gave."""
        self._cursors[consumer] = start
        self.pump()

    def detach(self, consumer: Taker) -> None:
        """A consumer ends."""
        self._cursors.pop(consumer, None)

    def settle(self, entry: Entry) -> None:
        """An acknowledgement gives its consumer room, and takes nothing away."""

    def give_back(self, entry: Entry) -> None:
        """Nor does a channel that ends."""

    def check_get(self) -> None:
        """540: a stream is read by consumers only."""
        raise self._unsupported("basic.get")

    def check_reject(self) -> None:
        """540: nothing goes back to where it was never taken from."""
        raise self._unsupported("basic.nack and basic.reject")

    def get(self) -> Entry | None:
        """See `check_get`."""
        raise self._unsupported("basic.get")

    def purge(self) -> int:
        """540: a stream forgets by its retention only."""
        raise self._unsupported("queue.purge")

    def close(self) -> None:
        """It was deleted: its records go and its consumers are told."""
        self._ledger.held -= sum(segment.bytes for segment in self._segments)
        self._records, self._times, self._segments = [], [], deque([Segment()])
        consumers, self._cursors = self._cursors, {}
        for consumer in consumers:
            consumer.cancelled()

    def _trim(self, now: float) -> None:
        """Cuts old segments off, when a new one has been begun: it alone is sure to stay."""
        segments, age = self._segments, self._retention.age
        held = sum(segment.bytes for segment in segments)
        gone = 0
        while len(segments) > 1 and (held > self._bound or (age is not None and now - segments[0].last > age)):
            oldest = segments.popleft()
            held -= oldest.bytes
            gone += oldest.count
            self._ledger.held -= oldest.bytes
        del self._records[:gone], self._times[:gone]
        self.first += gone

    def _unsupported(self, what: str) -> ConnectionRefused:
        return ConnectionRefused(NOT_IMPLEMENTED, f"{what} not supported by stream queues queue '{self.name}'")


AnyQueue: TypeAlias = Queue | Stream


def interval(text: object) -> int | None:
    """Seconds of an interval such as `600s`, `11m` or `1h`; None if it is none."""
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    return None if found is None else int(found[1]) * _SECONDS[found[2]]


def check_declaration(name: str, *, durable: bool, exclusive: bool, auto_delete: bool) -> None:
    """406: a stream is durable, and nobody's own."""
    bad = {"non-durable": not durable, "exclusive-owner": exclusive, "auto-delete": auto_delete}
    for what, wrong in bad.items():
        if wrong:
            raise _refused(f"invalid property '{what}' for queue '{name}' in vhost '/'")


def _refused(why: str) -> ChannelRefused:
    return ChannelRefused(PRECONDITION_FAILED, why)
