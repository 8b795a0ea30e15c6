"""manage.py livepush."""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from django.core.management import CommandError, call_command
from django.test import override_settings
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.errors import BacklogFull
from livepush.daemon.options import Options
from livepush.django.management.commands.livepush import Command
from livepush.django.outlet import outlet
from tests.recorder import RecordedTicket, Recorder
from tests.servers.ports import free_ports


class Confirming(Recorder):
    """A broker that confirms at once."""

    def publish(self, draft: Any, /) -> RecordedTicket:
        ticket = super().publish(draft)
        self.confirm()
        return ticket


class PublishTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.recorder: Recorder = Confirming()

    def run_command(self, *words: str, command: Command | None = None) -> str:
        out = StringIO()
        with outlet.replaced(self.recorder):
            call_command(command or Command(), "publish", *words, stdout=out)
        return out.getvalue()

    def refused(self, *words: str, command: Command | None = None) -> str:
        """The command fails with one line."""
        error = self.assertRaises(CommandError, self.run_command, *words, command=command)
        self.assertNotIn("\n", str(error))
        return str(error)

    def test_confirmed(self) -> None:
        """An event by hand: the id is printed once the broker has it."""
        self.assertEqual(
            self.run_command("user.7", "note", '{"text": "hello"}', "--key", "k"), "published recorder-1\n"
        )
        self.assertEqual(self.recorder.bodies[0]["data"], {"text": "hello"})
        self.assertEqual(self.recorder.bodies[0]["key"], "k")

    def test_only(self) -> None:
        """Audiences can be named."""
        self.run_command("orders", "x", "{}", "--only", "client", "--only", "moderator")
        self.assertEqual(self.recorder.bodies[0]["only"], {"audiences": ["client", "moderator"], "users": []})

    def test_refused_arguments(self) -> None:
        """What publish() refuses, and what is no JSON, is one line that names it."""
        for words, expected in (
            (("nope", "x", "{}"), "'nope'"),
            (("#", "x", "{}"), "'#'"),
            (("user.7", "a b", "{}"), "'a b'"),
            (("user.7", "x", "{"), "'{'"),
            (("user.7", "x", "[1]"), "data"),
            (("user.7", "x", '{"a": NaN}'), "nan"),
            (("orders", "x", "{}", "--only", "nobody"), "'nobody'"),
            (("user.7", "x", "{}", "--key", ""), "key"),
        ):
            self.assertIn(expected, self.refused(*words))
        self.assertEqual(self.recorder.drafts, [])

    def test_not_confirmed(self) -> None:
        """Without a confirm in time it fails, and the event is taken back."""
        self.recorder = Recorder()
        command = Command()
        command.confirm_seconds = 0.01
        with override_settings(LIVEPUSH_BROKER_URL="amqp://u:s3cret@broker/"):
            text = self.refused("user.7", "x", "{}", command=command)
        self.assertIn("amqp://broker:5672/%2F", text)
        self.assertNotIn("s3cret", text)
        self.assertEqual(self.recorder.closed, 1)

    def test_known_cause(self) -> None:
        """What the publisher knows of the broker is told, too."""
        self.recorder = Recorder()
        self.recorder.trouble = "livepush: can't publish to log 'livepush.log': 404"
        command = Command()
        command.confirm_seconds = 0.01
        text = self.refused("user.7", "x", "{}", command=command)
        self.assertTrue(text.endswith("within 0.01 s; can't publish to log 'livepush.log': 404"), text)

    def test_failed(self) -> None:
        """A failure is told."""
        self.recorder = Recorder()
        self.recorder.refuse_with = BacklogFull("the backlog is full")
        self.assertIn("the backlog is full", self.refused("user.7", "x", "{}"))

    def test_faulty_settings(self) -> None:
        """A broker that can't be used is told in a line."""
        self.recorder = Recorder()
        with override_settings(LIVEPUSH_BROKER_URL="nope"):
            error = self.assertRaises(CommandError, call_command, "livepush", "topology", skip_checks=True)
        self.assertIn("LIVEPUSH_BROKER_URL", str(error))


class TopologyTests(SynchronousTestCase):
    def test_unreachable(self) -> None:
        """A broker that is not there is one line with its address, without the password."""
        (port,) = free_ports(1)
        error = self.assertRaises(
            CommandError, call_command, "livepush", "topology", broker=f"amqp://u:s3cret@127.0.0.1:{port}/"
        )
        self.assertIn(f"amqp://127.0.0.1:{port}/%2F: can't be reached", str(error))
        self.assertNotIn("s3cret", str(error))

    def test_bad_url(self) -> None:
        """An address that is none is refused before anything is tried."""
        for action in ("topology", "relay"):
            error = self.assertRaises(CommandError, call_command, "livepush", action, broker="http://u:s3cret@x")
            self.assertIn("--broker 'http://...@x': ", str(error))
            self.assertIn("amqp://", str(error))
            self.assertNotIn("s3cret", str(error))


class RunTests(SynchronousTestCase):
    def test_refused_options(self) -> None:
        """The options are those of twistd, with the same messages."""
        for options, expected in (
            ({"port": "x"}, "--port 'x'"),
            ({"listen": ["nope"]}, "--listen 'nope'"),
            ({"broker": "http://u:s3cret@x"}, "--broker"),
            ({"log_level": "loud"}, "--log-level 'loud'"),
            ({"status": "nope"}, "--status 'nope'"),
        ):
            error = self.assertRaises(CommandError, call_command, "livepush", "run", **options)
            self.assertIn(expected, str(error))
            self.assertNotIn("s3cret", str(error))

    def test_every_option(self) -> None:
        """Whatever `twistd livepush` can be told, `run` can."""
        twistd = {f"--{name}" for name, *_ in Options.optParameters} | {"--listen"}
        with redirect_stdout(StringIO()) as told:
            self.assertRaises(
                SystemExit, Command().create_parser("manage.py", "livepush").parse_args, ["run", "--help"]
            )
        self.assertEqual(set(re.findall(r"--[a-z-]+", told.getvalue())) - {"--help"}, twistd)
