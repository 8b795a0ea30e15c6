"""What becomes of a publication, and who is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.errors import BacklogFull, Unroutable
from livepush.django.publication import Publication, failures
from livepush.django.signals import publication_failed
from tests.unit.django.doubles import make_publishing


class Boom(Exception):
    """Raised by another app's hook."""


def boom() -> None:
    raise Boom


class ResultTests(SynchronousTestCase):
    """What became of it."""

    def setUp(self) -> None:
        publishing, self.recorder = make_publishing()
        self.publish = publishing.publish
        self.log = self.listen()
        before = failures._quiet.copy()
        failures._quiet.clear()
        self.addCleanup(failures._quiet.update, before)

    def listen(self) -> list[str]:
        lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
        logger = logging.getLogger("livepush")
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)
        return lines

    @contextmanager
    def receiving(self, receiver: Callable[..., None]) -> Iterator[None]:
        publication_failed.connect(receiver, weak=False)
        try:
            yield
        finally:
            publication_failed.disconnect(receiver)

    def test_confirmed(self) -> None:
        """The result is the id, once the broker has confirmed."""
        publication = self.publish("orders", "x", {})
        self.recorder.confirm()
        self.assertEqual(publication.result(0), "recorder-1")

    def test_timeout(self) -> None:
        """Without a confirm the wait ends with what was waited for."""
        publication = self.publish("orders", "x", {})
        error = self.assertRaises(TimeoutError, publication.result, 0.01)
        self.assertIn("orders x recorder-1", str(error))

    def test_failed(self) -> None:
        """A failure is raised by the result, logged without data, counted and signalled."""
        seen: list[tuple[Publication, Exception]] = []
        before = failures.counts.get("Unroutable", 0)
        publication = self.publish("orders", "x", {"secret": "s3cret"})
        with self.receiving(lambda publication, error, **_: seen.append((publication, error))):
            self.recorder.tickets[0].set_exception(Unroutable("nobody"))
        self.assertRaises(Unroutable, publication.result, 0)
        self.assertEqual([(publication, Unroutable)], [(each, type(error)) for each, error in seen])
        self.assertEqual(failures.counts["Unroutable"], before + 1)
        self.assertIn("orders x", self.log[0])
        self.assertNotIn("s3cret", "".join(self.log))

    def test_backlog_full(self) -> None:
        """A full backlog doesn't raise in the view; it is told to whoever asks, and signalled."""
        seen: list[Exception] = []
        self.recorder.refuse_with = BacklogFull("full")
        with self.receiving(lambda error, **_: seen.append(error)):
            publication = self.publish("orders", "x", {})
        self.assertIsNone(publication.id)
        self.assertEqual([type(error) for error in seen], [BacklogFull])
        self.assertRaises(BacklogFull, publication.result, 0)

    def test_receiver_raises(self) -> None:
        """A receiver that raises stops no other and not the publication."""
        seen: list[Exception] = []
        self.recorder.refuse_with = BacklogFull("full")
        with self.receiving(lambda **_: boom()), self.receiving(lambda error, **_: seen.append(error)):
            self.publish("orders", "x", {})
        self.assertEqual(len(seen), 1)
