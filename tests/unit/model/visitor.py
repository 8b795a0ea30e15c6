"""A browser: the page's rules of `livepush.js` (`tests.clients.page`), over sockets that the world moves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from tests.clients.page import Line, Page
from tests.unit.model.front import Seat
from tests.unit.model.process import Process


class Violation(Exception):
    """A promise was broken."""


class Heard(NamedTuple):
    """What a page was told: an event (publisher, number), or a reload of its channel (no publisher).

    Attributes:
        step: of the world.
        key, version: of the event.
    """

    step: int
    publisher: str = ""
    number: int = 0
    key: str = ""
    version: int = 0


class Visitor:
    """One tab of a user.

    Args:
        name: for traces.
        user: who it is.
        wanted: what it subscribes to beside the declared channels.
        step: the world's.

    Attributes:
        seats: its connections and what the page knows of each, the oldest first.
        heard: by channel, in order.
        started: the step of the server's first grant, by channel.
    """

    def __init__(self, name: str, user: str, wanted: tuple[str, ...], step: Callable[[], int]) -> None:
        self.name, self.user, self._step = name, user, step
        self.page = Page(name, wanted)
        self.seats: dict[Seat, Line] = {}
        self.heard: dict[str, list[Heard]] = defaultdict(list)
        self.started: dict[str, int] = {}
        self._rows: set[object] = set()
        self._top: dict[tuple[str, str], int] = {}

    def connect(self, process: Process) -> None:
        """A socket to this process, beside those that are there."""
        line = self.page.open()
        seat = process.front.open(self.user, line.hello, self._lost)
        if not seat.closed:
            self.seats[seat] = line

    def want(self, channel: str) -> None:
        """The page's code begins to listen to a channel."""
        if channel in self.page.channels:
            return
        self.page.channels.append(channel)
        for seat, line in self.seats.items():
            if line.welcomed:
                seat.inbox.append(self.page.subscribe(line, channel))

    def receive(self, seat: Seat) -> bool:
        """One message out of a socket."""
        line = self.seats.get(seat)
        if line is None or not seat.wire:
            return False
        step, message = seat.wire.popleft()
        seat.inbox.extend(self.page.receive(line, message))
        for each in self.page.happened:
            if each.what == "event" and each.message is not None:
                self._take(each.channel, each.message)
            elif each.what == "resync":
                self.heard[each.channel].append(Heard(self._step()))
            elif each.what == "granted":
                self.started.setdefault(each.channel, step)
        self.page.happened.clear()
        for older in [other for other, its in self.seats.items() if its.over]:
            older.cut()
        return True

    def _lost(self, seat: Seat) -> None:
        line = self.seats.pop(seat, None)
        if line is not None:
            self.page.lost(line)

    def _take(self, channel: str, message: dict[str, object]) -> None:
        publisher, _, text = str(message["id"]).rpartition("-")
        number = int(text)
        if number <= self._top.get((channel, publisher), 0):
            raise Violation(f"order: {self.name} got {message['id']} on {channel} late")
        self._top[channel, publisher] = number
        data = message["data"]
        payload = data["n"] if isinstance(data, dict) else None
        if payload in self._rows:
            raise Violation(f"duplicate: {self.name} was told {payload} twice")
        self._rows.add(payload)
        version, key = message.get("version"), str(message.get("key", ""))
        known = version if isinstance(version, int) else 0
        if key and any(each.key == key and each.version > known for each in self.heard[channel]):
            raise Violation(f"outdated: {self.name} was shown version {known} of {key} on {channel} after a newer one")
        self.heard[channel].append(Heard(self._step(), publisher, number, key, known))
