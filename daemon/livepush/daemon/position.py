"""A position: what a process vouches for, as the text that a client keeps and gives back.

    <process nonce>.<feed index>.<log offset>.<check>       k3f9q2.1207.88012.5bd1e9a4
                                                            k3f9q2.0.-1.                before any record was read
    ... ~<event id>~<event id>                              k3f9q2.1207.88012.5bd1e9a4~m3t5-17

On the same process the feed index says exactly what follows. On another one the offset does: up to and including it
everything was ingested and released; the check says which copy stands there, so that a log that was made anew is not
taken for the old one. What was released ahead of the log is named behind it (`leads`): of these publishers everything
up to that event. No clock takes part. Clients treat the text as opaque; one that they make up harms only them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from livepush.broker.logindex import Mark
from livepush.daemon.leads import MARK

POSITION_BYTES = 200
"""A nonce of 32, two numbers of 63 bits, a check of 8, the dots and `LEADS_BYTES` have room."""

_POSITION = re.compile(
    r"([A-Za-z0-9_-]{1,32})\.(0|[1-9][0-9]{0,17})\.(?:(0|[1-9][0-9]{0,17})\.([A-Za-z0-9_-]{8})|-1\.)"
    r"((?:~[A-Za-z0-9_-]{1,64}-[1-9][0-9]{0,18})*)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the feed of one process, and how much of the log that process had released by then.

    Attributes:
        nonce: of the process, new at each start.
        index: feed index there.
        mark: the place in the log.
        leads: ids of events, each behind a `~`: released there beyond the mark, with all of their publishers before.
    """

    nonce: str
    index: int
    mark: Mark
    leads: str = ""

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Reads what a client gives back; None: it is no position."""
        found = _POSITION.fullmatch(text) if len(text) <= POSITION_BYTES else None
        if found is None:
            return None
        nonce, index, offset, check, leads = found.groups()
        return cls(nonce, int(index), Mark() if offset is None else Mark(int(offset), check), leads)

    def led(self) -> dict[str, int]:
        """Of each publisher that is named the highest number that was released there."""
        parts = (lead.rpartition("-") for lead in self.leads.split(MARK)[1:])
        return {publisher: int(number) for publisher, _, number in parts}

    def __str__(self) -> str:
        return format_position(self.nonce, self.index, self.mark, self.leads)


def format_position(nonce: str, index: int, mark: Mark, leads: str) -> str:
    """The text of a position, without the object: one is made for each released event (0.4 us)."""
    return f"{nonce}.{index}.{mark.offset}.{mark.check}{leads}"
