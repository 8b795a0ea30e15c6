"""Which of several relays may number an outbox: one row in the database, and no clock but each relay's own.

    the row        holder       generation            beats
    -----------    ---------    ------------------    --------------------------------------------------
    nobody's       empty        as it was left        as it was left
    held           its words    raised at the take    raised by the holder about once a second
    given back     empty        as it was left        as it was left

A relay that wants the lease looks at the row once a second. It may take one that is nobody's at once, and one that is
held when neither `generation` nor `beats` has changed for `LEASE_SECONDS` of its own clock: clocks of two machines are
never compared. The take is a comparison with what was seen, so of two takers one succeeds.

The lease fences the *numbering* only: each transaction that gives numbers also finds its generation in the row. A relay
that was stopped past its lease may go on sending what has a number; its successor sends the same numbers, and whoever
receives both drops one.
"""

from __future__ import annotations

from dataclasses import dataclass

LEASE_SECONDS = 5.0
BEAT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """The row as somebody read it.

    Attributes:
        publisher: the outbox's permanent id as a publisher.
        database: the name of the database that the id was made in.
        next: the number that the next event gets.
        generation: how often the lease was taken.
        beats: how often a holder has said that it lives.
        holder: who holds it, in words for people; empty: nobody.
    """

    publisher: str
    database: str
    next: int
    generation: int
    beats: int
    holder: str


class Watch:
    """One relay's look at a lease that it does not hold.

    Args:
        seconds: how long a held lease must stand still.
    """

    def __init__(self, seconds: float = LEASE_SECONDS) -> None:
        self._seconds = seconds
        self._seen: tuple[int, int] | None = None
        self._since = 0.0

    def may_take(self, row: LeaseRow, now: float) -> bool:
        """Whether the lease may be taken, by what has been seen of it.

        Args:
            now: monotonic seconds.
        """
        seen = (row.generation, row.beats)
        if seen != self._seen:
            self._seen, self._since = seen, now
        return not row.holder or now - self._since >= self._seconds
