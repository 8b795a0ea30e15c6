"""One database's outbox: the rows that `publish(durable=True)` writes, and what a relay does with them.

Every method is a few statements on one database; nothing here knows the broker. What a relay writes is fenced: numbers
by its lease's generation, deletions by the outbox's publisher id, which `--new-identity` replaces.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.db import Error, connections, router, transaction
from django.db.models import Exists, F, QuerySet

from livepush.broker.backlog import Draft
from livepush.broker.lease import LeaseRow
from livepush.broker.relay import Row
from livepush.django.errors import LeaseLost, NumbersWentBack, OutboxMissing
from livepush.django.models import OutboxLease, OutboxMessage

_FIELDS = ("publisher", "database", "next", "generation", "beats", "holder")


def outbox_alias(alias: str | None) -> str:
    """Where a durable event is written: the database of the open transaction, else where the routers send writes."""
    return router.db_for_write(OutboxMessage) if alias is None else alias


class Outbox:
    """The outbox of one database.

    Args:
        alias: of `DATABASES`.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @property
    def database(self) -> str:
        """The database's own name, by which a copy elsewhere is told apart; at most 255 characters."""
        return str(connections[self.alias].settings_dict["NAME"])[-255:]

    # -- who publishes -------------------------------------------------------------------------------------------------

    def add(self, draft: Draft) -> int:
        """Writes an event down, in the transaction that is open; the key of its row.

        Raises:
            OutboxMissing: its table is not there.
        """
        with self._tables():
            row = OutboxMessage(key=draft.key, channel=draft.channel, body=draft.body)
            row.save(using=self.alias, force_insert=True)
        return int(row.pk)

    def state(self, key: int) -> tuple[int | None, str] | None:
        """Number and failure of a row; None: it is gone, because the broker has it."""
        return self._messages.filter(pk=key).values_list("number", "failed").first()

    # -- the lease -----------------------------------------------------------------------------------------------------

    def lease(self) -> LeaseRow:
        """The lease as it is; the first look makes it, with a new identity, under which nothing has a number yet."""
        identity = {"publisher": _new_publisher(), "database": self.database}
        with self._tables(), transaction.atomic(using=self.alias):
            row, made = OutboxLease.objects.using(self.alias).get_or_create(pk=1, defaults=identity)
            if made:
                self._messages.exclude(number=None).update(number=None)
        return LeaseRow(*(getattr(row, name) for name in _FIELDS))

    def bears(self) -> str | None:
        """The name of the database that the identity was made in; None: there is none yet, or no database."""
        try:
            with transaction.atomic(using=self.alias):
                return OutboxLease.objects.using(self.alias).values_list("database", flat=True).first()
        except Error:
            return None

    def take(self, seen: LeaseRow, holder: str) -> LeaseRow | None:
        """Takes the lease if it still is as it was seen.

        Args:
            holder: words for people.

        Returns:
            The lease that is held now; None: somebody was quicker.
        """
        held = replace(seen, generation=seen.generation + 1, beats=seen.beats + 1, holder=holder[:255])
        taken = self._unchanged(seen).update(generation=held.generation, beats=held.beats, holder=held.holder)
        return held if taken else None

    def give_back(self, generation: int) -> None:
        """Ends the lease, if it is still this one: a successor need not wait."""
        self._held(generation).update(holder="")

    def new_identity(self, seen: LeaseRow) -> str | None:
        """Makes this outbox another publisher, which begins at 1; rows that had a number wait for a new one.

        Returns:
            The new publisher id; None: the lease is not as it was seen.
        """
        publisher = _new_publisher()
        with transaction.atomic(using=self.alias):
            changed = self._unchanged(seen).update(
                publisher=publisher, database=self.database, next=1, generation=seen.generation + 1, holder=""
            )
            if changed:
                self._messages.exclude(number=None).update(number=None)
        return publisher if changed else None

    # -- the relay -----------------------------------------------------------------------------------------------------

    def number(
        self, generation: int, limit: int, done: Sequence[int] = (), publisher: str = "", known: int = 1
    ) -> tuple[int, int]:
        """One transaction of the lease's holder: says that it lives, deletes what is confirmed, numbers what waits.

        Rows are picked because they have no number, never by their own key: a low key may be committed last.

        Args:
            limit: the most rows to number.
            done: numbers that the broker has confirmed under this publisher.
            known: the outbox's next number, or one below, as this relay has seen it.

        Returns:
            How many rows were numbered, and the next number as far as it is known now.

        Raises:
            LeaseLost: another relay holds the lease. Nothing was changed.
            NumbersWentBack: the next number is below what is known. Nothing was changed.
        """
        with transaction.atomic(using=self.alias):
            if not self._held(generation).update(beats=F("beats") + 1):
                raise LeaseLost(f"another relay has taken the lease of the outbox in {self.alias!r}")
            self.delete(publisher, done)
            keys = list(self._waiting.order_by("pk").values_list("pk", flat=True)[:limit]) if limit > 0 else []
            if not keys:
                return 0, known
            first = self._held(generation).values_list("next", flat=True).get()
            if first < known:
                raise NumbersWentBack(f"{first} is below {known}")
            numbered = [OutboxMessage(pk=key, number=number) for number, key in enumerate(keys, first)]
            self._messages.bulk_update(numbered, ["number"], batch_size=256)
            self._held(generation).update(next=first + len(keys))
        return len(keys), first + len(keys)

    def load(self, after: int, limit: int) -> list[Row]:
        """Rows with a number above this one, in order."""
        rows = self._messages.filter(number__gt=after).order_by("number")
        found = rows.values_list("number", "key", "body", "channel", "created", "failed")[:limit]
        return [
            Row(number or 0, key, bytes(body), channel, int(created.timestamp() * 1000), void=bool(failed))
            for number, key, body, channel, created, failed in found
        ]

    def delete(self, publisher: str, numbers: Sequence[int]) -> None:
        """These are in the log, as events or as voids; a void's row stays as failed."""
        if numbers:
            rows = self._of(publisher).filter(number__in=numbers)
            rows.exclude(failed="").update(number=None)
            rows.filter(failed="").delete()

    def mark_failed(self, publisher: str, number: int, why: str) -> None:
        """The broker refuses this event for good: from now on its number is a void's."""
        self._of(publisher).filter(number=number).update(failed=why or "refused")

    def close(self) -> None:
        """Lets go of this thread's connection: the next statement makes a new one."""
        connections[self.alias].close()

    # -- within --------------------------------------------------------------------------------------------------------

    @property
    def _messages(self) -> QuerySet[OutboxMessage]:
        return OutboxMessage.objects.using(self.alias)

    @property
    def _waiting(self) -> QuerySet[OutboxMessage]:
        return self._messages.filter(number=None, failed="")

    def _of(self, publisher: str) -> QuerySet[OutboxMessage]:
        """The rows, while the outbox has this identity: under another the numbers are other events'."""
        return self._messages.filter(Exists(OutboxLease.objects.using(self.alias).filter(publisher=publisher)))

    def _held(self, generation: int) -> QuerySet[OutboxLease]:
        return OutboxLease.objects.using(self.alias).filter(pk=1, generation=generation)

    def _unchanged(self, seen: LeaseRow) -> QuerySet[OutboxLease]:
        same = {"publisher": seen.publisher, "beats": seen.beats, "holder": seen.holder}
        return self._held(seen.generation).filter(**same)

    @contextmanager
    def _tables(self) -> Iterator[None]:
        try:
            yield
        except Error as error:
            if _is_missing_table(error):
                raise OutboxMissing(self.alias) from error
            raise


def _new_publisher() -> str:
    return f"outbox-{secrets.token_hex(6)}"


def _is_missing_table(error: Error) -> bool:
    """Whether the database said so: PostgreSQL's 42P01, MySQL's 1146, or SQLite's and others' words."""
    cause: Any = error.__cause__ or error
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    code: Iterable[object] = getattr(cause, "args", ())[:1]
    return state == "42P01" or 1146 in code or "no such table" in str(error)
