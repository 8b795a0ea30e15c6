"""One look-up for all tabs of a session that wait for the same one: whoever asks meanwhile gets the first one's answer.

What makes it the same: the user, the session, what has signed it, where it comes from if it can't be looked up, and the
control messages that had come when it began. So an answer that a later message has outdated is nobody's but theirs who
asked before it.

Bound: one entry for each look-up under way.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from livepush.daemon.entitlement import Snapshot
from livepush.daemon.interfaces import Identity

Key = tuple[str | None, str | None, str | None, str | None, int]
Waiting = list[Deferred[Snapshot | None]]


class SingleFlight:
    """The look-ups of this process that are under way, and who else waits for each."""

    def __init__(self) -> None:
        self._flights: dict[Key, Waiting] = {}

    async def reidentify(self, identity: Identity, snapshot: Snapshot, epoch: int) -> Snapshot | None:
        """As `Identity.reidentify`, when so many control messages have come."""
        key = (snapshot.user, snapshot.session_key, snapshot.auth_hash, snapshot.origin, epoch)
        flight = self._flights.get(key)
        if flight is not None:
            answer: Deferred[Snapshot | None] = Deferred()
            flight.append(answer)
            return await answer
        flight = self._flights[key] = []
        try:
            found = await identity.reidentify(snapshot)
        except Exception as error:  # theirs as well; each says what becomes of it
            del self._flights[key]
            for each in flight:
                each.errback(error)
            raise
        del self._flights[key]
        for each in flight:
            each.callback(found)
        return found
