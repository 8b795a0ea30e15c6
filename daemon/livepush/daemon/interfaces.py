"""What the parts around a connection owe each other: its transport, its wire format, and what Django answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from livepush.broker.envelope import Event, Json
from livepush.daemon.entitlement import ChannelRule, Snapshot
from livepush.wire.closing import Close
from livepush.wire.requests import Call, Granted, Request, Welcome

if TYPE_CHECKING:
    from livepush.daemon.connection import Connection


class Link(Protocol):
    """The transport that carries a connection."""

    @property
    def place(self) -> str | None:
        """Where its client is counted (`addresses`); None: nowhere, or he is already."""

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
    """A wire format: how what the server says looks to its clients. One object a format; it is a key of the hub.

    Bytes are complete and may be joined with others of the same format. b"" means that this format has no word for it;
    only an event is never b"".

    Attributes:
        name: for people: what a metric or a log calls it.
        overlaps: whether its clients can make the next connection before they drop this one, when they hear `goaway`.
    """

    name: str
    overlaps: bool

    def event(self, event: Event, view: Json, id: str | None, ts: int, at: str | None) -> bytes:  # noqa: A002 - the word on the wire
        """The bytes of one event as one audience is shown it, with its position; `id` and `at` None: a live event."""

    def resync(self, channel: str, why: str, at: str) -> bytes:
        """The bytes that say: events of this channel may be missing; go on from this position."""

    def welcome(self, n: int | None, welcome: Welcome) -> bytes:
        """The answer to `Hello`, after what is replayed."""

    def granted(self, n: int | None, channel: str, granted: Granted, at: str) -> bytes:
        """The answer to `Subscribe`, after what is replayed."""

    def ok(self, n: int | None, channel: str) -> bytes:
        """The answer to `Unsubscribe`."""

    def result(self, n: int | None, data: Json) -> bytes:
        """The answer to `Call`."""

    def error(self, n: int | None, code: str, message: str, retry: bool = False) -> bytes:
        """A request that can't be fulfilled; `message` is for people."""

    def gone(self, channel: str, why: str) -> bytes:
        """The user may not listen to this channel any more."""

    def back(self, channel: str, audience: str, at: str) -> bytes:
        """He may again, or he is of another audience now: reload, and go on from this position."""

    def presence(self, channel: str, said: Json) -> bytes:
        """Who else is on a channel, or that nobody knows."""

    def heartbeat(self, at: str) -> bytes:
        """The position of whoever has got everything so far."""

    def goaway(self, after: int) -> bytes:
        """This process is going: another connection is to be there in so many milliseconds."""


class Codec(Protocol):
    """What clients say, as requests. Where it keeps nothing, one object serves all connections."""

    def parse(self, payload: bytes, depth: int) -> Request | None:
        """One message of the client; None: there is nothing to do.

        Args:
            payload: the message.
            depth: how many objects and arrays may be nested in its JSON.

        Raises:
            BadMessage: it is no message of this protocol; the connection ends with 4400.
        """


class Calls(Protocol):
    """Requests to the Django side. They do not wait for each other, nor anything else of the connection for them."""

    def begin(self, connection: Connection, call: Call) -> None:
        """Starts one. Exactly one `connection.answer` or `connection.refuse` follows, now or later."""

    def forget(self, connection: Connection) -> None:
        """The connection ends; what still comes for it is thrown away."""


class Attention(Protocol):
    """What is told of connections that come, go and change; see `livepush.daemon.presence.Presence`."""

    def look(self, connection: Connection, afresh: Iterable[str] = ()) -> None:
        """A connection has other channels, or its user other rights, or it has ended.

        Args:
            connection: which one.
            afresh: channels of which it has been told nothing that still counts.
        """


class Identity(Protocol):
    """What a connection asks of Django; see `livepush.daemon.identifier.Identifier`.

    All raise `Busy` when the pool's queue is full and `IdentityUnavailable` when the database fails.
    """

    async def identify(self, cookies: str) -> Snapshot | None:
        """The user of a Cookie header; None: nobody who may connect."""

    async def reidentify(self, snapshot: Snapshot) -> Snapshot | None:
        """The same visitor as he is now; None: his login has ended."""

    async def may_return(self, snapshot: Snapshot) -> bool:
        """Of a login that has ended: whether the browser may have a newer cookie of it, which only it can show.

        So it is with a session that is there no more: Django gives it another key when its user changes his password.
        """

    async def redeem(self, ticket: str) -> Snapshot | None:
        """The user of a ticket, which is used up by that; None: it is nobody's."""

    def binding(self, cookies: str) -> str:
        """What stands for the session of a Cookie header without giving it away; "": there is none. No look-up."""

    async def allows(self, snapshot: Snapshot, rule: ChannelRule, channel: str) -> bool:
        """The declared channel's object-level rule."""
