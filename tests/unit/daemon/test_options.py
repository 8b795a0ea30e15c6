"""The command line: what is wrong is told with the option, the value and the remedy."""

from __future__ import annotations

from pathlib import Path

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.url import without_password
from livepush.daemon.errors import BadOption
from livepush.daemon.options import CommandLine, Options

SECRET = "canary-of-a-password"


def parse(*words: str) -> CommandLine:
    """What a command line means."""
    options = Options()
    usage.Options.parseOptions(options, list(words))
    return options.command_line


class WorkersTests(SynchronousTestCase):
    """Several processes."""

    def test_given(self) -> None:
        """Number, name and form of the log reach the daemon."""
        line = parse("--workers", "4", "--instance", "a-1", "--log-format", "json")
        self.assertEqual((line.workers, line.instance, line.log_format), (4, "a-1", "json"))
        self.assertEqual((parse().workers, parse().instance, parse().log_format), (None, "1", "text"))

    def test_wrong(self) -> None:
        """Each line says what is right."""
        for words, told in (
            (("--workers", "0"), "--workers '0': must be a whole number from 1 to 256"),
            (("--workers", "257"), "from 1 to 256"),
            (("--workers", "-1"), "from 1 to 256"),
            (("--workers", "2", "--broker", "embedded:5673"), "--workers 2: can't share the embedded broker"),
            (("--instance", ""), "--instance '': must be 1 to 32 letters"),
            (("--instance", "a" * 33), "must be 1 to 32 letters"),
            (("--log-format", "xml"), "--log-format 'xml': must be one of text, json"),
        ):
            self.assertIn(told, str(self.assertRaises(usage.UsageError, parse, *words)))


class OptionsTests(SynchronousTestCase):
    """Right and wrong command lines."""

    def refused(self, *words: str) -> str:
        """The message for a command line that is wrong."""
        return str(self.assertRaises(usage.UsageError, parse, *words))

    def test_nothing_is_needed(self) -> None:
        """Without options the site's settings decide."""
        self.assertEqual(parse(), CommandLine(None, None, (), None, "info"))

    def test_everything_given(self) -> None:
        """Each option reaches the daemon; `--listen` as often as it is given."""
        line = parse(
            *("--settings", "exchange.settings", "--pythonpath", "/tmp", "--log-level", "debug"),
            *("--listen", "tcp:8989:interface=127.0.0.1", "--listen", "unix:/run/livepush.sock"),
            *("--broker", "embedded:5700"),
        )
        self.assertEqual((line.settings, line.pythonpath, line.log_level), ("exchange.settings", "/tmp", "debug"))
        self.assertEqual(line.listen, ("tcp:8989:interface=127.0.0.1", "unix:/run/livepush.sock"))
        self.assertEqual(line.broker, "embedded:5700")

    def test_a_port_is_this_machines_own(self) -> None:
        """`--port` opens nothing to the network."""
        self.assertEqual(parse("--port", "8000").listen, ("tcp:8000:backlog=1024:interface=127.0.0.1",))

    def test_a_port_and_other_addresses(self) -> None:
        """`--port` adds to `--listen`."""
        self.assertEqual(len(parse("--port", "8000", "--listen", "tcp:8001").listen), 2)

    def test_ports_that_are_none(self) -> None:
        """A port must be a number in range."""
        for text in ("0", "65536", "99999999999", "-1", "http", "", "\uff18"):
            message = self.refused(f"--port={text}")
            self.assertIn(f"--port {text!r}", message)
            self.assertIn("from 1 to 65535", message)

    def test_the_same_port_twice(self) -> None:
        """A port that both options name is a mistake, however it is written in the description."""
        for description in (
            "tcp:8989",
            "tcp:8989:interface=127.0.0.1",
            "tcp:port=8989",
            "tcp:interface=127.0.0.1:port=8989",
        ):
            message = self.refused("--port", "8989", "--listen", description)
            self.assertIn("--port 8989", message)
            self.assertIn(description, message)
        self.assertIn("twice", self.refused("--listen", "tcp:1", "--listen", "tcp:1"))

    def test_descriptions_that_are_none(self) -> None:
        """An address must look like one of Twisted's endpoints, and its port be one."""
        for text in ("", "8989", ":8989", "localhost"):
            message = self.refused(f"--listen={text}")
            self.assertIn(f"--listen {text!r}", message)
            self.assertIn("tcp:8989:interface=127.0.0.1", message)
        for text in ("tcp:65536", "tcp:-1", "tcp:port=99999", "ssl:70000:privateKey=k.pem"):
            self.assertIn("from 1 to 65535", self.refused("--listen", text))

    def test_a_settings_module_must_be_a_name(self) -> None:
        """A path is not the name of a module."""
        for text in ("exchange/settings.py", "exchange settings", "", "exchange..settings", "1settings"):
            message = self.refused(f"--settings={text}")
            self.assertIn(f"--settings {text!r}", message)
            self.assertIn("exchange.settings", message)

    def test_a_folder_must_be_there(self) -> None:
        """A wrong folder is told before Django fails to find its module in it."""
        message = self.refused("--pythonpath", "/nowhere/at/all")
        self.assertIn("--pythonpath '/nowhere/at/all'", message)
        self.assertIn("manage.py", message)

    def test_an_unknown_log_level(self) -> None:
        """The message lists the levels."""
        message = self.refused("--log-level", "verbose")
        self.assertIn("--log-level 'verbose'", message)
        self.assertIn("debug, info, warn, error, critical", message)

    def test_words_that_are_no_option(self) -> None:
        """A forgotten `--listen` is not taken for nothing."""
        self.assertIn("8989", self.refused("8989"))

    def test_a_wrong_broker_never_shows_its_password(self) -> None:
        """The message names option, place and remedy, and hides what may be a password."""
        for text in (
            f"http://user:{SECRET}@host/",
            f"amqp://user:{SECRET}@host:99999/",
            f"amqp://user:{SECRET}/x@host/",
            f"amqp:user:{SECRET}@host",
            f"user:{SECRET}@host",
            f"amqp://user:{SECRET}@a@host:x/",
        ):
            message = self.refused("--broker", text)
            self.assertNotIn(SECRET, message)
            self.assertIn("--broker", message)
            self.assertIn("embedded:", message)

    def test_what_is_shown_of_a_broker(self) -> None:
        """The place stays readable."""
        self.assertEqual(without_password("amqp://u:p@host:5672/v"), "amqp://...@host:5672/v")
        self.assertEqual(without_password("embedded:5673"), "embedded:5673")


class PasswordTests(SynchronousTestCase):
    """Secrets on the command line."""

    def test_a_real_password_is_noticed(self) -> None:
        """Whoever lists processes can read it; RabbitMQ's own guest account is no secret."""
        self.assertTrue(CommandLine(broker=f"amqp://push:{SECRET}@host/").shows_password)
        for text in ("amqp://guest:guest@host/", "amqp://host/", "amqp://push@host/", "embedded:", None):
            self.assertFalse(CommandLine(broker=text).shows_password, text)

    def test_checked_without_a_parser_too(self) -> None:
        """Who builds a command line in code hears the same."""
        self.assertRaises(BadOption, CommandLine, log_level="loud")


class DocumentationTests(SynchronousTestCase):
    """`docs/reference/command-line.md`."""

    def test_every_option_has_a_heading(self) -> None:
        """What can be given is described, and nothing else is."""
        page = Path(__file__).parents[3] / "docs" / "reference" / "command-line.md"
        headings = [line[4:] for line in page.read_text("utf-8").splitlines() if line.startswith("### ")]
        options = {f"--{entry[0]}" for entry in Options.optParameters} | {"--listen"}
        self.assertEqual(sorted(headings), sorted(options))
