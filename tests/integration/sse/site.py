"""A site with a page that has an EventSource, and the daemon's endpoint, told by `/control/...` what is to happen.

The page is served at one port and the stream at both, so that it can be of the page's origin or not.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.web.http import Request
from twisted.web.resource import Resource

from livepush.broker.envelope import Event
from livepush.daemon.front import Front
from livepush.daemon.hub import Hub
from livepush.daemon.origin import OriginSettings
from livepush.daemon.settings import Limits
from livepush.daemon.sse import SSEEndpoint
from livepush.daemon.transport import EagerServer
from livepush.daemon.web import Web
from livepush.wire.closing import Close
from tests.unit.daemon.doubles import FakeIdentity, make_client, make_hub

TEXTS = ['café \u2028 </script> "q"\r\n\r\nid: evil\n\ndata: {}\n\n', "x" * 65_536]
"""What must arrive as it is."""

PAGE = """<!doctype html><meta charset="utf-8"><title>stream</title><script>
const at = new URLSearchParams(location.search).get("at") || "";
const heard = [], ids = [];
const source = new EventSource(at + "/livepush/sse?channels=orders,news&tab=k3f9", { withCredentials: true });
source.onmessage = (event) => { heard.push(JSON.parse(event.data)); ids.push(event.lastEventId); };
let errors = 0;
source.onerror = () => { errors += 1; };
</script>"""


class Asked(SSEEndpoint):
    """Remembers the ids that browsers come back with."""

    def __init__(self, front: Front) -> None:
        super().__init__(front)
        self.ids: list[str | None] = []

    def render(self, request: Request) -> bytes | int:
        self.ids.append(request.getHeader("Last-Event-ID"))
        return super().render(request)


class StreamSite:
    """The site; `stop` ends it."""

    def __init__(self, reactor: Any) -> None:
        self.hub: Hub = make_hub(reactor)
        self.identity = FakeIdentity(make_client())
        self.ready = True
        self.number = 0
        root, livepush = Resource(), Resource()
        web = Web(root, reactor)
        self.ports = [reactor.listenTCP(0, web, interface="127.0.0.1") for _ in range(2)]
        for port in self.ports:
            port.transport = EagerServer
        origins = OriginSettings(allowed=(self.origin(0),))
        limits = Limits(heartbeat_seconds=3_600.0, retry_ms=(20, 100))
        self.endpoint = Asked(Front(self.hub, self.identity, origins, limits, reactor, lambda: self.ready))
        root.putChild(b"livepush", livepush)
        livepush.putChild(b"sse", self.endpoint)
        root.putChild(b"page", Page())
        root.putChild(b"control", Control(self))

    def origin(self, port: int) -> str:
        """Where one of the ports is."""
        return f"http://127.0.0.1:{self.ports[port].getHost().port}"

    def event(self, channel: str, **data: Any) -> None:
        """Something happens."""
        self.number += 1
        self.hub.event(Event(channel, "lock", {"number": self.number, **data}), f"a-{self.number}", 0, 100)
        self.hub.flush()

    async def stop(self) -> None:
        """Ends every stream and both ports."""
        for port in self.ports:
            await port.stopListening()
        await self.hub.close_all(Close.GOING_AWAY, "the test is over")


class Page(Resource):
    """Whoever comes gets a cookie that no script can read."""

    def render_GET(self, request: Request) -> bytes:
        """The page."""
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        # What a daemon's answers say; none of them is a page.
        request.responseHeaders.removeHeader(b"content-security-policy")
        request.setHeader("Set-Cookie", "sessionid=of-anna; HttpOnly; SameSite=Lax; Path=/")
        return PAGE.encode()


class Control(Resource):
    """The remote control."""

    isLeaf = True

    def __init__(self, site: StreamSite) -> None:
        Resource.__init__(self)
        self._site = site

    def render_GET(self, request: Request) -> bytes:
        """Does what the path says."""
        site, what = self._site, (request.path or b"").decode().removeprefix("/control/")
        if what in ("orders", "news", "user.9"):
            site.event(what)
        elif what == "texts":
            for text in TEXTS:
                site.event("orders", text=text)
        elif what == "beat":
            for connection in list(site.hub._connections):
                connection.beat()
        elif what == "cut":
            for connection in list(site.hub._connections):
                connection.abort()
        elif what == "end":
            for connection in list(site.hub._connections):
                connection.close(Close.GOING_AWAY, "going away")
        elif what in ("ready", "unready"):
            site.ready = what == "ready"
        elif what == "logout":
            site.identity.snapshot = None
        return json.dumps({"asked": site.endpoint.ids, "cookies": site.identity.asked}).encode()
