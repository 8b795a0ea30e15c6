"""Whether all are told the same of who is here, and the truth: pure.

    Roll        what one connection was told, message by message, as `livepush.js` keeps it
    wrong       what is not so; nothing where every daemon tells exactly the users who are online

The truth is what the pages' own process knows: whose connections are welcomed. There have to be pages at every daemon,
for one without any tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CHANNEL = "news"


class Roll:
    """Who is here, as one connection was told.

    Attributes:
        users: their primary keys as text, in order; None: it was told nothing yet, or that nobody knows.
    """

    def __init__(self) -> None:
        self.users: tuple[str, ...] | None = None

    def receive(self, message: Mapping[str, Any]) -> bool:
        """A `presence` message of the channel; False: it is a change of a list that this connection was never told."""
        if "now" in message:
            self.users = None if message["now"] is None else _texts(message["now"])
        elif self.users is None:
            return False
        else:
            self.users = _texts({*self.users, *_texts(message["join"])} - {*_texts(message["leave"])})
        return True


def wrong(users: Iterable[str], rolls: Sequence[tuple[int, Sequence[str] | None]], ports: Iterable[int]) -> list[str]:
    """What is not as it should be, a line each.

    Args:
        users: who is online.
        rolls: what pages were told, by the port of their daemon.
        ports: of all daemons.
    """
    true = set(users)
    lines = [f"no page is online at {port}" for port in ports if port not in {each for each, _ in rolls}]
    return lines + [
        f"{port} tells {_difference(true, told)}" for port, told in rolls if told is None or set(told) != true
    ]


def differs(users: Iterable[str], told: Iterable[str] | None) -> str:
    """How what Django is told differs from who is online; empty: it does not."""
    true = set(users)
    return "" if told is not None and set(told) == true else f"Django is told {_difference(true, told)}"


def _difference(true: set[str], told: Iterable[str] | None) -> str:
    if told is None:
        return "that nobody knows who is here"
    return f"of users who are not here {_texts(set(told) - true)}, and not of {_texts(true - set(told))}"


def _texts(users: Iterable[object]) -> tuple[str, ...]:
    return tuple(sorted(str(user) for user in users))
