"""What is wrong, said once a minute, and known all the time."""

from __future__ import annotations

import logging

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.complaint import Complaints


class ComplaintsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.complaints = Complaints(logging.getLogger("livepush"), self.clock.seconds)

    def test_once_a_minute(self) -> None:
        """The same thing is logged once a minute, and again at once when it was over in between."""
        with self.assertLogs("livepush", "WARNING") as logs:
            for seconds, over in ((0, False), (59, False), (1, False), (1, True)):
                self.clock.advance(seconds)
                if over:
                    self.complaints.settled("broker")
                self.complaints.say("broker", "none at %s", self.clock.seconds())
        self.assertEqual(
            [record.getMessage() for record in logs.records], [f"none at {at}" for at in (0.0, 60.0, 61.0)]
        )

    def test_last(self) -> None:
        """What is wrong is known also when it is not logged again, until that very thing is over."""
        with self.assertLogs("livepush", "WARNING"):
            self.complaints.say("broker", "none at %s", "x")
            self.complaints.say("log", "100% missing")
            self.complaints.say("broker", "none at %s", "y")
        self.assertEqual(self.complaints.last, "none at y")
        self.complaints.settled("log")
        self.assertEqual(self.complaints.last, "none at y")
        self.assertTrue(self.complaints.settled("broker"))
        self.assertIsNone(self.complaints.last)
