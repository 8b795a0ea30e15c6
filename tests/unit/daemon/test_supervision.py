"""systemd is told the truth, in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.notify import Notifier
from livepush.daemon.supervision import Supervision


class FakeNotifier:
    """Keeps what it is to tell."""

    def __init__(self, watchdog_seconds: float | None) -> None:
        self.watchdog_seconds = watchdog_seconds
        self.told: list[dict[str, Any]] = []

    def tell(self, **values: str | int) -> None:
        """Keeps it."""
        self.told.append(values)


class FakeDaemon:
    """Ready when told so."""

    def __init__(self) -> None:
        self.ready, self.said = False, "not ready: broker: connecting"
        self.callbacks: list[Callable[[], None]] = []

    def watch(self, callback: Callable[[], None]) -> None:
        """Keeps it."""
        self.callbacks.append(callback)

    def is_ready(self) -> bool:
        """As told."""
        return self.ready

    def status(self) -> str:
        """As told."""
        return self.said

    def becomes(self, ready: bool, said: str) -> None:
        """It changes."""
        self.ready, self.said = ready, said
        for callback in self.callbacks:
            callback()


class SupervisionTests(SynchronousTestCase):
    """A service with a watchdog of 3 s."""

    def setUp(self) -> None:
        self.clock, self.daemon, self.notifier = Clock(), FakeDaemon(), FakeNotifier(3.0)
        notifier = cast(Notifier, self.notifier)
        self.supervision = Supervision(notifier, self.daemon, self.clock, 14.5, lambda: 77.5)

    def told(self, name: str) -> list[Any]:
        """All values of a name, and forgets what was told."""
        found = [each[name] for each in self.notifier.told if name in each]
        self.notifier.told.clear()
        return found

    def test_ready_when_ready(self) -> None:
        """Not before events flow, and in that very moment; once."""
        self.supervision.startService()
        self.clock.pump([1.0] * 10)
        self.assertEqual(self.told("READY"), [])
        self.daemon.becomes(True, "serving, 0 connections")
        self.assertEqual(self.notifier.told, [{"READY": 1, "STATUS": "serving, 0 connections"}])
        self.daemon.becomes(True, "serving, 1 connections")
        self.assertEqual(self.told("READY"), [1])

    def test_a_start_that_waits(self) -> None:
        """Without broker the limit of the start is put off further than the next time, it says why, and no sign of life
        is given that would be taken for readiness."""
        self.supervision.startService()
        self.assertEqual(self.notifier.told[0], {"STATUS": "not ready: broker: connecting"})
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.told("EXTEND_TIMEOUT_USEC"), [30_000_000] * 6)
        self.daemon.becomes(False, "not ready: broker: waiting")
        self.assertEqual(self.notifier.told, [{"STATUS": "not ready: broker: waiting"}])

    def test_alive(self) -> None:
        """Three signs of life in the time in which one must come, also when the broker has gone, and in the end."""
        self.supervision.startService()
        self.daemon.becomes(True, "serving")
        changes: list[Callable[[], None]] = [lambda: None, lambda: self.daemon.becomes(False, "not ready")]
        for change in [*changes, self.supervision.stopService]:
            change()
            self.told("WATCHDOG")
            self.clock.pump([0.5] * 6)
            self.assertEqual(self.told("WATCHDOG"), [1, 1, 1])

    def test_reload(self) -> None:
        """Reloading is told with the time, and ready after it, with what came of it."""
        self.supervision.startService()
        self.supervision.reloading()
        self.supervision.reloaded("settings read anew: nothing has changed")
        self.assertEqual(self.told("READY"), [])
        self.daemon.becomes(True, "serving")
        self.notifier.told.clear()
        self.supervision.reloading()
        self.supervision.reloaded("settings read anew: LIVEPUSH_RETRY changed")
        status = "serving (settings read anew: LIVEPUSH_RETRY changed)"
        self.assertEqual(
            self.notifier.told, [{"RELOADING": 1, "MONOTONIC_USEC": 77_500_000}, {"READY": 1, "STATUS": status}]
        )

    def test_stopping(self) -> None:
        """The end is told with the time that it may take, and nothing of readiness after it."""
        self.supervision.startService()
        self.supervision.stopService()
        (extended,) = self.told("EXTEND_TIMEOUT_USEC")[1:]
        self.assertGreaterEqual(extended, 14_500_000)
        self.daemon.becomes(True, "serving")
        self.supervision.reloaded("late")
        self.assertEqual(self.told("READY"), [])
