"""Close codes: their range says whether the client comes back.

40xx: reconnect with backoff. 44xx: do not. They mirror HTTP's, so that one rule decides; RFC 6455 section 7.4.2 leaves
4000-4999 to applications. Violations of RFC 6455 itself are 1002 and 1007.
"""

from __future__ import annotations

from enum import IntEnum


class Close(IntEnum):
    """Why the server ends a connection."""

    GOING_AWAY = 4000
    RENEWED = 4001
    TOO_SLOW = 4002
    HOLE = 4003
    SILENT = 4004
    BUSY = 4029
    BAD_MESSAGE = 4400
    IDENTITY = 4401
    FORBIDDEN = 4403
    NO_HELLO = 4408
    TOO_LARGE = 4413
    TOO_MANY = 4429

    @property
    def reconnects(self) -> bool:
        """Whether a client comes back after it."""
        return self < 4400
