"""Whose connections were ended by a message: those whose user is still being found out end, too, when he is known.

    logout       the session is over: nobody gets in by it any more, though the database may not say so yet. Django
                 tells of a logout before it deletes the session, and a replica may be behind
    disconnect   ends what began before it. What comes later is let in again, if the session is still a login

Bound: `MOST` of them, each for `SECONDS`, in which the sweep has looked at everybody. Over it the oldest is forgotten;
what the database says then holds.
"""

from __future__ import annotations

from dataclasses import dataclass

from livepush.broker.envelope import LOGOUT, Control
from livepush.daemon.entitlement import Snapshot

MOST = 10_000
SECONDS = 120.0

LOGGED_OUT = "logged out"
"""The reason that a browser is told."""


@dataclass(frozen=True, slots=True)
class _Ending:
    count: int
    until: float
    why: str
    forever: bool


class Endings:
    """The endings of this process.

    Attributes:
        count: how many there were.
    """

    def __init__(self, most: int = MOST) -> None:
        self.count = 0
        self._most = most
        self._users: dict[str, _Ending] = {}
        self._sessions: dict[str, _Ending] = {}

    def note(self, control: Control, now: float) -> None:
        """A `logout` or `disconnect` has come.

        Args:
            control: which.
            now: monotonic seconds.
        """
        self.count += 1
        forever = control.what == LOGOUT
        ending = _Ending(self.count, now + SECONDS, reason(control), forever)
        endings, name = self._users, control.user or ""
        if control.session is not None:
            endings, name = self._sessions, control.session
            before = endings.get(name)
            if before is not None and before.forever and not forever:
                ending = _Ending(self.count, before.until, before.why, forever=True)
        endings.pop(name, None)
        endings[name] = ending
        for each in (self._users, self._sessions):
            while each and (len(each) > self._most or next(iter(each.values())).until <= now):
                del each[next(iter(each))]

    def why(self, snapshot: Snapshot, since: int, now: float) -> str | None:
        """Why a visitor who was found out may not stay; None: he may.

        Args:
            snapshot: who he is.
            since: the count when that was asked.
            now: monotonic seconds.
        """
        if self.count == 0:
            return None
        ending = None if snapshot.user is None else self._users.get(snapshot.user)
        if ending is not None and ending.count > since:
            return ending.why
        name = snapshot.session_name
        ending = None if name is None else self._sessions.get(name)
        if ending is not None and (ending.count > since or (ending.forever and ending.until > now)):
            return ending.why
        return None


def concerns(control: Control, snapshot: Snapshot) -> bool:
    """Whether a `logout` or `disconnect` ends the connections of this visitor."""
    if control.user is not None and control.user != snapshot.user:
        return False
    if control.session is None:
        return control.user is not None
    return control.session == snapshot.session_name


def reason(control: Control) -> str:
    """What the browser is told."""
    return LOGGED_OUT if control.what == LOGOUT else control.why
