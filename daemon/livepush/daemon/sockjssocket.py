"""A WebSocket that is a SockJS session of its own, framed or raw."""

from __future__ import annotations

from collections.abc import Mapping

from autobahn.websocket.protocol import WebSocketProtocol

from livepush.daemon.link import WebSocketLink
from livepush.daemon.sockjsapp import Application, Carrier, Make
from livepush.wire import sockjs
from livepush.wire.closing import Close
from livepush.wire.errors import BadMessage
from livepush.wire.frame import text_frame


class SockJSSocket(WebSocketLink):
    """One WebSocket.

    Attributes:
        make: makes the application above it.
        carrier: framed or raw.
        query: of the request.
        message_bytes: of one message of the client; an array may have twice as many.
    """

    make: Make
    carrier = Carrier.WEBSOCKET
    query: Mapping[str, str] = {}
    message_bytes: int
    app: Application | None = None

    def opened(self, cookies: str) -> None:
        """The upgrade is done."""
        if self.carrier is Carrier.WEBSOCKET:
            self.write(text_frame(sockjs.OPEN))
        self.app = self.make(self, cookies, self.query)
        self.__dict__.pop("query", None)  # no longer needed, and a connection may last for days
        self.app.opened()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """An array of messages, or raw a message."""
        if isBinary:
            self._violated(Close.BAD_MESSAGE, "messages are text")
            return
        messages = [payload]
        if self.carrier is Carrier.WEBSOCKET:
            if not payload:
                return  # as the protocol's test suite wants it
            try:
                messages = sockjs.read_array(payload, self.message_bytes, lone=True)
            except BadMessage as error:
                large = isinstance(error, sockjs.TooLarge)
                self._violated(Close.TOO_LARGE if large else Close.BAD_MESSAGE, error.why)
                return
        for message in messages:
            if self.app is None or self.state != WebSocketProtocol.STATE_OPEN:
                return
            self.app.message(message)

    def dataReceived(self, data: bytes) -> None:
        """Only received bytes count as a sign of life."""
        if self.app is not None:
            self.app.heard()
        self._dataReceived(data)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """It has ended, however it did."""
        WebSocketLink.onClose(self, wasClean, code, reason)
        self._end()

    def _violated(self, code: Close, reason: str) -> None:
        self._end()
        WebSocketLink.close(self, code, reason)

    def _end(self) -> None:
        app, self.app = self.app, None
        if app is not None:
            app.closed()

    def _max_message_size_exceeded(self, msg_size: int, max_msg_size: int, reason: str) -> None:
        self._fail_with(Close.TOO_LARGE, f"a message is at most {self.message_bytes} bytes")

    def _fail_with(self, code: Close, reason: str) -> None:
        self._end()
        self._fail_connection(code, reason)

    # -- as `sockjsapp.SockJSSession` ----------------------------------------------------------------------------------

    def send(self, text: str) -> None:
        """One message."""
        data = text.encode()
        self.write(sockjs.message_frame(data) if self.carrier is Carrier.WEBSOCKET else text_frame(data))

    def close(self, code: Close, reason: str) -> None:
        """Ends it, in SockJS's way and the WebSocket's."""
        self.finish(int(code), reason)

    def finish(self, code: int, reason: str) -> None:
        """Ends it, with any code."""
        if self._paused:
            self.resume_reading()  # or the peer's answer would not be seen
        if self.state == WebSocketProtocol.STATE_OPEN:
            if self.carrier is Carrier.WEBSOCKET:
                self.write(text_frame(sockjs.close_frame(code, reason)))
            self.sendClose(code, reason)

    def ping(self) -> None:
        """SockJS's sign of life, and the WebSocket's, which is answered."""
        if self.carrier is Carrier.WEBSOCKET:
            self.write(text_frame(sockjs.HEARTBEAT))
        self.sendPing()

    # -- as the transport's producer -----------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        WebSocketLink.pauseProducing(self)
        if self.app is not None:
            self.app.pause()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        WebSocketLink.resumeProducing(self)
        if self.app is not None:
            self.app.resume()
