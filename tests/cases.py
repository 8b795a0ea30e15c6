"""Test cases for what needs a database, under trial.

Django's own TestCase classes are not used: trial calls neither their class set-up nor their rollback, and some then
pass silently.

    DjangoCase      everything happens in one transaction of the in-memory databases, rolled back after each test
    CommittedCase   the default database is a fresh file: commits are real, other threads and connections see them
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from twisted.trial.unittest import SynchronousTestCase, TestCase

ALIASES = ("default", "other")


@cache
def migrate() -> None:
    """Creates the tables of the in-memory databases, once in a run."""
    for alias in ALIASES:
        call_command("migrate", database=alias, verbosity=0, interactive=False)


class DjangoCase(SynchronousTestCase):
    """A test in a transaction of each in-memory database, rolled back at its end."""

    def setUp(self) -> None:
        super().setUp()
        migrate()
        for alias in ALIASES:
            self._begin(alias)

    @contextmanager
    def committing(self, using: str = DEFAULT_DB_ALIAS) -> Iterator[list[Callable[[], object]]]:
        """Runs the commit hooks that the block has registered, as its commit would.

        A hook's exception ends the run, as in Django, unless the hook is robust. The list holds the hooks that were
        run.
        """
        connection = connections[using]
        done: list[Callable[[], object]] = []
        start = len(connection.run_on_commit)
        yield done
        while start < len(connection.run_on_commit):
            entry: tuple[Any, ...] = connection.run_on_commit[start]
            _, hook, robust = entry
            start += 1
            done.append(hook)
            try:
                hook()
            except Exception:
                if not robust:
                    raise

    def _begin(self, alias: str) -> None:
        block = transaction.atomic(using=alias)
        block._from_testcase = True  # type: ignore[attr-defined] # durable=True is allowed inside, as in Django's TestCase
        block.__enter__()

        def end() -> None:
            transaction.set_rollback(True, using=alias)
            block.__exit__(None, None, None)

        self.addCleanup(end)


class CommittedCase(TestCase):
    """A test whose default database is a temporary SQLite file, so that commits are real and threads see each other's.

    WAL, `BEGIN IMMEDIATE` and 20 s of patience, as the documentation tells SQLite users. Tests may return Deferreds.
    Connections of other threads are those threads' to close.
    """

    database: Path
    """The file."""

    def setUp(self) -> None:
        super().setUp()
        migrate()
        self.database = Path(self.mktemp()).resolve()
        self._fill()
        self.use_database(
            DEFAULT_DB_ALIAS,
            NAME=str(self.database),
            OPTIONS={"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
        )

    def use_database(self, alias: str, **settings: Any) -> None:
        """Puts an SQLite database under this alias for the rest of the test.

        Args:
            alias: a known one is put aside, a new one is made.
            settings: as in `DATABASES`, for example `NAME`.
        """
        known = connections.settings.get(alias)
        before = connections[alias] if known else None
        fresh = deepcopy(connections.settings[DEFAULT_DB_ALIAS])
        fresh["OPTIONS"] = {}
        fresh.update(settings)
        connections.settings[alias] = fresh
        if before is not None:
            del connections[alias]

        def restore() -> None:
            connections[alias].close()
            del connections[alias]
            if known is None or before is None:
                del connections.settings[alias]
            else:
                connections.settings[alias], connections[alias] = known, before

        self.addCleanup(restore)

    def _fill(self) -> None:
        source = connections[DEFAULT_DB_ALIAS]
        source.ensure_connection()
        assert source.connection is not None
        target = sqlite3.connect(self.database)
        try:
            source.connection.backup(target)
        finally:
            target.close()
