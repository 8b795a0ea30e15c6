"""What was released lately, channel by channel, in feed order, and what is not there any more.

A ring serves whoever was not listening for a moment: by feed index on the process that issued the position, by log
offset on any other. It is bounded by age and number of entries per channel and by bytes in total; the oldest go first,
and what has gone is known, so that an incomplete answer is never taken for a complete one:

    of an entry that goes   is kept
    ---------------------   -------------------------------------------------------------------------------------------
    its feed index          as the channel's floor: whoever was before it on this process is told `trimmed`
    its log offset          likewise, for those who come from another process
    its id, if the log's    as *adrift*: where it stands is not known, so nobody from another process is answered until
      copy was not met yet    the log reader meets it. Such entries are kept to twice the bounds, to make that rare

A loss that may concern any channel (a hole) is a place of its own, and is never forgotten: one index and one offset.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heapreplace, merge
from operator import attrgetter

from livepush.broker.envelope import Event

OVERHEAD_BYTES = 700
"""What an entry costs besides its body: objects, the parsed dict, its position, its places in the ring."""

ADRIFT = 100_000
"""Ids of 100 bytes: what a reader that is half a minute behind has not shown yet."""


@dataclass(frozen=True, slots=True)
class RingSettings:
    """Bounds of the ring.

    Attributes:
        seconds: no entry is kept longer.
        events: entries per channel.
        bytes: of all channels together, body and overhead.
    """

    seconds: float = 300.0
    events: int = 1_000
    bytes: int = 64 * 2**20

    def __post_init__(self) -> None:
        for name in ("seconds", "events", "bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"ring {name}: {getattr(self, name)!r} must be above 0")


@dataclass(slots=True, eq=False)
class Entry:
    """One released event, or the place of a loss. Only its offset changes, once.

    Attributes:
        index: the feed index, 1, 2, 3 ... over all channels of this process.
        event: None where events may be missing; `why` says the reason then.
        id: the event's id on the wire, or that of the record that told a loss.
        ts: when Django published it, milliseconds.
        size: bytes of its body.
        at: when it was released, seconds on the process's clock.
        why: of a loss.
        offset: where it stands in the log; None: the log reader has not met it yet.
        position: the position of whoever has got it, fixed when it was released.
    """

    index: int
    event: Event | None
    id: str | None
    ts: int
    size: int
    at: float
    why: str = ""
    offset: int | None = None
    position: str = ""


@dataclass(slots=True)
class _Channel:
    entries: deque[Entry] = field(default_factory=deque)
    floor: int = 0  # the highest feed index that this channel has lost
    floor_offset: int = -1  # the highest log offset that it has lost


class Ring:
    """The entries of all channels.

    Args:
        settings: bounds.
        adrift: how many ids are kept of what went before it was located; the oldest go, for they are met first.
    """

    def __init__(self, settings: RingSettings, adrift: int = ADRIFT) -> None:
        self.settings = settings
        self._adrift_bound = adrift
        self.bytes = 0
        self._channels: dict[str, _Channel] = {}
        # (at most the index of its oldest entry, name): one item a channel, set right when it comes to the top.
        self._oldest: list[tuple[int, str]] = []
        self._floor, self._floor_offset = 0, -1  # for channels that have no entries left
        # The newest place where events of any channel may be missing.
        self._lost, self._lost_why = 0, ""
        self._lost_offset, self._lost_offset_why = -1, ""
        self._unlocated: dict[str, Entry] = {}
        self._adrift: dict[str, tuple[float, str]] = {}  # since when, and why whoever asks is refused

    def append(self, channel: str, entry: Entry, last: int = -1) -> None:
        """Keeps an entry; over a bound the oldest go.

        Args:
            channel: its channel.
            entry: newer than all others.
            last: the last offset that has been read of the log.
        """
        kept = self._channels.get(channel)
        if kept is None:
            kept = self._channels[channel] = _Channel(floor=self._floor, floor_offset=self._floor_offset)
            self._oldest.append((entry.index, channel))  # the newest index is the greatest: the heap stays one
        entries, bound = kept.entries, self.settings.events
        entries.append(entry)
        self.bytes += entry.size + OVERHEAD_BYTES
        if entry.offset is None and entry.id is not None:
            self._unlocated[entry.id] = entry
        while len(entries) > bound and (entries[0].offset is not None or len(entries) > 2 * bound):
            self._drop(kept)
        if self.bytes > self.settings.bytes:
            self.trim(entry.at, last)

    def located(self, id: str, offset: int) -> None:  # noqa: A002 - the word of the wire
        """The log's copy of something released has been met."""
        entry = self._unlocated.pop(id, None)
        if entry is not None:
            entry.offset = offset
        if self._adrift and id in self._adrift:
            _, why = self._adrift.pop(id)
            self._lose_until(offset, why)

    def lose(self, entry: Entry) -> None:
        """Events of any channel may be missing at the place of this entry, whose offset and id are those of the record
        behind what is missing."""
        self._lost, self._lost_why = entry.index, entry.why
        if entry.offset is not None:
            self._lose_until(entry.offset, entry.why)
        elif entry.id is not None:
            self._set_adrift(entry.id, entry.at, entry.why)

    def trim(self, now: float, last: int = -1) -> None:
        """Drops what is over age or over the bytes; to be called now and then.

        Args:
            now: the time.
            last: the last offset that has been read of the log.
        """
        oldest, settings = self._oldest, self.settings
        while oldest:
            index, name = oldest[0]
            kept = self._channels[name]
            first = kept.entries[0]
            if first.index != index:
                heapreplace(oldest, (first.index, name))
                continue
            patience = 1 if first.offset is not None else 2
            if self.bytes <= patience * settings.bytes and first.at >= now - patience * settings.seconds:
                break
            self._drop(kept)
            if not kept.entries:
                self._floor = max(self._floor, kept.floor)
                self._floor_offset = max(self._floor_offset, kept.floor_offset)
                del self._channels[name]
                heappop(oldest)
        # What the log has not shown for so long it never will; that it is not bound has been told long ago.
        while self._adrift:
            id, (since, why) = next(iter(self._adrift.items()))  # noqa: A001
            if since >= now - 3 * settings.seconds:
                break
            del self._adrift[id]
            self._lose_until(last, why)

    def clear(self, index: int, why: str) -> None:
        """The log is another one: nothing is kept, offsets begin anew, and who was before this feed index is told."""
        self.bytes = 0
        self._channels.clear()
        self._oldest.clear()
        self._unlocated.clear()
        self._adrift.clear()
        self._floor, self._floor_offset = index, -1
        self._lost, self._lost_why = index, why
        self._lost_offset, self._lost_offset_why = -1, ""

    def since(self, channel: str, index: int) -> tuple[list[Entry], str | None]:
        """What followed a feed index.

        Returns:
            The entries after it, oldest first, and None; or nothing and the reason why they may not be complete.
        """
        if index < self._lost:
            return [], self._lost_why
        kept = self._channels.get(channel)
        if index < (self._floor if kept is None else kept.floor):
            return [], "trimmed"
        if kept is None:
            return [], None
        entries = []
        for entry in reversed(kept.entries):
            if entry.index <= index:
                break
            if entry.event is None:
                return [], entry.why
            entries.append(entry)
        entries.reverse()
        return entries, None

    def since_offset(self, channel: str, offset: int) -> tuple[list[Entry], str | None]:
        """What is not known to stand in the log up to an offset, up to which the asking client has got everything.

        Returns:
            As `since`.
        """
        for _, why in self._adrift.values():
            return [], why
        if offset < self._lost_offset:
            return [], self._lost_offset_why
        kept = self._channels.get(channel)
        if offset < (self._floor_offset if kept is None else kept.floor_offset):
            return [], "trimmed"
        if kept is None:
            return [], None
        entries = [entry for entry in kept.entries if entry.offset is None or entry.offset > offset]
        for entry in entries:
            if entry.event is None:
                return [], entry.why
        return entries, None

    def __len__(self) -> int:
        return sum(len(kept.entries) for kept in self._channels.values())

    def _drop(self, kept: _Channel) -> None:
        entry = kept.entries.popleft()
        kept.floor = entry.index
        self.bytes -= entry.size + OVERHEAD_BYTES
        if entry.offset is not None:
            kept.floor_offset = max(kept.floor_offset, entry.offset)
        elif entry.id is not None:
            self._unlocated.pop(entry.id, None)
            self._set_adrift(entry.id, entry.at, "trimmed")

    def _set_adrift(self, id: str, at: float, why: str) -> None:  # noqa: A002
        self._adrift[id] = (at, why)
        if len(self._adrift) > self._adrift_bound:
            del self._adrift[next(iter(self._adrift))]

    def _lose_until(self, offset: int, why: str) -> None:
        if offset > self._lost_offset:
            self._lost_offset, self._lost_offset_why = offset, why


def in_feed_order(replays: Iterable[list[Entry]]) -> list[Entry]:
    """The entries of several channels, merged."""
    return list(merge(*replays, key=attrgetter("index")))
