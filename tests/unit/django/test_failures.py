"""Failures are counted and logged without a flood."""

from __future__ import annotations

import logging

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.errors import BacklogFull, Unroutable
from livepush.django.failures import QUIET_SECONDS, Failures


class FailuresTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.lines: list[str] = []
        log = logging.Logger("quiet")  # noqa: LOG001 - one that nobody else hears
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        log.addHandler(handler)
        self.clock = Clock()
        self.failures = Failures(log, self.clock.seconds)

    def test_counts(self) -> None:
        """Each kind is counted, however little is logged."""
        for _ in range(1000):
            self.failures.add("x", BacklogFull("full"))
        self.failures.add("x", Unroutable("nobody"))
        self.assertEqual(self.failures.counts, {"BacklogFull": 1000, "Unroutable": 1})

    def test_no_flood(self) -> None:
        """A thousand failures of a kind are one line now, and one that counts them when the quiet is over."""
        for _ in range(1000):
            self.failures.add("orders lock", BacklogFull("full"))
        self.assertEqual(self.lines, ["orders lock was not published: BacklogFull: full"])
        self.clock.advance(QUIET_SECONDS)
        self.failures.add("orders lock", BacklogFull("full"))
        self.assertEqual(len(self.lines), 2)
        self.assertIn("999 more", self.lines[1])

    def test_forked_child(self) -> None:
        """Where the lock was held by a thread of the parent's, failures are counted all the same."""
        self.failures._lock.acquire()
        self.failures.renew_lock()
        self.failures.add("a", BacklogFull("full"))
        self.assertEqual(self.failures.counts, {"BacklogFull": 1})

    def test_kinds_apart(self) -> None:
        """A new kind of failure is told at once."""
        self.failures.add("a", BacklogFull("full"))
        self.failures.add("b", Unroutable("nobody"))
        self.assertEqual(len(self.lines), 2)
