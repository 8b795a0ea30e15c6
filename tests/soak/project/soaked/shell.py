"""For `manage.py shell -c`: a process that publishes a single event and ends."""

from __future__ import annotations

from .events import say
from .journal import journal


def one(number: int) -> None:
    """Publishes the event of this number and leaves the rest to the end of the interpreter."""
    say(journal("shell"), number)
