"""A small site with a WebSocket, made to look at what a browser with livepush.js does.

It speaks just enough of livepush.v1 (`hello`, `welcome`, `event`), remembers each hello and each request, and is told
by `/control/...` to push, to close and to be gone. Pages are served under `default-src 'self'`, and the WebSocket also
at the site's own port, so that the policy covers it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.defer import Deferred
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.static import File

STATIC = Path(__file__).resolve().parents[3] / "djangosite/livepush/django/static/livepush"
TYPES = {".js": "text/javascript", ".mjs": "text/javascript"}

PAGE = """<!doctype html><meta charset="utf-8"><title>shop</title>
<script type="application/json" id="livepush-config">{config}</script>{scripts}
<form id="plain" method="post" action="/orders/lock"><input name="order" value="5"><button id="send">Lock</button>
<button id="away" formaction="{elsewhere}/orders/away">Away</button></form>
<form id="upload" method="post" action="/orders/lock" enctype="multipart/form-data"><button>Upload</button></form>
<form id="foreign" method="post" action="{elsewhere}/orders/foreign"><button>Foreign</button></form>
<a id="next" href="/next">next</a>"""
CLASSIC = '<script src="/static/livepush.js" defer></script><script src="/page.js" defer></script>'
MODULE = '<script type="module" src="/page.mjs"></script>'
PAGE_JS = """
addEventListener("securitypolicyviolation", (event) => heard.push(["violation", event.violatedDirective]));
globalThis.heard = [];
livepush.on("orders", "*", (data, event) => heard.push([event.type, data]));
livepush.onStatus((status) => heard.push(["status", status.state]));
livepush.onResync((channel, why) => heard.push(["resync", channel, why]));
addEventListener("pageshow", (event) => event.persisted && heard.push(["restored"]));
"""
PAGE_MJS = 'import livepush, { on, onStatus, onResync, tab } from "/static/livepush.mjs";\n' + PAGE_JS.replace(
    "livepush.on", "on"
)


class Socket(WebSocketServerProtocol):
    """One page's connection."""

    factory: Push

    def onConnect(self, request: object) -> str:
        return "livepush.v1"

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.factory.hellos.append(json.loads(payload))
        self.factory.welcomed.append(self)
        granted = {"orders": {"audience": "client", "replayed": 0}}
        welcome = {"op": "welcome", "n": 0, "user": 7, "heartbeat": 25, "retry": [20, 100], "channels": granted}
        self.sendMessage(json.dumps(welcome).encode())

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        if self in self.factory.welcomed:
            self.factory.welcomed.remove(self)
        if not self.factory.welcomed:
            waiting, self.factory.waiting = self.factory.waiting, []
            for each in waiting:
                each.callback(None)


class Push(WebSocketServerFactory):
    """What the pages said, and the connections that were welcomed."""

    protocol = Socket  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.setProtocolOptions(autoPingInterval=0, closeHandshakeTimeout=1)
        self.hellos: list[object] = []
        self.welcomed: list[Socket] = []
        self.waiting: list[Deferred[None]] = []

    def deserted(self) -> Deferred[None]:
        """When the last page has gone."""
        done: Deferred[None] = Deferred()
        if self.welcomed:
            self.waiting.append(done)
        else:
            done.callback(None)
        return done


class Shop(Resource):
    """Pages, forms and the remote control. A browser knows it by two origins: 127.0.0.1 and localhost."""

    isLeaf = False

    def __init__(self, reactor: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.requests: list[dict[str, object]] = []
        self.push = Push()
        self._reactor = reactor
        self.daemon = self._listen_push(0)
        static = File(str(STATIC))
        static.contentTypes = {**static.contentTypes, **TYPES}
        self.putChild(b"static", static)
        livepush = Resource()
        livepush.putChild(b"ws", WebSocketResource(self.push))
        self.putChild(b"livepush", livepush)
        self.site = reactor.listenTCP(0, Site(self), interface="127.0.0.1")

    @property
    def port(self) -> int:
        return int(self.site.getHost().port)

    def _listen_push(self, port: int) -> Any:
        site = Resource()
        livepush = Resource()
        site.putChild(b"livepush", livepush)
        livepush.putChild(b"ws", WebSocketResource(self.push))
        return self._reactor.listenTCP(port, Site(site), interface="127.0.0.1")

    def getChild(self, path: bytes, request: Request) -> Resource:
        return Answer(self)

    async def stop(self) -> None:
        """Ends every connection and both ports."""
        await self.go_away()
        await self.site.stopListening()

    async def go_away(self) -> None:
        """The daemon is gone: nothing listens, every connection is cut."""
        self.daemon_port = int(self.daemon.getHost().port)
        await self.daemon.stopListening()
        gone = self.push.deserted()
        for each in list(self.push.welcomed):
            each.dropConnection(abort=True)
        await gone

    def come_back(self) -> None:
        """It listens again where it did."""
        self.daemon = self._listen_push(self.daemon_port)


class Answer(Resource):
    """Everything that is no file."""

    isLeaf = True

    def __init__(self, shop: Shop) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._shop = shop

    def render(self, request: Request) -> bytes | int:
        path = request.path.decode()
        if path.startswith("/control/"):
            return self._control(request, path.removeprefix("/control/"))
        pages = {"/page": (CLASSIC, "push"), "/module": (MODULE, "push"), "/both": (CLASSIC + MODULE, "push")}
        pages |= {"/strict": (CLASSIC, "site"), "/strict-module": (MODULE, "site")}
        if path in pages:
            return self._page(request, *pages[path])
        if path in ("/page.js", "/page.mjs"):
            request.setHeader("Content-Type", "text/javascript")
            return (PAGE_JS if path == "/page.js" else PAGE_MJS).encode()
        if path.startswith("/orders/"):
            return self._order(request, path)
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        return b"<!doctype html><title>other</title><p>Nothing of livepush is here."

    def _page(self, request: Request, scripts: str, where: str) -> bytes:
        url = "/livepush/ws" if where == "site" else f"ws://127.0.0.1:{self._shop.daemon.getHost().port}/livepush/ws"
        policy = "default-src 'self'" if where == "site" else "default-src 'self'; connect-src *; form-action *"
        config = json.dumps({"url": url, "retry": [20, 100]})
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        request.setHeader("Content-Security-Policy", policy)
        elsewhere = f"http://localhost:{self._shop.port}"
        return PAGE.format(config=config, scripts=scripts, elsewhere=elsewhere).encode()

    def _order(self, request: Request, path: str) -> bytes:
        header = request.getHeader("X-Livepush-Tab")
        body = request.content.read().decode() if request.content is not None else ""
        method = request.method.decode()
        self._shop.requests.append({"method": method, "path": path, "header": header, "body": body})
        request.setHeader("Access-Control-Allow-Origin", "*")
        if path == "/orders/lock" and method == "POST":
            request.redirect(b"/page")
            request.setResponseCode(303)
        return b""

    def _control(self, request: Request, what: str) -> bytes | int:
        shop = self._shop
        if what == "log":
            return json.dumps({"requests": shop.requests, "hellos": shop.push.hellos}).encode()
        if what == "push":
            event = {"op": "event", "channel": "orders", "type": "lock", "data": {"order": 5}, "id": "a-1", "ts": 1}
            event["id"] = f"a-{(request.args or {})[b'n'][0].decode()}"
            for each in shop.push.welcomed:
                each.sendMessage(json.dumps(event).encode())
        elif what == "end":
            for each in list(shop.push.welcomed):
                each.sendClose(4401, "identity")
        elif what == "go":
            done = Deferred.fromCoroutine(shop.go_away())
            done.addCallback(lambda _: request.finish())
            return NOT_DONE_YET
        elif what == "return":
            shop.come_back()
        return b""
