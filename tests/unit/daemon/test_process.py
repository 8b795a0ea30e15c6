"""What the daemon asks of its process."""

from __future__ import annotations

import resource
import threading
import time

from twisted.internet import base
from twisted.internet.epollreactor import EPollReactor
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.process import allow_files, end_by_force, use_monotonic


class FilesTests(SynchronousTestCase):
    """How many files may be open."""

    def allow(
        self, needed: int, soft: int, hard: int, fails: bool = False
    ) -> tuple[int | None, tuple[int, int] | None]:
        """What is told, and what was asked of the system."""
        asked: list[tuple[int, int]] = []

        def put(_: int, limits: tuple[int, int]) -> None:
            asked.append(limits)
            if fails:
                raise OSError(1, "no")

        return allow_files(needed, lambda _: (soft, hard), put), asked[0] if asked else None

    def test_enough(self) -> None:
        """Nothing is done or said where enough may be open."""
        self.assertEqual(self.allow(10_200, 65_536, 65_536), (None, None))
        self.assertEqual(self.allow(10_200, resource.RLIM_INFINITY, resource.RLIM_INFINITY), (None, None))

    def test_the_soft_limit_is_raised(self) -> None:
        """A shell's 1024 is no reason to bother anybody."""
        self.assertEqual(self.allow(10_200, 1024, 524_288), (None, (10_200, 524_288)))
        self.assertEqual(self.allow(10_200, 1024, resource.RLIM_INFINITY)[0], None)

    def test_the_hard_limit_is_told(self) -> None:
        """Where the system allows less than is needed, the number is told."""
        self.assertEqual(self.allow(10_200, 1024, 4096), (4096, (4096, 4096)))
        self.assertEqual(self.allow(10_200, 1024, 4096, fails=True)[0], 1024)


class EndTests(SynchronousTestCase):
    """An end in any case."""

    def test_by_force(self) -> None:
        """A process that hangs is ended with a non-zero status."""
        left = threading.Event()
        codes: list[int] = []

        def leave(code: int) -> None:
            codes.append(code)
            left.set()

        timer = end_by_force(0.0, leave)
        self.addCleanup(timer.join)
        self.assertTrue(left.wait(5))
        self.assertEqual(codes, [1])

    def test_it_keeps_nothing_alive(self) -> None:
        """The timer does not hold up a process that ends in order."""
        timer = end_by_force(60.0, lambda _: None)
        self.addCleanup(timer.join)
        self.addCleanup(timer.cancel)
        self.assertTrue(timer.daemon)


class ClockTests(SynchronousTestCase):
    """Whatever becomes of the wall clock."""

    def test_a_step_of_the_wall_clock(self) -> None:
        """A timer waits for its own time when somebody sets the clock an hour ahead."""
        reactor = EPollReactor()
        self.addCleanup(reactor.removeAll)
        ahead = 0.0
        self.patch(base.ReactorBase, "seconds", staticmethod(lambda: time.time() + ahead))
        use_monotonic(reactor)
        fired: list[str] = []
        reactor.callLater(60, fired.append, "late")
        reactor.callLater(0, fired.append, "soon")
        ahead = 3_600.0
        reactor.runUntilCurrent()
        self.assertEqual(fired, ["soon"])
        self.assertTrue(50 < (reactor.timeout() or 0) <= 60)

    def test_too_late(self) -> None:
        """Where a timer was set by the other clock, it is not changed."""
        reactor = EPollReactor()
        self.addCleanup(reactor.removeAll)
        reactor.callLater(60, print)
        self.assertRaises(AssertionError, use_monotonic, reactor)
