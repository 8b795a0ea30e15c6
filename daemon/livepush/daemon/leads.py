"""What was released ahead of the log: the events that a position's mark does not cover, named.

The queue brings an event about a millisecond before the log reader meets it, so that the newest events of a process
stand beyond its mark, and another process could not tell that the client has them. A process releases each publisher's
events in the order of their numbers. So one id a publisher says it: that event and all before it were released.

Bound: `LEADS` publishers of together `LEADS_BYTES`, the newest ones. What is not named may come to a client twice, when
it changes the process.
"""

from __future__ import annotations

LEADS = 4
LEADS_BYTES = 120
"""A position without them has at most 79."""

MARK = "~"
"""Stands before each id."""


class Leads:
    """The newest released event of each publisher, as long as it may stand beyond the mark."""

    __slots__ = ("_newest",)

    def __init__(self) -> None:
        self._newest: dict[str, tuple[str, int | None]] = {}  # by publisher: id, and log offset once it is known

    def note(self, id: str, offset: int | None) -> None:  # noqa: A002 - the word of the wire
        """An event is released.

        Args:
            id: on the wire.
            offset: where it stands in the log; None: that comes by `located`.
        """
        newest, publisher = self._newest, id.rpartition("-")[0]
        newest.pop(publisher, None)
        newest[publisher] = (id, offset)
        if len(newest) > LEADS:
            del newest[next(iter(newest))]

    def located(self, id: str, offset: int) -> None:  # noqa: A002
        """The log's copy of something released before has been met."""
        publisher = id.rpartition("-")[0]
        if publisher in self._newest and self._newest[publisher][0] == id:
            self._newest[publisher] = (id, offset)

    def text(self, reached: int) -> str:
        """The ids of those beyond a mark, each behind a `MARK`, the newest first: once a released event (0.5 us).

        Args:
            reached: the mark's offset; it never falls.
        """
        newest = self._newest
        for publisher in [each for each, (_, at) in newest.items() if at is not None and at <= reached]:
            del newest[publisher]
        text = ""
        for id, _ in reversed(newest.values()):  # noqa: A001
            if len(text) + len(id) < LEADS_BYTES:
                text += MARK + id
        return text

    def clear(self) -> None:
        """The log is another one."""
        self._newest.clear()
