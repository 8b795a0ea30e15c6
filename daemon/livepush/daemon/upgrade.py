"""From HTTP to WebSocket: what can be refused before the upgrade, and who has the transport after it.

refusal       the answer in HTTP to who may not; None: he may
factory       makes links: Autobahn protocols of one kind, with its options in their class
take_over     the request's transport becomes the link's; Autobahn answers 101
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.http import Request

from livepush.daemon.front import Front
from livepush.daemon.response import plain, unavailable

_HANDSHAKE = (
    b"Host",
    b"Upgrade",
    b"Connection",
    b"Sec-WebSocket-Key",
    b"Sec-WebSocket-Version",
    b"Sec-WebSocket-Protocol",
    b"Sec-WebSocket-Extensions",
)

L = TypeVar("L", bound=WebSocketServerProtocol)


def refusal(request: Request, front: Front, place: str | None) -> bytes | None:
    """The body of a refusal, whose status and headers are set; None: the handshake may go on.

    Args:
        request: the handshake.
        front: of this process.
        place: where the client is, if he is to be counted there.
    """
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
    why = front.origins.verdict(origin, host, has_cookie, request.isSecure())
    if why is not None:
        return plain(request, 403, f"Refused: {why}")
    closed = front.closed_because(place)
    if closed is not None:
        return unavailable(request, *closed)
    return None


def subprotocols(request: Request) -> list[bytes]:
    """What the client offers."""
    values = request.requestHeaders.getRawHeaders(b"sec-websocket-protocol", [])
    return [name.strip() for value in values for name in value.split(b",")]


def cookies_of(request: Request) -> str:
    """The Cookie header, in one piece."""
    return "; ".join(value.decode("latin-1") for value in request.requestHeaders.getRawHeaders(b"cookie", []))


def factory(front: Front, link: type[L], **attributes: Any) -> WebSocketServerFactory:
    """Makes links of one kind.

    Args:
        front: of this process.
        link: a `livepush.daemon.link.WebSocketLink`.
        attributes: of all links of this factory, such as the endpoint that they belong to.
    """
    made = WebSocketServerFactory(server="", reactor=front.clock)  # the 101 does not name Autobahn and its version
    made.setProtocolOptions(
        allowedOrigins=["*"],  # the endpoint has decided
        allowNullOrigin=True,
        webStatus=False,
        versions=[13],
        utf8validateIncoming=True,
        maxFramePayloadSize=front.limits.message_bytes,
        maxMessagePayloadSize=front.limits.message_bytes,
        failByDrop=False,  # a close code, not a reset
        openHandshakeTimeout=0,  # the request is here already
        closeHandshakeTimeout=0,  # `sendCloseFrame` has a timer on our clock
        autoPingInterval=0,  # heartbeat
        trustXForwardedFor=0,
    )
    options = {name: getattr(made, name) for name in WebSocketServerProtocol.CONFIG_ATTRS}
    options["tcpNoDelay"] = True
    # A plain function in a class would become a method.
    options = {name: staticmethod(value) if callable(value) else value for name, value in options.items()}
    made.protocol = cast(type[L], type(link.__name__, (link,), {**options, "front": front, **attributes}))
    return made


def take_over(request: Request, links: WebSocketServerFactory, **attributes: Any) -> None:
    """Makes a new link the protocol of the request's transport.

    Autobahn is shown what it needs of the request, and nothing that somebody else could mean by it.

    Args:
        request: is over for twisted.web: return NOT_DONE_YET.
        links: of `factory`.
        attributes: of this link, set before Autobahn sees the handshake.
    """
    link: Any = links.buildProtocol(request.getClientAddress())
    link.cookies = cookies_of(request)
    for name, value in attributes.items():
        setattr(link, name, value)
    hand_over(request, link)
    head = [request.method + b" " + request.uri + b" HTTP/1.1"]
    for header in _HANDSHAKE:
        values = request.requestHeaders.getRawHeaders(header)
        head += [] if values is None else [header + b": " + b",".join(values)]
    link.dataReceived(b"\r\n".join(head) + b"\r\n\r\n")


def hand_over(request: Request, link: Any) -> None:
    """Makes a protocol that of the request's transport, and its producer, as `autobahn.twisted.resource` does.

    Unlike there the HTTP channel is unregistered as the transport's producer, so that it is freed (3.7 KB a
    connection) and the link hears about a full buffer itself.
    """
    channel: Any = request.channel
    transport, channel.transport = channel.transport, None
    channel.hand_over()
    transport.unregisterProducer()
    if isinstance(transport, ProtocolWrapper):
        transport.wrappedProtocol = link  # TLS in front of HTTP
    elif isinstance(transport.protocol, ProtocolWrapper):
        transport.protocol.wrappedProtocol = link
    else:
        transport.protocol = link
    link.makeConnection(transport)
    transport.registerProducer(link, True)
    # twisted.web pauses the transport while a request is served.
    transport.resumeProducing()
