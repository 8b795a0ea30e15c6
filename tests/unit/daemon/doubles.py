"""Doubles for the daemon's parts: a link that remembers, an identity that answers when told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from livepush.broker.names import ChannelPattern
from livepush.daemon.connection import Connection
from livepush.daemon.entitlement import AudienceRule, ChannelRule, Directory, Snapshot
from livepush.daemon.hub import Hub
from livepush.daemon.ring import RingSettings
from livepush.daemon.settings import Limits
from livepush.wire.closing import Close
from livepush.wire.native import NativeCodec, NativeEncoder

ENCODER = NativeEncoder()
CODEC = NativeCodec()

RULES = (
    ChannelRule(
        ChannelPattern("orders"),
        (AudienceRule("moderator", "orders.delete_order"), AudienceRule("client", "orders.lock_order")),
        auto=True,
    ),
    ChannelRule(ChannelPattern("news"), (AudienceRule("all", None),)),
    ChannelRule(ChannelPattern("orders.{order_id}"), (AudienceRule("client", "orders.lock_order"),), guarded=True),
)


def make_snapshot(user: int | None = 7, *permissions: str) -> Snapshot:
    """A user, by default one who may nothing."""
    key = None if user is None else str(user)
    return Snapshot(key, user, "session", "hash", frozenset(permissions), False, user is not None)


def make_client(user: int = 7) -> Snapshot:
    """Somebody of the audience `client`."""
    return make_snapshot(user, "orders.lock_order")


def make_moderator(user: int = 8) -> Snapshot:
    """Somebody of the audience `moderator`, who holds both permissions."""
    return make_snapshot(user, "orders.lock_order", "orders.delete_order")


def make_hub(clock: IReactorTime | None = None, ring: RingSettings | None = None, nonce: str = "me") -> Hub:
    """A hub with the channels of `RULES`."""
    return Hub(Directory(RULES), clock or Clock(), ring, nonce)


class FakeLink:
    """A transport that remembers; `broken` makes writing raise, `gone` is called when it was closed."""

    place: str | None = None

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed_with: tuple[Close, str] | None = None
        self.aborted = self.reading_paused = self.broken = False
        self.pings = 0
        self.on_write: Callable[[], None] = lambda: None
        self.gone: Callable[[], None] = lambda: None

    def write(self, data: bytes) -> None:
        if self.broken:
            raise RuntimeError("broken")
        self.written.append(data)
        self.on_write()

    def close(self, code: Close, reason: str) -> None:
        self.closed_with = (code, reason)
        self.gone()

    def abort(self) -> None:
        self.aborted = True
        self.gone()

    def ping(self) -> None:
        self.pings += 1

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False

    @property
    def code(self) -> int | None:
        """What it was closed with."""
        return None if self.closed_with is None else int(self.closed_with[0])

    def messages(self) -> list[Any]:
        """All messages since the last call."""
        data, found = b"".join(self.written), []
        self.written.clear()
        while data:
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(data[2:10], "big"), 10
            found.append(json.loads(data[start : start + size]))
            data = data[start + size :]
        return found

    def ops(self) -> list[str]:
        """The ops of all messages since the last call."""
        return [message["op"] for message in self.messages()]


class FakeIdentity:
    """Answers at once, or, when `waits`, when the test fires what stands in `waiting`, with another answer or None."""

    def __init__(self, snapshot: Snapshot | None = None, waits: bool = False) -> None:
        self.snapshot, self.waits = snapshot, waits
        self.waiting: list[Deferred[Any]] = []
        self.asked: list[str] = []
        self.allowed = {"orders.5"}
        self.tickets: dict[str, Snapshot] = {}
        self.error: Exception | None = None
        self.renewed = False

    async def identify(self, cookies: str) -> Snapshot | None:
        self.asked.append(cookies)
        given = await self._wait()
        return self.snapshot if given is None else given

    async def redeem(self, ticket: str) -> Snapshot | None:
        self.asked.append(ticket)
        given = await self._wait()
        return self.tickets.pop(ticket, None) if given is None else given

    def binding(self, cookies: str) -> str:
        return cookies

    async def reidentify(self, snapshot: Snapshot) -> Snapshot | None:
        answer = self.snapshot  # the database is read when the job starts
        self.asked.append("reidentify")
        given = await self._wait()
        return answer if given is None else given

    async def may_return(self, snapshot: Snapshot) -> bool:
        return self.renewed

    async def allows(self, snapshot: Snapshot, rule: ChannelRule, channel: str) -> bool:
        self.asked.append(channel)
        await self._wait()
        return channel in self.allowed

    async def _wait(self) -> Any:
        if self.error is not None:
            raise self.error
        if not self.waits:
            return None
        done: Deferred[Any] = Deferred()
        self.waiting.append(done)
        return await done


class Browser:
    """A connection with its doubles."""

    def __init__(
        self,
        hub: Hub,
        snapshot: Snapshot | None,
        greets: bool = True,
        limits: Limits | None = None,
        waits: bool = False,
        below: str | None = None,
    ) -> None:
        self.link, self.identity = FakeLink(), FakeIdentity(snapshot, waits)
        self.connection = Connection(hub, self.identity, ENCODER, CODEC, limits or Limits(), self.link, greets, below)
        self.link.gone = self.connection.closed
        self.connection.opened("sessionid=x")

    def says(self, **message: Any) -> list[Any]:
        """The client sends a message; the answers."""
        self.connection.received(json.dumps(message).encode())
        return self.link.messages()

    def greets(self, **message: Any) -> Browser:
        """Says hello, for tests in which nothing hangs on it."""
        self.says(op="hello", n=0, **message)
        return self

    def answered(self, result: Any = None) -> None:
        """The thread pool is done with the oldest job."""
        self.identity.waiting.pop(0).callback(result)
