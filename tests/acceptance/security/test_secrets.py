"""Cases 38 and 39: code that runs what it is sent, and secrets where others can read them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.acceptance.security.case import SecurityCase
from tests.acceptance.security.world import PROJECT
from tests.servers.daemon import Daemon, clean_environment, twistd
from tests.servers.ports import free_port

NAME = "LIVEPUSH_BROKER_URL"


def commandline(pid: int) -> str:
    """What `ps` shows of a process and its threads."""
    return "".join(path.read_text() for path in Path(f"/proc/{pid}").glob("**/cmdline") if path.is_file())


class SecretsTests(SecurityCase):
    """Who looks at command lines, logs, status pages and error messages."""

    def assert_silent(self, text: str, where: str) -> None:
        """None of the known secrets stands there."""
        for what, secret in self.world.secrets.items():
            self.assertNotIn(secret, text, f"{what} in {where}")

    def daemon(self, *words: str, **environ: str) -> Daemon:
        """One more, without the broker's address in its environment unless it is given here."""
        self.port = free_port()
        daemon = self.world.start(self.port, "guarded.settings", *words, **{NAME: "", **environ})
        self.addCleanup(daemon.kill)
        return daemon

    def file(self, text: str, mode: int = 0o600) -> Path:
        """A file that holds a secret."""
        path = (Path(self.mktemp())).absolute()
        path.write_text(text)
        path.chmod(mode)
        return path

    def test_39_command_lines(self) -> None:
        """Attack: any user of the machine looks at `ps`."""
        for daemon in (self.world.daemon, self.world.legacy):
            self.assert_silent(commandline(daemon.pid), "a command line")

    def test_39_answers(self) -> None:
        """Attack: whoever asks for it reads the status, pages that are not there, and a method that echoes."""
        bearer = ("Authorization", "Bearer canary-of-the-status-token")
        for path in ("/healthz", "/readyz", "/metrics", "/", "/livepush/ws", "/livepush/sockjs/info", "/%00"):
            for method in ("GET", "TRACE", "OPTIONS", "POST"):
                with self.ask(method, path, [bearer]) as exchange:
                    said = exchange.rest().decode("latin-1") + repr(exchange.headers)
                self.assert_silent(said, f"{method} {path}")

    def test_39_logs_at_debug(self) -> None:
        """Attack: the log at its most talkative falls into the wrong hands, with visitors and failures in it."""
        daemon = self.daemon("--log-level", "debug", **{NAME: self.world.variables[NAME]})
        daemon.wait_for("Feed ready")
        visitor = self.world.visitor()
        page = self.page(visitor, port=self.port)
        mark = "canary-of-a-payload"
        page.send_json({"op": "call", "n": 1, "channel": "orders", "type": "echo", "data": {"x": mark}})
        self.assertIn(mark, str(page.receive_json()))
        self.world.publish("lock", {"x": mark})
        self.assertIn(mark, str(page.receive_json()))
        page.send_text('{"op": "' + mark)
        self.assertEqual(page.receive_close().code, 4400)
        with self.ask("GET", "/nothing?" + mark, [visitor.cookie], port=self.port) as exchange:
            self.assertEqual(exchange.status, 404)
        self.stream(visitor, port=self.port)
        daemon.terminate()
        self.assert_silent(daemon.output, "the log")
        self.assertNotIn(visitor.session, daemon.output)
        self.assertNotIn(mark, daemon.output)

    def test_39_a_broker_that_refuses(self) -> None:
        """Attack: the password is wrong for a while, and what is logged of that is read."""
        wrong = self.world.vhost.url(user="guest", password="canary-of-a-wrong-password")
        daemon = self.daemon("--log-level", "debug", **{NAME: wrong})
        daemon.wait_for("Feed not ready")
        with self.ask(
            "GET", "/readyz", [("Authorization", "Bearer canary-of-the-status-token")], port=self.port
        ) as ready:
            self.assertEqual(ready.status, 503)
            self.assertNotIn(b"canary", ready.rest())
        daemon.terminate()
        self.assertNotIn("canary-of-a-wrong-password", daemon.output)

    def test_39_failures_at_the_start(self) -> None:
        """Attack: a start that failed has told its reasons to everybody who reads the journal."""
        for number, url in enumerate(
            (
                "amqp://u:canary-of-a-password@host:port/",
                "http://u:canary-of-a-password@host/",
                "amqp://u:canary-of-a-password/with/slashes@host/",
                "amqps://u:canary-of-a-password@host/?cacertfile=/nowhere",
            )
        ):
            environ = {f"{NAME}_FILE": str(self.file(url))} if number % 2 else {NAME: url}
            done = subprocess.run(
                twistd("-n", "--pidfile=", "livepush", "--port", str(free_port())),
                cwd=PROJECT,
                env=clean_environment(**{**self.world.variables, NAME: "", **environ}),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done.stderr)
            self.assertNotIn("canary", done.stdout + done.stderr)

    def test_39_a_file(self) -> None:
        """The remedy: a secret comes in a file, and is neither in the environment nor in the log."""
        path = self.file(self.world.variables[NAME] + "\n")
        daemon = self.daemon("--log-level", "debug", **{f"{NAME}_FILE": str(path)})
        daemon.wait_for("Feed ready")
        environ = Path(f"/proc/{daemon.pid}/environ").read_text()
        self.assertNotIn(self.world.secrets["the broker's password"], environ + commandline(daemon.pid))
        self.assertNotIn(self.world.secrets["the broker's password"], daemon.output)

    def test_39_a_credential(self) -> None:
        """The remedy under systemd: it comes as a credential of the setting's name."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / NAME).write_text(self.world.variables[NAME])
        daemon = self.daemon(CREDENTIALS_DIRECTORY=str(folder))
        daemon.wait_for("Feed ready")
        self.assertNotIn(self.world.secrets["the broker's password"], Path(f"/proc/{daemon.pid}/environ").read_text())

    def test_39_reprs_and_tracebacks(self) -> None:
        """Attack: an error report shows every local variable of a Django process that can't publish."""
        code = (
            "import json, os, traceback, django; django.setup()\n"
            "from livepush.django.conf import conf\n"
            "from livepush.django.outlet import outlet\n"
            "from livepush.broker.publisher import PublisherSettings\n"
            "known = conf()\n"
            "url = known.broker()\n"
            "shown = [repr(each) + str(each) for each in (known, url, PublisherSettings(url), outlet.publisher())]\n"
            "try:\n"
            "    known.broker('amqp://u:canary-of-a-password@h:x/')\n"
            "except Exception as error:\n"
            "    shown += traceback.format_exception(error)\n"
            "print(json.dumps(shown))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=PROJECT,
            env=clean_environment(**self.world.variables),
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=True,
        )
        shown = json.loads(done.stdout)
        self.assertEqual(len(shown) > 4, True)
        # The traceback's own source lines hold the address that this test has written.
        self.assert_silent("\n".join(shown), "a repr")
        self.assertNotIn("canary-of-a-password", shown[-1])

    def test_39_help(self) -> None:
        """Attack: `--help` with the production environment prints its defaults."""
        words: tuple[list[str], ...] = (
            twistd("livepush", "--help"),
            [sys.executable, "-m", "django", "livepush", "run", "-h"],
        )
        for command in words:
            done = subprocess.run(
                command,
                cwd=PROJECT,
                env=clean_environment(**self.world.variables),
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            self.assertIn("broker", done.stdout)
            self.assert_silent(done.stdout + done.stderr, "--help")
