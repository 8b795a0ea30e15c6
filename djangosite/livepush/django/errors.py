"""Errors of the Django side: one class per thing that a caller can act on, data as attributes.

What the grammar, the data or the broker refuse is in `livepush.broker.errors` (`BadName`, `BadPayload`,
`PublishError`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from livepush.broker.errors import PublishError

_CODE = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)


class UndeclaredChannel(ValueError):
    """A channel that no declaration covers, so nobody could listen to it.

    Attributes:
        channel: the name as it was given.
    """

    def __init__(self, channel: str, declared: Iterable[str]) -> None:
        known = ", ".join(sorted(declared)) or "none"
        super().__init__(
            f"channel {channel!r} is not declared (declared: {known}): declare a livepush.django.Channel of this name "
            "in a push.py of an installed app"
        )
        self.channel = channel


class UnknownAudience(ValueError):
    """An audience that the channel does not declare.

    Attributes:
        audience: the name as it was given.
        channel: where it was looked for.
    """

    def __init__(self, place: str, audience: object, channel: str, known: Iterable[str]) -> None:
        super().__init__(
            f"{place}: channel {channel!r} has no audience {audience!r}; it has {', '.join(known) or 'none'}. "
            "Name one of these, or declare it"
        )
        self.audience, self.channel = audience, channel


class CallRefused(Exception):
    """What `Channel.receive` raises to say no: the page that called is shown the message and the code.

    Whatever else it raises is a fault of the site's: it is logged, and the page learns only that the call failed.

    Attributes:
        message: for a person, in his language.
        code: for the page's script: a word of a-z 0-9 _ that begins with a letter, at most 40 characters.

    Raises:
        ValueError: the code is none.
    """

    def __init__(self, message: object, code: str = "refused") -> None:
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            raise ValueError(f'code {code!r}: must be a word of a-z 0-9 _, such as "locked"; texts go into the message')
        super().__init__(str(message))
        self.message, self.code = str(message), code


class PresenceUnavailable(Exception):
    """Who is present can't be told: Redis is not there, does not answer, or knows of no daemon."""


class TransactionOpen(RuntimeError):
    """A result was asked for before the commit that it waits for: it could only wait for itself."""


class RolledBack(PublishError):
    """The transaction was rolled back, so nothing was published."""


class OutboxMissing(RuntimeError):
    """The tables of the outbox are not in this database.

    Attributes:
        alias: of `DATABASES`.
    """

    def __init__(self, alias: str) -> None:
        option = "" if alias == "default" else f" --database {alias}"
        super().__init__(
            f"the database {alias!r} has no tables of livepush's outbox, which durable=True needs; "
            f"run `manage.py migrate livepush{option}`"
        )
        self.alias = alias


class ForeignIdentity(RuntimeError):
    """The outbox bears another database's name: it is a copy, and its publisher id is the original's.

    Attributes:
        alias: of `DATABASES`.
        bears: the name it was made in.
    """

    def __init__(self, alias: str, bears: str, database: str) -> None:
        option = "" if alias == "default" else f" --database {alias}"
        super().__init__(
            f"the outbox of the database {alias!r} was made in {bears!r}, and this is {database!r}: two databases that "
            "publish under one id lose events. If this one is a copy, or was renamed, run "
            f"`manage.py livepush relay --new-identity{option}`"
        )
        self.alias, self.bears = alias, bears


class BadTicket(Exception):
    """A ticket that is not good.

    Attributes:
        why: for people; the ticket itself stands in no message.
    """

    def __init__(self, why: str) -> None:
        super().__init__(f"the ticket can't be used: {why}")
        self.why = why


class LeaseLost(Exception):
    """Another relay has taken the outbox's lease."""


class NumbersWentBack(Exception):
    """The database knows less of the outbox than this relay has seen: it was restored, or failed over."""
