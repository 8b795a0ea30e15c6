"""A broker in which every delay is arbitrary: a topic exchange, process queues, the log, confirms.

A copy that was accepted waits in `transit`, once for each destination, until the schedule moves it; copies of one
channel reach one destination in order. A confirm is answered when all destinations have it.

    publisher's channel ──► transit[channel, queue] ──► queue (drop-head at its bound)
                       └──► transit[channel, log]   ──► log   (offsets have gaps; trimmed, made anew)

Bounds are tiny, so that a short schedule meets them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct
from typing import NamedTuple

from livepush.broker import topology
from livepush.broker.backlog import Copy
from livepush.broker.framing import frames
from livepush.broker.intake import OFFSET

LOG = "log"
QUEUE_BOUND = 4

_SHORTEST = 19  # of a content header: flags, then content_type "application/json"; then the table of headers
_LENGTH = Struct(">I")
_OFFSET = bytes((len(OFFSET),)) + OFFSET.encode() + b"l"
_INT64 = Struct(">q")


class Record(NamedTuple):
    """A copy in the log; `raw` holds its offset; `at` is when it came, seconds."""

    offset: int
    raw: bytes
    body: bytes
    copy: Copy
    at: float


class Answer(NamedTuple):
    """What the broker says on a publisher's channel: `ack`, `nack` (a tag), `return` (a number), `close`."""

    what: str
    value: int


@dataclass(slots=True)
class Sent:
    """A copy between exchange and destination."""

    copy: Copy
    raw: bytes
    tag: int
    owed: set[str] = field(default_factory=set)
    logged: bool = False


@dataclass(slots=True, eq=False)
class Channel:
    """A publisher's channel in confirm mode. `confirmed` hears of every copy that is safe, or came back, at once."""

    name: str
    answers: deque[Answer] = field(default_factory=deque)
    tags: int = 0
    closed: bool = False


def properties(copy: Copy) -> bytes:
    """A copy's properties as they stand in the content header: the product's own encoding of them."""
    data = frames(copy, "", 1, 2**17)
    header = 8 + int.from_bytes(data[3:7], "big")  # the method frame goes before
    size = int.from_bytes(data[header + 3 : header + 7], "big")
    return data[header + 7 + 12 : header + 7 + size]


def at_offset(raw: bytes, offset: int) -> bytes:
    """The same properties as a stream hands them on, with the offset among the headers."""
    (size,) = _LENGTH.unpack_from(raw, _SHORTEST)
    end = _SHORTEST + 4 + size
    table = raw[_SHORTEST + 4 : end] + _OFFSET + _INT64.pack(offset)
    return raw[:_SHORTEST] + _LENGTH.pack(len(table)) + table + raw[end:]


def matches(pattern: str, key: str) -> bool:
    """Of AMQP's topic patterns, those that livepush uses: `word.#`."""
    word, _, rest = pattern.partition(".")
    if rest != "#":
        raise ValueError(f"{pattern!r}: only word.# is modelled")
    return key.split(".")[0] == word


class Broker:
    """One broker.

    Args:
        now: the time in seconds.
        safe: hears of each copy that has reached all its destinations, the log among them or not.
        poison: whether a channel is closed for a copy.
    """

    def __init__(
        self, now: Callable[[], float], safe: Callable[[Copy, bool], None], poison: Callable[[Copy], bool]
    ) -> None:
        self._now, self._safe, self._poison = now, safe, poison
        self.up, self.alarm, self.bound = True, False, True
        self.log: list[Record] = []
        self.next_offset = 0
        self.queues: dict[str, deque[Sent]] = {}
        self.transit: dict[tuple[Channel, str], deque[Sent]] = {}
        self._names = 0

    # -- publishers ----------------------------------------------------------------------------------------------------

    def open(self) -> Channel:
        """A channel in confirm mode."""
        self._names += 1
        return Channel(f"ch{self._names}")

    def publish(self, channel: Channel, copy: Copy) -> None:
        """A copy comes in. What comes on a channel that the broker has closed is thrown away."""
        channel.tags += 1
        if channel.closed:
            return
        if self._poison(copy):
            channel.closed = True
            channel.answers.append(Answer("close", 0))
            return
        logged = self.bound and any(matches(pattern, copy.key) for _, pattern in topology.LOG_BINDINGS)
        queued = any(matches(pattern, copy.key) for pattern in topology.BINDINGS)
        owed = {*(self.queues if queued else ()), *((LOG,) if logged else ())}
        sent = Sent(copy, properties(copy), channel.tags, owed, logged)
        if not owed:
            if copy.stamp is not None:
                channel.answers.append(Answer("return", copy.stamp.number))
            channel.answers.append(Answer("ack", sent.tag))
            return
        for destination in sorted(owed):
            self.transit.setdefault((channel, destination), deque()).append(sent)

    # -- between -------------------------------------------------------------------------------------------------------

    def route(self, key: tuple[Channel, str], *, nack: bool = False, skip: int = 0) -> None:
        """Moves the oldest copy of a channel to one destination; the log may refuse it, or leave out offsets."""
        channel, destination = key
        sent = self.transit[key].popleft()
        if not self.transit[key]:
            del self.transit[key]
        if destination == LOG:
            if nack and sent.copy.stamp is not None:
                sent.owed.clear()
                channel.answers.append(Answer("nack", sent.tag))
                return
            self.next_offset += skip
            raw = at_offset(sent.raw, self.next_offset)
            self.log.append(Record(self.next_offset, raw, sent.copy.body, sent.copy, self._now()))
            self.next_offset += 1
        else:
            queue = self.queues[destination]
            queue.append(sent)
            if len(queue) > QUEUE_BOUND:
                queue.popleft()  # drop-head
        self._settle(channel, sent, destination)

    def _settle(self, channel: Channel, sent: Sent, destination: str) -> None:
        if destination in sent.owed:
            sent.owed.discard(destination)
            if not sent.owed:
                channel.answers.append(Answer("ack", sent.tag))
                self._safe(sent.copy, sent.logged)

    # -- consumers -----------------------------------------------------------------------------------------------------

    def declare_queue(self) -> str:
        """A process's own queue, bound."""
        self._names += 1
        name = f"q{self._names}"
        self.queues[name] = deque()
        return name

    def drop_queue(self, name: str) -> None:
        """Its consumer has gone."""
        if self.queues.pop(name, None) is None:
            return
        for key in [key for key in self.transit if key[1] == name]:
            for sent in self.transit.pop(key):
                self._settle(key[0], sent, name)

    def read(self, offset: int) -> Record | None:
        """The first record at or above an offset: a stream answers trimmed offsets without an error."""
        at = bisect_left(self.log, offset, key=lambda record: record.offset)
        return self.log[at] if at < len(self.log) else None

    # -- faults --------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """It is killed; what was confirmed stands in the log."""
        self.up = False
        self.transit.clear()
        self.queues.clear()

    def make_log_anew(self) -> None:
        """The stream is deleted and declared again: offsets begin with 0."""
        self.log, self.next_offset = [], 0
