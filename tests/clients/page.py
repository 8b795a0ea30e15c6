"""What `livepush.js` does with the messages of its sockets, as a pure machine: for clients that are no browsers.

    page = Page("k3f9", wanted=("rooms.1",))
    line = page.open()                     # a socket; `line.hello` is the first message on it
    for request in page.receive(line, message):
        ...                                # messages to send on this line
    page.happened                          # what the page's callbacks would have been told, in order; take it and clear

The rules, each of them one place below:

    position     one per channel; an event, a resync, an answer moves its own channel, a heartbeat all granted ones
    hello        names every channel with its position, once one is known; the first takes the declared ones
    dedupe       per channel and publisher: an event whose number is not above the highest one handed on is dropped,
                 whichever socket brings it
    version      an event older than the newest version seen of its key, on its channel, is dropped
    resync       counts on every socket; the position goes on from its `at`
    gone         the channel keeps its position;  back  implies a reload
    error        a request that may be made again is made again (livepush.js: after a while)
    second       when another socket is welcomed, the older ones are dropped, what that hello did not name is subscribed
                 with its position
    restart      a channel that was granted before, and that a hello named without a position, is reloaded

Nothing here has a clock, a socket or a bound: a test ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Message = dict[str, Any]


class Happening(NamedTuple):
    """Something that the page is told, or that it dropped.

    Attributes:
        what: `event`, `dropped` (an event seen before), `outdated` (older than its key's newest version), `resync`
            (load the state), `granted`, `gone`.
        channel: which one.
        why: of a resync or gone; the audience of a grant.
        message: the event.
        replayed: an event that came before `welcome`.
    """

    what: str
    channel: str
    why: str = ""
    message: Message | None = None
    replayed: bool = False


@dataclass(slots=True, eq=False)
class Line:
    """One socket of the page.

    Attributes:
        hello: the first message on it.
        welcomed: the answer to it came.
        granted: channels that it listens to.
        asked: requests under way, by number.
        over: another socket has taken its place; the shell closes it.
    """

    hello: Message
    welcomed: bool = False
    granted: set[str] = field(default_factory=set)
    asked: dict[int, str] = field(default_factory=dict)
    over: bool = False

    @property
    def named(self) -> dict[str, str | None] | None:
        """The channels of its hello; None: the declared ones."""
        return self.hello.get("channels")


class Page:
    """One tab.

    Attributes:
        tab: its random id.
        wanted: channels that it asks for beside the declared ones.
        channels: all that it listens to or wants.
        positions: reached, by channel.
        lines: its sockets, the oldest first.
        happened: see the module.
    """

    def __init__(self, tab: str, wanted: Iterable[str] = ()) -> None:
        self.tab = tab
        self.wanted = tuple(wanted)
        self.channels: list[str] = list(self.wanted)
        self.positions: dict[str, str] = {}
        self.lines: list[Line] = []
        self.happened: list[Happening] = []
        self._highest: dict[tuple[str, str], int] = {}
        self._versions: dict[tuple[str, str], int] = {}
        self._started: set[str] = set()  # channels that were granted once
        self._known = False  # the declared channels have been told
        self._requests = 0

    def open(self) -> Line:
        """A new socket, beside those that are there."""
        hello: Message = {"op": "hello", "n": 0, "tab": self.tab}
        if self._known:
            hello["channels"] = {channel: self.positions.get(channel) for channel in self.channels}
        line = Line(hello)
        self.lines.append(line)
        return line

    def lost(self, line: Line) -> None:
        """A socket has ended."""
        if line in self.lines:
            self.lines.remove(line)

    def receive(self, line: Line, message: Message) -> list[Message]:
        """What one message changes.

        Returns:
            What to send on this socket.
        """
        if line.over:
            return []
        op, channel = message.get("op"), str(message.get("channel", ""))
        if op == "event":
            self._event(channel, message, replayed=not line.welcomed)
        elif op == "resync":
            self._resync(channel, str(message.get("why")), message)
        elif op == "heartbeat":
            for each in line.granted:
                self._reach(each, message)
        elif op == "welcome":
            return self._welcome(line, message)
        elif op in ("ok", "error"):
            return self._answer(line, message)
        elif op == "gone":
            line.granted.discard(channel)
            self.happened.append(Happening("gone", channel, str(message.get("why"))))
        elif op == "back":
            line.granted.add(channel)
            self.happened.append(Happening("granted", channel, str(message.get("audience"))))
            self._resync(channel, "back", message)
        return []

    def _event(self, channel: str, message: Message, *, replayed: bool) -> None:
        self._reach(channel, message)
        publisher, _, number = str(message.get("id", "")).rpartition("-")
        if publisher and int(number) <= self._highest.get((channel, publisher), 0):
            self.happened.append(Happening("dropped", channel, message=message, replayed=replayed))
            return
        if publisher:
            self._highest[channel, publisher] = int(number)
        what = "event"
        if "key" in message and "version" in message:
            key, version = (channel, str(message["key"])), int(message["version"])
            if version < self._versions.get(key, version):
                what = "outdated"
            else:
                self._versions[key] = version
        self.happened.append(Happening(what, channel, message=message, replayed=replayed))

    def _resync(self, channel: str, why: str, message: Message) -> None:
        self._reach(channel, message)
        self.happened.append(Happening("resync", channel, why))

    def _reach(self, channel: str, message: Message) -> None:
        if "at" in message:
            self.positions[channel] = message["at"]

    def _welcome(self, line: Line, message: Message) -> list[Message]:
        granted: dict[str, Any] = message.get("channels", {})
        line.welcomed = True
        for older in [each for each in self.lines if each is not line and each.welcomed]:
            older.over = True
            self.lines.remove(older)
        for channel, grant in granted.items():
            blind = channel in self._started and (line.named or {}).get(channel) is None
            self._grant(line, channel, grant, message)
            if blind and not grant.get("resync"):
                self.happened.append(Happening("resync", channel, "restart"))
        first, self._known = not self._known, True
        named = line.named or {}
        return [
            self.subscribe(line, each) for each in self.channels if each not in granted and (first or each not in named)
        ]

    def _grant(self, line: Line, channel: str, grant: Message, message: Message) -> None:
        if channel not in self.channels:
            self.channels.append(channel)
        line.granted.add(channel)
        self._started.add(channel)
        self.happened.append(Happening("granted", channel, str(grant.get("audience"))))
        if grant.get("resync"):
            self._resync(channel, str(grant["resync"]), message)
        else:
            self._reach(channel, message)

    def subscribe(self, line: Line, channel: str) -> Message:
        """The request for a channel, on this socket."""
        self._requests += 1
        line.asked[self._requests] = channel
        request: Message = {"op": "subscribe", "n": self._requests, "channel": channel}
        if channel in self.positions:
            request["since"] = self.positions[channel]
        return request

    def _answer(self, line: Line, message: Message) -> list[Message]:
        channel = line.asked.pop(message.get("n", -1), None)
        if channel is not None and message["op"] == "ok":
            self._grant(line, channel, message, message)
        again = channel is not None and message["op"] == "error" and message.get("retry")
        return [self.subscribe(line, str(channel))] if again else []
