"""`manage.py livepush run` serves all wire formats, to the clients that they are for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.eventsource import Stream
from tests.clients.websocket import connect
from tests.servers.daemon import clean_environment, django_site
from tests.servers.node import Script
from tests.servers.ports import free_ports
from tests.servers.program import WAIT_SECONDS, Program

INTEGRATION = Path(__file__).resolve().parents[1]
TEXT = 'café \u2028 </script> "q"'


class RunTests(SynchronousTestCase):
    """The daemon as a Django project starts it."""

    def setUp(self) -> None:
        self.site = django_site()
        self.port, amqp = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = clean_environment(
            DJANGO_SETTINGS_MODULE="shop.settings",
            PYTHONPATH=str(self.site.folder),
            LIVEPUSH_BROKER_URL=f"embedded:{amqp}",
        )

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "django", "livepush", *words]

    def script(self, folder: str, path: str, **options: Any) -> Script:
        """The stock client of `folder`, with the cookie of somebody who is logged in."""
        script = Script(INTEGRATION / folder / "client.mjs", self.url + path, json.dumps(options))
        self.addCleanup(script.end)
        return script

    def test_every_wire_format(self) -> None:
        """An event that another process publishes reaches a client of each, as it was."""
        daemon = Program(self.command("run", "--port", str(self.port)), self.site.folder, self.environ)
        self.addCleanup(daemon.kill)
        daemon.wait_for("Feed ready")

        headers = {"Origin": self.url, "Cookie": self.site.cookie}
        native = connect(self.port, headers=list(headers.items()), subprotocols=["livepush.v1"], deadline=30.0)
        self.addCleanup(native.close)
        native.send_json({"op": "hello", "n": 0})
        self.assertIn("news", native.receive_json()["channels"])
        sse = Stream(self.port, "/livepush/sse?channels=news", f"Cookie: {self.site.cookie}")
        self.addCleanup(sse.socket.close)
        self.assertIn(" 200 ", sse.head())
        self.assertEqual(sse.until("welcome")[-1]["channels"], {"news": {"audience": "reader", "replayed": 0}})
        socketio = self.script("socketio", "", extraHeaders=headers)
        socketio.wait_until(lambda line: line[:2] == ["event", "livepush:welcome"])
        sockjs = self.script("sockjs", "/livepush/sockjs", transports=["xhr-streaming"], headers=headers)
        sockjs.wait_for("open")
        sockjs.say("send", json.dumps({"op": "hello", "n": 0}))
        self.assertEqual(json.loads(sockjs.wait_for("message")[0])["op"], "welcome")

        data = {"text": TEXT}
        subprocess.run(
            self.command("publish", "news", "note", json.dumps(data)),
            cwd=self.site.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            timeout=WAIT_SECONDS,
            check=True,
        )
        said = [native.receive_json(), sse.until("event")[-1], json.loads(sockjs.wait_for("message")[0])]
        self.assertEqual([(each["type"], each["data"]) for each in said], [("note", data)] * 3)
        _, name, told, _ = socketio.wait_until(lambda line: line[:2] == ["event", "note"])
        self.assertEqual((name, told), ("note", data))

        daemon.terminate()
        self.assertEqual(socketio.wait_for("disconnect")[0]["reason"], "transport close")
