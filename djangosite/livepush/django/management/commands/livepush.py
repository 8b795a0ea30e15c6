"""`manage.py livepush run | topology | publish | kick | relay`: the daemon, what it needs of the broker, one event by
hand, the end of somebody's connections, and the outbox's relay."""

from __future__ import annotations

import json
import logging
import sys
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from livepush.broker.errors import BadURL
from livepush.django.management import kick, relay, topology
from livepush.django.management.confirming import confirmed
from livepush.django.publication import publish


class Command(BaseCommand):
    """See the module."""

    confirm_seconds = 10.0
    help = "Real-time push: run the daemon, prepare the broker, publish an event."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The actions and their options."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="run | topology | publish | kick | relay")
        run = actions.add_parser("run", help="the daemon, as `twistd -n livepush` with this project's settings")
        run.add_argument(
            "--listen",
            action="append",
            default=[],
            metavar="ENDPOINT",
            help="an address in the form of Twisted's endpoints, such as tcp:8989:interface=127.0.0.1; several times",
        )
        run.add_argument("--port", help="short for --listen tcp:PORT:interface=127.0.0.1 [LIVEPUSH_PORT]")
        run.add_argument("--broker", help="amqp://... or embedded:[PORT] [LIVEPUSH_BROKER_URL]")
        run.add_argument("--log-level", default="info", help="the least level that is logged [info]")
        run.add_argument("--log-format", default="text", help="text, or json: one object a line [text]")
        run.add_argument("--instance", default="1", help="what this process is called among several [1]")
        run.add_argument("--workers", help="so many processes that share the sockets")
        run.add_argument("--status", metavar="ENDPOINT", help="answer /healthz, /readyz and /metrics here, too")
        parts = actions.add_parser("topology", help="makes exchanges and log, or sees that they are there and right")
        topology.add_arguments(parts)
        event = actions.add_parser("publish", help="publishes one event and waits for the broker's confirm")
        event.add_argument("channel", help="a declared channel, or user.<pk>")
        event.add_argument("type", help="what happened, as a name")
        event.add_argument("data", metavar="json", help="a JSON object")
        event.add_argument("--only", action="append", metavar="AUDIENCE", help="tell this audience only; several times")
        event.add_argument("--key", help="what the event is about: a later one with the same key may stand for it")
        leave = actions.add_parser("kick", help="ends somebody's connections, in every daemon")
        kick.add_arguments(leave)
        outbox = actions.add_parser("relay", help="publishes what publish(durable=True) wrote; a process of its own")
        relay.add_arguments(outbox)
        for action in (run, parts, event, leave, outbox):  # Django has read them by now, wherever they stand
            action.add_argument("--settings", default=SUPPRESS, help="the settings module")
            action.add_argument("--pythonpath", default=SUPPRESS, help="the folder that holds it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Does one of them.

        Raises:
            CommandError: it could not be done; one line with the reason, exit status 1.
        """
        actions: dict[str, Callable[[dict[str, Any]], None]] = {
            "run": self._run,
            "topology": self._topology,
            "publish": self._publish,
            "kick": self._kick,
            "relay": self._relay,
        }
        try:
            actions[options["action"]](options)
        except (ImproperlyConfigured, BadURL) as error:
            raise CommandError(str(error)) from None

    def _run(self, options: dict[str, Any]) -> None:
        # Twisted is needed here only.
        from twisted.python.usage import UsageError
        from twisted.scripts.twistd import ServerOptions, runApp  # type: ignore[attr-defined]

        from livepush.daemon.options import Options

        words = [f"--{name}={options[name.replace('-', '_')]}" for name in ("log-level", "log-format", "instance")]
        words += [
            f"--{name}={options[name]}" for name in ("port", "broker", "workers", "status") if options[name] is not None
        ]
        # Where manage.py is, from wherever it is called: processes that the daemon starts look for the settings there.
        folder = Path(sys.path[0])
        words += [f"--pythonpath={folder}"] if folder.is_dir() else []
        words += [f"--listen={description}" for description in options["listen"]]
        try:
            Options().parseOptions(words)  # type: ignore[no-untyped-call]
        except UsageError as error:
            raise CommandError(str(error)) from None
        config = ServerOptions()
        config.parseOptions(["--nodaemon", "--pidfile=", "livepush", *words])
        runApp(config)

    def _topology(self, options: dict[str, Any]) -> None:
        topology.topology(options, self.stdout.write)

    def _publish(self, options: dict[str, Any]) -> None:
        try:
            data = json.loads(options["data"])
        except ValueError as error:
            raise CommandError(f"{options['data']!r} is not JSON: {error}") from None
        try:
            publication = publish(
                options["channel"], options["type"], data, only=options["only"] or None, key=options["key"]
            )
        except (TypeError, ValueError) as error:
            raise CommandError(str(error)) from None
        with _quiet():
            name = confirmed(publication.result, self.confirm_seconds, "not published")
        self.stdout.write(f"published {name}")

    def _kick(self, options: dict[str, Any]) -> None:
        with _quiet():
            self.stdout.write(kick.kick(options, self.confirm_seconds))

    def _relay(self, options: dict[str, Any]) -> None:
        if text := relay.relay(options):
            self.stdout.write(text)


@contextmanager
def _quiet() -> Iterator[None]:
    """The outcome is told in one line; what the publisher logs on the way would stand beside it."""
    logger = logging.getLogger("livepush")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
