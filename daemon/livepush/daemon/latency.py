"""How long events take, hop by hop, as histograms.

    hop      from                                          to                                             clocks
    ------   -------------------------------------------   --------------------------------------------   ------------
    commit   the transaction is committed                  its process has given it to the network        Django's
    broker   that                                          it has arrived here, out of the own queue      both machines'
    queue    that                                          all of this turn is given to the transports    here
    socket   a client does not read: its transport keeps   the transport has got rid of it                here

An event costs two or three additions per hop and nothing per connection; a client that reads costs nothing at all.
What the log supplies is not measured: it is old by design. Two machines' clocks may differ; a time below 0 counts as 0.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the histograms' buckets, seconds; one more takes the rest."""

HOPS = ("commit", "broker", "queue", "socket")


class Histogram:
    """Counts per bucket.

    Attributes:
        counts: of each bucket, not cumulated; the last is over all bounds.
        sum: of all that was observed, seconds.
    """

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Takes one value, or several that are the same."""
        seconds = max(0.0, seconds)
        self.counts[bisect_left(BOUNDS, seconds)] += times
        self.sum += times * seconds


class Latency:
    """The histograms of this process.

    Args:
        clock: seconds, monotonic.
        wall: seconds since 1970.

    Attributes:
        hops: by the words of `HOPS`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock, self._wall = clock, wall
        self.hops = {hop: Histogram() for hop in HOPS}
        self._commit, self._broker, self._queue, self._socket = self.hops.values()
        self._begun = 0.0
        self._arrived = 0  # in this turn
        self._stalled: dict[object, float] = {}

    def arrived(self, ts: int, sent: object) -> None:
        """An event came out of the own queue.

        Args:
            ts: when it was committed, milliseconds since 1970.
            sent: when it was sent, likewise; anything else: not known.
        """
        if not self._arrived:
            self._begun = self._clock()
        self._arrived += 1
        if type(sent) is int and 0 <= sent - ts < 2**40:
            self._commit.observe((sent - ts) / 1_000)
            self._broker.observe(self._wall() - sent / 1_000)

    def flushed(self) -> None:
        """All that has arrived in this turn is with the transports, but for what is held back."""
        if self._arrived:
            self._queue.observe(self._clock() - self._begun, self._arrived)
            self._arrived = 0

    def stalled(self, client: object) -> None:
        """A client's transport had to keep something."""
        self._stalled[client] = self._clock()

    def drained(self, client: object) -> None:
        """It keeps nothing any more, or has gone."""
        since = self._stalled.pop(client, None)
        if since is not None:
            self._socket.observe(self._clock() - since)

    @property
    def stalls(self) -> int:
        """How many clients do not read now."""
        return len(self._stalled)
