"""What of the log is written."""

from __future__ import annotations

import json
import logging
from io import StringIO
from typing import Any

from twisted.logger import ILogObserver, Logger, LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from livepush.daemon.logs import TwistedHandler, adopt_stdlib, filtered, json_lines


@implementer(ILogObserver)
class Written:
    """An observer that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __call__(self, event: Any) -> None:
        self.events.append(event)

    @property
    def texts(self) -> list[str]:
        """The events, formatted."""
        return [formatEvent(event) for event in self.events]


class FilterTests(SynchronousTestCase):
    """`--log-level`."""

    def test_what_is_less_is_left_out(self) -> None:
        """Only events of the level and above it are written."""
        written = Written()
        logger = Logger("livepush.daemon.service", observer=filtered(written, "warn"))
        for level in LogLevel.iterconstants():
            logger.emit(level, level.name)
        self.assertEqual(written.texts, ["warn", "error", "critical"])

    def test_clients_write_no_log(self) -> None:
        """What libraries say about their peers is left out even at debug; what breaks is not."""
        written = Written()
        observer = filtered(written, "debug")
        Logger("autobahn.websocket.protocol", observer=observer).error("a bad frame")
        Logger("twisted.web.http", observer=observer).info("Timing out client")
        Logger("twisted.web.server", observer=observer).critical("an exception in a resource")
        Logger("livepush.daemon.hub", observer=observer).debug("ours")
        self.assertEqual(written.texts, ["an exception in a resource", "ours"])

    def test_the_higher_of_two_bounds(self) -> None:
        """A chatty library is not louder than everything else."""
        written = Written()
        Logger("twisted.web.http", observer=filtered(written, "critical")).error("x")
        self.assertEqual(written.texts, [])


class JsonTests(SynchronousTestCase):
    """`--log-format json`."""

    def test_one_object_a_line(self) -> None:
        """Each event is one line, whatever stands in it: when, how bad, where from, and what, with its traceback."""
        out = StringIO()
        logger = Logger("livepush.daemon.hub", observer=json_lines(out))
        logger.info("{count} connections\nwere told", count=3, log_time=1.5)
        try:
            raise ZeroDivisionError("canary")
        except ZeroDivisionError:
            logger.failure("It broke.")
        first, second = map(json.loads, out.getvalue().splitlines())
        expected = {"level": "info", "namespace": "livepush.daemon.hub", "text": "3 connections\nwere told"}
        self.assertEqual({name: first[name] for name in expected}, expected)
        self.assertRegex(first["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$")
        self.assertEqual(second["level"], "critical")
        self.assertIn("ZeroDivisionError: canary", second["text"])


class StandardLibraryTests(SynchronousTestCase):
    """Python's own logging."""

    def setUp(self) -> None:
        self.root = logging.RootLogger(logging.WARNING)
        self.root.manager = logging.Manager(self.root)

    def test_a_record_becomes_an_event(self) -> None:
        """Name, level and text arrive, and braces in the text are only braces."""
        written = Written()
        handler = TwistedHandler(written)
        handler.emit(logging.LogRecord("livepush", logging.WARNING, "f", 1, "no broker: %s {x}", ("refused",), None))
        self.assertEqual(written.texts, ["no broker: refused {x}"])
        event = written.events[0]
        self.assertEqual((event["log_namespace"], event["log_level"]), ("livepush", LogLevel.warn))

    def test_a_traceback_comes_along(self) -> None:
        """What went wrong can be read in the log."""
        written = Written()
        try:
            raise ZeroDivisionError("canary")
        except ZeroDivisionError as error:
            info = (type(error), error, error.__traceback__)
        TwistedHandler(written).emit(logging.LogRecord("a", logging.CRITICAL + 5, "f", 1, "broke", None, info))
        self.assertIn("ZeroDivisionError: canary", written.texts[0])
        self.assertEqual(written.events[0]["log_level"], LogLevel.critical)

    def test_what_nobody_configured_is_adopted(self) -> None:
        """livepush's own records are written from the level on, pika's traceback of each lost connection is not."""
        adopt_stdlib("info", self.root)
        self.assertEqual([type(handler) for handler in self.root.handlers], [TwistedHandler])
        self.assertEqual(self.root.getChild("livepush").level, logging.INFO)
        self.assertEqual(self.root.getChild("pika").level, logging.CRITICAL)
        adopt_stdlib("info", self.root)
        self.assertEqual(len(self.root.handlers), 1)

    def test_debug_shows_all(self) -> None:
        """Who looks for a fault in the broker's connection gets pika's lines too."""
        adopt_stdlib("debug", self.root)
        self.assertEqual(self.root.getChild("pika").level, logging.DEBUG)

    def test_a_sites_own_logging_stays(self) -> None:
        """Handlers and levels that Django's `LOGGING` has set are not touched."""
        own = logging.NullHandler()
        self.root.addHandler(own)
        self.root.getChild("livepush").setLevel(logging.ERROR)
        adopt_stdlib("debug", self.root)
        self.assertEqual(self.root.handlers, [own])
        self.assertEqual(self.root.getChild("livepush").level, logging.ERROR)
