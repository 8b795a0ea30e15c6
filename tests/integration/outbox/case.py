"""An outbox in a real database, and relays whose broker is a list."""

from __future__ import annotations

import logging
import sqlite3
import threading
from typing import Any

from django.core.management import call_command
from django.db import connections

from livepush.broker.backlog import Copy
from livepush.broker.envelope import Kind
from livepush.broker.relay import Relay
from livepush.django.models import OutboxMessage
from livepush.django.outbox import Outbox
from livepush.django.publication import failures
from livepush.django.relaying import Relaying
from livepush.django.wakeup import Bell
from tests.cases import CommittedCase
from tests.servers.postgresql import shared_postgresql
from tests.unit.django.doubles import make_publishing


class Member:
    """One relay: its rows, its shell, and a channel to the broker's log.

    Attributes:
        now: its clock.
        refuses: routing keys that the broker refuses.
        returns: whether no queue takes anything.
    """

    def __init__(self, outbox: Outbox, name: str, log: list[Copy]) -> None:
        self.now = 1000.0
        self.refuses: set[str] = set()
        self.returns = False
        self.log = log
        self.relay, self.bell = Relay(), Bell()
        self.relaying = Relaying(outbox, self.relay, threading.Lock(), self.bell, name, lambda: self.now)
        self.relay.opened()
        self.sent: list[Copy] = []

    def turn(self) -> bool:
        """A turn of the shell alone."""
        return self.relaying.turn()

    def send(self) -> list[Copy]:
        """Copies reach the broker; no confirm has come back."""
        self.relay.expire(self.now)
        copies = self.relay.copies(0)
        self.sent.extend(copies)
        return copies

    def answer(self) -> None:
        """The broker logs and confirms all that was sent, or refuses it."""
        sent, self.sent = self.sent, []
        for copy in sent:
            assert copy.stamp is not None
            if copy.key in self.refuses:
                self.relay.refused("403 no")
                self.relay.opened()
                return
            if self.returns:
                self.relay.returned(copy.stamp.number)
            else:
                self.log.append(copy)
        self.relay.confirmed(0, True)

    def work(self, turns: int = 6) -> None:
        """Everything, several times."""
        for _ in range(turns):
            self.turn()
            self.send()
            self.answer()
        self.turn()


class OutboxCase(CommittedCase):
    """A small site that publishes durably, in a database with the outbox's tables; subclasses say which."""

    def setUp(self) -> None:
        super().setUp()
        self.make_database()
        self.publishing, self.recorder = make_publishing()
        self.outbox = Outbox("default")
        self.log: list[Copy] = []
        self.lines = self.listen()
        failures._quiet.clear()

    def make_database(self) -> None:
        """Puts a database under `default`, with the outbox's tables."""
        raise NotImplementedError

    def break_database(self) -> None:
        """From now on, statements fail."""
        raise NotImplementedError

    def mend_database(self) -> None:
        """They don't any more."""
        raise NotImplementedError

    def member(self, name: str = "one") -> Member:
        """A relay, which has not looked at the lease yet."""
        member = Member(self.outbox, name, self.log)
        self.addCleanup(member.bell.close)
        return member

    def publish(self, text: str, **arguments: Any) -> Any:
        """Publishes durably."""
        return self.publishing.publish("orders", text, {}, durable=True, **arguments)

    def logged(self) -> list[tuple[int, str]]:
        """Number and event type of what the log holds, duplicates left out."""
        found: dict[int, str] = {}
        for copy in self.log:
            assert copy.stamp is not None
            word = "void" if copy.kind is Kind.VOID else copy.key.rpartition(".")[2]
            self.assertEqual(found.setdefault(copy.stamp.number, word), word)
        return list(found.items())

    def rows(self) -> list[tuple[int | None, str]]:
        """Number and event type of the rows, by key."""
        return [(row.number, row.key.rpartition(".")[2]) for row in OutboxMessage.objects.order_by("pk")]

    def listen(self) -> list[str]:
        """What is logged from now on, with its level."""
        lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(f"{record.levelname} {record.getMessage()}")  # type: ignore[method-assign]
        logger, level = logging.getLogger("livepush"), logging.getLogger("livepush").level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        self.addCleanup(logger.setLevel, level)
        self.addCleanup(logger.removeHandler, handler)
        return lines


class SQLite(OutboxCase):
    """The file of `CommittedCase`."""

    def make_database(self) -> None:
        connections["default"].settings_dict["OPTIONS"]["timeout"] = 0.05

    def break_database(self) -> None:
        self._lock = sqlite3.connect(self.database, isolation_level=None)
        self._lock.execute("BEGIN IMMEDIATE")
        self.addCleanup(self._lock.close)

    def mend_database(self) -> None:
        self._lock.close()


class PostgreSQL(OutboxCase):
    """A database of the private cluster."""

    def make_database(self) -> None:
        self.server = shared_postgresql()
        name = self.server.fresh_database()
        self.addCleanup(self.server.drop, name)
        self.use_database("default", **self.server.settings(name))
        call_command("migrate", "livepush", verbosity=0, interactive=False)

    def break_database(self) -> None:
        self.server.kill()
        self.addCleanup(shared_postgresql)

    def mend_database(self) -> None:
        self.server.start()
