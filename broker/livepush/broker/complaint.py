"""What a publisher says of its broker: once a minute for each subject, however often it happens."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

COMPLAINT_SECONDS = 60.0


class Complaints:
    """Warnings by subject. There are as many subjects as there are words for them in the code.

    Attributes:
        last: what was wrong last, logged or not; None: nothing, or it is over.
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self.last: str | None = None
        self._log, self._clock = log, clock
        self._said: dict[str, float] = {}
        self._subject: str | None = None

    def say(self, subject: str, text: str, *arguments: object, exc_info: bool = False) -> None:
        """Logs it, unless something was said of this subject within a minute."""
        self._subject, self.last = subject, text % arguments if arguments else text
        now = self._clock()
        if now - self._said.get(subject, -COMPLAINT_SECONDS) >= COMPLAINT_SECONDS:
            self._said[subject] = now
            self._log.warning(text, *arguments, exc_info=exc_info)

    def settled(self, subject: str) -> bool:
        """What was complained of is over; whether anything had been said of it."""
        if subject == self._subject:
            self._subject = self.last = None
        return self._said.pop(subject, None) is not None


def leaf(error: BaseException) -> str:
    """The cause, out of pika's layers, in a few words."""
    for _ in range(10):  # an error may be its own cause
        inner = (getattr(error, "exception", None), *getattr(error, "exceptions", ()), *error.args)
        causes = [one for one in inner if isinstance(one, BaseException)]
        if not causes:
            break
        error = causes[-1]
    return f"{type(error).__name__}: {error}" if isinstance(error, OSError) else repr(error)
