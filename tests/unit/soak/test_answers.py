"""How long views took is told by its parts, so that a slow machine is not taken for a slow livepush."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.soak.answers import Answers


class AnswersTests(SynchronousTestCase):
    def test_slowest(self) -> None:
        """The slowest of each kind is told with its own parts, its time and its process."""
        answers = Answers()
        answers.add(11.0, 0.9, "threads;dur=8000.0, publish;dur=0.2, view;dur=3.1")
        answers.add(12.0, 0.5, "prefork;dur=100.0, publish;dur=0.5, view;dur=400.0")
        answers.add(13.0, 0.1, "threads;dur=9000.0, publish;dur=4.0, view;dur=5.0")
        answers.add_bare(14.0, 0.8, "threads;dur=10000.0, publish;dur=0, view;dur=0")
        head, publish, view, waited, bare = answers.tell(10.0)
        self.assertEqual(head, "3 answers of views that publish, 1 of one that does nothing")
        self.assertIn("answer 100.0 ms, view 5.0 ms, publish 4.0 ms (3.0 s, threads", publish)
        self.assertIn("answer 500.0 ms, view 400.0 ms, publish 0.5 ms (2.0 s, prefork, its process 0.1 s old)", view)
        self.assertIn("answer 900.0 ms, view 3.1 ms, publish 0.2 ms (1.0 s, threads, its process 8.0 s old)", waited)
        self.assertIn("answer 800.0 ms", bare)

    def test_none(self) -> None:
        """A run in which no view answered says so."""
        self.assertEqual(list(Answers().tell(0.0)), ["0 answers of views that publish, 0 of one that does nothing"])
