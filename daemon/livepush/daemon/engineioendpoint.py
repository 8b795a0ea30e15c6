"""The address of Engine.IO: polls, POSTs and WebSockets find their session here, each by its `sid` and by who sends it.

    request                                     answer
    -----------------------------------------   -----------------------------------------------------------------------
    GET  ?EIO=4&transport=polling               a new session: its first packet
    GET  ?EIO=4&transport=polling&sid=...       a poll: packets, when there are some
    POST ?EIO=4&transport=polling&sid=...       `ok`, when the packets of the body were taken
    GET  ?EIO=4&transport=websocket             with an upgrade to WebSocket: a new session on it
    GET  ?EIO=4&transport=websocket&sid=...     likewise: the session moves there when the client says so
    OPTIONS                                     204: what CORS allows
    an Origin that is not allowed               403
    anything else                               400 {"code", "message"}, upon which stock clients open a new session

A session belongs to who opened it: for a request with another session cookie it does not exist. Its id is made here
and can't be guessed. A session lives in one process: polls that come to another one are answered 400, and the client
opens a new session there, going on from its position. Behind a load balancer polling therefore needs affinity,
WebSocket none.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl

from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from livepush.daemon import cors, upgrade
from livepush.daemon.engineio import EngineSession, EngineSettings
from livepush.daemon.engineioanswer import refuse, respond
from livepush.daemon.engineioneighbours import Application
from livepush.daemon.engineiosocket import EngineSocket
from livepush.daemon.front import FULL, Front
from livepush.daemon.response import plain, unavailable
from livepush.wire import engineio
from livepush.wire.engineio import Phase, Refused

QUERY_FIELDS = 20


class EngineEndpoint(Resource):
    """One address, such as `/socket.io/`; it has at most as many sessions as the process may have connections.

    Args:
        front: of this process.
        make: the application of a new session.
        settings: its times.
    """

    isLeaf = True

    def __init__(
        self, front: Front, make: Callable[[EngineSession], Application], settings: EngineSettings | None = None
    ) -> None:
        Resource.__init__(self)
        self.sessions: dict[str, EngineSession] = {}
        self._front, self._make, self._settings = front, make, settings or EngineSettings()
        self._sockets = upgrade.factory(front, EngineSocket, endpoint=self)

    def render(self, request: Request) -> bytes | int:
        """Every method, every transport."""
        why = cors.refusal(request, self._front.origins)
        if why is not None:
            return plain(request, 403, f"Refused: {why}")
        if request.method == b"OPTIONS":
            return cors.preflight(request, "GET, POST")
        cors.allow(request)
        query = _query(request)
        sid = query.get("sid")
        session = None if sid is None else self._find(sid, request)
        place = self._front.admission.place(request) if sid is None else None
        closed = self._closed_because(place) if sid is None else None
        if query.get("transport") not in ("polling", "websocket"):
            refuse(request, 0)
        elif query.get("EIO") != engineio.VERSION:
            refuse(request, 5)
        elif sid is not None and session is None:
            refuse(request, 1)
        elif sid is None and request.method != b"GET":
            refuse(request, 2)
        elif closed is not None:
            return unavailable(request, *closed)
        elif query["transport"] == "websocket":
            return self._upgrade(request, session, place)
        else:
            self._polling(request, session, place)
        return NOT_DONE_YET

    def _polling(self, request: Request, session: EngineSession | None, place: str | None) -> None:
        try:
            if session is None:
                session = self.open(Phase.POLLING, upgrade.cookies_of(request), place)
                respond(request, session.handshake.encode())
            elif request.method == b"GET":
                session.polled(request)
            elif request.method == b"POST":
                session.posted(request)
            else:
                refuse(request, 3)
        except Refused:
            refuse(request, 3)

    def _upgrade(self, request: Request, session: EngineSession | None, place: str | None) -> bytes | int:
        if not request.requestHeaders.hasHeader(b"upgrade"):
            refuse(request, 3)
            return NOT_DONE_YET
        refusal = upgrade.refusal(request, self._front, place)
        if refusal is not None:
            return refusal
        upgrade.take_over(request, self._sockets, session=session, place=place)
        return NOT_DONE_YET

    def open(self, phase: Phase, cookies: str, place: str | None) -> EngineSession:
        """A new session, of a visitor who is at this place."""
        front = self._front
        visitor = front.identity.binding(cookies)
        session = EngineSession(self._settings, front.limits, front.clock, phase, visitor, cookies, self._forget)
        session.place = place
        front.admission.visitors.enter(place)
        self.sessions[session.sid] = session
        session.app = self._make(session)
        return session

    def _find(self, sid: str, request: Request) -> EngineSession | None:
        session = self.sessions.get(sid)
        if session is None or session.visitor != self._front.identity.binding(upgrade.cookies_of(request)):
            return None
        return session

    def _closed_because(self, place: str | None) -> tuple[str, int] | None:
        if len(self.sessions) >= self._front.limits.connections:
            return FULL, 5
        return self._front.closed_because(place)

    def _forget(self, session: EngineSession) -> None:
        if self.sessions.pop(session.sid, None) is not None:
            self._front.admission.visitors.leave(session.place)


def _query(request: Request) -> dict[str, str]:
    """Of the address alone: a form in the body says nothing here. The first of several fields counts."""
    text = request.uri.partition(b"?")[2].decode("latin-1")
    try:
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=QUERY_FIELDS)
    except ValueError:
        return {}
    return dict(reversed(fields))
