"""The stock sockjs-client in a real Chromium, on a page of another origin, over every transport that it still has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from livepush.broker.envelope import Event
from livepush.daemon.connection import Connection
from livepush.daemon.origin import OriginSettings
from livepush.wire.requests import Call
from tests.integration.sockjs.browse import TEXT
from tests.integration.sockjs.case import LEGACY, SockJSCase
from tests.servers.node import FOLDER, node

ROOT = Path(__file__).resolve().parents[3]
TRANSPORTS = (
    "websocket",
    "xhr-streaming",
    "xhr-polling",
    "eventsource",
    "jsonp-polling",
    "iframe-eventsource",
    "iframe-htmlfile",
    "iframe-xhr-polling",
)
PAGE = b"<!doctype html><meta charset=utf-8><title>page</title><script src=/static/sockjs.js></script>"


class Echo:
    """The Django side: the answer to a call is its data."""

    def begin(self, connection: Connection, call: Call) -> None:
        connection.answer(call.n, call.data)

    def forget(self, connection: Connection) -> None:
        pass


class ChromiumTests(SockJSCase):
    """What a browser makes of it."""

    timeout = 90

    def setUp(self) -> None:
        node()  # its packages hold the client
        script = (FOLDER / "node_modules/sockjs-client/dist/sockjs.min.js").read_bytes()
        self.reactor = cast(Any, reactor)
        root, static = Resource(), Resource()
        root.putChild(b"page", Data(PAGE, "text/html"))
        root.putChild(b"static", static)
        static.putChild(b"sockjs.js", Data(script, "text/javascript"))
        pages: Any = self.reactor.listenTCP(0, Site(root), interface="127.0.0.1")
        self.addCleanup(pages.stopListening)
        self.pages = f"http://127.0.0.1:{pages.getHost().port}"
        self.origins = OriginSettings(trusted=(self.pages,), hosts=("127.0.0.1",))  # the iframe's is the daemon's own
        self.client_address = f"{self.pages}/static/sockjs.js"
        super().setUp()
        self.hub.calls = Echo()

    def test_transports(self) -> Deferred[Any]:
        """Texts that once were broken on the way arrive unchanged in both directions, over each transport."""
        events = LoopingCall(self._publish)
        events.clock = self.reactor
        events.start(0.05, now=False)
        command = [sys.executable, "-m", "tests.integration.sockjs.browse", f"{self.pages}/page"]
        command += [f"http://127.0.0.1:{self.port}{LEGACY}", *TRANSPORTS]

        def work() -> None:
            run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=80, check=False)
            self.assertEqual(run.returncode, 0, run.stderr)
            fine = {"event": True, "answer": True, "code": 1000, "reason": "Normal closure"}
            wanted = {name: {**fine, "transport": name} for name in TRANSPORTS}
            self.maxDiff = None
            self.assertEqual(json.loads(run.stdout), wanted)

        done = self.client(work)
        done.addBoth(self._end, events)
        return done

    def _publish(self) -> None:
        self.published += 1
        self.hub.event(Event("orders", "lock", {"text": TEXT}), f"p-{self.published}", 0, 100)
        self.hub.flush()

    def _end(self, result: Any, events: LoopingCall) -> Any:
        events.stop()
        return result
