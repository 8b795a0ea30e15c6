"""What is released, in which order, out of what arrives: dedupe, order and holes, publisher by publisher.

Messages and ticks go in, releases come out; there is no clock, no broker and no reactor in here.

    arrives, of one publisher            then
    ---------------------------------    -------------------------------------------------------------------------
    exactly the next number              it is released, with what it frees of the held ones
    a number at or below                 a duplicate: nothing (but see *doubtful*)
    a later number                       held, and with it only its publisher, until the missing numbers come
    held for `hole_seconds`              given up: one `Hole` for all that is missing, then all held ones in order
    held over its bounds                 given up at once, in the same way; nothing is ever dropped silently
    a publisher never seen               its number is the base: it is taken as the next one
    the first after a reconnect          likewise, because the sink has been told `resync` for all that came before

A `Hole` is `resync` for all channels (its own are not known), so it speaks for every number that any publisher has
given before a held one: when one hole is given up, all are. Clients reload once and not once a publisher.

*Doubtful* numbers: a copy that is taken as a base says by `low` which lower numbers were not confirmed when it was
sent. Those may have been nacked and come again, behind it; they can't be released in order any more. The first of them
to come is a `Hole`, which speaks for them all.

What part 2's second source changes: the log reader meets every record with its `low`, so a publisher never seen will
have the base `low` - 1 from the log, and from the queue only number 1 is taken at once, any other waits for the reader.
Without a reader there is nothing to wait for, and waiting would cost each publisher's first event ten seconds. The
price, until then: when the broker drops (drop-head) the very first messages of a publisher, or its first after a
reconnect, nobody notices.
The reader's records enter beside `receive`, with their offset; a record whose `low` is above a missing number proves it
gone, which is `_give_up` before its time; and the place that decides on a base is `_adopt`, alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from livepush.broker.envelope import Message, Stamp


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
        missing: how many numbers; 0 where only a doubtful number came again.
    """

    missing: int = 0


Release = Message | Hole


@dataclass(slots=True)
class _Held:
    item: Release
    bytes: int
    since: float


@dataclass(slots=True)
class _Publisher:
    """What is known of one publisher.

    Attributes:
        next: the number after the highest contiguous one; 0, which no message has, while the next higher is the base.
        floor: the highest contiguous number, valid while `next` is 0.
        held: later numbers, in order of arrival.
        doubtful: numbers from the first to below the second were not confirmed when a base was taken above them.
    """

    next: int
    used: float
    floor: int = 0
    held: dict[int, _Held] = field(default_factory=dict)
    doubtful: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class IngestCounters:
    """Since the start: numbers that came again, that were held, that were given up, and publishers forgotten."""

    duplicates: int = 0
    held: int = 0
    missing: int = 0
    forgotten: int = 0


class Ingest:
    """One flow out of many publishers'. `now` is any monotonic clock in seconds, the same for all calls."""

    def __init__(self, settings: IngestSettings | None = None) -> None:
        self.settings = settings or IngestSettings()
        self.counters = IngestCounters()
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

    def receive(self, stamp: Stamp, item: Release, now: float) -> Sequence[Release]:
        """A copy came from the queue: a message, or a `Hole` in place of one that can't be read.

        Args:
            stamp: its identity.
            item: what to release in its place.
            now: the time.
        """
        publisher = self._publishers.get(stamp.publisher)
        if publisher is not None and stamp.number == publisher.next:
            publisher.next += 1
            publisher.used = now
            if not publisher.held:
                return (item,)
            return [item, *self._drain(stamp.publisher, publisher)]
        if publisher is None:
            return [*self._make_room(), *self._adopt(stamp, _Publisher(0, now), item)]
        publisher.used = now
        if not publisher.next:
            return self._adopt(stamp, publisher, item) if stamp.number > publisher.floor else self._repeated()
        if stamp.number < publisher.next:
            first, end = publisher.doubtful
            if first <= stamp.number < end:
                publisher.doubtful = (0, 0)
                return (Hole(),)
            return self._repeated()
        if stamp.number in publisher.held:
            return self._repeated()
        return self._hold(stamp, publisher, item, now)

    def tick(self, now: float) -> Sequence[Release]:
        """Gives up what has waited for too long, forgets who was silent for too long; to be called each second."""
        limit = now - self.settings.hole_seconds
        overdue = any(next(iter(publisher.held.values())).since <= limit for publisher in self._holding.values())
        releases = self._give_up() if overdue else ()
        limit = now - self.settings.publisher_seconds
        self._forget([name for name, publisher in self._publishers.items() if publisher.used <= limit])
        return releases

    def reattached(self) -> Sequence[Release]:
        """The connection was lost and is there again, and the sink has just been told `resync` for all channels.

        That resync speaks for everything that was given a number before: nobody waits for it any longer. Held messages
        are released now, in order; after that every publisher's next higher number is taken, whatever it is, and
        numbers at or below the known ones stay duplicates, because publishers send again what was not confirmed.
        """
        releases = self._release_held()
        for publisher in self._publishers.values():
            if publisher.next:
                publisher.floor, publisher.next = publisher.next - 1, 0
        return releases

    def _adopt(self, stamp: Stamp, publisher: _Publisher, item: Release) -> Sequence[Release]:
        """Takes a number as the base of its publisher."""
        self._publishers[stamp.publisher] = publisher
        publisher.next = stamp.number + 1
        publisher.doubtful = (max(publisher.floor + 1, stamp.low), stamp.number)
        return (item,)

    def _hold(self, stamp: Stamp, publisher: _Publisher, item: Release, now: float) -> Sequence[Release]:
        size = item.size if isinstance(item, Message) else 0
        publisher.held[stamp.number] = _Held(item, size, now)
        self._holding[stamp.publisher] = publisher
        self._held_messages += 1
        self._held_bytes += size
        self.counters.held += 1
        if self._held_messages > self.settings.held_messages or self._held_bytes > self.settings.held_bytes:
            return self._give_up()
        return ()

    def _drain(self, name: str, publisher: _Publisher) -> list[Release]:
        """What a filled hole frees."""
        releases: list[Release] = []
        while (held := publisher.held.pop(publisher.next, None)) is not None:
            publisher.next += 1
            self._held_messages -= 1
            self._held_bytes -= held.bytes
            releases.append(held.item)
        if not publisher.held:
            del self._holding[name]
        return releases

    def _give_up(self) -> Sequence[Release]:
        """All holes at once; see the top of the module."""
        missing = sum(
            max(publisher.held) + 1 - publisher.next - len(publisher.held) for publisher in self._holding.values()
        )
        self.counters.missing += missing
        return [Hole(missing), *self._release_held()] if self._holding else ()

    def _release_held(self) -> list[Release]:
        """Everything that is held, in each publisher's order; what is missing there is not waited for any longer."""
        releases: list[Release] = []
        for publisher in self._holding.values():
            numbers = sorted(publisher.held)
            releases.extend(publisher.held[number].item for number in numbers)
            publisher.next = numbers[-1] + 1
            publisher.held = {}
        self._holding.clear()
        self._held_messages = self._held_bytes = 0
        return releases

    def _make_room(self) -> Sequence[Release]:
        """At the bound of publishers a tenth is forgotten, so that a flood of new ones costs a sort now and then."""
        if len(self._publishers) < self.settings.publishers:
            return ()
        silent = sorted(self._publishers, key=lambda name: self._publishers[name].used)
        silent = silent[: len(silent) // 10 + 1]
        releases = self._give_up() if any(name in self._holding for name in silent) else ()
        self._forget(silent)
        return releases

    def _forget(self, names: list[str]) -> None:
        """Never one that holds messages: they wait less long than any publisher is remembered, or were given up."""
        for name in names:
            if name not in self._holding:
                del self._publishers[name]
                self.counters.forgotten += 1

    def _repeated(self) -> Sequence[Release]:
        self.counters.duplicates += 1
        return ()
