"""`publish(durable=True)`: an event that outlives its process.

It is a row, written in the transaction that it tells of, so the database decides both at once. Its way to the broker is
the relay's (`livepush.django.relaying`); this process only wakes it when the commit is done. The relay gives the
number, so a durable publication never has an id here.
"""

from __future__ import annotations

import time
from concurrent.futures import Future

from livepush.broker.backlog import Draft
from livepush.broker.envelope import OUTBOX, Control
from livepush.broker.errors import Refused
from livepush.django.outbox import Outbox
from livepush.django.outlet import SupportsPublish

POLL_SECONDS = 0.05

_WAKE = Draft.of_control(Control(OUTBOX))


class Written:
    """One row that is written; a publication hands it over, when it is committed, as it would to a publisher.

    Args:
        publisher: takes the wake-up.

    Raises:
        OutboxMissing: the database has no outbox; `manage.py migrate` makes it.
    """

    def __init__(self, outbox: Outbox, draft: Draft, publisher: SupportsPublish) -> None:
        self._outbox, self._publisher = outbox, publisher
        self._key = outbox.add(draft)

    def publish(self, draft: Draft, /) -> DurableTicket:
        """The row is committed: wakes the relay. A wake-up that gets lost costs a second, so nobody waits for it."""
        self._publisher.publish(_WAKE)
        return DurableTicket(self._outbox, self._key)

    def close(self, timeout: float, /) -> int:
        """There is nothing to close."""
        return 0


class DurableTicket(Future["str | None"]):
    """The progress of a row. Nobody in this process learns of it, so the result asks the database."""

    id: str | None = None

    def __init__(self, outbox: Outbox, key: int) -> None:
        super().__init__()
        self._outbox, self._key = outbox, key

    def result(self, timeout: float | None = None) -> None:
        """Waits until the row is gone, because the broker has it.

        Args:
            timeout: seconds; None: without end.

        Raises:
            TimeoutError: it is still there.
            Refused: the broker refuses it for good; the row is kept, for the admin.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (state := self._outbox.state(self._key)) is not None:
            _, failed = state
            if failed:
                raise Refused(failed)
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError
            time.sleep(POLL_SECONDS)
