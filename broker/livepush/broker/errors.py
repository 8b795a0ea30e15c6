"""Errors of the broker side: one class per thing that a caller can act on, data as attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from livepush.broker.envelope import Stamp


class BadName(ValueError):
    """A channel name, event type or pattern that the grammar of `names` refuses.

    Attributes:
        what: which kind of name it is, for example "channel".
        value: the value as it was given.
        why: what is wrong with it, and what is right.
    """

    def __init__(self, what: str, value: object, why: str) -> None:
        super().__init__(f"{what} {_shown(value)}: {why}")
        self.what, self.value, self.why = what, value, why


class BadPayload(ValueError):
    """Data that can't be published.

    Attributes:
        place: where the value stands, for example `data["order"]["price"]`.
        why: what is wrong with it, and what is right.
    """

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"{place}: {why}")
        self.place, self.why = place, why


class BadURL(ValueError):
    """A broker address that can't be used. The message never repeats a password."""


class Malformed(Exception):
    """An AMQP message that is not livepush's, or that this version can't read.

    Attributes:
        why: what is wrong, without any part of the body.
        stamp: its number, when at least that could be read: the number is spent, whatever the body was.
    """

    def __init__(self, why: str, stamp: Stamp | None = None) -> None:
        super().__init__(why)
        self.why, self.stamp = why, stamp


class ConnectionFailed(Exception):
    """A connection to the broker that could not be opened, or was lost.

    Attributes:
        cause: what happened, with the broker's own words where there are any.
        remedy: what an operator can do about it; empty where nothing is known.
    """

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(f"{cause}: {remedy}" if remedy else cause)
        self.cause, self.remedy = cause, remedy


class ChannelRefused(ConnectionFailed):
    """The broker closed an AMQP channel.

    Attributes:
        code: AMQP's reply code: 403 no right, 404 not there, 405 locked, 406 other arguments.
        text: the broker's words.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"the broker closed the channel with {code} {text}")
        self.code, self.text = code, text


class PublishError(Exception):
    """A publication that did not reach the log, and will not."""


class BacklogFull(PublishError):
    """More is waiting for the broker than the publisher's bounds allow; nothing was kept of this one."""


class Unroutable(PublishError):
    """The broker had no queue for it: no livepush process was there, so nobody could miss it."""


class Refused(PublishError):
    """The broker refuses it for good: rights of the broker's user, or its size."""


class Expired(PublishError):
    """A `live` message that found no broker within 2 s, or whose broker went before the confirm: it is sent once."""


class PublisherClosed(PublishError):
    """The process was ending, and the broker did not confirm in time."""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:80]}... ({len(text)} characters)"
