"""Errors of the daemon: one class per thing that a caller can act on, data as attributes."""

from __future__ import annotations


class Busy(Exception):
    """More jobs are waiting for a thread than the pool's queue holds; nothing was started. The client tries again."""


class IdentityUnavailable(Exception):
    """Who the user is could not be found out, because the database failed. The client tries again.

    Attributes:
        cause: the class of the database's error; never its text, which may hold a query or an address.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(f"the database could not tell who this is ({cause})")
        self.cause = cause


class BadOption(ValueError):
    """A command line option, or the setting behind it, that the daemon can't start with.

    Attributes:
        option: as it is written on the command line (`--listen`), or the setting's name.
        value: what was given; a caller that can't show it (a password) passes what may be shown.
        remedy: what is wrong with it, and what is right.
    """

    def __init__(self, option: str, value: object, remedy: str) -> None:
        super().__init__(f"{option} {_shown(value)}: {remedy}")
        self.option, self.value, self.remedy = option, value, remedy


class CannotListen(Exception):
    """An address that the daemon should listen on is taken, or not allowed, or not of this machine.

    Attributes:
        option: as it was asked for.
        why: what the system says.
        remedy: what to do about it.
    """

    def __init__(self, option: str, why: str, remedy: str) -> None:
        super().__init__(f"{option}: can't listen there ({why}): {remedy}")
        self.option, self.why, self.remedy = option, why, remedy


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, int | float) else repr(value)
    return text if len(text) <= 200 else f"{text[:160]}... ({len(text)} characters)"


class LoggedOut(Exception):
    """Whoever is connected is nobody who may be, or is not any more.

    Attributes:
        why: what his browser is told.
    """

    def __init__(self, why: str = "not logged in") -> None:
        super().__init__(why)
        self.why = why


class Refusal(Exception):
    """A call that has no answer.

    Attributes:
        code: an `ErrorCode`, or the site's own word.
        message: for people.
        retry: whether the same may succeed a little later.
    """

    def __init__(self, code: str, message: str, retry: bool = False) -> None:
        super().__init__(code)
        self.code, self.message, self.retry = code, message, retry


class NotReady(Exception):
    """The feed is not ready, and a request has waited for it long enough. The client tries again."""
