"""A stock EventSource in a real Chromium: what only a browser can prove."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.integration.browser_client.browse import CHROMIUM
from tests.integration.browser_client.test_chromium import Browsing
from tests.integration.sse.site import TEXTS, StreamSite

ROOT = Path(__file__).resolve().parents[3]


class EventSourceTests(TestCase):
    """One browser a test."""

    timeout = 90

    def setUp(self) -> None:
        if not Path(CHROMIUM).exists():
            self.fail(f"{CHROMIUM} is not there: `make test` installs what the tests need")
        self.browsing = Browsing()

    def browse(self, scenario: str) -> Deferred[Any]:
        """Runs a scenario; what it has seen."""
        site = StreamSite(reactor)
        self.addCleanup(self.stop, site)
        module = "tests.integration.sse.browse"
        command = [sys.executable, "-m", module, scenario, site.origin(0), site.origin(1)]
        launcher = [sys.executable, "-c", "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])", *command]
        spawner: Any = reactor
        spawner.spawnProcess(self.browsing, sys.executable, launcher, env=os.environ, path=str(ROOT))
        return self.browsing.done

    async def stop(self, site: StreamSite) -> None:
        """Ends the browser, then the site."""
        self.browsing.end()
        await site.stop()

    async def test_comes_back(self) -> None:
        """A page gets everything once and in order, however its stream ended, and each text as it was."""
        seen = await self.browse("comes_back")
        events = [message["data"] for message in seen["heard"] if message["op"] == "event"]
        self.assertEqual([data["number"] for data in events], list(range(1, 9)))
        self.assertEqual([data["text"] for data in events if "text" in data], TEXTS)
        self.assertEqual([each is None for each in seen["asked"]], [True, False, False])
        self.assertEqual([m["code"] for m in seen["heard"] if m["op"] == "close"], [4000])

    async def test_another_origin(self) -> None:
        """A page of an allowed origin reads with its HttpOnly cookie, and resumes."""
        seen = await self.browse("of_another_origin")
        self.assertEqual([m["op"] for m in seen["heard"]], ["welcome", "event", "event", "welcome"])
        self.assertEqual(seen["cookies"], ["sessionid=of-anna"] * 2)

    async def test_a_foreign_page(self) -> None:
        """A page of another origin is refused, and does not ask again."""
        seen = await self.browse("of_a_foreign_page")
        self.assertEqual((seen["heard"], len(seen["asked"]), seen["cookies"]), ([], 1, []))

    async def test_heartbeats(self) -> None:
        """They move the id that the page comes back with, and it is told nothing of them."""
        seen = await self.browse("heartbeats")
        self.assertEqual([m["op"] for m in seen["heard"]], ["welcome", "close", "welcome"])
        first, second = seen["asked"]
        self.assertIsNone(first)
        self.assertEqual(seen["ids"][1], second, "the last one that the browser had")
        self.assertNotEqual(seen["ids"][0], second)

    async def test_logged_out(self) -> None:
        """A page whose login has ended gives up."""
        seen = await self.browse("logged_out")
        self.assertEqual((seen["state"], len(seen["asked"])), (2, 2))

    async def test_not_ready(self) -> None:
        """A page that came too early comes back by itself."""
        seen = await self.browse("not_ready")
        self.assertEqual([m["op"] for m in seen["heard"]], ["welcome"])
        self.assertGreater(len(seen["asked"]), 3)
