"""What a client may ask for and what it is granted, in whatever form either travels.

A codec makes these of a client's bytes; a connection knows nothing else of what clients say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MAX_REQUEST = 2**53 - 1
"""The highest number of a request."""

POSITION_CHARS = 200
TICKET_CHARS = 1_000


class ErrorCode(StrEnum):
    """Why a request is not fulfilled; each has a heading in the reference. A site's own calls may have other words."""

    BAD_CHANNEL = "bad_channel"
    BAD_TYPE = "bad_type"
    BUSY = "busy"
    FAILED = "failed"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    TOO_MANY_CALLS = "too_many_calls"
    TOO_MANY_SUBSCRIPTIONS = "too_many_subscriptions"
    UNEXPECTED = "unexpected"
    UNKNOWN_OP = "unknown_op"


@dataclass(frozen=True, slots=True)
class Hello:
    """A greeting.

    Attributes:
        n: the request's number, echoed in the answer; None: it has none.
        tab: the client's random id, which names what its own requests caused.
        channels: each with the position to go on from, or None; None as a whole: the declared ones.
        since: where channels without a position of their own go on from: of clients that keep only one.
        token: comes back in `Welcome`; for wire formats whose clients name their former connection.
        ticket: says who the client is, in place of a cookie.
    """

    n: int | None
    tab: str | None
    channels: Mapping[str, str | None] | None
    since: str | None = None
    token: str | None = None
    ticket: str | None = field(default=None, repr=False)

    def position(self, channel: str) -> str | None:
        """Where a channel goes on from; None: from now."""
        return self.since if self.channels is None else self.channels.get(channel) or self.since


@dataclass(frozen=True, slots=True)
class Subscribe:
    """One channel more."""

    n: int | None
    channel: str
    since: str | None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """One channel less."""

    n: int | None
    channel: str


@dataclass(frozen=True, slots=True)
class Call:
    """A request to the Django side of a channel."""

    n: int | None
    channel: str
    type: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A well-formed request that this version does not know."""

    n: int | None


Request = Hello | Subscribe | Unsubscribe | Call | Unknown


@dataclass(frozen=True, slots=True)
class Granted:
    """One channel that was granted: replayed so many events, or `resync` says why the page must reload."""

    audience: str
    replayed: int = 0
    resync: str | None = None


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the client is told when it was greeted.

    Attributes:
        conn: the connection's name, as it stands in logs.
        user: the user's primary key; None: nobody.
        heartbeat: seconds between two signs of life.
        retry: the least and the most that the client should wait before it comes back, milliseconds.
        at: the position of whoever has got everything so far.
        channels: what is granted.
        token: of the `Hello`.
    """

    conn: str
    user: int | str | None
    heartbeat: float
    retry: tuple[int, int]
    at: str
    channels: Mapping[str, Granted]
    token: str | None = None
