"""The places that a process holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.attendance import Attendance

HERE = ("orders", "7")
THERE = ("news", "7")


class AttendanceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.attendance = Attendance(5.0)

    def test_first_and_last(self) -> None:
        """The registry is told of a user's first tab and, the grace over, of his last; of those between nothing."""
        self.attendance.move((), [HERE], 0.0)
        self.assertEqual(self.attendance.changes(0.0), ([HERE], []))
        self.attendance.move((), [HERE], 1.0)
        self.attendance.move([HERE], (), 2.0)
        self.assertEqual(self.attendance.changes(100.0), ([], []))
        self.attendance.move([HERE], (), 100.0)
        self.assertEqual(self.attendance.changes(104.9), ([], []))
        self.assertEqual(self.attendance.changes(105.0), ([], [HERE]))
        self.assertEqual(self.attendance.changes(200.0), ([], []))
        self.assertEqual(len(self.attendance), 0)

    def test_flicker(self) -> None:
        """Who comes back within the grace was never away, and his grace begins anew when he leaves."""
        self.attendance.move((), [HERE], 0.0)
        self.attendance.changes(0.0)
        self.attendance.move([HERE], (), 1.0)
        self.attendance.move((), [HERE], 5.9)
        self.assertEqual(self.attendance.changes(7.0), ([], []))
        self.attendance.move([HERE], (), 8.0)
        self.assertEqual(self.attendance.changes(12.9), ([], []))
        self.assertEqual(self.attendance.changes(13.0), ([], [HERE]))

    def test_moves(self) -> None:
        """What a connection keeps is no change."""
        self.attendance.move((), [HERE, THERE], 0.0)
        self.attendance.changes(0.0)
        self.attendance.move([HERE, THERE], [THERE], 0.0)
        self.assertEqual(self.attendance.changes(5.0), ([], [HERE]))

    def test_never_told(self) -> None:
        """Without a grace, who came and went between two looks is nobody's business."""
        brief = Attendance(0.0)
        brief.move((), [HERE], 1.0)
        brief.move([HERE], (), 1.0)
        self.assertEqual(brief.changes(1.0), ([], []))

    def test_all(self) -> None:
        """All places are told anew with those in their grace, and then there is no change left to tell."""
        self.attendance.move((), [HERE, THERE], 0.0)
        self.attendance.move([THERE], (), 0.0)
        self.assertEqual(sorted(self.attendance.all(4.0)), [THERE, HERE])
        self.assertEqual(self.attendance.changes(4.0), ([], []))
        self.assertEqual(self.attendance.all(5.0), [HERE])

    @given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 9)), max_size=40), st.booleans())
    def test_any_order(self, steps: list[tuple[int, bool, int]], tell_all: bool) -> None:
        """Whatever connections do, what the registry was told is what they hold, once the grace is over."""
        attendance, told, here, now = Attendance(5.0), set(), [False] * 4, 0.0
        for connection, comes, seconds in steps:
            now += seconds
            if comes != here[connection]:
                attendance.move([HERE] * here[connection], [HERE] * comes, now)
                here[connection] = comes
            if tell_all and seconds == 9:
                told = set(attendance.all(now))
            else:
                taken, given_up = attendance.changes(now)
                self.assertFalse(told.intersection(taken))
                self.assertLessEqual(set(given_up), told)
                told = (told | set(taken)) - set(given_up)
            self.assertTrue(not any(here) or HERE in told)
        told -= set(attendance.changes(now + 5)[1])
        self.assertEqual(told, {HERE} if any(here) else set())
