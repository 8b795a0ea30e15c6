"""What was released lately, channel by channel, in feed order.

A ring serves whoever was not listening for a moment: today the connection whose user is still being identified, with
the log also the one that comes back. It is bounded by age and number of entries per channel and by bytes in total; the
oldest go first, and what has gone is known, so that an incomplete answer is never taken for a complete one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heapreplace, merge
from operator import attrgetter

from livepush.broker.envelope import Event

OVERHEAD_BYTES = 600
"""What an entry costs besides its body: objects, the parsed dict, its places in the ring."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One released event, or the place of a loss.

    Attributes:
        index: the feed index, 1, 2, 3 ... over all channels of this process.
        event: None where events may be missing; `why` says the reason then.
        id: the event's id on the wire; None for `live` events, which are never kept.
        ts: when Django published it, milliseconds.
        size: bytes of its body.
        at: when it was released, seconds on the process's clock.
    """

    index: int
    event: Event | None
    id: str | None
    ts: int
    size: int
    at: float
    why: str = ""


@dataclass(slots=True)
class _Channel:
    entries: deque[Entry] = field(default_factory=deque)
    floor: int = 0  # the highest feed index that this channel has lost


class Ring:
    """The entries of all channels."""

    def __init__(self, settings: RingSettings) -> None:
        self.settings = settings
        self.bytes = 0
        self._channels: dict[str, _Channel] = {}
        # (at most the index of its oldest entry, name): one item a channel, set right when it comes to the top.
        self._oldest: list[tuple[int, str]] = []
        self._floor = 0  # for channels that have no entries left
        self._lost_everywhere = (0, "")  # the newest place where events of any channel may be missing

    def append(self, channel: str, entry: Entry) -> None:
        """Keeps an entry; over a bound the oldest go."""
        kept = self._channels.get(channel)
        if kept is None:
            kept = self._channels[channel] = _Channel(floor=self._floor)
            self._oldest.append((entry.index, channel))  # the newest index is the greatest: the heap stays one
        kept.entries.append(entry)
        self.bytes += entry.size + OVERHEAD_BYTES
        if len(kept.entries) > self.settings.events:
            self._drop(kept)
        self.trim(entry.at)

    def lost_everywhere(self, index: int, why: str) -> None:
        """Events of any channel may be missing at this feed index."""
        self._lost_everywhere = (index, why)

    def trim(self, now: float) -> None:
        """Drops what is over age or over the bytes."""
        oldest, settings = self._oldest, self.settings
        while oldest:
            index, name = oldest[0]
            kept = self._channels[name]
            if kept.entries[0].index != index:
                heapreplace(oldest, (kept.entries[0].index, name))
                continue
            if self.bytes <= settings.bytes and kept.entries[0].at >= now - settings.seconds:
                break
            self._drop(kept)
            if not kept.entries:
                self._floor = max(self._floor, kept.floor)
                del self._channels[name]
                heappop(oldest)

    def since(self, channel: str, index: int) -> tuple[list[Entry], str | None]:
        """What followed a feed index.

        Returns:
            The entries after it, oldest first, and None; or nothing and the reason why they may not be complete.
        """
        lost_at, why = self._lost_everywhere
        if index < lost_at:
            return [], why
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

    def __len__(self) -> int:
        return sum(len(kept.entries) for kept in self._channels.values())

    def _drop(self, kept: _Channel) -> None:
        entry = kept.entries.popleft()
        kept.floor = entry.index
        self.bytes -= entry.size + OVERHEAD_BYTES


def in_feed_order(replays: Iterable[list[Entry]]) -> list[Entry]:
    """The entries of several channels, merged."""
    return list(merge(*replays, key=attrgetter("index")))
