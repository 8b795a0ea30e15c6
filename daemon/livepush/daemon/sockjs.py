"""The addresses of SockJS at one prefix; `livepush.wire.sockjs` tells them all.

A session over HTTP is found by its id, which the client has made up, and by who sends the request: for one with
another session cookie it does not exist (404), so that nothing is gained by knowing an id. A session lives in one
process: what is sent to a session of another one is answered 404, and the client ends; a poll there opens a new
session, whose `o` the client takes as the end of its own. Behind a load balancer the HTTP transports therefore need
affinity, by address, by a cookie or by the path's second part; WebSockets need none.

Every request is judged by its Origin (`cors`), a WebSocket before its upgrade. The legacy transports are loaded by tags
that send none: there the Referer says which page asks, and where there is a cookie it must say so.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlsplit

from twisted.web.http import CACHED, datetimeToString
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from livepush.daemon import cors, upgrade
from livepush.daemon.front import FULL, Front
from livepush.daemon.origin import OriginSettings, only_value
from livepush.daemon.response import plain, unavailable
from livepush.daemon.sockjsapp import Carrier, Make, SockJSSettings
from livepush.daemon.sockjsreceiver import Receiver
from livepush.daemon.sockjssession import HttpSession
from livepush.daemon.sockjssocket import SockJSSocket
from livepush.wire import sockjshttp
from livepush.wire.sockjshttp import BadCallback, Kind

QUERY_FIELDS = 20
NEVER_STORED = "no-store, no-cache, no-transform, must-revalidate, max-age=0"
STORED = f"public, max-age={cors.YEAR_SECONDS}"

_TOKENS = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}(?:, ?[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}){0,15}", re.ASCII)
_COOKIE = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_ANCESTOR = re.compile(r"https?://(?:\*\.)?[a-z0-9._-]+(?::[0-9]{1,5})?", re.ASCII)


class SockJSEndpoint(Resource):
    """All addresses under one prefix; it has at most as many sessions as the process may have connections.

    Args:
        front: of this process.
        make: the application of a new session.
        settings: what is served.
    """

    isLeaf = True

    def __init__(self, front: Front, make: Make, settings: SockJSSettings | None = None) -> None:
        Resource.__init__(self)
        self.sessions: dict[str, HttpSession] = {}
        self._front, self._make, self._settings = front, make, settings or SockJSSettings()
        most = front.limits.message_bytes
        common = {"make": staticmethod(make), "message_bytes": most}
        self._raw = upgrade.factory(front, SockJSSocket, carrier=Carrier.RAW, **common)
        # A text of quotes alone is twice as long in an array.
        array = 2 * most + 64
        sizes = {"maxFramePayloadSize": array, "maxMessagePayloadSize": array}
        self._sockets = upgrade.factory(front, SockJSSocket, **sizes, **common)
        client = self._settings.client
        self._iframe = None if client is None or not self._settings.legacy else sockjshttp.iframe(client)

    def render(self, request: Request) -> bytes | int:
        """Every method, every address."""
        request.defaultContentType = None
        request.setHeader("X-Content-Type-Options", "nosniff")
        parts = [part.decode("utf-8", "replace") for part in request.postpath or ()]
        match parts:
            case [] | [""]:
                request.setHeader("Content-Type", "text/plain; charset=UTF-8")
                return b"Welcome to SockJS!\n"
            case ["info"]:
                answered = self._on(request, "GET")
                return self._info(request) if answered is None else answered
            case ["websocket"] if self._settings.websocket:
                return self._upgrade(request, raw=True)
            case [name] if self._iframe is not None and sockjshttp.is_iframe(name):
                return self._show_iframe(request, *self._iframe)
            case [server, sid, "websocket"] if _are_parts(server, sid) and self._settings.websocket:
                return self._upgrade(request, raw=False)
            case [server, sid, name] if _are_parts(server, sid):
                receiver, sender = sockjshttp.RECEIVERS.get(name), sockjshttp.SENDERS.get(name)
                kind = receiver or sender
                if kind is None or (kind.legacy and not self._settings.legacy):
                    return _empty(request, 404)
                answered = self._on(request, kind.method, kind.legacy)
                if answered is not None:
                    return answered
                return self._send(request, sid, kind) if kind is sender else self._receive(request, sid, kind)
        return _empty(request, 404)

    def _on(self, request: Request, method: str, legacy: bool = False) -> bytes | None:
        """What ends a request before it is looked at: its method, its Origin; else headers are set, and None."""
        options = request.method == b"OPTIONS"
        if not options and request.method != method.encode():
            request.setHeader("Allow", method)
            return _empty(request, 405)
        refused = _legacy_refusal if legacy and not options else cors.refusal
        why = refused(request, self._front.origins)
        if why is not None:
            return plain(request, 403, f"Refused: {why}")
        request.setHeader("Cache-Control", NEVER_STORED)
        if options:
            cors.preflight(request, f"OPTIONS, {method}")
            self._store(request)
            # By bytes: twisted.web decodes the values of a name that is a text, and fails where they are no UTF-8.
            asked = (request.getHeader(b"access-control-request-headers") or b"").decode("latin-1")
            if not asked:
                request.responseHeaders.removeHeader("Access-Control-Allow-Headers")
            elif _TOKENS.fullmatch(asked):
                request.setHeader("Access-Control-Allow-Headers", asked)
        else:
            cors.allow(request)
        if self._settings.any_origin and not request.requestHeaders.hasHeader("origin"):
            request.setHeader("Access-Control-Allow-Origin", "*")
        if self._settings.jsessionid and request.postpath != [b"info"]:
            request.setHeader("Set-Cookie", f"JSESSIONID={_affinity(request)}; path=/")
        return b"" if options else None

    # -- what needs no session -----------------------------------------------------------------------------------------

    def _info(self, request: Request) -> bytes:
        closed = self._front.closed_because(self._front.admission.place(request))
        if closed is not None:  # or the client would try one transport after the other
            return unavailable(request, *closed)
        request.setHeader("Content-Type", "application/json; charset=UTF-8")
        settings = self._settings
        return sockjshttp.info(settings.websocket, settings.cookie_needed, secrets.randbits(32))

    def _show_iframe(self, request: Request, page: bytes, tag: str) -> bytes:
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader("Allow", "GET")
            return _empty(request, 405)
        self._store(request)
        if self._settings.any_origin:
            request.responseHeaders.removeHeader(b"content-security-policy")
        else:
            request.setHeader("Content-Security-Policy", f"frame-ancestors {_ancestors(self._front.origins)}")
        if request.setETag(tag.encode()) is CACHED:
            return b""
        request.setHeader("Content-Type", "text/html; charset=UTF-8")
        return page

    def _store(self, request: Request) -> None:
        request.setHeader("Cache-Control", STORED)
        request.setHeader("Expires", datetimeToString(time.time() + cors.YEAR_SECONDS))

    # -- WebSocket -----------------------------------------------------------------------------------------------------

    def _upgrade(self, request: Request, raw: bool) -> bytes | int:
        if request.method != b"GET":
            request.setHeader("Allow", "GET")
            return _empty(request, 405)
        if b"websocket" not in _tokens(request, b"upgrade"):
            return plain(request, 400, 'Can "Upgrade" only to "WebSocket".')
        if b"upgrade" not in _tokens(request, b"connection"):
            return plain(request, 400, '"Connection" must be "Upgrade".')
        place = self._front.admission.place(request)
        refusal = upgrade.refusal(request, self._front, place)
        if refusal is not None:
            return refusal
        upgrade.take_over(request, self._raw if raw else self._sockets, query=_query(request), place=place)
        return NOT_DONE_YET

    # -- sessions over HTTP --------------------------------------------------------------------------------------------

    def _receive(self, request: Request, sid: str, kind: Kind) -> bytes | int:
        query = _query(request)
        try:
            callback = sockjshttp.read_callback(query.get("c", query.get("callback"))) if kind.legacy else ""
        except BadCallback as error:
            return plain(request, 500, error.why, {"Cache-Control": NEVER_STORED})
        cookies = upgrade.cookies_of(request)
        visitor = self._front.identity.binding(cookies)
        session = self.sessions.get(sid)
        if session is not None and session.visitor != visitor:
            return _empty(request, 404)
        if session is None:
            place = self._front.admission.place(request)
            closed = self._closed_because(place)
            if closed is not None:
                return unavailable(request, *closed)
            session = self._open(sid, visitor, cookies, query, place)
        session.receive(Receiver(request, kind, callback, self._settings.response_bytes))
        return NOT_DONE_YET

    def _open(self, sid: str, visitor: str, cookies: str, query: Mapping[str, str], place: str | None) -> HttpSession:
        front = self._front

        def forget() -> None:
            if self.sessions.get(sid) is session:
                del self.sessions[sid]

        session = HttpSession(self._settings, front.limits.message_bytes, front.clock, visitor, forget, place)
        self.sessions[sid] = session
        session.app = self._make(session, cookies, query)
        return session

    def _send(self, request: Request, sid: str, kind: Kind) -> bytes | int:
        session = self.sessions.get(sid)
        if session is None or session.visitor != self._front.identity.binding(upgrade.cookies_of(request)):
            return _empty(request, 404)
        session.post(request, kind)
        return NOT_DONE_YET

    def close(self) -> None:
        """Drops all sessions over HTTP, and what is remembered of them."""
        for session in list(self.sessions.values()):
            session.abort()

    def _closed_because(self, place: str | None) -> tuple[str, int] | None:
        if len(self.sessions) >= self._front.limits.connections:
            return FULL, 5
        return self._front.closed_because(place)


def _legacy_refusal(request: Request, origins: cors.Origins) -> str | None:
    """As `cors.refusal`, for requests that a tag of a page makes."""
    headers = request.requestHeaders
    origin = only_value(headers.getRawHeaders(b"origin"))
    if origin is None:
        origin = _origin_of(only_value(headers.getRawHeaders(b"referer")))
    same = only_value(headers.getRawHeaders(b"sec-fetch-site")) == b"same-origin"
    has_cookie = headers.hasHeader(b"cookie") and not same
    return origins.verdict(origin, only_value(headers.getRawHeaders(b"host")), has_cookie, request.isSecure())


def _origin_of(referer: bytes | None) -> bytes | None:
    try:
        found = None if referer is None else urlsplit(referer)
    except ValueError:
        return None
    return None if found is None else found.scheme + b"://" + found.netloc


def _ancestors(origins: cors.Origins) -> str:
    """Whose pages may show the iframe, in the words of a Content-Security-Policy."""
    named: tuple[str, ...] = ()
    if isinstance(origins, OriginSettings):
        named = origins.trusted if origins.allowed is None else origins.allowed
    return " ".join(["'self'", *(text.lower() for text in named if _ANCESTOR.fullmatch(text.lower()))])


def _affinity(request: Request) -> str:
    try:
        found = SimpleCookie(upgrade.cookies_of(request)).get("JSESSIONID")
    except CookieError:
        return "dummy"
    return found.value if found is not None and _COOKIE.fullmatch(found.value) else "dummy"


def _tokens(request: Request, name: bytes) -> list[bytes]:
    values = b",".join(request.requestHeaders.getRawHeaders(name, [])).lower()
    return [token.strip() for token in values.split(b",")]


def _query(request: Request) -> dict[str, str]:
    """Of the address alone: a form in the body says nothing here. The first of several fields counts."""
    text = request.uri.partition(b"?")[2].decode("latin-1")
    try:
        fields = parse_qsl(text, max_num_fields=QUERY_FIELDS)
    except ValueError:
        return {}
    return dict(reversed(fields))


def _are_parts(*texts: str) -> bool:
    return all(sockjshttp.is_part(text) for text in texts)


def _empty(request: Request, status: int) -> bytes:
    request.setResponseCode(status)
    return b""
