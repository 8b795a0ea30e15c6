"""Who sessions belong to, for a few seconds: the pages of one browser that come back together cost one look-up.

What is remembered knows its epoch: a control message that concerns its user, or a look at everybody that finds him
changed, makes it void at once, so that it is never older than what a connection of his may be. What sends no signal is
seen here as late as `seconds`; the sweep sees it for who is let in by it, too.

Nobody is not remembered: who logs in is who he is at once.

Bound: `MOST` sessions; over it the oldest is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from livepush.daemon.entitlement import Snapshot
from livepush.daemon.epochs import Epochs

MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Entry:
    snapshot: Snapshot
    epoch: int
    until: float


class Remembered:
    """The sessions of this process's last visitors.

    Args:
        clock: only read.
        epochs: of this process.
        seconds: how long one is remembered; 0: not at all.
        most: see the top.
    """

    def __init__(self, clock: IReactorTime, epochs: Epochs, seconds: float, most: int = MOST) -> None:
        self._clock, self._epochs, self._seconds, self._most = clock, epochs, seconds, most
        self._entries: dict[str, _Entry] = {}  # in the order of their ends
        self._of_user: dict[str, set[str]] = {}

    def get(self, binding: str) -> tuple[Snapshot, int] | None:
        """Whose session that is, and the epoch in which that was found out.

        Args:
            binding: what stands for the session; see `Identity.binding`.
        """
        entry = self._entries.get(binding)
        if entry is None:
            return None
        stale = self._epochs.is_stale(entry.snapshot.user, entry.epoch)
        if stale or self._clock.seconds() >= entry.until:
            self._drop(binding)
            return None
        return entry.snapshot, entry.epoch

    def put(self, binding: str, snapshot: Snapshot, epoch: int) -> None:
        """That was found out just now.

        Args:
            binding: "": there was no session, and nothing is remembered.
            snapshot: an anonymous visitor's costs nothing, and is not remembered either.
            epoch: when the look-up began.
        """
        if not binding or snapshot.user is None or not self._seconds:
            return
        self._drop(binding)
        now = self._clock.seconds()
        while self._entries:
            oldest = next(iter(self._entries))
            if len(self._entries) < self._most and self._entries[oldest].until > now:
                break
            self._drop(oldest)
        self._entries[binding] = _Entry(snapshot, epoch, now + self._seconds)
        self._of_user.setdefault(snapshot.user, set()).add(binding)

    def forget(self, user: str | None) -> None:
        """What is remembered of a user may be wrong; None: of anybody."""
        if user is None:
            self._entries.clear()
            self._of_user.clear()
            return
        for binding in list(self._of_user.get(user, ())):
            self._drop(binding)

    def _drop(self, binding: str) -> None:
        entry = self._entries.pop(binding, None)
        user = None if entry is None else entry.snapshot.user
        if user is not None:
            self._of_user[user].discard(binding)
            if not self._of_user[user]:
                del self._of_user[user]
