"""Tests of livepush.wire.sockjssession."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.wire.sockjssession import STILL_OPEN, Phase, Refused, Session


class SessionTests(SynchronousTestCase):
    """One session through its phases."""

    def test_open(self) -> None:
        """The first receiver is told that the session is open, the others are not."""
        session = Session()
        self.assertEqual((session.attach(), session.phase), (b"o", Phase.OPEN))
        session.detach()
        self.assertEqual(session.attach(), b"")

    def test_second_receiver(self) -> None:
        """Beside a receiver there is no other, and the first one stays."""
        session = Session()
        session.attach()
        with self.assertRaises(Refused) as caught:
            session.attach()
        self.assertEqual(caught.exception.frame, b'c[2010,"Another connection still open"]')
        self.assertTrue(session.receives)

    def test_close(self) -> None:
        """Whoever asks a session that is over is told how it ended, the first way."""
        session = Session()
        session.attach()
        self.assertEqual(session.close(3000, "Go away!"), b'c[3000,"Go away!"]')
        self.assertEqual(session.close(4000, "again"), b'c[3000,"Go away!"]')
        for _ in range(2):
            session.detach()
            with self.assertRaises(Refused) as caught:
                session.attach()
            self.assertEqual(caught.exception.frame, b'c[3000,"Go away!"]')

    @given(st.lists(st.sampled_from(["attach", "detach", "close"]), max_size=20))
    def test_any_order(self, steps: list[str]) -> None:
        """There is never a second receiver, never a second `o`, and nothing after the end."""
        session, opened, receives, over = Session(), 0, False, False
        for step in steps:
            if step == "detach":
                session.detach()
                receives = False
            elif step == "close":
                session.close(3000, "")
                over = True
            else:
                try:
                    opened += session.attach() == b"o"
                except Refused as refused:
                    self.assertTrue(over or receives)
                    self.assertEqual(refused.frame == STILL_OPEN, not over)
                else:
                    self.assertFalse(over or receives)
                    receives = True
            self.assertEqual(session.receives, receives)
        self.assertLessEqual(opened, 1)
