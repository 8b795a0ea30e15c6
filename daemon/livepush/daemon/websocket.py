"""WebSocket: the endpoint in front of Autobahn, and the Autobahn protocol that carries a `Connection`.

The endpoint answers what can be refused in HTTP, before the upgrade; whoever passes is handed to Autobahn, which speaks
RFC 6455. Events do not go through Autobahn's `sendMessage`: their frames are built once and written to the transport.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from livepush.daemon.connection import Connection
from livepush.daemon.heartbeat import Heartbeat
from livepush.daemon.interfaces import Identity
from livepush.daemon.origin import OriginSettings
from livepush.daemon.response import plain
from livepush.daemon.settings import Limits
from livepush.wire import native
from livepush.wire.closing import Close

if TYPE_CHECKING:
    from livepush.daemon.hub import Hub

CLOSE_SECONDS = 2.0
"""How long a client may take to answer a close frame before the connection is dropped."""


class NativeEncoder:
    """The native wire format, for the hub."""

    event = staticmethod(native.event_frame)
    resync = staticmethod(native.resync_frame)


@implementer(IPushProducer)
class WebSocketLink(WebSocketServerProtocol):
    """One WebSocket; the transport's producer, so that it hears when the peer does not read."""

    # Read by Autobahn before it copies its options to the instance: as an option TCP_NODELAY is never set.
    tcpNoDelay = True
    # Options stand in the class that `WebSocketEndpoint` makes. Copying 29 of them into every instance costs 2 KB a
    # connection, and pretty-printing them for a debug line that is off half of the handshake's time.
    CONFIG_ATTRS: list[str] = []

    transport: Any
    endpoint: WebSocketEndpoint
    cookies = ""
    connection: Connection | None = None
    _paused = False
    _dropping: IDelayedCall | None = None

    def onConnect(self, request: Any) -> str | None:
        """The subprotocol; the endpoint has refused all others."""
        return native.SUBPROTOCOL if native.SUBPROTOCOL in request.protocols else None

    def onOpen(self) -> None:
        """The upgrade is done."""
        cookies, self.cookies = self.cookies, ""
        self._forget_request()
        self.endpoint.opened(self, cookies)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """One message of the client."""
        if self.connection is None:
            return
        if isBinary:
            self.connection.close(Close.BAD_MESSAGE, "messages are text")
        else:
            self.connection.received(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection has ended, however it did."""
        if self._dropping is not None:
            self._dropping.cancel()
            self._dropping = None
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.closed()
            self.endpoint.heartbeat.discard(connection)

    def dataReceived(self, data: bytes) -> None:
        """Only received bytes count as a sign of life."""
        if self.connection is not None:
            self.connection.heard = True
        self._dataReceived(data)

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:
        """Every closing handshake that this side begins, Autobahn's own included, ends within a bounded time."""
        WebSocketServerProtocol.sendCloseFrame(self, code, reasonUtf8, isReply)
        if self.state == WebSocketProtocol.STATE_CLOSING and not isReply and self._dropping is None:
            self._dropping = self.endpoint.clock.callLater(CLOSE_SECONDS, self._drop)

    def dropConnection(self, abort: bool = False) -> None:
        """Ends TCP after what the transport holds; for a producer that is paused it would wait for ever."""
        self.transport.unregisterProducer()
        WebSocketServerProtocol.dropConnection(self, abort)

    def _drop(self) -> None:
        self._dropping = None
        self.dropConnection(abort=True)

    def _max_message_size_exceeded(self, msg_size: int, max_msg_size: int, reason: str) -> None:
        # Autobahn's hook, called at the header of the frame that would pass the limit; its own answer is 1009.
        if self.connection is not None:
            self.connection.end()
        self._fail_connection(Close.TOO_LARGE, f"a message is at most {max_msg_size} bytes")

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
        if self._paused:
            self.resume_reading()  # or the peer's answer would not be seen
        if self.state == WebSocketProtocol.STATE_OPEN:
            self.sendClose(int(code), reason)

    def abort(self) -> None:
        """Drops the connection at once."""
        self.dropConnection(abort=True)

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
        if self.connection is not None:
            self.connection.pauseProducing()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        if self.connection is not None:
            self.connection.resumeProducing()

    def stopProducing(self) -> None:
        """The transport has gone; `onClose` follows."""


class WebSocketEndpoint(Resource):
    """`/livepush/ws`."""

    isLeaf = True

    def __init__(
        self,
        hub: Hub,
        identity: Identity,
        origins: OriginSettings,
        limits: Limits,
        clock: IReactorTime,
        is_ready: Callable[[], bool],
    ) -> None:
        Resource.__init__(self)
        self.hub, self.identity, self.origins, self.limits = hub, identity, origins, limits
        self.clock, self.is_ready = clock, is_ready
        self.heartbeat = Heartbeat(limits.heartbeat_seconds, clock)
        self._encoder = NativeEncoder()
        self._factory = self._make_factory(clock)

    def _make_factory(self, clock: IReactorTime) -> WebSocketServerFactory:
        factory = WebSocketServerFactory(reactor=clock)
        factory.setProtocolOptions(
            allowedOrigins=["*"],  # the endpoint has decided
            allowNullOrigin=True,
            webStatus=False,
            versions=[13],
            utf8validateIncoming=True,
            maxFramePayloadSize=self.limits.message_bytes,
            maxMessagePayloadSize=self.limits.message_bytes,
            failByDrop=False,  # a close code, not a reset
            openHandshakeTimeout=0,  # the request is here already
            closeHandshakeTimeout=0,  # `sendCloseFrame` has a timer on our clock
            autoPingInterval=0,  # heartbeat
            trustXForwardedFor=0,
        )
        options = {name: getattr(factory, name) for name in WebSocketServerProtocol.CONFIG_ATTRS}
        options["tcpNoDelay"] = True
        # A plain function in a class would become a method.
        options = {name: staticmethod(value) if callable(value) else value for name, value in options.items()}
        factory.protocol = cast(
            type[WebSocketLink], type("WebSocketLink", (WebSocketLink,), {**options, "endpoint": self})
        )
        return factory

    def render(self, request: Request) -> bytes | int:
        """Refuses, or hands the transport over to Autobahn."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        link = cast(WebSocketLink, self._factory.buildProtocol(request.getClientAddress()))
        link.cookies = "; ".join(
            value.decode("latin-1") for value in request.requestHeaders.getRawHeaders(b"cookie", [])
        )
        _take_over(request, link)
        return NOT_DONE_YET

    def opened(self, link: WebSocketLink, cookies: str) -> None:
        """The upgrade is done: from here on there is a connection."""
        greets = link.websocket_protocol_in_use == native.SUBPROTOCOL
        connection = Connection(self.hub, self.identity, self._encoder, self.limits, link, greets)
        link.connection = connection
        self.heartbeat.add(connection)
        connection.opened(cookies)

    def _refusal(self, request: Request) -> bytes | None:
        headers = request.requestHeaders
        if request.method != b"GET":
            return plain(request, 405, "A WebSocket begins with GET.", {"Allow": "GET"})
        if request.clientproto != b"HTTP/1.1":
            return plain(request, 400, "A WebSocket needs HTTP/1.1.")
        upgrade = b",".join(headers.getRawHeaders(b"upgrade", [])).lower()
        if b"websocket" not in (token.strip() for token in upgrade.split(b",")):
            return plain(request, 426, "This address speaks WebSocket only.", {"Upgrade": "websocket"})
        origins = headers.getRawHeaders(b"origin", [])
        hosts = headers.getRawHeaders(b"host", [])
        if len(origins) > 1 or len(hosts) > 1:
            return plain(request, 400, "The request has more than one Origin or Host.")
        has_cookie = headers.hasHeader(b"cookie")
        origin, host = (values[0] if values else None for values in (origins, hosts))
        why = self.origins.verdict(origin, host, has_cookie, request.isSecure())
        if why is not None:
            return plain(request, 403, f"Refused: {why}")
        offered = [
            name.strip() for value in headers.getRawHeaders(b"sec-websocket-protocol", []) for name in value.split(b",")
        ]
        if offered and native.SUBPROTOCOL.encode() not in offered:
            return plain(request, 400, f"The subprotocol of this server is {native.SUBPROTOCOL}.")
        if not self.is_ready():
            return plain(request, 503, "This process is not ready: it has no broker.", {"Retry-After": "1"})
        if self.hub.connections >= self.limits.connections:
            return plain(request, 503, "This process has as many connections as it may.", {"Retry-After": "5"})
        return None


def _take_over(request: Request, link: WebSocketLink) -> None:
    """Makes the link the protocol of the request's transport, as `autobahn.twisted.resource` does.

    Unlike there the HTTP channel is unregistered as the transport's producer, so that it is freed (3.7 KB a
    connection) and the link hears about a full buffer itself.
    """
    channel: Any = request.channel
    transport, channel.transport = channel.transport, None
    transport.unregisterProducer()
    if isinstance(transport, ProtocolWrapper):
        transport.wrappedProtocol = link  # TLS in front of HTTP
    elif isinstance(transport.protocol, ProtocolWrapper):
        transport.protocol.wrappedProtocol = link
    else:
        transport.protocol = link
    cast(Any, link).makeConnection(transport)
    transport.registerProducer(link, True)
    # twisted.web pauses the transport while a request is served.
    transport.resumeProducing()
    head = [request.method + b" " + request.uri + b" HTTP/1.1"]
    head += [name + b": " + b",".join(values) for name, values in request.requestHeaders.getAllRawHeaders()]
    link.dataReceived(b"\r\n".join(head) + b"\r\n\r\n")
