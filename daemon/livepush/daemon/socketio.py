"""Socket.IO on one Engine.IO session: who is in which namespace. What a namespace does is its `Member`'s business.

A session that is in no namespace ends after `EngineSettings.connect` seconds; what a client may have in flight within a
packet is bounded by `livepush.wire.socketio`. Each CONNECT may cost a look-up, and one body of a POST holds hundreds of
them: a session ends that says CONNECT more than `MOST_CONNECTS` times in `CONNECT_SECONDS`, or while what it began in
that namespace before it left is still under way. The stock client does neither: it leaves only what it has entered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from livepush.daemon.engineio import EngineSession
from livepush.daemon.settings import Limits
from livepush.wire.errors import BadMessage
from livepush.wire.socketio import Decoder, Kind, Packet, encode

INVALID = "Invalid namespace"
MOST_CONNECTS = 10
CONNECT_SECONDS = 60.0


class Member(Protocol):
    """One client in one namespace."""

    @property
    def is_busy(self) -> bool:
        """Whether something that it has begun is under way, also after it has left."""

    def started(self, auth: Any) -> None:
        """It is in; what it sends now is the answer to CONNECT, whose object, or None, this is."""

    def resume(self) -> None:
        """What is written goes out."""

    def pause(self) -> None:
        """Nothing is to be written until `resume`."""

    def moved(self) -> None:
        """From here on what is written is WebSocket frames."""

    def heard(self) -> None:
        """The client has given a sign of life."""

    def event(self, name: str, arguments: list[Any], n: int | None) -> None:
        """The client emits; with a number it awaits an acknowledgement.

        Raises:
            BadMessage: the session ends.
        """

    def closed(self, reason: str) -> None:
        """The client has left, or the session is over."""


Accept = Callable[["SocketIO", str], Member | None]
"""Makes a member of a namespace; None: there is no such namespace, or it has closed the session."""


class SocketIO:
    """The application of one Engine.IO session.

    Args:
        session: below.
        accept: see there.
        limits: the bounds of a connection.
        clock: for the time until the first namespace.
        seconds: that time.

    Attributes:
        members: by namespace.
    """

    __slots__ = ("_accept", "_clock", "_connects", "_decoder", "_left", "_seconds", "_timer", "members", "session")

    def __init__(
        self, session: EngineSession, accept: Accept, limits: Limits, clock: IReactorTime, seconds: float
    ) -> None:
        self.session = session
        self._accept, self._clock, self._seconds = accept, clock, seconds
        self._decoder = Decoder(limits.message_depth, limits.message_bytes)
        self.members: dict[str, Member] = {}
        self._left: dict[str, Member] = {}  # that were busy when they did
        self._connects: list[float] = []  # when the last ones came
        self._timer: IDelayedCall | None = None
        self._expect()

    def send(self, packet: Packet) -> None:
        """A packet to the client."""
        for message in encode(packet):
            self.session.send(message if isinstance(message, bytes) else f"4{message}")

    def leave(self, namespace: str) -> None:
        """A member has gone, and is not told of anything more."""
        member = self.members.pop(namespace, None)
        if member is not None and member.is_busy:
            self._left[namespace] = member
        if not self.members and not self.session.is_closed:
            self._expect()

    # -- as `engineio.Application` -------------------------------------------------------------------------------------

    def message(self, data: str | bytes) -> None:
        """A packet, or a part of one."""
        packet = self._decoder.message(data)
        if packet is None:
            return
        member = self.members.get(packet.namespace)
        match packet.kind:
            case Kind.CONNECT:
                self._connect(packet, member)
            case _ if member is None:
                raise BadMessage("CONNECT comes first")
            case Kind.DISCONNECT:
                self.leave(packet.namespace)
                member.closed("the client has left the namespace")
            case Kind.EVENT:
                name, *arguments = packet.data
                member.event(name, arguments, packet.id)
            case _:
                pass  # an acknowledgement: nothing here asks for one

    def _connect(self, packet: Packet, member: Member | None) -> None:
        if member is not None:
            raise BadMessage("CONNECT came before")
        self._meter(packet.namespace)
        made = self._accept(self, packet.namespace)
        if made is None:
            self.send(Packet(Kind.CONNECT_ERROR, packet.namespace, {"message": INVALID}))
            return
        self._stop_timer()
        self.members[packet.namespace] = made
        made.started(packet.data)

    def _meter(self, namespace: str) -> None:
        left = self._left.pop(namespace, None)
        if left is not None and left.is_busy:
            raise BadMessage("CONNECT while the one before is under way")
        connects, now = self._connects, self._clock.seconds()
        if len(connects) == MOST_CONNECTS and now - connects.pop(0) < CONNECT_SECONDS:
            raise BadMessage(f"CONNECT comes at most {MOST_CONNECTS} times in {CONNECT_SECONDS:g} s")
        connects.append(now)

    def heard(self) -> None:
        """A packet has come."""
        for member in self.members.values():
            member.heard()

    def resume(self) -> None:
        """The transport takes what is written."""
        for member in list(self.members.values()):
            if self.session.is_writable:
                member.resume()

    def pause(self) -> None:
        """The transport takes nothing now."""
        for member in list(self.members.values()):
            member.pause()

    def moved(self) -> None:
        """The transport is a WebSocket now."""
        for member in list(self.members.values()):
            member.moved()

    def closed(self, reason: str) -> None:
        """The session is over."""
        self._stop_timer()
        members, self.members = self.members, {}
        for member in members.values():
            member.closed(reason)

    def _expect(self) -> None:
        self._stop_timer()
        self._timer = self._clock.callLater(self._seconds, self._give_up)

    def _give_up(self) -> None:
        self._timer = None
        self.session.close("no CONNECT in time")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
