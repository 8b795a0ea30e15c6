"""The hub: who listens to which channel as which audience, and the fan-out to them.

The feed calls `event` and `resync` for what it releases and `flush` at the end of each read from the broker. An event
becomes one frame per (wire format, audience), shared by all its connections; a connection gets one write per turn with
all that gathered for it. One small write per event and socket costs 5.5 to 7.5 us of kernel time whatever the language,
so that joining is what lifts the ceiling (docs/performance.md).

A turn mostly brings events of one channel for whole audiences. Then the frames gather once per audience and not once
per connection: a delivery costs nothing but its share of the write. When something else comes, another channel or an
event that not everybody of an audience gets, what has gathered is dealt out (`deal`) and the rest of the turn gathers
connection by connection, so that the order of the feed holds for each of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from livepush.broker.envelope import Event, Only, Skip
from livepush.daemon.connection import Connection
from livepush.daemon.entitlement import Directory, Grant
from livepush.daemon.interfaces import Encoder
from livepush.daemon.ring import Entry, Ring, RingSettings, in_feed_order
from livepush.wire.closing import Close
from livepush.wire.native import Granted

TRIM_SECONDS = 5.0


class Group:
    """The connections of one channel that are shown the same bytes: one wire format, one audience."""

    __slots__ = ("audience", "encoder", "frames", "members")

    def __init__(self, encoder: Encoder, audience: str) -> None:
        self.encoder, self.audience = encoder, audience
        self.members: dict[Connection, None] = {}
        self.frames: list[bytes] = []  # of this turn, for all members


Members = dict[Connection, None]
Room = dict[tuple[Encoder, str], Group]


class Hub:
    """All connections of this process, and the channels they listen to.

    Connections are bounded by who lets them in (`Limits.connections`), their subscriptions by `Limits.subscriptions`,
    what is kept of the past by the ring's settings, and what waits for one connection by `Limits.outbound_bytes`.
    """

    def __init__(self, directory: Directory, clock: IReactorTime, ring: RingSettings | None = None) -> None:
        self.directory = directory
        self.clock = clock
        self.ring = Ring(ring or RingSettings())
        self.index = 0
        self.delivered = 0
        self._connections: Members = {}
        self._users: dict[str, Members] = {}
        self._rooms: dict[str, Room] = {}
        self._gathering: Room | None = None  # whose groups hold frames of this turn, as long as no connection does
        self._dirty: list[Connection] = []
        self._opened = 0
        self._trimmed = clock.seconds()
        self._empty: Deferred[None] | None = None

    # -- what the feed tells -------------------------------------------------------------------------------------------

    def event(self, event: Event, id: str | None, ts: int, size: int = 0) -> None:  # noqa: A002
        """One released event goes to everybody who may know it; `live` events, without an id, are not kept."""
        self.index += 1
        if id is not None:
            self.ring.append(event.channel, Entry(self.index, event, id, ts, size, self.clock.seconds()))
        room = self._rooms.get(event.channel)
        if room is None:
            return
        skipped = () if event.skip is None else self._skipped(event.skip)
        for group in room.values():
            members = group.members
            chosen: Collection[Connection] = members
            if event.only is not None and group.audience not in event.only.audiences:
                named = (member for user in event.only.users for member in self._users.get(user, ()))
                chosen = [member for member in named if member in members]
            if skipped and not members.keys().isdisjoint(skipped):
                chosen = [member for member in chosen if member not in skipped]
            view = event.view(group.audience) if chosen else None
            if view is not None:
                frame = group.encoder.event(event, view, id, ts)
                if chosen is members:
                    self._push_all(room, group, frame)
                else:
                    self._push(chosen, frame)

    def resync(self, channel: str | None, why: str) -> None:
        """Events of a channel may be missing; None: of any channel."""
        self.index += 1
        if channel is None:
            self.ring.lost_everywhere(self.index, why)
        else:
            self.ring.append(channel, Entry(self.index, None, None, 0, 0, self.clock.seconds(), why))
        for name in list(self._rooms) if channel is None else [channel]:
            room = self._rooms.get(name, {})
            for group in room.values():
                self._push_all(room, group, group.encoder.resync(name, why))

    def _push_all(self, room: Room, group: Group, frame: bytes) -> None:
        """A frame for a whole group; groups of one room have no connection in common."""
        if self._gathering is None and not self._dirty:
            self._gathering = room
        if self._gathering is room:
            group.frames.append(frame)
        else:
            self._push(group.members, frame)

    def _push(self, members: Iterable[Connection], frame: bytes) -> None:
        self.deal()
        # One list append per delivery, about 40 ns. Nothing else belongs in here.
        dirty = self._dirty
        for member in members:
            pending = member.pending
            if not pending:
                dirty.append(member)
            pending.append(frame)

    def deal(self) -> None:
        """What has gathered in groups goes to their connections, which gather each for itself until the turn ends.

        Also to be called before anything else is given to a connection within a turn, so that it comes behind.
        """
        room, self._gathering = self._gathering, None
        for group in () if room is None else room.values():
            frames, group.frames = group.frames, []
            for member in group.members if frames else ():
                if not member.pending:
                    self._dirty.append(member)
                member.pending.extend(frames)

    def flush(self) -> None:
        """One write per connection that has something: called when the feed has no more for this turn."""
        room, self._gathering = self._gathering, None
        for group in () if room is None else list(room.values()):
            frames, group.frames = group.frames, []
            if frames:
                self._write(list(group.members), b"".join(frames), len(frames))
        if self._dirty:
            self._flush_each()
        now = self.clock.seconds()
        if now - self._trimmed >= TRIM_SECONDS:
            self._trimmed = now
            self.ring.trim(now)

    def _write(self, members: Iterable[Connection], data: bytes, events: int) -> None:
        # The hot loop: one send to the kernel per connection, 5 us and more; 0.1 us is spent here.
        for member in members:
            member.quiet = False
            try:
                member.write(data)
            except Exception:
                # One broken connection must not take the others' event away.
                self._log.failure("A connection broke while it was written to; it is dropped.")
                member.abort()
            else:
                self.delivered += events

    def _flush_each(self) -> None:
        dirty, self._dirty = self._dirty, []
        for member in dirty:
            pending, member.pending = member.pending, []
            if pending:
                self._write((member,), b"".join(pending), len(pending))

    # -- connections ---------------------------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """How many have a transport, identified or not, ending or not."""
        return len(self._connections)

    def register(self, connection: Connection) -> str:
        """A connection was opened; returns its name in logs and in `welcome`."""
        self._connections[connection] = None
        self._opened += 1
        return f"c{self._opened}"

    def identified(self, connection: Connection, user: str | None) -> None:
        """Its user is known now."""
        if user is not None:
            self._users.setdefault(user, {})[connection] = None

    def subscribe(self, connection: Connection, grants: Iterable[Grant], after: int) -> dict[str, Granted]:
        """The connection listens from here on, and has pending what was released after a feed index.

        Returns:
            What it was granted, by channel, in the order of the grants.
        """
        self.deal()
        granted: dict[str, Granted] = {}
        replays: list[list[Entry]] = []
        audiences: dict[str, str] = {}
        for grant in grants:
            room = self._rooms.setdefault(grant.channel, {})
            key = (connection.encoder, grant.audience)
            if key not in room:
                room[key] = Group(*key)
            room[key].members[connection] = None
            connection.channels[grant.channel] = grant.audience
            entries, why = self.ring.since(grant.channel, after)
            shown = [
                entry for entry in entries if entry.event and self._is_shown(entry.event, connection, grant.audience)
            ]
            replays.append(shown)
            audiences[grant.channel] = grant.audience
            granted[grant.channel] = Granted(grant.audience, len(shown), why)
        for entry in in_feed_order(replays):
            event = entry.event
            view = None if event is None else event.view(audiences[event.channel])
            if event is not None and view is not None:
                connection.pending.append(connection.encoder.event(event, view, entry.id, entry.ts))
        return granted

    def unsubscribe(self, connection: Connection, channel: str) -> None:
        """The connection does not listen to this channel any more; what is pending stays."""
        audience = connection.channels.pop(channel, None)
        if audience is None:
            return
        self.deal()
        room = self._rooms[channel]
        members = room[connection.encoder, audience].members
        del members[connection]
        if not members:
            del room[connection.encoder, audience]
            if not room:
                del self._rooms[channel]

    def silence(self, connection: Connection) -> None:
        """A connection is ending: it hears nothing more."""
        for channel in list(connection.channels):
            self.unsubscribe(connection, channel)
        user = connection.user
        if user is not None and user in self._users:
            self._users[user].pop(connection, None)
            if not self._users[user]:
                del self._users[user]

    def forget(self, connection: Connection) -> None:
        """Its transport has gone."""
        self._connections.pop(connection, None)
        if self._empty is not None and not self._connections:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def close_all(self, code: Close, reason: str) -> Deferred[None]:
        """Ends every connection; fires when the last transport has gone, which its link bounds in time."""
        done: Deferred[None] = Deferred()
        if not self._connections:
            done.callback(None)
            return done
        self._empty = done
        for connection in list(self._connections):
            connection.close(code, reason)
        return done

    # -- whom an event is meant for ------------------------------------------------------------------------------------

    def _skipped(self, skip: Skip) -> set[Connection]:
        candidates = self._connections if skip.user is None else self._users.get(skip.user, ())
        return {member for member in candidates if _is_skipped(skip, member)}

    def _is_shown(self, event: Event, connection: Connection, audience: str) -> bool:
        if event.skip is not None and _is_skipped(event.skip, connection):
            return False
        return event.view(audience) is not None and _is_meant(event.only, connection, audience)

    _log = Logger()


def _is_meant(only: Only | None, connection: Connection, audience: str) -> bool:
    return only is None or audience in only.audiences or connection.user in only.users


def _is_skipped(skip: Skip, connection: Connection) -> bool:
    if skip.tab is None:
        return skip.user is not None and skip.user == connection.user
    return skip.tab == connection.tab and (skip.user is None or skip.user == connection.user)
