"""What a process has read of the log: offsets, whose record stands at each, and how far everything is done with.

    read      every record that the log reader has met, in order: `first` to `last`; offsets have gaps
    checks    which copy stands there, as 8 characters: of a log that was made anew another copy stands there
    held      records that wait for an earlier number of their publisher; they keep `reached` back
    reached   the last record before the first held one: up to it all is ingested *and* released in this process

An offset alone proves nothing: a stream that was deleted and made again counts from 0 again. A check proves it but for
one case in 2^32, and tells also a copy that was sent again from the first one.

Bound: `remember` offsets, 12 bytes each; over it an eighth, the oldest, is forgotten, and then `first` moves.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import OrderedDict
from typing import NamedTuple
from zlib import crc32

from livepush.broker.envelope import Marker, Stamp

REMEMBER = 2**20
"""An hour of 300 events a second, or the ring's five minutes of 3,500."""


class Mark(NamedTuple):
    """A place in the log. A tuple, because one is made for each released event.

    Attributes:
        offset: of a record that was read; -1: before any record.
        check: 8 of [0-9a-f], of the copy that stands there; empty before any record.
    """

    offset: int = -1
    check: str = ""


def check_stamp(stamp: Stamp) -> int:
    """Tells the copy with this stamp from others: publisher, number and sending."""
    return crc32(f"{stamp.publisher} {stamp.number} {stamp.sending}".encode())


def check_marker(marker: Marker) -> int:
    """The same of a marker, which has no stamp."""
    return crc32(f"{marker.process} {marker.number}".encode())


class LogIndex:
    """The log as this process knows it.

    Attributes:
        first: the oldest record that was really read, and is remembered; -1: none.
        last: the last record read; -1: none.
    """

    def __init__(self, remember: int = REMEMBER) -> None:
        if remember < 8:
            raise ValueError(f"remember is {remember!r}: at least 8 offsets must be remembered")
        self.first = self.last = -1
        self._remember = remember
        self._last_check = 0
        self._offsets, self._checks = array("q"), array("I")
        self._held: OrderedDict[int, None] = OrderedDict()
        self._reached: Mark | None = Mark()

    @property
    def reached(self) -> Mark:
        """Up to and including it everything has been ingested and released here."""
        mark = self._reached
        if mark is None:
            # Once a released event: 0.5 us.
            mark = self._find_reached() if self._held else Mark(self.last, f"{self._last_check:08x}")
            self._reached = mark
        return mark

    def check_at(self, offset: int) -> str | None:
        """Which copy stands at this offset; None: not read, or not remembered any more."""
        at = bisect_left(self._offsets, offset)
        if at == len(self._offsets) or self._offsets[at] != offset:
            return None
        return f"{self._checks[at]:08x}"

    def read(self, offset: int, check: int) -> None:
        """A record was met. Offsets rise; one that was read before changes nothing."""
        if offset <= self.last:
            return
        if self.first < 0:
            self.first = offset
        self.last, self._last_check = offset, check
        self._offsets.append(offset)
        self._checks.append(check)
        self._reached = None
        if len(self._offsets) > self._remember:
            surplus = self._remember // 8
            del self._offsets[:surplus]
            del self._checks[:surplus]
            self.first = self._offsets[0]

    def hold(self, offset: int) -> None:
        """The record there waits for an earlier number of its publisher."""
        self._held[offset] = None
        self._reached = None

    def release(self, offset: int) -> None:
        """The record there, held or not, is given to the sink now."""
        if self._held and self._held.pop(offset, 0) is None:
            self._reached = None

    def clear(self) -> None:
        """The log is another one."""
        self.first = self.last = -1
        self._offsets, self._checks = array("q"), array("I")
        self._held.clear()
        self._reached = Mark()

    def _find_reached(self) -> Mark:
        # Held in the order in which they were read: the first is the lowest.
        end = bisect_left(self._offsets, next(iter(self._held)))
        return Mark(self._offsets[end - 1], f"{self._checks[end - 1]:08x}") if end else Mark()
