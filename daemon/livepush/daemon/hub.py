"""The hub: who listens to which channel as which audience, and the fan-out to them.

The feed calls `event` and `resync` for what it releases and `flush` at the end of each read from the broker. An event
becomes one frame per (wire format, audience), shared by all its connections; a connection gets one write per turn with
all that gathered for it. One small write per event and socket costs 5.5 to 7.5 us of kernel time whatever the language,
so that joining is what lifts the ceiling (docs/performance.md).

A turn mostly brings events of one channel for whole audiences. Then the frames gather once per audience and not once
per connection: a delivery costs nothing but its share of the write. When something else comes, another channel or an
event that not everybody of an audience gets, what has gathered is dealt out (`deal`) and the rest of the turn gathers
connection by connection, so that the order of the feed holds for each of them.

A control message suspends the connections that it concerns in the step in which it comes: they leave the rooms, so that
the fan-out need not ask who is suspended, and what waits for them is held back. When it is known who they are now they
go on from the feed index at which they left, out of the history.

This module is past 400 lines because who is in which room and what is written to it are read together.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from livepush.broker.envelope import Control, Event, Skip
from livepush.broker.logindex import LogIndex
from livepush.daemon.addresses import Census
from livepush.daemon.addressing import is_skipped
from livepush.daemon.connection import Connection
from livepush.daemon.departures import Departures
from livepush.daemon.endings import Endings, concerns, reason
from livepush.daemon.entitlement import Directory
from livepush.daemon.epochs import Epochs
from livepush.daemon.history import Answer, History, LogLike
from livepush.daemon.interfaces import Attention, Calls, Encoder
from livepush.daemon.latency import Latency
from livepush.daemon.outbound import Frame
from livepush.daemon.position import Position
from livepush.daemon.remembered import Remembered
from livepush.daemon.replay import replay
from livepush.daemon.ring import RingSettings
from livepush.daemon.suspension import Reidentification
from livepush.daemon.sweep import Sweep
from livepush.daemon.waitingroom import WaitingRoom
from livepush.wire.closing import Close
from livepush.wire.requests import Granted

TRIM_SECONDS = 5.0


class Group:
    """The connections of one channel that are shown the same bytes: one wire format, one audience."""

    __slots__ = ("audience", "channel", "encoder", "frames", "members")

    def __init__(self, channel: str, encoder: Encoder, audience: str) -> None:
        self.channel, self.encoder, self.audience = channel, encoder, audience
        self.members: dict[Connection, None] = {}
        self.frames: list[Frame] = []  # of this turn, for all members


Members = dict[Connection, None]
Room = dict[tuple[Encoder, str], Group]


class Hub:
    """All connections of this process, and the channels they listen to.

    Connections are bounded by who lets them in (`Limits.connections`), their subscriptions by `Limits.subscriptions`,
    what is kept of the past by the ring's settings, and what waits for one connection by `Limits.outbound_bytes`.

    Attributes:
        nonce: of this process, in its positions.
        history: what was released, and where.
        epochs: the control messages that have come.
        endings: of them, those that end connections.
        remembered: who the sessions of the last visitors are.
        waiting: requests that wait for the feed.
        reidentification: connections that are to be identified anew.
        sweep: has each identified anew now and then; None: nobody is, unless something says so.
        calls: requests to the Django side; None: there are none.
        presence: who else is on a channel; None: it is not kept.
        visitors: connections, and Engine.IO sessions, by where their client is.
        delivered: events given to transports since the start.
        bytes: of all that was given to them in the fan-out.
        replayed: events replayed since the start.
        unrecoverable: channels that came back and could not be replayed, by `why`.
        slow: resyncs told to clients that read too slowly.
        suspensions: of a connection, each time.
        departures: connections that have ended.
        latency: how long events take.
        writing: the frames of what the fan-out is writing.
    """

    def __init__(
        self,
        directory: Directory,
        clock: IReactorTime,
        ring: RingSettings | None = None,
        nonce: str | None = None,
        sweep_seconds: float | None = None,
        remember_seconds: float = 0.0,
    ) -> None:
        self.directory, self.clock = directory, clock
        self.nonce = nonce or secrets.token_hex(4)
        self.epochs = Epochs()
        self.endings = Endings()
        self.remembered = Remembered(clock, self.epochs, remember_seconds)
        self.waiting = WaitingRoom(clock)
        self.reidentification = Reidentification(clock)
        self.sweep = None if sweep_seconds is None else Sweep(sweep_seconds, clock, self._look_again)
        self.calls: Calls | None = None
        self.presence: Attention | None = None
        self.visitors = Census()
        self.delivered = self.bytes = self.replayed = self.slow = self.suspensions = 0
        self.unrecoverable: Counter[str] = Counter()
        self.departures = Departures()
        self.latency = Latency(clock.seconds)
        self.writing: Sequence[Frame] = ()
        self._settings = ring or RingSettings()
        self.follow(LogIndex())
        self._connections: Members = {}
        self._users: dict[str, Members] = {}
        self._rooms: dict[str, Room] = {}
        self._gathering: Room | None = None  # whose groups hold frames of this turn, as long as no connection does
        self._dirty: list[Connection] = []
        self._opened = 0
        self._trimmed = clock.seconds()
        self._empty: Deferred[None] | None = None

    def follow(self, log: LogLike) -> None:
        """Says what is read of the log; to be called before anything is released."""
        self._log_index = log
        self.history = History(self._settings, log, self.nonce)

    # -- what the feed tells -------------------------------------------------------------------------------------------

    def event(self, event: Event, id: str | None, ts: int, size: int = 0, offset: int | None = None) -> None:  # noqa: A002
        """One released event goes to everybody who may know it; `live` events, without an id, are not kept.

        One whose key was released in a newer version goes to nobody.
        """
        at = None
        if id is not None:
            entry = self.history.event(event, id, ts, size, offset, self.clock.seconds())
            if entry is None:
                return
            at = entry.position
        elif self.history.is_stale(event):
            return
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
                frame = group.encoder.event(event, view, id, ts, at)
                keyed = (group.channel, frame) if event.key is None else (group.channel, frame, event.key)
                if chosen is members:
                    self._push_all(room, group, keyed)
                else:
                    self._push(chosen, keyed)

    def resync(
        self,
        channel: str | None,
        why: str,
        offset: int | None = None,
        id: str | None = None,  # noqa: A002 - the word of the wire
    ) -> None:
        """Events of a channel may be missing; None: of any channel."""
        at = self.history.resync(channel, why, offset, id, self.clock.seconds()).position
        for name in list(self._rooms) if channel is None else [channel]:
            room = self._rooms.get(name, {})
            for group in room.values():
                frame = group.encoder.resync(name, why, at)
                if frame:
                    self._push_all(room, group, (name, frame))

    def located(self, id: str, offset: int) -> None:  # noqa: A002
        """The log's copy of something released before has been met."""
        self.history.located(id, offset)

    def control(self, control: Control) -> None:
        """What Django knows of a user, or of anybody, may have changed: whom it concerns is suspended, or ends."""
        match control.what:
            case "outbox":
                return
            case "logout" | "disconnect":
                self._expel(control)
            case "revoke" if control.channel is not None:
                self._find_out(self._suspend(control.user, control.channel))
            case "identity":
                self._find_out(self._suspend(control.user))
            case _:  # a word of a later version may mean anything
                self._find_out(self._suspend(None))

    def _expel(self, control: Control) -> None:
        """Ends the connections of a user or of a session. Of many users' sessions this looks at each connection."""
        self.endings.note(control, self.clock.seconds())
        candidates = self._connections if control.user is None else self._users.get(control.user, {})
        for connection in list(candidates):
            snapshot = connection.standing.snapshot
            if snapshot is not None and concerns(control, snapshot):
                connection.expel(reason(control))

    def distrust(self, suspend: bool) -> None:
        """A control message may have been missed: everybody is identified anew, if `suspend` before he hears more."""
        if suspend:
            self._find_out(self._suspend(None))
            return
        self.remembered.forget(None)
        for connection in list(self._connections):
            if connection.is_open:
                self._look_again(connection)

    def _look_again(self, connection: Connection) -> None:
        self.reidentification.ask(connection, again=True)

    def start_over(self, why: str) -> None:
        """The log is another one: nothing of before can be replayed, and everybody is suspended."""
        self._log.warn("Everything may be missing, and all connections are told to reload: {why}.", why=why)
        suspended = self._suspend(None)
        self.history.start_over("restart")  # after everybody's feed index, so that everybody is told
        self._find_out(suspended)

    def _suspend(self, user: str | None, channel: str | None = None) -> list[Connection]:
        """Suspends a user's connections, None: all, before anything else is given to them.

        Args:
            user: whose.
            channel: only those that listen to this one, or would if they might.
        """
        self.epochs.note(user)
        self.deal()
        if user is None:
            if self._connections:
                self.reidentification.hold()
            concerned = sorted(self._connections, key=lambda each: each.user or "")  # a user's tabs wait together
        else:
            concerned = list(self._users.get(user, ()))
        if channel is not None:
            concerned = [connection for connection in concerned if connection.wants(channel)]
        for connection in concerned:
            connection.suspend()
        return concerned

    def _find_out(self, suspended: Iterable[Connection]) -> None:
        for connection in suspended:
            if connection.suspended:
                self.reidentification.ask(connection)

    def _push_all(self, room: Room, group: Group, frame: Frame) -> None:
        """A frame for a whole group; groups of one room have no connection in common."""
        if self._gathering is None and not self._dirty:
            self._gathering = room
        if self._gathering is room:
            group.frames.append(frame)
        else:
            self._push(group.members, frame)

    def push(self, members: Iterable[Connection], frame: Frame) -> None:
        """A frame for some connections, whatever else this turn brings them; `flush` follows."""
        self._push(members, frame)

    def _push(self, members: Iterable[Connection], frame: Frame) -> None:
        self.deal()
        # One list append per delivery, about 50 ns. Nothing else belongs in here.
        dirty = self._dirty
        for member in members:
            pending = member.out.pending
            if not pending:
                dirty.append(member)
            pending.append(frame)

    def deal(self) -> None:
        """What has gathered in groups goes to their connections, which gather each for itself until the turn ends.

        Also to be called before anything else is given to a connection within a turn, so that it comes behind.
        """
        room, self._gathering = self._gathering, None
        for group in () if room is None else room.values():
            if not group.frames:
                continue
            frames, group.frames = group.frames, []
            for member in group.members:
                if not member.out.pending:
                    self._dirty.append(member)
                member.out.pending.extend(frames)

    def flush(self) -> None:
        """One write per connection that has something: called when the feed has no more for this turn."""
        room, self._gathering = self._gathering, None
        for group in () if room is None else list(room.values()):
            frames, group.frames = group.frames, []
            if frames:
                self.writing = frames
                self._write(list(group.members), b"".join([frame[1] for frame in frames]), len(frames))
        if self._dirty:
            self._flush_each()
        self.latency.flushed()
        self.waiting.look(self._log_index.last)
        now = self.clock.seconds()
        if now - self._trimmed >= TRIM_SECONDS:
            self._trimmed = now
            self.history.trim(now)

    def _write(self, members: Collection[Connection], data: bytes, events: int) -> None:
        # The hot loop: one send to the kernel per connection, 5 us and more; 0.1 us is spent here.
        self.bytes += len(data) * len(members)
        for member in members:
            try:
                member.out.write(data)
            except Exception:
                self._drop_broken(member)
            else:
                self.delivered += events

    def _flush_each(self) -> None:
        dirty, self._dirty = self._dirty, []
        for member in dirty:
            events = len(member.out.pending)
            try:
                self.bytes += member.out.flush()
            except Exception:
                self._drop_broken(member)
            else:
                self.delivered += events

    def _drop_broken(self, member: Connection) -> None:
        # One broken connection must not take the others' event away.
        self._log.failure("A connection broke while it was written to; it is dropped.")
        member.abort()

    # -- connections ---------------------------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """How many have a transport, identified or not, ending or not."""
        return len(self._connections)

    @property
    def opened(self) -> int:
        """How many there were since the start."""
        return self._opened

    def everybody(self) -> list[Connection]:
        """All of them, now."""
        return list(self._connections)

    def register(self, connection: Connection) -> str:
        """A connection was opened; returns its name in logs and in `welcome`."""
        self._connections[connection] = None
        if self.sweep is not None:
            self.sweep.add(connection)
        self.visitors.enter(connection.place)
        self._opened += 1
        return f"c{self._opened}"

    def identified(self, connection: Connection, user: str | None) -> None:
        """Its user is known now."""
        if user is not None:
            self._users.setdefault(user, {})[connection] = None

    def unidentified(self, connection: Connection) -> None:
        """It is nobody's any more, or another one's from now on."""
        user = connection.user
        if user is not None and user in self._users:
            self._users[user].pop(connection, None)
            if not self._users[user]:
                del self._users[user]

    def is_crowded(self, connection: Connection, most: int, greeted: bool = False) -> bool:
        """Whether a connection is one too many of its user; several of one tab count once.

        Args:
            connection: the newest.
            most: how many there may be. Of those that may still say which tab they are there may be as many again.
            greeted: whether it has said so.
        """
        members = self._users.get(connection.user, {}) if connection.user is not None else {}
        if connection.greets and not greeted:
            return len(members) > 2 * most
        return len({member.tab or member for member in members if member.is_open or member is connection}) > most

    def answer(self, channel: str, since: str | None, after: int) -> Answer:
        """What is to be replayed of a channel.

        Args:
            channel: which one.
            since: the client's position; None: it has none.
            after: the feed index from which on it hears, where it has none.
        """
        return (
            self.history.after(channel, after) if since is None else self.history.since(channel, Position.parse(since))
        )

    def subscribe(
        self, connection: Connection, grants: Mapping[str, str], answers: Mapping[str, Answer], most: int
    ) -> dict[str, Granted]:
        """The connection listens from here on, and has pending what is to be replayed, in feed order.

        Args:
            connection: which one.
            grants: the audience of each channel.
            answers: what is to be replayed of each.
            most: bytes of the replay; with more it is told to reload, as `slow`.

        Returns:
            What it was granted, by channel, in the order of the grants.
        """
        self.deal()
        for channel, audience in grants.items():
            connection.channels[channel] = audience
            self._enter(connection, channel, audience)
        who = (connection.user, connection.tab)
        granted, frames = replay(connection.encoder, who, grants, answers, most)
        connection.out.pending.extend(frames)
        for each in granted.values():
            self.replayed += each.replayed
            if each.resync is not None:
                self.unrecoverable[each.resync] += 1
        self.look(connection)
        return granted

    def unsubscribe(self, connection: Connection, channel: str) -> None:
        """The connection does not listen to this channel any more; what is pending stays."""
        audience = connection.channels.pop(channel, None)
        if audience is not None:
            self.deal()
            self._leave(connection, channel, audience)
            self.look(connection, (channel,))

    def look(self, connection: Connection, afresh: Iterable[str] = ()) -> None:
        """What a connection takes part in has changed, or of these channels it knows nothing any more."""
        if self.presence is not None:
            self.presence.look(connection, afresh)

    def part(self, connection: Connection) -> None:
        """A connection leaves all rooms and keeps its channels, until it subscribes to them again."""
        self.deal()
        for channel, audience in connection.channels.items():
            self._leave(connection, channel, audience)

    def regroup(self, connection: Connection, encoder: Encoder, reframe: Callable[[bytes], bytes]) -> None:
        """Moves a connection to another wire format, when its transport changes.

        Args:
            connection: which one.
            encoder: of all that follows.
            reframe: puts joined frames of the old format, which wait for the connection, into the new one.
        """
        self.deal()
        rooms = {name: said for name, said in connection.channels.items() if self._leave(connection, name, said)}
        connection.encoder = encoder
        for channel, audience in rooms.items():
            self._enter(connection, channel, audience)
        connection.out.reframe(reframe)

    def _enter(self, connection: Connection, channel: str, audience: str) -> None:
        room = self._rooms.setdefault(channel, {})
        key = (connection.encoder, audience)
        if key not in room:
            room[key] = Group(channel, *key)
        room[key].members[connection] = None

    def _leave(self, connection: Connection, channel: str, audience: str) -> bool:
        room = self._rooms.get(channel)
        group = None if room is None else room.get((connection.encoder, audience))
        if room is None or group is None or connection not in group.members:
            return False  # it has left before: it is suspended
        del group.members[connection]
        if not group.members:
            del room[connection.encoder, audience]
            if not room:
                del self._rooms[channel]
        return True

    def silence(self, connection: Connection) -> None:
        """A connection is ending: it hears nothing more."""
        for channel in list(connection.channels):
            self.unsubscribe(connection, channel)
        self.reidentification.discard(connection)
        self.look(connection)
        if self.calls is not None:
            self.calls.forget(connection)
        self.unidentified(connection)

    def forget(self, connection: Connection) -> None:
        """Its transport has gone."""
        if self.sweep is not None:
            self.sweep.discard(connection)
        if connection in self._connections:
            del self._connections[connection]
            self.visitors.leave(connection.place)
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

    def _skipped(self, skip: Skip) -> set[Connection]:
        candidates = self._connections if skip.user is None else self._users.get(skip.user, ())
        return {member for member in candidates if is_skipped(skip, member.user, member.tab)}

    _log = Logger()
