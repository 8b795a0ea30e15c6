"""A publisher without a broker, for tests: it numbers what it is given and remembers it."""

from __future__ import annotations

import json
from concurrent.futures import Future
from typing import Any

from livepush.broker.backlog import Draft
from livepush.broker.envelope import Kind


class RecordedTicket(Future["str | None"]):
    """A ticket that the test settles: `set_result(ticket.id)` is the broker's confirm."""

    id: str | None = None


class Recorder:
    """Takes the place of `livepush.broker.publisher.Publisher`.

    Attributes:
        drafts, tickets: of each publication, in order.
        refuse_with: an error that the next ticket is failed with at once, as by a full backlog.
        closed: how often it was closed.
        trouble: what a real one would tell of its broker.
    """

    def __init__(self) -> None:
        self.drafts: list[Draft] = []
        self.tickets: list[RecordedTicket] = []
        self.refuse_with: Exception | None = None
        self.closed = 0
        self.trouble: str | None = None

    def publish(self, draft: Draft, /) -> RecordedTicket:
        ticket = RecordedTicket()
        self.drafts.append(draft)
        self.tickets.append(ticket)
        if self.refuse_with is not None:
            ticket.set_exception(self.refuse_with)
        elif draft.kind is Kind.EVENT:
            ticket.id = f"recorder-{len(self.tickets)}"
        return ticket

    def flush(self, timeout: float, /) -> int:
        return sum(not ticket.done() for ticket in self.tickets)

    def close(self, timeout: float, /) -> int:
        self.closed += 1
        return 0

    def confirm(self) -> None:
        """The broker has everything."""
        for ticket in self.tickets:
            if not ticket.done():
                ticket.set_result(ticket.id)

    @property
    def types(self) -> list[str]:
        """The types of all events, in order."""
        return [body["type"] for body in self.bodies]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of all events, in order."""
        return [json.loads(draft.body) for draft in self.drafts]
