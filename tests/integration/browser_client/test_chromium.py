"""livepush.js in a real Chromium: what only a browser can prove."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.integration.browser_client.browse import CHROMIUM
from tests.integration.browser_client.shop import Shop

ROOT = Path(__file__).resolve().parents[3]


class Browsing(ProcessProtocol):
    """A run of `browse.py`: what it printed when it is over."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.errors = bytearray()
        self.done: Deferred[Any] = Deferred(self._cancel)

    def outReceived(self, data: bytes) -> None:
        self.output += data

    def errReceived(self, data: bytes) -> None:
        self.errors += data

    def processEnded(self, reason: Failure) -> None:
        done, self.done = self.done, Deferred()
        try:
            done.callback(json.loads(self.output))
        except ValueError:
            done.errback(AssertionError(self.errors.decode(errors="replace") or str(reason.value)))

    def _cancel(self, _: object) -> None:
        self.end()

    def end(self) -> None:
        """Ends it with all its children: it leads a session of its own."""
        if self.transport is not None and self.transport.pid:
            try:
                os.killpg(self.transport.pid, signal.SIGKILL)
            except (ProcessLookupError, ProcessExitedAlready):
                return


class ChromiumTests(TestCase):
    """One browser a test, against a site of its own."""

    timeout = 90

    def setUp(self) -> None:
        if not Path(CHROMIUM).exists():
            self.fail(f"{CHROMIUM} is not there: `make test` installs what the tests need")
        self.shop = Shop(reactor)
        self.addCleanup(self.stop)
        self.browsing = Browsing()

    async def stop(self) -> None:
        self.browsing.end()
        await self.shop.stop()

    def browse(self, scenario: str) -> Deferred[Any]:
        origin = f"http://127.0.0.1:{self.shop.port}"
        command = [sys.executable, "-m", "tests.integration.browser_client.browse", scenario, origin]
        launcher = [sys.executable, "-c", "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])", *command]
        reactor.spawnProcess(self.browsing, sys.executable, launcher, env=os.environ, path=str(ROOT))
        return self.browsing.done

    async def test_forms(self) -> None:
        """Every way to post a form carries the tab, and the page behind the redirect is the same tab."""
        seen = await self.browse("forms")
        tab = seen["tabs"][0]
        self.assertEqual(seen["tabs"], [tab] * 4)
        self.assertEqual([hello["tab"] for hello in seen["hellos"]], [tab] * 4)
        plain, upload, direct = (request["body"] for request in seen["requests"])
        self.assertEqual(plain, f"order=5&livepush_tab={tab}")
        self.assertEqual(direct, plain)
        self.assertIn(f'name="livepush_tab"\r\n\r\n{tab}\r\n', upload)
        self.assertEqual(seen["kept"], 0)

    async def test_foreign_forms(self) -> None:
        """A form that goes to another origin does not carry the tab."""
        seen = await self.browse("foreign_forms")
        paths = [request["path"] for request in seen["requests"]]
        self.assertEqual(paths, ["/orders/foreign", "/orders/away"])
        self.assertEqual([request["body"] for request in seen["requests"]], ["", "order=5"])

    async def test_duplicate(self) -> None:
        """A duplicate of a tab, with a copy of its storage, is another tab; a reload is the same."""
        seen = await self.browse("duplicate")
        self.assertEqual(seen["probe"], "copied")
        self.assertNotEqual(seen["copy"], seen["tab"])
        self.assertEqual(seen["reloaded"], seen["tab"])

    async def test_requests(self) -> None:
        """fetch and XMLHttpRequest carry the tab to the own origin; to another they go as they are."""
        seen = await self.browse("requests")
        marks = [(request["method"], request["path"], request["header"]) for request in seen["requests"]]
        tab = seen["tab"]
        own = [("POST", "/orders/fetch", tab), ("POST", "/orders/request", tab), ("POST", "/orders/xhr", tab)]
        foreign = [("POST", "/orders/fetch", None), ("POST", "/orders/xhr", None)]
        self.assertEqual(marks, [*own, ("GET", "/orders/get", None), *foreign])

    async def test_server_goes(self) -> None:
        """A page comes back when the daemon does, says that it has to reload, and hears each event once."""
        seen = await self.browse("server_goes")
        events = [entry for entry in seen["heard"] if entry[0] != "status"]
        lock = ["lock", {"order": 5}]
        self.assertEqual(events, [lock, ["return"], ["resync", "orders", "restart"], lock])
        self.assertEqual([hello.get("channels") for hello in seen["hellos"]], [None, {"orders": None}])

    async def test_refused(self) -> None:
        """A close code 44xx is the end: the page says why and does not come back."""
        seen = await self.browse("refused")
        self.assertEqual(seen["status"], {"state": "closed", "code": 4401, "reason": "identity", "final": True})
        self.assertEqual(len(seen["hellos"]), 1)

    async def test_strict(self) -> None:
        """Under `default-src 'self'` all works, and the browser complains about nothing."""
        for seen in await self.browse("strict"):
            self.assertEqual(seen["complaints"], [])
            self.assertIn(["lock", {"order": 5}], seen["heard"])
            self.assertNotIn("violation", [entry[0] for entry in seen["heard"]])

    async def test_module(self) -> None:
        """The module is the same livepush, with one connection even where the classic script is on the page too."""
        for seen in await self.browse("module"):
            self.assertEqual(seen, {"same": True, "connections": 1})

    async def test_back_button(self) -> None:
        """The browser keeps the page in its cache; it comes back as the same tab, connects and reloads."""
        seen = await self.browse("back_button")
        self.assertEqual(seen["left"], ["livepush.tab"])
        self.assertIn(["restored"], seen["heard"])
        self.assertEqual(seen["back"], seen["tab"])
        self.assertEqual(seen["kept"], 0)
