"""How connections end: counted by cause, and a line in the log for each.

    cause                           what has happened
    ---------------------------     -----------------------------------------------------------------------------------
    a word of `wire.closing.Close`  this process has ended it, with that code
    left                            the client has gone, or its network
    dropped                         it could not be written to

A crowd that goes at once does not fill the disk: of each cause there are `LINES` lines in a minute, and the next line
after that says how many there were without one. A line names user, address, wire format and duration, and nothing that
the client has said.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from twisted.logger import Logger

if TYPE_CHECKING:
    from livepush.daemon.connection import Connection

LINES = 100
MINUTE = 60.0

LEFT, DROPPED = "left", "dropped"


class Departures:
    """Of one process.

    Attributes:
        counts: connections that have ended, by cause.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._said: dict[str, tuple[float, int]] = {}  # by cause: when this minute began, and how many ended in it

    def note(self, connection: Connection, cause: str, reason: str, now: float) -> None:
        """One has ended.

        Args:
            connection: which one.
            cause: see above; `reason` says more, for people.
            reason: "": there is no more to say.
            now: seconds.
        """
        self.counts[cause] += 1
        begun, ended = self._said.get(cause, (now, 0))
        silent = 0
        if not 0 <= now - begun < MINUTE:
            silent, begun, ended = max(0, ended - LINES), now, 0
        self._said[cause] = begun, ended + 1
        if ended >= LINES:
            return
        self._log.info(
            "{name} of {user} ended after {seconds:.1f} s: {cause}{reason} ({wire}, from {place}){silent}",
            name=connection.name,
            user="nobody" if connection.user is None else f"user {connection.user!r}",
            seconds=now - connection.since,
            cause=cause,
            reason=f", {reason!r}" if reason else "",
            wire=connection.encoder.name,
            place=connection.place or "this machine",
            silent=f"; {silent} more ended so before" if silent else "",
        )

    _log = Logger()
