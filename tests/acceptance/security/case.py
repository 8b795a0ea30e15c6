"""A test of one attack, and what an honest visitor must be able to do after it."""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.acceptance.security.world import ORIGIN, Visitor, World, world
from tests.clients.eventsource import Stream
from tests.clients.rawhttp import Exchange, request
from tests.clients.websocket import Closed, WebSocket, connect

NATIVE = "/livepush/ws"
POLLING = "/socket.io/?EIO=4&transport=polling"
ENGINE_SOCKET = "/socket.io/?EIO=4&transport=websocket"
SOCKJS = "/livepush/sockjs"
STREAM = "/livepush/sse"
SECONDS = 40.0
Sock = socket.socket  # a method below is called as the module


class SecurityCase(SynchronousTestCase):
    """The shared world, and honest visitors. After each test one of them is connected and hears what is published."""

    world: World

    def setUp(self) -> None:
        super().setUp()
        self.world = world()
        self._lines = len(self.world.daemon.output.splitlines())

    def tearDown(self) -> None:
        """Whatever was tried, the daemon serves, has logged no traceback, and none of its secrets."""
        self.assert_serving()
        output = "\n".join(self.world.daemon.output.splitlines()[self._lines :])
        self.assertNotIn("Traceback", output)
        for what, secret in self.world.secrets.items():
            self.assertNotIn(secret, output, what)
        super().tearDown()

    # -- honest visitors -----------------------------------------------------------------------------------------------

    def page(self, visitor: Visitor, *, port: int | None = None, hello: bool = True, **options: Any) -> WebSocket:
        """A page's WebSocket, past its greeting; it ends with the test."""
        client = self.socket(NATIVE, visitor.headers, port=port, subprotocols=["livepush.v1"], **options)
        self.assertEqual(client.status, 101, client.handshake)
        if hello:
            client.send_json({"op": "hello", "n": 0})
            self.assertEqual(client.receive_json()["op"], "welcome")
        return client

    def socket(
        self,
        path: str,
        headers: Iterable[tuple[str, str]],
        *,
        port: int | None = None,
        subprotocols: Iterable[str] = (),
        host: str = "127.0.0.1",
    ) -> WebSocket:
        """A WebSocket's handshake; see its status."""
        client = connect(port or self.world.port, path, headers, subprotocols=subprotocols, deadline=SECONDS, host=host)
        self.addCleanup(client.close)
        return client

    def ask(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        *,
        port: int | None = None,
        host: str = "127.0.0.1",
    ) -> Exchange:
        """A request; the answer can be looked at while it goes on."""
        data = request(method, path, headers, body, host)
        return self.send(data, port=port)

    def send(self, data: bytes, *, port: int | None = None) -> Exchange:
        """Bytes, and what is answered to them."""
        exchange = Exchange(port or self.world.port, data, SECONDS)
        self.addCleanup(exchange.close)
        return exchange

    def stream(self, visitor: Visitor, target: str = STREAM, *, port: int | None = None) -> Stream:
        """A stream of server-sent events, past its head, which must be 200."""
        headers = [f"{name}: {value}" for name, value in visitor.headers]
        stream = Stream(port or self.world.port, target, *headers)
        self.addCleanup(stream.socket.close)
        self.assertIn(" 200 ", stream.head())
        return stream

    def polled(self, visitor: Visitor, *, port: int | None = None) -> str:
        """A page of Socket.IO over long polling, in the namespace `/`; the path of its polls."""
        sid = re.findall(rb'"sid":"([^"]+)"', self.ask("GET", POLLING, visitor.headers, port=port).rest())[0].decode()
        path = f"{POLLING}&sid={sid}"
        self.assertEqual(self.ask("POST", path, visitor.headers, b"40", port=port).rest(), b"ok")
        self.assertIn(b"livepush:welcome", self.ask("GET", path, visitor.headers, port=port).rest())
        return path

    def sockjs(self, visitor: Visitor, *, port: int | None = None) -> str:
        """A page of SockJS over xhr that has said hello; the path of its session."""
        path = f"{SOCKJS}/0/{secrets.token_hex(8)}"
        self.assertEqual(self.ask("POST", f"{path}/xhr", visitor.headers, b"", port=port).rest(), b"o\n")
        hello = self.ask("POST", f"{path}/xhr_send", visitor.headers, b'["{\\"op\\":\\"hello\\"}"]', port=port)
        self.assertEqual(hello.status, 204)
        self.assertIn(b"welcome", self.ask("POST", f"{path}/xhr", visitor.headers, b"", port=port).rest())
        return path

    def heard_until(self, client: WebSocket, over: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """What comes up to such a message, or to the end of the connection."""
        heard: list[dict[str, Any]] = []
        with suppress(Closed):
            while not heard or not over(heard[-1]):
                heard.append(client.receive_json())
        return heard

    def assert_serving(self) -> None:
        """A new page is welcomed and hears of what happens now."""
        mark = secrets.token_hex(8)
        with self.page(self.world.visitor()) as client:
            self.world.publish("mark", {"mark": mark})
            while client.receive_json().get("data", {}).get("mark") != mark:
                pass

    # -- the process ---------------------------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """How many the daemon counts."""
        with self.ask("GET", "/healthz", [("Authorization", "Bearer canary-of-the-status-token")]) as exchange:
            return int(re.findall(rb'"connections": ?(\d+)', exchange.rest())[0])

    def settled(self) -> int:
        """How many it counts when all that tests have closed has been noticed: that is before a later page's end."""
        with self.page(self.world.visitor()) as client:
            client.send_close()
            client.receive_close()
        return self.connections

    def memory(self) -> int:
        """What the daemon has in memory, bytes."""
        return int(self._status("VmRSS")) * 1024

    def threads(self) -> int:
        """The daemon's."""
        return int(self._status("Threads"))

    def _status(self, field: str) -> str:
        text = Path(f"/proc/{self.world.daemon.pid}/status").read_text()
        (found,) = re.findall(rf"^{field}:\s+(\d+)", text, re.MULTILINE)
        return str(found)

    def raw(self, *, port: int | None = None, source: str = "127.0.0.1") -> Sock:
        """A bare socket to the daemon; `source` is an address of this machine's loopback."""
        address = ("127.0.0.1", port or self.world.port)
        sock = socket.create_connection(address, timeout=SECONDS, source_address=(source, 0))
        self.addCleanup(sock.close)
        return sock


__all__ = ["ENGINE_SOCKET", "NATIVE", "ORIGIN", "POLLING", "SECONDS", "SOCKJS", "STREAM", "SecurityCase"]
