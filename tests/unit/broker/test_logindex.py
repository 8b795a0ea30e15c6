"""Tests of `livepush.broker.logindex`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Marker, Stamp
from livepush.broker.logindex import LogIndex, Mark, check_marker, check_stamp


class LogIndexTests(SynchronousTestCase):
    """What was read, and how far everything is done with."""

    def setUp(self) -> None:
        self.log = LogIndex()

    def test_nothing_read(self) -> None:
        """Before any record nothing is vouched for, and nothing is known."""
        self.assertEqual((self.log.first, self.log.last, self.log.reached), (-1, -1, Mark()))
        self.assertIsNone(self.log.check_at(0))
        self.assertIsNone(self.log.check_at(-1))

    def test_read(self) -> None:
        """The last record is reached, and each one's check is known; offsets have gaps."""
        for offset, check in ((5, 1), (9, 0xFFFFFFFF), (10, 3)):
            self.log.read(offset, check)
        self.assertEqual((self.log.first, self.log.last), (5, 10))
        self.assertEqual(self.log.reached, Mark(10, "00000003"))
        self.assertEqual([self.log.check_at(at) for at in (5, 6, 9, 11)], ["00000001", None, "ffffffff", None])

    def test_read_again(self) -> None:
        """The record that a reader was attached at comes twice and counts once."""
        self.log.read(5, 1)
        self.log.read(6, 2)
        self.log.read(6, 2)
        self.log.read(5, 7)
        self.assertEqual((self.log.reached, self.log.check_at(5)), (Mark(6, "00000002"), "00000001"))

    def test_a_held_record_keeps_back(self) -> None:
        """What is not released is not vouched for, nor is anything behind it."""
        self.log.read(5, 1)
        self.log.read(7, 2)
        self.log.hold(7)
        self.log.read(8, 3)
        self.log.hold(8)
        self.log.read(9, 4)
        self.assertEqual(self.log.reached, Mark(5, "00000001"))
        self.log.release(8)
        self.assertEqual(self.log.reached, Mark(5, "00000001"))
        self.log.release(7)
        self.assertEqual(self.log.reached, Mark(9, "00000004"))

    def test_the_first_record_held(self) -> None:
        """Then there is nothing to vouch for."""
        self.log.read(5, 1)
        self.log.hold(5)
        self.assertEqual(self.log.reached, Mark())
        self.log.release(5)
        self.assertEqual(self.log.reached, Mark(5, "00000001"))

    def test_what_was_not_held_changes_nothing(self) -> None:
        """Most records are released as they are read."""
        self.log.read(5, 1)
        self.log.release(5)
        self.log.read(6, 2)
        self.log.hold(6)
        self.log.release(5)
        self.assertEqual(self.log.reached, Mark(5, "00000001"))

    def test_bounded(self) -> None:
        """The oldest are forgotten, and `first` says so."""
        self.log = LogIndex(remember=16)
        for offset in range(100, 140):
            self.log.read(offset, offset)
            self.assertLessEqual(self.log.last - self.log.first, 16)
        self.assertIsNone(self.log.check_at(self.log.first - 1))
        self.assertEqual(self.log.check_at(self.log.first), f"{self.log.first:08x}")
        self.assertEqual(self.log.reached, Mark(139, "0000008b"))
        with self.assertRaisesRegex(ValueError, "remember is 7"):
            LogIndex(remember=7)

    def test_clear(self) -> None:
        """Another log begins where it likes."""
        self.log.read(50, 1)
        self.log.hold(50)
        self.log.clear()
        self.assertEqual((self.log.first, self.log.last, self.log.reached), (-1, -1, Mark()))
        self.log.read(3, 9)
        self.assertEqual((self.log.first, self.log.reached), (3, Mark(3, "00000009")))

    def test_a_check_names_the_copy(self) -> None:
        """Publisher, number and sending: a copy that was sent again is another one; all processes agree."""
        copies = [Stamp("p", 1, 1, 1), Stamp("p", 1, 1, 2), Stamp("p", 2, 1, 1), Stamp("q", 1, 1, 1)]
        checks = {*map(check_stamp, copies), check_marker(Marker("p", 1))}
        self.assertEqual(len(checks), 5)
        self.assertEqual(check_stamp(Stamp("p", 1, 1, 1)), check_stamp(Stamp("p", 1, 0, 1)))
        self.assertEqual(f"{check_stamp(Stamp('a1b2c3', 17, 17, 1)):08x}", "9c09a806")

    @given(st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.integers(0, 9)), max_size=60))
    def test_reached_is_what_a_list_says(self, schedule: list[tuple[int, bool, int]]) -> None:
        """Against a list of everything: the last record before the first held one."""
        log, read, held, offset = LogIndex(remember=1000), [], [], 0
        for step, hold, release in schedule:
            offset += step
            log.read(offset, offset)
            read.append(offset)
            if hold:
                log.hold(offset)
                held.append(offset)
            if release < len(held):
                log.release(held.pop(release))
            before = [one for one in read if not held or one < min(held)]
            self.assertEqual(log.reached, Mark(before[-1], f"{before[-1]:08x}") if before else Mark())
