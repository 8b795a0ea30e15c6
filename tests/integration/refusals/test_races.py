"""Sessions over HTTP whose requests come in any order, beside each other, cut off, and while rights change."""

from __future__ import annotations

import random
import re
import socket
import time
from typing import Any

from twisted.internet.defer import Deferred

from livepush.broker.envelope import Control
from livepush.daemon.settings import Limits
from tests.clients.websocket import TEXT
from tests.integration.refusals.case import OWN, Asked, TransportsCase
from tests.integration.served import WAIT_SECONDS
from tests.unit.daemon.doubles import make_client, make_snapshot

ROUNDS, STEPS = 120, 14
POLLING = "/socket.io/?EIO=4&transport=polling"
SOCKJS = "/livepush/sockjs/0/"
MASK = bytes(4)
EARLIER, SECRET = "pub1ished", "s3cret"
"""What is published while the user has the right to it, and while he has not."""

HELLO = b'["{\\"op\\":\\"hello\\",\\"n\\":0,\\"channels\\":{\\"orders\\":null}}"]'


class Client:
    """One browser's sockets of one session, which are written to and never waited for.

    Attributes:
        heard: all that has come, on whatever socket.
    """

    def __init__(self, case: TransportsCase) -> None:
        self._case = case
        self._sockets: list[socket.socket] = []
        self.heard = b""

    def asks(self, asked: Asked) -> socket.socket:
        """One request, on a socket of its own; the last one waits, if it has something to wait for."""
        made = socket.create_connection(("127.0.0.1", self._case.port), timeout=10)
        made.sendall(asked.data(OWN))
        made.setblocking(False)
        self._sockets.append(made)
        self.listen()
        return made

    def listen(self) -> bytes:
        """What has come; when the reactor has turned a few times, what was asked has been answered."""
        for _ in range(3):
            self._case.in_reactor(lambda: None)
        new = b""
        for each in list(self._sockets):
            try:
                while data := each.recv(65_536):
                    new += data
            except BlockingIOError:
                continue
            except ConnectionError:
                pass
            self._drop(each)
        self.heard += new
        return new

    def hears(self, pattern: bytes) -> re.Match[bytes]:
        """What comes in the end."""
        found: list[re.Match[bytes]] = []

        def look() -> bool:
            self.listen()
            found.extend(re.finditer(pattern, self.heard))
            return bool(found)

        late = time.monotonic() + WAIT_SECONDS
        while not look():
            assert time.monotonic() < late, self.heard
        return found[0]

    def cut(self, which: int) -> None:
        """One of its sockets breaks."""
        if self._sockets:
            self._drop(self._sockets[which % len(self._sockets)])

    def end(self) -> None:
        """All of them."""
        self.listen()
        for each in list(self._sockets):
            self._drop(each)

    def _drop(self, each: socket.socket) -> None:
        self._sockets.remove(each)
        each.close()


class RacesTests(TransportsCase):
    """Whatever order it is, nobody hears what he may not, nothing breaks, and nothing is left behind."""

    timeout = 90
    limits = Limits(message_bytes=4_096, outbound_bytes=65_536, heartbeat_seconds=3_600.0, connections=10_000)
    seed, rounds = 11, ROUNDS

    def test_sessions(self) -> Deferred[Any]:
        """What was published while the user had no right to it never comes, by no socket of the session; what was
        published before and waited for a poll goes with the right."""
        choose = random.Random(self.seed)

        def work() -> None:
            for _ in range(self.rounds):
                client = Client(self)
                steps = self.engine(client) if choose.random() < 0.5 else self.sockjs(client, choose)
                self.publish({"what": EARLIER})
                client.hears(EARLIER.encode())
                may = True
                for _ in range(STEPS):
                    what = choose.choice([*steps, "publish", "publish", "rights", "cut"])
                    if what == "publish":
                        self.publish({"what": EARLIER if may else SECRET})
                        client.listen()
                    elif what == "rights":
                        may = not may
                        self.allow(may)
                        if not may:
                            client.listen()
                            client.heard = b""  # from here on nothing that was held back for a poll
                    elif what == "cut":
                        client.cut(choose.randrange(9))
                    else:
                        what(choose)
                    self.assertNotIn(SECRET.encode(), client.heard)
                    if not may:
                        self.assertNotIn(EARLIER.encode(), client.heard)
                self.allow(True)
                client.end()
                self.assertNotIn(SECRET.encode(), client.heard)
                self.in_reactor(self.end_sessions)
                self.until(lambda: self.hub.connections == 0)

        return self.client(work)

    def allow(self, may: bool) -> None:
        """The user has the right to hear orders, or not any more."""
        self.identity.snapshot = make_client() if may else make_snapshot(7)
        self.in_reactor(lambda: self.hub.control(Control("identity", "7")))

    def engine(self, client: Client) -> list[Any]:
        """A session of Socket.IO; what may happen to it."""
        client.asks(Asked("GET", POLLING))
        sid = client.hears(rb'"sid":"([^"]+)"')[1].decode()
        path = f"{POLLING}&sid={sid}"
        client.asks(Asked("POST", path, body=b'40{"channels":["orders"]}'))
        client.asks(Asked("GET", path))
        client.hears(b"livepush:welcome")
        client.asks(Asked("GET", path))
        sockets: list[socket.socket] = []

        def upgrade(_: random.Random) -> None:
            sockets.append(client.asks(Asked("GET", path.replace("polling", "websocket"), upgrade=True)))

        def speak(choose: random.Random) -> None:
            text = choose.choice(
                (b"2probe", b"2probe", b"5", b"3", b"41", b"42[]", b'42["livepush:subscribe",{"channel":"orders"}]')
            )
            if sockets:
                try:
                    sockets[-1].sendall(bytes((0x80 | TEXT, 0x80 | len(text))) + MASK + text)
                except OSError:
                    sockets.pop()
                client.listen()

        def post(choose: random.Random) -> None:
            bodies = (
                b"3",
                b"3",
                b'42["login"]',
                b"41",
                b"40",
                b"1",
                b"\x1e",
                b'420["livepush:unsubscribe",{"channel":"orders"}]',
            )
            client.asks(Asked("POST", path, body=choose.choice(bodies)))

        def poll(_: random.Random) -> None:
            client.asks(Asked("GET", path))

        return [poll, poll, poll, post, upgrade, speak, speak]

    def sockjs(self, client: Client, choose: random.Random) -> list[Any]:
        """A session of SockJS; what may happen to it."""
        path = f"{SOCKJS}{choose.randrange(10**9)}/"
        client.asks(Asked("POST", f"{path}xhr", body=b""))
        client.hears(b"o\n")
        client.asks(Asked("POST", f"{path}xhr_send", body=HELLO))
        client.asks(Asked("POST", f"{path}xhr", body=b""))
        client.hears(b"welcome")
        client.asks(Asked("POST", f"{path}xhr", body=b""))

        def receive(choose: random.Random) -> None:
            name = choose.choice(("xhr", "xhr", "xhr", "xhr_streaming", "eventsource"))
            asked = Asked("GET", path + name) if name == "eventsource" else Asked("POST", path + name, body=b"")
            client.asks(asked)

        def send(choose: random.Random) -> None:
            bodies = (
                HELLO,
                b"[]",
                b'["{}"]',
                b"[",
                b'["{\\"op\\":\\"subscribe\\",\\"n\\":1,\\"channel\\":\\"orders\\"}"]',
            )
            client.asks(Asked("POST", f"{path}xhr_send", body=choose.choice(bodies)))

        return [receive, receive, send]
