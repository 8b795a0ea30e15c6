"""What faces the browsers: the product's hub and connections, over a double of the transport and one of the database.

A `Seat` is a connection with its transport. The kernel takes `KERNEL` messages that the browser has not read; then the
transport keeps what it is given and pauses its producer, as `EagerServer` does. What was written can't be taken back.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from livepush.broker.names import ChannelPattern
from livepush.daemon.connection import Connection
from livepush.daemon.entitlement import AudienceRule, ChannelRule, Directory, Snapshot
from livepush.daemon.errors import Busy
from livepush.daemon.hub import Hub
from livepush.daemon.ring import RingSettings
from livepush.daemon.settings import Limits
from livepush.wire.closing import Close
from livepush.wire.native import NativeCodec, NativeEncoder

RING = RingSettings(seconds=300.0, events=5)
LIMITS = Limits(outbound_bytes=4096)
KERNEL = 3
PADDING = "." * 500
"""In each event, so that six of them are more than may wait for a browser."""

Message = dict[str, Any]

_ENCODER, _CODEC = NativeEncoder(), NativeCodec()


def make_directory(channels: tuple[str, ...], declared: tuple[str, ...]) -> Directory:
    """Channels, each of which has a permission of its own name."""
    return Directory(
        tuple(
            ChannelRule(ChannelPattern(name), (AudienceRule("all", name),), auto=name in declared) for name in channels
        )
    )


def snapshot(user: str, channels: frozenset[str]) -> Snapshot:
    """A user as the database knows him at one moment."""
    return Snapshot(user, user, "session", "hash", channels, False, True)


class Job:
    """An identification: the database is read at some moment between its start and its end."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.answer: frozenset[str] | None = None
        self.done: Deferred[None] = Deferred()


class Database:
    """Of one process, as its connections see it.

    Attributes:
        jobs: under way.
    """

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    async def identify(self, cookies: str) -> Snapshot | None:
        """Our cookies are names."""
        return await self._ask(cookies)

    async def redeem(self, ticket: str) -> Snapshot | None:
        """Nobody here has one."""
        raise NotImplementedError

    def binding(self, cookies: str) -> str:
        """Each name has one session."""
        return cookies

    async def reidentify(self, snapshot: Snapshot) -> Snapshot | None:
        """Who it is now."""
        return await self._ask(snapshot.user or "")

    async def may_return(self, snapshot: Snapshot) -> bool:
        """Nobody's login ends here."""
        raise NotImplementedError

    async def allows(self, snapshot: Snapshot, rule: ChannelRule, channel: str) -> bool:
        """No channel here has a rule of its own."""
        raise NotImplementedError

    def finish(self, job: Job, *, busy: bool = False) -> None:
        """The answer is there; or the pool had no room for it."""
        self.jobs.remove(job)
        if busy:
            job.done.errback(Busy("a schedule says so"))
        else:
            job.done.callback(None)

    async def _ask(self, user: str) -> Snapshot:
        job = Job(user)
        self.jobs.append(job)
        await job.done
        return snapshot(user, job.answer or frozenset())


class Seat:
    """One connection, with its transport.

    Attributes:
        user: whose it is.
        connection: the product's.
        wire: (step of writing, message) in the kernel.
        inbox: messages on their way from the browser.
        closed: the transport has gone.
    """

    place: str | None = None

    def __init__(self, front: Front, user: str, gone: Callable[[Seat], None]) -> None:
        self.front, self.user = front, user
        self.wire: deque[tuple[int, Message]] = deque()
        self.inbox: deque[Message] = deque()
        self.closed = False
        self._gone = gone
        self._kept: deque[tuple[int, Message]] = deque()
        self._reading = True
        self.connection = Connection(front.hub, front.database, _ENCODER, _CODEC, LIMITS, self)
        self.connection.opened(user)

    @property
    def has(self) -> frozenset[str]:
        """What it listens to, as the process sees it."""
        return frozenset(self.connection.channels)

    @property
    def busy(self) -> bool:
        """Whether something waits in it."""
        return bool(self.wire or self.inbox or self._kept or self.connection.suspended or self.connection.out.holds)

    # -- the browser's end ---------------------------------------------------------------------------------------------

    def serve(self) -> bool:
        """One message of the browser reaches the process."""
        if self.closed or not self._reading or not self.inbox:
            return False
        message = self.inbox.popleft()
        self.connection.heard = True
        self.connection.received(json.dumps(message).encode())
        return True

    def flush(self) -> bool:
        """The kernel takes what it has room for."""
        if self.closed or not self._kept or len(self.wire) >= KERNEL:
            return False
        while self._kept and len(self.wire) < KERNEL:
            self.wire.append(self._kept.popleft())
        if not self._kept:
            self.connection.resumeProducing()
        return True

    def beat(self) -> None:
        """Its heartbeat is due."""
        self.connection.heard = True
        self.connection.beat()

    def cut(self) -> None:
        """The browser, or the network, ends it."""
        if not self.closed:
            self.closed = True
            self._gone(self)
            self.connection.closed()

    def forget(self) -> None:
        """Its process is killed."""
        if not self.closed:
            self.closed = True
            self._gone(self)

    # -- the process's end: a Link -------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        for message in _messages(data):
            self.front.wrote(self, message)
            self._kept.append((self.front.step(), message))
        while self._kept and len(self.wire) < KERNEL:
            self.wire.append(self._kept.popleft())
        if self._kept:
            self.connection.pauseProducing()

    def close(self, code: Close, reason: str) -> None:
        self.cut()

    def abort(self) -> None:
        self.cut()

    def ping(self) -> None:
        """Nobody answers here; `beat` hears."""

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True


class Front:
    """The hub of one process and its seats.

    Args:
        clock: the world's.
        nonce: of the process.
        directory: the channels.
        step: the world's.
        wrote: is told each message that is handed to a transport.
    """

    def __init__(
        self,
        clock: Clock,
        nonce: str,
        directory: Directory,
        step: Callable[[], int],
        wrote: Callable[[Seat, Message], None],
    ) -> None:
        self.hub = Hub(directory, clock, RING, nonce)
        self.hub.waiting.is_ready = lambda: self.ready
        self.database = Database()
        self.ready = False
        self.step, self.wrote = step, wrote
        self._seats: list[Seat] = []

    def become_ready(self, ready: bool) -> None:
        """The feed can, or can't, vouch for everything that is published."""
        self.ready = ready
        self.hub.flush()

    def open(self, user: str, hello: Message, gone: Callable[[Seat], None]) -> Seat:
        """A browser connects and says hello."""
        seat = Seat(self, user, gone)
        self._seats.append(seat)
        seat.connection.received(json.dumps(hello).encode())
        return seat

    def sweep(self) -> None:
        """What is done each minute: all are identified anew."""
        self.hub.distrust(False)

    def kill(self) -> None:
        """The process ends, its sockets with it."""
        for seat in self._seats:
            seat.forget()


def _messages(data: bytes) -> list[Message]:
    """The messages of some frames as a server sends them: RFC 6455, unmasked, in one piece each."""
    found: list[Message] = []
    while data:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        found.append(json.loads(data[start : start + size]))
        data = data[start + size :]
    return found
