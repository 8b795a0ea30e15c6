"""A WebSocket that carries a `Connection`: an Autobahn protocol, and the base of all transports over WebSocket.

Events do not go through Autobahn's `sendMessage`: their frames are built once and written to the transport.
"""

from __future__ import annotations

from typing import Any, cast

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from livepush.daemon.connection import Connection
from livepush.daemon.front import Front
from livepush.daemon.ratelimit import Meter
from livepush.wire.closing import Close

CLOSE_SECONDS = 2.0
"""How long a client may take to answer a close frame, or to read what is left, before the connection is dropped."""


@implementer(IPushProducer)
class WebSocketLink(WebSocketServerProtocol):
    """One WebSocket; the transport's producer, so that it hears when the peer does not read."""

    # Read by Autobahn before it copies its options to the instance: as an option TCP_NODELAY is never set.
    tcpNoDelay = True
    # Options stand in the class that `upgrade.factory` makes. Copying 29 of them into every instance costs 2 KB a
    # connection, and pretty-printing them for a debug line that is off half of the handshake's time.
    CONFIG_ATTRS: list[str] = []

    transport: Any
    front: Front
    cookies = ""
    place: str | None = None
    connection: Connection | None = None
    _meter: Meter
    _paused = _gone = _flooded = _full = False
    _dropping: IDelayedCall | None = None

    def onConnect(self, request: Any) -> str | None:
        """The subprotocol, one of those offered; None: none. What must be refused the endpoint has refused."""
        return None

    def onOpen(self) -> None:
        """The upgrade is done."""
        self._meter = Meter(self.front.limits.frames)
        cookies, self.cookies = self.cookies, ""
        self._forget_request()
        self.opened(cookies)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """One message of the client."""
        if self.connection is None:
            return
        if isBinary:
            self.connection.close(Close.BAD_MESSAGE, "messages are text")
        else:
            self.connection.received(payload)

    def opened(self, cookies: str) -> None:
        """The upgrade is done: here a kind of link makes its `Connection` and calls `serve`."""
        raise NotImplementedError

    def serve(self, connection: Connection, cookies: str) -> None:
        """From here on this link carries a connection."""
        self.connection = connection
        self.front.heartbeat.add(connection)
        connection.opened(cookies)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection has ended, however it did."""
        self._gone = True
        if self._dropping is not None:
            self._dropping.cancel()
            self._dropping = None
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.closed()
            self.front.heartbeat.discard(connection)

    def onFrameBegin(self) -> None:
        """The header of a frame, of any kind: what needs no message costs, too."""
        WebSocketServerProtocol.onFrameBegin(self)
        if not self._flooded and not self._meter.take(self.front.clock.seconds()):
            self._stop_listening()
            self._fail_with(Close.TOO_MANY, "too many frames")

    def _stop_listening(self) -> None:
        """To a flood: its answer to the close frame may never come, and is not waited for."""
        self._flooded = True
        self.transport.pauseProducing()
        self.data = b""  # what is read already is not looked at

    def onPing(self, payload: bytes) -> None:
        """Answered, but not to who does not read the answers: only the last ping needs one (RFC 6455, 5.5.3)."""
        if not self._full:
            WebSocketServerProtocol.onPing(self, payload)

    def dataReceived(self, data: bytes) -> None:
        """Only received bytes count as a sign of life."""
        if self.connection is not None:
            self.connection.heard = True
        self._dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Its socket has gone."""
        self.front.admission.sockets.leave(None)
        WebSocketServerProtocol.connectionLost(self, reason)

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:
        """Every closing handshake that this side begins, Autobahn's own included, ends within a bounded time."""
        WebSocketServerProtocol.sendCloseFrame(self, code, reasonUtf8, isReply)
        if self.state == WebSocketProtocol.STATE_CLOSING and not isReply:
            self._drop_later()

    def dropConnection(self, abort: bool = False) -> None:
        """Ends TCP after what the transport holds; for a producer that is paused it would wait for ever.

        Autobahn aborts also after an orderly closing handshake, which could take from the client what it has not read.
        """
        self.transport.unregisterProducer()
        WebSocketServerProtocol.dropConnection(self, abort and not self.wasClean)
        self._drop_later()

    def _drop_later(self) -> None:
        # What is dropped is the transport, whatever it carried: only some kinds of link have a `connection`, and
        # Autobahn's state is "closed" already while TCP still waits for the peer to read.
        if self._dropping is None and not self._gone:
            self._dropping = self.front.clock.callLater(CLOSE_SECONDS, self._drop)

    def _drop(self) -> None:
        self._dropping = None
        self.abort()

    def _max_message_size_exceeded(self, msg_size: int, max_msg_size: int, reason: str) -> None:
        # Autobahn's hook, called at the header of the frame that would pass the limit; its own answer is 1009.
        self._fail_with(Close.TOO_LARGE, f"a message is at most {max_msg_size} bytes")

    def _fail_with(self, code: Close, reason: str) -> None:
        """Ends it amid a frame."""
        if self.connection is not None:
            self.connection.end()
        self._fail_connection(code, reason)

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        """What Autobahn takes for no handshake. Its own words repeat the client's, to him and in the log."""
        headers = [*(responseHeaders or ()), ("Content-Length", "0"), ("Connection", "close")]
        cast(Any, self).sendHttpErrorResponse(code, "Bad Request", headers)
        self.dropConnection(abort=False)

    def _forget_request(self) -> None:
        # 2 to 3 KB that Autobahn keeps for the life of the connection.
        for name in ("http_request_data", "http_headers", "http_request_params", "http_request_uri", "_wskey"):
            self.__dict__.pop(name, None)

    # -- as `connection.Link` ------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Complete frames, after what Autobahn itself has sent."""
        self.transport.write(data)

    def close(self, code: Close, reason: str) -> None:
        """The closing handshake; the connection is dropped when the peer does not answer in time."""
        if code is Close.TOO_MANY:
            self._stop_listening()
        elif self._paused:
            self.resume_reading()  # or the peer's answer would not be seen
        if self.state == WebSocketProtocol.STATE_OPEN:
            self.sendClose(int(code), reason)

    def abort(self) -> None:
        """Drops the connection at once, whatever was said before."""
        self.dropConnection(abort=True)
        self.transport.abortConnection()

    def ping(self) -> None:
        """A ping without payload."""
        self.sendPing()

    def pause_reading(self) -> None:
        """Leaves what the client sends in the kernel, and with TCP at the client."""
        self._paused = True
        self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Goes on reading."""
        self._paused = False
        self.transport.resumeProducing()

    # -- as the transport's producer -----------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._full = True
        if self.connection is not None:
            self.connection.pauseProducing()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        self._full = False
        if self.connection is not None:
            self.connection.resumeProducing()

    def stopProducing(self) -> None:
        """The transport has gone; `onClose` follows."""
