"""One Engine.IO session: the state machine of `livepush.wire.engineio` with its timers, its queue and its transports.

What leaves is written when it can be: while a poll waits, or while the peer of the WebSocket reads. The application is
told when that begins and ends (`resume`, `pause`), so that events stay with the connection, which can take them back
and tell their loss; one turn's write is one answer to a poll. Packets of the session's own (pings, answers of the
protocol above) wait in the queue here, bounded by `Limits.outbound_bytes`, over which the session ends.

A POST that comes while the application wants nothing more waits, one at a time. Packets are counted (`Limits.frames`),
those too that no application hears of: over it the session ends.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.http import Request

from livepush.daemon.engineioanswer import refuse, respond
from livepush.daemon.engineioneighbours import Application, Socket
from livepush.daemon.ratelimit import Meter
from livepush.daemon.settings import Limits
from livepush.wire import engineio
from livepush.wire.closing import Close
from livepush.wire.engineio import Left, Message, Phase, Ponged, Probed, Refused, Session, Upgraded
from livepush.wire.errors import BadMessage


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The times of a session, seconds.

    Attributes:
        interval: between two pings.
        timeout: how long a pong may take; then the session is over.
        connect: how long the protocol above may be without a namespace, and an upgrade may take.
    """

    interval: float = 25.0
    timeout: float = 20.0
    connect: float = 10.0


class EngineSession:
    """One session.

    Attributes:
        sid: its name, which nobody can guess.
        visitor: whoever opened it; requests of anybody else do not find it.
        cookies: the Cookie header of the request that opened it.
        app: the protocol above.
        place: where whoever opened it is.
    """

    __slots__ = (
        "_blocked",
        "_clock",
        "_deaf",
        "_due",
        "_forget",
        "_limits",
        "_meter",
        "_parked",
        "_poll",
        "_queue",
        "_queued",
        "_settings",
        "_socket",
        "_timer",
        "_upgrade",
        "_upgrade_timer",
        "app",
        "cookies",
        "machine",
        "place",
        "sid",
        "visitor",
    )

    app: Application

    def __init__(
        self,
        settings: EngineSettings,
        limits: Limits,
        clock: IReactorTime,
        phase: Phase,
        visitor: str,
        cookies: str,
        forget: Callable[[EngineSession], None],
    ) -> None:
        self.sid = secrets.token_urlsafe(18)
        self.visitor, self.cookies = visitor, cookies
        self.machine = Session(phase)
        self.place: str | None = None
        self._settings, self._limits, self._clock, self._forget = settings, limits, clock, forget
        self._meter = Meter(limits.frames)
        self._queue: list[bytes] = []
        self._queued = 0
        self._poll: Request | None = None
        self._parked: Request | None = None
        self._socket: Socket | None = None  # that carries it
        self._upgrade: Socket | None = None  # that wants to
        self._upgrade_timer: IDelayedCall | None = None
        self._blocked = self._deaf = False
        self._timer: IDelayedCall | None = None
        self._due = clock.seconds()
        self._set_timer(self._due + settings.interval, self._ping)

    @property
    def handshake(self) -> str:
        """Its first packet."""
        settings, most = self._settings, self._limits.message_bytes
        return engineio.open_packet(self.sid, self.machine.phase, settings.interval, settings.timeout, most)

    @property
    def is_polling(self) -> bool:
        """Whether what is written is pieces of HTTP bodies."""
        return self.machine.phase is Phase.POLLING or self.machine.phase is Phase.UPGRADING

    @property
    def is_writable(self) -> bool:
        """Whether what is written now goes out."""
        return self._poll is not None if self._socket is None else not self._blocked

    @property
    def is_closed(self) -> bool:
        """Whether it is over."""
        return self.machine.phase is Phase.CLOSED

    # -- out -----------------------------------------------------------------------------------------------------------

    def send(self, packet: str | bytes) -> None:
        """One packet, text with its type; it waits in the queue if it must."""
        if self.is_closed:
            return
        self._enqueue(packet)
        self._flush()

    def write(self, data: bytes) -> None:
        """Messages encoded for the present transport; to be called between `resume` and `pause` only."""
        if self._socket is not None:
            self._socket.write(data)  # the hot path
        elif not self.is_closed:
            self._queue.append(data)
            self._flush()

    def _enqueue(self, packet: str | bytes) -> None:
        data = engineio.piece(packet) if self._socket is None else engineio.frame(packet)
        self._queue.append(data)
        self._queued += len(data)
        if self._queued > self._limits.outbound_bytes:
            self._queue.clear()
            self.close("the client does not read")

    def _flush(self) -> None:
        if not self._queue or not self.is_writable:
            return
        data, self._queue, self._queued = b"".join(self._queue), [], 0
        if self._socket is not None:
            self._socket.write(data)
            return
        self._answer(data[:-1])
        if not self.is_closed:
            self.app.pause()

    def _answer(self, body: bytes) -> None:
        poll, self._poll = self._poll, None
        self.machine.answered()
        if poll is not None:
            respond(poll, body)

    # -- HTTP ----------------------------------------------------------------------------------------------------------

    def polled(self, request: Request) -> None:
        """A GET, which is answered when there is something.

        Raises:
            Refused: not here, not now.
        """
        try:
            at_once = self.machine.poll()
        except BadMessage as error:
            self.close(error.why)
            raise Refused from None
        if at_once:
            respond(request, engineio.NOOP.encode())
            return
        self._poll = request
        request.notifyFinish().addErrback(self._poll_lost, request)
        self.app.resume()
        self._flush()

    def _poll_lost(self, _: Any, request: Request) -> None:
        if self._poll is request:
            self._poll = None
            self.machine.answered()
            self.close("the poll was aborted")

    def posted(self, request: Request) -> None:
        """A POST, answered when its packets were taken.

        Raises:
            Refused: not here, or its packets are none.
        """
        if self._deaf:
            if self._parked is not None:
                self.close("a second POST beside the first")
                raise Refused
            self._parked = request
            request.notifyFinish().addErrback(self._unpark, request)
            return
        content = request.content
        most = self._limits.message_bytes
        body = b"" if content is None else content.read(most + 1)
        if len(body) > most:
            self.close("the body is too large")
            raise Refused
        try:
            for event in self.machine.posted(body):
                self._handle(event)
        except BadMessage as error:
            self.close(error.why)
            raise Refused from None
        respond(request, b"ok")

    def _unpark(self, _: Any, request: Request) -> None:
        if self._parked is request:
            self._parked = None

    # -- WebSocket -----------------------------------------------------------------------------------------------------

    def opened(self, socket: Socket) -> None:
        """It begins on a WebSocket."""
        self._socket = socket
        self.send(self.handshake)

    def attach(self, socket: Socket) -> None:
        """A WebSocket wants to carry it.

        Raises:
            Refused: another one does.
        """
        self.machine.attach()
        if self._upgrade is not None:
            raise Refused
        self._upgrade = socket
        self._upgrade_timer = self._clock.callLater(self._settings.connect, self._give_up)

    def _give_up(self) -> None:
        self._upgrade_timer = None
        if self._upgrade is not None:
            self._upgrade.finish(1000, "the upgrade takes too long")

    def framed(self, socket: Socket, message: str | bytes) -> None:
        """A message of one of its WebSockets."""
        if self.is_closed or (socket is not self._socket and socket is not self._upgrade):
            return
        try:
            self._handle(self.machine.framed(message))
        except BadMessage as error:
            self.close(error.why)

    def detached(self, socket: Socket) -> None:
        """One of its WebSockets has closed."""
        if socket is self._upgrade:
            self._upgrade = None
            self._stop_upgrade_timer()
            self.machine.detached()
        elif socket is self._socket:
            self.close("the transport has closed")

    def block(self, socket: Socket) -> None:
        """The peer of its WebSocket does not read."""
        if socket is not self._socket:
            return  # nothing but `3probe` was written to it
        self._blocked = True
        if not self.is_closed:
            self.app.pause()

    def unblock(self, socket: Socket) -> None:
        """It reads again."""
        if socket is not self._socket or not self._blocked:
            return
        self._blocked = False
        self._flush()
        if not self._blocked and not self.is_closed:
            self.app.resume()

    # -- what clients say ----------------------------------------------------------------------------------------------

    def _handle(self, event: engineio.Event) -> None:
        if self.is_closed:
            return
        if not self._meter.take(self._clock.seconds()):
            self.close("too many packets", code=int(Close.TOO_MANY))
            return
        self.app.heard()
        match event:
            case Message():
                self.app.message(event.data)
            case Ponged():
                self._set_timer(self._clock.seconds() + self._settings.interval, self._ping)
            case Left():
                self.close("the client has left", engineio.NOOP)
            case Probed():
                if self._upgrade is not None:
                    self._upgrade.write(engineio.frame(engineio.PROBED))
                self._answer(engineio.NOOP.encode())
                self.app.pause()
            case Upgraded():
                self._move()

    def _move(self) -> None:
        self._socket, self._upgrade = self._upgrade, None
        self._stop_upgrade_timer()
        if self._deaf and self._socket is not None:
            self._socket.pause_reading()
        self._queue = [engineio.reframe(data) for data in self._queue]
        self._flush()
        self.app.moved()
        if not self._blocked and not self.is_closed:
            self.app.resume()

    def pause_reading(self) -> None:
        """The application wants no more messages than those that have come."""
        self._deaf = True
        if self._socket is not None:
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        """It goes on."""
        self._deaf = False
        if self._socket is not None:
            self._socket.resume_reading()
        parked, self._parked = self._parked, None
        if parked is not None:
            try:
                self.posted(parked)
            except Refused:
                refuse(parked, 3)

    # -- time, and the end ---------------------------------------------------------------------------------------------

    def _ping(self) -> None:
        self._timer = None
        # From when the ping was due: a reactor that is late with it gives the client no more time.
        self._set_timer(self._due + self._settings.timeout, self._silent)
        self.send(engineio.PING)

    def _silent(self) -> None:
        self._timer = None
        self.close("ping timeout")

    def _set_timer(self, due: float, call: Callable[[], None]) -> None:
        self._stop_timer()
        self._due = due
        if not self.is_closed:
            self._timer = self._clock.callLater(max(0.0, due - self._clock.seconds()), call)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_upgrade_timer(self) -> None:
        if self._upgrade_timer is not None:
            self._upgrade_timer.cancel()
            self._upgrade_timer = None

    def close(self, reason: str, last: str = engineio.CLOSE, code: int = 1000) -> None:
        """Ends it. What is in the queue leaves with it, if a poll waits or the WebSocket takes it.

        Args:
            reason: for the application, and for the close frame.
            last: the packet that a poll is answered with.
            code: of the close frame.
        """
        if self.is_closed:
            return
        self._stop_timer()
        self._stop_upgrade_timer()
        if self._socket is not None:
            self._flush()
        self.machine.close()
        if self._socket is not None:
            self._socket.finish(code, reason)
        self._answer(b"".join([*self._queue, last.encode()]))
        self._queue.clear()
        if self._upgrade is not None:
            self._upgrade.finish(1000, "the session is over")
        parked, self._parked = self._parked, None
        if parked is not None:
            refuse(parked, 1)
        self._forget(self)
        self.app.closed(reason)
