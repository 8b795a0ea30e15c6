"""A list of who is here that is not the truth is found, at whichever daemon."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.soak.presence import Roll, differs, wrong


class RollTests(SynchronousTestCase):
    def test_changes(self) -> None:
        """A whole list, then who came and who went, as the daemon tells it."""
        roll = Roll()
        self.assertIs(roll.users, None)
        self.assertTrue(roll.receive({"op": "presence", "rev": 1, "now": [7, 8]}))
        self.assertTrue(roll.receive({"op": "presence", "rev": 2, "join": [10], "leave": [7]}))
        self.assertEqual(roll.users, ("10", "8"))

    def test_unknown(self) -> None:
        """That nobody knows is no empty list, and a change of what is not known has no meaning."""
        roll = Roll()
        self.assertFalse(roll.receive({"op": "presence", "rev": 2, "join": [7], "leave": []}))
        roll.receive({"op": "presence", "rev": 1, "now": [7]})
        self.assertTrue(roll.receive({"op": "presence", "now": None, "why": "unavailable"}))
        self.assertIs(roll.users, None)
        self.assertFalse(roll.receive({"op": "presence", "rev": 3, "join": [], "leave": [7]}))


class WrongTests(SynchronousTestCase):
    def test_right(self) -> None:
        """Everybody is told all who are online and nobody else, in whatever order."""
        self.assertEqual(wrong(["7", "8"], [(1, ["8", "7"]), (2, ("7", "8"))], [1, 2]), [])
        self.assertEqual(differs(["7", "8"], ["8", "7"]), "")

    def test_each_lie(self) -> None:
        """One who has gone, one who is left out, nothing known, a daemon without a page: each by itself."""
        (ghost,) = wrong(["7"], [(1, ["7", "9"]), (2, ["7"])], [1, 2])
        self.assertIn("1 tells of users who are not here ('9',)", ghost)
        (missing,) = wrong(["7", "8"], [(1, ["7", "8"]), (2, ["7"])], [1, 2])
        self.assertIn("2 tells", missing)
        self.assertIn("not of ('8',)", missing)
        (unknown,) = wrong(["7"], [(1, None), (2, ["7"])], [1, 2])
        self.assertIn("nobody knows", unknown)
        self.assertEqual(wrong(["7"], [(1, ["7"])], [1, 2]), ["no page is online at 2"])

    def test_one_of_two_answers(self) -> None:
        """Pages of one daemon that were told different things can't both be right."""
        self.assertEqual(len(wrong(["7"], [(1, ["7"]), (1, ["7", "8"])], [1])), 1)

    def test_django(self) -> None:
        """The same for what Django is told."""
        self.assertIn("not here ('9',)", differs(["7"], ["7", "9"]))
        self.assertIn("nobody knows", differs(["7"], None))
