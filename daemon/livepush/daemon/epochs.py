"""How old what is known of a user is: control messages are counted, and each answer knows its count.

An identification notes the count when it begins. If a control message that concerns its user came since, what it read
may be from before: it is thrown away, and the identification runs again. No clock takes part.

Bound: `USERS` users; over it all of them count as concerned, which costs identifications and nothing else.
"""

from __future__ import annotations

USERS = 10_000


class Epochs:
    """The control messages of this process.

    Attributes:
        count: how many there were.
    """

    def __init__(self, users: int = USERS) -> None:
        self.count = 0
        self._bound = users
        self._everybody = 0  # the last one that concerned everybody
        self._users: dict[str, int] = {}  # the last one of each user since then

    def note(self, user: str | None) -> None:
        """A control message has come; None: it concerns everybody."""
        self.count += 1
        if user is not None and len(self._users) < self._bound:
            self._users[user] = self.count
        else:
            self._everybody = self.count
            self._users.clear()

    def is_stale(self, user: str | None, since: int) -> bool:
        """Whether what was asked when the count was `since` may be outdated; user None: an anonymous visitor."""
        if since >= self.count:
            return False
        return max(self._everybody, 0 if user is None else self._users.get(user, 0)) > since
