"""What the parts around a connection owe each other: its transport, its wire format, and what Django answers."""

from __future__ import annotations

from typing import Protocol

from livepush.broker.envelope import Event, Json
from livepush.daemon.entitlement import ChannelRule, Snapshot
from livepush.wire.closing import Close


class Link(Protocol):
    """The transport that carries a connection."""

    def write(self, data: bytes) -> None:
        """Sends bytes of the wire format; buffers what the kernel does not take."""

    def close(self, code: Close, reason: str) -> None:
        """Ends the connection in the transport's own way after what was written."""

    def abort(self) -> None:
        """Drops it at once."""

    def ping(self) -> None:
        """Asks the peer for a sign of life, where the transport has such a thing."""

    def pause_reading(self) -> None:
        """No more `received` than what has been read already."""

    def resume_reading(self) -> None:
        """Goes on reading."""


class Encoder(Protocol):
    """A wire format: how an event and a loss look to its clients. One object a format; it is a key of the hub."""

    def event(self, event: Event, view: Json, id: str | None, ts: int, at: str | None) -> bytes:  # noqa: A002 - the word on the wire
        """The bytes of one event as one audience is shown it, with its position; `id` and `at` None: a live event."""

    def resync(self, channel: str, why: str, at: str) -> bytes:
        """The bytes that say: events of this channel may be missing; go on from this position."""


class Identity(Protocol):
    """What a connection asks of Django; see `livepush.daemon.identity.Identifier`.

    All raise `Busy` when the pool's queue is full and `IdentityUnavailable` when the database fails.
    """

    async def identify(self, cookies: str) -> Snapshot | None:
        """The user of a Cookie header; None: nobody who may connect."""

    async def reidentify(self, snapshot: Snapshot) -> Snapshot | None:
        """The same visitor as he is now; None: his login has ended."""

    async def allows(self, snapshot: Snapshot, rule: ChannelRule, channel: str) -> bool:
        """The declared channel's object-level rule."""
