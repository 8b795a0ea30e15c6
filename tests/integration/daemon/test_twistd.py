"""`twistd -n livepush` as an operator runs it: a real process, a real broker, a browser's cookie."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.eventsource import Stream
from tests.clients.websocket import WebSocket, connect
from tests.servers.daemon import Daemon, clean_environment, django_site, twistd
from tests.servers.ports import free_ports
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import shared_rabbitmq

SECRET = "canary-of-a-password"
ENDED_BY_SIGTERM = -signal.SIGTERM  # twistd ends itself with the signal that it was sent, after an orderly end


class DaemonCase(SynchronousTestCase):
    """Daemons that end with their test."""

    def start(self, *words: str, **more: Any) -> Daemon:
        """One daemon of the tests' site."""
        daemon = Daemon(django_site(), *words, **more)
        self.addCleanup(daemon.kill)
        return daemon

    def get(self, port: int, path: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.addCleanup(connection.close)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def browser(self, port: int, cookie: str | None = None) -> WebSocket:
        """A browser's WebSocket, from a page of the same origin."""
        headers = [("Origin", f"http://127.0.0.1:{port}"), ("Cookie", cookie or django_site().cookie)]
        client = connect(port, headers=headers, subprotocols=["livepush.v1"], deadline=30.0)
        self.addCleanup(client.close)
        return client


class EmbeddedTests(DaemonCase):
    """One command, nothing else installed."""

    def test_from_start_to_end(self) -> None:
        """It says what it is for, gets ready, welcomes a browser by its cookie, and tells it to come back."""
        port, amqp = free_ports(2)
        daemon = self.start("--broker", f"embedded:{amqp}", "--port", str(port))
        daemon.wait_for("embedded broker is for one machine")
        daemon.wait_for("Feed ready")
        self.assertEqual(self.get(port, "/readyz"), (200, {"ready": True}))
        self.assertEqual(self.get(port, "/healthz"), (200, {"alive": True, "connections": 0}))

        first, second = self.browser(port), self.browser(port)
        for client in (first, second):
            self.assertEqual(client.status, 101, client.handshake)
            client.send_json({"op": "hello", "n": 0, "tab": "t1"})
            welcome = client.receive_json()
            self.assertEqual((welcome["op"], welcome["user"]), ("welcome", django_site().user))
            self.assertEqual(set(welcome["channels"]), {f"user.{django_site().user}", "news"})
        self.assertEqual(self.get(port, "/healthz")[1]["connections"], 2)

        stranger = self.browser(port, "sessionid=nobody-at-all")
        self.assertEqual(stranger.receive_close().code, 4401)

        # Neither answers the close frame, so the end has to wait for both, and not for long.
        status, seconds = daemon.terminate()
        self.assertEqual([first.receive_close().code, second.receive_close().code], [4000, 4000])
        self.assertEqual(status, ENDED_BY_SIGTERM, daemon.output)
        self.assertLess(seconds, 5.0)
        self.assertNotIn("Traceback", daemon.output)
        self.assertNotIn(django_site().cookie.partition("=")[2], daemon.output)

    def test_every_transport(self) -> None:
        """One process serves them all, by the same cookie; a stream is told the end too."""
        port, amqp = free_ports(2)
        daemon = self.start("--broker", f"embedded:{amqp}", "--port", str(port))
        daemon.wait_for("Feed ready")
        for path in ("/livepush/sockjs/info", "/socket.io/?EIO=4&transport=polling"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            self.addCleanup(connection.close)
            connection.request("GET", path)
            answer = connection.getresponse()
            self.assertEqual((answer.status, bool(answer.read())), (200, True), path)
        stranger = Stream(port, "/livepush/sse", "Cookie: sessionid=nobody-at-all")
        self.addCleanup(stranger.socket.close)
        self.assertIn(" 403 ", stranger.head())
        stream = Stream(port, "/livepush/sse", f"Cookie: {django_site().cookie}")
        self.addCleanup(stream.socket.close)
        self.assertIn(" 200 ", stream.head())
        (welcome,) = stream.until("welcome")
        self.assertEqual((welcome["user"], "news" in welcome["channels"]), (django_site().user, True))
        daemon.terminate()
        self.assertEqual(stream.until("close")[-1]["code"], 4000)

    def test_only_what_matters_is_logged(self) -> None:
        """`--log-level warn` leaves the warnings."""
        port, amqp = free_ports(2)
        daemon = self.start("--broker", f"embedded:{amqp}", "--port", str(port), "--log-level", "warn")
        daemon.wait_for("one machine")
        self.assertEqual(daemon.terminate()[0], ENDED_BY_SIGTERM)
        self.assertEqual(len(daemon.output.splitlines()), 1, daemon.output)

    def test_settings_from_the_environment(self) -> None:
        """Without `--settings` it is DJANGO_SETTINGS_MODULE; the broker's URL may come from there too."""
        port, amqp = free_ports(2)
        environ = clean_environment(DJANGO_SETTINGS_MODULE="shop.settings", LIVEPUSH_BROKER_URL=f"embedded:{amqp}")
        process = subprocess.Popen(
            twistd("-n", "--pidfile=", "livepush", "--port", str(port)),
            cwd=django_site().folder,
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.wait, 30)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        self.assertTrue(any(f"Feed ready: embedded:{amqp}" in line for line in process.stdout))


class RabbitMQTests(DaemonCase):
    """The broker of production."""

    def test_a_broker_that_comes_later(self) -> None:
        """Without its broker the daemon starts, says so, serves nobody, and gets ready by itself when the broker comes;
        when it goes again, likewise."""
        vhost = shared_rabbitmq().fresh_vhost()
        self.addCleanup(vhost.delete)
        proxy = Proxy(shared_rabbitmq().port)
        self.addCleanup(proxy.close)
        proxy.set("cut")
        (port,) = free_ports(1)
        daemon = self.start("--port", str(port), environ={"LIVEPUSH_BROKER_URL": vhost.url(port=proxy.port)})
        daemon.wait_for("Feed not ready")
        status, answer = self.get(port, "/readyz")
        self.assertEqual((status, answer["ready"]), (503, False))
        self.assertTrue(answer["reasons"][0].startswith("broker: "), answer)
        self.assertEqual(self.browser(port).status, 503)

        proxy.set("pass")
        daemon.wait_for("Feed ready")
        self.assertEqual(self.get(port, "/readyz")[0], 200)
        client = self.browser(port)
        client.send_json({"op": "hello", "n": 0})
        self.assertEqual(client.receive_json()["op"], "welcome")

        status, seconds = daemon.terminate()
        self.assertEqual(status, ENDED_BY_SIGTERM)
        self.assertLess(seconds, 5.0)
        self.assertNotIn("guest:guest", daemon.output)

    def test_a_broker_that_hangs_at_the_end(self) -> None:
        """A broker that answers nothing any more does not hold up the end."""
        vhost = shared_rabbitmq().fresh_vhost()
        self.addCleanup(vhost.delete)
        proxy = Proxy(shared_rabbitmq().port)
        self.addCleanup(proxy.close)
        (port,) = free_ports(1)
        daemon = self.start("--port", str(port), environ={"LIVEPUSH_BROKER_URL": vhost.url(port=proxy.port)})
        daemon.wait_for("Feed ready")
        proxy.set("blackhole")
        status, seconds = daemon.terminate()
        self.assertEqual(status, ENDED_BY_SIGTERM)
        self.assertLess(seconds, 5.0)


class BadStartTests(DaemonCase):
    """What is wrong is told in one line, and the exit status is not zero."""

    def refused(self, *words: str, settings: str = "shop.settings") -> str:
        """The one line."""
        done = subprocess.run(
            twistd("-n", "--pidfile=", "livepush", "--settings", settings, *words),
            cwd=django_site().folder,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        return done.stderr

    def test_options(self) -> None:
        """Each line names the option, the value and the remedy."""
        for words, told in (
            (("--port", "99999"), ("--port '99999'", "1 to 65535")),
            (("--listen", "8989"), ("--listen '8989'", "tcp:8989:interface=127.0.0.1")),
            (("--pythonpath", "/nowhere"), ("--pythonpath '/nowhere'", "manage.py")),
            (("--log-level", "loud"), ("--log-level 'loud'", "debug, info, warn")),
            (("--log-format", "xml"), ("--log-format 'xml'", "text, json")),
            (("--instance", "a b"), ("--instance 'a b'", "letters, digits")),
            (("--workers", "0"), ("--workers '0'", "1 to 256")),
            (("--workers", "many"), ("--workers 'many'", "1 to 256")),
            (("--workers", "2", "--broker", "embedded:"), ("--workers 2", "RabbitMQ", "leave --workers out")),
            (("--listen", "systemd:domain=INET:name=livepush"), ("no socket", "Sockets=livepush.socket")),
            (("--brokre", "embedded:"), ("--brokre", "twistd livepush --help")),
            (("--broker", f"http://u:{SECRET}@h/"), ("--broker 'http://...@h/'", "amqp://")),
        ):
            line = self.refused(*words)
            for part in told:
                self.assertIn(part, line)
            self.assertNotIn(SECRET, line)

    def test_an_endpoint_that_twisted_does_not_know(self) -> None:
        """A misspelt kind is told after Django was read, in one line too."""
        line = self.refused("--listen", "tpc:8989")
        self.assertIn("--listen 'tpc:8989'", line)

    def test_settings_that_are_not_there(self) -> None:
        """The line names the module, where it was looked for, and both options."""
        line = self.refused(settings="nowhere.settings")
        for part in ("--settings", "nowhere.settings", "--pythonpath", str(django_site().folder)):
            self.assertIn(part, line)

    def test_settings_that_break(self) -> None:
        """The line names what Django, or the site's own code, says."""
        folder = django_site().folder / "shop"
        (folder / "broken.py").write_text("1 / 0\n")
        self.assertIn("ZeroDivisionError: division by zero", self.refused(settings="shop.broken"))
        (folder / "wrong.py").write_text("from shop.settings import *\nLIVEPUSH_PORT = 'http'\n")
        line = self.refused(settings="shop.wrong")
        self.assertIn("LIVEPUSH_PORT 'http'", line)
        self.assertIn("from 1 to 65535", line)

    def test_a_taken_port(self) -> None:
        """The line names the port and the options; the embedded broker's port likewise."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            (other,) = free_ports(1)
            daemon = self.start("--port", str(port), "--broker", f"embedded:{other}")
            self.assertEqual(daemon.wait(), 1, daemon.output)
            line = daemon.wait_for("can't listen")
            for part in (f"tcp:{port}:", "Address already in use", "--listen", "--port"):
                self.assertIn(part, line)
            self.assertNotIn("Traceback", daemon.output)
            daemon = self.start("--port", str(other), "--broker", f"embedded:{port}")
            self.assertEqual(daemon.wait(), 1, daemon.output)
            self.assertIn(f"--broker embedded:{port}", daemon.wait_for("can't listen"))

    def test_no_pid_file_stays(self) -> None:
        """A start that failed leaves nothing behind that would stop the next."""
        with socket.create_server(("127.0.0.1", 0)) as taken, tempfile.TemporaryDirectory() as folder:
            words = ("--settings", "shop.settings", "--pythonpath", str(django_site().folder))
            listen = f"--port={taken.getsockname()[1]}"
            done = subprocess.run(
                twistd("-n", "livepush", *words, listen),
                cwd=folder,
                env=clean_environment(),
                stdout=subprocess.DEVNULL,
                timeout=60,
                check=False,
            )
            self.assertEqual((done.returncode, os.listdir(folder)), (1, []))

    def test_in_the_background(self) -> None:
        """Without `-n` the shell gets the status, and the line is in the log."""
        with socket.create_server(("127.0.0.1", 0)) as taken, tempfile.TemporaryDirectory() as folder:
            words = ("--settings", "shop.settings", "--pythonpath", str(django_site().folder))
            done = subprocess.run(
                twistd("livepush", *words, f"--port={taken.getsockname()[1]}"),
                cwd=folder,
                env=clean_environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=60,
                check=False,
            )
            self.assertEqual(done.returncode, 1)
            with open(f"{folder}/twistd.log", encoding="utf-8") as log:
                self.assertIn("can't listen there", log.read())


class PluginTests(SynchronousTestCase):
    """What every use of twistd pays for livepush."""

    def test_listed_from_any_folder(self) -> None:
        """`twistd --help` knows livepush wherever it is called."""
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                twistd("--help"),
                cwd=folder,
                env=clean_environment(),
                stdout=subprocess.PIPE,
                text=True,
                timeout=60,
                check=True,
            )
        self.assertIn("    livepush   ", done.stdout)

    def test_light(self) -> None:
        """Neither the plugin nor its options import Django or install a reactor."""
        script = (
            "import sys, twisted.plugins.livepush_plugin as plugin\n"
            "light = [name for name in sys.modules if name.partition('.')[0] in ('livepush', 'django', 'pika')]\n"
            "assert not light, light\n"
            "plugin.livepush.options()\n"
            "heavy = {'django', 'twisted.internet.reactor', 'autobahn'} & set(sys.modules)\n"
            "assert not heavy, heavy\n"
        )
        subprocess.run([sys.executable, "-c", script], env=clean_environment(), timeout=60, check=True)
