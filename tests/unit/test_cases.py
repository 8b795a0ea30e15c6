"""The test cases themselves: what they undo and what they let others see."""

from __future__ import annotations

import threading

from django.contrib.auth.models import Group
from django.db import connection, transaction

from tests.cases import CommittedCase, DjangoCase


class DjangoCaseTests(DjangoCase):
    def test_one(self) -> None:
        """What a test writes, the next one doesn't see (first half)."""
        self.assertEqual(Group.objects.count(), 0)
        Group.objects.create(name="one")

    def test_two(self) -> None:
        """What a test writes, the next one doesn't see (second half)."""
        self.assertEqual(Group.objects.count(), 0)
        Group.objects.create(name="two")

    def test_hooks_run_when_asked(self) -> None:
        """Commit hooks run at the end of `committing`, in order, hooks of hooks too."""
        seen: list[int] = []
        with self.committing():
            transaction.on_commit(lambda: seen.append(1))
            transaction.on_commit(lambda: transaction.on_commit(lambda: seen.append(3)))
            transaction.on_commit(lambda: seen.append(2))
            self.assertEqual(seen, [])
        self.assertEqual(seen, [1, 2, 3])


class CommittedCaseTests(CommittedCase):
    def test_other_threads_see_it(self) -> None:
        """A committed row is there for another thread's connection."""
        Group.objects.create(name="one")
        seen: list[int] = []

        def look() -> None:
            seen.append(Group.objects.count())
            connection.close()

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        self.assertEqual(seen, [1])

    def test_fresh_for_each_test(self) -> None:
        """Each test begins with an empty, migrated database."""
        self.assertEqual(Group.objects.count(), 0)
        Group.objects.create(name="two")
