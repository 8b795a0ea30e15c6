"""A position: what a process vouches for, as the text that a client keeps and gives back.

    <process nonce>.<feed index>.<log offset>.<check>       k3f9q2.1207.88012.5bd1e9a4
                                                            k3f9q2.0.-1.                before any record was read

On the same process the feed index says exactly what follows. On another one the offset does: up to and including it
everything was ingested and released; the check says which copy stands there, so that a log that was made anew is not
taken for the old one. No clock takes part. Clients treat the text as opaque; one that they make up harms only them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from livepush.broker.logindex import Mark

POSITION_BYTES = 100
"""A nonce of 32, two numbers of 63 bits, a check of 8 and the dots have room."""

_POSITION = re.compile(
    r"([A-Za-z0-9_-]{1,32})\.(0|[1-9][0-9]{0,17})\.(?:(0|[1-9][0-9]{0,17})\.([A-Za-z0-9_-]{8})|-1\.)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the feed of one process, and how much of the log that process had released by then.

    Attributes:
        nonce: of the process, new at each start.
        index: feed index there.
        mark: the place in the log.
    """

    nonce: str
    index: int
    mark: Mark

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Reads what a client gives back; None: it is no position."""
        found = _POSITION.fullmatch(text) if len(text) <= POSITION_BYTES else None
        if found is None:
            return None
        nonce, index, offset, check = found.groups()
        return cls(nonce, int(index), Mark() if offset is None else Mark(int(offset), check))

    def __str__(self) -> str:
        return format_position(self.nonce, self.index, self.mark)


def format_position(nonce: str, index: int, mark: Mark) -> str:
    """The text of a position, without the object: one is made for each released event (0.4 us)."""
    return f"{nonce}.{index}.{mark.offset}.{mark.check}"
