"""The share of a turn of the reactor that HTTP has."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.turns import TURN_SECONDS, Turns


class TurnsTests(SynchronousTestCase):
    """Work that takes time, and a clock whose every timer is due in a turn of its own."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.turns = Turns(self.clock)
        self.done: list[str] = []

    def work(self, name: str, seconds: float) -> Callable[[], None]:
        """Something that takes so long."""

        def do() -> None:
            self.done.append(name)
            self.clock.rightNow += seconds

        return do

    def turn(self) -> list[str]:
        """One turn of the reactor; what was done in it."""
        due = list(self.clock.calls)
        self.done.clear()
        for call in due:
            self.clock.calls.remove(call)
            call.func(*call.args)
        return list(self.done)

    def test_at_once(self) -> None:
        """What fits into the turn is done at once, and what takes longer than a turn is done, too."""
        for _ in range(3):
            self.assertTrue(self.turns.is_free())
            self.turns.do(self.work("a", TURN_SECONDS / 4))
        self.assertTrue(self.turns.is_free())
        self.turns.do(self.work("long", 10 * TURN_SECONDS))
        self.assertEqual(self.done, ["a", "a", "a", "long"])
        self.assertFalse(self.turns.is_free())
        self.turn()
        self.assertTrue(self.turns.is_free())

    def test_in_line(self) -> None:
        """Each turn does as much as fits, in the order in which it came, and newcomers are behind who waits."""
        for name in "abcde":
            self.turns.wait(self.work(name, TURN_SECONDS / 2))
        self.assertFalse(self.turns.is_free())
        self.assertEqual(self.turn(), ["a", "b"])
        self.assertFalse(self.turns.is_free())
        self.turns.wait(self.work("f", TURN_SECONDS))
        self.assertEqual(self.turn(), ["c", "d"])
        self.assertEqual(self.turn(), ["e", "f"])
        self.assertEqual(self.turns.waiting, 0)

    def test_again(self) -> None:
        """Who has more to do stands in line again, behind the others."""

        def greedy() -> None:
            self.work("greedy", TURN_SECONDS)()
            self.turns.wait(greedy)

        self.turns.wait(greedy)
        self.turns.wait(self.work("modest", TURN_SECONDS))
        self.assertEqual([self.turn() for _ in range(4)], [["greedy"], ["modest"], ["greedy"], ["greedy"]])

    def test_who_takes_no_time(self) -> None:
        """One who stands in line again has had his turn, though there is time left: a turn ends."""

        def again() -> None:
            self.done.append("again")
            self.turns.wait(again)

        self.turns.wait(again)
        self.assertEqual(self.turn(), ["again"])

    def test_work_within_work(self) -> None:
        """It is counted once, and while it goes on."""

        def outer() -> None:
            self.clock.rightNow += TURN_SECONDS / 2
            self.turns.do(self.work("inner", TURN_SECONDS / 4))
            self.assertTrue(self.turns.is_free())
            self.clock.rightNow += TURN_SECONDS / 2
            self.assertFalse(self.turns.is_free())

        self.turns.do(outer)
        self.assertFalse(self.turns.is_free())

    def test_an_error(self) -> None:
        """What fails has taken its time, and those behind it have their turn."""

        def fail() -> None:
            self.clock.rightNow += TURN_SECONDS
            raise ZeroDivisionError

        self.turns.wait(fail)
        self.turns.wait(self.work("next", 0))
        self.assertRaises(ZeroDivisionError, self.turn)
        self.assertEqual(self.turn(), ["next"])

    def test_no_timer_when_idle(self) -> None:
        """A process that nobody asks anything has nothing to do."""
        self.turns.do(self.work("a", 0))
        self.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])
