"""What is released, in which order, out of two sources: dedupe, order and holes, publisher by publisher.

Copies and ticks go in, releases come out by a callback, in order; there is no clock, no broker and no reactor in here.
The own queue is quick and may lose; the log reader is complete, a moment later, and gives each record its offset.

    arrives, of one publisher            then
    ---------------------------------    -------------------------------------------------------------------------
    exactly the next number              it is released, with what it frees of the held ones
    a number at or below, or held        a duplicate: nothing; from the log it still tells the offset
    a later number                       held, and with it only its publisher, until the missing numbers come
    held, and a record of the log says   given up: a `Hole` and then what is held. `low` of a record says that all
      by `low` that they can't             numbers below stand in the log before it; who has read it and has not met
                                           them knows that they are not there
    held for `hole_seconds`              given up
    held over the bounds                 all publishers are given up at once; nothing is ever dropped silently

    a publisher never seen               then
    ---------------------------------    -------------------------------------------------------------------------
    number 1, from either source         it is the next: numbers begin with 1
    from the log                         `low` is its next number: what is below stood in the log before this process
                                           began to read. Held numbers below it are dropped: where the log was not bound
                                           to them, without a hole, and the feed says so
    from the queue, any other number     held, as if something were missing, until the reader knows more
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

from livepush.broker.envelope import Message, Stamp
from livepush.broker.logindex import LogIndex


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """Bounds of an ingest.

    Attributes:
        hole_seconds: how long a later number waits for the missing ones.
        held_messages: held messages of all publishers together; over it all holes are given up at once.
        held_bytes: the same in bytes of body.
        publishers: known publishers; over it the tenth that was silent for longest is forgotten.
        publisher_seconds: a publisher that was silent for so long is forgotten; longer than the log's ten minutes.
    """

    hole_seconds: float = 10.0
    held_messages: int = 10_000
    held_bytes: int = 16 * 2**20
    publishers: int = 10_000
    publisher_seconds: float = 3600.0

    def __post_init__(self) -> None:
        for name in ("hole_seconds", "held_messages", "held_bytes", "publishers", "publisher_seconds"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"IngestSettings.{name} is {value!r}: it must be a number above 0")


@dataclass(frozen=True, slots=True)
class Hole:
    """Something was lost, or can't be read, and which channels it was for is not known.

    Attributes:
        stamp: of the record behind it, or, where nothing is missing before that, of the one that can't be read.
        missing: how many numbers; 0: the record itself can't be read.
    """

    stamp: Stamp
    missing: int = 0


Item = Message | Hole
Release = Callable[[Item, int | None], None]
"""Gets what is released and, if the log's copy has been met, its offset: of a hole, that of the record behind it."""


@dataclass(slots=True)
class _Held:
    item: Item
    stamp: Stamp
    bytes: int
    since: float
    offset: int | None


@dataclass(slots=True)
class _Publisher:
    """What is known of one publisher.

    Attributes:
        next: the number after the highest contiguous one; 0, which no message has, while its base is not known.
        used: when it was heard of last.
        settled: all numbers up to it stand in the log before what has been read of it.
        held: later numbers, in order of arrival.
        order: the same, as a heap.
    """

    next: int
    used: float
    settled: int = 0
    held: dict[int, _Held] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)


@dataclass(slots=True)
class IngestCounters:
    """Since the start: copies that came again, messages that were held, numbers that were given up, publishers
    forgotten."""

    duplicates: int = 0
    held: int = 0
    missing: int = 0
    forgotten: int = 0


class Ingest:
    """One flow out of many publishers'. `now` is any monotonic clock in seconds, the same for all calls.

    Args:
        log: is told what is held and what is released; the records themselves are noted there before they come here.
        release: gets what is released, in order; while it runs `log.reached` is that release's. It must not raise.
        settings: bounds.
    """

    def __init__(self, log: LogIndex, release: Release, settings: IngestSettings | None = None) -> None:
        self.settings = settings or IngestSettings()
        self.counters = IngestCounters()
        self._log, self._give = log, release
        self._publishers: dict[str, _Publisher] = {}
        self._holding: dict[str, _Publisher] = {}
        self._held_messages = self._held_bytes = 0

    @property
    def publishers(self) -> int:
        """How many are known."""
        return len(self._publishers)

    @property
    def held(self) -> int:
        """How many messages are held."""
        return self._held_messages

    def is_new(self, stamp: Stamp) -> bool:
        """Whether this number was never received: only then anybody needs to read the body."""
        publisher = self._publishers.get(stamp.publisher)
        return publisher is None or (stamp.number >= publisher.next and stamp.number not in publisher.held)

    def repeat(self, stamp: Stamp, offset: int | None, now: float) -> bool:
        """A copy of a number that is not new.

        Args:
            stamp: its identity.
            offset: where it stands in the log; None: it came from the queue.
            now: the time.

        Returns:
            Whether that number was released, or given up, before: then the offset is its entry's.
        """
        publisher = self._publishers[stamp.publisher]
        publisher.used = now
        self.counters.duplicates += 1
        if offset is None:
            return stamp.number < publisher.next
        held = publisher.held.get(stamp.number)
        if held is not None and held.offset is None:
            held.offset = offset
            self._log.hold(offset)
        self._learn(publisher, stamp)
        if publisher.held:
            self._resolve(stamp.publisher, publisher)
        return held is None

    def receive(self, stamp: Stamp, item: Item, offset: int | None, now: float) -> None:
        """A copy of a new number: a message, or a `Hole` in place of one that can't be read.

        Args:
            stamp: its identity.
            item: what to release in its place.
            offset: where it stands in the log; None: it came from the queue.
            now: the time.
        """
        publisher = self._publishers.get(stamp.publisher)
        if publisher is None:
            self._make_room()
            publisher = self._publishers[stamp.publisher] = _Publisher(0, now)
        publisher.used = now
        if offset is not None:
            self._learn(publisher, stamp)
        elif not publisher.next and stamp.number == 1:
            publisher.next = 1
        if stamp.number == publisher.next:
            publisher.next += 1
            self._give(item, offset)
            if publisher.held:
                self._resolve(stamp.publisher, publisher)
        else:
            self._hold(stamp, publisher, item, offset, now)

    def tick(self, now: float) -> None:
        """Gives up what has waited for too long, forgets who was silent for too long; to be called each second."""
        limit = now - self.settings.hole_seconds
        for name, publisher in list(self._holding.items()):
            self._resolve(name, publisher, limit)
        limit = now - self.settings.publisher_seconds
        self._forget([name for name, publisher in self._publishers.items() if publisher.used <= limit])

    def clear(self) -> None:
        """The log is another one, and the sink has been told: nobody is known, nothing is held."""
        self._publishers.clear()
        self._holding.clear()
        self._held_messages = self._held_bytes = 0

    # -- what the log proves -------------------------------------------------------------------------------------------

    def _learn(self, publisher: _Publisher, stamp: Stamp) -> None:
        """All numbers below `low` stand in the log before this record."""
        if stamp.low > publisher.settled:
            publisher.settled = stamp.low - 1
            if not publisher.next:
                self._base(publisher, stamp)

    def _base(self, publisher: _Publisher, stamp: Stamp) -> None:
        """The first record of a publisher: whatever is below `low` was in the log before this process read it."""
        publisher.next = stamp.low
        while publisher.order and publisher.order[0] < stamp.low:
            self._unhold(publisher)

    # -- what is held --------------------------------------------------------------------------------------------------

    def _hold(self, stamp: Stamp, publisher: _Publisher, item: Item, offset: int | None, now: float) -> None:
        size = item.size if isinstance(item, Message) else 0
        publisher.held[stamp.number] = _Held(item, stamp, size, now, offset)
        heappush(publisher.order, stamp.number)
        self._holding[stamp.publisher] = publisher
        self._held_messages += 1
        self._held_bytes += size
        self.counters.held += 1
        if offset is not None:
            self._log.hold(offset)
        self._resolve(stamp.publisher, publisher)
        if self._held_messages > self.settings.held_messages or self._held_bytes > self.settings.held_bytes:
            self._give_up_all()

    def _unhold(self, publisher: _Publisher) -> _Held:
        """Takes the lowest of the held numbers out."""
        held = publisher.held.pop(heappop(publisher.order))
        self._held_messages -= 1
        self._held_bytes -= held.bytes
        if held.offset is not None:
            self._log.release(held.offset)
        return held

    def _resolve(self, name: str, publisher: _Publisher, overdue: float = -inf) -> None:
        """Releases what is held, up to the first hole that may still be filled.

        Args:
            name: the publisher's.
            publisher: it has just learnt something, or time has passed.
            overdue: what has been held since then, or for longer, does not wait any more.
        """
        while publisher.order:
            number = publisher.order[0]
            if number != publisher.next:
                oldest = next(iter(publisher.held.values())).since
                if not self._is_gone(publisher, number) and oldest > overdue:
                    return
                held = publisher.held[number]
                missing = number - publisher.next if publisher.next else 1  # at least
                self.counters.missing += missing
                self._give(Hole(held.stamp, missing), held.offset)
            held = self._unhold(publisher)
            publisher.next = number + 1
            self._give(held.item, held.offset)
        self._holding.pop(name, None)

    def _is_gone(self, publisher: _Publisher, number: int) -> bool:
        """Whether what is missing below a held number can't come any more: the log was read past its place."""
        return publisher.settled >= number - 1

    def _give_up_all(self) -> None:
        for name, publisher in list(self._holding.items()):
            self._resolve(name, publisher, inf)

    # -- the table of publishers ---------------------------------------------------------------------------------------

    def _make_room(self) -> None:
        """At the bound of publishers a tenth is forgotten, so that a flood of new ones costs a sort now and then."""
        if len(self._publishers) < self.settings.publishers:
            return
        silent = sorted(self._publishers, key=lambda name: self._publishers[name].used)
        silent = silent[: len(silent) // 10 + 1]
        if any(name in self._holding for name in silent):
            self._give_up_all()
        self._forget(silent)

    def _forget(self, names: list[str]) -> None:
        """Never one that holds messages: they wait less long than any publisher is remembered, or were given up."""
        for name in names:
            if name not in self._holding:
                del self._publishers[name]
                self.counters.forgotten += 1
