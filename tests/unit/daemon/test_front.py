"""Who is let in, as every endpoint asks."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.front import FULL, NOT_READY, OVERLOADED, OVERLOADED_SECONDS, Front
from livepush.daemon.origin import OriginSettings
from livepush.daemon.settings import Limits
from tests.unit.daemon.doubles import Browser, FakeIdentity, make_client, make_hub


class FrontTests(SynchronousTestCase):
    """Refused before anything is begun, with the time to come back."""

    def test_closed(self) -> None:
        """Not while there is no broker, no room, or too many wait to be looked up; and again when that is over."""
        clock = Clock()
        hub = make_hub(clock)
        ready, overloaded = True, False
        front = Front(
            hub, FakeIdentity(), OriginSettings(), Limits(connections=1), clock, lambda: ready,
            is_overloaded=lambda: overloaded,
        )  # fmt: skip
        self.assertIsNone(front.closed_because(None))
        overloaded = True
        self.assertEqual(front.closed_because(None), (OVERLOADED, OVERLOADED_SECONDS))
        overloaded = False
        browser = Browser(hub, make_client())
        self.assertEqual(front.closed_because(None), (FULL, 5))
        ready = False
        self.assertEqual(front.closed_because(None), (NOT_READY, 1))
        browser.connection.abort()
        ready = True
        self.assertIsNone(front.closed_because(None))
