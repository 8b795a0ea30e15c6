"""docs/how-to/proxy/nginx.conf, run by a real nginx: one origin for a site and a daemon.

Whatever arrives at all arrives unbuffered: each test waits for one event of a few bytes, which no buffer would let go.
"""

from __future__ import annotations

import atexit
import json
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.eventsource import Stream
from tests.clients.rawhttp import Exchange, request
from tests.clients.websocket import WebSocket, connect
from tests.servers.daemon import Daemon, django_site
from tests.servers.gunicorn import Gunicorn, publishing_site
from tests.servers.nginx import Nginx
from tests.servers.ports import free_ports
from tests.servers.rabbitmq import shared_rabbitmq

CONFIGURATION = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "proxy" / "nginx.conf"
SETTINGS = 'from shop.settings import *\nLIVEPUSH_TRUSTED_PROXIES = ["127.0.0.1"]\n'


@dataclass(frozen=True)
class Proxied:
    """A site, a daemon and the nginx before them.

    Attributes:
        port: of nginx.
        push: of the daemon.
        daemon: what it has logged.
    """

    port: int
    push: int
    daemon: Daemon


@cache
def proxied() -> Proxied:
    """Those of this process; they end with it."""
    broker = shared_rabbitmq().fresh_vhost().url()
    port, push = free_ports(2)
    site = django_site()
    (site.folder / "shop" / "proxied.py").write_text(SETTINGS)
    daemon = Daemon(site, "--broker", broker, "--port", str(push), settings="shop.proxied")
    atexit.register(daemon.kill)
    gunicorn = Gunicorn(publishing_site(), broker)
    atexit.register(gunicorn.kill)
    text = CONFIGURATION.read_text()
    for documented, here in (
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("127.0.0.1:8989", f"127.0.0.1:{push}"),
        ("127.0.0.1:8000", f"127.0.0.1:{gunicorn.port}"),
    ):
        assert text.count(documented) == 1, documented
        text = text.replace(documented, here)
    daemon.wait_for("Feed ready")
    nginx = Nginx(text, port)
    atexit.register(nginx.stop)
    return Proxied(port, push, daemon)


class NginxTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.port, self.push, self.daemon = proxied().port, proxied().push, proxied().daemon
        self.origin = f"http://127.0.0.1:{self.port}"

    def publish(self) -> None:
        """A page of the site publishes one event, through the proxy too."""
        with urllib.request.urlopen(f"{self.origin}/publish?count=1", timeout=30) as answer:
            self.assertEqual(len(json.loads(answer.read())["ids"]), 1)

    def browser(self, *headers: tuple[str, str], port: int | None = None) -> WebSocket:
        """A page's WebSocket, welcomed."""
        own = [("Origin", f"http://127.0.0.1:{port or self.port}"), ("Cookie", django_site().cookie), *headers]
        client = connect(port or self.port, headers=own, subprotocols=["livepush.v1"], deadline=30.0)
        self.addCleanup(client.close)
        client.send_json({"op": "hello", "n": 0, "tab": "a"})
        self.assertEqual(client.receive_json()["op"], "welcome")
        return client

    def ask(self, method: str, target: str, body: bytes | None = None) -> Exchange:
        """One request of a page of the same origin."""
        own = [("Origin", self.origin), ("Cookie", django_site().cookie), ("Content-Type", "text/plain")]
        said = request(method, target, own, body, host=f"127.0.0.1:{self.port}")
        exchange = Exchange(self.port, said, deadline=30.0)
        self.addCleanup(exchange.close)
        return exchange

    def test_websocket(self) -> None:
        """The upgrade passes, the origin is the proxy's own, and an event of the site comes back the same way."""
        client = self.browser()
        self.publish()
        self.assertEqual(client.receive_json()["op"], "event")

    def test_event_source(self) -> None:
        """A stream is not buffered."""
        cookie = f"Cookie: {django_site().cookie}"
        stream = Stream(self.port, "/livepush/sse?channels=news", cookie, host=f"127.0.0.1:{self.port}")
        self.addCleanup(stream.socket.close)
        self.assertIn(" 200 ", stream.head())
        stream.until("welcome")
        self.publish()
        stream.until("event")

    def test_sockjs_stream(self) -> None:
        """The body of xhr_streaming is not buffered, and what is sent up arrives."""
        stream = self.ask("POST", "/livepush/sockjs/000/abcdefgh/xhr_streaming", b"")
        self.assertEqual(stream.status, 200)
        stream.until(b"o\n")
        hello = json.dumps([json.dumps({"op": "hello", "n": 0, "tab": "a"})]).encode()
        sent = self.ask("POST", "/livepush/sockjs/000/abcdefgh/xhr_send", hello)
        self.assertEqual(sent.status, 204)
        stream.until(b"welcome")
        self.publish()
        stream.until(b'\\"op\\":\\"event\\"')

    def test_socketio_polling(self) -> None:
        """A session of many requests goes to the process that has it."""
        opened = self.ask("GET", "/socket.io/?EIO=4&transport=polling")
        sid = json.loads(opened.rest()[1:])["sid"]
        target = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
        self.assertEqual(self.ask("POST", target, b"40").status, 200)
        said = self.ask("GET", target).rest()
        self.assertTrue(said.startswith(b"40{"), said)

    def test_where_a_client_is(self) -> None:
        """What a client says of its own address is overwritten; whoever is trusted and says it is believed."""
        made_up = ("X-Forwarded-For", "203.0.113.9")
        self.browser(made_up, ("Forwarded", "for=203.0.113.10")).close()
        self.daemon.wait_for(r"ended after .* from this machine\)")
        self.browser(made_up, port=self.push).close()
        self.daemon.wait_for(r"ended after .* from 203\.0\.113\.9\)")
        self.assertNotIn("203.0.113.10", self.daemon.output)

    def test_the_status_stays_inside(self) -> None:
        """How the daemon is, is not for those who come through the proxy."""
        for path in ("/healthz", "/readyz", "/metrics", "/livepush/metrics"):
            answer: Any = self.ask("GET", path)
            self.assertEqual(answer.status, 404, path)
