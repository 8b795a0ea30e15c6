"""Tests of livepush.daemon.leads."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.leads import LEADS, Leads


class LeadsTests(SynchronousTestCase):
    """What was released ahead of the log."""

    def setUp(self) -> None:
        self.leads = Leads()

    def test_the_newest_of_each_publisher(self) -> None:
        """The newest comes first; it stands for all of its publisher before."""
        for id in ("p-1", "q-b-7", "p-2"):  # noqa: A001
            self.leads.note(id, None)
        self.assertEqual(self.leads.text(-1), "~p-2~q-b-7")

    def test_what_the_mark_covers(self) -> None:
        """It need not be named, once the log has shown it and everything before it was released."""
        self.leads.note("p-1", None)
        self.leads.note("q-1", 12)
        self.assertEqual(self.leads.text(11), "~q-1~p-1")
        self.leads.located("p-1", 11)
        self.assertEqual(self.leads.text(11), "~q-1")
        self.leads.located("p-1", 13)
        self.assertEqual(self.leads.text(12), "")

    def test_an_older_one_is_located(self) -> None:
        """That says nothing of the newest."""
        self.leads.note("p-1", None)
        self.leads.note("p-2", None)
        self.leads.located("p-1", 10)
        self.assertEqual(self.leads.text(10), "~p-2")

    def test_bounds(self) -> None:
        """So many publishers and bytes, of the newest."""
        for number in range(LEADS + 2):
            self.leads.note(f"p{number}-1", None)
        self.assertEqual(self.leads.text(-1), "~p5-1~p4-1~p3-1~p2-1")
        self.leads.note("x" * 64 + "-1", None)
        self.leads.note("y" * 64 + "-1", None)
        self.assertEqual(self.leads.text(-1), "~" + "y" * 64 + "-1~p5-1~p4-1")

    def test_another_log(self) -> None:
        """Nothing is ahead of it."""
        self.leads.note("p-1", None)
        self.leads.clear()
        self.assertEqual(self.leads.text(-1), "")
