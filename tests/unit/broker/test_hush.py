"""pika's words about connections that livepush speaks of itself."""

from __future__ import annotations

import logging
import threading
from contextlib import nullcontext

import pika
from pika.exceptions import AMQPError
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.hush import THREAD, hushed
from tests.servers.ports import free_ports


class Heard(logging.Handler):
    """A site's own handler, at the root."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.names.append(record.name)


class HushTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.heard = Heard()
        logging.getLogger().addHandler(self.heard)
        self.addCleanup(logging.getLogger().removeHandler, self.heard)
        (self.port,) = free_ports(1)

    def attempt(self, thread: str, hush: bool) -> list[str]:
        """Who logged something when a thread of this name found no broker."""
        self.heard.names.clear()

        def connect() -> None:
            with hushed() if hush else nullcontext():
                self.assertRaises(AMQPError, pika.BlockingConnection, pika.ConnectionParameters("127.0.0.1", self.port))

        worker = threading.Thread(target=connect, name=thread)
        worker.start()
        worker.join()
        return self.heard.names

    def test_hushed(self) -> None:
        """Without a broker a publisher's thread, and who hushes pika for a while, log none of pika's tracebacks."""
        self.assertEqual(self.attempt(THREAD, False), [])
        self.assertEqual(self.attempt("another", True), [])

    def test_shown(self) -> None:
        """A site's own use of pika is heard, and so is livepush's for who wants to know everything."""
        self.assertIn("pika.adapters.blocking_connection", self.attempt("another", False))
        logger = logging.getLogger("livepush")
        self.addCleanup(logger.setLevel, logger.level)
        logger.setLevel(logging.DEBUG)
        self.assertIn("pika.adapters.blocking_connection", self.attempt(THREAD, False))
