"""The namespace `/` of livepush's own Socket.IO address: a `Connection` whose transport is an Engine.IO session."""

from __future__ import annotations

from functools import partial
from typing import Any

from livepush.daemon.connection import Connection
from livepush.daemon.engineio import EngineSession, EngineSettings
from livepush.daemon.engineioendpoint import EngineEndpoint
from livepush.daemon.front import Front
from livepush.daemon.socketio import Member, SocketIO
from livepush.wire import engineio, socketiopush
from livepush.wire.closing import Close
from livepush.wire.errors import BadMessage
from livepush.wire.requests import Request
from livepush.wire.socketio import Kind, Packet

NAMESPACE = "/"
_DISCONNECT = "41"


class SocketIOLink:
    """One client: the link of its connection, and the member of the namespace."""

    __slots__ = ("_front", "_greeted", "_session", "_socketio", "connection")

    def __init__(self, front: Front, socketio: SocketIO) -> None:
        self._front, self._socketio, self._session = front, socketio, socketio.session
        self._greeted = False
        encoder = socketiopush.POLLING if self._session.is_polling else socketiopush.WEBSOCKET
        self.connection = Connection(front.hub, front.identity, encoder, _CODEC, front.limits, self)

    def started(self, auth: Any) -> None:
        """It is a member now: asks for what CONNECT asks for."""
        connection = self.connection
        self._front.heartbeat.add(connection)
        if not self._session.is_writable:
            connection.pauseProducing()
        connection.opened(self._session.cookies)
        try:
            hello = socketiopush.hello_of(auth)
        except BadMessage as error:
            connection.close(Close.BAD_MESSAGE, error.why)
        else:
            connection.request(hello)

    place = None  # its session is counted

    # -- as `interfaces.Link` ------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Packets in the form of the session's transport."""
        self._greeted = True  # the first that is written is the answer to CONNECT, or comes with it
        self._session.write(data)

    def close(self, code: Close, reason: str) -> None:
        """Tells the client whether to come back, after what was written.

        Who is not to come back is told so, and closes the transport himself: if it closed here, the stock client would
        notice that first, and come back. Without a namespace the session soon ends in any case.
        """
        if code.reconnects:
            self._session.close(reason, code=int(code))
            return
        self._session.send(_DISCONNECT if self._greeted else socketiopush.refusal(code, reason))
        self._socketio.leave(NAMESPACE)
        self.closed(reason)

    def abort(self) -> None:
        """Drops the session."""
        self._session.close("aborted")

    def ping(self) -> None:
        """The session has pings of its own."""

    def pause_reading(self) -> None:
        """No more requests."""
        self._session.pause_reading()

    def resume_reading(self) -> None:
        """Goes on."""
        self._session.resume_reading()

    # -- as `socketio.Member` ------------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether the user is being looked up, or a request is under way."""
        return self.connection.is_busy

    def resume(self) -> None:
        """A poll waits, or the peer of the WebSocket reads."""
        self.connection.resumeProducing()

    def pause(self) -> None:
        """No poll waits, or the peer does not read: what comes now stays with the connection."""
        self.connection.pauseProducing()

    def moved(self) -> None:
        """The session has moved to a WebSocket, and what waits with it."""
        self.connection.hub.regroup(self.connection, socketiopush.WEBSOCKET, engineio.reframe)

    def heard(self) -> None:
        """A sign of life."""
        self.connection.heard = True

    def event(self, name: str, arguments: list[Any], n: int | None) -> None:
        """A request of the page."""
        if name == socketiopush.LOGIN:
            if n is not None:
                self._socketio.send(Packet(Kind.ACK, NAMESPACE, [{"ok": True}], n))
            return
        try:
            request = socketiopush.request_of(name, arguments, n)
        except BadMessage as error:
            self.connection.close(Close.BAD_MESSAGE, error.why)
        else:
            self.connection.request(request)

    def closed(self, reason: str) -> None:
        """The client has left, or the session is over."""
        self._front.heartbeat.discard(self.connection)
        self.connection.closed()
        if not self._session.is_closed:
            # A request may have been under way. A POST that waited for it is read within this call.
            self._session.resume_reading()


class _NoCodec:
    """The session reads packets itself, and asks with `Connection.request`."""

    def parse(self, payload: bytes, depth: int) -> Request | None:
        """Never called."""
        raise BadMessage("no message of this protocol")


_CODEC = _NoCodec()


def accept(front: Front, socketio: SocketIO, namespace: str) -> Member | None:
    """A member of `/`; while there can be no new connection the session ends, and the client comes back to a 503."""
    if namespace != NAMESPACE:
        return None
    closed = front.closed_because(None)  # its session is counted
    if closed is not None:
        socketio.session.close(closed[0], code=int(Close.BUSY))
        return None
    return SocketIOLink(front, socketio)


def endpoint(front: Front, settings: EngineSettings | None = None) -> EngineEndpoint:
    """`/socket.io/`: one namespace, whose members are connections of the hub."""
    limits = front.limits
    times = settings or EngineSettings(interval=limits.heartbeat_seconds, connect=limits.hello_seconds)

    def make(session: EngineSession) -> SocketIO:
        return SocketIO(session, partial(accept, front), limits, front.clock, times.connect)

    return EngineEndpoint(front, make, times)
