"""Who sessions belong to, for a few seconds."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.epochs import Epochs
from livepush.daemon.remembered import Remembered
from tests.unit.daemon.doubles import make_client, make_snapshot


class RememberedTests(SynchronousTestCase):
    """For so long, so many, and never against better knowledge."""

    def setUp(self) -> None:
        self.clock, self.epochs = Clock(), Epochs()
        self.remembered = Remembered(self.clock, self.epochs, seconds=5.0, most=3)

    def put(self, *users: int) -> None:
        for user in users:
            self.remembered.put(f"session{user}", make_client(user), self.epochs.count)

    def held(self, *users: int) -> list[int]:
        return [user for user in users if self.remembered.get(f"session{user}") is not None]

    def test_for_so_long(self) -> None:
        """The same visitor, with the epoch in which he was looked up; not after the time."""
        self.epochs.note("9")
        self.put(7)
        self.assertEqual(self.remembered.get("session7"), (make_client(7), 1))
        self.clock.advance(5)
        self.assertIsNone(self.remembered.get("session7"))

    def test_bound(self) -> None:
        """The oldest gives way to the newest, and nothing is left of it."""
        self.put(1, 2, 3, 1, 4)
        self.assertEqual(self.held(1, 2, 3, 4), [1, 3, 4])
        self.remembered.forget("2")
        self.clock.advance(5)
        self.put(5)
        self.assertEqual((len(self.remembered._entries), list(self.remembered._of_user)), (1, ["5"]))

    def test_control(self) -> None:
        """A message about a user, or about everybody, makes it void; about another one not."""
        self.put(1, 2)
        self.epochs.note("1")
        self.assertEqual(self.held(1, 2), [2])
        self.epochs.note(None)
        self.assertEqual(self.held(1, 2), [])

    def test_read_before(self) -> None:
        """What was asked before the message and put after it is void, too."""
        self.epochs.note("1")
        self.remembered.put("session1", make_client(1), 0)
        self.assertEqual(self.held(1), [])

    def test_forget(self) -> None:
        """A user in all his sessions, or everybody."""
        self.put(1, 2)
        self.remembered.put("another", make_client(1), 0)
        self.remembered.forget("1")
        self.assertEqual((self.held(1, 2), self.remembered.get("another")), ([2], None))
        self.remembered.forget(None)
        self.assertEqual(self.held(1, 2), [])

    def test_nobody(self) -> None:
        """Without a session, or of an anonymous visitor, or where it is switched off, nothing is remembered."""
        self.remembered.put("", make_client(1), 0)
        self.remembered.put("x", make_snapshot(None), 0)
        self.assertEqual((self.remembered.get(""), self.remembered.get("x")), (None, None))
        off = Remembered(self.clock, self.epochs, seconds=0.0)
        off.put("session1", make_client(1), 0)
        self.assertIsNone(off.get("session1"))
