"""The one publisher of a process."""

from __future__ import annotations

import threading

from django.test import override_settings
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.backlog import Draft
from livepush.broker.envelope import Kind
from livepush.django.conf import BadSetting
from livepush.django.outlet import Outlet, make_publisher
from tests.recorder import Recorder


class OutletTests(SynchronousTestCase):
    def test_made_once(self) -> None:
        """However many threads publish first at the same moment, there is one publisher."""
        made: list[Recorder] = []
        together = threading.Barrier(8)

        def make() -> Recorder:
            made.append(Recorder())
            return made[-1]

        outlet = Outlet(make)
        found: list[object] = []

        def ask() -> None:
            together.wait()
            found.append(outlet.publisher())

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((len(made), len(found), len(set(map(id, found)))), (1, 8, 1))

    def test_lazy(self) -> None:
        """Nothing is made before something is published."""
        Outlet(lambda: self.fail("made"))

    def test_flush(self) -> None:
        """Waits for what was published, and makes no publisher where nothing was."""
        Outlet(lambda: self.fail("made")).flush(0)
        recorder = Recorder()
        outlet = Outlet(lambda: recorder)
        outlet.publisher().publish(Draft(Kind.EVENT, "event.a.b", b"{}", "a"))
        self.assertEqual(outlet.flush(0), 1)
        recorder.confirm()
        self.assertEqual(outlet.flush(0), 0)

    def test_flush_wants_seconds(self) -> None:
        """What is no number of seconds is refused, also where nothing was published."""
        for timeout in ("5", None, True):
            error = self.assertRaises(TypeError, Outlet(Recorder).flush, timeout)
            self.assertIn("timeout: must be a number of seconds", str(error))

    def test_replaced(self) -> None:
        """A test's recorder takes the place of the publisher, and gives it back."""
        real, recorder = Recorder(), Recorder()
        outlet = Outlet(lambda: real)
        with outlet.replaced(recorder):
            self.assertIs(outlet.publisher(), recorder)
        self.assertIs(outlet.publisher(), real)

    def test_from_settings(self) -> None:
        """The settings decide broker and bounds; making it starts nothing."""
        with override_settings(LIVEPUSH_BROKER_URL="embedded:5699", LIVEPUSH_BACKLOG_MESSAGES=7):
            publisher = make_publisher()
        self.assertEqual((publisher.settings.url.port, publisher.settings.messages), (5699, 7))
        with override_settings(LIVEPUSH_FLUSH_SECONDS=0.5):
            self.assertEqual(make_publisher().settings.flush_seconds, 0.5)
        self.assertEqual(publisher.state, "unused")

    def test_faulty_settings(self) -> None:
        """A faulty setting is told where the first event is published, and again at the second."""
        outlet = Outlet(make_publisher)
        with override_settings(LIVEPUSH_BROKER_URL="nope"):
            self.assertRaises(BadSetting, outlet.publisher)
            self.assertRaises(BadSetting, outlet.publisher)
