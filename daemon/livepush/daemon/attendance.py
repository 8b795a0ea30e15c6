"""Which places this process holds: those that its connections take, and for a while those that they have left.

    here        a connection at least takes the place
    leaving     the last one has gone, less than the grace ago: whoever comes back finds it taken, and nobody is told
    gone        the grace is over: the registry is to be told

No clock and no registry: moments come in, and what the registry is to be told goes out, once. Whether that arrived is
not followed; where it may not have, all places are told anew.

Bound: the subscriptions of this process's connections, and those that ended within the grace.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from livepush.daemon.registry import Place


class Attendance:
    """The places of one process.

    Args:
        grace: seconds that a place is kept after the last connection has left it.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._taken: dict[Place, int] = {}  # by how many connections
        self._leaving: dict[Place, float] = {}  # until when, earliest first
        self._fresh: dict[Place, None] = {}  # the registry does not know of them

    def __len__(self) -> int:
        """How many places are held."""
        return len(self._taken) + len(self._leaving)

    def move(self, before: Collection[Place], after: Collection[Place], now: float) -> None:
        """A connection takes other places than before."""
        for place in after:
            if place not in before:
                self._take(place)
        for place in before:
            if place not in after:
                self._leave(place, now)

    def _take(self, place: Place) -> None:
        known = self._taken.get(place, 0)
        self._taken[place] = known + 1
        if not known and self._leaving.pop(place, None) is None:
            self._fresh[place] = None

    def _leave(self, place: Place, now: float) -> None:
        left = self._taken[place] - 1
        if left:
            self._taken[place] = left
        else:
            del self._taken[place]
            self._leaving[place] = now + self._grace

    def changes(self, now: float) -> tuple[list[Place], list[Place]]:
        """What the registry is to be told: places taken, and places given up."""
        over = list(self._over(now))
        given_up = [place for place in over if place not in self._fresh]  # of the others it need never know
        for place in over:
            del self._leaving[place]
            self._fresh.pop(place, None)
        taken = list(self._fresh)
        self._fresh.clear()
        return taken, given_up

    def all(self, now: float) -> list[Place]:
        """Every place that is held; the registry is told all of them, so there is no change left to tell."""
        for place in list(self._over(now)):
            del self._leaving[place]
        self._fresh.clear()
        return [*self._taken, *self._leaving]

    def _over(self, now: float) -> Iterable[Place]:
        for place, until in self._leaving.items():
            if until > now:
                return
            yield place
