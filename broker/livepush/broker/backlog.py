"""What a publisher has accepted and the broker has not confirmed: numbers, order and retries, without I/O or clock.

    add(draft)      gives the number              opened()       a channel in confirm mode is there
    copies()        what is to be written now     confirmed(), nacked(), returned()   what the broker answered
    take_settled()  which publications are over   lost(), refused()   the channel is gone; refused: by what was sent

The rules are those of the delivery specification:

- Every logged message gets the next number, 1, 2, 3 ..., and each number given is published: what the broker refuses
  for good goes out as an empty `void` under the same number.
- Each copy carries `low`, the lowest number not confirmed when it was sent.
- Retry is go-back-N: after a nack or the end of a channel nothing is sent until a channel is opened anew, then
  everything unconfirmed is sent again, in order.
- The broker does not say which message it closed a channel for. So after a refusal one copy is in flight at a time,
  until all that was in flight then has been settled: whoever is refused alone is the culprit.
- A `mandatory` message that comes back was kept by nobody: it fails, and its number is spent.
- `live` is sent once, in its place between the logged ones, and expires when it has waited for `live_seconds`.
- `control` does not count against the bounds and is not dropped. One that waits and was never sent stands for a later
  one that says the same, because whoever receives it looks after both have happened. Over the bound of those that wait
  a look at everybody stands for them; only `disconnect`, which no look finds out, then fails with `BacklogFull`.

It is past 400 lines because the rules share one state: cut in two, each half would have to know the other's numbers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from livepush.broker.envelope import (
    DISCONNECT,
    IDENTITY,
    LOGOUT,
    OUTBOX,
    REVOKE,
    Control,
    Kind,
    Resync,
    Stamp,
    encode_control,
    encode_resync,
)
from livepush.broker.errors import BacklogFull, Expired, PublishError, Refused, Unroutable
from livepush.broker.flight import Flight
from livepush.broker.names import (
    CONTROL_DISCONNECT_KEY,
    CONTROL_IDENTITY_KEY,
    CONTROL_LOGOUT_KEY,
    CONTROL_OUTBOX_KEY,
    CONTROL_REVOKE_KEY,
    VOID_KEY,
    resync_key,
)

T = TypeVar("T")

KEY_BYTES = 255  # AMQP 0-9-1, 4.2.5.3: a routing key is a short string

_CONTROL_KEYS = {
    IDENTITY: CONTROL_IDENTITY_KEY,
    OUTBOX: CONTROL_OUTBOX_KEY,
    LOGOUT: CONTROL_LOGOUT_KEY,
    DISCONNECT: CONTROL_DISCONNECT_KEY,
    REVOKE: CONTROL_REVOKE_KEY,
}
_LOOKED_AT = frozenset({CONTROL_IDENTITY_KEY, CONTROL_LOGOUT_KEY, CONTROL_REVOKE_KEY})
"""What a look at everybody finds out as well."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message as its author hands it over.

    Attributes:
        kind: `event` or `control`, which are numbered and logged, or `live`, which is neither.
        key: routing key, at most 255 bytes.
        body: as the envelope encodes it.
        channel: whom to tell when the message can't be kept; nobody for `control`.
    """

    kind: Kind
    key: str
    body: bytes
    channel: str = ""

    def __post_init__(self) -> None:
        if self.kind not in (Kind.EVENT, Kind.LIVE, Kind.CONTROL):
            why = "a draft is an event, live or control; the publisher makes the rest itself"
            raise ValueError(f"kind {self.kind!r}: {why}")
        if not self.key or len(self.key.encode()) > KEY_BYTES:
            raise ValueError(f"key of {len(self.key)} characters: AMQP takes 1 to {KEY_BYTES} bytes")
        if not isinstance(self.body, bytes):
            raise ValueError(f"body of type {type(self.body).__name__}: must be bytes, as encode_event makes them")

    @classmethod
    def of_control(cls, control: Control) -> Draft:
        """A message to the processes, which no browser sees; `control.what` is one of the envelope's words."""
        return cls(Kind.CONTROL, _CONTROL_KEYS[control.what], encode_control(control))


_EVERYBODY = Draft.of_control(Control(IDENTITY))


class Copy(NamedTuple):
    """One sending of a message: `stamp` is None for `live`."""

    kind: Kind
    key: str
    body: bytes
    ts: int
    stamp: Stamp | None


class Settled(NamedTuple, Generic[T]):
    """The end of a publication: confirmed when `error` is None. `id` is None for `live`."""

    ticket: T
    id: str | None
    error: PublishError | None


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept, and how much of it may be in flight.

    Attributes:
        messages, bytes: of the whole backlog, key and body counted. An event that finds it full gets no number.
        flight_messages, flight_bytes: sent and not answered, which bounds what lies in the socket's buffers. A message
            that is larger by itself is in flight alone.
        live_seconds: how long `live` may wait.
        channels: of how many channels lost events are remembered by name; one more, and the record is for all channels.
        subjects: how many control messages wait that were never sent; instead of one more, one concerns everybody.
    """

    messages: int = 10_000
    bytes: int = 16 * 2**20
    flight_messages: int = 512
    flight_bytes: int = 2**20
    live_seconds: float = 2.0
    channels: int = 1_000
    subjects: int = 10_000


@dataclass(slots=True, eq=False)
class _Entry(Generic[T]):
    kind: Kind
    key: str
    body: bytes
    ts: int
    number: int  # of `live`: the next number when it came, which is its place in the order
    ticket: T | None
    expires: float = 0.0
    weight: int = 1  # 0: it does not count against the bounds
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.key) + len(self.body)


class Backlog(Generic[T]):
    """All of one publisher's messages between its author and the broker's confirm. Not thread-safe.

    At the bounds: an event gets no number and fails with `BacklogFull`; a `resync` record for its channel is numbered
    before anything else as soon as there is room. Room is then a sixteenth of the bounds, not one place: else each
    freed place of an overloaded publisher went to a record, and the records would crowd out the events. `live` that
    finds it full fails, without a record. Records are numbered whatever the bounds; there is at most one at a time for
    each of `Bounds.channels` channels.

    Args:
        publisher: the id of this publisher, new for each start and each fork.
    """

    def __init__(self, publisher: str, bounds: Bounds = Bounds()) -> None:
        self.publisher = publisher
        self.bounds = bounds
        self.bytes = 0
        self.sending = 0
        self._count = 0
        self._weight = 0  # of them, those that count against the bounds
        self._open = False
        self._careful_to = 0  # one copy in flight while a number up to this one is not settled
        self._next = 1  # the number that the next message gets
        self._low = 1  # the lowest number not settled
        self._send = 1  # the lowest number not sent on this channel; all above wait, too
        self._numbered: dict[int, _Entry[T]] = {}
        self._live: deque[_Entry[T]] = deque()
        self._flight: Flight[_Entry[T]] = Flight()
        self._returned: set[int] = set()
        self._dropped: dict[str | None, None] = {}
        self._unsent: dict[bytes, int] = {}  # the numbers of control messages that were never sent, by what they say
        self._settled: list[Settled[T]] = []

    def __len__(self) -> int:
        """Messages not settled; voids, `control`, `live` and records, also those that wait for room, included."""
        return self._count + len(self._dropped)

    @property
    def low(self) -> int:
        """The lowest number not settled, or the next one."""
        return self._low

    @property
    def careful(self) -> bool:
        """Whether a culprit is being looked for."""
        return self._low <= self._careful_to

    @property
    def sendable(self) -> bool:
        """Whether there is something to send and room for it in flight."""
        if not self._open or len(self._flight) >= (1 if self.careful else self.bounds.flight_messages):
            return False
        return self._flight.bytes < self.bounds.flight_bytes and (self._send < self._next or bool(self._live))

    @property
    def expires(self) -> float | None:
        """When `expire` has something to do next."""
        return self._live[0].expires if self._live else None

    # -- the author's side ---------------------------------------------------------------------------------------------

    def waiting(self, draft: Draft) -> T | None:
        """The ticket of a control message that says the same and was never sent: it stands for this one, too."""
        number = self._unsent.get(self._subject(draft).body) if draft.kind is Kind.CONTROL else None
        return None if number is None else self._numbered[number].ticket

    def add(self, draft: Draft, ticket: T, now: float, ts: int) -> str | None:
        """Accepts a message. O(1).

        Args:
            ticket: handed back with the settlement.
            now: monotonic seconds.
            ts: milliseconds since 1970.

        Returns:
            The id; None for `live`.

        Raises:
            BacklogFull: nothing was kept of it; its ticket is not settled.
        """
        if draft.kind is Kind.CONTROL:
            self._report(ts)
            draft = self._subject(draft)
            if draft.key == CONTROL_DISCONNECT_KEY and len(self._unsent) >= self.bounds.subjects:
                raise BacklogFull(f"{len(self._unsent)} control messages wait for the broker; this one was not kept")
            number = self._number(draft.kind, draft.key, draft.body, ts, ticket)
            self._unsent[draft.body] = number
            return f"{self.publisher}-{number}"
        size = len(draft.key) + len(draft.body)
        full = self._weight >= self.bounds.messages or self.bytes + size > self.bounds.bytes
        if full or (self._dropped and not self._has_room()):
            error = BacklogFull(
                f"{self._weight} messages, {self.bytes} bytes wait for the broker; this one was not kept"
            )
            if draft.kind is not Kind.LIVE:
                self._drop(draft.channel)
                self._report(ts)
            raise error
        if draft.kind is Kind.LIVE:
            expires = now + self.bounds.live_seconds
            self._live.append(_Entry(draft.kind, draft.key, draft.body, ts, self._next, ticket, expires))
            self._count += 1
            self._weight += 1
            self.bytes += size
            return None
        self._report(ts)
        return f"{self.publisher}-{self._number(draft.kind, draft.key, draft.body, ts, ticket)}"

    def expire(self, now: float) -> None:
        """Fails the `live` messages that have waited too long."""
        while self._live and self._live[0].expires <= now:
            waited = f"{self.bounds.live_seconds:g} s"
            self._settle(self._live.popleft(), Expired(f"no broker took it within {waited}; live messages do not wait"))

    def abandon(self, error: PublishError) -> int:
        """Fails all that is left, because the process ends; nothing is sent any more.

        Returns:
            How many messages were left.
        """
        left = len(self)
        self._open = False
        flying = [entry for entry in self._forget_flight() if entry.kind is Kind.LIVE]
        for entry in (*self._numbered.values(), *self._live, *flying):
            self._settle(entry, error)
        self._live.clear()
        self._dropped.clear()
        self._unsent.clear()
        self._send = self._low
        return left

    def take_settled(self) -> list[Settled[T]]:
        """The publications that ended since the last call, each once."""
        settled, self._settled = self._settled, []
        return settled

    # -- the broker's side ---------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """A new channel is open, in confirm mode: sending begins again with the lowest number not settled."""
        self.lost()
        self._open = True
        self.sending += 1
        self._flight.begin()
        self._send = self._low

    def copies(self, ts: int, limit: int = 64) -> list[Copy]:
        """What is to be published now on the channel that is open; the order gives the delivery tags.

        Args:
            ts: milliseconds since 1970, for records that are made now.
            limit: at most so many, so that the caller holds no lock for long; call again until it returns none.
        """
        self._report(ts)
        copies: list[Copy] = []
        while len(copies) < limit and self.sendable and (entry := self._following()) is not None:
            self._flight.send(entry)
            stamp = None
            if entry.kind is not Kind.LIVE:
                stamp = Stamp(self.publisher, entry.number, self._low, self.sending)
            if entry.kind is Kind.CONTROL and self._unsent.get(entry.body) == entry.number:
                del self._unsent[entry.body]
            copies.append(Copy(entry.kind, entry.key, entry.body, entry.ts, stamp))
        return copies

    def confirmed(self, tag: int, multiple: bool) -> bool:
        """The broker has what was sent under this tag (basic.ack); `multiple`: and all before it, 0: all.

        Returns:
            Whether anything was waiting for that.
        """
        entries = self._flight.answered(tag, multiple)
        for entry in entries:
            if entry.kind is not Kind.LIVE and entry.number in self._returned:
                self._returned.discard(entry.number)
                self._settle(entry, Unroutable("no livepush process is bound to the exchange, so nobody missed it"))
            else:
                self._settle(entry, None)
        return bool(entries)

    def nacked(self, tag: int, multiple: bool) -> bool:
        """The broker could not keep it (basic.nack).

        Returns:
            Whether a number is concerned: then sending has stopped, and the channel is to be opened anew.
        """
        again = False
        for entry in self._flight.answered(tag, multiple):
            if entry.kind is Kind.LIVE:
                self._settle(entry, Expired("the broker could not take it; live messages are sent once"))
            else:
                again = True
        if again:
            self.lost()
        return again

    def returned(self, number: int) -> None:
        """No queue took the copy of this number (basic.return); its confirm follows."""
        if number in self._numbered:
            self._returned.add(number)

    def lost(self) -> None:
        """The channel is gone, for whatever reason: nothing is sent until `opened`."""
        self._open = False
        self._fail_live(self._forget_flight())

    def refused(self, why: str) -> bool:
        """The broker closed the channel because of something that was sent on it.

        Args:
            why: the broker's words, for the author of the culprit.

        Returns:
            Whether this led on, so that a channel may be opened at once. It did not when nothing was in flight or when
            the culprit is a void already: then the broker refuses this publisher, not a message.
        """
        self._open = False
        flight = self._forget_flight()
        if len(flight) != 1:
            numbers = [entry.number for entry in flight if entry.kind is not Kind.LIVE]
            self._careful_to = max([self._careful_to, *numbers])
            self._fail_live(flight)
            return bool(flight)
        culprit = flight[0]
        if culprit.kind is Kind.VOID:
            return False
        if culprit.kind is Kind.LIVE:
            self._settle(culprit, Refused(why))
        else:
            self._void(culprit, why)
        return True

    # -- within --------------------------------------------------------------------------------------------------------

    def _number(self, kind: Kind, key: str, body: bytes, ts: int, ticket: T | None) -> int:
        entry = _Entry(kind, key, body, ts, self._next, ticket, weight=0 if kind is Kind.CONTROL else 1)
        self._numbered[self._next] = entry
        self._next += 1
        self._count += 1
        self._weight += entry.weight
        self.bytes += entry.size * entry.weight
        return entry.number

    def _subject(self, draft: Draft) -> Draft:
        """The control message that is sent for this one."""
        new = draft.key in _LOOKED_AT and draft.body not in self._unsent
        return _EVERYBODY if new and len(self._unsent) >= self.bounds.subjects else draft

    def _drop(self, channel: str | None) -> None:
        if channel is None or len(self._dropped) >= self.bounds.channels:
            self._dropped = {None: None}
        elif None not in self._dropped:
            self._dropped[channel] = None

    def _has_room(self) -> bool:
        bounds = self.bounds
        return (
            bounds.messages - self._weight >= max(1, bounds.messages // 16)
            and self.bytes <= bounds.bytes - bounds.bytes // 16
        )

    def _report(self, ts: int) -> None:
        if not self._dropped or not self._has_room():
            return
        dropped, self._dropped = self._dropped, {}
        for channel in dropped:
            self._number(Kind.RESYNC, resync_key(channel), encode_resync(Resync(channel, "publisher")), ts, None)

    def _following(self) -> _Entry[T] | None:
        """The next to be sent: `live` when its place has come, else the next number that is not settled."""
        if self._live and self._live[0].number <= self._send:
            return self._live.popleft()
        while self._send < self._next:
            entry = self._numbered.get(self._send)
            self._send += 1
            if entry is not None:
                return entry
        return self._live.popleft() if self._live else None

    def _forget_flight(self) -> list[_Entry[T]]:
        """The channel is gone: what was in flight on it."""
        self._returned.clear()
        return self._flight.clear()

    def _fail_live(self, flight: list[_Entry[T]]) -> None:
        for entry in flight:
            if entry.kind is Kind.LIVE:
                self._settle(entry, Expired("the broker went before it confirmed; live messages are sent once"))

    def _void(self, culprit: _Entry[T], why: str) -> None:
        """The number goes out all the same; a record that may not be sent becomes one for all channels."""
        if culprit.ticket is not None:
            self._settled.append(Settled(culprit.ticket, f"{self.publisher}-{culprit.number}", Refused(why)))
        elif culprit.kind is Kind.RESYNC and culprit.key != resync_key(None):
            self._drop(None)
        culprit.kind, culprit.key, culprit.body, culprit.ticket = Kind.VOID, VOID_KEY, b"{}", None
        self.bytes -= culprit.size * culprit.weight
        culprit.size = len(culprit.key) + len(culprit.body)
        self.bytes += culprit.size * culprit.weight

    def _settle(self, entry: _Entry[T], error: PublishError | None) -> None:
        self._count -= 1
        self._weight -= entry.weight
        self.bytes -= entry.size * entry.weight
        id_ = None
        if entry.kind is not Kind.LIVE:
            id_ = f"{self.publisher}-{entry.number}"
            del self._numbered[entry.number]
            while self._low < self._next and self._low not in self._numbered:
                self._low += 1
        if entry.ticket is not None:
            self._settled.append(Settled(entry.ticket, id_, error))
