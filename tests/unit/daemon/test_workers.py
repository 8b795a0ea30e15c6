"""What workers are started with, and what becomes of what they say. That they work: `tests.integration.daemon`."""

from __future__ import annotations

import json
from typing import Any

from django.test import override_settings
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon import service, workers
from livepush.daemon.errors import BadOption
from livepush.daemon.options import CommandLine
from livepush.daemon.workers import Told

SECRET = "amqp://user:canary@rabbit/"


class StartTests(SynchronousTestCase):
    """The command line and the environment of a worker."""

    def test_no_secret_on_a_command_line(self) -> None:
        """A broker that was given to the parent is in its workers' environment, and nothing of systemd's is."""
        line = CommandLine(settings="shop.settings", broker=SECRET, workers=2)
        command = workers.command_of(line, "warn")("2", ["systemd:domain=INET:name=socket0"])
        self.assertNotIn("canary", " ".join(command))
        for word in ("--instance", "2", "--log-level", "warn", "--listen=systemd:domain=INET:name=socket0"):
            self.assertIn(word, command)
        environ = {"HOME": "/", "NOTIFY_SOCKET": "@x", "LISTEN_PID": "1", "LIVEPUSH_BROKER_URL_FILE": "/run/x"}
        self.assertEqual(workers.environment_of(line, environ), {"HOME": "/", "LIVEPUSH_BROKER_URL": SECRET})
        self.assertEqual(workers.environment_of(CommandLine(workers=2), {"HOME": "/"}), {"HOME": "/"})

    def test_what_can_be_shared(self) -> None:
        """Plain sockets only; the line says who does the TLS."""
        workers.check(["tcp:8989", "tcp6:8989", "unix:/run/x"])
        error = self.assertRaises(BadOption, workers.check, ["ssl:443:privateKey=key.pem"])
        self.assertIn("let a proxy in front do the TLS", str(error))

    def test_the_embedded_broker(self) -> None:
        """One that the settings name can't be shared either."""
        with override_settings(LIVEPUSH_BROKER_URL="embedded:"):
            error = self.assertRaises(
                BadOption, service.make_workers, CommandLine("tests.settings", workers=2), MemoryReactorClock(), {}
            )
        self.assertIn("--workers 2: can't share the embedded broker", str(error))


class ToldTests(SynchronousTestCase):
    """A worker's lines."""

    def logged(self, line: str) -> tuple[LogLevel, str, str]:
        """Level, namespace and text of what one becomes."""
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)  # type: ignore[arg-type]
        try:
            Told().info("[{tag}] {line}", tag="2", line=line, stream="stdout")
        finally:
            globalLogPublisher.removeObserver(events.append)  # type: ignore[arg-type]
        (event,) = events
        return event["log_level"], event["log_namespace"], event["log_format"].format(**event)

    def test_an_entry(self) -> None:
        """An entry of its log keeps its level and its source; braces are only braces."""
        entry = {"time": "x", "level": "error", "namespace": "livepush.daemon.hub", "text": "lost {it}\n  at line 3"}
        told = (LogLevel.error, "livepush.daemon.hub", "worker 2: lost {it}\n  at line 3")
        self.assertEqual(self.logged(json.dumps(entry)), told)

    def test_anything_else(self) -> None:
        """What is no entry, such as the traceback of a crash, is a warning as it stands."""
        for line in ("Fatal Python error", "{}", "[1]", "3", '{"level": "loud", "namespace": "", "text": "x"}'):
            self.assertEqual(self.logged(line), (LogLevel.warn, "livepush.daemon.workers", f"worker 2: {line}"))
