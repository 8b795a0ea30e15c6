"""Some fifty pages in one process, each with its connection, as browsers would hold them.

    python -m tests.soak.clients FOLDER PORT,PORT

It reads who they are from `FOLDER/clients.json` and writes what they are told to `FOLDER/told.jsonl` (`tests.soak.
record`). Each half second it prints one line of JSON: how many are online, how many events they were given, and when
the last one came; which users they are of, and who is here as they were told (`tests.soak.presence`). It ends when its
input does.

A page comes back as `livepush.js` does: full jitter within the first of `retry`, doubled with each failure up to the
second; at once to another port after `goaway`, before it lets go of the old connection; and when nothing has come for
two heartbeats. Half of them go to another daemon when they lose one, the rest wait for their own. SIGUSR1 cuts
all connections; SIGUSR2 lets every page of every other user go for good.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.task import LoopingCall

from tests.clients.page import Happening, Line, Page
from tests.clients.streaming import Socket
from tests.soak.presence import CHANNEL, Roll

WELCOME_SECONDS = 20.0
STATUS_SECONDS = 0.5


class Journal:
    """The file that all clients of a process write to, and what they count."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1 << 16)
        self.given = 0
        self.last = 0.0

    def write(self, tab: str, *entry: object) -> None:
        """One line."""
        self._file.write(json.dumps((round(time.monotonic(), 4), tab, *entry)) + "\n")

    def tell(self, tab: str, happening: Happening, port: int) -> None:
        """What a page was told, by the daemon at this port."""
        what, channel, why, message, replayed = happening
        if message is None:
            self.write(tab, what, channel, why, str(port))
            return
        if what == "event":
            self.given += 1
            self.last = time.monotonic()
        self.write(tab, what, channel, message.get("id", ""), message["data"].get("name", ""), replayed)

    def flush(self) -> None:
        """Everything is in the file."""
        self._file.flush()


class Visit:
    """One attempt to connect, and the connection that came of it."""

    def __init__(self, visitor: Visitor, port: int) -> None:
        self.visitor, self.port = visitor, port
        self.line: Line | None = None
        self.heard = time.monotonic()
        self.over = False
        self.roll = Roll()
        headers = [
            ("Host", f"127.0.0.1:{port}"),
            ("Origin", f"http://127.0.0.1:{port}"),
            ("Cookie", visitor.cookie),
            ("Sec-WebSocket-Protocol", "livepush.v1"),
        ]
        self.socket = Socket("/livepush/ws", headers, self._opened, self._received, self._closed)
        visitor.reactor.connectTCP("127.0.0.1", port, _Once(self), timeout=5)

    @property
    def online(self) -> bool:
        """Whether it was welcomed."""
        return self.line is not None and self.line.welcomed and not self.over

    def _opened(self) -> None:
        if self.over:
            self.socket.close()  # it was let go while it connected: nobody may think that it is there
            return
        self.line = self.visitor.page.open()
        self.socket.send(json.dumps(self.line.hello))

    def _received(self, text: str) -> None:
        if self.line is None or self.over:
            return
        self.heard = time.monotonic()
        message: dict[str, Any] = json.loads(text)
        if message["op"] == "presence" and message["channel"] == CHANNEL:
            self.visitor.unfounded += not self.roll.receive(message)
        for request in self.visitor.page.receive(self.line, message):
            self.socket.send(json.dumps(request))
        self.visitor.told(self, message)

    def _closed(self, code: int, reason: str) -> None:
        if not self.over:
            self.end()
            self.visitor.lost(self, code, reason)

    def end(self) -> None:
        """It counts no more."""
        self.over = True
        if self.line is not None:
            self.visitor.page.lost(self.line)
        if self.socket.transport is not None:
            self.socket.close()


class _Once(ClientFactory):
    """Makes the one protocol of a visit."""

    noisy = False

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def buildProtocol(self, addr: object) -> Protocol:
        return self._visit.socket

    def clientConnectionFailed(self, connector: object, reason: Any) -> None:
        reason.trap(ConnectError, OSError)
        self._visit._closed(0, "no connection")


class Visitor:
    """A page that wants to be online."""

    def __init__(self, reactor: Any, journal: Journal, who: dict[str, Any], ports: Sequence[int], place: int) -> None:
        self.reactor, self.journal = reactor, journal
        self.tab, self.user, self.cookie = str(who["tab"]), str(who["user"]), str(who["cookie"])
        self.page = Page(self.tab, who["rooms"])
        self._ports, self._moves = ports, bool(who["moves"])
        self._port = (place + place // 10 // 2) % len(ports)
        self._visits: list[Visit] = []
        self.unfounded = 0
        self._failures = 0
        self._retry, self._heartbeat = (500, 5000), 25.0
        self._waiting: IDelayedCall | None = None

    @property
    def online(self) -> bool:
        """Whether a connection of it is welcomed."""
        return any(visit.online for visit in self._visits)

    @property
    def rolls(self) -> list[tuple[int, tuple[str, ...] | None]]:
        """Who is here, as this page was told, and at which port; nothing while it is not online."""
        return [(visit.port, visit.roll.users) for visit in self._visits if visit.online]

    def connect(self) -> None:
        """Begins an attempt."""
        self._waiting = None
        self._visits.append(Visit(self, self._ports[self._port]))

    def told(self, visit: Visit, message: dict[str, Any]) -> None:
        """The page has had a message."""
        happened, self.page.happened = self.page.happened, []
        for each in happened:
            self.journal.tell(self.tab, each, visit.port)
        if message["op"] == "welcome":
            self._failures = 0
            self._retry, self._heartbeat = message["retry"], message["heartbeat"]
            self.journal.write(self.tab, "open", str(visit.port), str(message.get("conn")))
            for other in [each for each in self._visits if each.line is not None and each.line.over]:
                self._visits.remove(other)
                other.end()
        elif message["op"] == "goaway":
            self.reactor.callLater(message["after"] / 1000, self._move, visit)

    def lost(self, visit: Visit, code: int, reason: str) -> None:
        """One of its connections is gone."""
        self._visits.remove(visit)
        self.journal.write(self.tab, "closed", str(visit.port), f"{code} {reason}".strip())
        if self._visits or self._waiting is not None:
            return
        if self._moves:
            self._port = (self._port + 1) % len(self._ports)
        most = min(self._retry[1], self._retry[0] * 2 ** min(self._failures, 20))
        self._failures += 1
        self._waiting = self.reactor.callLater(random.random() * most / 1000, self.connect)

    def look(self) -> None:
        """Lets go of what has been silent for too long."""
        now = time.monotonic()
        for visit in list(self._visits):
            bound = 2 * self._heartbeat if visit.online else WELCOME_SECONDS
            if now - visit.heard > bound:
                visit.end()
                self.lost(visit, 0, "silent too long")

    def cut(self) -> None:
        """Its network goes: no goodbye."""
        for visit in list(self._visits):
            visit.end()
            self.lost(visit, 0, "cut")

    def leave(self) -> None:
        """It is closed, and nobody opens it again."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        for visit in list(self._visits):
            visit.end()
            self._visits.remove(visit)

    def _move(self, visit: Visit) -> None:
        """A second connection, beside one that will go."""
        if visit in self._visits and len(self._visits) == 1:
            self._port = (self._port + 1) % len(self._ports)
            self.connect()


def main(folder: Path, ports: Sequence[int]) -> None:
    """Runs until the input ends."""
    from twisted.internet import reactor
    from twisted.internet.stdio import StandardIO

    loop: Any = reactor
    journal = Journal(folder / "told.jsonl")
    everybody = json.loads((folder / "clients.json").read_text())
    visitors = [Visitor(reactor, journal, who, ports, place) for place, who in enumerate(everybody)]

    class Ending(Protocol):
        def connectionLost(self, reason: object = None) -> None:
            journal.flush()
            if loop.running:
                loop.stop()

    def report() -> None:
        journal.flush()
        for visitor in visitors:
            visitor.look()
        online = [visitor for visitor in visitors if visitor.online]
        said = {
            "online": len(online),
            "given": journal.given,
            "last": journal.last,
            "users": sorted({visitor.user for visitor in online}),
            "unfounded": sum(visitor.unfounded for visitor in visitors),
            "rolls": sorted({roll for visitor in online for roll in visitor.rolls}, key=str),
        }
        os.write(1, json.dumps(said).encode() + b"\n")

    def cut() -> None:
        for visitor in visitors:
            visitor.cut()

    def leave() -> None:
        users = sorted({visitor.user for visitor in visitors})[::2]
        for visitor in [each for each in visitors if each.user in users]:
            visitors.remove(visitor)
            visitor.leave()

    signal.signal(signal.SIGUSR1, lambda *_: loop.callFromThread(cut))
    signal.signal(signal.SIGUSR2, lambda *_: loop.callFromThread(leave))
    for place, visitor in enumerate(visitors):
        loop.callLater(place * 0.01, visitor.connect)
    loop.callWhenRunning(StandardIO, Ending())
    loop.callWhenRunning(LoopingCall(report).start, STATUS_SECONDS)
    loop.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(port) for port in sys.argv[2].split(",")])
