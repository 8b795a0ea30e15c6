"""`/livepush/ws`: the native messages over WebSocket, one text frame each."""

from __future__ import annotations

from typing import Any

from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from livepush.daemon import upgrade
from livepush.daemon.connection import Connection
from livepush.daemon.front import Front
from livepush.daemon.link import WebSocketLink
from livepush.daemon.response import plain
from livepush.wire.native import SUBPROTOCOL, NativeCodec, NativeEncoder

ENCODER = NativeEncoder()
CODEC = NativeCodec()


class NativeLink(WebSocketLink):
    """One WebSocket: with the subprotocol it greets, without it is a listener."""

    def onConnect(self, request: Any) -> str | None:
        """The subprotocol; the endpoint has refused all others."""
        return SUBPROTOCOL if SUBPROTOCOL in request.protocols else None

    def opened(self, cookies: str) -> None:
        """The upgrade is done: from here on there is a connection."""
        front, greets = self.front, self.websocket_protocol_in_use == SUBPROTOCOL
        self.serve(Connection(front.hub, front.identity, ENCODER, CODEC, front.limits, self, greets), cookies)


class WebSocketEndpoint(Resource):
    """`/livepush/ws`."""

    isLeaf = True

    def __init__(self, front: Front) -> None:
        Resource.__init__(self)
        self._front, self._links = front, upgrade.factory(front, NativeLink)

    def render(self, request: Request) -> bytes | int:
        """Refuses, or hands the transport over to Autobahn."""
        offered = upgrade.subprotocols(request)
        place = self._front.admission.place(request)
        refusal = upgrade.refusal(request, self._front, place)
        if refusal is not None:
            return refusal
        if offered and SUBPROTOCOL.encode() not in offered:
            return plain(request, 400, f"The subprotocol of this server is {SUBPROTOCOL}.")
        upgrade.take_over(request, self._links, place=place)
        return NOT_DONE_YET
